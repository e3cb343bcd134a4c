/** Small images of many seeds, to choose one. */

import { h, setAttribute } from "studio/dom.js";
import { element } from "./elements.js";
import { fit, paint } from "./picture.js";
import { imagesPerPiece } from "./queue.js";
import { MOST_SEED } from "./state.js";
import { t } from "./texts.js";

const COUNT = 24;

export class SeedList {
  /** @param {(seed) => void} onChoose  @param {() => void} onTurn  told that other seeds are to be drawn */
  constructor(state, onChoose, onTurn) {
    this.state = state;
    this.first = 0n;
    this.items = Array.from({ length: COUNT }, (_, i) => this.make(i, onChoose));
    element("seeds").replaceChildren(...this.items.map((item) => h("li", null, item.button)));
    element("seeds-before").addEventListener("click", () => this.turn(-BigInt(COUNT), onTurn));
    element("seeds-after").addEventListener("click", () => this.turn(BigInt(COUNT), onTurn));
  }

  make(i, onChoose) {
    const canvas = h("canvas", { "aria-hidden": "true" });
    const label = h("span", null);
    fit(canvas, this.state.generator.about.shape);
    const button = h("button", { type: "button", class: "seed-item", on: { click: () => onChoose(this.seedOf(i)) } }, canvas, label);
    return { canvas, label, button };
  }

  seedOf(i) {
    return this.first + BigInt(i);
  }

  turn(by, onTurn) {
    const last = MOST_SEED - BigInt(COUNT - 1);
    this.first += by;
    if (this.first < 0n) this.first = 0n;
    if (this.first > last) this.first = last;
    this.show();
    onTurn();
  }

  show() {
    this.items.forEach(({ label, button }, i) => {
      const seed = this.seedOf(i);
      label.textContent = String(seed);
      setAttribute(button, "aria-label", t("seeds.item", { seed: String(seed) }));
      setAttribute(button, "aria-pressed", seed === this.state.seed && !this.state.way ? "true" : "false");
    });
    element("seeds-before").disabled = this.first === 0n;
  }

  /** The work that draws the images; `each` ms are needed an image. */
  draw(each) {
    const { state } = this;
    const piece = imagesPerPiece(each, COUNT);
    const first = this.first;
    const rest = this.items.map((item, i) => ({ ...item, seed: this.seedOf(i) }));
    return async () => {
      const some = rest.splice(0, piece);
      const seeds = some.map((item) => item.seed);
      const labels = state.label === null ? null : seeds.map((seed) => state.labelOf(seed));
      const images = await state.generator.draw(await state.pointsOf(seeds, labels), labels);
      images.forEach((image, i) => paint(some[i].canvas, image));
      if (!rest.length) element("seeds").dataset.drawn = String(first);
      return rest.length > 0;
    };
  }
}
