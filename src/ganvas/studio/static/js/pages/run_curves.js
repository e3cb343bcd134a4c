/** The curves of a run: panels with one cursor and one range; raw lines where they are zoomed; other quantities to add. */

import { get } from "../api.js";
import { createChart } from "../chart.js";
import { h, icon, replace } from "../dom.js";
import { has, t } from "../i18n.js";
import { setParams } from "../router.js";
import { lastUpTo, shifted, zoomed } from "../scale.js";
import { stepByKey } from "../time.js";

const POINTS = 600;
const MOST_POINTS = 1500;
const WAIT_MS = 140;
const SMALLEST = 200;

/** Puts lines at the end of columns, in place of those from their first one on. */
function addLines(columns, nimg, series) {
  const kept = lastUpTo(columns.nimg, nimg[0] - 1) + 1;
  columns.nimg.splice(kept, Infinity, ...nimg);
  for (const [name, one] of Object.entries(columns.series)) {
    for (const which of ["mean", "low", "high"]) one[which].splice(kept, Infinity, ...(series[name]?.[which] ?? nimg.map(() => null)));
  }
}

const COLORS = { "D/real": "real", "D/fake": "fake", "D/r1": "real", "D/r2": "fake", "D/dragan": "real", "D/gp": "fake", "D/held_auc": "2" };

