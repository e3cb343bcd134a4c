/** The cards of all runs, as the server tells of changes. */

import { get, stream } from "./api.js";

/**
 * Keeps `runs`, a Map of cards by their keys, as they are on the server.
 * @param {() => void} onChange  is called after each change  @param {(isLost: boolean) => void} onLost  of the connection
 * @returns {() => void} stops it
 */
export function followRuns(runs, { onChange, onLost = () => {} }) {
  return stream("/api/runs/stream", {}, {
    runs({ changed = [], removed = [] }) {
      for (const card of changed) runs.set(card.run, card);
      for (const run of removed) runs.delete(run);
      onChange();
    },
    lost: () => onLost(true),
    open(wasAway) {
      if (!wasAway) return;
      onLost(false);
      get("/api/runs").then((fresh) => {
        runs.clear(); // another server does not tell which are gone
        for (const card of fresh.runs) runs.set(card.run, card);
        onChange();
      }, () => {});
    },
  });
}
