/** A command in a box with a button that copies it. */

import { h, icon, withFlags } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";

/** A path as a shell reads it. */
export const quoted = (path) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

export function commandBox(command) {
  const text = h("code", { tabindex: "0" }, withFlags(command));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(command);
    } catch {
      // not allowed off localhost: the text is selected instead, for Ctrl+C
      getSelection().selectAllChildren(text);
      return;
    }
    toast(t("copy.done"));
  };
  return h(
    "div",
    { class: "command" },
    text,
    h("button", { type: "button", class: "button quiet small", "aria-label": t("copy.button"), title: t("copy.button"), on: { click: copy } }, icon("copy")),
  );
}
