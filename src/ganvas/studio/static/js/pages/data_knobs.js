/** Every knob of a recipe as a field, in groups; only what differs from the recipe is sent. */

import { h } from "../dom.js";
import { has, t } from "../i18n.js";
import { errorText } from "../toast.js";

const PROMINENT = ["resolution", "conditional", "mirror"];
const ELSEWHERE = new Set(["data", "kimg", "minutes"]); // they have fields of their own on the page

/** Whether a set has the classes that a knob needs, so that it is worth being seen at once. */
const fits = (knob, classes) => knob.name !== "conditional" || classes > 1;

/**
 * `knobs`: those of /api/knobs. `values`: {name: text or boolean} of what was changed, which this changes in place.
 * Returns {prominent, groups, showErrors(errors) -> those without a field here}.
 */
export function knobFields({ knobs, values, classes, onChange }) {
  const fields = new Map();
  const make = (knob) => {
    const made = field(knob, values, onChange);
    fields.set(knob.name, made);
    return made.element;
  };
  const usable = knobs.filter((knob) => !ELSEWHERE.has(knob.name));
  const isProminent = (knob) => PROMINENT.includes(knob.name) && fits(knob, classes);
  const byGroup = new Map();
  for (const knob of usable.filter((one) => !isProminent(one))) {
    byGroup.set(knob.group, [...(byGroup.get(knob.group) ?? []), knob]);
  }
  const prominent = h("div", { class: "knob-row" }, usable.filter(isProminent).map(make));
  const groups = [...byGroup].map(([group, some]) => {
    const key = `data.group.${group}`;
    return h("details", { class: "knob-group" }, h("summary", null, has(key) ? t(key) : group), h("div", { class: "knob-grid" }, some.map(make)));
  });
  return {
    prominent,
    groups,
    showErrors(errors) {
      const rest = errors.filter((error) => !fields.has(error.field));
      for (const [name, { element, showError }] of fields) {
        const error = errors.find((one) => one.field === name);
        showError(error ?? null);
        if (error) element.closest("details")?.setAttribute("open", "");
      }
      return rest;
    },
  };
}

function field(knob, values, onChange) {
  const id = `knob-${knob.name}`;
  const error = h("p", { class: "field-error", id: `${id}-error`, role: "alert", hidden: true });
  const control = knob.type === "bool" ? checkbox(knob, id) : knob.choices?.length ? select(knob, id) : text(knob, id);
  const changed = h("span", { class: "knob-changed", "aria-hidden": "true" });
  const read = () => (knob.type === "bool" ? control.checked : control.value.trim());
  const before = knob.type === "bool" ? knob.default === true : plain(knob.default);
  if (knob.name in values) knob.type === "bool" ? (control.checked = values[knob.name]) : (control.value = values[knob.name]);
  const mark = () => element.classList.toggle("changed", knob.name in values);
  const onInput = () => {
    const value = read();
    if (value === before || (value === "" && !knob.choices?.length)) delete values[knob.name];
    else values[knob.name] = value;
    mark();
    onChange();
  };
  control.addEventListener("input", onInput);
  control.setAttribute("aria-describedby", `${id}-help ${id}-error`);
  const label = h("label", { for: id }, knob.name.replaceAll("_", " "), changed);
  const help = h("p", { class: "knob-help", id: `${id}-help`, lang: "en" }, withCode(knob.help));
  const element =
    knob.type === "bool"
      ? h("div", { class: "field knob knob-bool" }, h("div", { class: "knob-check" }, control, label), help, error)
      : h("div", { class: "field knob" }, label, control, help, error);
  mark();
  const showError = (problem) => {
    error.hidden = !problem;
    error.textContent = problem ? errorText(problem) : "";
    problem ? control.setAttribute("aria-invalid", "true") : control.removeAttribute("aria-invalid");
  };
  return { element, showError };
}

const checkbox = (knob, id) => h("input", { type: "checkbox", id, props: { checked: knob.default === true } });

function select(knob, id) {
  const options = knob.choices.map((one) => h("option", { value: plain(one) }, plain(one) || t("data.automatic")));
  if (knob.optional && !knob.choices.includes(null)) options.unshift(h("option", { value: "" }, t("data.automatic")));
  return h("select", { id, props: {} }, options.map((option) => {
    option.selected = option.value === plain(knob.default);
    return option;
  }));
}

function text(knob, id) {
  const numeric = knob.type === "integer" ? "numeric" : knob.type === "number" ? "decimal" : null;
  return h("input", { type: "text", id, inputmode: numeric, autocomplete: "off", spellcheck: "false", placeholder: plain(knob.default) || t("data.automatic") });
}

/** A docstring's text: what stands between backticks is code. */
const withCode = (help) => help.split("`").map((part, i) => (i % 2 ? h("code", null, part) : part));

/** A default as it would be typed: null is nothing, a list is joined by commas. */
function plain(value) {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.join(",") : String(value);
}
