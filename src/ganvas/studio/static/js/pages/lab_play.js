/** The connection to a game: one request at a time, so that frames never pile up however slow the page or the server is. */

import { post } from "../api.js";

const KEEP_MS = 15_000;

/** Milliseconds between two frames: as fast as the screen, or so slow that every step can be followed. */
const SLOW_MS = 400;

/**
 * @param {() => object} knobs  the values of now  @param {string|null} game  the id of one that is played on
 * @param {(frame: object) => void} onFrame  @param {(error: Error) => void} onError
 */
export function createGame({ knobs, onFrame, onError, game = null }) {
  const state = { game, playing: false, slow: false, rounds: 4, probed: 0, busy: false, again: null, closed: false, timer: 0, last: 0 };
  let asked = Promise.resolve();

  /** One request after the other. */
  function ask(path, body) {
    const request = async () => {
      if (state.closed) return null;
      state.busy = true;
      state.last = performance.now();
      try {
        const frame = await post(path, body());
        if (state.closed) {
          if (!state.game && frame.game) leave(frame.game); // begun for a page that has gone
          return null;
        }
        state.game = frame.game ?? state.game;
        state.probed = frame.probed;
        onFrame(frame);
        return frame;
      } catch (error) {
        if (!state.closed) {
          state.playing = false;
          if (error.status === 404) state.game = null;
          onError(error);
        }
        return null;
      } finally {
        state.busy = false;
      }
    };
    asked = asked.then(request);
    return asked;
  }

  const play = (rounds) => ask("/api/lab/play", () => ({ game: state.game, knobs: knobs(), rounds, probed: state.probed }));

  async function loop() {
    while (state.playing && !state.closed) {
      if (!state.game) await ask("/api/lab/begin", () => ({ knobs: knobs() }));
      if (!state.playing || state.closed) return;
      const began = performance.now();
      await play(state.slow ? 1 : state.rounds);
      const rest = state.slow ? SLOW_MS - (performance.now() - began) : 0;
      await new Promise((done) => (rest > 20 ? setTimeout(done, rest) : requestAnimationFrame(done)));
    }
  }

  const keeping = setInterval(() => state.game && !state.busy && performance.now() - state.last > KEEP_MS && play(0), KEEP_MS);
  const onHide = () => close();
  const onShow = (event) => event.persisted && location.reload(); // from the browser's cache: the game has ended
  addEventListener("pagehide", onHide);
  addEventListener("pageshow", onShow);

  function leave(game) {
    fetch("/api/lab/end", { method: "POST", keepalive: true, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ game }) }).catch(() => {});
  }

  function close({ ends = true } = {}) {
    if (state.closed) return;
    state.closed = true;
    state.playing = false;
    clearInterval(keeping);
    if (state.game && ends) leave(state.game);
  }

  return {
    get playing() {
      return state.playing;
    },
    /** Begins again, from the seed. */
    reset: () => ask("/api/lab/begin", () => (state.game ? { game: state.game, knobs: knobs() } : { knobs: knobs() })),
    /** Takes other knobs; while it plays the next request has them. */
    change: () => (state.playing ? null : play(0)),
    step: () => play(1),
    play() {
      if (state.playing) return;
      state.playing = true;
      loop();
    },
    pause() {
      state.playing = false;
    },
    setSpeed(slow, rounds) {
      Object.assign(state, { slow, rounds });
    },
    get id() {
      return state.game;
    },
    /** `ends`: whether the game ends with the page. */
    close(options) {
      removeEventListener("pagehide", onHide);
      removeEventListener("pageshow", onShow);
      close(options);
    },
  };
}
