/** The lab: the game on points in the plane, its knobs, planted failures with their finding, curves. Its address is its set-up. */

import { get, session } from "../api.js";
import { createChart } from "../chart.js";
import { errorBox, h, icon, replace, setText } from "../dom.js";
import { integer, number, percent } from "../format.js";
import { t } from "../i18n.js";
import { setParams } from "../router.js";
import { toast } from "../toast.js";
import { findingsView, worst } from "./diagnose_findings.js";
import { knobsView } from "./lab_knobs.js";
import { createPlane, encode } from "./lab_plane.js";
import { createGame } from "./lab_play.js";

const CHARTS = [
  { key: "losses", series: [["D/loss", "d"], ["G/loss", "g"]] },
  { key: "outputs", series: [["D/real", "real"], ["D/fake", "fake"]] },
  { key: "quality", series: [["covered", "1"], ["good", "2"]] },
];
const CHART_MS = 250;
const SAID_MS = 3000;
const MOST = 1500;

/** The shares of the parts that G reaches, and of its points near them, from which a game without findings is called healthy. */
const ENOUGH = { parts: 0.75, good: 0.3 };
const SPEEDS = { slow: [true, 1], normal: [false, 2], fast: [false, 10] };

/** The game that goes on while the page is drawn again, in another language: {id, newest, history, playing}. */
let kept = null;

