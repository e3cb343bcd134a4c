// Modal dialogs on the browser's own <dialog>: it keeps the focus inside, closes on Escape and gives the focus back.

import { h } from "./dom.js";
import { t } from "./i18n.js";

let count = 0;

/**
 * Opens a dialog and resolves with the value of the action chosen; null where it was closed in another way.
 * `actions`: [{label, value, kind: "primary" | "danger" | "quiet"}], the last one at the right.
 */
export function openDialog({ title, body, actions }) {
  const opener = document.activeElement;
  const id = `dialog-${++count}`;
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": id });
  const buttons = actions.map(({ label, value, kind }) =>
    h("button", { type: "button", class: `button ${kind ?? ""}`, on: { click: () => finish(value) } }, label),
  );
  let answer = null;
  const finish = (value) => {
    answer = value;
    dialog.close();
  };
  dialog.append(
    h("h2", { id }, title),
    h("div", { class: "dialog-body" }, body),
    h("div", { class: "dialog-actions" }, buttons),
  );
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // the backdrop
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
      resolve(answer);
    });
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? buttons[0])?.focus();
  });
}

/** Asks; resolves with true only where the action was chosen. `body`: a text or an element. */
export async function confirmDialog({ title, body, confirm, danger = false }) {
  const answer = await openDialog({
    title,
    body: typeof body === "string" ? h("p", null, body) : body,
    actions: [
      { label: t("dialog.cancel"), value: false, kind: "quiet" },
      { label: confirm ?? t("dialog.ok"), value: true, kind: danger ? "danger" : "primary" },
    ],
  });
  return answer === true;
}
