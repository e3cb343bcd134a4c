/** The knobs of the lab, in groups: each with its name in `ganvas train`, its value, and what it does in a sentence. */

import { h } from "../dom.js";
import { t } from "../i18n.js";

const GROUPS = {
  objective: ["objective", "r1", "r2", "gp", "dragan", "clip", "spectral_norm"],
  speed: ["d_lr", "g_lr", "d_steps", "g_steps", "beta1", "beta2"],
  rest: ["noise", "batch", "d_width", "g_width", "latent", "seed"],
};

/** @param {object[]} knobs as the server describes them  @param {(name: string, value: string) => void} onChange */
export function knobsView(knobs, onChange) {
  const known = Object.fromEntries(knobs.map((knob) => [knob.name, knob]));
  const inputs = {};
  const field = (name) => {
    const knob = known[name];
    const input = control(knob, onChange);
    inputs[name] = input;
    return h(
      "div",
      { class: "lab-knob" },
      h("label", { for: `lab-${name}` }, t(`lab.knob.${name}`), h("code", { class: "muted" }, name)),
      input,
      h("p", { class: "small muted", id: `lab-${name}-help` }, t(`lab.help.${name}`), knob.restarts && ` ${t("lab.restarts")}`),
    );
  };
  const element = h(
    "div",
    { class: "lab-knobs" },
    Object.entries(GROUPS).map(([group, names], i) => h("details", { class: "panel", open: i < 2 }, h("summary", null, t(`lab.group.${group}`)), h("div", { class: "lab-fields" }, names.map(field)))),
  );
  return {
    element,
    /** Shows these values; the field that is being typed into stays as it is. */
    show(values) {
      for (const [name, input] of Object.entries(inputs)) {
        if (input.type === "checkbox") input.checked = String(values[name]) === "true";
        else if (input !== document.activeElement) input.value = String(values[name]);
      }
    },
  };
}

function control(knob, onChange) {
  const attributes = { id: `lab-${knob.name}`, "aria-describedby": `lab-${knob.name}-help` };
  if (knob.choices.length) {
    return h("select", { ...attributes, on: { change: (event) => onChange(knob.name, event.target.value) } }, knob.choices.map((one) => h("option", { value: one }, one)));
  }
  if (typeof knob.default === "boolean") {
    return h("input", { ...attributes, type: "checkbox", on: { change: (event) => onChange(knob.name, String(event.target.checked)) } });
  }
  const change = (event) => {
    if (event.target.value.trim() && event.target.checkValidity()) onChange(knob.name, event.target.value);
    else event.target.reportValidity();
  };
  return h("input", { ...attributes, type: "number", min: knob.least, max: knob.most, step: knob.whole ? 1 : "any", required: true, on: { change } });
}
