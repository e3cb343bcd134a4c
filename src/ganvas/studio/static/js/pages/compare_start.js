/** The form that starts a comparison: recipes and runs, data, budget and seeds; the command follows from it. */

import { get, post } from "../api.js";
import { errorBox, h, icon, replace } from "../dom.js";
import { t } from "../i18n.js";
import { toast } from "../toast.js";

const FIRST = ["cnn-stable", "r3gan"];
const MOST = 12;
const MOST_SEEDS = 20;

/** `runs` are cards, each named by `label(run)`; `onStart` is called when one was started. Returns the element. */
export async function comparisonForm({ known, runs, label, onStart }) {
  const recipes = (await get("/api/recipes")).recipes.filter((one) => one.name !== "custom"); // which needs networks
  const box = (value, name, what, checked) => {
    const input = h("input", { type: "checkbox", name: "candidate", value, props: { checked }, on: { change: changed } });
    return h("label", { class: "compare-pick" }, input, h("span", null, h("strong", null, name), what && h("span", { class: "small muted", lang: "en" }, ` ${what}`)));
  };
  const picks = h("div", { class: "compare-picks" }, recipes.map((one) => box(one.name, one.name, one.summary, FIRST.includes(one.name))));
  const complete = runs.filter((run) => run.state === "complete");
  const own = h("div", { class: "compare-picks" }, complete.map((run) => box(run.run, label(run), "", false)));
  const data = h("input", { type: "text", id: "compare-data", autocomplete: "off", spellcheck: "false", list: "compare-sets", value: "digits28" });
  const sets = h("datalist", { id: "compare-sets" }, known.data_sets.map((set) => h("option", { value: set.name })));
  const amount = h("input", { type: "text", id: "compare-amount", inputmode: "decimal", autocomplete: "off", value: "3" });
  const unit = h("select", { "aria-label": t("data.length.unit") }, ["minutes", "kimg"].map((one) => h("option", { value: one }, t(`data.length.${one}`))));
  const seeds = h("input", { type: "number", id: "compare-seeds", min: 1, max: MOST_SEEDS, step: 1, required: true, value: 3 });
  const total = h("p", { class: "small muted", role: "status" });
  const outcome = h("div");
  const start = h("button", { type: "submit", class: "button primary", disabled: !known.may_write }, icon("play"), t("compare.start"));
  const field = (label, ...content) => h("div", { class: "field" }, h("label", { for: content[0].id }, label), content.length > 1 ? h("div", { class: "row" }, content) : content);

  const candidates = () => [...form.querySelectorAll("[name=candidate]:checked")].map((input) => input.value);

  function changed() {
    const chosen = candidates();
    const trained = chosen.filter((one) => recipes.some((recipe) => recipe.name === one)).length;
    const budget = Number(amount.value.replace(",", "."));
    const minutes = budget * trained * Number(seeds.value);
    const isShort = trained > 0 && !(budget > 0);
    amount.setAttribute("aria-invalid", String(isShort));
    start.disabled = !known.may_write || chosen.length < 2 || chosen.length > MOST || isShort || !seeds.validity.valid;
    if (chosen.length < 2) replace(total, t("compare.choose_two"));
    else if (isShort) replace(total, t("compare.no_budget"));
    else if (!seeds.validity.valid) replace(total, t("compare.no_seeds", { most: MOST_SEEDS }));
    else if (unit.value === "minutes" && minutes > 0) replace(total, t("compare.minutes_in_all", { n: minutes, trainings: trained * Number(seeds.value) }));
    else replace(total, t("compare.trainings_in_all", { n: trained * Number(seeds.value) }));
  }

  async function submit(event) {
    event.preventDefault();
    start.disabled = true;
    try {
      await post("/api/compare", { candidates: candidates(), data: data.value.trim(), [unit.value]: amount.value.trim(), seeds: Number(seeds.value) });
      replace(outcome);
      toast(t("compare.started"));
      onStart();
    } catch (error) {
      replace(outcome, errorBox(error));
    }
    changed();
  }

  const form = h(
    "form",
    { class: "panel stack", novalidate: true, on: { submit, input: changed } },
    h("fieldset", { class: "compare-fieldset" }, h("legend", null, t("compare.recipes")), picks),
    complete.length ? h("fieldset", { class: "compare-fieldset" }, h("legend", null, t("compare.runs")), own) : null,
    h("div", { class: "compare-choice" }, field(t("compare.data"), data), field(t("compare.budget"), amount, unit), field(t("compare.seeds"), seeds)),
    sets,
    total,
    outcome,
    known.may_write ? h("div", null, start) : h("p", { class: "muted" }, t("shell.reading_only")),
  );
  changed();
  return form;
}
