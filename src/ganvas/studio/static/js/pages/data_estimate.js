/** What a training would take: time, memory and disk, from a dry run. */

import { h, icon } from "../dom.js";
import { bytes, duration, integer, number } from "../format.js";
import { t } from "../i18n.js";

const SHORT = 0.5;

/** The JSON of `ganvas train --dry-run --json`; `minutes` are those that the training was given, if it was. */
export function estimateView(result, minutes = null) {
  const { memory_bytes: memory, parameters } = result;
  const rows = [];
  const short = minutes && result.seconds < SHORT * 60 * minutes;
  if (minutes) rows.push([t("data.estimate.time"), duration(60 * minutes)]);
  else if (result.seconds) rows.push([t("data.estimate.time"), duration(result.seconds)]);
  if (result.images_per_s) rows.push([t("data.estimate.speed"), t("data.estimate.images_per_s", { n: number(result.images_per_s) })]);
  if (result.kimg) rows.push([t("data.estimate.length"), `${number(result.kimg)} kimg`]);
  rows.push([t("data.estimate.memory"), t("data.estimate.of_free", { needed: bytes(memory.needed), free: bytes(memory.free) })]);
  rows.push([t("data.estimate.disk"), bytes(result.disk_bytes)]);
  rows.push([t("data.estimate.parameters"), `G ${integer(parameters.G)}, D ${integer(parameters.D)}`]);
  return h(
    "div",
    { class: "estimate" },
    h("dl", { class: "facts" }, rows.map(([name, text]) => [h("dt", null, name), h("dd", null, text)])),
    short
      ? h("p", { class: "estimate-warning", "data-severity": "warning" }, icon("warning"), t("data.estimate.short", { time: duration(result.seconds) }))
      : null,
    result.warning
      ? h("p", { class: "estimate-warning", "data-severity": "warning" }, icon("warning"), h("span", { lang: "en" }, result.warning))
      : null,
  );
}
