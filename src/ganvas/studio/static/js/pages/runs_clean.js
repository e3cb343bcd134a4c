/** Clean-up: what would be removed is shown first; it is removed only after a second yes. */

import { post } from "../api.js";
import { confirmDialog } from "../dialog.js";
import { h } from "../dom.js";
import { bytes } from "../format.js";
import { t } from "../i18n.js";
import { toast, toastError } from "../toast.js";

/** Removes runs, or what killed trainings left behind where `cards` is null; then calls `done`. */
export async function openCleaning(cards, done) {
  const [path, body] = cards ? ["/api/remove", { runs: cards.map((card) => card.run) }] : ["/api/clean", {}];
  try {
    const plan = await post(path, { ...body, dry_run: true });
    const entries = plan.removed;
    const notes = plan.notes ?? [];
    if (!entries.length) return toast(notes.join(" ") || t("runs.clean.nothing"));
    const list = h(
      "div", { class: "stack" },
      h("p", null, t(cards ? "runs.clean.runs" : "runs.clean.leftovers", { size: bytes(plan.bytes) })),
      h("ul", { class: "clean-list" }, entries.map((one) => h("li", null, h("span", null, h("code", null, one.path), one.reason && h("span", { class: "muted", lang: "en" }, ` ${one.reason}`)), h("span", { class: "muted" }, bytes(one.bytes))))),
      notes.map((note) => h("p", { class: "small muted", lang: "en" }, note)),
    );
    const title = cards ? t("runs.clean.title", { n: entries.length }) : t("runs.clean.title_leftovers");
    if (!(await confirmDialog({ title, body: list, confirm: t("runs.clean.confirm"), danger: true }))) return undefined;
    await post(path, { ...body, dry_run: false });
    toast(t("runs.clean.done", { size: bytes(plan.bytes) }));
    done();
  } catch (error) {
    toastError(error);
  }
  return undefined;
}
