/** The form that starts a comparison: recipes and runs, data, budget and seeds; the command follows from it. */

import { post } from "../api.js";
import { h, icon, keyed, replace, setText } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { settled } from "../newest.js";
import { recipeSummary } from "../recipes.js";
import { errorText, toast } from "../toast.js";

const FIRST = ["cnn-stable", "r3gan"];
const MOST = 12;
const MOST_SEEDS = 20;
const CHECK_MS = 400;

/** Runs are named by `label(run)`; `onStart` is called when one was started. Returns {element, setRuns, close}. */
export function comparisonForm({ known, recipes: all, label, onStart }) {
  const recipes = all.filter((one) => one.name !== "custom"); // which needs networks
  const reasons = new Map(recipes.map((one) => [one.name, h("p", { class: "field-error", id: `compare-${one.name}-error`, hidden: true })]));
  const box = (value, name, what = null) => {
    const checked = FIRST.includes(value);
    const input = h("input", { type: "checkbox", name: "candidate", value, props: { checked }, "aria-describedby": what && `compare-${value}-error`, on: { change: changed } });
    return h("label", { class: "compare-pick" }, input, h("span", null, h("strong", null, name), " ", what, reasons.get(value)));
  };
  const picks = h("div", { class: "compare-picks" }, recipes.map((one) => box(one.name, one.name, recipeSummary(one, { class: "small muted" }))));
  const own = h("div", { class: "compare-picks" });
  const ownPart = h("fieldset", { class: "compare-fieldset", hidden: true }, h("legend", null, t("compare.runs")), own);
  const data = h("input", { type: "text", id: "compare-data", autocomplete: "off", spellcheck: "false", list: "compare-sets", value: "digits28", "aria-describedby": "compare-data-error", on: { input: () => check() } });
  const dataError = h("p", { class: "field-error", id: "compare-data-error", role: "alert", hidden: true });
  const sets = h("datalist", { id: "compare-sets" }, known.data_sets.map((set) => h("option", { value: set.name })));
  const amount = h("input", { type: "text", id: "compare-amount", inputmode: "decimal", autocomplete: "off", value: "3" });
  const unit = h("select", { "aria-label": t("data.length.unit") }, ["minutes", "kimg"].map((one) => h("option", { value: one }, t(`data.length.${one}`))));
  const seeds = h("input", { type: "number", id: "compare-seeds", min: 1, max: MOST_SEEDS, step: 1, required: true, value: 3 });
  const total = h("p", { class: "small muted", role: "status" });
  const refusals = h("p", { class: "field-error", role: "status" });
  const outcome = h("div");
  const start = h("button", { type: "submit", class: "button primary", disabled: !known.may_write }, icon("play"), t("compare.start"));
  const field = (label, ...content) => h("div", { class: "field" }, h("label", { for: content[0].id }, label), content.length > 1 ? h("div", { class: "row" }, content) : content);

  const candidates = () => [...form.querySelectorAll("[name=candidate]:checked:not(:disabled)")].map((input) => input.value);

  let checking = new AbortController();
  const check = settled(async () => {
    if (!known.may_write) return;
    checking.abort(); // the server ends the look at the images before: this one takes its place
    checking = new AbortController();
    const { signal } = checking;
    const found = await post("/api/compare/check", { data: data.value.trim() }, { signal }).catch((error) => ({ data: error, recipes: {} }));
    if (!signal.aborted) refuse(found);
  }, CHECK_MS);

  /** Says beside each field why the images, or a recipe with them, cannot be trained. */
  function refuse({ data: wrong, recipes: refused }) {
    dataError.hidden = !wrong;
    setText(dataError, wrong ? errorText(wrong) : "");
    data.setAttribute("aria-invalid", String(Boolean(wrong)));
    for (const input of picks.querySelectorAll("input")) {
      const error = refused[input.value];
      const reason = reasons.get(input.value);
      input.disabled = Boolean(error);
      reason.hidden = !error;
      setText(reason, error ? errorText({ what: error.what, expected: error.expected }) : ""); // its fix is of another page
    }
    changed();
  }

  function changed() {
    const chosen = candidates();
    const trained = chosen.filter((one) => recipes.some((recipe) => recipe.name === one)).length;
    const budget = Number(amount.value.replace(",", "."));
    const minutes = budget * trained * Number(seeds.value);
    const isShort = trained > 0 && !(budget > 0);
    amount.setAttribute("aria-invalid", String(isShort));
    start.disabled = !known.may_write || !dataError.hidden || chosen.length < 2 || chosen.length > MOST || isShort || !seeds.validity.valid;
    const leftOut = [...form.querySelectorAll("[name=candidate]:checked:disabled")].map((input) => input.value);
    replace(refusals, leftOut.length > 0 && t("compare.left_out", { names: leftOut.join(", ") }));
    if (chosen.length < 2) replace(total, t("compare.choose_two"));
    else if (isShort) replace(total, t("compare.no_budget"));
    else if (!seeds.validity.valid) replace(total, t("compare.no_seeds", { most: MOST_SEEDS }));
    else if (unit.value === "minutes" && minutes > 0) replace(total, t("compare.minutes_in_all", { n: minutes, trainings: trained * Number(seeds.value) }));
    else replace(total, t("compare.trainings_in_all", { n: trained * Number(seeds.value) }));
  }

  async function submit(event) {
    event.preventDefault();
    start.disabled = true;
    replace(outcome, h("p", { class: "data-wait", role: "status" }, h("span", { class: "live-dot" }), t("compare.checking")));
    try {
      await post("/api/compare", { candidates: candidates(), data: data.value.trim(), [unit.value]: amount.value.trim(), seeds: Number(seeds.value) });
      replace(outcome);
      toast(t("compare.started"));
      onStart();
    } catch (error) {
      replace(outcome, errorBox(error));
      if (["candidates", "data"].includes(error.field)) check();
    }
    changed();
  }

  function setRuns(runs) {
    const complete = runs.filter((run) => run.state === "complete");
    keyed(own, complete, (run) => run.run, (run) => box(run.run, label(run)));
    ownPart.hidden = !complete.length;
    changed();
  }

  const form = h(
    "form",
    { class: "panel stack", novalidate: true, on: { submit, input: changed } },
    h("fieldset", { class: "compare-fieldset" }, h("legend", null, t("compare.recipes")), picks),
    ownPart,
    h("div", { class: "compare-choice" }, h("div", { class: "field" }, h("label", { for: data.id }, t("compare.data")), data, dataError), field(t("compare.budget"), amount, unit), field(t("compare.seeds"), seeds)),
    sets,
    refusals,
    total,
    outcome,
    known.may_write ? h("div", null, start) : h("p", { class: "muted" }, t("shell.reading_only")),
  );
  changed();
  return {
    element: form,
    setRuns,
    close() {
      check.cancel();
      checking.abort();
    },
  };
}
