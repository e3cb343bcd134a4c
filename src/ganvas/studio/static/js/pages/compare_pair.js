/** Two runs at the same images shown: side by side, wiped, or their difference; curves over each other. */

import { get, url } from "../api.js";
import { createChart } from "../chart.js";
import { commandBox, quoted } from "../command.js";
import { h, keyed, replace } from "../dom.js";
import { kimgExact } from "../format.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { settled } from "../newest.js";
import { setParams } from "../router.js";

const VIEWS = ["side", "wipe", "difference"];
const SETTLE_MS = 150;
const SHOWN = ["D/loss", "G/loss", "D/real", "D/fake", "quality"];

/** Values at the places of another axis, between the known ones on a straight line; null outside of these. */
function resample(x, values, places) {
  let i = 0;
  return places.map((place) => {
    while (i + 1 < x.length && x[i + 1] <= place) i++;
    if (place < x[0] || place > x.at(-1)) return null;
    if (x[i] === place || values[i] === null || values[i + 1] === null) return values[i];
    return values[i] + ((values[i + 1] - values[i]) * (place - x[i])) / (x[i + 1] - x[i]);
  });
}

/** `params` are those of the address; each run is named by `label(run)`. Returns {element, setRuns, close}. */
export function comparePair({ params, label }) {
  const chosen = {
    a: params.get("a"),
    b: params.get("b"),
    view: VIEWS.includes(params.get("view")) ? params.get("view") : "side",
    kimg: params.has("kimg") ? Number(params.get("kimg")) : null,
    seeds: params.get("seeds") ?? "",
  };
  const channel = Math.random().toString(36).slice(2, 12); // of the sheets of this page: the newest one is drawn
  let seen = "";
  let turn = 0;
  let charts = [];
  let details = {};
  let places = [];
  const selects = Object.fromEntries(["a", "b"].map((which) => [which, h("select", { id: `compare-${which}`, on: { change: (event) => set({ [which]: event.target.value }) } })]));
  const field = (which) => h("div", { class: "field" }, h("label", { for: `compare-${which}` }, t(`compare.${which}`)), selects[which]);
  const views = h("div", { class: "row", role: "group", "aria-label": t("compare.view") }, VIEWS.map((view) => h("button", { type: "button", class: "button", dataset: { view }, on: { click: () => set({ view }) } }, t(`compare.view.${view}`))));
  const slider = h("input", { type: "range", id: "compare-kimg", min: 0, max: 0, step: 1, on: { input: () => set({ kimg: places[slider.value] / 1000 }) } });
  const place = h("output", { for: "compare-kimg" });
  const seeds = h("input", { type: "text", id: "compare-own-seeds", autocomplete: "off", placeholder: t("compare.seeds.none"), value: chosen.seeds, on: { change: () => set({ seeds: seeds.value.trim() }) } });
  const wiper = h("input", { type: "range", id: "compare-wipe", min: 0, max: 100, value: 50, on: { input: () => wipe(wiper.value) } });
  const wipeRow = h("div", { class: "field compare-wipe" }, h("label", { for: "compare-wipe" }, t("compare.wipe")), wiper);
  const pictures = h("div", { class: "compare-pictures" });
  const curves = h("section", { class: "compare-charts", "aria-label": t("compare.curves") });
  const more = h("div", { class: "stack" });
  const problem = h("div");

  function set(changes) {
    const other = "a" in changes || "b" in changes;
    Object.assign(chosen, changes);
    setParams({ a: chosen.a, b: chosen.b, view: chosen.view, kimg: chosen.kimg, seeds: chosen.seeds });
    if (other) read();
    else if (details.a) {
      if ("seeds" in changes) findPlaces();
      draw("kimg" in changes);
    }
  }

  async function read() {
    const own = ++turn;
    drawSoon.cancel();
    try {
      // one run after the other: Python 3.11 may fail to parse sources, for the texts of knobs, in two threads at once
      const a = await get("/api/run", { run: chosen.a });
      const b = await get("/api/run", { run: chosen.b });
      const [curvesA, curvesB] = await Promise.all(["a", "b"].map((which) => get("/api/run/curves", { run: chosen[which] })));
      if (own !== turn) return;
      details = { a, b };
      replace(problem);
      findPlaces();
      draw();
      drawCurves(curvesA, curvesB);
      drawMore();
    } catch (error) {
      if (own === turn) replace(problem, errorBox(error));
    }
  }

  const times = (which) => (chosen.seeds ? details[which].snapshots.filter((one) => !one.best) : details[which].grids);

  /** Where there are pictures of either run, from the first on that both have. */
  function findPlaces() {
    const [a, b] = ["a", "b"].map((which) => times(which).map((one) => one.nimg));
    const first = Math.max(a[0] ?? Infinity, b[0] ?? Infinity);
    places = [...new Set([...a, ...b])].filter((nimg) => nimg >= first).sort((one, other) => one - other);
    slider.max = Math.max(0, places.length - 1);
  }

  /** {address, nimg} of a run's newest pictures at a number of images shown. */
  function sheet(which, nimg) {
    const found = times(which).findLast((one) => one.nimg <= nimg);
    if (!chosen.seeds) return { address: found.url, nimg: found.nimg };
    return { address: url("/api/explore/sheet", { of: chosen[which], snapshot: found.name, seeds: chosen.seeds, channel: `${which} ${channel}` }), nimg: found.nimg };
  }

  /** While the slider is moved, pictures that the server has to draw wait until it rests. */
  function draw(moves = false) {
    drawSoon.cancel();
    for (const button of views.children) button.setAttribute("aria-pressed", String(button.dataset.view === chosen.view));
    wipeRow.hidden = chosen.view !== "wipe";
    slider.disabled = !places.length;
    if (!places.length) {
      place.textContent = "";
      replace(pictures, h("p", { class: "panel" }, t(chosen.seeds ? "compare.no_snapshots" : "compare.no_pictures")));
      return;
    }
    const wanted = chosen.kimg === null ? Infinity : Math.round(chosen.kimg * 1000);
    const index = Math.max(0, places.findLastIndex((nimg) => nimg <= wanted));
    slider.value = index;
    const text = t("compare.at", { kimg: kimgExact(places[index]) });
    place.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    if (moves && chosen.seeds) drawSoon(places[index]);
    else drawPictures(places[index]);
  }

  const drawSoon = settled(drawPictures, SETTLE_MS);

  function drawPictures(shown) {
    const picture = (which) => {
      const { address, nimg } = sheet(which, shown);
      const image = h("img", { class: "pixelated", src: address, alt: t("compare.picture", { run: details[which].name, kimg: kimgExact(nimg) }) });
      image.addEventListener("error", () => explain(image, address), { once: true });
      return image;
    };
    const caption = (which, before = "") => h("figcaption", { class: "small" }, `${before}${label(details[which])} · ${t("compare.at", { kimg: kimgExact(sheet(which, shown).nimg) })}`);
    const figure = (which) => h("figure", null, picture(which), caption(which));
    replace(problem);
    pictures.dataset.view = chosen.view;
    if (chosen.view === "side") replace(pictures, figure("a"), figure("b"));
    else replace(pictures, h("figure", null, h("div", { class: "compare-over" }, picture("a"), picture("b")), caption("a", "A: "), caption("b", "B: "), details.a.recipe !== details.b.recipe && h("p", { class: "small muted" }, t("compare.unlike"))));
    wipe(wiper.value);
  }

  /** Says why a picture is not there; one that is there now is shown: the server drops sheets for newer ones. */
  async function explain(image, address) {
    if (!image.isConnected) return;
    const own = turn;
    const error = await get(address).then(() => null, (reason) => reason);
    if (own !== turn || !image.isConnected) return;
    if (!error) {
      image.src = address;
      return;
    }
    replace(problem, errorBox(error));
    replace(pictures); // none can be seen
  }

  function wipe(part) {
    const upper = pictures.querySelector(".compare-over img + img");
    if (upper) upper.style.clipPath = chosen.view === "wipe" ? `inset(0 0 0 ${part}%)` : "none";
  }

  function drawCurves(a, b) {
    for (const chart of charts) chart.close();
    const x = [...new Set([...a.nimg, ...b.nimg])].sort((one, other) => one - other);
    const names = SHOWN.filter((name) => a.series[name] && b.series[name]);
    charts = names.map((name) => {
      const chart = createChart({ title: name, series: [{ name: "a", label: `A: ${details.a.name}`, color: "1" }, { name: "b", label: `B: ${details.b.name}`, color: "2" }] });
      chart.setData({ x, series: { a: { mean: resample(a.nimg, a.series[name].mean, x) }, b: { mean: resample(b.nimg, b.series[name].mean, x) } } });
      return chart;
    });
    replace(curves, charts.map((chart) => chart.element));
  }

  function drawMore() {
    const both = [details.a, details.b];
    const reports = [...new Map(both.filter((run) => run.report).map((run) => [run.folder, run.report])).values()];
    const paths = both.map((run) => quoted(run.path));
    replace(more,
      reports.map((address) => h("p", null, h("a", { href: address, target: "_blank", rel: "noopener" }, t("compare.report")))),
      h("p", { class: "small muted" }, t("compare.command")), commandBox(`ganvas compare ${paths.join(" ")}`));
  }

  /** Cards of at least two runs; what is shown is read anew where one of the two has other pictures or has ended. */
  function setRuns(cards) {
    const known = new Map(cards.map((card) => [card.run, card]));
    for (const [which, other] of [["a", "b"], ["b", "a"]]) {
      if (!known.has(chosen[which])) chosen[which] = [...known.keys()].find((run) => run !== chosen[other]);
    }
    for (const [which, select] of Object.entries(selects)) {
      keyed(select, cards, (card) => card.run, (card) => h("option", { value: card.run }, label(card)));
      select.value = chosen[which];
    }
    const now = JSON.stringify([chosen.a, chosen.b].map((run) => known.get(run)).map((card) => [card.run, card.grid, card.snapshots, card.state]));
    if (now !== seen) read();
    seen = now;
  }

  return {
    element: h("div", { class: "stack" }, problem,
      h("div", { class: "panel compare-choice" }, field("a"), field("b"), h("div", { class: "field" }, h("label", { for: "compare-kimg" }, t("compare.kimg")), slider, place),
        h("div", { class: "field" }, h("label", { for: "compare-own-seeds" }, t("compare.own_seeds")), seeds)),
      views, wipeRow, pictures, curves, more),
    setRuns,
    close() {
      turn++;
      drawSoon.cancel();
      for (const chart of charts) chart.close();
    },
  };
}
