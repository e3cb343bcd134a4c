/** What Explore shows: a generator, a place in its latent space, and the two directions of the map. */

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";

const PLAIN = ["seed", "class", "truncation", "mix", "layers", "noise", "place"];
const OF_SEED = ["seed", "class", "truncation", "mix", "layers"];

/** "pca:0=1.5,sefa:2=-1" -> Map of direction to amount; 0 alone is pca:0 */
export function parseMoves(text) {
  const moves = new Map();
  for (const part of (text ?? "").split(",")) {
    const [name, amount] = part.split("=");
    const found = /^(?:(pca|sefa):)?(\d{1,6})$/.exec(name);
    if (found && Number.isFinite(Number(amount)) && Number(amount)) {
      moves.set(`${found[1] ?? "pca"}:${Number(found[2])}`, Number(amount));
    }
  }
  return moves;
}

/** The other way, in one order whatever was moved first: the same picture has the same address. */
export function movesText(moves) {
  const key = (name) => [name.split(":")[0], Number(name.split(":")[1])];
  const compare = ([a], [b]) => key(a)[0].localeCompare(key(b)[0]) || key(a)[1] - key(b)[1];
  return [...moves].filter(([, amount]) => amount).sort(compare).map(([name, amount]) => `${name}=${rounded(amount)}`).join(",");
}

const rounded = (value) => String(Math.round(value * 100) / 100);

/** What an address says of a view. */
const read = (params, about) => ({
  seed: params.get("seed") ?? "0",
  class: params.get("class") ?? about.classes[0] ?? null,
  truncation: params.get("truncation") ?? "1",
  mix: about.mixing ? null : params.get("mix"),
  layers: about.mixing ? null : params.get("layers"),
  noise: about.noise ? null : params.get("noise"),
  place: params.get("place"),
  x: params.get("x") ?? "pca:0",
  y: params.get("y") ?? "pca:1",
  moves: parseMoves(params.get("move")),
});

/** The view of an address, of a generator as /api/explore describes it. */
export function createView(params, about) {
  const listeners = new Set();
  const view = {
    of: about.of,
    snapshot: about.snapshot,
    ...read(params, about),

    /** The parameters that decide the picture; `moves` in place of the own. */
    fields(moves = view.moves) {
      const found = {};
      for (const name of PLAIN) {
        if (view[name] === null || view[name] === "" || (view.place && OF_SEED.includes(name))) continue;
        if ((name === "truncation" && Number(view.truncation) === 1) || (name === "layers" && !view.mix)) continue;
        found[name] = String(view[name]);
      }
      const move = movesText(moves);
      return move ? { ...found, move } : found;
    },

    /** The same, with the generator: as the server's endpoints take it. */
    query(moves = view.moves) {
      return { of: view.of, ...(view.snapshot ? { snapshot: view.snapshot } : {}), ...view.fields(moves) };
    },

    /** All parameters of the page's address; null for those that are not in it. */
    address() {
      const none = Object.fromEntries([...PLAIN, "move", "snapshot"].map((name) => [name, null]));
      const axes = { x: view.x === "pca:0" ? null : view.x, y: view.y === "pca:1" ? null : view.y };
      return { of: view.of, snapshot: null, ...none, ...view.query(), ...axes };
    },

    /** The amounts along the other directions than those of the map. */
    offMap() {
      const moves = new Map(view.moves);
      moves.delete(view.x);
      moves.delete(view.y);
      return moves;
    },

    amount: (name) => view.moves.get(name) ?? 0,

    /** Changes some of it, and tells all parts. */
    change(changes) {
      Object.assign(view, changes);
      for (const listener of listeners) listener();
    },

    /** Goes to the view of another address of the same generator. */
    restore: (other) => view.change(read(other, about)),

    move(amounts) {
      const moves = new Map(view.moves);
      for (const [name, amount] of Object.entries(amounts)) moves.set(name, amount);
      view.change({ moves });
    },

    on(listener) {
      listeners.add(listener);
    },
  };
  return view;
}

/** The address of a view. */
export function exploreAddress(of, snapshot = "", fields = {}) {
  const query = new URLSearchParams({ of, ...(snapshot ? { snapshot } : {}), ...fields });
  return `/explore?${query.toString().replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%3D", "=")}`;
}

/** An error; where the snapshot of a view is gone, as one that a training has replaced, with a link to the newest one. */
export const viewError = (error, of, fields) => [
  errorBox(error),
  error.field === "snapshot" && h("p", null, h("a", { href: exploreAddress(of, "", fields) }, t("explore.snapshot.newest"))),
];
