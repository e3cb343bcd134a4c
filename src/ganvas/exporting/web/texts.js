/** Texts by key in the chosen language; every one is inserted as text, never as HTML. */

import { recall, remember } from "studio/settings.js";

const LANGUAGES = JSON.parse(document.getElementById("texts").textContent);

let current = firstLanguage();

function firstLanguage() {
  const wanted = [recall("language"), ...navigator.languages].filter(Boolean);
  return wanted.map((one) => one.slice(0, 2).toLowerCase()).find((one) => one in LANGUAGES) ?? "en";
}

export function languages() {
  return Object.keys(LANGUAGES);
}

export function language() {
  return current;
}

export function setLanguage(name) {
  current = name;
  remember("language", name);
}

/** The text of a key; `{name}` in it is the parameter of that name. */
export function t(key, params = {}) {
  return LANGUAGES[current][key].replace(/\{(\w+)\}/g, (whole, name) => {
    const value = params[name] ?? whole;
    return typeof value === "number" || typeof value === "bigint" ? formatNumber(value) : String(value);
  });
}

export function formatNumber(value) {
  return new Intl.NumberFormat(current, { maximumSignificantDigits: typeof value === "bigint" ? 21 : 3 }).format(value);
}

/** Fills every element that names its text. */
export function fillTexts() {
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
}
