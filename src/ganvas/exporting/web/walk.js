/** A walk from seed to seed. */

import { MOST_SEED } from "./state.js";

const SECONDS = 2.5;

export class Walk {
  /** @param {() => void} onStep  told of each new place */
  constructor(state, onStep) {
    this.state = state;
    this.onStep = onStep;
    this.playing = false;
  }

  /** Goes on from the place where the last walk stopped, or from the seed. Each seed keeps the class of the start. */
  play() {
    const { state } = this;
    this.playing = true;
    state.chosen = state.label;
    state.way ??= { to: next(state.seed), part: 0 };
    this.last = null;
    requestAnimationFrame((now) => this.step(now));
  }

  pause() {
    this.playing = false;
  }

  step(now) {
    if (!this.playing) return;
    const { state } = this;
    const passed = this.last === null ? 0 : Math.min(0.1, (now - this.last) / 1000);
    this.last = now;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.waited = (this.waited ?? 0) + passed;
    else state.way.part += passed / SECONDS;
    if (state.way.part >= 1 || this.waited >= SECONDS) {
      this.waited = 0;
      state.seed = state.way.to;
      state.way = { to: next(state.seed), part: 0 };
    }
    this.onStep();
    requestAnimationFrame((later) => this.step(later));
  }
}

function next(seed) {
  return seed === MOST_SEED ? 0n : seed + 1n;
}
