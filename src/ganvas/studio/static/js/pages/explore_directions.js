/** Directions as sliders, found without labels; or the reason why there are none. */

import { get, post } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { range } from "../range.js";
import { toastError } from "../toast.js";
import { signed } from "./explore_map.js";

const SHOWN = 8;
const MOST = 24;
const MOST_LETTERS = 40;

/** `onFound`: gets the directions for the map: [{name, label}]. A direction has the name that its user gives it. */
export function createDirections({ view, about, mayWrite }, onFound) {
  const found = new Map(); // method -> [{name, share}]
  let named = {};
  const sliders = new Map();
  const leaving = new AbortController();
  let isClosed = false;
  const list = h("div", { class: "explore-directions" });
  const reset = h("button", { type: "button", class: "button quiet small", on: { click: () => view.change({ moves: new Map() }) } }, t("explore.directions.reset"));
  const buttons = about.methods.map((method) =>
    h("button", { type: "button", class: "chip", title: t(`explore.method.${method}`), on: { click: () => load(method) } }, method.toUpperCase()));
  const hint = h("p", { class: "small muted" });
  let shown = about.methods.includes(view.x.split(":")[0]) ? view.x.split(":")[0] : about.methods[0];

  async function load(method = shown) {
    shown = method;
    hint.textContent = t(`explore.share.${method === "pca" && about.space === "z" ? "pca_z" : method}`);
    about.methods.forEach((one, i) => buttons[i].setAttribute("aria-pressed", String(one === method)));
    if (!found.has(method)) {
      replace(list, h("p", { class: "small muted", role: "status" }, h("span", { class: "live-dot" }), " ", t("explore.directions.finding")));
      try {
        await find(method);
        for (const axis of [view.x, view.y]) await find(axis.split(":")[0]).catch(() => {}); // the map may have another
      } catch (error) {
        if (shown === method) replace(list, errorBox(error));
        return;
      }
    }
    if (shown !== method) return;
    show();
  }

  const labelOf = ({ name, share }) => [named[name], name, percent(share)].filter(Boolean).join(" · ");

  function show() {
    if (isClosed) return; // the map would ask for its pictures
    draw();
    onFound([...found.values()].flat().map((one) => ({ name: one.name, label: labelOf(one) })));
  }

  /** A field for the name of a direction in place of its slider; Escape leaves the name as it is. */
  function rename(name, row) {
    let isOver = false;
    const end = async (takes) => {
      if (isOver) return;
      isOver = true;
      try {
        if (takes) ({ names: named } = await post("/api/explore/direction", { of: view.of, snapshot: view.snapshot, direction: name, name: input.value }));
      } catch (error) {
        toastError(error);
      }
      show();
      list.querySelector(`[data-rename="${name}"]`)?.focus();
    };
    const keys = (event) => ["Enter", "Escape"].includes(event.key) && end(event.key === "Enter");
    const input = h("input", { type: "text", maxlength: MOST_LETTERS, "aria-label": t("explore.directions.name_of", { name }), placeholder: name, props: { value: named[name] ?? "" }, on: { keydown: keys, blur: () => end(true) } });
    replace(row, input);
    input.select();
  }

  async function find(method) {
    if (found.has(method) || !about.methods.includes(method)) return;
    const { n, shares, names } = await get("/api/explore/directions", { of: view.of, snapshot: view.snapshot, method }, { signal: leaving.signal });
    named = names;
    found.set(method, Array.from({ length: Math.min(n, MOST) }, (_, i) => ({ name: `${method}:${i}`, share: shares[i] })));
  }

  function draw() {
    sliders.clear();
    const rows = (some) => some.map((one) => {
      const { name } = one;
      const title = t("explore.directions.rename", { name });
      const slider = range({
        label: h("span", { class: "mono" }, labelOf(one)), least: -about.reach, most: about.reach, step: 0.05, value: view.amount(name),
        text: signed, onInput: (value) => view.move({ [name]: value }),
      });
      const pencil = h("button", { type: "button", class: "icon-button", disabled: !mayWrite, "aria-label": title, title, dataset: { rename: name }, on: { click: () => rename(name, slider.element) } }, icon("pencil"));
      slider.element.prepend(pencil);
      sliders.set(name, slider);
      return slider.element;
    });
    const all = found.get(shown);
    const more = all.slice(SHOWN);
    replace(list, rows(all.slice(0, SHOWN)),
      more.length > 0 && h("details", null, h("summary", null, t("explore.directions.more", { n: more.length })), h("div", { class: "explore-directions" }, rows(more))));
    update();
  }

  function update() {
    for (const [name, slider] of sliders) {
      slider.set(view.amount(name));
      slider.element.classList.toggle("on-map", name === view.x || name === view.y);
    }
    reset.disabled = ![...view.moves.values()].some(Boolean);
  }
  view.on(update);

  return {
    element: h(
      "section", { class: "panel stack", "aria-labelledby": "directions-title" },
      h("div", { class: "section-head" }, h("h2", { id: "directions-title" }, t("explore.directions.title")), h("div", { class: "chips", role: "group", "aria-label": t("explore.method") }, buttons), reset),
      hint,
      list,
    ),
    load,
    /** In another language the page asks for the same again, which is found only once. */
    close({ again = false } = {}) {
      isClosed = true;
      if (!again) leaving.abort();
    },
  };
}
