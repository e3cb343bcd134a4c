/** How far a training is, of how much. */

import { kimg } from "./format.js";
import { t } from "./i18n.js";

/** "12 of 40 kimg"; of a training that was given minutes also these, since its length in images is planned. */
export function progressText({ nimg, total, minutes }) {
  if (!total) return t("runs.kimg", { now: kimg(nimg) });
  const text = t("runs.kimg_of", { now: kimg(nimg), total: kimg(total) });
  return minutes ? t("runs.in_minutes", { text, n: minutes }) : text;
}
