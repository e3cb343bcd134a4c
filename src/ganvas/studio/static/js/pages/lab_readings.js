/** The numbers of the game of the lab: how far it is, the scale of D's output, G's points by parts, curves. */

import { createChart } from "../chart.js";
import { h, replace, setText } from "../dom.js";
import { integer, number, percent } from "../format.js";
import { t } from "../i18n.js";

const CHARTS = [
  { key: "losses", series: [["D/loss", "d"], ["G/loss", "g"]] },
  { key: "outputs", series: [["D/real", "real"], ["D/fake", "fake"]] },
  { key: "quality", series: [["covered", "1"], ["good", "2"]] },
];
const NAMES = CHARTS.flatMap(({ series }) => series.map(([name]) => name));
const CHART_MS = 250;
const SAID_MS = 3000;
const MOST = 1500;

export const emptyHistory = () => ({ x: [], ...Object.fromEntries(NAMES.map((name) => [name, []])) });

/** Adds a frame; of more than MOST every second one is dropped. */
export function record(history, frame) {
  if (!frame.round || frame.round === history.x.at(-1)) return;
  history.x.push(frame.round);
  const values = { ...frame.curves, covered: frame.covered / frame.parts, good: frame.good };
  for (const name of NAMES) history[name].push(values[name] ?? null);
  if (history.x.length > MOST) for (const name of ["x", ...NAMES]) history[name] = history[name].filter((_, i) => i % 2);
}

export function createReadings() {
  const now = h("p", { class: "lab-now", id: "lab-now" });
  const outside = h("p", { class: "small lab-outside", hidden: true });
  const said = h("p", { class: "visually-hidden", role: "status" });
  const level = h("p", { class: "lab-scale small" });
  const table = h("div", { class: "table-scroll" });
  const numbers = h("details", { class: "lab-table", on: { toggle: () => latest && drawTable(latest.frame) } }, h("summary", null, t("lab.table")), table);
  const charts = CHARTS.map(({ key, series }) =>
    createChart({ title: t(`lab.chart.${key}`), series: series.map(([name, color]) => ({ name, color, label: t(`lab.series.${name.replace("/", "_").toLowerCase()}`) })), formatX: integer, unitX: t("lab.rounds") }),
  );
  let latest = null;
  let drawnAt = 0;
  let saidAt = 0;
  let later = 0;

  function draw() {
    const { frame, history, beyond, isPlaying } = latest;
    drawnAt = performance.now();
    const { round, covered, parts, modes, good } = frame;
    const text = t(modes ? "lab.now.modes" : "lab.now.parts", { round, n: covered, parts, good: percent(good) });
    setText(now, text);
    if (drawnAt - saidAt > SAID_MS || !isPlaying) {
      saidAt = drawnAt;
      setText(said, text);
    }
    outside.hidden = !beyond;
    setText(outside, t("lab.outside", { n: beyond }));
    replace(level, h("span", null, t("lab.scale.fake", { value: number(frame.low, 2) })), h("span", { class: "lab-bar", role: "presentation" }), h("span", null, t("lab.scale.real", { value: number(frame.high, 2) })), h("span", { class: "muted" }, t(`lab.scale.${frame.probability ? "probability" : frame.signed ? "level" : "logit"}`)));
    charts.forEach((chart, i) => chart.setData({ x: history.x, series: Object.fromEntries(CHARTS[i].series.map(([name]) => [name, { mean: history[name] }])) }));
    drawTable(frame);
  }

  function drawTable({ counts, modes }) {
    if (!numbers.open) return;
    const rows = counts.map((count, i) => h("tr", null, h("th", { scope: "row" }, t(modes ? "lab.table.mode" : "lab.table.part", { n: i + 1 })), h("td", { class: "num" }, integer(count))));
    replace(table, h("table", { class: "table" }, h("caption", { class: "visually-hidden" }, t("lab.table")), h("thead", null, h("tr", null, h("th", { scope: "col" }, ""), h("th", { scope: "col", class: "num" }, t("lab.table.count")))), h("tbody", null, rows)));
  }

  return {
    numbers: [level, now, said, outside, numbers],
    charts: charts.map((chart, i) => h("div", { class: "lab-chart" }, chart.element, h("p", { class: "small muted" }, t(`lab.chart.${CHARTS[i].key}.help`)))),
    /** Shows a frame: at once where the game rests, otherwise a few times a second. `beyond`: G's points outside the picture. */
    show(frame, { history, beyond, isPlaying }) {
      latest = { frame, history, beyond, isPlaying };
      clearTimeout(later);
      if (performance.now() - drawnAt > CHART_MS || !isPlaying) draw();
      else later = setTimeout(draw, CHART_MS);
    },
    close() {
      clearTimeout(later);
      for (const chart of charts) chart.close();
    },
  };
}
