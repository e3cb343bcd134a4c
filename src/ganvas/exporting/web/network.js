/** The generator: its networks in ONNX Runtime, which is WebAssembly in this page and computes on one thread. */

import { latentOf } from "./rng.js";

/** Why this browser cannot run a network, as the key of a text; null if it can. */
export function whyNot() {
  if (typeof WebAssembly !== "object" || typeof BigInt64Array !== "function") return "cannot.wasm";
  if (!WebAssembly.validate(SIMD)) return "cannot.simd";
  if (typeof DecompressionStream !== "function") return "cannot.unpack";
  return null;
}

/** A module with one instruction of 128 bits. */
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

/** The bytes of a <script> with base64 of gzip. */
export async function unpack(id) {
  const element = document.getElementById(id);
  const text = atob(element.textContent.trim());
  element.remove();
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** float32 numbers from base64. */
export function numbers(base64) {
  return new Float32Array(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);
}

/** A generator {latent, space, styles: [layers, k], shape, classes, networks}; `shape` is {channels, height, width}. */
export class Generator {
  constructor(about, sessions) {
    this.about = about;
    this.sessions = sessions;
  }

  /** Starts the runtime and opens the networks; `report(step)` is told of every step. */
  static async open(about, report) {
    const { ort } = globalThis;
    await report("unpack");
    ort.env.wasm.wasmBinary = await unpack("runtime");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.proxy = false;
    ort.env.logLevel = "error";
    const sessions = {};
    await report("compile");
    for (const name of about.networks) {
      const content = new Uint8Array(await unpack(`network-${name}`));
      sessions[name] = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
    }
    await report("open");
    const generator = new Generator(about, sessions);
    const size = about.styles.reduce((a, b) => a * b);
    await generator.draw([new Float32Array(size)], about.classes ? [0] : null); // the first one takes longer
    return generator;
  }

  /** The class that a seed has where none is chosen; null without classes. */
  labelOf(seed) {
    return this.about.classes ? Number(seed % BigInt(this.about.classes)) : null;
  }

  /** The points of seeds (BigInt): each a Float32Array [layers · k]; those of a class by `labels`. */
  async pointsOf(seeds, labels, truncation) {
    const { latent } = this.about;
    const z = seeds.map((seed) => latentOf(seed, latent));
    const factor = Math.fround(truncation);
    if (!this.sessions.mapping) return z.map((one) => one.map((value) => factor * value));
    const inputs = { ...this.inputs(z, [latent], labels, "z"), truncation: scalar(factor) };
    const { styles } = await this.sessions.mapping.run(inputs);
    return split(styles.data, seeds.length);
  }

  /** The images of points: {channels, height, width, pixels: Uint8Array [c h w]} each. */
  async draw(points, labels) {
    const { shape, styles } = this.about;
    const mapped = Boolean(this.sessions.mapping);
    const inputs = mapped
      ? this.inputs(points, styles, null, "styles")
      : { ...this.inputs(points, [this.about.latent], labels, "z"), truncation: scalar(1) };
    const { images } = await this.sessions.images.run(inputs, ["images"]);
    return split(images.data, points.length).map((pixels) => ({ ...shape, pixels }));
  }

  inputs(rows, dimensions, labels, name) {
    const size = rows[0].length;
    const flat = new Float32Array(rows.length * size);
    rows.forEach((row, i) => flat.set(row, i * size));
    const inputs = { [name]: tensor("float32", flat, [rows.length, ...dimensions]) };
    if (labels && this.about.classes) inputs.class = tensor("int64", BigInt64Array.from(labels, BigInt), [rows.length]);
    return inputs;
  }
}

function tensor(type, data, dimensions) {
  return new globalThis.ort.Tensor(type, data, dimensions);
}

function scalar(value) {
  return tensor("float32", Float32Array.of(value), []);
}

function split(data, n) {
  const size = data.length / n;
  return Array.from({ length: n }, (_, i) => data.slice(i * size, (i + 1) * size));
}
