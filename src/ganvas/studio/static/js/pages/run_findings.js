/** The findings of a run at the place of the slider: evidence, causes, and fixes as a command and as a new run. */

import { ApiError, get } from "../api.js";
import { commandBox } from "../command.js";
import { h, icon, keyed, replace } from "../dom.js";
import { kimg } from "../format.js";
import { t } from "../i18n.js";
import { runAddress, startTraining } from "../jobs.js";
import { inWords } from "../messages.js";
import { newest } from "../newest.js";
import { navigate } from "../router.js";
import { toastError } from "../toast.js";
import { worst } from "./diagnose_findings.js";

const WAIT_MS = 220;

/**
 * @param {object} detail  of /api/run
 * @param {(findings: object[]) => void} onFound  is given all findings of the whole run
 */
export function createFindings(detail, time, mayWrite, onFound) {
  const known = new Map();
  const opened = new Set();
  let timer = 0;
  let asked = 0;
  let whole = null;
  let shown = "";
  let awaited = "";
  let starting = false;
  const leaving = new AbortController();

  const verdict = h("p", { class: "verdict-line", role: "status" }, h("span", { class: "live-dot" }), t("run.findings.reading"));
  const list = h("div", { class: "run-findings" });
  const element = h("section", { class: "findings-part", hidden: true, "aria-label": t("run.findings") }, verdict, list);

  const ask = (until) => get("/api/run/diagnosis", { run: detail.run, until }, { signal: leaving.signal });

  const askAt = newest(async ({ until, turn }) => {
    try {
      const found = await ask(until);
      known.set(until, found);
      if (turn === asked) draw(found);
    } catch {
      // what is shown stays
    }
  });

  /** Reads the findings of the whole run anew. */
  async function load() {
    element.hidden = false;
    try {
      const found = await ask(null);
      known.clear();
      whole = found;
      onFound(found.findings);
      draw(time.following ? whole : null);
      if (!time.following) later();
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) element.hidden = true;
      else replace(verdict, icon("note"), inWords(error.what ?? String(error)));
    }
  }

  /** Shows at once what had begun by then, and soon what a diagnosis at that time says. */
  function later() {
    clearTimeout(timer);
    askAt.drop();
    const turn = ++asked;
    if (!whole) return;
    if (time.following) return draw(whole);
    const until = time.now;
    const ready = known.get(until);
    if (ready) return draw(ready);
    timer = setTimeout(() => askAt({ until, turn }), WAIT_MS);
  }

  function draw(found) {
    if (!found) return;
    const text = JSON.stringify([found.verdict, found.findings, mayWrite]);
    if (text === shown) return;
    shown = text;
    const severity = worst(found.findings);
    verdict.dataset.severity = severity;
    replace(verdict, icon(severity), h("strong", null, t(`run.severity.${severity}`)), h("span", { lang: "en" }, found.verdict));
    const giveFocusBack = holdFocus();
    keyed(list, found.findings, (finding) => finding.name, makeCard, updateCard); // the most severe first
    giveFocusBack();
    bringAwaited();
  }

  /** Keeps which part of which finding has the focus; the function gives it back, where the part was drawn anew or moved. */
  function holdFocus() {
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    const partsOf = (element) => [...element.querySelectorAll("summary, button, [tabindex]")];
    const id = focused?.closest(".run-finding").id;
    const index = id ? partsOf(document.getElementById(id)).indexOf(focused) : -1;
    return () => {
      if (index < 0 || document.activeElement === focused) return;
      const element = document.getElementById(id);
      if (element) partsOf(element)[index]?.focus({ preventScroll: true });
    };
  }

  const makeCard = ({ name }) =>
    h("details", { class: "run-finding", id: idOf(name), open: opened.has(name), on: { toggle: (event) => (event.target.open ? opened.add(name) : opened.delete(name)) } });

  /** Draws a finding where it says something else than before: what is selected in the others stays. */
  function updateCard(element, finding) {
    const text = JSON.stringify(finding);
    if (element.shown === text) return;
    element.shown = text;
    const { severity, name } = finding;
    element.dataset.severity = severity;
    const more = finding.severity === "note" && !finding.fixes.length ? null : [
      part("run.findings.evidence", finding.evidence),
      part("run.findings.causes", finding.causes),
      finding.fixes.length > 0 && h("div", { class: "fixes" }, h("h4", { lang: document.documentElement.lang }, t("run.findings.fixes")), finding.fixes.map(fixView)),
    ];
    replace(
      element,
      h("summary", null,
        h("span", { class: "badge", "data-severity": severity }, icon(severity), t(`run.severity.${severity}`)),
        h("span", { class: "run-finding-name", lang: "en" }, name),
        finding.since_nimg !== null && finding.since_nimg !== undefined && h("span", { class: "muted run-finding-since" }, t("run.findings.since", { kimg: kimg(finding.since_nimg) }))),
      h("div", { class: "run-finding-body", lang: "en" }, h("p", null, finding.summary), more ?? part("run.findings.evidence", finding.evidence)),
    );
  }

  function part(key, lines) {
    if (!lines?.length) return null;
    return h("div", null, h("h4", { lang: document.documentElement.lang }, t(key)), h("ul", null, lines.map((line) => h("li", null, line))));
  }

  function fixView(fix) {
    const changes = Object.keys(fix.changes ?? {}).length > 0;
    const start = h("button", { type: "button", class: "button small fix-start", disabled: !mayWrite || starting, on: { click: () => begin(fix.changes) } }, icon("play"), t("run.findings.start"));
    return h("div", { class: "fix" }, h("p", null, fix.do), changes && detail.command && commandBox(withFlags(detail.command, fix.flags)), changes && h("div", { lang: document.documentElement.lang }, start));
  }

  async function begin(knobs) {
    setStarting(true);
    try {
      const run = await startTraining({ run: detail.run, knobs });
      if (element.isConnected) navigate(runAddress(run)); // else another page was opened meanwhile
    } catch (error) {
      toastError(error);
    }
    setStarting(false);
  }

  /** Of all fixes, also those that are drawn meanwhile: one training is started at a time. */
  function setStarting(starts) {
    starting = starts;
    for (const button of list.querySelectorAll(".fix-start")) button.disabled = starts;
  }

  const idOf = (name) => `finding-${name.replaceAll(" ", "-")}`;
  const find = (name) => list.querySelector(`#${CSS.escape(idOf(name))}`);

  function bringAwaited() {
    const found = awaited && find(awaited);
    if (!found) return;
    awaited = "";
    found.open = true;
    found.scrollIntoView({ block: "nearest", behavior: "smooth" });
    found.querySelector("summary").focus({ preventScroll: true });
  }

  const end = time.on(["at"], later);

  return {
    element,
    load,
    /** Whether a finding is shown now. */
    has: (name) => find(name) !== null,
    /** Opens a finding and brings it into view: now, or when the diagnosis of the slider's place is there. */
    reveal(name) {
      awaited = name;
      opened.add(name);
      bringAwaited();
    },
    close() {
      clearTimeout(timer);
      askAt.drop();
      asked++;
      leaving.abort();
      end();
    },
  };
}

/** A command with other flags, in place of its own of the same names. */
function withFlags(command, flags) {
  const names = flags.match(/--[\w-]+/g) ?? [];
  const rest = names.reduce((text, name) => text.replace(new RegExp(`\\s${name}(?=\\s|$)(\\s+(?!--)\\S+)*`), ""), command);
  return `${rest} ${flags}`;
}
