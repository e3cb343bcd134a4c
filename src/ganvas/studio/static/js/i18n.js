// Texts by key in the chosen language; every one is inserted as text, never as HTML.

const FILES = ["shell", "runs", "run", "chart", "common", "data", "diagnose", "explore", "style", "lab", "compare", "quiz", "recipes"];

export const LANGUAGES = ["en", "fr"];

let current = "en";
let texts = {};
let plurals = new Intl.PluralRules("en");
let numbers = new Intl.NumberFormat("en");

export function language() {
  return current;
}

/** The text of a key; `{name}` in it is the parameter of that name, and `n` chooses among plural forms. */
export function t(key, params = {}) {
  let text = texts[key];
  if (text === undefined) {
    console.error(`No text for ${key} in ${current}.`);
    return key;
  }
  if (typeof text === "object") text = text[plurals.select(params.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = params[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? numbers.format(value) : String(value);
  });
}

/** Whether there is a text: for names that the server sends and that not every language translates. */
export function has(key) {
  return key in texts;
}

/** Loads a language; until it is there, the one before stays. */
export async function load(name) {
  const parts = await Promise.all(FILES.map((file) => read(name, file)));
  texts = Object.assign({}, ...parts);
  current = name;
  plurals = new Intl.PluralRules(name);
  numbers = new Intl.NumberFormat(name, { maximumSignificantDigits: 6 });
}

async function read(name, file) {
  const answer = await fetch(`/static/lang/${name}/${file}.json`);
  if (!answer.ok) throw new Error(`lang/${name}/${file}.json: ${answer.status}`);
  return answer.json();
}
