/** Work on the page's one thread, the most urgent first; between two pieces the browser draws and answers. */

const PIECE_MS = 40;
const ORDER = ["picture", "seeds", "map"];

export class Queue {
  /** @param {(error) => void} onError  told of work that failed, which is then dropped */
  constructor(onError) {
    this.onError = onError;
    this.waiting = new Map();
    this.running = false;
  }

  /** Whether work of a name waits or runs. */
  has(name) {
    return this.waiting.has(name);
  }

  /** Replaces the work of a name: an async function that does one piece, and returns whether there is more. */
  set(name, work) {
    this.waiting.set(name, work);
    if (!this.running) this.run();
  }

  drop(name) {
    this.waiting.delete(name);
  }

  async run() {
    this.running = true;
    for (let name; (name = ORDER.find((one) => this.waiting.has(one))); await pause()) {
      const work = this.waiting.get(name);
      const more = await this.attempt(work);
      if (!more && this.waiting.get(name) === work) this.waiting.delete(name);
    }
    this.running = false;
  }

  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      this.onError(error);
      return false;
    }
  }
}

/** How many images a piece draws, so that the page keeps answering: at least one. */
export function imagesPerPiece(each, most) {
  return Math.max(1, Math.min(most, Math.floor(PIECE_MS / each)));
}

function pause() {
  return new Promise((done) => setTimeout(done));
}
