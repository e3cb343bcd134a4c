/** The curves of a log, in charts that share one range and one cursor, with the findings where they began. */

import { createChart } from "../chart.js";
import { h } from "../dom.js";
import { number } from "../format.js";
import { t } from "../i18n.js";
import { nearest, shifted, zoomed } from "../scale.js";

const PANELS = [
  ["losses", /\/loss/],
  ["outputs", /^D\/(real|fake|sign)/],
  ["accuracy", /accuracy/],
  ["gradients", /\/(gradient|gp)$/],
];
const TONES = { "D/loss": "d", "G/loss": "g", "D/gradient": "d", "G/gradient": "g" };
const CHARTS = 12;

/** `answer.curves`: {x, unit, series: {name: values}, low?, high?}. `onFinding(index)` is called for a mark. Returns {element, close}. */
export function curvesView({ answer, onFinding }) {
  const { x, unit, series } = answer.curves;
  const unitText = t(`diagnose.unit.${unit}`);
  const full = [x[0], x.at(-1)];
  const state = { range: null, cursor: null };
  const everywhere = (work) => charts.forEach(work);
  const onZoom = (from, to) => {
    state.range = from === null ? null : [from, to];
    everywhere((chart) => chart.setRange(from, to));
  };
  const onCursor = (value) => {
    state.cursor = x[nearest(x, value)];
    everywhere((chart) => chart.setCursor(state.cursor));
  };
  const onHover = (value) => everywhere((chart) => chart.setHover(value));
  const smallest = (full[1] - full[0]) / 1000;
  const zoom = (factor) => {
    const range = state.range ?? full;
    onZoom(...(zoomed(range, factor, state.cursor ?? (range[0] + range[1]) / 2, full, smallest) ?? [null]));
  };
  const onKey = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.shiftKey) state.range && onZoom(...shifted(state.range, step * 0.25, full));
    else if (step) onCursor(x[Math.min(Math.max((state.cursor === null ? x.length : nearest(x, state.cursor)) + step, 0), x.length - 1)]);
    else if (event.key === "+" || event.key === "=") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") onZoom(null);
    else return;
    event.preventDefault();
  };
  const marks = answer.findings
    .map((finding, index) => ({ x: finding.since, severity: finding.severity, label: finding.name, onClick: () => onFinding(index) }))
    .filter((mark) => mark.severity !== "note");
  const charts = panels(Object.keys(series)).slice(0, CHARTS).map(({ title, names }) => {
    const chart = createChart({
      title,
      series: names.map((name, i) => ({ name, label: names.length > 1 || name !== title ? name : title, color: tone(name, i) })),
      formatX: (value) => number(value, 4), unitX: unitText, onCursor, onHover, onZoom, onKey,
    });
    chart.setData({ x, series: Object.fromEntries(names.map((name) => [name, withBand(answer.curves, name)])) });
    chart.setMarks(marks);
    return chart;
  });
  return {
    element: h(
      "section",
      { class: "diagnose-curves" },
      h("h2", null, t("diagnose.curves")),
      h("div", { class: "diagnose-charts" }, charts.map((chart) => chart.element)),
    ),
    close: () => everywhere((chart) => chart.close()),
  };
}

function panels(names) {
  const left = names.filter((name) => !name.endsWith("/std"));
  const found = [];
  for (const [key, pattern] of PANELS) {
    const some = left.filter((name) => pattern.test(name));
    if (some.length) found.push({ title: t(`diagnose.panel.${key}`), names: some.slice(0, 6) });
  }
  const rest = left.filter((name) => !PANELS.some(([, pattern]) => pattern.test(name)));
  return [...found, ...rest.map((name) => ({ title: name, names: [name] }))];
}

/** With a band: the extremes of what was gathered into one point, or a standard deviation that the log has. */
function withBand({ series, low, high }, name) {
  const mean = series[name];
  if (low?.[name]) return { mean, low: low[name], high: high[name] };
  const std = series[`${name}/std`];
  if (!std) return { mean };
  const at = (sign) => mean.map((value, i) => (value === null || std[i] === null ? null : value + sign * std[i]));
  return { mean, low: at(-1), high: at(1) };
}

function tone(name, index) {
  if (name in TONES) return TONES[name];
  if (/real/.test(name)) return "real";
  if (/fake/.test(name)) return "fake";
  return String((index % 4) + 1);
}
