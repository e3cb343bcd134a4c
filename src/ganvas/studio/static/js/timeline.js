/** The bar at the bottom of a run: plays the training, one slider over images shown, marks above it. */

import { h, icon, inFrame, replace, setAttribute, setText, svg } from "./dom.js";
import { kimg, kimgExact } from "./format.js";
import { t } from "./i18n.js";
import { mergeMarks } from "./scale.js";
import { stepByKey } from "./time.js";

const FILM_MS = 9000;
const FRAME_MS = [60, 420];
const THUMB = 16;

/**
 * @param {object} time  of time.js
 * @param {(nimg: number) => Promise<void>} ready  resolves when the pictures of that place are there
 */
export function createTimeline(time, ready) {
  const slider = h("input", {
    type: "range", class: "timeline-slider", min: 0, max: 1, step: 1, "aria-label": t("run.slider"),
    on: {
      input: () => time.go(Number(slider.value)),
      keydown: (event) => (event.key === " " ? toggle(event) : stepByKey(time, event)),
    },
  });
  const button = (name, label, click) => h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, on: { click } }, icon(name));
  const play = button("play", t("run.play"), toggle);
  play.classList.add("timeline-play");
  const ticks = svg("path", { class: "timeline-ticks" });
  const lane = svg("svg", { class: "timeline-lane", "aria-hidden": "true", preserveAspectRatio: "none", viewBox: "0 0 1000 10" }, ticks);
  const zoom = h("span", { class: "timeline-zoom", hidden: true });
  const flags = h("div", { class: "timeline-flags" });
  const now = h("span", { class: "timeline-now" });
  const all = h("span", { class: "muted" });
  const live = h("button", { type: "button", class: "chip timeline-live", on: { click: () => time.go(null) } }, h("span", { class: "live-dot" }), icon("last"), h("span", { class: "timeline-live-text" }, t("run.live")));
  const element = h(
    "div", { class: "timeline", role: "group", "aria-label": t("run.timeline") },
    h("div", { class: "timeline-buttons" },
      button("previous", t("run.previous"), () => time.step(-1)), play, button("next", t("run.next"), () => time.step(1))),
    h("div", { class: "timeline-track" }, flags, lane, zoom, slider),
    h("p", { class: "timeline-text" }, now, " ", all),
    live,
  );
  let playing = 0;
  let running = false;
  let marks = [];

  const place = (nimg) => `calc(${THUMB / 2}px + ${Math.min(1, nimg / time.full[1])} * (100% - ${THUMB}px))`;

  const draw = inFrame(() => {
    const max = Math.max(1, time.newest);
    if (Number(slider.max) !== max) slider.max = max;
    slider.value = time.now;
    slider.style.setProperty("--part", Math.min(1, time.now / max));
    const isGrid = !time.following && time.stops.includes(time.now);
    const text = isGrid ? kimgExact(time.now) : kimg(time.now);
    setText(now, text);
    setText(all, t("run.of_kimg", { total: kimg(time.newest) }));
    setAttribute(slider, "aria-valuetext", `${text} kimg`);
    live.classList.toggle("is-idle", !running && time.following);
    live.classList.toggle("is-live", running && time.following);
    setText(live.lastElementChild, running ? t("run.live") : t("run.newest"));
    live.firstElementChild.hidden = !running;
    live.children[1].toggleAttribute("hidden", time.following);
    live.title = live.lastElementChild.textContent;
  });
  const drawScale = inFrame(() => {
    const end = time.full[1];
    ticks.setAttribute("d", time.stops.map((stop) => `M${((stop / end) * 1000).toFixed(1)} 2v6`).join(""));
    zoom.hidden = !time.range;
    if (time.range) {
      const [from, to] = time.range.map((one) => Math.min(1, one / end));
      zoom.style.left = place(time.range[0]);
      zoom.style.width = `calc(${to - from} * (100% - ${THUMB}px))`;
    }
    const width = flags.clientWidth - THUMB;
    const merged = mergeMarks(marks.filter((mark) => mark.x <= end), (x) => (x / end) * width, 22);
    replace(
      flags,
      merged.map((mark) => {
        const title = `${kimg(mark.x)} kimg: ${mark.title}`;
        return h("button", { type: "button", class: "timeline-flag", title, "aria-label": title, dataset: mark.severity ? { severity: mark.severity } : {}, style: { left: place(mark.x) }, on: { click: mark.onClick } }, icon(mark.icon ?? mark.severity));
      }),
    );
    draw();
  });

  function toggle(event) {
    event?.preventDefault();
    if (playing) stop();
    else start();
  }

  async function start() {
    const turn = (playing = Math.random());
    const label = t("run.pause");
    replace(play, icon("pause"));
    play.title = label;
    play.setAttribute("aria-label", label);
    if (time.following) time.go(time.stops[0] ?? 0);
    const frame = Math.min(Math.max(FILM_MS / Math.max(1, time.stops.length), FRAME_MS[0]), FRAME_MS[1]);
    while (playing === turn && !time.following) {
      const shown = time.now;
      await Promise.all([ready(shown).catch(() => {}), new Promise((resolve) => setTimeout(resolve, frame))]);
      if (playing !== turn) return;
      if (time.now === shown) time.step(1); // else the user moved the slider: the film goes on from there
    }
    if (playing === turn) stop();
  }

  function stop() {
    playing = 0;
    replace(play, icon("play"));
    play.title = t("run.play");
    play.setAttribute("aria-label", t("run.play"));
  }

  /** Keys of the whole page, where nothing else wants them. */
  function onKey(event) {
    if (event.defaultPrevented || event.target.closest?.("input, select, textarea, dialog, .chart-plot")) return;
    if (event.key === " ") {
      if (!event.target.closest?.("button, a, summary, [tabindex='0']")) toggle(event);
    } else if (!event.shiftKey && !event.key.startsWith("Page")) stepByKey(time, event);
  }
  document.addEventListener("keydown", onKey);
  const ends = [time.on(["at"], draw), time.on(["newest", "range"], drawScale)];

  return {
    element,
    setMarks(found) {
      marks = found;
      drawScale();
    },
    setRunning(trains) {
      running = trains;
      draw();
    },
    /** The pictures, which the keys and the film step through, have changed. */
    redraw: drawScale,
    close() {
      stop();
      document.removeEventListener("keydown", onKey);
      ends.forEach((end) => end());
    },
  };
}
