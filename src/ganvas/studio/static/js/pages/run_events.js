/** What happened during a run, as marks on the time line and as a list. */

import { h, replace } from "../dom.js";
import { kimg, moment } from "../format.js";
import { has, t } from "../i18n.js";

const MARKS = { rollback: "warning", correct: "warning", resume: null, extended: null, interrupted: null, stopped: "failure", "non-finite": "failure" };

/** Marks of the events that changed the course of the training. */
export function eventMarks(events, onClick) {
  return events
    .filter((event) => event.event in MARKS)
    .map((event) => ({ x: event.nimg, severity: MARKS[event.event], icon: MARKS[event.event] ?? "mark", label: nameOf(event), onClick: () => onClick(event) }));
}

const nameOf = (event) => (has(`run.event.${event.event}`) ? t(`run.event.${event.event}`) : event.event);

/** Rows of a log and newer ones, without those that are among them already: what is read and what is streamed may overlap. */
export function joined(rows, more) {
  const known = new Set(rows.map((row) => JSON.stringify(row)));
  return [...rows, ...more.filter((row) => !known.has(JSON.stringify(row)))];
}

/** The events with one row for those that were planned anew one after the other: the last, with their number in `times`. */
function gathered(events) {
  const found = [];
  for (const event of events) {
    const before = found.at(-1);
    if (event.event === "replanned" && before?.event === "replanned") found[found.length - 1] = { ...event, times: before.times + 1 };
    else found.push({ ...event, times: 1 });
  }
  return found;
}

/** A list of all events but the diagnoses; a click goes to the place. */
export function createEvents(time) {
  const list = h("ol", { class: "events" });
  const element = h("section", { class: "panel", hidden: true }, h("h2", null, t("run.events")), list);
  return {
    element,
    set(events) {
      const shown = gathered(events.filter((event) => !event.event.startsWith("diagnosis")));
      element.hidden = !shown.length;
      replace(
        list,
        shown.toReversed().map((event) =>
          h("li", null,
            h("button", { type: "button", class: "chip", on: { click: () => time.go(event.nimg) } }, `${kimg(event.nimg)} kimg`),
            h("span", null, h("strong", null, nameOf(event)), " ", planOf(event), h("span", { class: "muted", lang: "en" }, describe(event))),
            event.time && h("time", { class: "muted" }, moment(event.time)))),
      );
    },
  };
}

/** The length that was planned, in the language of the page. */
function planOf(event) {
  if (!["planned", "replanned"].includes(event.event) || typeof event.kimg !== "number") return "";
  const total = kimg(1000 * event.kimg);
  return h("span", { class: "muted" }, event.times > 1 ? t("run.event.plans", { n: event.times, kimg: total }) : t("run.event.plan", { kimg: total }));
}

/** What an event says beyond its name: plain values, as in events.jsonl. */
function describe(event) {
  if (event.finding) return event.finding.summary;
  if (event.error || event.reason) return event.error ?? event.reason;
  if (event.quantities) return event.quantities.join(", ");
  if (event.changes) return Object.entries(event.changes).map(([name, value]) => `${name} ${value}`).join(", ");
  return "";
}

/** A mark of each finding at the place where it began: of those now, and of those that passed since. */
export function findingMarks(findings, events, onClick) {
  const marks = findings
    .filter((finding) => finding.severity !== "note" && finding.since_nimg !== null && finding.since_nimg !== undefined)
    .map((finding) => ({ x: finding.since_nimg, severity: finding.severity, label: finding.name, onClick: () => onClick(finding.name, finding.since_nimg) }));
  const passed = events.filter((event) => event.event === "diagnosis" && event.severity !== "note" && !findings.some((finding) => finding.name === event.name));
  for (const event of passed) {
    const x = event.unit === "kimg" ? Math.min(event.nimg, 1000 * event.since) : event.nimg;
    marks.push({ x, severity: event.severity, label: event.name, onClick: () => onClick(event.name, event.nimg) });
  }
  return marks;
}
