/** The knobs of the lab, in groups: each with its name in `ganvas train`, its value, and what it does in a sentence. */

import { h, icon, setText } from "../dom.js";
import { has, t } from "../i18n.js";
import { stepOf } from "./lab_steps.js";

const GROUPS = {
  objective: ["objective", "r1", "r2", "gp", "dragan", "clip", "spectral_norm"],
  speed: ["d_lr", "g_lr", "d_steps", "g_steps", "beta1", "beta2"],
  rest: ["noise", "batch", "d_width", "g_width", "latent", "seed"],
};

/** @param {object[]} knobs as the server describes them  @param {(name: string, value: string) => void} onChange */
export function knobsView(knobs, onChange) {
  const isWide = matchMedia("(min-width: 901px)").matches; // on a phone the plane and the knobs are on one screen then
  const known = Object.fromEntries(knobs.map((knob) => [knob.name, knob]));
  const inputs = {};
  const field = (name) => {
    const knob = known[name];
    const input = control(knob, onChange);
    inputs[name] = input;
    return h(
      "div",
      { class: "lab-knob" },
      h("label", { for: `lab-${name}` }, t(`lab.knob.${name}`), " ", h("code", { class: "muted" }, name)),
      input.type === "number" ? stepped(knob, input, onChange) : input,
      h("p", { class: "small muted", id: `lab-${name}-help` }, t(`lab.help.${name}`), knob.restarts && ` ${t("lab.restarts")}`, name === "objective" && [" ", objective]),
    );
  };
  const objective = h("span");
  const element = h(
    "div",
    { class: "lab-knobs" },
    Object.entries(GROUPS).map(([group, names], i) => h("details", { class: "panel", open: i < 2 && isWide }, h("summary", null, t(`lab.group.${group}`)), h("div", { class: "lab-fields" }, names.map(field)))),
  );
  return {
    element,
    /** Shows these values; the field that is being typed into stays as it is. */
    show(values) {
      for (const [name, input] of Object.entries(inputs)) {
        if (input.type === "checkbox") input.checked = String(values[name]) === "true";
        else if (input !== document.activeElement) {
          input.value = String(values[name]);
          input.removeAttribute("aria-invalid");
        }
      }
      setText(objective, has(`lab.objective.${values.objective}`) ? t(`lab.objective.${values.objective}`) : "");
    },
  };
}

/** A number between two buttons; they and the arrow keys go to the next value that makes a difference. */
function stepped(knob, input, onChange) {
  const go = (up) => {
    input.value = String(stepOf(knob, Number(input.value), up));
    onChange(knob.name, input.value);
  };
  const button = (up) => {
    const label = t(up ? "lab.more" : "lab.less", { name: t(`lab.knob.${knob.name}`) });
    return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click: () => go(up) } }, icon(up ? "plus" : "minus"));
  };
  input.addEventListener("keydown", (event) => {
    if (!["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    go(event.key === "ArrowUp");
  });
  return h("div", { class: "lab-number" }, button(false), input, button(true));
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
    const isValid = event.target.value.trim() && event.target.checkValidity();
    event.target.setAttribute("aria-invalid", String(!isValid));
    if (isValid) onChange(knob.name, String(Number(event.target.value)));
    else event.target.reportValidity();
  };
  return h("input", { ...attributes, type: "number", min: knob.least, max: knob.most, step: knob.whole ? 1 : "any", required: true, on: { change } });
}
