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
  const state = { game, playing: false, slow: false, rounds: 4, probed: 0, busy: false, closed: false, last: 0, received: 0, shown: 0, turn: 0 };
  let asked = Promise.resolve();

  /** One request after the other. Gives what shows the frame, or null; a frame that comes after a newer one is not shown. */
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
        const number = ++state.received;
        return () => {
          if (state.closed || number < state.shown) return;
          state.shown = number;
          onFrame(frame);
        };
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

  /** Asks, and shows the frame; gives whether there was one. */
  async function showNext(path, body) {
    const show = await ask(path, body);
    show?.();
    return Boolean(show);
  }

  const begin = () => ["/api/lab/begin", () => (state.game ? { game: state.game, knobs: knobs() } : { knobs: knobs() })];
  const play = (rounds) => ["/api/lab/play", () => ({ game: state.game, knobs: knobs(), rounds, probed: state.probed })];

  /** The server plays on while the page draws. */
  async function loop() {
    const turn = ++state.turn; // one that was paused may still wait, for a page that is hidden
    const goesOn = () => state.playing && !state.closed && turn === state.turn;
    let drawn = Promise.resolve();
    while (goesOn()) {
      if (!state.game) await showNext(...begin());
      if (!goesOn()) return;
      const began = performance.now();
      const show = await ask(...play(state.slow ? 1 : state.rounds));
      await drawn;
      if (show) drawn = new Promise((done) => requestAnimationFrame(() => { show(); done(); }));
      const rest = state.slow ? SLOW_MS - (performance.now() - began) : 0;
      if (rest > 20) await new Promise((done) => setTimeout(done, rest));
    }
  }

  const keeping = setInterval(() => state.game && !state.busy && performance.now() - state.last > KEEP_MS && showNext(...play(0)), KEEP_MS);
  const onHide = () => {
    if (state.game && !state.closed) leave(state.game);
    close({ ends: false });
  };
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
    if (ends) asked.then(() => state.game && leave(state.game)); // after the request that is under way
  }

  return {
    get playing() {
      return state.playing;
    },
    /** Begins again, from the seed. */
    reset: () => showNext(...begin()),
    /** Takes other knobs; while it plays the next request has them. */
    change: () => (state.playing ? null : showNext(...play(0))),
    step: () => showNext(...play(1)),
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
