/** A photo's place in the latent space: sought while one looks on, and then a view like any other. */

import { post, url } from "../api.js";
import { commandBox } from "../command.js";
import { h, icon, replace, setText } from "../dom.js";
import { dropZone } from "../drop.js";
import { number } from "../format.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { follow, resume, stopWork } from "../live.js";
import { errorBox } from "../messages.js";
import { dataPng } from "../pictures.js";
import { upload } from "../upload.js";
import { uploadView } from "./data_source.js";

/** The searches that are not shown again: another photo is to come. */
const left = new Set();

/** `onPlace` is called when a place was found. */
export function createPhoto({ view, mayWrite }, onPlace) {
  const place = h("div", { class: "stack" });
  const aborter = new AbortController();
  let unfollow = () => {};

  const zone = (problem = null) => replace(
    place, problem && errorBox(problem),
    mayWrite
      ? dropZone({ drawing: "images", title: t("explore.photo.drop"), hint: t("explore.photo.hint"), onItems: begin, folders: false })
      : h("p", { class: "small muted" }, t("shell.reading_only")),
  );

  async function begin(items) {
    const one = items.slice(0, 1);
    const own = new AbortController();
    aborter.signal.addEventListener("abort", () => own.abort());
    const progress = uploadView(one, () => own.abort());
    replace(place, progress.element);
    try {
      const sent = await upload(one, { onProgress: progress.onProgress, signal: own.signal });
      const work = await post("/api/explore/place", { of: view.of, snapshot: view.snapshot, upload: sent.upload, class: null });
      watch(work);
    } catch (error) {
      zone(error.name === "AbortError" ? null : error);
    }
  }

  function watch(begun) {
    unfollow();
    const jumps = begun.state === "running"; // to the place, once it is found
    const target = h("img", { class: "photo-image", src: url("/api/pictures/small", { upload: begun.facts.upload }), alt: t("explore.photo.target") });
    const found = sharpenSmall(h("img", { class: "photo-image", alt: t("explore.photo.found") }));
    const status = h("p", { class: "small", role: "status" });
    const bar = h("progress", { max: 1, value: 0, "aria-label": t("explore.photo.progress") });
    const stop = h("button", { type: "button", class: "button small", on: { click: () => stopWork(begun.id) } }, icon("stop"), t("explore.stop"));
    const go = h("button", { type: "button", class: "button primary small", hidden: true }, icon("next"), t("explore.photo.go"));
    const again = h("button", { type: "button", class: "button quiet small", hidden: true, on: { click: () => leave(begun.id) } }, t("explore.photo.again"));
    const notes = h("div", { class: "stack small" });
    let known = null;
    const show = (name) => {
      known = name;
      view.change({ place: name, moves: new Map(), mix: null, layers: null });
    };
    go.addEventListener("click", () => show(known));
    replace(
      place,
      h("div", { class: "photo-pair" },
        h("figure", null, target, h("figcaption", { class: "small muted" }, t("explore.photo.yours"))),
        h("figure", null, found, h("figcaption", { class: "small muted" }, t("explore.photo.nearest")))),
      bar, status, h("div", { class: "row" }, stop, go, again), notes,
    );
    unfollow = follow(begun.id, {
      image: found,
      onWork(work) {
        const { facts, state } = work;
        if (facts.steps) bar.value = facts.step / facts.steps;
        if (state === "running") {
          const key = work.stopping ? "explore.stopping" : facts.stage ? `explore.photo.${facts.stage}` : "explore.photo.loading";
          setText(status, t(key, { distance: number(facts.distance), step: facts.step ?? 0, steps: facts.steps ?? 0 }));
        }
        if (work.found.place && !known && jumps) show(work.found.place);
        if (state === "running") return;
        bar.hidden = stop.hidden = true;
        again.hidden = false;
        if (work.error) return replace(notes, errorBox(work.error));
        if (!work.result) return setText(status, t("explore.photo.stopped"));
        onPlace();
        target.src = dataPng(work.result.target);
        sharpenSmall(target);
        go.hidden = false;
        if (!known && jumps) show(work.result.place);
        known = work.result.place;
        setText(status, t(state === "done" ? "explore.photo.done" : "explore.photo.early", { verdict: work.result.verdict }));
        const context = Object.entries(work.result.context).map(([name, [least, most]]) => h("div", null, h("dt", null, name), h("dd", null, `${number(least)} – ${number(most)}`)));
        replace(notes,
          context.length > 0 && [h("p", { class: "muted" }, t("explore.photo.context")), h("dl", { class: "photo-context", lang: "en" }, context)],
          work.result.notes.map((note) => h("p", { class: "muted", lang: "en" }, note)),
          commandBox(work.command));
      },
    });
  }
  function leave(id) {
    left.add(id);
    zone();
  }

  zone();
  resume("search", view.of, (work) => {
    const seen = work.state === "running" || (view.place && view.place === work.found.place);
    if (seen && !left.has(work.id)) watch(work);
  });

  return {
    element: h("section", { class: "panel stack explore-photo", "aria-labelledby": "photo-title" }, h("h2", { id: "photo-title" }, t("explore.photo.title")), place),
    close() {
      unfollow();
      aborter.abort();
    },
  };
}
