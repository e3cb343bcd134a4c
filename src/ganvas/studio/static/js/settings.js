/** What the browser remembers of a user: language, theme. A browser may forbid it; then nothing is remembered. */

/** The text remembered under a name, or null. */
export function recall(name) {
  try {
    return localStorage.getItem(`ganvas-${name}`);
  } catch {
    return null;
  }
}

/** Remembers a text; null forgets it. */
export function remember(name, text) {
  try {
    if (text === null) localStorage.removeItem(`ganvas-${name}`);
    else localStorage.setItem(`ganvas-${name}`, text);
  } catch {
    // forbidden or full
  }
}