export default {
  title: "lab.title",

  async open(main, params) {
    const [known, about] = await Promise.all([session(), get("/api/lab")]);
    const head = h("div", { class: "page-head" }, h("h1", null, t("lab.title")), h("p", { class: "muted" }, t("lab.subtitle")));
    if (!known.may_write) {
      main.append(h("div", { class: "page" }, head, h("p", { class: "panel" }, t("lab.reading_only"))));
      return () => {};
    }
    const defaults = Object.fromEntries(about.knobs.map((knob) => [knob.name, knob.default]));
    const restarts = new Set(about.knobs.filter((knob) => knob.restarts).map((knob) => knob.name));
    const values = { ...defaults };
    for (const name of Object.keys(defaults)) if (params.has(name)) values[name] = params.get(name);

    const before = kept;
    kept = null;
    let history = before?.history ?? emptyHistory();
    let drawnAt = 0;
    let saidAt = 0;
    let later = 0;
    const problem = h("div", { class: "lab-problem" });
    const finding = h("div", { class: "lab-finding", role: "region", tabindex: 0, "aria-label": t("lab.finding") });
    const now = h("p", { class: "lab-now", id: "lab-now" });
    const outside = h("p", { class: "small lab-outside", hidden: true });
    const said = h("p", { class: "visually-hidden", role: "status" });
    const level = h("p", { class: "lab-scale small" });
    const table = h("div", { class: "table-scroll" });
    const numbers = h("details", { class: "lab-table", on: { toggle: () => drawTable() } }, h("summary", null, t("lab.table")), table);
    const charts = CHARTS.map(({ key, series }) =>
      createChart({ title: t(`lab.chart.${key}`), series: series.map(([name, color]) => ({ name, color, label: t(`lab.series.${name.replace("/", "_").toLowerCase()}`) })), formatX: integer, unitX: t("lab.rounds") }),
    );
    let newest = before?.newest ?? null;
    const plane = createPlane({ onPoint: addPoint });

    const game = createGame({ knobs: () => changed(), onFrame: show, onError: fail, game: before?.id });

    function changed() {
      return Object.fromEntries(Object.entries(values).filter(([name, value]) => String(value) !== String(defaults[name])));
    }

    function show(frame) {
      replace(problem);
      if (newest && frame.round < newest.round) history = emptyHistory();
      newest = { ...frame, real: frame.real ?? newest?.real, diagnosis: frame.diagnosis ?? newest?.diagnosis };
      plane.show(newest);
      record(history, frame);
      if (frame.diagnosis) {
        const { checked, conditions, findings } = frame.diagnosis;
        const early = worst(findings) === "healthy" && (frame.covered < ENOUGH.parts * frame.parts || frame.good < ENOUGH.good);
        const told = early ? h("p", { class: "panel lab-early" }, t("lab.not_there", { covered: frame.covered, parts: frame.parts, good: percent(frame.good) })) : findingsView(frame.diagnosis, fixButton);
        replace(finding, told, h("p", { class: "small muted" }, t("lab.checked", { checked, all: conditions })));
      }
      if (frame.ended) {
        game.pause();
        drawButtons();
      }
      const at = performance.now();
      clearTimeout(later);
      if (at - drawnAt > CHART_MS || !game.playing) drawNumbers(at);
      else later = setTimeout(() => drawNumbers(performance.now()), CHART_MS);
    }

    function drawNumbers(at) {
      if (!newest) return; // a new game begins
      drawnAt = at;
      const { round, covered, parts, modes, good } = newest;
      const text = t(modes ? "lab.now.modes" : "lab.now.parts", { round, covered, parts, good: percent(good) });
      setText(now, text);
      if (at - saidAt > SAID_MS || !game.playing) {
        saidAt = at;
        setText(said, text);
      }
      const beyond = plane.countOutside();
      outside.hidden = !beyond;
      setText(outside, t("lab.outside", { n: beyond }));
      const kind = newest.signed ? "lab.scale.probability" : "lab.scale.logit";
      replace(level, h("span", null, t("lab.scale.fake", { value: number(newest.low, 2) })), h("span", { class: "lab-bar", role: "presentation" }), h("span", null, t("lab.scale.real", { value: number(newest.high, 2) })), h("span", { class: "muted" }, t(kind)));
      charts.forEach((chart, i) => chart.setData({ x: history.x, series: Object.fromEntries(CHARTS[i].series.map(([name]) => [name, { mean: history[name] }])) }));
      drawTable();
    }

    function drawTable() {
      if (!numbers.open || !newest) return;
      const cells = newest.counts.map((count, i) => h("tr", null, h("th", { scope: "row" }, t(newest.modes ? "lab.table.mode" : "lab.table.part", { n: i + 1 })), h("td", { class: "num" }, integer(count))));
      replace(table, h("table", { class: "table" }, h("caption", { class: "visually-hidden" }, t("lab.table")), h("thead", null, h("tr", null, h("th", { scope: "col" }, ""), h("th", { scope: "col", class: "num" }, t("lab.table.count")))), h("tbody", null, cells)));
    }

    function fail(error) {
      replace(problem, errorBox(error));
      toast(error.message, { kind: "error" }); // the knobs may be far from the problem
      drawButtons();
    }

    const buttons = {
      play: h("button", { type: "button", class: "button primary", on: { click: toggle } }),
      step: h("button", { type: "button", class: "button", on: { click: step } }, icon("next"), t("lab.step")),
      reset: h("button", { type: "button", class: "button", on: { click: reset } }, icon("first"), t("lab.reset")),
      link: h("button", { type: "button", class: "button quiet", on: { click: share } }, icon("copy"), t("lab.link_copy")),
    };
    const speed = h("select", { id: "lab-speed", on: { change: () => setSpeed() } }, Object.keys(SPEEDS).map((one) => h("option", { value: one, selected: one === (params.get("speed") ?? "normal") }, t(`lab.speed.${one}`))));
    const arrows = h("input", { type: "checkbox", id: "lab-arrows", checked: true, on: { change: (event) => plane.setArrows(event.target.checked) } });

    function drawButtons() {
      replace(buttons.play, icon(game.playing ? "pause" : "play"), t(game.playing ? "lab.pause" : "lab.play"));
    }

    function toggle() {
      if (game.playing) game.pause();
      else game.play();
      drawButtons();
    }

    function step() {
      game.pause();
      drawButtons();
      game.step();
    }

    function reset() {
      newest = null;
      history = emptyHistory();
      return game.reset();
    }

    function setSpeed() {
      game.setSpeed(...SPEEDS[speed.value]);
      setParams({ speed: speed.value === "normal" ? null : speed.value });
    }

    async function share() {
      try {
        await navigator.clipboard.writeText(location.href);
        toast(t("lab.link_copied"));
      } catch {
        toast(t("lab.link_by_hand")); // not allowed off localhost
      }
    }

    /** Takes other values; `of` is the failure that they repair. */
    function set(changes, of = "") {
      repaired = of;
      const again = Object.keys(changes).some((name) => restarts.has(name) && String(changes[name]) !== String(values[name]));
      Object.assign(values, changes);
      setParams(Object.fromEntries(Object.keys(defaults).map((name) => [name, String(values[name]) === String(defaults[name]) ? null : values[name]])));
      showValues();
      if (again) reset();
      else game.change();
    }

    const knobs = knobsView(about.knobs, (name, value) => set({ [name]: value }));
    const data = h("select", { id: "lab-data", on: { change: (event) => set({ data: event.target.value }) } }, about.knobs.find((knob) => knob.name === "data").choices.map((one) => h("option", { value: one }, t(`lab.data.${one}`))));
    const own = h("div", { class: "lab-own small" }, h("p", null, t("lab.own.hint")), h("button", { type: "button", class: "button small", on: { click: () => set({ points: "" }) } }, t("lab.own.clear")));
    const presets = h("div", { class: "row lab-presets", role: "group", "aria-label": t("lab.presets") }, Object.keys(about.presets).map((name) => h("button", { type: "button", class: "button", dataset: { preset: name }, on: { click: () => choosePreset(name) } }, t(`lab.preset.${name}`))));
    const story = h("p", { class: "lab-story small muted" });
    const repair = h("button", { type: "button", class: "button small", on: { click: applyRemedy } }, t("lab.repair"));
    let repaired = "";

    const chosenPreset = () => {
      const apart = new Set(["data", "points", "seed"]);
      const fits = ([, changes]) => Object.keys(defaults).every((name) => apart.has(name) || String(values[name]) === String(changes[name] ?? defaults[name]));
      return Object.entries(about.presets).find(fits)?.[0];
    };

    function applyRemedy() {
      const name = chosenPreset();
      set(about.remedies[name], name);
      if (!game.playing) toggle();
    }

    /** Sets what a fix changes, where the lab has a knob for all of it. */
    function fixButton({ changes }) {
      const names = Object.keys(changes);
      const fits = (name) => name in defaults && typeof changes[name] === typeof defaults[name]; // no schedules
      if (!names.length || !names.every(fits)) return null;
      const text = names.map((name) => `${name} ${changes[name]}`).join(", ");
      return h("button", { type: "button", class: "button small", on: { click: () => set(changes) } }, t("lab.fix", { changes: text }));
    }

    function choosePreset(name) {
      const kept = { data: values.data, points: values.points, seed: values.seed };
      Object.assign(values, defaults, kept, about.presets[name]);
      set({});
      reset();
      if (!game.playing) toggle();
    }

    function showValues() {
      knobs.show(values);
      data.value = values.data;
      own.hidden = values.data !== "own";
      plane.setDrawing(values.data === "own");
      const chosen = chosenPreset();
      repair.hidden = !(chosen in about.remedies);
      for (const button of presets.children) button.setAttribute("aria-pressed", String(button.dataset.preset === chosen));
      setText(story, t(repaired ? `lab.remedy.${repaired}` : chosen ? `lab.story.${chosen}` : "lab.story.own_knobs"));
    }

    function addPoint(x, y) {
      if (values.points.length / 4 < about.max_points) set({ points: values.points + encode(x, y) });
    }

    main.append(
      h("div", { class: "page lab-page" }, head,
        h("section", { class: "lab-start", "aria-label": t("lab.presets") }, presets, h("div", { class: "row" }, story, repair)),
        problem,
        h("div", { class: "lab-columns" },
          h("section", { class: "lab-left", "aria-label": t("lab.plane") },
            h("div", { class: "row lab-tools" }, buttons.play, buttons.step, buttons.reset, h("label", { class: "visually-hidden", for: "lab-speed" }, t("lab.speed")), speed, buttons.link),
            h("div", { class: "lab-scene" }, h("div", { class: "lab-frame" }, plane.element), finding),
            h("div", { class: "row small lab-legend" }, h("span", { class: "lab-key real" }), t("lab.key.real"), h("span", { class: "lab-key fake" }), t("lab.key.fake"), arrows, h("label", { for: "lab-arrows" }, t("lab.key.arrows"))),
            level, now, said, outside, numbers,
            h("section", { class: "lab-charts", "aria-label": t("lab.curves") }, charts.map((chart) => chart.element))),
          h("section", { class: "lab-right", "aria-label": t("lab.knobs") },
            h("div", { class: "panel" }, h("div", { class: "field" }, h("label", { for: "lab-data" }, t("lab.data")), data), own),
            knobs.element))),
    );
    showValues();
    setSpeed();
    drawButtons();
    if (before?.newest) show(before.newest);
    else await reset();
    if (before?.playing) toggle();
    return ({ again = false } = {}) => {
      clearTimeout(later);
      if (again) kept = { id: game.id, newest, history, playing: game.playing };
      game.close({ ends: !again });
      plane.close();
      for (const chart of charts) chart.close();
    };
  },
};

const NAMES = ["D/loss", "G/loss", "D/real", "D/fake", "covered", "good"];

const emptyHistory = () => ({ x: [], ...Object.fromEntries(NAMES.map((name) => [name, []])) });

/** Adds a frame; of more than MOST every second one is dropped. */
function record(history, frame) {
  if (!frame.round || frame.round === history.x.at(-1)) return;
  history.x.push(frame.round);
  const values = { ...frame.curves, covered: frame.covered / frame.parts, good: frame.good };
  for (const name of NAMES) history[name].push(values[name] ?? null);
  if (history.x.length > MOST) for (const name of ["x", ...NAMES]) history[name] = history[name].filter((_, i) => i % 2);
}
