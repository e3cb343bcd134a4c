/** The picture as it is drawn; every iterate that was shown can be looked at again and kept. */

import { get } from "../api.js";
import { h, icon, replace, setText } from "../dom.js";
import { bytes, duration, number } from "../format.js";
import { t } from "../i18n.js";
import { follow, frameAddress, stopWork } from "../live.js";
import { errorBox } from "../messages.js";
import { newest } from "../newest.js";
import { fetchPicture, showBlob } from "../pictures.js";
import { learnTime, secondsLeft } from "./style_time.js";

/** `onEnd` is called when a drawing has ended. */
export function createResult({ onEnd }) {
  const image = h("img", { class: "style-image", alt: t("style.result") });
  const empty = h("p", { class: "muted style-empty" }, t("style.empty"));
  const frame = h("div", { class: "style-frame" }, image, empty);
  const status = h("p", { class: "small", role: "status" });
  const message = h("div");
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("style.progress") });
  const slider = h("input", { type: "range", class: "range", id: "style-iterate", min: 0, step: 1, on: { input: () => choose(Number(slider.value)) } });
  const sliderRow = h("div", { class: "range-row" }, h("label", { for: "style-iterate" }, t("style.iterate")), slider, h("output", { for: "style-iterate", class: "range-value" }));
  const stop = h("button", { type: "button", class: "button danger", on: { click: () => stopWork(state.id) } }, icon("stop"), t("style.stop"));
  const keep = h("a", { class: "button primary" });
  const state = { id: null, frames: [], chosen: null, work: null };
  let unfollow = () => {};
  let turn = 0;
  image.hidden = true;

  const showFrame = newest(async (number) => {
    const blob = await fetchPicture(frameAddress(state.id, number)).catch(() => null);
    if (!blob) return;
    image.hidden = false;
    empty.hidden = true;
    await showBlob(image, blob);
    image.dataset.frame = String(number);
    keep.href = frameAddress(state.id, number);
    keep.download = `styled-${String(number).padStart(4, "0")}.png`;
    replace(keep, icon("download"), t("style.keep", { size: bytes(blob.size) }));
    keep.hidden = false;
  });

  /** The number of a kept picture by its place among them; the last one follows the drawing. */
  function choose(index) {
    state.chosen = index >= state.frames.length - 1 ? null : state.frames[index];
    draw();
  }

  function draw() {
    const { frames, chosen } = state;
    const last = frames.length - 1;
    const index = chosen === null || !frames.includes(chosen) ? last : frames.indexOf(chosen);
    slider.max = String(Math.max(0, last));
    slider.value = String(index);
    const text = t("style.iterate.of", { n: index + 1, all: frames.length });
    setText(sliderRow.lastElementChild, text);
    slider.setAttribute("aria-valuetext", text);
    slider.style.setProperty("--part", String(last > 0 ? index / last : 1));
    sliderRow.hidden = frames.length < 2;
    if (frames.length && image.dataset.frame !== String(frames[index])) showFrame(frames[index]);
  }

  function update(work) {
    state.work = work;
    state.frames = work.frames;
    const { facts, state: now } = work;
    const running = now === "running";
    stop.hidden = bar.hidden = !running;
    stop.disabled = work.stopping;
    if (facts.steps) bar.value = facts.step / facts.steps;
    else bar.removeAttribute("value");
    if (running && work.stopping) setText(status, t("explore.stopping"));
    else if (running && facts.steps) setText(status, t("style.drawing", { step: facts.step, steps: facts.steps, width: facts.width, height: facts.height, loss: number(facts.loss), left: duration(secondsLeft(facts)) }));
    else if (running) setText(status, t("style.reading"));
    else if (work.error) setText(status, "");
    else setText(status, t(now === "done" ? "style.done" : "style.stopped", { left: duration(work.result?.seconds ?? 0) }));
    replace(message, work.error && errorBox(work.error));
    draw();
    if (running) return;
    if (now === "done" && facts.steps) learnTime(facts.work, work.result.seconds);
    onEnd();
  }

  function close() {
    turn += 1;
    unfollow();
    unfollow = () => {};
  }

  stop.hidden = keep.hidden = bar.hidden = sliderRow.hidden = true;
  return {
    element: h("section", { class: "panel stack style-result", "aria-label": t("style.result") }, frame, bar, status, sliderRow, h("div", { class: "row" }, stop, keep), message),
    running: () => state.work?.state === "running",
    /** Follows a work; `onGone` where it is not there any more. */
    async watch(id, onGone = () => {}) {
      close();
      const own = turn;
      const { works } = await get("/api/live");
      if (own !== turn) return undefined; // closed meanwhile, or another one is watched
      const found = works.find((one) => one.id === id && one.kind === "style");
      if (!found) return onGone();
      Object.assign(state, { id, frames: [], chosen: null, work: found });
      delete image.dataset.frame;
      update(found);
      unfollow = follow(id, { onWork: update });
      return undefined;
    },
    close,
  };
}
