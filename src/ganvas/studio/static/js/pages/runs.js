/** The page of runs: a card for each, live; filter, sort, clean-up. */

import { get, session } from "../api.js";
import { h, icon, keyed, replace, setText } from "../dom.js";
import { followRuns } from "../follow_runs.js";
import { bytes } from "../format.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { setParams } from "../router.js";
import { makeCard, updateCard } from "./runs_card.js";
import { openCleaning } from "./runs_clean.js";
import { invitation } from "./runs_empty.js";

const MINUTE_MS = 60_000;
const STATES = ["all", "training", "complete", "unfinished", "failed", "unreadable"];
const SORTS = {
  newest: (a, b) => (a.state === "training" ? 0 : b.changed - a.changed), // those that train change all the time
  quality: (a, b) => (a.quality ?? Infinity) - (b.quality ?? Infinity),
  progress: (a, b) => b.nimg - a.nimg,
  size: (a, b) => b.bytes - a.bytes,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
};

export default { title: "runs.title", open };

async function open(main, params) {
  const page = h("div", { class: "page runs-page" });
  main.append(page);
  let list;
  let known;
  try {
    [list, known] = await Promise.all([get("/api/runs"), session()]);
  } catch (error) {
    replace(page, errorBox(error));
    return undefined;
  }
  const state = {
    runs: new Map(list.runs.map((card) => [card.run, card])),
    text: params.get("q") ?? "",
    state: STATES.includes(params.get("state")) ? params.get("state") : "all",
    sort: params.get("sort") in SORTS ? params.get("sort") : "newest",
    folder: params.get("folder") ?? "",
    chosen: null,
    mayWrite: known.may_write,
    folders: known.folders,
  };
  const parts = layOut(page, state, () => draw(parts, state));
  draw(parts, state);
  const closeStream = followRuns(state.runs, {
    onChange() {
      for (const run of state.chosen ?? []) if (!state.runs.has(run)) state.chosen.delete(run);
      draw(parts, state);
    },
    onLost: (isLost) => parts.page.classList.toggle("lost", isLost),
  });
  const clock = setInterval(() => draw(parts, state), MINUTE_MS); // each card says how long ago its run has changed
  return () => {
    clearInterval(clock);
    closeStream();
  };
}

function layOut(page, state, redraw) {
  const parts = { page, redraw };
  parts.count = h("p", { class: "runs-count muted", role: "status" });
  parts.lost = h("p", { class: "badge lost-badge", "data-severity": "warning" }, icon("warning"), t("runs.lost"));
  parts.head = h(
    "header", { class: "page-head" },
    h("h1", null, t("runs.title")), parts.lost,
    h("a", { class: "button primary", href: "/data" }, icon("plus"), t("runs.new")),
  );
  const search = h("input", {
    type: "search", value: state.text, placeholder: t("runs.filter"), "aria-label": t("runs.filter"),
    on: { input: (event) => change({ text: event.target.value }) },
  });
  parts.states = STATES.map((one) =>
    h("button", { type: "button", class: "segment", dataset: { state: one }, on: { click: () => change({ state: one }) } }, h("span", null, t(`runs.state.${one}`)), h("span", { class: "segment-count" })));
  const sort = select("runs.sort", Object.keys(SORTS).map((one) => [one, t(`runs.sort.${one}`)]), state.sort, (value) => change({ sort: value }));
  const folder = state.folders.length > 1 && select("runs.folder", [["", t("runs.folder.all")], ...state.folders.map((path, i) => [String(i), path])], state.folder, (value) => change({ folder: value }));
  parts.clean = state.mayWrite && h("button", { type: "button", class: "button quiet", "aria-pressed": "false", on: { click: toggleChoosing } }, icon("trash"), t("runs.clean"));
  parts.tools = h(
    "div", { class: "runs-tools" },
    h("div", { class: "search" }, icon("search"), search),
    h("div", { class: "segments", role: "group", "aria-label": t("runs.state") }, parts.states),
    h("div", { class: "runs-tools-end" }, folder, sort, parts.clean),
  );
  parts.chosen = h("p", { role: "status" });
  parts.remove = h("button", { type: "button", class: "button danger small", on: { click: () => openCleaning(chosenOf(state), stopChoosing) } }, icon("trash"), t("runs.remove"));
  parts.choosing = h(
    "div", { class: "choosing", hidden: true }, parts.chosen, parts.remove,
    h("button", { type: "button", class: "button small", on: { click: () => openCleaning(null, stopChoosing) } }, t("runs.leftovers")),
    h("button", { type: "button", class: "button quiet small", on: { click: stopChoosing } }, t("runs.done")),
  );
  parts.grid = h("ul", { class: "cards" });
  parts.nothing = h("p", { class: "empty muted", hidden: true }, t("runs.nothing"));
  parts.empty = h("div", { hidden: true });
  replace(page, parts.head, parts.tools, parts.choosing, parts.grid, parts.nothing, parts.empty, parts.count);

  function change(changes) {
    Object.assign(state, changes);
    setParams({ q: state.text, state: state.state === "all" ? null : state.state, sort: state.sort === "newest" ? null : state.sort, folder: state.folder });
    redraw();
  }
  function toggleChoosing() {
    state.chosen = state.chosen ? null : new Set();
    redraw();
  }
  function stopChoosing() {
    state.chosen = null;
    redraw();
  }
  parts.choose = (run) => {
    if (!state.chosen.delete(run)) state.chosen.add(run);
    redraw();
  };
  return parts;
}

