/** What happened during a run, as marks on the time line and as a list. */

import { h, replace } from "../dom.js";
import { kimg, moment } from "../format.js";
import { has, t } from "../i18n.js";

const MARKS = { rollback: "warning", correct: "warning", resume: null, replanned: null, extended: null, interrupted: null, stopped: "failure", "non-finite": "failure" };

/** Marks of the events that changed the course of the training. */
export function eventMarks(events, onClick) {
  return events
    .filter((event) => event.event in MARKS)
    .map((event) => ({ x: event.nimg, severity: MARKS[event.event], icon: MARKS[event.event] ?? "mark", minor: event.event === "replanned", label: nameOf(event), onClick: () => onClick(event) }));
}

const nameOf = (event) => (has(`run.event.${event.event}`) ? t(`run.event.${event.event}`) : event.event);

/** A list of all events but the diagnoses; a click goes to the place. */
export function createEvents(time) {
  const list = h("ol", { class: "events" });
  const element = h("section", { class: "panel", hidden: true }, h("h2", null, t("run.events")), list);
  return {
    element,
    set(events) {
      const shown = events.filter((event) => !event.event.startsWith("diagnosis"));
      element.hidden = !shown.length;
      replace(
        list,
        shown.toReversed().map((event) =>
          h("li", null,
            h("button", { type: "button", class: "chip", on: { click: () => time.go(event.nimg) } }, `${kimg(event.nimg)} kimg`),
            h("span", null, h("strong", null, nameOf(event)), " ", h("span", { class: "muted", lang: "en" }, describe(event))),
            event.time && h("time", { class: "muted" }, moment(event.time)))),
      );
    },
  };
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
