// Short messages at the edge of the page, read out by screen readers.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { inWords } from "./messages.js";

const SECONDS = 6;
const ACTION_SECONDS = 15;

let region = null;

/**
 * Shows a message; an error stays until it is closed, or what it is about has passed, the others for some seconds.
 * `action`: {label, work} of a button; `passes`: the event of the document after which an error is no longer true.
 */
export function toast(text, { kind = "ok", action = null, passes = "" } = {}) {
  if (!region?.isConnected) {
    region = h("div", { class: "toasts", role: "region", "aria-label": t("toast.region") });
    document.body.append(region);
  }
  const item = h(
    "div",
    { class: "toast", "data-kind": kind, role: kind === "error" ? "alert" : "status" },
    icon(kind === "error" ? "failure" : "healthy"),
    h("span", null, text),
    action && h("button", { type: "button", class: "button small", on: { click: () => { item.remove(); action.work(); } } }, action.label),
    h(
      "button",
      { type: "button", class: "icon-button", "aria-label": t("toast.close"), on: { click: () => item.remove() } },
      icon("close"),
    ),
  );
  for (const other of [...region.children]) if (other.textContent === item.textContent) other.remove(); // said again
  region.append(item);
  if (passes) document.addEventListener(passes, () => item.remove(), { once: true });
  if (kind !== "error") setTimeout(() => item.remove(), (action ? ACTION_SECONDS : SECONDS) * 1000);
}

/** Shows an error of the server with its fix, or any other error. */
export function toastError(error) {
  toast(errorText(error), { kind: "error", passes: error.status === 0 ? "reconnected" : "" });
}

/** An error as one text: what happened, what was expected, the fix. */
export function errorText(error) {
  const parts = [inWords(error.what ?? error.message)];
  if (error.expected) parts.push(t("error.expected", { text: sentence(inWords(error.expected)) }));
  if (error.fix) parts.push(t("error.fix", { text: sentence(inWords(error.fix)) }));
  return parts.join(" ");
}

const sentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`);
