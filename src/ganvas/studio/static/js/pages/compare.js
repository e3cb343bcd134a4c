/** The page Compare: two runs beside each other as soon as there are two; all comparisons; the start of a new one. */

import { get, session } from "../api.js";
import { h, replace } from "../dom.js";
import { followRuns } from "../follow_runs.js";
import { t } from "../i18n.js";
import { comparisonList } from "./compare_list.js";
import { comparePair } from "./compare_pair.js";
import { comparisonForm } from "./compare_start.js";

/** A run's name, in a comparison with that of the comparison before it. */
const runLabel = (run) => run.run.split("/").slice(1).filter((part) => !["runs", "comparisons"].includes(part)).join(" / ");

export default {
  title: "compare.title",

  async open(main, params) {
    const [known, list, { recipes }] = await Promise.all([session(), get("/api/runs"), get("/api/recipes")]);
    if (!main.isConnected) return undefined;
    const runs = new Map(list.runs.map((card) => [card.run, card]));
    let pair = null;
    const place = h("div");
    const comparisons = comparisonList({ mayWrite: known.may_write });
    const form = comparisonForm({ known, recipes, label: runLabel, onStart: () => comparisons.refresh() });

    function update() {
      const cards = [...runs.values()];
      form.setRuns(cards);
      if (cards.length < 2) {
        pair?.close();
        pair = null;
        replace(place, h("p", { class: "panel" }, t("compare.two_needed")));
        return;
      }
      if (!pair) {
        pair = comparePair({ params, label: runLabel });
        replace(place, pair.element);
      }
      pair.setRuns(cards);
    }

    main.append(
      h("div", { class: "page compare-page stack" },
        h("div", { class: "page-head" }, h("h1", null, t("compare.title")), h("p", { class: "muted" }, t("compare.subtitle"))),
        place, comparisons.element,
        h("section", { class: "stack" }, h("h2", null, t("compare.new")), form.element)),
    );
    update();
    const closeStream = followRuns(runs, { onChange: update });
    return () => {
      closeStream();
      comparisons.close();
      form.close();
      pair?.close();
    };
  },
};
