/** The comparisons in the folders: their trainings as they go, what was found, the report; a running one can be stopped. */

import { get, post } from "../api.js";
import { commandBox } from "../command.js";
import { h, icon, keyed, replace, setAttribute, setText } from "../dom.js";
import { duration, kimg } from "../format.js";
import { t } from "../i18n.js";
import { runAddress } from "../jobs.js";
import { errorBox } from "../messages.js";
import { progressText } from "../progress.js";
import { toast, toastError } from "../toast.js";

const RUNNING_MS = 1500;
const RESTING_MS = 10_000;

/** Whether it goes on, as a job of the server or as that of one before it. */
const goesOn = (comparison) => Boolean(comparison.job || comparison.elsewhere);

/** Returns {element, refresh, close}; it looks again by itself, more often while one is running. */
export function comparisonList({ mayWrite }) {
  const list = h("div", { class: "stack" });
  const problem = h("div");
  const element = h("section", { class: "stack", "aria-label": t("compare.list") }, h("h2", null, t("compare.list")), problem, list);
  let timer = 0;
  let over = false;

  async function refresh() {
    clearTimeout(timer);
    let wait = RESTING_MS;
    try {
      const { comparisons } = await get("/api/comparisons");
      if (over) return;
      replace(problem);
      element.hidden = !comparisons.length;
      keyed(list, comparisons, (one) => one.folder, makeCard, (card, one) => card.update(one));
      if (comparisons.some(goesOn)) wait = RUNNING_MS;
    } catch (error) {
      if (!over) replace(problem, errorBox(error));
    }
    if (!over) timer = setTimeout(refresh, wait);
  }

  function makeCard() {
    const state = h("span", { class: "badge", role: "status" });
    const title = h("h3");
    const sentence = h("p", { class: "compare-sentence" });
    const now = h("p", { class: "small" });
    const bar = h("progress", { max: 1, "aria-label": t("compare.progress") });
    const report = h("a", { class: "button", target: "_blank", rel: "noopener" }, icon("report"), t("compare.open_report"));
    const stop = h("button", { type: "button", class: "button danger", disabled: !mayWrite }, icon("stop"), t("run.stop"));
    const tiles = h("div", { class: "compare-runs" });
    const command = h("div");
    let shown = null;
    stop.addEventListener("click", async () => {
      stop.disabled = true;
      try {
        await post("/api/stop", shown.job ? { job: shown.job } : { comparison: shown.folder });
        toast(t("run.stopping"));
      } catch (error) {
        toastError(error);
        stop.disabled = !mayWrite;
      }
    });
    const card = h("article", { class: "panel stack" }, h("div", { class: "row compare-title" }, title, state, h("div", { class: "row compare-actions" }, stop, report)), bar, now, sentence, tiles, command);
    card.update = (one) => {
      const complete = one.runs.filter((run) => run.state === "complete").length;
      const isRunning = goesOn(one);
      const text = isRunning ? t(one.stopping ? "compare.is.stopping" : "compare.is.running") : t("compare.is.ended", { n: complete, all: one.runs.length });
      if (state.textContent !== text) replace(state, isRunning && h("span", { class: "live-dot" }), text);
      setText(title, one.name);
      setText(sentence, one.sentence ?? t("compare.no_sentence"));
      setAttribute(sentence, "lang", one.sentence && "en");
      bar.hidden = now.hidden = !one.progress;
      if (one.progress) {
        setText(now, doingText(one.progress));
        if (one.progress.part) bar.value = one.progress.part;
        else bar.removeAttribute("value");
      }
      report.hidden = !one.report;
      setAttribute(report, "href", one.report);
      stop.hidden = !isRunning;
      if (!isRunning) stop.disabled = !mayWrite; // the card stays when the comparison goes on later
      else if (one.stopping) stop.disabled = true;
      keyed(tiles, one.runs, (run) => run.run, makeRun, (tile, run) => tile.update(run));
      if (one.command !== shown?.command) replace(command, one.command && [h("p", { class: "small muted" }, t("compare.continues")), commandBox(one.command)]);
      shown = one;
    };
    return card;
  }

  refresh();
  return {
    element,
    refresh,
    close() {
      over = true;
      clearTimeout(timer);
    },
  };
}

/** What a running comparison does now. */
function doingText(progress) {
  const { stage, name, number: n, trainings: all, nimg, minutes, seconds } = progress;
  if (stage === "reading") return t("compare.now.reading");
  if (stage === "starting") return t("compare.now.starting", { n, all, name, time: duration(seconds) });
  if (stage === "measuring") return all ? t("compare.now.measuring", { n, all }) : t("compare.now.measuring_runs");
  const text = minutes ? t("compare.of_minutes", { now: Math.round(seconds / 6) / 10, n: minutes, kimg: kimg(nimg) }) : progressText(progress);
  return t("compare.now.training", { n, all, name, text });
}

/** A training of a comparison: its newest images, its name, and how far it is. */
function makeRun(run) {
  const image = h("img", { class: "pixelated", loading: "lazy" });
  const bar = h("span");
  const progress = h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const detail = h("p", { class: "small muted" });
  const tile = h("a", { class: "compare-run", href: runAddress(run.run) }, image, h("p", { class: "small" }, run.name), progress, detail);
  tile.update = (now) => {
    image.hidden = !now.grid;
    if (now.grid && image.getAttribute("src") !== now.grid) image.src = now.grid;
    image.alt = t("compare.picture", { run: now.name, kimg: kimg(now.nimg) });
    bar.style.transform = `scaleX(${now.part})`;
    progress.setAttribute("aria-label", now.name);
    progress.setAttribute("aria-valuenow", Math.round(100 * now.part));
    setText(detail, `${t(`runs.is.${now.state}`)} · ${progressText(now)}`);
  };
  return tile;
}
