/** A labelled slider whose value stands beside it. */

import { h, setText } from "./dom.js";

let count = 0;

/**
 * @param {{label: string|Node, least: number, most: number, step: number, value: number, text: (value) => string,
 *          onInput: (value) => void, name?: string}} options  `name`: for screen readers, where the label is no text
 * @returns {{element, input, set(value), setDisabled(isDisabled)}}
 */
export function range({ label, least, most, step, value, text, onInput, name = null }) {
  const id = `range-${++count}`;
  const output = h("output", { for: id, class: "range-value" });
  const input = h("input", {
    type: "range", id, class: "range", min: least, max: most, step, "aria-label": name,
    on: { input: () => { draw(); onInput(Number(input.value)); } },
  });
  const draw = () => {
    const now = Number(input.value);
    setText(output, text(now));
    input.setAttribute("aria-valuetext", text(now));
    input.style.setProperty("--part", String((now - least) / (most - least)));
    input.classList.toggle("at-zero", least < 0 && now === 0);
  };
  const element = h("div", { class: "range-row" }, h("label", { for: id }, label), input, output);
  const set = (next) => {
    input.value = String(next);
    draw();
  };
  set(value);
  return {
    element,
    input,
    set,
    setDisabled(isDisabled) {
      input.disabled = isDisabled;
      element.classList.toggle("disabled", isDisabled);
    },
  };
}
