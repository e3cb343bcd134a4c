/** The lab: the game on points in the plane, its knobs, planted failures with their finding, curves. Its address is its set-up. */

import { get, session } from "../api.js";
import { h, icon, replace, setText } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { gestures, setParams } from "../router.js";
import { toast } from "../toast.js";
import { createFinding } from "./lab_finding.js";
import { knobsView } from "./lab_knobs.js";
import { createPlane, encode } from "./lab_plane.js";
import { createGame } from "./lab_play.js";
import { createReadings, emptyHistory, record } from "./lab_readings.js";
import { createSetup } from "./lab_setup.js";

const SPEEDS = { slow: [true, 1], normal: [false, 2], fast: [false, 10] };

/** The game that goes on while the page is drawn again, in another language: {id, newest, history, playing}. */
let kept = null;

/** The address when the page was left: its link leads there again. */
let left = "";

export default {
  title: "lab.title",

  async open(main, params) {
    const [known, about] = await Promise.all([session(), get("/api/lab")]);
    if (!main.isConnected) return undefined; // left meanwhile: the address is another page's
    const head = h("div", { class: "page-head" }, h("h1", null, t("lab.title")), h("p", { class: "muted" }, t("lab.subtitle")));
    if (!known.may_write) {
      main.append(h("div", { class: "page" }, head, h("p", { class: "panel" }, t("lab.reading_only"))));
      return () => {};
    }
    return show(main, head, about, params.size ? params : new URLSearchParams(left));
  },
};

