// Texts by key in the chosen language; every one is inserted as text, never as HTML.

const FILES = ["shell", "runs", "run", "chart", "common", "data", "diagnose"];
const STORED = "ganvas.language";

export const LANGUAGES = { en: "English", fr: "Français" };

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

/** Loads the language that was chosen before, or the first of the browser's that there is. */
export async function startLanguage() {
  await load(stored() ?? preferred());
}

/** Loads and remembers a language; `languagechanged` is then dispatched on the document. */
export async function setLanguage(name) {
  await load(name);
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // private windows may refuse storage; the choice then lasts as long as the page
  }
  document.dispatchEvent(new CustomEvent("languagechanged"));
}

async function load(name) {
  const parts = await Promise.all(FILES.map((file) => read(name, file)));
  texts = Object.assign({}, ...parts);
  current = name;
  plurals = new Intl.PluralRules(name);
  numbers = new Intl.NumberFormat(name, { maximumSignificantDigits: 6 });
  document.documentElement.lang = name;
}

async function read(name, file) {
  const answer = await fetch(new URL(`../lang/${name}/${file}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`lang/${name}/${file}.json: ${answer.status}`);
  return answer.json();
}

function stored() {
  try {
    const name = localStorage.getItem(STORED);
    return name in LANGUAGES ? name : null;
  } catch {
    return null;
  }
}

function preferred() {
  const short = navigator.languages.map((name) => name.slice(0, 2).toLowerCase());
  return short.find((name) => name in LANGUAGES) ?? "en";
}
