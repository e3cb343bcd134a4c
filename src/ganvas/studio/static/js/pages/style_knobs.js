/** The knobs of a style transfer; the command's own message stands beside a value that is refused. */

import { h, replace } from "../dom.js";
import { number, percent } from "../format.js";
import { has, t } from "../i18n.js";
import { fieldName } from "../messages.js";
import { range } from "../range.js";
import { errorText } from "../toast.js";

const NAMED = ["strength", "keep_colours", "preset", "size", "style_scale"];

export function createKnobs({ knobs, presets, form, onChange }) {
  const errors = new Map();
  const set = (name, value) => {
    if (value === "" || value === null) delete form.knobs[name];
    else form.knobs[name] = value;
    onChange();
  };

  function field(knob) {
    const id = `style-${knob.name}`;
    const error = h("p", { class: "field-error small", id: `${id}-error`, role: "alert", hidden: true });
    errors.set(knob.name, error);
        const help = h("p", { class: "small muted", lang: has(`style.help.${knob.name}`) ? null : "en" }, has(`style.help.${knob.name}`) ? t(`style.help.${knob.name}`) : knob.help);
    return h("div", { class: "field" }, h("label", { for: id }, fieldName(knob.name)), input(knob, id), help, error);
  }

  function input(knob, id) {
    const value = form.knobs[knob.name];
    const common = { id, "aria-describedby": `${id}-error` };
    if (knob.type === "choice") {
      const text = (choice) => (has(`style.choice.${choice}`) ? t(`style.choice.${choice}`) : choice);
      return h("select", { ...common, on: { change: (event) => set(knob.name, event.target.value === knob.default ? null : event.target.value) } },
        knob.choices.map((choice) => h("option", { value: choice, selected: choice === (value ?? knob.default) }, text(choice))));
    }
    if (knob.type === "bool") {
      return h("input", { ...common, type: "checkbox", checked: value ?? knob.default, on: { change: (event) => set(knob.name, event.target.checked === knob.default ? null : event.target.checked) } });
    }
    return h("input", {
      ...common, type: "text", value: value ?? "", spellcheck: "false", autocomplete: "off", placeholder: knob.default ?? t("style.automatic"),
      on: { input: (event) => set(knob.name, event.target.value.trim()) },
    });
  }

  const strength = range({
    label: fieldName("strength"), least: 0, most: 1, step: 0.05, value: form.knobs.strength ?? 1,
    text: (value) => percent(value), onInput: (value) => set("strength", value === 1 ? null : value),
  });
  const scale = range({
    label: fieldName("style_scale"), least: 0.3, most: 3, step: 0.1, value: form.knobs.style_scale ?? 1,
    text: (value) => `× ${number(value)}`, onInput: (value) => set("style_scale", value === 1 ? null : value),
  });
  const byName = Object.fromEntries(knobs.map((knob) => [knob.name, knob]));
  const size = h("p", { class: "small muted" }, Object.entries(presets).map(([name, { size: pixels }]) => t("style.preset", { name: t(`style.choice.${name}`), pixels })).join(" · "));
  const rest = knobs.filter((knob) => !NAMED.includes(knob.name));
  const about = { strength, style_scale: scale };
  for (const name of Object.keys(about)) errors.set(name, h("p", { class: "field-error small", role: "alert", hidden: true }));

  return {
    element: h("section", { class: "panel stack style-knobs", "aria-label": t("style.settings") },
      strength.element, errors.get("strength"), h("p", { class: "small muted" }, t("style.help.strength")),
      h("div", { class: "style-pairs" }, field(byName.keep_colours), field(byName.preset), field(byName.size)), size,
      scale.element, errors.get("style_scale"), h("p", { class: "small muted" }, t("style.help.style_scale")),
      h("details", null, h("summary", null, t("style.all", { n: rest.length })), h("div", { class: "style-rest" }, rest.map(field)))),
    /** [{field, what, expected}] */
    setErrors(found) {
      for (const [name, place] of errors) {
        const own = found.find((one) => one.field === name);
        place.hidden = !own;
        replace(place, own && errorText({ what: own.what, expected: own.expected }));
      }
    },
  };
}
