/** What an inspection found in a set of images: pictures first, then sizes, classes and everything that is wrong. */

import { h, icon } from "../dom.js";
import { integer, percent } from "../format.js";
import { t } from "../i18n.js";

const CLASSES_SHOWN = 12;
const ROWS_SHOWN = 24;
const PIXELATED_BELOW = 96;

/** The report of /api/data; `onChange` goes back to choosing. */
export function reportView(report, { onChange }) {
  const [height, width] = report.resolution;
  const small = Math.max(height, width) < PIXELATED_BELOW;
  const head = h(
    "div",
    { class: "report-head" },
    h("div", null, h("h2", { tabindex: "-1" }, report.name), h("p", { class: "muted small" }, summary(report))),
    h("button", { type: "button", class: "button", on: { click: onChange } }, t("data.change")),
  );
  return h(
    "section",
    { class: "panel report" },
    head,
    h(
      "div",
      { class: "report-body" },
      report.pictures?.length ? sheet(report.pictures, small) : null,
      h("div", { class: "report-side stack" }, problems(report), facts(report), classes(report.class_counts)),
    ),
    badFiles(report.bad ?? []),
    duplicates(report.duplicates ?? [], report.duplicate_count, small),
    named(t("data.blank.title", { n: report.blank_images.length }), report.blank_images.map((name) => [name, ""])),
    named(t("data.misnamed.title", { n: report.misnamed_count }), report.misnamed_files),
  );
}

function summary(report) {
  const parts = [t("n.images", { n: report.count })];
  const classCount = Object.keys(report.class_counts).length;
  if (classCount) parts.push(t("n.classes", { n: classCount }));
  parts.push(report.format);
  return parts.join(" · ");
}

function sheet(pictures, small) {
  return h(
    "div",
    { class: "sheet", role: "group", "aria-label": t("data.sheet") },
    pictures.map(({ url, file, index }) => {
      const name = String(file ?? index ?? "");
      return h("img", { src: url, alt: t("data.picture", { name }), title: name, class: small ? "pixelated" : "", loading: "lazy" });
    }),
  );
}

function problems(report) {
  const line = (severity, text) =>
    h("li", { "data-severity": severity }, icon(severity), h("span", null, h("span", { class: "visually-hidden" }, `${t(`data.${severity}`)}: `), text));
  const warnings = report.warnings.map((text) => line("warning", text.split("\n")[0]));
  const notes = report.notes.map((text) => line("note", text));
  const fine = warnings.length ? [] : [line("healthy", t("data.no_problems"))];
  return h("ul", { class: "report-lines" }, warnings, fine, notes);
}

function facts(report) {
  const [height, width] = report.resolution;
  const channels = { 1: t("data.grey"), 3: "RGB", 4: "RGBA" }[report.channels];
  const rows = [];
  if (report.count) {
    rows.push([t("data.read_as"), `${integer(height)} × ${integer(width)}, ${channels}`]);
    rows.push([t("data.original_sizes"), counts(report.original_sizes, report.size_count, (size) => size.replace("x", " × "))]);
    rows.push([t("data.colour_modes"), counts(report.colour_modes)]);
  }
  if (Object.keys(report.ignored_files).length) rows.push([t("data.ignored"), counts(report.ignored_files)]);
  return h("dl", { class: "facts" }, rows.map(([name, text]) => [h("dt", null, name), h("dd", null, text)]));
}

function counts(table, all = Object.keys(table).length, write = String) {
  const shown = Object.entries(table).slice(0, 5).map(([name, n]) => `${write(name)} (${integer(n)})`);
  if (all > shown.length) shown.push(t("data.more", { n: all - shown.length }));
  return shown.join(", ");
}

function classes(table) {
  const entries = Object.entries(table ?? {});
  if (!entries.length) return null;
  const largest = Math.max(...entries.map(([, n]) => n), 1);
  const total = entries.reduce((sum, [, n]) => sum + n, 0);
  const row = ([name, n]) =>
    h(
      "li",
      { title: percent(n / Math.max(1, total)) },
      h("span", { class: "class-name" }, name),
      h("span", { class: "class-bar", "aria-hidden": "true" }, h("span", { style: { width: `${(100 * n) / largest}%` } })),
      h("span", { class: "class-count" }, integer(n)),
    );
  const rest = entries.slice(CLASSES_SHOWN);
  return h(
    "div",
    null,
    h("h3", null, t("n.classes", { n: entries.length })),
    h("ul", { class: "class-list" }, entries.slice(0, CLASSES_SHOWN).map(row)),
    rest.length
      ? h("details", { class: "class-rest" }, h("summary", null, t("data.more", { n: rest.length })), h("ul", { class: "class-list" }, rest.map(row)))
      : null,
  );
}

function badFiles(bad) {
  if (!bad.length) return null;
  const item = ({ file, reason, url }) =>
    h(
      "li",
      { class: "bad-file" },
      url ? h("img", { src: url, alt: "" }) : h("span", { class: "bad-file-none" }, icon("failure")),
      h("div", null, h("p", { class: "file-name" }, file), h("p", { class: "muted" }, reason)),
    );
  return section(t("data.bad.title", { n: bad.length }), h("ul", { class: "bad-files" }, bad.slice(0, ROWS_SHOWN).map(item)), bad.length);
}

function duplicates(groups, count, small) {
  if (!groups.length) return null;
  const picture = (one) => {
    const { file, url } = typeof one === "string" ? { file: one, url: null } : one;
    return h(
      "figure",
      null,
      url ? h("img", { src: url, alt: "", class: small ? "pixelated" : "", loading: "lazy" }) : null,
      h("figcaption", { class: "file-name" }, file),
    );
  };
  const group = (names) => h("li", { class: "duplicate" }, names.slice(0, 6).map(picture), names.length > 6 ? t("data.more", { n: names.length - 6 }) : null);
  return section(t("data.duplicates.title", { n: count }), h("ul", { class: "duplicates" }, groups.slice(0, ROWS_SHOWN).map(group)), groups.length);
}

function named(title, rows) {
  if (!rows.length) return null;
  const list = rows.slice(0, ROWS_SHOWN).map(([name, text]) => h("li", null, h("span", { class: "file-name" }, name), text ? ` ${text}` : null));
  return section(title, h("ul", { class: "named-files" }, list), rows.length);
}

function section(title, list, n) {
  return h(
    "details",
    { class: "report-more" },
    h("summary", null, title),
    list,
    n > ROWS_SHOWN ? h("p", { class: "muted small" }, t("data.more", { n: n - ROWS_SHOWN })) : null,
  );
}
