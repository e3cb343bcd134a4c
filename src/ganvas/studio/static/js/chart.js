/**
 * A chart of series over one axis: lines with bands, a cursor, marks, zoom by dragging and by keys, and a table.
 * It keeps no range or cursor of its own: it reports what the user asks for, and shows what it is told.
 */

import { h, icon, inFrame, replace, setText, svg } from "./dom.js";
import { kimg, number, ticksText } from "./format.js";
import { t } from "./i18n.js";
import { bandPath, domain, linePath, logTicks, mergeMarks, nearest, roomForWords, scale, ticks } from "./scale.js";

const MARGIN = { left: 52, right: 14, top: 24, bottom: 24 };
const HEIGHT = 208;
const DRAG = 5;
const LETTER = 6.2;
const TICK_LETTERS = Math.floor((MARGIN.left - 8) / LETTER);

let count = 0;

/**
 * @param {object} options
 * @param {string} options.title
 * @param {{name: string, label: string, color: string}[]} options.series  color: d, g, real, fake, 1 … 4
 * @param {boolean} options.log  whether it starts with a logarithmic scale
 * @param {(x: number) => string} options.formatX  @param {string} options.unitX
 * @param {(x: number) => void} options.onCursor  a click on the plot
 * @param {(x: number|null) => void} options.onHover  so that other charts can show the same place
 * @param {(from: number|null, to?: number) => void} options.onZoom  null: all of it
 * @param {(event: KeyboardEvent) => void} options.onKey  a key pressed on the plot
 * @param {() => void} options.onRemove  shows a button that removes the chart
 */
