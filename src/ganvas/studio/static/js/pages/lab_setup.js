/** The set-up of a game in the lab: the values of its knobs, as texts or as the server gave them, and their address. */

/** Knobs that the planted games leave as they are. */
const KEPT = ["data", "points", "seed"];

/** @param {object} about  the knobs and games, as /api/lab describes them */
export function createSetup(about) {
  const knobs = Object.fromEntries(about.knobs.map((knob) => [knob.name, knob]));
  const defaults = Object.fromEntries(about.knobs.map((knob) => [knob.name, knob.default]));
  const values = { ...defaults };
  const differs = (name, value) => String(values[name]) !== String(value);

  const setup = {
    values,

    /** Whether a knob can have a value. */
    takes: (name, value) => name in knobs && isValid(knobs[name], String(value), about.max_points),

    /** All values of an address, and the names of those in it that no knob can have, which get their default. */
    parse(params) {
      const wrong = Object.keys(knobs).filter((name) => params.has(name) && !setup.takes(name, params.get(name)));
      const given = Object.fromEntries([...params].filter(([name]) => name in knobs && !wrong.includes(name)));
      return { values: { ...defaults, ...given }, wrong };
    },

    /** Takes some values; gives whether they need new networks. */
    change(changes) {
      const restarts = Object.entries(changes).some(([name, value]) => knobs[name].restarts && differs(name, value));
      Object.assign(values, changes);
      return restarts;
    },

    /** The values that are not those by default. */
    changed: () => Object.fromEntries(Object.entries(values).filter(([name]) => differs(name, defaults[name]))),

    /** The parameters of the address; null for those that are not in it. */
    address() {
      const none = Object.fromEntries(Object.keys(knobs).map((name) => [name, null]));
      const found = { ...none, ...setup.changed() };
      return values.data === "own" ? found : { ...found, points: null };
    },

    /** All values of a planted game, with the data and the seed of now. */
    planted: (name) => ({ ...defaults, ...Object.fromEntries(KEPT.map((one) => [one, values[one]])), ...about.presets[name] }),

    /** The planted game that is set up, if it is one. */
    preset: () => Object.keys(about.presets).find((name) => Object.entries(setup.planted(name)).every(([one, value]) => !differs(one, value))),

    /** Whether data or seed are not those by default. */
    hasOwnData: () => KEPT.some((name) => differs(name, defaults[name])),
  };
  return setup;
}

function isValid({ choices, default: usual, least, most, whole }, text, maxPoints) {
  if (choices.length) return choices.includes(text);
  if (typeof usual === "boolean") return ["true", "false"].includes(text);
  if (typeof usual === "string") return /^([0-9a-z]{4})*$/.test(text) && text.length <= 4 * maxPoints;
  const value = Number(text);
  return text.trim() !== "" && value >= least && value <= most && (!whole || Number.isInteger(value));
}
