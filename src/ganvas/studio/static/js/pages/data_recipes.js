/** The recipes as cards, and how long one trains. */

import { h, icon } from "../dom.js";
import { number } from "../format.js";
import { t } from "../i18n.js";
import { recipeSummary } from "../recipes.js";
import { errorText } from "../toast.js";

const SHOWN = 6;

/** A group of radio buttons, each a card with what the recipe is, its source and its speed. */
export function recipeCards({ recipes, chosen, onChange }) {
  const card = (recipe) => {
    const [speed, size] = recipe.cost.split(" at "); // one's own networks have neither
    const radio = h("input", {
      type: "radio", name: "recipe", value: recipe.name, props: { checked: recipe.name === chosen },
      "aria-labelledby": `recipe-${recipe.name}`, "aria-describedby": `recipe-${recipe.name}-what`, on: { change: () => onChange(recipe.name) },
    });
    return h(
      "label",
      { class: "recipe card" },
      radio,
      h(
        "span",
        { class: "recipe-text" },
        h("span", { class: "recipe-name", id: `recipe-${recipe.name}` }, recipe.name),
        recipeSummary(recipe, { class: "recipe-summary", id: `recipe-${recipe.name}-what` }),
        h("span", { class: "recipe-source", lang: "en" }, recipe.source),
        size && h("span", { class: "recipe-cost" }, icon("chart"), t("data.recipe.speed", { speed: recipe.images_per_s ? number(recipe.images_per_s) : speed, size })),
      ),
    );
  };
  const visible = Math.max(SHOWN, 1 + recipes.findIndex((one) => one.name === chosen));
  const rest = recipes.slice(visible);
  return h(
    "fieldset",
    { class: "recipes" },
    h("legend", { class: "visually-hidden" }, t("data.recipe.title")),
    h("div", { class: "recipe-grid" }, recipes.slice(0, visible).map(card)),
    rest.length
      ? h("details", null, h("summary", null, t("data.recipe.more", { n: rest.length })), h("div", { class: "recipe-grid" }, rest.map(card)))
      : null,
    h("p", { class: "muted small recipe-speeds" }, t("data.recipe.speeds")),
  );
}

const UNITS = ["minutes", "kimg"];
const MINUTES = 10;

/**
 * Minutes or thousands of images. `form.length` {unit, text} is what was entered; null is what the recipe has.
 * Returns {element, value() -> {minutes} or {kimg}, showErrors(errors) -> the others}.
 */
export function lengthFields({ recipe, form, onChange }) {
  const unit = form.length?.unit ?? (recipe.minutes ? "minutes" : "kimg");
  const input = h("input", { type: "text", id: "length", inputmode: "decimal", autocomplete: "off", "aria-describedby": "length-error" });
  input.value = form.length?.text ?? String(recipe[unit] ?? "");
  const error = h("p", { class: "field-error", id: "length-error", role: "alert", hidden: true });
  const select = h(
    "select",
    { "aria-label": t("data.length.unit") },
    UNITS.map((one) => h("option", { value: one, selected: one === unit }, t(`data.length.${one}`))),
  );
  const changed = () => {
    form.length = { unit: select.value, text: input.value.trim() };
    onChange();
  };
  input.addEventListener("input", changed);
  select.addEventListener("change", () => {
    // so that 400 kimg do not become 400 minutes
    if (!form.length) input.value = String(recipe[select.value] ?? (select.value === "minutes" ? MINUTES : input.value));
    changed();
  });
  const element = h(
    "div",
    { class: "field data-length" },
    h("label", { for: "length" }, t("data.length")),
    h("div", { class: "row" }, input, select),
    h("p", { class: "knob-help" }, t("data.length.hint")),
    error,
  );
  return {
    element,
    value: () => {
      const number = Number(input.value.trim().replace(",", "."));
      return { [select.value]: input.value.trim() && Number.isFinite(number) ? number : input.value.trim() };
    },
    showErrors(errors) {
      const problem = errors.find((one) => UNITS.includes(one.field));
      error.hidden = !problem;
      error.textContent = problem ? errorText(problem) : "";
      if (problem) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
      return errors.filter((one) => !UNITS.includes(one.field));
    },
  };
}
