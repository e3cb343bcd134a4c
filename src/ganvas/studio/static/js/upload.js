// Uploads: many files side by side, each streamed by the browser, with progress in bytes and a way to cancel.

import { ApiError, del, post, url } from "./api.js";
import { t } from "./i18n.js";

const AT_A_TIME = 4;
const NAMES = 1000; // a JSON body is at most 1 MB; the server wants them for the name of the folder

/**
 * Sends files and resolves with what the server made of them: {upload, path, what}.
 *
 * `items`: [{file, path}]. `onProgress(bytes sent, bytes in all)`. `signal` cancels; what was sent is then removed.
 */
export async function upload(items, { onProgress, signal }) {
  const total = items.reduce((sum, { file }) => sum + file.size, 0);
  const names = items.slice(0, NAMES).map(({ path }) => path);
  const { upload: id } = await post("/api/uploads", { names, files: items.length, bytes: total });
  const sent = new Array(items.length).fill(0);
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < items.length) {
      const index = next++;
      await send(id, items[index], signal, (bytes) => {
        done += bytes - sent[index];
        sent[index] = bytes;
        onProgress(done, total);
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(AT_A_TIME, items.length) }, work));
    const closed = await post(`/api/uploads/${encodeURIComponent(id)}/close`);
    return { upload: id, ...closed };
  } catch (error) {
    next = items.length;
    await del(`/api/uploads/${encodeURIComponent(id)}`).catch(() => null);
    throw error;
  }
}

/** One file by XMLHttpRequest: fetch tells nothing of how much was sent. */
function send(id, { file, path }, signal, onBytes) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cancel = () => request.abort();
    const end = (settle, value) => {
      signal.removeEventListener("abort", cancel);
      settle(value);
    };
    request.upload.addEventListener("progress", (event) => onBytes(event.loaded));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) {
        onBytes(file.size);
        end(resolve);
      } else end(reject, errorOf(request));
    });
    request.addEventListener("error", () => end(reject, new ApiError({ what: t("error.network") }, 0)));
    request.addEventListener("abort", () => end(reject, new DOMException(t("upload.cancelled"), "AbortError")));
    if (signal.aborted) return reject(new DOMException(t("upload.cancelled"), "AbortError"));
    signal.addEventListener("abort", cancel);
    request.open("PUT", url(`/api/uploads/${encodeURIComponent(id)}/file`, { name: path }));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(file);
  });
}

function errorOf(request) {
  try {
    return new ApiError(JSON.parse(request.responseText).error, request.status);
  } catch {
    return new ApiError({ what: `${request.status} ${request.statusText}` }, request.status);
  }
}
