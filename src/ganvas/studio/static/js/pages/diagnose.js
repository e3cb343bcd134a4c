/** The page that diagnoses a log of any program: the verdict, the findings, its curves, and how it was read. */

import { post, session } from "../api.js";
import { dropZone } from "../drop.js";
import { h, icon, replace } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { setParams } from "../router.js";
import { upload } from "../upload.js";
import { uploadView } from "./data_source.js";
import { columnsView } from "./diagnose_columns.js";
import { curvesView } from "./diagnose_curves.js";
import { findingsView } from "./diagnose_findings.js";

let last = null; // {source, columns, answer}: a reopened page shows it at once

export default {
  title: "diagnose.title",

  async open(main, params) {
    const known = await session();
    const aborter = new AbortController();
    const { signal } = aborter;
    const source = h("div", { class: "data-place" });
    const result = h("div", { class: "diagnosis" });
    let closeCurves = () => {};

    const clear = () => {
      closeCurves();
      closeCurves = () => {};
      replace(result);
    };

    const chooseAgain = () => {
      last = null;
      setParams({ log: null });
      clear();
      showSource(null);
      source.querySelector("button, input")?.focus();
    };

    const showSource = (problem) => {
      const zone = dropZone({ drawing: "log", title: t("diagnose.drop.title"), hint: t("diagnose.drop.hint"), onItems: send });
      replace(source, problem && errorBox(problem), known.may_write ? zone : h("p", { class: "panel muted" }, t("shell.reading_only")), pathForm(known, (path) => read({ path })));
    };

    const send = async (items) => {
      const own = new AbortController();
      const stop = () => own.abort();
      signal.addEventListener("abort", stop);
      const view = uploadView(items, stop);
      replace(source, view.element);
      try {
        const done = await upload(items, { onProgress: view.onProgress, signal: own.signal });
        await read({ upload: done.upload });
      } catch (error) {
        if (!signal.aborted) showSource(error.name === "AbortError" ? null : error);
      } finally {
        signal.removeEventListener("abort", stop);
      }
    };

    const read = async (from, columns = {}) => {
      const wait = h("div", { class: "panel data-busy", role: "status" }, h("span", { class: "live-dot" }), h("p", null, t("diagnose.reading")));
      replace(source, wait);
      try {
        const body = Object.keys(columns).length ? { ...from, columns } : from;
        last = { source: from, columns, answer: await post("/api/diagnose", body, { signal }) };
        setParams({ log: from.path ?? null });
        show();
      } catch (error) {
        if (error.name === "AbortError") return;
        if (last?.source === from) {
          show();
          source.prepend(errorBox(error)); // the columns that were said do not fit: what was read before stays
        } else {
          showSource(error);
          if (/--columns/.test(`${error.expected} ${error.fix}`)) source.querySelector(".error-box").after(sayColumns(columns, (said) => read(from, said)));
        }
      }
    };

    const show = () => {
      const { answer, source: from, columns } = last;
      clear();
      replace(source, readBar(answer, chooseAgain));
      const curves = answer.curves?.x.length ? curvesView({ answer, onFinding: focusFinding }) : null;
      closeCurves = curves?.close ?? closeCurves;
      replace(
        result,
        findingsView(answer),
        curves?.element,
        columnsView({ answer, columns, onColumns: (chosen) => read(from, chosen) }),
      );
      result.querySelector("h2")?.focus();
    };

    main.append(
      h(
        "div",
        { class: "page diagnose-page" },
        h("div", { class: "page-head" }, h("h1", null, t("diagnose.title")), h("p", { class: "muted" }, t("diagnose.subtitle"))),
        source,
        result,
      ),
    );
    const path = params.get("log");
    if (last && (!path || last.source.path === path)) show();
    else if (path) read({ path });
    else showSource(null);
    return () => {
      aborter.abort();
      closeCurves();
    };
  },
};

/** Where no name of a log was recognised: what its columns are, by name or by place. */
function sayColumns(columns, onColumns) {
  const fields = ["d_loss", "g_loss", "step"].map((role) => {
    const input = h("input", { type: "text", id: `say-${role}`, autocomplete: "off", spellcheck: "false", props: { value: columns[role] ?? "" } });
    return { role, input, element: h("div", { class: "field" }, h("label", { for: `say-${role}` }, t(`diagnose.say.${role}`)), input) };
  });
  const submit = (event) => {
    event.preventDefault();
    const said = fields.map(({ role, input }) => [role, input.value.trim()]).filter(([, name]) => name);
    if (said.length) onColumns(Object.fromEntries(said));
  };
  return h(
    "form",
    { class: "panel say-columns", on: { submit } },
    h("p", null, t("diagnose.say.title")),
    h("div", { class: "say-fields" }, fields.map((one) => one.element)),
    h("button", { type: "submit", class: "button" }, t("diagnose.columns.again")),
  );
}

function readBar(answer, onChange) {
  const facts = answer.facts ?? {};
  return h(
    "div",
    { class: "panel report-head" },
    h("div", null, h("p", { class: "file-name" }, facts.source ?? ""), h("p", { class: "muted small", lang: "en" }, facts.format ?? "")),
    h("button", { type: "button", class: "button", on: { click: onChange } }, icon("upload"), t("diagnose.change")),
  );
}

function pathForm(known, onPath) {
  const input = h("input", { type: "text", id: "log-path", autocomplete: "off", spellcheck: "false", placeholder: t("diagnose.path.example") });
  const submit = (event) => {
    event.preventDefault();
    if (input.value.trim()) onPath(input.value.trim());
  };
  return h(
    "form",
    { class: "data-path", on: { submit } },
    h("label", { for: "log-path" }, t("diagnose.path.label")),
    h("div", { class: "row" }, input, h("button", { type: "submit", class: "button" }, t("data.path.open"))),
    h("p", { class: "small muted" }, t("data.path.hint"), " ", [...known.folders, ...(known.data_folders ?? [])].map((one, i) => [i ? ", " : "", h("code", null, one)])),
  );
}

function focusFinding(index) {
  const card = document.getElementById(`finding-${index}`);
  card?.scrollIntoView({ block: "center" });
  card?.focus({ preventScroll: true });
}
