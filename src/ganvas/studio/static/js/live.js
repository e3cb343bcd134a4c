/** Work of the server whose pictures are shown as they are made: it is followed to its end, and can be stopped. */

import { get, post, stream, url } from "./api.js";
import { newest } from "./newest.js";
import { fetchPicture, showBlob } from "./pictures.js";
import { toastError } from "./toast.js";

/** Where a picture of a work is. */
export const frameAddress = (id, number) => url("/api/live/frame", { id, n: number });

/**
 * Follows a work. `onWork(work)` gets it whenever something is new; `image`, if given, shows its newest picture.
 * @returns {() => void} stops following it; the work goes on
 */
export function follow(id, { image = null, onWork, onPicture = () => {} }) {
  let shown = 0;
  let over = false;
  let last = { id, frames: [], facts: {}, found: {} };
  const show = newest(async (number) => {
    const blob = await fetchPicture(frameAddress(id, number)).catch(() => null); // it may be let go for newer ones
    if (!blob || over) return;
    await showBlob(image, blob);
    onPicture(number);
  });
  const close = stream("/api/live/stream", { id }, {
    work(work) {
      last = work;
      const number = work.frames.at(-1);
      if (image && number && number !== shown) {
        shown = number;
        show(number);
      }
      onWork(work);
      if (work.state !== "running") close();
    },
    /** A server that was started again does not have the work any more, and the stream of it would never end. */
    lost() {
      get("/api/live/frame", { id, n: 0 }).catch((error) => {
        if (over || error.status !== 404 || error.field !== "id") return;
        over = true;
        close();
        onWork({ ...last, state: "failed", stopping: false, error });
      });
    },
  });
  return () => {
    over = true;
    close();
  };
}

/** Calls `watch(work)` with the newest work of a kind of one generator, which another page may have started. */
export async function resume(kind, of, watch) {
  const { works } = await get("/api/live").catch(() => ({ works: [] }));
  const found = works.find((one) => one.kind === kind && one.of === of && one.state !== "failed");
  if (found) watch(found);
}

/** Asks a work to end with what it has. */
export async function stopWork(id) {
  try {
    await post("/api/live/stop", { id });
  } catch (error) {
    toastError(error);
  }
}
