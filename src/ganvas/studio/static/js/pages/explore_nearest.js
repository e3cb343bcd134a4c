/** The training pictures nearest to what is shown: has the generator learnt it by rote? */

import { post } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { integer, number } from "../format.js";
import { sharpenSmall } from "../images.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { dataPng } from "../pictures.js";

export function createNearest({ view, mayWrite }) {
  const place = h("div", { class: "stack", "aria-live": "polite" });
  const button = h("button", { type: "button", class: "button", disabled: !mayWrite, title: mayWrite ? null : t("shell.reading_only"), on: { click: find } }, icon("search"), t("explore.nearest.find"));
  const leaving = new AbortController();
  let asked = "";

  async function find() {
    asked = JSON.stringify(view.query());
    button.disabled = true;
    replace(place, h("p", { class: "small muted" }, h("span", { class: "live-dot" }), " ", t("explore.nearest.finding")));
    try {
      show(await post("/api/explore/nearest", { of: view.of, snapshot: view.snapshot, view: view.fields() }, { signal: leaving.signal }));
    } catch (error) {
      replace(place, errorBox(error));
    }
    button.disabled = false;
    update();
  }

  function show(found) {
    const verdict = found.copy ? "explore.nearest.copy" : "explore.nearest.no_copy";
    replace(
      place,
      h("p", { class: "small muted stale-note" }, t("explore.nearest.stale")),
      h("p", { class: "verdict-line", "data-severity": found.copy ? "warning" : "healthy" }, icon(found.copy ? "warning" : "healthy"), h("span", null, t(verdict, { ratio: number(found.ratio, 2), most: number(found.most) }))),
      h("ol", { class: "nearest-list" }, found.pictures.map((one, i) =>
        h("li", null, sharpenSmall(h("img", { src: dataPng(one.png), alt: t("explore.nearest.picture", { n: i + 1 }) })), h("span", { class: "small muted" }, number(one.distance, 2))))),
      h("p", { class: "small muted" }, t("explore.nearest.of", { n: integer(found.n) })),
    );
  }

  function update() {
    place.classList.toggle("stale", asked !== "" && asked !== JSON.stringify(view.query()));
  }
  view.on(update);

  return {
    element: h("section", { class: "panel stack explore-nearest", "aria-labelledby": "nearest-title" },
      h("div", { class: "section-head" }, h("h2", { id: "nearest-title" }, t("explore.nearest.title")), button),
      h("p", { class: "small muted" }, t("explore.nearest.hint")), place),
    /** In another language the page is opened again, and the training pictures are read only once. */
    close({ again = false } = {}) {
      if (!again) leaving.abort();
    },
  };
}
