/** The map: images along two directions around the present one, and a point to drag. */

import { setAttribute, setText } from "studio/dom.js";
import { element } from "./elements.js";
import { fit, paint } from "./picture.js";
import { imagesPerPiece } from "./queue.js";
import { t } from "./texts.js";

const REACH = 3;
const SIDES = [[4, 9], [40, 7], [Infinity, 5]];
const MOST_PIXELS = 2 ** 21;

export class DirectionMap {
  /** @param {() => void} onMove  told of new amounts */
  constructor(state, onMove) {
    this.state = state;
    this.onMove = onMove;
    this.sliders = [element("map-across"), element("map-up")];
    this.choices = [element("across-direction"), element("up-direction")];
    this.pad = element("map-pad");
    this.canvas = element("map-picture");
    const { height, width } = state.generator.about.shape;
    this.pad.style.setProperty("aspect-ratio", `${width} / ${height}`);
    this.sliders.forEach((slider, axis) => slider.addEventListener("input", () => this.set(axis, Number(slider.value))));
    this.choices.forEach((choice, axis) => choice.addEventListener("change", () => this.choose(axis, Number(choice.value))));
    element("map-middle").addEventListener("click", () => this.moveTo([0, 0]));
    this.pad.addEventListener("pointerdown", (event) => this.drag(event));
    this.pad.addEventListener("pointermove", (event) => event.buttons && this.pad.hasPointerCapture(event.pointerId) && this.drag(event));
  }

  /** Writes the texts in the chosen language. */
  writeTexts() {
    const { directions, axes } = this.state;
    this.choices.forEach((choice, axis) => {
      choice.replaceChildren(...directions.map((_, i) => new Option(t("map.direction", { n: i + 1 }), i)));
      choice.value = String(axes[axis]);
    });
    this.show();
  }

  drag(event) {
    if (event.type === "pointerdown") {
      if (event.button) return;
      this.pad.setPointerCapture(event.pointerId);
      event.preventDefault();
    }
    const { left, top, width, height } = this.pad.getBoundingClientRect();
    const across = (2 * (event.clientX - left)) / width - 1;
    const up = 1 - (2 * (event.clientY - top)) / height;
    this.moveTo([across, up].map((part) => Math.round(10 * REACH * Math.max(-1, Math.min(1, part))) / 10));
  }

  set(axis, amount) {
    this.moveTo(this.state.amounts.map((old, i) => (i === axis ? amount : old)));
  }

  moveTo(amounts) {
    this.state.amounts = amounts.map((amount) => amount || 0); // no −0
    this.show();
    this.onMove();
  }

  /** Takes another direction for an axis; the one it had goes to the other axis where both would be the same. */
  choose(axis, direction) {
    const { axes } = this.state;
    if (axes[1 - axis] === direction) axes[1 - axis] = axes[axis];
    axes[axis] = direction;
    this.writeTexts();
    this.onMove(true);
  }

  show() {
    const { amounts, axes } = this.state;
    const handle = element("map-handle");
    handle.style.setProperty("left", `${50 + (50 * amounts[0]) / REACH}%`);
    handle.style.setProperty("top", `${50 - (50 * amounts[1]) / REACH}%`);
    this.sliders.forEach((slider, axis) => {
      slider.value = String(amounts[axis]);
      setAttribute(slider, "aria-label", `${t(axis ? "map.up" : "map.across")}: ${t("map.direction", { n: axes[axis] + 1 })}`);
      setAttribute(slider, "aria-valuetext", t("map.amount", { value: amounts[axis] }));
      slider.style.setProperty("--part", String((amounts[axis] + REACH) / (2 * REACH)));
    });
    element("map-middle").disabled = !this.state.moved;
    setText(element("map-hint"), t("map.hint"));
  }

  /** The work that draws the map around the present image, from the middle outwards; `each` ms are needed an image. */
  draw(each) {
    const { state } = this;
    const { shape } = state.generator.about;
    const most = Math.floor(Math.sqrt(MOST_PIXELS / (shape.height * shape.width)));
    const side = Math.max(3, Math.min(SIDES.find(([ms]) => each < ms)[1], most - 1 + (most % 2)));
    const cells = cellsOf(side);
    const piece = imagesPerPiece(each, side);
    const { middle } = state.describe();
    let base = null;
    return async () => {
      base ??= await state.base();
      if (this.canvas.width !== side * shape.width) fit(this.canvas, shape, side);
      const some = cells.splice(0, piece);
      const points = some.map(([x, y]) => state.at(base, [x, y].map((i) => REACH * ((2 * (i + 0.5)) / side - 1))));
      const images = await state.generator.draw(points, state.labels && some.map(() => state.label));
      images.forEach((image, i) => paint(this.canvas, image, some[i][0] * shape.width, (side - 1 - some[i][1]) * shape.height));
      if (!cells.length) this.canvas.dataset.drawn = middle;
      return cells.length > 0;
    };
  }
}

function cellsOf(side) {
  const middle = (side - 1) / 2;
  const far = ([x, y]) => Math.max(Math.abs(x - middle), Math.abs(y - middle));
  const cells = Array.from({ length: side * side }, (_, i) => [i % side, Math.floor(i / side)]);
  return cells.sort((a, b) => far(a) - far(b));
}
