/** How long a style transfer takes: one estimate, of the speed of the last one here, which its own speed corrects. */

import { duration } from "../format.js";
import { t } from "../i18n.js";
import { recall, remember } from "../settings.js";

const NAME = "style-seconds";

/** Seconds for the work of a million pixels, until one was drawn here: `preview` then takes under half a minute. */
const USUAL = 3.5;

/** The part of the work after which the own speed counts as much as the estimate: the first iterations take longer. */
const PRIOR = 0.2;

/** Seconds left of a transfer: `work` and `done` in pixels, `seconds` that these have taken. */
export function secondsLeft({ work, done = 0, seconds = 0 }) {
  if (done >= work) return 0;
  const before = PRIOR * work;
  const expected = (before / 1e6) * (Number(recall(NAME)) || USUAL);
  return ((work - done) * (expected + seconds)) / (before + done);
}

/** What is said before it begins. */
export const timeText = (work) => t(recall(NAME) ? "style.time.here" : "style.time.usual", { time: duration(secondsLeft({ work })) });

/** Remembers how long one has taken. */
export function learnTime(work, seconds) {
  if (work && seconds) remember(NAME, String((1e6 * seconds) / work));
}
