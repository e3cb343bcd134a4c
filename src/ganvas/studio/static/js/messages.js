/** What the server says, in the words of the page: its fields in place of flags, names of files in place of paths. */

import { errorBox as box } from "./dom.js";
import { has, t } from "./i18n.js";

const FLAG = /(?<![\w-])--(no-)?([a-z][a-z0-9-]*)/g;
const PATH = /(?<![\w:/\\.~*-])(?:[A-Za-z]:)?(?:[\\/][^\s\\/'",;:()]+){2,}[\\/]?/g;
const COMMAND = /\bganvas [a-z]/; // what is typed in a terminal stays as it is typed there

let folders = [];

/** Folders of the server, whose names may have spaces, so that no pattern finds their end. */
export function hideFolders(paths) {
  folders = [...paths].sort((one, other) => other.length - one.length);
}

/** The key of a knob's label, on pages that have labels of their own. */
const KEYS = {
  "/style": (name) => `style.knob.${name}`,
  "/compare": (name) => ({ data: "compare.data", seeds: "compare.seeds", minutes: "compare.budget", kimg: "compare.budget", conditional: "compare.classes" })[name],
  "/lab": (name) => `lab.knob.${name}`,
};

/** The label of a knob's field on the open page. */
export function fieldName(name) {
  const key = KEYS[location.pathname]?.(name);
  return key && has(key) ? t(key) : name.replaceAll("_", " ");
}

/** A text of a message, up to a command in it. */
export function inWords(text) {
  const end = text.search(COMMAND);
  const own = end < 0 ? text : text.slice(0, end);
  const named = own.replace(FLAG, (_, off, flag) => t(off ? "error.field_off" : "error.field", { name: fieldName(flag.replaceAll("-", "_")) }));
  const short = folders.reduce((some, folder) => some.replaceAll(`${folder}/`, "/files/"), named); // a folder without spaces
  return short.replace(PATH, (path) => path.split(/[\\/]/).findLast(Boolean)) + text.slice(own.length);
}

/** An error of the server as what happened, what was expected, and the fix. */
export const errorBox = ({ what, message, expected = "", fix = "" }) =>
  box({ what: inWords(what ?? message), expected: expected && inWords(expected), fix: fix && inWords(fix) });
