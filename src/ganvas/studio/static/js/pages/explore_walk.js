/** A walk between bookmarks, saved as a film. */

import { post, url } from "../api.js";
import { commandBox } from "../command.js";
import { h, icon, replace, setText } from "../dom.js";
import { bytes } from "../format.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { follow, resume, stopWork } from "../live.js";
import { errorBox } from "../messages.js";

const IMAGES = [".gif", ".png", ".webp"];
const MOST_SEGMENT = 10;
const FRAMES_PER_SECOND = 25;

/** `chosen()` are the bookmarks of the walk, in their order; `onFilm` is called when a film was written. */
export function createWalk({ view, about, mayWrite }, chosen, onFilm) {
  let unfollow = () => {};
  const format = h("select", { id: "walk-format" }, about.formats.map(({ suffix, missing }) =>
    h("option", { value: suffix, disabled: Boolean(missing) }, missing ? `${suffix.slice(1).toUpperCase()} (${t("explore.walk.missing")})` : suffix.slice(1).toUpperCase())));
  const absent = about.formats.filter(({ missing }) => missing);
  const seconds = h("input", { type: "number", id: "walk-seconds", min: 0.1, max: MOST_SEGMENT, step: 0.1, value: 1, required: true });
  const loop = h("input", { type: "checkbox", checked: true });
  const start = h("button", { type: "button", class: "button", on: { click: begin } }, icon("play"), t("explore.walk.make"));
  const place = h("div", { class: "stack" });
  const note = h("p", { class: "small muted" });

  async function begin() {
    if (!seconds.reportValidity()) return;
    const frames = Math.max(1, Math.round(FRAMES_PER_SECOND * Number(seconds.value)));
    start.disabled = true;
    try {
      watch(await post("/api/explore/walk", {
        of: view.of, snapshot: view.snapshot, views: chosen().map((one) => one.view), frames, fps: FRAMES_PER_SECOND, loop: loop.checked, suffix: format.value,
      }));
    } catch (error) {
      replace(place, errorBox(error));
      update();
    }
  }

  function watch(begun) {
    unfollow();
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
        replace(place, ...film(work, image));
      },
    });
  }

  function film({ result, command }, preview) {
    const address = url("/api/explore/film", { of: view.of, snapshot: view.snapshot, name: result.name });
    const suffix = result.name.slice(result.name.lastIndexOf("."));
    const shown = IMAGES.includes(suffix) ? sharpenSmall(h("img", { class: "walk-image", src: address, alt: t("explore.walk.film") })) : preview;
    return [
      shown,
      h("p", { class: "small", role: "status" }, t("explore.walk.done", { n: result.frames, size: bytes(result.bytes) })),
      h("div", { class: "row" }, h("a", { class: "button primary small", href: address, download: `walk${suffix}` }, icon("download"), t("explore.walk.save"))),
      commandBox(command),
    ];
  }

  function update() {
    const n = chosen().length;
    start.disabled = !mayWrite || n < 2;
    setText(note, n < 2 ? t("explore.walk.two") : t("explore.walk.between", { n }));
  }

  resume("walk", view.of, watch);
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
    close: () => unfollow(),
  };
}
