/** The page of a run: pictures, curves and findings on one time line, live while it trains. */

import { get, session, stream } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { navigate, setParams } from "../router.js";
import { createTime } from "../time.js";
import { createTimeline } from "../timeline.js";
import { createCurves } from "./run_curves.js";
import { createConfiguration, createEvaluations, createNeighbours } from "./run_details.js";
import { createEvents, eventMarks, findingMarks, joined } from "./run_events.js";
import { createFindings } from "./run_findings.js";
import { createHead } from "./run_head.js";
import { createImages } from "./run_images.js";
import { whileReading } from "./run_reading.js";

const ADDRESS_MS = 200;
const MINUTE_MS = 60_000;
const DIAGNOSIS_MS = 1500;
const NO_CURVES = { nimg: [], series: {}, names: [], panels: [], damaged: 0 };
const DIAGNOSIS_PAUSE = 30; // times as long as the last one took: a long log must not slow down its training

export default { title: "run.title", open };

async function open(main, params) {
  const page = h("div", { class: "page run-page" });
  main.append(page);
  const run = params.get("run") ?? "";
  let detail;
  let curves;
  let known;
  try {
    [detail, curves, known] = await Promise.all([get("/api/run", { run }), get("/api/run/curves/look", { run }).catch(() => NO_CURVES), session()]);
  } catch (error) {
    replace(page, errorBox(error), h("p", null, h("a", { href: "/" }, t("shell.to_runs"))));
    return undefined;
  }
  if (!page.isConnected) return undefined;
  document.title = `${detail.name} · Ganvas`;
  const time = createTime(fromAddress(params));
  time.grow(Math.max(detail.nimg, curves.nimg.at(-1) ?? 0, detail.grids.at(-1)?.nimg ?? 0));
  return show(page, detail, curves, known.may_write, time, params);
}

function fromAddress(params) {
  const images = (name) => (params.get(name) === null || Number.isNaN(Number(params.get(name))) ? null : Math.round(1000 * Number(params.get(name))));
  const [from, to] = [images("from"), images("to")];
  return { at: images("at"), range: from !== null && to !== null && to > from ? [from, to] : null };
}

