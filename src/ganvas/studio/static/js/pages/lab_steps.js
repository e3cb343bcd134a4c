/** The values of a knob of the lab that its buttons and the arrow keys go through. */

const FRACTIONS = [0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];
const SMALLEST = 0.001;
const CLOSE = 1 + 1e-9;

/**
 * The next value up or down: of whole numbers the next one, of widths and batches the next power of 2, of momentums
 * one of FRACTIONS, otherwise the next of 1, 2, 5, 10 …, with 0 below SMALLEST.
 *
 * @param {{name: string, least: number, most: number, whole: boolean}} knob
 */
export function stepOf({ name, least, most, whole }, value, up) {
  const next = name.startsWith("beta") ? inFractions(value, up) : whole ? nextWhole(name, value, up) : inSeries(value, up, least);
  return Math.min(most, Math.max(least, next));
}

function inFractions(value, up) {
  return (up ? FRACTIONS.find((one) => one > value * CLOSE) : FRACTIONS.findLast((one) => one * CLOSE < value)) ?? value;
}

function nextWhole(name, value, up) {
  if (!name.endsWith("width") && name !== "batch") return value + (up ? 1 : -1);
  const power = Math.log2(value);
  return 2 ** (up ? Math.floor(power) + 1 : Math.ceil(power) - 1);
}

function inSeries(value, up, least) {
  const smallest = least || SMALLEST;
  if (up) return value < smallest ? smallest : inDecades(value, up);
  return value < smallest * CLOSE ? least : inDecades(value, up);
}

function inDecades(value, up) {
  const decade = Math.floor(Math.log10(value * CLOSE));
  const near = [-1, 0, 1].flatMap((by) => [1, 2, 5].map((digit) => Number(`${digit}e${decade + by}`)));
  return up ? near.find((one) => one > value * CLOSE) : near.findLast((one) => one * CLOSE < value);
}
