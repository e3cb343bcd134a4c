/** The place on the time line of a run, which its parts share: images shown, the range of the curves, the hover. */

/**
 * @param {{at: number|null, range: [number, number]|null}} start  `at` null: the newest, also when more comes
 */
export function createTime(start) {
  const listeners = { at: new Set(), range: new Set(), hover: new Set(), newest: new Set() };
  const tell = (what) => listeners[what].forEach((listener) => listener(time));
  const time = {
    at: start.at,
    range: start.range,
    hover: null,
    newest: 0,
    stops: [],
    /** Where the slider stands, in images. */
    get now() {
      return this.at ?? this.newest;
    },
    get following() {
      return this.at === null;
    },
    get full() {
      return [0, Math.max(1, this.newest)];
    },
    /** Calls `listener` when one of these changes; the function that ends it. */
    on(names, listener) {
      for (const name of names) listeners[name].add(listener);
      return () => names.forEach((name) => listeners[name].delete(listener));
    },
    go(nimg) {
      const next = nimg === null || nimg >= this.newest ? null : Math.max(0, Math.round(nimg));
      if (next === this.at) return;
      this.at = next;
      tell("at");
    },
    zoom(range) {
      this.range = range;
      tell("range");
    },
    point(nimg) {
      this.hover = nimg;
      tell("hover");
    },
    /** More was shown, or another run begins in its place: a place that is beyond its end is left. */
    grow(nimg) {
      if (nimg === this.newest) return;
      this.newest = nimg;
      if (this.at > nimg) this.at = null;
      tell("newest");
      if (this.following) tell("at");
    },
    /** The next stop after now, or the one before; `count` stops on. */
    step(direction, count = 1) {
      const { stops, now } = this;
      if (!stops.length) return this.go(now + (direction * this.newest) / 100);
      let index = direction > 0 ? stops.findIndex((stop) => stop > now) : stops.findLastIndex((stop) => stop < now);
      if (index < 0) index = direction > 0 ? stops.length : 0;
      index += direction * (count - 1);
      return index >= stops.length ? this.go(null) : this.go(stops[Math.max(0, index)]);
    },
  };
  return time;
}

/** What a key does to the place on the time line; whether it did something. */
export function stepByKey(time, event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return false;
  const step = { ArrowLeft: [-1, 1], ArrowRight: [1, 1], PageUp: [-1, 10], PageDown: [1, 10] }[event.key];
  if (step) time.step(...step);
  else if (event.key === "Home") time.go(time.stops[0] ?? 0);
  else if (event.key === "End") time.go(null);
  else return false;
  event.preventDefault();
  return true;
}
