/** The map: pictures along two directions around the present one, and a point to drag over them. */

import { url } from "../api.js";
import { h, inFrame, replace } from "../dom.js";
import { number } from "../format.js";
import { t } from "../i18n.js";
import { newest, settled } from "../newest.js";
import { fetchPicture, showBlob } from "../pictures.js";
import { range } from "../range.js";

const WAIT_MS = 200;
const STEP = 0.05;

export function createMap({ view, about, channel }) {
  const { reach, shape } = about;
  const sheet = h("img", { class: "map-sheet pixelated", alt: "", draggable: "false" });
  const handle = h("div", { class: "map-handle" });
  const wait = h("p", { class: "map-wait small muted" }, h("span", { class: "live-dot" }), " ", t("explore.map.drawing"));
  const pad = h("div", { class: "map-pad", role: "img", "aria-label": t("explore.map.label"), style: { "--ratio": `${shape.width} / ${shape.height}` } }, sheet, wait, handle);
  const sharp = shape.height < 64;
  sheet.classList.toggle("pixelated", sharp);
  let known = null;
  let drawn = "";

  const axes = ["x", "y"].map((axis) => {
    const select = h("select", { "aria-label": t(`explore.map.${axis}`), on: { change: () => choose(axis, select.value) } });
    const slider = range({
      label: h("span", { class: "axis-mark", "aria-hidden": "true" }, axis === "x" ? "→" : "↑"), name: t(`explore.map.amount.${axis}`),
      least: -reach, most: reach, step: STEP, value: 0, text: (value) => signed(value),
      onInput: (value) => view.move({ [view[axis]]: value }),
    });
    return { axis, select, slider, element: h("div", { class: "map-axis" }, slider.element, select) };
  });

  const drag = inFrame((x, y) => view.move({ [view.x]: x, [view.y]: y }));
  const onPointer = (event) => {
    if (event.type === "pointerdown") {
      if (event.button || !known) return;
      pad.setPointerCapture(event.pointerId);
      event.preventDefault();
    } else if (!pad.hasPointerCapture(event.pointerId)) return;
    const { left, top, width, height } = pad.getBoundingClientRect();
    const across = (2 * (event.clientX - left)) / width - 1;
    const up = 1 - (2 * (event.clientY - top)) / height;
    drag(...[across, up].map((part) => Math.round((reach * Math.max(-1, Math.min(1, part))) / STEP) * STEP));
  };
  for (const name of ["pointerdown", "pointermove"]) pad.addEventListener(name, onPointer);

  /** Takes another direction for an axis; where both would be the same they change places. */
  function choose(axis, name) {
    const other = axis === "x" ? "y" : "x";
    view.change(view[other] === name ? { [axis]: name, [other]: view[axis] } : { [axis]: name });
  }

  const drawSheet = newest(async (query) => {
    const blob = await fetchPicture(url("/api/explore/map", query)).catch(() => null); // the large picture tells the error
    if (!blob) return;
    await showBlob(sheet, blob);
    pad.classList.add("drawn");
    wait.remove();
    pad.dataset.drawn = JSON.stringify(query);
  });
  const drawSoon = settled(drawSheet, WAIT_MS);

  const middle = h("button", { type: "button", class: "button quiet small", on: { click: () => view.move({ [view.x]: 0, [view.y]: 0 }) } }, t("explore.map.middle"));

  function update() {
    if (!known) return;
    for (const { axis, select, slider } of axes) {
      slider.set(view.amount(view[axis]));
      select.value = view[axis];
    }
    const place = (name) => 50 + (50 * Math.max(-reach, Math.min(reach, view.amount(name)))) / reach;
    handle.style.setProperty("left", `${place(view.x)}%`);
    handle.style.setProperty("top", `${100 - place(view.y)}%`);
    middle.disabled = !view.amount(view.x) && !view.amount(view.y);
    const query = { ...view.query(view.offMap()), x: view.x, y: view.y, channel };
    const text = JSON.stringify(query);
    if (text !== drawn) {
      drawn = text;
      drawSoon(query);
    }
  }
  view.on(update);

  return {
    element: h(
      "section", { class: "panel explore-map", "aria-labelledby": "map-title" },
      h("div", { class: "section-head" }, h("h2", { id: "map-title" }, t("explore.map.title")), middle),
      pad,
      h("p", { class: "small muted" }, t("explore.map.hint")),
      axes.map((one) => one.element),
    ),
    /** `found`: names of the directions and the share of each, as text. */
    setDirections(found) {
      known = found;
      const names = found.map(({ name }) => name);
      for (const axis of ["x", "y"]) if (!names.includes(view[axis])) view[axis] = names[axis === "x" ? 0 : Math.min(1, names.length - 1)];
      for (const { select } of axes) replace(select, found.map(({ name, label }) => h("option", { value: name }, label)));
      update();
    },
    close() {
      drag.cancel();
      drawSoon.cancel();
      drawSheet.drop();
    },
  };
}

/** +1.5, −2, 0 */
export const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));
