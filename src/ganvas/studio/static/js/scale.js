/** Scales, ticks and paths of charts: pure functions of numbers. */

/** The index of the value nearest to `wanted` in ascending `values`; -1 if there are none. */
export function nearest(values, wanted) {
  if (!values.length) return -1;
  const after = lowerBound(values, wanted);
  if (after === 0) return 0;
  if (after === values.length) return values.length - 1;
  return wanted - values[after - 1] <= values[after] - wanted ? after - 1 : after;
}

/** The index of the last value that is not above `wanted`; -1 if all are above. */
export function lastUpTo(values, wanted) {
  const after = lowerBound(values, wanted);
  return values[after] === wanted ? after : after - 1;
}

function lowerBound(values, wanted) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Round numbers from `low` to `high`, about `count` of them. */
export function ticks(low, high, count) {
  if (!(high > low) || count < 1) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** Powers of ten from `low` to `high`, thinned to about `count`; 1, 2, 5 in less than two decades. */
export function logTicks(low, high, count) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const factors = Math.log10(high / low) < 2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil((last - first) / count));
  const found = [];
  for (let power = first; power <= last; power += every) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length > 1 ? found : ticks(low, high, count);
}

/**
 * The range of the values at indices [first, last] of several series, with room above and below.
 * @param {{mean: (number|null)[], low?: (number|null)[], high?: (number|null)[]}[]} series
 * @param {number[]} more  values that must be inside too
 */
export function domain(series, first, last, log, more = []) {
  let [low, high] = [Infinity, -Infinity];
  const take = (value) => {
    if (value === null || value === undefined || (log && value <= 0)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  for (const one of series) {
    for (let i = first; i <= last; i++) {
      take(one.mean[i]);
      if (one.low && !log) take(one.low[i]); // a band below a logarithm's range is cut off
      if (one.high) take(one.high[i]);
    }
  }
  more.forEach(take);
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) {
    const room = Math.max((high / low) ** 0.06, 1.1);
    return [low / room, high * room];
  }
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
}

/** A function from values to pixels. Values that a logarithm does not have are null. */
export function scale([low, high], [start, end], log = false) {
  const span = end - start;
  if (!log) {
    const factor = span / (high - low || 1);
    return (value) => start + (value - low) * factor;
  }
  const [base, factor] = [Math.log(low), span / (Math.log(high) - Math.log(low) || 1)];
  return (value) => (value > 0 ? start + (Math.log(value) - base) * factor : null);
}

/** A small ring around the place of the pen, which the width of the line fills. */
const DOT = "m-1.2 0a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0";

const round = (value) => Math.round(value * 10) / 10;

/**
 * The path of a line. It breaks where a value is null, unless the series is measured only now and then.
 * A value alone is a dot.
 */
export function linePath(x, values, first, last, toX, toY, sparse = isSparse(values, first, last)) {
  const parts = [];
  let length = 0;
  const end = () => {
    if (length === 1) parts.push(DOT);
    length = 0;
  };
  for (let i = first; i <= last; i++) {
    const y = values[i] === null || values[i] === undefined ? null : toY(values[i]);
    if (y === null) {
      if (!sparse) end();
      continue;
    }
    parts.push(`${length ? "L" : "M"}${round(toX(x[i]))} ${round(y)}`);
    length++;
  }
  end();
  return parts.join("");
}

/** The path of a band between two lines, one closed shape for each stretch without a gap. */
export function bandPath(x, low, high, first, last, toX, toY) {
  const shapes = [];
  let [above, below] = [[], []];
  const end = () => {
    if (above.length > 1) shapes.push(`M${above.join("L")}L${below.reverse().join("L")}Z`);
    [above, below] = [[], []];
  };
  for (let i = first; i <= last; i++) {
    const bottom = low[i] === null || low[i] === undefined ? null : toY(low[i]);
    const top = high[i] === null || high[i] === undefined ? null : toY(high[i]);
    if (top === null) {
      end();
      continue;
    }
    const at = round(toX(x[i]));
    above.push(`${at} ${round(top)}`);
    below.push(`${at} ${round(bottom ?? toY.floor ?? top)}`);
  }
  end();
  return shapes.join("");
}

/**
 * Whether a series is measured only now and then, so that null means "not measured here", not a gap: fewer than half of
 * the lines have a value, or values and nulls take turns.
 */
export function isSparse(values, first = 0, last = values.length - 1) {
  let [known, turns, inGap] = [0, 0, false];
  for (let i = first; i <= last; i++) {
    const isKnown = values[i] !== null && values[i] !== undefined;
    if (isKnown && inGap && known) turns++;
    if (isKnown) known++;
    inGap = !isKnown;
  }
  return known * 2 < last - first + 1 || turns >= Math.max(3, known * 0.15);
}

/** The range after a zoom by `factor` around `centre`, inside `full` and at least `smallest` wide; null for all of it. */
export function zoomed([from, to], factor, centre, full, smallest) {
  const width = Math.max((to - from) * factor, smallest);
  if (width >= full[1] - full[0]) return null;
  const part = to > from ? (centre - from) / (to - from) : 0.5;
  return shifted([centre - part * width, centre + (1 - part) * width], 0, full);
}

/** The range moved by a part of its width, kept inside `full`. */
export function shifted([from, to], part, full) {
  const width = to - from;
  const start = Math.min(Math.max(from + part * width, full[0]), full[1] - width);
  return [start, start + width];
}

/** Which of the marks at ascending pixels may show their words: those with room up to the next one. */
export function roomForWords(places, widths, end) {
  return places.map((place, i) => place + widths[i] <= (places[i + 1] ?? end));
}

const RANK = ["failure", "warning", "note", "healthy"];
const rank = (mark) => (RANK.includes(mark.severity) ? RANK.indexOf(mark.severity) : RANK.length);

/**
 * Marks that would cover each other as one: the most severe stands for the others, and the title names all of them.
 * @param {{x: number, severity: string, label: string}[]} marks  @param {(x: number) => number} toX
 * @param {number} apart  pixels between two that stand alone
 * @returns {object[]} in order, each a mark with `place` in pixels and `title`
 */
export function mergeMarks(marks, toX, apart) {
  const groups = [];
  for (const mark of [...marks].sort((a, b) => a.x - b.x)) {
    const place = toX(mark.x);
    const group = groups.at(-1);
    if (group && place - group.place < apart) group.marks.push(mark);
    else groups.push({ place, marks: [mark] });
  }
  return groups.map(({ place, marks: own }) => {
    const lead = own.reduce((best, mark) => (rank(mark) < rank(best) ? mark : best));
    const label = own.length > 1 ? `${lead.label} +${own.length - 1}` : lead.label;
    return { ...lead, place, label, title: own.map((mark) => mark.label).join(", ") };
  });
}
