/** The page Explore: the pictures of a generator, moved by hand. */

import { get, session, url } from "../api.js";
import { commandBox } from "../command.js";
import { h, replace } from "../dom.js";
import { kimgExact } from "../format.js";
import { t } from "../i18n.js";
import { runAddress } from "../jobs.js";
import { newest, settled } from "../newest.js";
import { gestures, navigate, setParams } from "../router.js";
import { createBookmarks } from "./explore_bookmarks.js";
import { createDirections } from "./explore_directions.js";
import { createKept } from "./explore_kept.js";
import { createLayers } from "./explore_layers.js";
import { createMap } from "./explore_map.js";
import { createNearest } from "./explore_nearest.js";
import { createPhoto } from "./explore_photo.js";
import { createPicture } from "./explore_picture.js";
import { createView, exploreAddress, viewError } from "./explore_view.js";

const ADDRESS_MS = 120;
const COMMAND_MS = 250;

export default {
  title: "explore.title",

  async open(main, params) {
    const page = h("div", { class: "page explore-page" });
    main.append(page);
    const [{ sources }, known] = await Promise.all([get("/api/explore/sources"), session()]);
    if (!main.isConnected) return undefined;
    const of = params.get("of") ?? sources[0].of;
    const place = h("div", { class: "explore-wait", role: "status" }, h("p", null, h("span", { class: "live-dot" }), " ", t("explore.loading")));
    replace(page, head(sources, of), place);
    let about;
    try {
      about = await get("/api/explore", { of, snapshot: params.get("snapshot") });
    } catch (error) {
      const { of: _, snapshot, ...fields } = Object.fromEntries(params);
      replace(place, viewError(error, of, fields));
      place.removeAttribute("role");
      return undefined;
    }
    if (!main.isConnected) return undefined;
    return show(page, { sources, about, mayWrite: known.may_write, params });
  },
};

function head(sources, of, about = null) {
  const known = sources.some((one) => one.of === of) ? sources : [{ of, name: of, images: "" }, ...sources];
  const choose = (event) => navigate(exploreAddress(event.target.value));
  const snapshots = about?.snapshots ?? [];
  return h(
    "div",
    { class: "page-head explore-head" },
    h("h1", null, t("explore.title")),
    h("label", { class: "row small" }, h("span", { class: "muted" }, t("explore.generator")),
      h("select", { on: { change: choose } }, known.map((one) => h("option", { value: one.of, selected: one.of === of }, one.name)))),
    snapshots.length > 0 &&
      h("label", { class: "row small" }, h("span", { class: "muted" }, t("explore.snapshot")),
        h("select", { on: { change: (event) => navigate(exploreAddress(of, event.target.value)) } },
          snapshots.map((one) => h("option", { value: one.name, selected: one.name === about.snapshot },
            t(one.best ? "explore.snapshot.best" : "explore.snapshot.kimg", { n: kimgExact(one.nimg) }))))),
    about?.snapshot && h("a", { class: "button quiet small", href: runAddress(of) }, t("explore.to_run")),
  );
}

function show(page, { sources, about, mayWrite, params }) {
  const view = createView(params, about);
  const channel = Math.random().toString(36).slice(2, 12);
  const command = h("div", { class: "explore-command" });
  const parts = { view, about, mayWrite, channel };
  const picture = createPicture(parts);
  const map = createMap(parts);
  const directions = createDirections(parts, (found) => map.setDirections(found));
  const layers = createLayers(parts);
  const kept = createKept(parts);
  const bookmarks = createBookmarks(parts, kept.load);
  const photo = createPhoto(parts, kept.load);
  const nearest = createNearest(parts);
  replace(
    page,
    head(sources, about.of, about),
    h("div", { class: "explore-main" }, picture.element, map.element, h("div", { class: "explore-side" }, directions.element, layers.element), command),
    h("div", { class: "explore-below" }, bookmarks.element, photo.element, nearest.element, kept.element),
  );
  const tell = settled(newest(async (query) => {
    const found = await get("/api/explore/command", query).catch(() => null);
    if (found && command.dataset.text !== found.command) {
      command.dataset.text = found.command;
      replace(command, commandBox(found.command), h("a", { class: "button quiet small", href: url("/api/explore/picture", view.query()), download: "picture.png" }, t("explore.png")));
    }
  }), COMMAND_MS);
  const isAlone = gestures();
  const write = settled(() => setParams(view.address(), { push: isAlone() }), ADDRESS_MS);
  const update = () => {
    write();
    tell(view.query());
  };
  view.on(update);
  setParams(view.address());
  tell(view.query());
  picture.first.then(() => page.isConnected && directions.load()); // which takes seconds of the same process
  return {
    close(options) {
      write.cancel();
      tell.cancel();
      for (const part of [picture, map, directions, bookmarks, photo, nearest]) part.close(options);
    },
    restore: (other) => (other.get("snapshot") ?? view.snapshot) === view.snapshot && view.restore(other),
  };
}
