/** The picture of a run: the grid at the place of the slider, beside real images, and the snapshot of that place. */

import { commandBox, quoted } from "../command.js";
import { h, icon, inFrame, replace, setText } from "../dom.js";
import { kimgExact, number } from "../format.js";
import { t } from "../i18n.js";
import { ImageCache } from "../images.js";
import { lastUpTo } from "../scale.js";

const KEPT = 32;
const NEIGHBOURS = 6;
const IDLE_MS = 90;

export function createImages(detail, time) {
  const cache = new ImageCache(KEPT);
  let grids = detail.grids;
  let places = grids.map((grid) => grid.nimg);
  let wanted = null;
  let loading = false;
  let timer = 0;
  let before = -1;
  let real = false;

  const frame = h("div", { class: "hero-frame" });
  const blank = h("p", { class: "hero-blank muted" }, t("run.no_grid"));
  const caption = h("p", { class: "hero-caption" });
  const choice = (name, isReal) =>
    h("button", { type: "button", class: `segment tone-${name}`, "aria-pressed": String(isReal === real), on: { click: () => setReal(isReal) } }, h("span", { class: "tone-dot" }), t(`run.images.${name}`));
  const choices = [choice("fake", false), choice("real", true)];
  const segments = h("div", { class: "segments", role: "group", "aria-label": t("run.images"), hidden: !detail.reals }, choices);
  const snapshot = h("div", { class: "hero-snapshot" });
  const element = h(
    "section", { class: "card hero", "aria-label": t("run.images") },
    frame,
    h("div", { class: "hero-bar" }, caption, segments),
    snapshot,
  );

  function setReal(isReal) {
    real = isReal;
    choices.forEach((button, i) => button.setAttribute("aria-pressed", String(Boolean(i) === real)));
    draw();
  }

  const indexAt = (nimg) => Math.max(0, lastUpTo(places, nimg));

  /** Shows a picture when it is decoded; one is loaded at a time, and of those asked for meanwhile only the last. */
  async function show(url, label) {
    if (wanted?.url === url) return;
    wanted = { url, label };
    if (loading) return;
    loading = true;
    for (let one = null; wanted && one !== wanted; ) {
      one = wanted;
      const image = await cache.load(one.url).catch(() => null); // being written, or gone: the picture before stays
      if (one !== wanted) continue;
      if (image) place(image, one.label);
      else wanted = null; // the next time that it is asked for it may be there
    }
    loading = false;
  }

  function place(image, label) {
    image.alt = label;
    image.classList.toggle("pixelated", image.naturalWidth < frame.clientWidth * 1.2);
    if (frame.firstChild !== image) frame.replaceChildren(image);
  }

  /** Loads the pictures that come next, first those in the direction of the last step. */
  function preload(index, count) {
    const ahead = index >= before ? 1 : -1;
    before = index;
    for (let i = 1; i <= count; i++) for (const next of [grids[index + ahead * i], i <= count / 2 && grids[index - ahead * i]]) if (next) cache.load(next.url).catch(() => {});
  }

  const draw = inFrame(() => {
    if (!grids.length) {
      replace(frame, blank);
      return;
    }
    const index = indexAt(time.now);
    const grid = grids[index];
    if (real) {
      setText(caption, t("run.real_caption"));
      show(detail.reals, t("run.real_alt", { name: detail.data }));
    } else {
      setText(caption, t("run.grid_caption", { kimg: kimgExact(grid.nimg) }));
      show(grid.url, t("run.grid_alt", { kimg: kimgExact(grid.nimg) }));
      clearTimeout(timer);
      timer = setTimeout(() => preload(index, NEIGHBOURS), IDLE_MS);
    }
    drawSnapshot();
  });

  function drawSnapshot() {
    const { snapshots } = detail;
    const usable = snapshots.filter((one) => one.nimg <= time.now).sort((a, b) => a.nimg - b.nimg || a.best - b.best);
    const one = usable.at(-1);
    const next = snapshots.filter((other) => other.nimg > time.now).sort((a, b) => a.nimg - b.nimg)[0];
    const key = JSON.stringify([one, next?.nimg]);
    if (snapshot.dataset.shown === key) return;
    snapshot.dataset.shown = key;
    if (!one) {
      replace(snapshot, h("p", { class: "muted small" }, next ? t("run.snapshot.next", { kimg: kimgExact(next.nimg) }) : t("run.snapshot.none")));
      return;
    }
    replace(
      snapshot,
      h("p", { class: "small" },
        h("span", { class: "muted" }, t("run.snapshot")), " ", h("strong", null, t("run.snapshot.at", { kimg: kimgExact(one.nimg) })), " ",
        one.best && h("span", { class: "badge", "data-severity": "healthy" }, icon("healthy"), t("run.snapshot.best")),
        one.quality !== null && one.quality !== undefined && h("span", { class: "muted" }, ` ${t("run.snapshot.quality", { quality: number(one.quality) })}`)),
      commandBox(`ganvas sample ${quoted(one.path)}`),
    );
  }

  const end = time.on(["at"], draw);
  document.addEventListener("reconnected", draw);
  setGrids(grids);

  function setGrids(list) {
    grids = list;
    places = list.map((grid) => grid.nimg);
    time.stops = places;
    draw();
  }

  return {
    element,
    setGrids,
    addGrid(grid) {
      const others = grids.filter((one) => one.nimg !== grid.nimg);
      setGrids([...others, grid].sort((a, b) => a.nimg - b.nimg));
    },
    /** What came since the page was opened: snapshots, and the picture of real images. */
    update({ snapshots, reals }) {
      Object.assign(detail, { snapshots, reals });
      segments.hidden = !reals;
      draw();
    },
    /** Resolves when the grid of that place is decoded. */
    ready: async (nimg) => {
      if (!grids.length) return;
      const index = indexAt(nimg);
      preload(index, 2);
      await cache.load(grids[index].url);
    },
    close() {
      clearTimeout(timer);
      draw.cancel();
      document.removeEventListener("reconnected", draw);
      end();
    },
  };
}
