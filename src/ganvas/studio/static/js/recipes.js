/** What a recipe is, in the language of the page where it has the words. */

import { h } from "./dom.js";
import { has, t } from "./i18n.js";

/** Its summary as an element; `attributes` are those of `h`. */
export function recipeSummary({ name, summary }, attributes) {
  const key = `recipe.${name}`;
  return h("span", { ...attributes, lang: has(key) ? null : "en" }, has(key) ? t(key) : summary);
}