function select(key, options, value, changed) {
  return h("select", { "aria-label": t(key), on: { change: (event) => changed(event.target.value) } },
    options.map(([one, label]) => h("option", { value: one, selected: one === value }, label)));
}

function draw(parts, state) {
  const all = [...state.runs.values()];
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = all.filter((card) => {
    const text = `${card.name} ${card.recipe} ${card.data} ${card.folder} ${card.finding}`.toLowerCase();
    return words.every((word) => text.includes(word)) && (!state.folder || card.run.startsWith(`${state.folder}/`));
  });
  for (const button of parts.states) {
    const one = button.dataset.state;
    const count = one === "all" ? matching.length : matching.filter((card) => card.state === one).length;
    button.setAttribute("aria-pressed", String(state.state === one));
    button.hidden = one !== "all" && !count && state.state !== one;
    setText(button.lastElementChild, String(count));
  }
  const order = SORTS[state.sort];
  const shown = matching
    .filter((card) => state.state === "all" || card.state === state.state)
    .sort((a, b) => (b.state === "training") - (a.state === "training") || order(a, b) || a.run.localeCompare(b.run));
  keyed(parts.grid, shown, (card) => card.run, (card) => makeCard(card, state, parts.choose), (element, card) => updateCard(element, card, state));
  parts.grid.hidden = !shown.length;
  parts.nothing.hidden = shown.length > 0 || !all.length;
  parts.empty.hidden = all.length > 0;
  parts.tools.hidden = !all.length;
  parts.head.hidden = !all.length;
  if (!all.length && !parts.empty.firstChild) parts.empty.append(invitation(state.mayWrite));
  const size = all.reduce((sum, card) => sum + (card.bytes ?? 0), 0);
  setText(parts.count, all.length ? `${t("runs.count", { n: all.length })} · ${bytes(size)}` : "");
  drawChoosing(parts, state);
}

const chosenOf = (state) => [...state.runs.values()].filter((card) => state.chosen.has(card.run));

function drawChoosing(parts, state) {
  const choosing = state.chosen !== null;
  parts.page.classList.toggle("is-choosing", choosing);
  parts.choosing.hidden = !choosing;
  if (parts.clean) parts.clean.setAttribute("aria-pressed", String(choosing));
  if (!choosing) return;
  const chosen = chosenOf(state);
  const size = chosen.reduce((sum, card) => sum + (card.bytes ?? 0), 0);
  setText(parts.chosen, chosen.length ? `${t("runs.chosen", { n: chosen.length })} · ${bytes(size)}` : t("runs.choose"));
  parts.remove.disabled = !chosen.length;
}
