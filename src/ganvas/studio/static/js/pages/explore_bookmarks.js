/** Bookmarks of views, which stay with the run; and walks between them, saved as a film. */

import { del, get, post, url } from "../api.js";
import { commandBox } from "../command.js";
import { errorBox, h, icon, keyed, replace, setText } from "../dom.js";
import { bytes } from "../format.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { follow, resume, stopWork } from "../live.js";
import { toast, toastError } from "../toast.js";
import { exploreAddress } from "./explore_view.js";

const IMAGES = [".gif", ".png", ".webp"];
const MOST_SEGMENT = 10;

/** The newest walk of each generator, which is shown again when the page is opened again. */
const going = new Map();

/** `onFilm` is called when a film was written. */
export function createBookmarks({ view, about, mayWrite }, onFilm) {
  const left = new Set(); // ids of those that the walk leaves out
  let kept = [];
  let unfollow = () => {};
  const message = h("div");
  const list = h("ul", { class: "bookmarks" });
  const empty = h("p", { class: "small muted" }, t("explore.bookmarks.empty"));
  const where = h("p", { class: "small muted" });
  const name = h("input", { type: "text", id: "bookmark-name", maxlength: 80, autocomplete: "off", placeholder: t("explore.bookmarks.name") });
  const form = h("form", { class: "row", on: { submit: add } },
    h("label", { class: "visually-hidden", for: "bookmark-name" }, t("explore.bookmarks.name")), name,
    h("button", { type: "submit", class: "button primary", disabled: !mayWrite }, icon("plus"), t("explore.bookmarks.add")));
  const walk = createWalk();

  async function load() {
    try {
      const found = await get("/api/explore/bookmarks", { of: view.of, snapshot: view.snapshot });
      kept = found.bookmarks;
      where.replaceChildren(t("explore.bookmarks.where"), " ", h("code", null, found.file));
      draw();
    } catch (error) {
      replace(message, errorBox(error));
    }
  }

  async function add(event) {
    event.preventDefault();
    const title = name.value.trim() || (view.place ? t("explore.of_photo") : t("explore.of_seed", { seed: view.seed }));
    if (await keep({ name: title, snapshot: view.snapshot, view: view.fields() })) name.value = "";
  }

  /** Writes a bookmark; whether it is written. */
  async function keep(wanted) {
    try {
      const one = await post("/api/explore/bookmarks", { of: view.of, snapshot: wanted.snapshot, name: wanted.name, view: wanted.view });
      kept = [...kept, one]; // read after the answer: another may have been added meanwhile
      draw();
      return true;
    } catch (error) {
      toastError(error);
      return false;
    }
  }

  async function remove(one) {
    try {
      await del(`/api/explore/bookmarks/${encodeURIComponent(one.id)}`, { of: view.of, snapshot: view.snapshot });
      kept = kept.filter((other) => other.id !== one.id);
      draw();
      name.focus();
      toast(t("explore.bookmarks.removed", { name: one.name }), { action: { label: t("explore.bookmarks.undo"), work: () => keep(one) } });
    } catch (error) {
      toastError(error);
    }
  }

  function make(one) {
    // its own snapshot, unless that was removed meanwhile
    const snapshot = about.snapshots.some(({ name: own }) => own === one.snapshot) ? one.snapshot : view.snapshot;
    const query = { of: view.of, snapshot, ...one.view };
    const chosen = h("input", { type: "checkbox", checked: true, "aria-label": t("explore.bookmarks.in_walk", { name: one.name }), on: { change: (event) => {
      if (event.target.checked) left.delete(one.id);
      else left.add(one.id);
      walk.update();
    } } });
    return h(
      "li", { class: "bookmark" },
      h("a", { href: exploreAddress(view.of, snapshot, one.view) }, sharpenSmall(h("img", { src: url("/api/explore/picture", query), alt: "", loading: "lazy" })), h("span", { class: "bookmark-name" }, one.name)),
      h("div", { class: "bookmark-end" }, chosen,
        h("button", { type: "button", class: "icon-button", disabled: !mayWrite, "aria-label": t("explore.bookmarks.remove", { name: one.name }), title: t("explore.bookmarks.remove", { name: one.name }), on: { click: () => remove(one) } }, icon("trash"))),
    );
  }

  function draw() {
    keyed(list, kept, (one) => one.id, make);
    empty.hidden = kept.length > 0;
    walk.update();
  }

  function createWalk() {
    const format = h("select", { id: "walk-format" }, about.formats.map(({ suffix, missing }) =>
      h("option", { value: suffix, disabled: Boolean(missing) }, missing ? `${suffix.slice(1).toUpperCase()} (${t("explore.walk.missing")})` : suffix.slice(1).toUpperCase())));
    const absent = about.formats.filter(({ missing }) => missing);
    const seconds = h("input", { type: "number", id: "walk-seconds", min: 0.1, max: MOST_SEGMENT, step: 0.1, value: 1, required: true });
    const loop = h("input", { type: "checkbox", checked: true });
    const start = h("button", { type: "button", class: "button", on: { click: begin } }, icon("play"), t("explore.walk.make"));
    const place = h("div", { class: "stack" });
    const note = h("p", { class: "small muted" });
    const chosen = () => kept.filter((one) => !left.has(one.id));

    async function begin() {
      if (!seconds.reportValidity()) return;
      const frames = Math.max(1, Math.round(25 * Number(seconds.value)));
      start.disabled = true;
      try {
        watch(await post("/api/explore/walk", {
          of: view.of, snapshot: view.snapshot, views: chosen().map((one) => one.view), frames, fps: 25, loop: loop.checked, suffix: format.value,
        }));
      } catch (error) {
        replace(place, errorBox(error));
        update();
      }
    }

    function watch(begun) {
      going.set(view.of, begun.id);
      const image = sharpenSmall(h("img", { class: "walk-image", alt: t("explore.walk.preview") }));
      const bar = h("progress", { max: 1, value: 0, "aria-label": t("explore.walk.progress") });
      const stop = h("button", { type: "button", class: "button small", on: { click: () => stopWork(begun.id) } }, icon("stop"), t("explore.stop"));
      replace(place, image, bar, h("div", { class: "row" }, stop));
      unfollow = follow(begun.id, {
        image,
        onWork(work) {
          if (work.facts.steps) bar.value = work.facts.step / work.facts.steps;
          if (work.state === "running") return;
          update();
          if (work.error) return replace(place, errorBox(work.error));
          if (!work.result) return replace(place, h("p", { class: "small muted", role: "status" }, t("explore.walk.stopped")));
          onFilm();
          const address = url("/api/explore/film", { of: view.of, snapshot: view.snapshot, name: work.result.name });
          const suffix = work.result.name.slice(work.result.name.lastIndexOf("."));
          const shown = IMAGES.includes(suffix) ? sharpenSmall(h("img", { class: "walk-image", src: address, alt: t("explore.walk.film") })) : image;
          replace(place, shown,
            h("p", { class: "small", role: "status" }, t("explore.walk.done", { n: work.result.frames, size: bytes(work.result.bytes) })),
            h("div", { class: "row" }, h("a", { class: "button primary small", href: address, download: `walk${suffix}` }, icon("download"), t("explore.walk.save"))),
            commandBox(work.command));
        },
      });
    }

    function update() {
      const n = chosen().length;
      start.disabled = !mayWrite || n < 2;
      setText(note, n < 2 ? t("explore.walk.two") : t("explore.walk.between", { n }));
    }

    resume(going.get(view.of), watch);
    return {
      element: h("div", { class: "explore-walk stack" },
        h("h3", null, t("explore.walk.title")),
        h("div", { class: "row walk-row" },
          h("label", { class: "row small", for: "walk-format" }, t("explore.walk.format"), format),
          h("label", { class: "row small", for: "walk-seconds" }, t("explore.walk.seconds"), seconds),
          h("label", { class: "row small" }, loop, t("explore.walk.loop")), start),
        absent.length > 0 && h("p", { class: "small explore-reason" }, icon("note"), h("span", null, t("explore.walk.extra", { formats: absent.map(({ suffix }) => suffix.slice(1).toUpperCase()).join(", ") }), " ", h("code", { lang: "en" }, absent[0].missing))),
        note, place),
      update,
    };
  }
  walk.update();
  load();

  return {
    element: h("section", { class: "panel stack explore-bookmarks", "aria-labelledby": "bookmarks-title" },
      h("div", { class: "section-head" }, h("h2", { id: "bookmarks-title" }, t("explore.bookmarks.title")), form),
      message, empty, list, where, walk.element),
    close: () => unfollow(),
  };
}
