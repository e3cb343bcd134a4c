/** How long a style transfer takes: its pixels times its iterations, by the time that the last one took here. */

import { duration } from "../format.js";
import { t } from "../i18n.js";
import { recall, remember } from "../settings.js";

const NAME = "style-rate";

/** Seconds for a million pixels times iterations, until one was drawn here: `preview` then takes under half a minute. */
const USUAL = 9;

/** The work of knobs {size, iterations, preset …}, in millions of pixels times iterations. */
export function workOf(values, presets) {
  const preset = presets[values.preset ?? "preview"];
  const size = Number(values.size) || preset.size;
  return ((Number(values.iterations) || preset.iterations) * size ** 2) / 1e6;
}

/** What is said before it begins. */
export function timeText(work) {
  const rate = Number(recall(NAME));
  return t(rate ? "style.time.here" : "style.time.usual", { time: duration(work * (rate || USUAL)) });
}

/** Remembers how long one has taken. */
export function learnTime(work, seconds) {
  if (work && seconds) remember(NAME, String(seconds / work));
}
