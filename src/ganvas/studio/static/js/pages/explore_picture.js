/** The picture, large, and what it is drawn from: the seed, the class, the truncation. */

import { url } from "../api.js";
import { h, icon, replace, setText } from "../dom.js";
import { integer, number } from "../format.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { newest, settled } from "../newest.js";
import { fetchPicture, showBlob } from "../pictures.js";
import { range } from "../range.js";
import { viewError } from "./explore_view.js";

const MOST_SEED = 2 ** 53 - 1;
const RANDOM_SEEDS = 1_000_000;
const CLASS_BUTTONS = 12;
const QUICK_MS = 100;
const SETTLE_MS = 150;

export function createPicture({ view, about, channel }) {
  const image = sharpenSmall(h("img", { class: "explore-image", alt: "" }));
  const message = h("div", { class: "explore-message" });
  const { height, width } = about.shape;
  const frame = h("div", { class: "explore-frame", style: { "--ratio": `${width} / ${height}` } }, image);
  let took = 0; // ms of the newest exact picture
  let shown = null;
  const first = new Promise((resolve) => (shown = resolve)); // the picture, or why there is none
  const draw = newest(async ({ query, quick }) => {
    const began = performance.now();
    try {
      const blob = await fetchPicture(url("/api/explore/picture", { ...query, channel, quick: quick ? 1 : null }));
      if (!blob) return;
      await showBlob(image, blob);
      if (!quick) took = performance.now() - began;
      image.dataset.exact = String(!quick);
      image.alt = t("explore.picture", { name: view.place ? t("explore.of_photo") : t("explore.of_seed", { seed: view.seed }) });
      image.dataset.query = JSON.stringify(query);
      replace(message);
    } catch (error) {
      replace(message, viewError(error, view.of, { ...view.fields(), x: view.x, y: view.y }));
    } finally {
      shown();
    }
  });
  const controls = createControls(view, about);
  // while something is dragged a picture may differ in the last bit, if that is much sooner; then it is drawn exactly
  const settle = settled(() => draw({ query: view.query(), quick: false }), SETTLE_MS);
  const update = () => {
    const quick = took > QUICK_MS;
    image.dataset.exact = "false";
    draw({ query: view.query(), quick });
    if (quick) settle();
    controls.update();
  };
  view.on(update);
  update();
  return {
    first,
    element: h("section", { class: "panel explore-stage", "aria-label": t("explore.picture.title") }, frame, message, controls.element),
    close() {
      settle.cancel();
      draw.drop();
    },
  };
}

function createControls(view, about) {
  const seed = h("input", { type: "number", id: "explore-seed", min: 0, max: MOST_SEED, step: 1, required: true, inputmode: "numeric", "aria-describedby": "explore-seed-error", on: { change: () => setSeed(seed.validity.valid ? Number(seed.value) : NaN), blur: () => (seed.value = view.seed) } });
  const wrong = h("p", { class: "field-error small", id: "explore-seed-error", role: "alert", hidden: true }, t("explore.seed.bounds", { most: integer(MOST_SEED) }));
  const setSeed = (value) => {
    wrong.hidden = Number.isInteger(value) && value >= 0 && value <= MOST_SEED;
    seed.setAttribute("aria-invalid", String(!wrong.hidden));
    if (wrong.hidden) view.change({ seed: String(value), place: null });
  };
  const step = (by) => setSeed(Math.max(0, Number(view.seed) + by));
  const button = (name, key, work) => h("button", { type: "button", class: "icon-button", "aria-label": t(key), title: t(key), on: { click: work } }, icon(name));
  const seedRow = h(
    "div", { class: "explore-seed" },
    h("label", { for: "explore-seed" }, t("explore.seed")),
    button("previous", "explore.seed.before", () => step(-1)), seed, button("next", "explore.seed.after", () => step(1)),
    h("button", { type: "button", class: "button small", on: { click: () => setSeed(Math.floor(Math.random() * RANDOM_SEEDS)) } }, t("explore.seed.random")),
  );
  const truncation = range({
    label: t("explore.truncation"), least: 0, most: 1.5, step: 0.05, value: Number(view.truncation),
    text: (value) => number(value), onInput: (value) => view.change({ truncation: String(value) }),
  });
  const classes = createClasses(view, about.classes);
  const place = h("p", { class: "small explore-place" },
    h("span", null, t("explore.place.note")),
    h("button", { type: "button", class: "button quiet small", on: { click: () => view.change({ place: null }) } }, t("explore.place.leave")));
  return {
    element: h("div", { class: "explore-controls" }, seedRow, wrong, classes?.element, truncation.element, h("p", { class: "small muted" }, t("explore.truncation.hint")), place),
    update() {
      if (document.activeElement !== seed || seed.value === "") seed.value = view.seed;
      truncation.set(Number(view.truncation));
      truncation.setDisabled(Boolean(view.place));
      classes?.update();
      place.hidden = !view.place;
    },
  };
}

/** Buttons, or of many classes a list. */
function createClasses(view, names) {
  if (!names.length) return null;
  const choose = (name) => view.change({ class: name });
  if (names.length > CLASS_BUTTONS) {
    const select = h("select", { id: "explore-class", on: { change: () => choose(select.value) } }, names.map((name) => h("option", { value: name }, name)));
    return {
      element: h("div", { class: "explore-classes" }, h("label", { for: "explore-class" }, t("explore.class")), select),
      update() {
        select.value = view.class;
        select.disabled = Boolean(view.place);
      },
    };
  }
  const buttons = names.map((name) => h("button", { type: "button", class: "chip", on: { click: () => choose(name) } }, name));
  const label = h("span", { class: "label", id: "explore-class-label" }, t("explore.class"));
  return {
    element: h("div", { class: "explore-classes", role: "group", "aria-labelledby": "explore-class-label" }, label, h("div", { class: "chips" }, buttons)),
    update() {
      buttons.forEach((one, i) => {
        one.setAttribute("aria-pressed", String(names[i] === view.class));
        one.disabled = Boolean(view.place);
      });
      setText(label, t("explore.class"));
    },
  };
}