export function createCurves(run, time, first, added) {
  const charts = new Map();
  let full = first;
  let part = null;
  let marks = [];
  let timer = 0;
  let asked = 0; // of the whole run, and of the range: a zoom does not end the reading of a long log
  let askedPart = 0;
  const leaving = new AbortController();

  const grid = h("div", { class: "charts" });
  const reset = h("button", { type: "button", class: "button small", hidden: !time.range, on: { click: () => time.zoom(null) } }, icon("zoom"), t("run.zoom.all"));
  const hint = h("p", { class: "muted small curves-hint" }, t("run.zoom.hint"));
  const more = h("select", { class: "curves-more", "aria-label": t("run.add"), on: { change: () => add(more.value) } });
  const element = h("section", { class: "curves", "aria-label": t("run.curves") },
    h("header", { class: "section-head" }, h("h2", null, t("run.curves")), hint, reset, more), grid);

  const range = () => time.range ?? time.full;

  function drawHint() {
    hint.hidden = Boolean(time.range) || !charts.size;
  }

  function panelTitle(panel) {
    const key = `run.panel.${panel.title_key}`;
    return has(key) ? t(key) : panel.title;
  }

  function make(key, title, names, log, remove) {
    let other = 0;
    const series = Object.entries(names).map(([name, label]) => ({
      name, label: has(`run.label.${label}`) ? t(`run.label.${label}`) : label,
      color: COLORS[name] ?? (name.startsWith("D/") && !remove ? "d" : name.startsWith("G/") && !remove ? "g" : String((other++ % 4) + 1)),
    }));
    const chart = createChart({
      title, series, log,
      onCursor: (x) => time.go(x),
      onHover: (x) => time.point(x),
      onZoom: (from, to) => time.zoom(from === null ? null : clamp(from, to)),
      onKey,
      onRemove: remove,
    });
    charts.set(key, chart);
    chart.setData(shownData());
    chart.setRange(...range());
    chart.setCursor(time.now);
    chart.setMarks(marks);
    return chart;
  }

  function clamp(from, to) {
    if (to - from < SMALLEST) return zoomed([from, to], 1, (from + to) / 2, time.full, SMALLEST);
    return [Math.max(0, Math.round(from)), Math.min(time.newest, Math.round(to))];
  }

  function onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const zoom = { "+": 0.5, "=": 0.5, "-": 2, "−": 2 }[event.key];
    if (zoom) time.zoom(zoomed(range(), zoom, inside(time.now) ? time.now : middle(), time.full, SMALLEST));
    else if (event.key === "0" || event.key === "Escape") time.zoom(null);
    else if (event.shiftKey && event.key.startsWith("Arrow") && time.range) time.zoom(shifted(time.range, event.key === "ArrowLeft" ? -0.25 : 0.25, time.full));
    else if (!stepByKey(time, event)) return;
    event.preventDefault();
  }
  const inside = (x) => x >= range()[0] && x <= range()[1];
  const middle = () => (range()[0] + range()[1]) / 2;

  function layOut() {
    const order = full.panels.map((panel) => {
      if (!charts.has(panel.title)) make(panel.title, panelTitle(panel), panel.names, panel.log, null);
      return panel.title;
    });
    for (const name of added) {
      if (!charts.has(name) && full.names.includes(name)) make(name, name, { [name]: name }, false, () => remove(name));
      if (charts.has(name)) order.push(name);
    }
    order.forEach((key, i) => {
      const { element: one } = charts.get(key);
      if (grid.children[i] !== one) grid.insertBefore(one, grid.children[i] ?? null);
    });
    const known = new Set(full.panels.flatMap((panel) => Object.keys(panel.names)));
    const rest = full.names.filter((name) => !known.has(name) && !added.includes(name));
    drawHint();
    more.hidden = !rest.length;
    replace(more, h("option", { value: "" }, t("run.add")), rest.map((name) => h("option", { value: name }, name)));
  }

  async function add(name) {
    if (!name) return;
    added.push(name);
    setParams({ add: added.join(",") });
    await load();
    layOut();
    grid.lastElementChild?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  function remove(name) {
    added.splice(added.indexOf(name), 1);
    setParams({ add: added.join(",") });
    charts.get(name).element.remove();
    charts.get(name).close();
    charts.delete(name);
    layOut();
    more.focus();
  }

  const query = (more) => ({ run, points: POINTS, names: added.length ? [...shownNames(), ...added].join(",") : null, ...more });
  const shownNames = () => full.panels.flatMap((panel) => Object.keys(panel.names));

  /** Reads the whole run anew, and the range if one is chosen. */
  async function load() {
    const turn = ++asked;
    const fresh = await get("/api/run/curves", query({}), { signal: leaving.signal }).catch((error) => {
      if (turn === asked) throw error;
    });
    if (turn !== asked) return;
    full = fresh.panels?.length || !full.panels.length ? fresh : { ...fresh, panels: full.panels };
    part = null;
    show();
    if (time.range) loadPart();
  }

  /** Reads the lines of the range: all of them, where they are not too many. */
  async function loadPart() {
    const turn = ++askedPart;
    const [from, to] = time.range;
    try {
      const found = await get("/api/run/curves", query({ from: Math.floor(from), to: Math.ceil(to) }), { signal: leaving.signal });
      if (turn !== askedPart || !time.range) return;
      part = found.nimg.length ? { ...found, panels: full.panels } : null;
      show();
    } catch {
      // the curves of the whole run stay
    }
  }

  function shownData() {
    const { nimg, series } = part ?? full;
    return { x: nimg, series };
  }

  function show() {
    for (const chart of charts.values()) chart.setData(shownData());
  }

  const ends = [
    time.on(["at"], () => charts.forEach((chart) => chart.setCursor(time.now))),
    time.on(["hover"], () => charts.forEach((chart) => chart.setHover(time.hover))),
    time.on(["newest"], () => time.range || charts.forEach((chart) => chart.setRange(...time.full))),
    time.on(["range"], () => {
      reset.hidden = !time.range;
      drawHint();
      charts.forEach((chart) => chart.setRange(...range()));
      setParams({ from: time.range && Math.round(time.range[0]) / 1000, to: time.range && Math.round(time.range[1]) / 1000 });
      clearTimeout(timer);
      if (time.range) timer = setTimeout(loadPart, WAIT_MS);
      else {
        askedPart++;
        part = null;
        show();
      }
    }),
  ];
  layOut();
  show();
  if (time.range) loadPart();

  return {
    element,
    load: async () => {
      await load();
      layOut();
    },
    /** Adds new lines, in the form of curves; they take the place of lines from their first one on. */
    append({ nimg, series }) {
      if (!nimg.length) return undefined;
      const isKnown = full.panels.length > 0 && Object.keys(series).every((name) => full.names.includes(name));
      if (!isKnown || full.nimg.length > MOST_POINTS) return this.load();
      addLines(full, nimg, series);
      if (part && nimg[0] <= time.range[1]) addLines(part, nimg, series);
      return show();
    },
    /** A level to compare the curves of a quantity with. */
    setBaseline(name, level) {
      const panel = full.panels.find((one) => name in one.names);
      if (panel) charts.get(panel.title).setBaseline(level);
    },
    setMarks(found) {
      marks = found;
      charts.forEach((chart) => chart.setMarks(marks));
    },
    close() {
      clearTimeout(timer);
      asked++;
      askedPart++;
      leaving.abort(); // the server stops reading a long log
      ends.forEach((end) => end());
      charts.forEach((chart) => chart.close());
    },
  };
}
