/** What Explore has written for a generator: places of photos, which are views, and films of walks. */

import { get, url } from "../api.js";
import { h, replace } from "../dom.js";
import { ago, bytes } from "../format.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { exploreAddress } from "./explore_view.js";

export function createKept({ view }) {
  const of = { of: view.of, snapshot: view.snapshot };
  const body = h("div", { class: "stack" });
  const element = h("section", { class: "panel stack explore-kept", "aria-labelledby": "kept-title", hidden: true }, h("h2", { id: "kept-title" }, t("explore.kept.title")), body);

  const place = ({ name, made }) =>
    h("li", { class: "bookmark" }, h("a", { href: exploreAddress(view.of, view.snapshot, { place: name }) },
      sharpenSmall(h("img", { src: url("/api/explore/photo", { ...of, place: name }), alt: t("explore.of_photo"), loading: "lazy" })),
      h("span", { class: "bookmark-name" }, ago(made))));

  const film = ({ name, bytes: size, made }) => {
    const suffix = name.slice(name.lastIndexOf("."));
    return h("li", null, h("a", { href: url("/api/explore/film", { ...of, name }), download: `walk-${name}` }, `${suffix.slice(1).toUpperCase()} · ${bytes(size)} · ${ago(made)}`));
  };

  /** Lists them anew. */
  async function load() {
    const found = await get("/api/explore/kept", of).catch(() => null); // a list more or less
    if (!found) return;
    element.hidden = !found.places.length && !found.films.length;
    replace(
      body,
      found.places.length > 0 && [h("h3", null, t("explore.kept.places")), h("ul", { class: "bookmarks" }, found.places.map(place))],
      found.films.length > 0 && [h("h3", null, t("explore.kept.films")), h("ul", { class: "kept-films small" }, found.films.map(film))],
    );
  }
  load();
  return { element, load };
}