async function show(main, head, about, params) {
  const setup = createSetup(about);
  const { values } = setup;
  const { values: given, wrong } = setup.parse(params);
  setup.change(given);
  const before = kept;
  kept = null;
  let history = before?.history ?? emptyHistory();
  let newest = before?.newest ?? null;
  let repaired = "";
  let failed = null;

  const linked = h("div", { class: "lab-problem" });
  const problem = h("div", { class: "lab-problem" });
  const wait = h("p", { class: "lab-wait", role: "status" }, h("span", { class: "live-dot" }), " ", t("lab.wait"));
  const plane = createPlane({ onPoint: addPoint });
  const readings = createReadings();
  const finding = createFinding({ takes: setup.takes, onFix: (changes) => set(changes) });
  const game = createGame({ knobs: setup.changed, onFrame: take, onError: fail, game: before?.id });

  function take(frame) {
    replace(problem);
    wait.hidden = true;
    if (newest && frame.round < newest.round) history = emptyHistory();
    newest = { ...frame, real: frame.real ?? newest?.real, diagnosis: frame.diagnosis ?? newest?.diagnosis };
    plane.show(newest);
    record(history, frame);
    if (frame.diagnosis) finding.show(frame);
    if (frame.ended) {
      game.pause();
      drawButtons();
    }
    readings.show(newest, { history, beyond: plane.countOutside(), isPlaying: game.playing });
  }

  function fail(error) {
    failed = error;
    wait.hidden = true;
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
  const asked = params.get("speed");
  const speed = h("select", { id: "lab-speed", on: { change: setSpeed } }, Object.keys(SPEEDS).map((one) => h("option", { value: one, selected: one === (asked in SPEEDS ? asked : "normal") }, t(`lab.speed.${one}`))));
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
    wait.hidden = false;
    return game.reset();
  }

  function setSpeed() {
    game.setSpeed(...SPEEDS[speed.value]);
    writeAddress();
  }

  function writeAddress(options) {
    setParams({ ...setup.address(), speed: speed.value === "normal" ? null : speed.value }, options);
    left = location.search;
  }

  async function share() {
    try {
      await navigator.clipboard.writeText(location.href);
      toast(t("lab.link_copied"));
    } catch {
      toast(t("lab.link_by_hand")); // not allowed off localhost
    }
  }

  const isAlone = gestures();

  /** Takes other values; `of` is the failure that they repair. */
  function set(changes, { of = "", begins = false } = {}) {
    repaired = of;
    const restarts = setup.change(changes) || begins;
    writeAddress({ push: isAlone() });
    showValues();
    if (restarts) reset();
    else game.change();
  }

  const knobs = knobsView(about.knobs, (name, value) => set({ [name]: value }));
  const data = h("select", { id: "lab-data", on: { change: (event) => set({ data: event.target.value }) } }, about.knobs.find((knob) => knob.name === "data").choices.map((one) => h("option", { value: one }, t(`lab.data.${one}`))));
  const own = h("div", { class: "lab-own small" }, h("p", null, t("lab.own.hint")), h("button", { type: "button", class: "button small", on: { click: () => set({ points: "" }) } }, t("lab.own.clear")));
  const presets = h("div", { class: "row lab-presets", role: "group", "aria-label": t("lab.presets") }, Object.keys(about.presets).map((name) => h("button", { type: "button", class: "button", dataset: { preset: name }, on: { click: () => choosePreset(name) } }, t(`lab.preset.${name}`))));
  const story = h("p", { class: "lab-story small muted" });
  const repair = h("button", { type: "button", class: "button small", on: { click: applyRemedy } }, t("lab.repair"));

  function choosePreset(name) {
    set(setup.planted(name), { begins: true });
    if (!game.playing) toggle();
  }

  function applyRemedy() {
    const of = setup.preset();
    set(about.remedies[of], { of });
    if (!game.playing) toggle();
  }

  function showValues() {
    knobs.show(values);
    data.value = values.data;
    own.hidden = values.data !== "own";
    plane.setDrawing(values.data === "own");
    const chosen = setup.preset();
    repair.hidden = !(chosen in about.remedies);
    for (const button of presets.children) button.setAttribute("aria-pressed", String(button.dataset.preset === chosen));
    const text = t(repaired ? `lab.remedy.${repaired}` : chosen ? `lab.story.${chosen}` : "lab.story.own_knobs");
    setText(story, chosen && setup.hasOwnData() ? `${text} ${t("lab.story.own_data")}` : text);
  }

  function addPoint(x, y) {
    if (values.points.length / 4 < about.max_points) set({ points: values.points + encode(x, y) });
  }

  /** Begins the game of the address; where it cannot be played, the one by default, and says why. */
  async function begin() {
    if (wrong.length) replace(linked, h("p", { class: "panel", role: "alert" }, t("lab.link_wrong", { names: wrong.join(", ") })));
    if (await reset()) return;
    const error = failed;
    if (!Object.keys(setup.changed()).length) return;
    setup.change(setup.parse(new URLSearchParams()).values);
    showValues();
    if (await reset()) replace(linked, h("p", { class: "panel" }, t("lab.link_refused")), errorBox(error));
  }

  main.append(
    h("div", { class: "page lab-page" }, head,
      h("section", { class: "lab-start", "aria-label": t("lab.presets") }, presets, h("div", { class: "row" }, story, repair)),
      linked, problem,
      h("div", { class: "lab-columns" },
        h("section", { class: "lab-left", "aria-label": t("lab.plane") },
          h("div", { class: "row lab-tools" }, buttons.play, buttons.step, buttons.reset, h("label", { class: "visually-hidden", for: "lab-speed" }, t("lab.speed")), speed, buttons.link),
          h("div", { class: "lab-scene" }, h("div", { class: "lab-frame" }, plane.element, wait), finding.element),
          own,
          h("div", { class: "row small lab-legend" }, h("span", { class: "lab-key real" }), t("lab.key.real"), h("span", { class: "lab-key fake" }), t("lab.key.fake"), arrows, h("label", { for: "lab-arrows" }, t("lab.key.arrows"))),
          readings.numbers,
          h("section", { class: "lab-charts", "aria-label": t("lab.curves") }, readings.charts)),
        h("section", { class: "lab-right", "aria-label": t("lab.knobs") },
          h("div", { class: "panel" }, h("div", { class: "field" }, h("label", { for: "lab-data" }, t("lab.data")), data)),
          knobs.element))),
  );
  showValues();
  setSpeed();
  drawButtons();
  if (before?.newest) take(before.newest);
  else await begin();
  if (before?.playing) toggle();

  return {
    /** Takes the values of another address: those before a change that is undone. */
    restore(other) {
      repaired = "";
      const restarts = setup.change(setup.parse(other).values);
      left = location.search;
      showValues();
      if (restarts) reset();
      else game.change();
    },
    close({ again = false } = {}) {
      if (again) kept = { id: game.id, newest, history, playing: game.playing };
      game.close({ ends: !again });
      plane.close();
      readings.close();
    },
  };
}
