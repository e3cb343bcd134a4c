/** The page of a new training: images are chosen and inspected, then a recipe is chosen and started. */

import { get, session } from "../api.js";
import { h, icon, replace } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { setParams } from "../router.js";
import { reportView } from "./data_report.js";
import { sourceView } from "./data_source.js";
import { trainingView } from "./data_training.js";

/** What was entered for a data set survives a change of the page or the language, until a training starts with it. */
const NOTHING = { data: null, recipe: null, length: null, name: "" };
const form = { ...NOTHING, knobs: {} };
const clear = (data) => Object.assign(form, NOTHING, { data, knobs: {} });
let inspected = null; // {data, report} of the last inspection: a reopened page shows it at once

export default {
  title: "data.title",

  async open(main, params) {
    const [known, recipes] = await Promise.all([session(), get("/api/recipes")]);
    if (!main.isConnected) return undefined; // left meanwhile
    let aborter = new AbortController();
    const chosen = h("div", { class: "data-chosen" });
    const training = h("div");
    let closeTraining = () => {};

    const choose = async (data) => {
      aborter.abort(); // the server ends an inspection that nobody waits for: the next one takes its place
      aborter = new AbortController();
      const { signal } = aborter;
      setParams({ data }, { push: Boolean(data) });
      closeTraining();
      replace(training);
      if (!data) {
        inspected = null;
        replace(chosen, sourceView({ known, onData: choose, signal }));
        return;
      }
      if (inspected?.data !== data) {
        replace(chosen, busy(data, () => choose(null)));
        try {
          const report = await get("/api/data", { data }, { signal });
          if (signal.aborted) return;
          inspected = { data, report };
        } catch (error) {
          if (signal.aborted) return;
          setParams({ data: null });
          replace(chosen, errorBox(error), sourceView({ known, onData: choose, signal }));
          return;
        }
      }
      replace(chosen, reportView(inspected.report, { onChange: () => choose(null).then(() => focusFirst(chosen)) }));
      if (!inspected.report.count) {
        replace(training);
        return;
      }
      if (form.data !== data) clear(data);
      const view = trainingView({ data, report: inspected.report, recipes: recipes.recipes, known, form, onStart: () => clear(null) });
      closeTraining = view.close;
      replace(training, view.element);
      chosen.querySelector("h2")?.focus();
    };

    main.append(
      h(
        "div",
        { class: "page data-page" },
        h("div", { class: "page-head" }, h("h1", null, t("data.title")), h("p", { class: "muted" }, t("data.subtitle"))),
        chosen,
        training,
      ),
    );
    choose(params.get("data"));
    return () => {
      aborter.abort();
      closeTraining();
    };
  },
};

function busy(data, onCancel) {
  return h(
    "div",
    { class: "panel data-busy", role: "status" },
    h("span", { class: "live-dot" }),
    h("p", null, t("data.inspecting", { name: data.split("/").pop() })),
    h("button", { type: "button", class: "button quiet small", on: { click: onCancel } }, icon("close"), t("dialog.cancel")),
  );
}

function focusFirst(element) {
  element.querySelector("button, input")?.focus();
}