export function createChart({
  title, series, log = false, formatX = kimg, unitX = "kimg", onCursor, onHover, onZoom, onKey, onRemove,
}) {
  const id = `chart-${++count}`;
  const state = { x: [], series: {}, range: null, cursor: null, hover: null, marks: [], baseline: null, log, width: 0, inSight: false };
  const view = { toX: null, toY: null, from: 0, to: 1, first: 0, last: -1 };

  const lines = series.map((one) => ({ ...one, band: svg("path", { class: `band tone-${one.color}` }), path: svg("path", { class: `line tone-${one.color}` }), dot: svg("circle", { class: `dot out tone-${one.color}`, r: 3.5 }), value: h("span", { class: "legend-value" }) }));
  const grid = svg("g", { class: "grid-lines" });
  const inner = svg("svg", { class: "plot-area", overflow: "hidden" }, lines.map((one) => one.band), lines.map((one) => one.path));
  const baseline = svg("g", { class: "baseline", hidden: true });
  const markLines = svg("g", { class: "mark-lines" });
  const hoverText = svg("text", { class: "tick-x", y: HEIGHT - MARGIN.bottom + 16 });
  const hoverLine = svg("g", { class: "hover-line out" }, svg("line", { y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }), hoverText);
  const cursorLine = svg("g", { class: "cursor out" }, svg("line", { y1: MARGIN.top - 4, y2: HEIGHT - MARGIN.bottom }), svg("circle", { cy: HEIGHT - MARGIN.bottom, r: 4 }));
  const selection = svg("rect", { class: "selection", y: MARGIN.top, height: HEIGHT - MARGIN.top - MARGIN.bottom });
  const drawing = svg("svg", { class: "chart-drawing", "aria-hidden": "true", height: HEIGHT }, grid, inner, baseline, markLines, selection, hoverLine, lines.map((one) => one.dot), cursorLine);
  const flags = h("div", { class: "chart-flags" });
  const plot = h("div", { class: "chart-plot", tabindex: 0, role: "group", "aria-roledescription": t("chart.chart"), "aria-label": title, "aria-describedby": `${id}-keys` }, drawing, flags);
  const empty = h("p", { class: "chart-empty muted", hidden: true }, t("chart.empty"));
  const logButton = h("button", { type: "button", class: "chip", "aria-pressed": String(log), title: t("chart.log.title"), on: { click: toggleLog } }, t("chart.log"));
  const table = h("div", { class: "table-scroll" });
  const details = h("details", { class: "chart-table", on: { toggle: drawTable } }, h("summary", null, t("chart.table")), table);
  const element = h(
    "section",
    { class: "chart", "aria-labelledby": `${id}-title` },
    h("header", { class: "chart-head" },
      h("h3", { id: `${id}-title` }, title),
      h("div", { class: "chart-tools" }, logButton, onRemove && h("button", { type: "button", class: "chip", "aria-label": t("chart.remove", { title }), on: { click: onRemove } }, icon("close")))),
    h("ul", { class: "legend" }, lines.map((one) => h("li", { class: `tone-${one.color}` }, h("span", { class: "swatch" }), h("span", null, one.label), one.value))),
    plot, empty,
    h("p", { class: "visually-hidden", id: `${id}-keys` }, t("chart.keys")),
    details,
  );

  // a chart out of sight is drawn once, and then again when it comes into sight
  const draw = inFrame(() => (state.inSight || !view.toX) && drawAll());
  const moveCursor = inFrame(() => state.inSight && drawCursor());
  const sight = new IntersectionObserver(([entry]) => {
    state.inSight = entry.isIntersecting;
    draw();
  }, { rootMargin: "60px" });
  sight.observe(element);
  const observer = new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width && width !== state.width) {
      state.width = width;
      draw();
    }
  });
  observer.observe(plot);

  function toggleLog() {
    state.log = !state.log;
    logButton.setAttribute("aria-pressed", String(state.log));
    draw();
  }

  function drawAll() {
    const { x, width } = state;
    const known = lines.map((one) => state.series[one.name]).filter(Boolean);
    empty.hidden = known.some((one) => one.mean.some((value) => value !== null));
    plot.hidden = !empty.hidden;
    if (!width || plot.hidden) return;
    const [from, to] = state.range ?? [x[0] ?? 0, x.at(-1) ?? 1];
    Object.assign(view, { from, to: to > from ? to : from + 1 });
    const right = width - MARGIN.right;
    // one point beyond each end, so that lines run into the edges
    view.first = Math.max(0, nearest(x, from) - 1);
    view.last = Math.min(x.length - 1, nearest(x, to) + 1);
    view.toX = scale([view.from, view.to], [MARGIN.left, right]);
    const bounds = domain(known, view.first, view.last, state.log, state.baseline ? [state.baseline.value] : []);
    view.toY = scale(bounds, [HEIGHT - MARGIN.bottom, MARGIN.top], state.log);
    view.toY.floor = HEIGHT - MARGIN.bottom;
    drawing.setAttribute("width", width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const area = { x: MARGIN.left, y: MARGIN.top - 2, width: Math.max(0, right - MARGIN.left + 2), height: HEIGHT - MARGIN.top - MARGIN.bottom + 4 };
    for (const [name, value] of Object.entries(area)) inner.setAttribute(name, value);
    inner.setAttribute("viewBox", `${area.x} ${area.y} ${area.width} ${area.height}`);
    drawAxes(bounds, right);
    for (const one of lines) {
      const data = state.series[one.name];
      const inside = data && view.last >= 0;
      one.path.setAttribute("d", inside ? linePath(x, data.mean, view.first, view.last, view.toX, view.toY) : "");
      one.band.setAttribute("d", inside && data.low ? bandPath(x, data.low, data.high, view.first, view.last, view.toX, view.toY) : "");
    }
    drawBaseline(right);
    drawMarks(right);
    drawCursor();
    if (details.open) drawTable();
  }

  function drawAxes(bounds, right) {
    const rows = state.log ? logTicks(...bounds, 4) : ticks(...bounds, 4);
    const texts = ticksText(rows, TICK_LETTERS);
    const bottom = HEIGHT - MARGIN.bottom;
    const labels = labelsOf(ticks(view.from, view.to, Math.max(2, Math.floor((right - MARGIN.left) / 90))), right);
    replace(
      grid,
      rows.map((value, i) => [
        svg("line", { x1: MARGIN.left, x2: right, y1: view.toY(value), y2: view.toY(value), class: value === 0 ? "zero" : null }),
        svg("text", { x: MARGIN.left - 8, y: view.toY(value), class: "tick-y" }, texts[i]),
      ]),
      labels.map(([at, text, end]) => svg("text", { x: at, y: bottom + 16, class: end ? "tick-x at-end" : "tick-x" }, text)),
      svg("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }),
    );
  }

  /** [place, text, whether it ends there] of each tick; the first one names the unit. */
  function labelsOf(values, right) {
    return values.map((value, i) => {
      const text = i ? formatX(value) : `${formatX(value)} ${unitX}`;
      const at = view.toX(value);
      return [at, text, at + (text.length * LETTER) / 2 > right + MARGIN.right];
    });
  }

  function drawBaseline(right) {
    const at = state.baseline && view.toY(state.baseline.value);
    baseline.toggleAttribute("hidden", !state.baseline || at === null);
    if (baseline.hasAttribute("hidden")) return replace(baseline);
    replace(baseline, svg("line", { x1: MARGIN.left, x2: right, y1: at, y2: at }), svg("text", { x: right, y: at - 5 }, state.baseline.label));
  }

  function drawMarks(right) {
    const shown = mergeMarks(state.marks.filter((mark) => mark.x >= view.from && mark.x <= view.to), view.toX, 26);
    const places = shown.map((mark) => mark.place);
    const words = roomForWords(places, shown.map((mark) => 32 + mark.label.length * 6.4), right + 4);
    replace(markLines, shown.map((mark) => svg("line", { x1: mark.place, x2: mark.place, y1: MARGIN.top - 4, y2: HEIGHT - MARGIN.bottom, "data-severity": mark.severity })));
    replace(
      flags,
      shown.map((mark, i) =>
        h("button", { type: "button", class: "flag", tabindex: -1, dataset: mark.severity ? { severity: mark.severity } : {}, title: mark.title, "aria-label": mark.title, style: { left: `${mark.place}px` }, on: { click: mark.onClick, pointerdown: (event) => event.stopPropagation() } },
          icon(mark.icon ?? mark.severity), words[i] && h("span", null, mark.label))),
    );
  }

  function drawCursor() {
    if (!view.toX || plot.hidden) return;
    const inside = (value) => value !== null && value >= view.from && value <= view.to;
    cursorLine.classList.toggle("out", !inside(state.cursor));
    if (inside(state.cursor)) cursorLine.setAttribute("transform", `translate(${view.toX(state.cursor)} 0)`);
    hoverLine.classList.toggle("out", !inside(state.hover));
    const wanted = state.hover ?? state.cursor;
    const index = wanted === null ? state.x.length - 1 : nearest(state.x, wanted);
    if (inside(state.hover) && index >= 0) {
      hoverLine.setAttribute("transform", `translate(${view.toX(state.x[index])} 0)`);
      setText(hoverText, formatX(state.x[index]));
    }
    for (const one of lines) {
      const data = state.series[one.name];
      const at = data && (wanted === null || inside(wanted)) ? lastKnown(data.mean, index) : -1;
      const value = at < 0 ? null : data.mean[at];
      setText(one.value, value === null ? "–" : number(value));
      const y = value === null ? null : view.toY(value);
      const visible = y !== null && wanted !== null && inside(state.x[at]);
      one.dot.classList.toggle("out", !visible);
      if (visible) one.dot.setAttribute("transform", `translate(${view.toX(state.x[at])} ${y})`);
    }
  }

  /** The index of the value read at `index`: its own, or for a quantity measured now and then the one before. */
  function lastKnown(values, index) {
    for (let i = index; i >= 0 && i > index - 200; i--) if (values[i] !== null && values[i] !== undefined) return i;
    return -1;
  }

  function drawTable() {
    if (!details.open) return replace(table);
    const step = Math.max(1, Math.ceil((view.last - view.first + 1) / 60));
    const rows = [];
    for (let i = view.last; i >= view.first && i >= 0; i -= step) rows.push(i);
    replace(
      table,
      h("table", { class: "table" },
        h("caption", { class: "visually-hidden" }, title),
        h("thead", null, h("tr", null, h("th", { scope: "col", class: "num" }, unitX), lines.map((one) => h("th", { scope: "col", class: "num" }, one.label)))),
        h("tbody", null, rows.reverse().map((i) => h("tr", null, h("th", { scope: "row", class: "num" }, formatX(state.x[i])), lines.map((one) => h("td", { class: "num" }, number(state.series[one.name]?.mean[i])))))),
      ),
    );
  }

  listen({ plot, selection, view, right: () => state.width - MARGIN.right, onCursor, onZoom, onKey, hover });

  function hover(value) {
    if (onHover) return onHover(value);
    state.hover = value;
    moveCursor();
  }

  return {
    element,
    /** @param {{x: number[], series: Object<string, {mean, low?, high?}>}} data  x ascending */
    setData(data) {
      Object.assign(state, { x: data.x, series: data.series });
      draw();
    },
    setCursor(value) {
      state.cursor = value;
      moveCursor();
    },
    setHover(value) {
      state.hover = value;
      moveCursor();
    },
    setRange(from, to) {
      state.range = from === null ? null : [from, to];
      draw();
    },
    /** @param {{x: number, severity: string, icon?: string, label: string, onClick: () => void}[]} marks */
    setMarks(marks) {
      state.marks = marks;
      draw();
    },
    /** A level to compare with: {value, label}, or null. */
    setBaseline(level) {
      state.baseline = level;
      draw();
    },
    close() {
      observer.disconnect();
      sight.disconnect();
      draw.cancel();
      moveCursor.cancel();
    },
  };
}

/** Pointer and keys of a plot: hover, a click places the cursor, dragging zooms, a double click shows all of it. */
function listen({ plot, selection, view, right, onCursor, onZoom, onKey, hover }) {
  let start = null;
  const place = (event) => Math.min(Math.max(event.clientX - plot.getBoundingClientRect().left, MARGIN.left), right());
  const valueAt = (pixel) => view.from + ((pixel - MARGIN.left) / Math.max(1, right() - MARGIN.left)) * (view.to - view.from);
  const endDrag = () => {
    start = null;
    plot.classList.remove("dragging");
  };
  const drawSelection = inFrame((from, to) => {
    selection.setAttribute("x", Math.min(from, to));
    selection.setAttribute("width", Math.abs(to - from));
  });
  plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    start = place(event);
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => {
    const at = place(event);
    hover(valueAt(at));
    if (start === null || !onZoom) return;
    if (Math.abs(at - start) > DRAG) plot.classList.add("dragging");
    drawSelection(start, at);
  });
  plot.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [from, to] = [start, place(event)].sort((a, b) => a - b);
    const zooms = plot.classList.contains("dragging");
    endDrag();
    if (zooms) onZoom?.(valueAt(from), valueAt(to));
    else onCursor?.(valueAt(to));
  });
  plot.addEventListener("pointercancel", endDrag);
  plot.addEventListener("pointerleave", () => hover(null));
  plot.addEventListener("dblclick", () => onZoom?.(null));
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && start !== null) return endDrag();
    onKey?.(event);
  });
}
