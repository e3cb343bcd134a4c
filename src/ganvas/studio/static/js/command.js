/** A command in a box with a button that copies it. */

import { h, icon, withFlags } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";

/** A path as a shell reads it. */
export const quoted = (path) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

/** Copies a text and says so; off localhost, where that is not allowed, `instead` is called. */
export async function copyText(text, instead) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    instead();
    return;
  }
  toast(t("copy.done"));
}

export function commandBox(command) {
  const text = h("code", { tabindex: "0" }, withFlags(command));
  const copy = () => copyText(command, () => getSelection().selectAllChildren(text)); // for Ctrl+C
  return h(
    "div",
    { class: "command" },
    text,
    h("button", { type: "button", class: "button quiet small", "aria-label": t("copy.button"), title: t("copy.button"), on: { click: copy } }, icon("copy")),
  );
}
