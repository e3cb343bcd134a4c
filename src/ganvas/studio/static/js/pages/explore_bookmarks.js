/** Bookmarks of views, which stay with the run; their order is that of the walk between them. */

import { del, get, post, url } from "../api.js";
import { h, icon, keyed, replace } from "../dom.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { toast, toastError } from "../toast.js";
import { exploreAddress } from "./explore_view.js";
import { createWalk } from "./explore_walk.js";

/** `onFilm` is called when a film was written. */
export function createBookmarks(parts, onFilm) {
  const { view, about, mayWrite } = parts;
  const left = new Set(); // ids of those that the walk leaves out
  let kept = [];
  const message = h("div");
  const list = h("ul", { class: "bookmarks" });
  const empty = h("p", { class: "small muted" }, t("explore.bookmarks.empty"));
  const where = h("p", { class: "small muted" });
  const name = h("input", { type: "text", id: "bookmark-name", maxlength: 80, autocomplete: "off", placeholder: t("explore.bookmarks.name") });
  const form = h("form", { class: "row", on: { submit: add } },
    h("label", { class: "visually-hidden", for: "bookmark-name" }, t("explore.bookmarks.name")), name,
    h("button", { type: "submit", class: "button primary", disabled: !mayWrite }, icon("plus"), t("explore.bookmarks.add")));
  const walk = createWalk(parts, () => kept.filter((one) => !left.has(one.id)), onFilm);

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

  const button = (name, key, one, work) =>
    h("button", { type: "button", class: "icon-button", disabled: !mayWrite, "aria-label": t(key, { name: one.name }), title: t(key, { name: one.name }), on: { click: work } }, icon(name));

  /** Puts a bookmark one place earlier (-1) or later (1). */
  async function shift(one, by, button) {
    const at = kept.findIndex(({ id }) => id === one.id);
    const before = by < 0 ? kept[at - 1] : kept[at + 2];
    if (at + by < 0 || at + by >= kept.length) return;
    try {
      const found = await post(`/api/explore/bookmarks/${encodeURIComponent(one.id)}`, { of: view.of, snapshot: view.snapshot, before: before?.id ?? null });
      kept = found.bookmarks;
      draw();
      button.focus(); // a card that is moved loses it
    } catch (error) {
      toastError(error);
    }
  }

  function make(one) {
    // its own snapshot, unless that was removed meanwhile
    const snapshot = about.snapshots.some(({ name: own }) => own === one.snapshot) ? one.snapshot : view.snapshot;
    const query = { of: view.of, snapshot, ...one.view };
    const chosen = h("input", { type: "checkbox", checked: true, on: { change: (event) => {
      if (event.target.checked) left.delete(one.id);
      else left.add(one.id);
      walk.update();
    } } });
    return h(
      "li", { class: "bookmark" },
      h("a", { href: exploreAddress(view.of, snapshot, one.view) }, sharpenSmall(h("img", { src: url("/api/explore/picture", query), alt: "", loading: "lazy" })), h("span", { class: "bookmark-name" }, one.name)),
      h("label", { class: "bookmark-chosen" }, chosen, h("span", { "aria-hidden": "true" }, t("explore.bookmarks.walk")), h("span", { class: "visually-hidden" }, t("explore.bookmarks.in_walk", { name: one.name }))),
      h("div", { class: "bookmark-end" },
        button("previous", "explore.bookmarks.earlier", one, (event) => shift(one, -1, event.currentTarget)),
        button("next", "explore.bookmarks.later", one, (event) => shift(one, 1, event.currentTarget)),
        button("trash", "explore.bookmarks.remove", one, () => remove(one))),
    );
  }

  function draw() {
    keyed(list, kept, (one) => one.id, make);
    empty.hidden = kept.length > 0;
    walk.update();
  }

  walk.update();
  load();

  return {
    element: h("section", { class: "panel stack explore-bookmarks", "aria-labelledby": "bookmarks-title" },
      h("div", { class: "section-head" }, h("h2", { id: "bookmarks-title" }, t("explore.bookmarks.title")), form),
      message, empty, list, where, walk.element),
    close: walk.close,
  };
}
