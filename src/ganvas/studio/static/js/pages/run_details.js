/** Below the curves: evaluations with baseline and protocol, nearest training images, the configuration. */

import { commandBox, quoted } from "../command.js";
import { h, icon, replace } from "../dom.js";
import { number } from "../format.js";
import { has, t } from "../i18n.js";

/** Tables of the evaluations, the newest first; each names its snapshot. */
export function createEvaluations(detail) {
  const body = h("div", { class: "stack" });
  const element = h("section", { class: "panel wide" }, h("h2", null, t("run.evaluations")), body);
  const wait = h("p", { class: "small", role: "status", hidden: true });
  element.insertBefore(wait, body);
  let shown = "";
  function none() {
    const text = t("run.evaluations.none");
    return detail.snapshots?.length ? [h("p", { class: "muted small" }, `${text} ${t("run.evaluations.how")}`), commandBox(`ganvas evaluate ${quoted(detail.path)}`)] : h("p", { class: "muted small" }, text);
  }
  return {
    element,
    /** What is open and selected stays where nothing is new. */
    set(rows) {
      const text = JSON.stringify([rows, Boolean(detail.snapshots?.length)]);
      if (text === shown) return;
      shown = text;
      replace(body, rows.length ? rows.toReversed().map((row, i) => evaluationView(row, row.subject.replace(detail.path, detail.name), i === 0)) : none());
    },
    /** Whether an evaluation is under way. */
    setRunning(running) {
      wait.hidden = !running;
      replace(wait, running && [h("span", { class: "live-dot" }), " ", t("run.evaluating")]);
    },
  };
}

function evaluationView(row, subject, first) {
  const values = Object.values(row.values ?? {});
  const dagger = values.some((value) => value.independent === false);
  return h(
    "details", { class: "evaluation", open: first },
    h("summary", null, h("strong", null, subject)),
    h("div", { class: "table-scroll" },
      h("table", { class: "table" },
        h("thead", null, h("tr", null, h("th", { scope: "col" }, t("run.measure")), ["value", "error", "baseline", "ratio"].map((one) => h("th", { scope: "col", class: "num" }, t(`run.measure.${one}`))), h("th", { scope: "col" }, t("run.measure.better")))),
        h("tbody", null, values.map((value) =>
          h("tr", null,
            h("th", { scope: "row", lang: "en" }, value.title, value.independent === false && " †"),
            h("td", { class: "num" }, h("strong", null, number(value.value))),
            h("td", { class: "num muted" }, value.error === null ? "–" : `± ${number(value.error, 2)}`),
            h("td", { class: "num" }, number(value.baseline)),
            h("td", { class: "num muted" }, value.ratio === null ? "–" : `${number(value.ratio, 2)} ×`),
            h("td", { class: "muted" }, has(`run.better.${value.better}`) ? t(`run.better.${value.better}`) : value.better)))))),
    row.memorisation && memorisationView(row.memorisation),
    (row.notes ?? []).map((note) => h("p", { class: "small evaluation-note" }, icon("note"), h("span", { lang: "en" }, note))),
    dagger && h("p", { class: "small muted" }, t("run.not_independent")),
    h("details", null, h("summary", null, t("run.protocol")), tree(row.protocol)),
  );
}

function memorisationView({ copying, ...numbers }) {
  const severity = copying ? "failure" : "healthy";
  const shown = Object.entries(numbers).filter(([, value]) => typeof value === "number");
  return h(
    "p", { class: "small memorisation" },
    h("span", { class: "badge", "data-severity": severity }, icon(severity), t(copying ? "run.memorisation.copies" : "run.memorisation.none")),
    shown.map(([name, value]) => h("span", { lang: "en" }, h("span", { class: "muted" }, name === "c_t" ? "C_T" : name.replaceAll("_", " ")), ` ${number(value)}`)),
  );
}

/** Nested plain values as a list of names and values. */
function tree(object, prefix = "") {
  const rows = [];
  const walk = (value, name) => {
    if (value && typeof value === "object" && !Array.isArray(value)) for (const [key, one] of Object.entries(value)) walk(one, name ? `${name} ${key}` : key);
    else rows.push([name, Array.isArray(value) ? value.join(", ") : (value ?? "–")]);
  };
  walk(object ?? {}, prefix);
  return h("dl", { class: "facts mono", lang: "en" }, rows.map(([name, value]) => [h("dt", null, name), h("dd", null, String(value))]));
}

/** The generated images that are nearest to training images, as the last evaluation drew them. */
export function createNeighbours(detail) {
  const body = h("div", { class: "stack" });
  const element = h("section", { class: "panel" }, h("h2", null, t("run.neighbours")), h("p", { class: "small muted" }, t("run.neighbours.text")), body);
  const set = (address) =>
    replace(
      body,
      address
        ? h("a", { href: address, target: "_blank", rel: "noopener" }, h("img", { src: address, class: "neighbours-image pixelated", alt: t("run.neighbours.alt"), loading: "lazy" }))
        : h("p", { class: "small" }, t("run.neighbours.none")),
    );
  set(detail.nearest);
  return { element, set };
}

/** Knobs that differ from the recipe; all of them, versions and files behind a <details>. */
export function createConfiguration(detail) {
  const changed = Object.entries(detail.knobs ?? {});
  return h(
    "section", { class: "panel tall" },
    h("h2", null, t("run.configuration")),
    h("h3", { class: "small muted" }, t("run.knobs.changed")),
    changed.length
      ? h("dl", { class: "facts mono" }, changed.map(([name, value]) => [h("dt", null, name), h("dd", null, shown(value))]))
      : h("p", { class: "small" }, t("run.knobs.none")),
    detail.command && commandBox(detail.command),
    detail.config && h("details", null, h("summary", null, t("run.knobs.all")), tree(detail.config)),
    h("details", null, h("summary", null, t("run.about")), tree({ path: detail.path, ...detail.versions, data: detail.metadata, ...(detail.lineage ? { lineage: detail.lineage } : {}) })),
  );
}

const shown = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "–"));
