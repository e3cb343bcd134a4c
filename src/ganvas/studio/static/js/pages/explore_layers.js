/** Style mixing layer by layer, and noise; of a family without them, why. */

import { h, icon } from "../dom.js";
import { t } from "../i18n.js";

/** "0-2,5" -> [0, 1, 2, 5] */
function parseLayers(text) {
  return (text ?? "").split(",").filter(Boolean).flatMap((part) => {
    const [first, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The other way; one layer alone is "5-5", since "5" would be the first five. */
function layersText(layers) {
  const spans = [];
  for (const layer of [...layers].sort((a, b) => a - b)) {
    if (spans.length && spans.at(-1)[1] === layer - 1) spans.at(-1)[1] = layer;
    else spans.push([layer, layer]);
  }
  return spans.map(([first, last]) => `${first}-${last}`).join(",");
}

const spanOf = (length) => Array.from({ length }, (_, i) => i);

export function createLayers({ view, about }) {
  const mixing = about.mixing ? reason("explore.mixing.title", about.mixing) : createMixing(view, about.layers);
  const noise = about.noise ? reason("explore.noise.title", about.noise) : createNoise(view, about.noises);
  const update = () => [mixing, noise].forEach((part) => part.update?.());
  view.on(update);
  update();
  return { element: h("div", { class: "stack explore-layers" }, mixing.element, noise.element) };
}

function reason(title, text) {
  return {
    element: h("details", { class: "panel" }, h("summary", null, t(title), " ", h("span", { class: "muted" }, `· ${t("explore.without")}`)), h("p", { class: "small explore-reason", lang: "en" }, icon("note"), h("span", null, text))),
  };
}

/** Buttons for layers, coarse ones first; `onToggle(layer)`. */
function layerButtons(count, label, onToggle) {
  const buttons = spanOf(count).map((layer) =>
    h("button", { type: "button", class: "layer-button", "aria-label": t("explore.layer", { n: layer }), on: { click: () => onToggle(layer) } }, String(layer)));
  return {
    element: h("div", { class: "layer-row", role: "group", "aria-label": label }, h("span", { class: "small muted" }, t("explore.coarse")), buttons, h("span", { class: "small muted" }, t("explore.fine"))),
    set(pressed, isDisabled) {
      buttons.forEach((one, layer) => {
        one.setAttribute("aria-pressed", String(pressed.includes(layer)));
        one.disabled = isDisabled;
      });
    },
  };
}

const seedInput = (id, onSeed) => h("input", { type: "number", id, min: 0, max: 2 ** 53 - 1, step: 1, on: { change: (event) => onSeed(event.target) } });
const isSeed = (text) => /^\d{1,15}$/.test(text);

function createMixing(view, count) {
  const half = layersText(spanOf(Math.floor(count / 2)));
  const box = h("input", { type: "checkbox", id: "mix-on", on: { change: () => view.change(box.checked ? { mix: String(Number(view.seed) + 1), layers: half } : { mix: null, layers: null }) } });
  const seed = seedInput("mix-seed", (input) => (isSeed(input.value) ? view.change({ mix: input.value }) : (input.value = view.mix)));
  const own = () => (/^\d+$/.test(view.layers ?? "") ? spanOf(Number(view.layers)) : parseLayers(view.layers || half));
  const buttons = layerButtons(count, t("explore.mixing.layers"), (layer) => {
    const before = own();
    const others = before.includes(layer) ? before.filter((one) => one !== layer) : [...before, layer];
    if (others.length && others.length < count) view.change({ layers: layersText(others) }); // each seed has one at least
  });
  const body = h("div", { class: "stack" },
    h("div", { class: "row small" }, h("label", { for: "mix-seed" }, t("explore.mixing.seed")), seed),
    buttons.element, h("p", { class: "small muted" }, t("explore.mixing.hint")));
  const note = h("p", { class: "small muted" }, t("explore.mixing.place"));
  return {
    element: h("section", { class: "panel stack", "aria-labelledby": "mixing-title" },
      h("div", { class: "section-head" }, h("h2", { id: "mixing-title" }, t("explore.mixing.title")), h("label", { class: "row small", for: "mix-on" }, box, t("explore.on"))),
      note, body),
    update() {
      box.checked = view.mix !== null && !view.place;
      box.disabled = Boolean(view.place);
      note.hidden = !view.place;
      body.hidden = !box.checked;
      if (!box.checked) return;
      if (document.activeElement !== seed) seed.value = view.mix;
      buttons.set(own(), false);
    },
  };
}

function createNoise(view, count) {
  const every = spanOf(count);
  const parts = () => {
    const [source, which] = (view.noise ?? "").split(":");
    return { source, layers: which ? parseLayers(which) : every };
  };
  const write = (source, layers) => view.change({ noise: source ? `${source}${layers.length === count ? "" : `:${layersText(layers)}`}` : null });
  const kind = h("select", { id: "noise-kind", on: { change: () => write({ own: "", none: "none", seed: "1" }[kind.value], every) } },
    ["own", "none", "seed"].map((one) => h("option", { value: one }, t(`explore.noise.${one}`))));
  const seed = seedInput("noise-seed", (input) => (isSeed(input.value) ? write(input.value, parts().layers) : update()));
  const seedRow = h("div", { class: "row small" }, h("label", { for: "noise-seed" }, t("explore.seed")), seed);
  const buttons = layerButtons(count, t("explore.noise.layers"), (layer) => {
    const { source, layers } = parts();
    const others = layers.includes(layer) ? layers.filter((one) => one !== layer) : [...layers, layer];
    if (others.length) write(source, others);
  });
  const update = () => {
    const { source, layers } = parts();
    kind.value = !source ? "own" : source === "none" ? "none" : "seed";
    seedRow.hidden = kind.value !== "seed";
    buttons.element.hidden = kind.value === "own";
    if (document.activeElement !== seed) seed.value = source;
    buttons.set(layers, false);
  };
  return {
    element: h("section", { class: "panel stack", "aria-labelledby": "noise-title" },
      h("div", { class: "section-head" }, h("h2", { id: "noise-title" }, t("explore.noise.title")), h("label", { class: "visually-hidden", for: "noise-kind" }, t("explore.noise.title")), kind),
      seedRow, buttons.element, h("p", { class: "small muted" }, t("explore.noise.hint"))),
    update,
  };
}

