/** What is shown: one place in the latent space, and how it is told. */

import { between, move, smooth } from "./points.js";
import { t } from "./texts.js";

export const MOST_SEED = 2n ** 63n - 1n;
const KEPT = 64;

/**
 * The seed, the class (null: that of the seed), the truncation, the amounts along the two directions of the map, and
 * during a walk `way` {to, part}: the seed that is next and how far it is, from 0 to 1.
 */
export class State {
  constructor(generator, directions) {
    this.generator = generator;
    this.directions = directions;
    this.seed = 0n;
    this.chosen = null;
    this.truncation = 1;
    this.axes = directions.length > 1 ? [0, 1] : [0, 0];
    this.amounts = [0, 0];
    this.way = null;
    this.kept = new Map();
  }

  /** The class of a seed's image: a number, or null without classes. */
  labelOf(seed) {
    return this.chosen ?? this.generator.labelOf(seed);
  }

  get label() {
    return this.labelOf(this.seed);
  }

  get labels() {
    return this.label === null ? null : [this.label];
  }

  get moved() {
    return this.amounts.some((amount) => amount !== 0);
  }

  /** Points of seeds with a class for each or null; the last ones are kept. */
  async pointsOf(seeds, labels) {
    const keys = seeds.map((seed, i) => `${seed} ${labels?.[i]} ${this.truncation}`);
    const missing = seeds.map((_, i) => i).filter((i) => !this.kept.has(keys[i]));
    if (missing.length) {
      const own = labels && missing.map((i) => labels[i]);
      const found = await this.generator.pointsOf(missing.map((i) => seeds[i]), own, this.truncation);
      missing.forEach((i, j) => this.kept.set(keys[i], found[j]));
    }
    const points = keys.map((key) => this.kept.get(key));
    for (const key of this.kept.keys()) if (this.kept.size > KEPT) this.kept.delete(key);
    return points;
  }

  /** Where the middle of the map lies: the seed's point, or one on the way to the next. */
  async base() {
    const { way } = this;
    const seeds = way ? [this.seed, way.to] : [this.seed];
    const points = await this.pointsOf(seeds, this.labels && seeds.map(() => this.label));
    return way ? between(points[0], points[1], smooth(way.part), this.generator.about.space === "z") : points[0];
  }

  /** The base moved to a place on the map. */
  at(base, amounts) {
    if (!this.directions.length) return base;
    return move(base, this.axes.map((axis) => this.directions[axis]), amounts);
  }

  /** A sentence about the image, the same as the name of a file, and that of the image in the middle of the map. */
  describe() {
    const { way, seed, label, truncation, amounts } = this;
    const names = this.generator.about.class_names;
    const parts = [way ? t("caption.way", { from: String(seed), to: String(way.to) }) : t("caption.seed", { seed: String(seed) })];
    const words = [way ? `seed${seed}-${way.to}-${Math.round(100 * smooth(way.part))}` : `seed${seed}`];
    if (label !== null) {
      parts.push(t("caption.class", { name: names[label] ?? label }));
      words.push(`class${label}`);
    }
    if (truncation !== 1) {
      parts.push(t("caption.truncation", { value: truncation }));
      words.push(`truncation${truncation}`);
    }
    const middle = words.join("-");
    if (this.moved) {
      parts.push(t("caption.moved"));
      words.push(`moved${amounts.map((amount) => amount.toFixed(1)).join("_")}`);
    }
    return { caption: parts.join(" · "), file: words.join("-"), middle };
  }
}
