/** The controls beside the image, and what is drawn when one of them changes. */

import { errorBox, h, icon, replace, setAttribute, setText } from "studio/dom.js";
import { element } from "./elements.js";
import { DirectionMap } from "./map.js";
import { download, fit, paint } from "./picture.js";
import { encodePng } from "./png.js";
import { Queue } from "./queue.js";
import { SeedList } from "./seeds.js";
import { MOST_SEED, State } from "./state.js";
import { formatNumber, t } from "./texts.js";
import { Walk } from "./walk.js";

const RANDOM_SEEDS = 1_000_000;

export class Viewer {
  constructor(generator, directions) {
    this.state = new State(generator, directions);
    this.queue = new Queue((error) => this.fail(error));
    this.each = Infinity; // ms that an image takes
    this.first = new Promise((done, refuse) => Object.assign(this, { done, refuse })); // the first image is there
    this.canvas = element("picture");
    fit(this.canvas, generator.about.shape);
    this.seeds = new SeedList(this.state, (seed) => this.setSeed(seed), () => this.drawSeeds());
    this.map = new DirectionMap(this.state, (turned) => this.onMove(turned));
    this.walk = new Walk(this.state, () => this.onStep());
    this.listen();
    this.writeTexts();
  }

  listen() {
    element("seed").addEventListener("input", () => this.readSeed());
    element("seed").addEventListener("change", () => this.readSeed());
    element("seed-previous").addEventListener("click", () => this.setSeed(this.state.seed - 1n));
    element("seed-next").addEventListener("click", () => this.setSeed(this.state.seed + 1n));
    element("seed-random").addEventListener("click", () => this.setSeed(BigInt(Math.floor(Math.random() * RANDOM_SEEDS))));
    element("truncation").addEventListener("input", (event) => this.setTruncation(Number(event.target.value)));
    element("walk").addEventListener("click", () => (this.walk.playing ? this.stop() : this.play()));
    element("save").addEventListener("click", () => this.save());
  }

  /** Writes the texts in the chosen language. */
  writeTexts() {
    const { about } = this.state.generator;
    for (const [id, key, sign] of [["seed-previous", "seed.previous", "previous"], ["seed-next", "seed.next", "next"], ["seeds-before", "seeds.before", "previous"], ["seeds-after", "seeds.after", "next"]]) {
      replace(element(id), icon(sign));
      setAttribute(element(id), "aria-label", t(key));
      setAttribute(element(id), "title", t(key));
    }
    replace(element("seed-random"), t("seed.random"));
    replace(element("save"), icon("download"), t("save"));
    element("classes-field").hidden = !about.classes;
    const names = ["", ...Array.from({ length: about.classes }, (_, i) => about.class_names[i] ?? String(i))];
    const chips = names.map((name, i) =>
      h("button", { type: "button", class: "class-chip", on: { click: () => this.setClass(i ? i - 1 : null) } }, i ? name : t("classes.by_seed")),
    );
    replace(element("classes"), about.classes ? chips : []);
    this.map.writeTexts();
    this.show();
  }

  /** Draws everything anew, the image first. */
  draw() {
    this.drawPicture();
    this.drawSeeds();
    this.drawMap();
  }

  drawPicture() {
    this.queue.set("picture", async () => {
      const { state } = this;
      const told = state.describe();
      const { labels } = state;
      const point = state.at(await state.base(), state.amounts);
      const begun = performance.now();
      const [image] = await state.generator.draw([point], labels);
      this.each = Math.min(this.each, performance.now() - begun);
      paint(this.canvas, image);
      this.drawn = { ...told, image };
      this.showCaption();
      Object.assign(this.canvas.dataset, { drawn: told.file, settled: this.walk.playing ? "0" : "1" });
      this.done();
    });
  }

  drawSeeds() {
    this.queue.set("seeds", () => this.later("seeds", () => this.seeds.draw(this.each)));
  }

  drawMap() {
    this.queue.set("map", () => this.later("map", () => this.map.draw(this.each)));
  }

  /** Makes the work only now, when it is known how long an image takes. */
  async later(name, make) {
    this.queue.set(name, make());
    return true;
  }

  showCaption() {
    setAttribute(element("caption"), "aria-live", this.walk.playing ? "off" : "polite");
    setText(element("caption"), this.drawn.caption);
    setAttribute(this.canvas, "aria-label", t("picture.name", { what: this.drawn.caption }));
  }

  show() {
    const { state, walk } = this;
    const seed = element("seed");
    if (document.activeElement !== seed || walk.playing) seed.value = String(state.seed);
    element("seed-previous").disabled = state.seed === 0n;
    element("seed-next").disabled = state.seed === MOST_SEED;
    element("truncation").value = String(state.truncation);
    element("truncation").style.setProperty("--part", String(state.truncation));
    setText(element("truncation-value"), formatNumber(state.truncation));
    replace(element("walk"), icon(walk.playing ? "pause" : "play"), t(walk.playing ? "walk.pause" : "walk.play"));
    [...element("classes").children].forEach((chip, i) =>
      setAttribute(chip, "aria-pressed", (i ? i - 1 : null) === state.chosen ? "true" : "false"),
    );
    this.seeds.show();
  }

  readSeed() {
    const text = element("seed").value.trim();
    const wrong = !/^[0-9]{1,19}$/.test(text) || BigInt(text) > MOST_SEED;
    setAttribute(element("seed"), "aria-invalid", wrong ? "true" : null);
    setText(element("seed-problem"), wrong ? t("seed.problem", { most: MOST_SEED }) : "");
    if (!wrong && (BigInt(text) !== this.state.seed || this.state.way)) this.setSeed(BigInt(text));
  }

  setSeed(seed) {
    const { state } = this;
    this.walk.pause();
    Object.assign(state, { seed: seed < 0n ? 0n : seed > MOST_SEED ? MOST_SEED : seed, way: null, amounts: [0, 0] });
    if (document.activeElement !== element("seed")) element("seed").value = String(state.seed);
    setAttribute(element("seed"), "aria-invalid", null);
    setText(element("seed-problem"), "");
    this.show();
    this.map.show();
    this.drawPicture();
    this.drawMap();
  }

  setClass(label) {
    this.state.chosen = label;
    this.show();
    this.draw();
  }

  setTruncation(value) {
    this.state.truncation = value;
    this.show();
    this.draw();
  }

  onMove(turned) {
    this.drawPicture();
    if (turned) this.drawMap();
  }

  play() {
    this.queue.drop("map");
    this.walk.play();
    this.show();
    this.map.show();
    this.drawSeeds();
  }

  stop() {
    this.walk.pause();
    if (!this.state.way.part) this.state.way = null;
    this.show();
    this.drawPicture();
    this.drawMap();
  }

  onStep() {
    if (this.queue.has("picture")) return; // the last step is still being drawn
    if (element("seed").value !== String(this.state.seed)) this.show();
    this.drawPicture();
  }

  async save() {
    if (!this.drawn) return;
    const { image, file } = this.drawn;
    download(await encodePng(image), `${this.state.generator.about.file}-${file}.png`);
  }

  fail(error) {
    console.error(error);
    this.refuse(error);
    this.walk.pause();
    replace(element("problem"), errorBox({ what: t("failed.drawing"), expected: String(error.message ?? error), fix: t("failed.fix") }));
  }
}