function show(page, detail, first, mayWrite, time, params) {
  const { run } = detail;
  const state = { events: detail.events, findings: [], timers: {}, pause: DIAGNOSIS_MS, isGone: false };
  const head = createHead(detail, mayWrite);
  const images = createImages(detail, time);
  const timeline = createTimeline(time, images.ready);
  const added = (params.get("add") ?? "").split(",").filter(Boolean);
  const curves = createCurves(run, time, first, added);
  const events = createEvents(time);
  const evaluations = createEvaluations(detail);
  const neighbours = createNeighbours(detail);
  const findings = createFindings(detail, time, mayWrite, (found) => {
    state.findings = found;
    drawMarks();
  });
  const damaged = [...(detail.files_damaged ?? [])];
  replace(
    page, head.element,
    damaged.length > 0 && h("ul", { class: "damaged small" }, damaged.map((text) => h("li", { lang: "en" }, icon("warning"), text))),
    h("div", { class: "run-columns" },
      h("div", { class: "run-left" }, images.element),
      h("div", { class: "run-right" }, findings.element, curves.element)),
    h("div", { class: "run-below" }, evaluations.element, neighbours.element, createConfiguration(detail), events.element),
    timeline.element,
  );

  function drawMarks() {
    const reveal = (name, nimg) => {
      if (!findings.has(name)) time.go(nimg);
      findings.reveal(name);
    };
    const marks = [
      ...findingMarks(state.findings, state.events, reveal),
      ...eventMarks(state.events, (event) => time.go(event.nimg)),
    ].sort((a, b) => a.x - b.x);
    timeline.setMarks(marks);
    curves.setMarks(marks);
  }

  function setBaseline() {
    const rows = detail.evaluations.filter((row) => row.values?.kernel?.baseline !== null && row.values?.kernel);
    if (rows.length) curves.setBaseline("quality", { value: rows.at(-1).values.kernel.baseline, label: t("run.baseline") });
  }

  const soon = (name, work, wait) => {
    state.timers[name] ??= setTimeout(() => {
      delete state.timers[name];
      work();
    }, wait);
  };
  const diagnose = async () => {
    const began = performance.now();
    await findings.load();
    state.pause = Math.max(DIAGNOSIS_MS, DIAGNOSIS_PAUSE * (performance.now() - began));
  };
  const diagnoseSoon = () => soon("diagnosis", diagnose, state.pause);

  evaluations.set(detail.evaluations);
  events.set(state.events);
  drawMarks();
  setBaseline();
  timeline.setRunning(detail.state === "training");
  timeline.redraw();
  readWhole();

  const clock = setInterval(() => head.update({}), MINUTE_MS); // which says how long ago the run has changed
  const ends = [
    () => clearInterval(clock),
    time.on(["at"], () => soon("address", () => setParams({ at: time.following ? null : time.at / 1000 }), ADDRESS_MS)),
    stream("/api/run/stream", { run, after: detail.position }, {
      open: () => head.setLost(false),
      lost() {
        head.setLost(true);
        soon("refresh", refresh, DIAGNOSIS_MS);
      },
      gone: () => setGone(true),
      jobs({ jobs }) {
        const own = jobs.some((job) => job.kind === "evaluate" && job.state === "running" && job.run === run);
        head.setEvaluating(own);
        evaluations.setRunning(own);
      },
      card(card) {
        setGone(false);
        const before = detail.state;
        Object.assign(detail, { state: card.state, nimg: card.nimg });
        const { snapshots, ...rest } = card;
        head.update(rest);
        timeline.setRunning(card.state === "training");
        time.grow(Math.max(time.newest, card.nimg));
        if (before !== card.state) refresh();
      },
      lines(data) {
        time.grow(Math.max(time.newest, data.nimg.at(-1) ?? 0));
        curves.append(data)?.catch?.(() => {});
        diagnoseSoon();
      },
      grid(grid) {
        images.addGrid(grid);
        time.grow(Math.max(time.newest, grid.nimg));
        timeline.redraw();
        soon("refresh", refresh, DIAGNOSIS_MS);
      },
      event(event) {
        setEvents(joined(state.events, [event]));
      },
      evaluation(row) {
        setEvaluations(joined(detail.evaluations, [row]));
        refresh();
      },
      reset() {
        if (state.isGone) { // it is another run of this name
          navigate(location.pathname + location.search, { replace: true });
          return;
        }
        curves.load().catch(() => {});
        soon("reset", readAgain, 0);
      },
    }, "after"),
  ];

  /** All lines of a long log, of which there was only a look, and those of other quantities; then the diagnosis. */
  async function readWhole() {
    if (first.sampled || added.length) await whileReading(curves.element, run, curves.load().catch(() => {}));
    if (first.nimg.length && page.isConnected) diagnose();
  }

  /** Snapshots, film and the rest that no event carries. */
  async function refresh() {
    try {
      const fresh = await get("/api/run", { run });
      images.update(fresh);
      evaluations.set(detail.evaluations); // the first snapshot can be evaluated
      neighbours.set(fresh.nearest);
      head.update(fresh);
      return fresh;
    } catch (error) {
      if (error.status === 404) setGone(true);
      return null; // the stream tells what is new
    }
  }

  /** All of it, after a log was written anew. */
  async function readAgain() {
    const fresh = await refresh();
    if (!fresh) return;
    setEvents(fresh.events);
    setEvaluations(fresh.evaluations);
    images.setGrids(fresh.grids);
    time.grow(Math.max(fresh.nimg, fresh.grids.at(-1)?.nimg ?? 0));
    timeline.redraw();
  }

  function setGone(isGone) {
    state.isGone = isGone;
    head.setGone(isGone);
  }

  function setEvents(found) {
    state.events = found;
    events.set(found);
    drawMarks();
  }

  function setEvaluations(found) {
    detail.evaluations = found;
    evaluations.set(found);
    setBaseline();
  }

  return () => {
    ends.forEach((end) => end());
    Object.values(state.timers).forEach(clearTimeout);
    for (const part of [timeline, curves, findings, images]) part.close();
  };
}
