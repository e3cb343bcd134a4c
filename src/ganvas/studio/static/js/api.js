/** The server's endpoints: JSON in and out, errors as {what, expected, fix}, and server-sent events. */

import { t } from "./i18n.js";
import { hideFolders } from "./messages.js";

export class ApiError extends Error {
  constructor({ what, expected = "", fix = "", field = null }, status) {
    super(what);
    Object.assign(this, { what, expected, fix, field, status });
  }
}

/** "/api/run" and {run: "0/a", at: null} -> "/api/run?run=0%2Fa" */
export function url(path, params) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function request(address, options) {
  let response;
  try {
    response = await fetch(address, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ what: t("shell.offline"), fix: t("shell.offline.fix") }, 0);
  }
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // not JSON: an error page of something between us and the server
  }
  if (!response.ok) {
    throw new ApiError(body?.error ?? { what: `${response.status} ${response.statusText}` }, response.status);
  }
  return body;
}

/** Reads. `options.signal` cancels. */
export const get = (path, params, options = {}) => request(url(path, params), { ...options, method: "GET" });

/** Writes a JSON body. */
export const post = (path, body = {}, options = {}) =>
  request(path, {
    ...options, method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });

/** Writes raw bytes. */
export const put = (path, params, blob, options = {}) =>
  request(url(path, params), {
    ...options, method: "PUT", body: blob, headers: { "Content-Type": "application/octet-stream" },
  });

export const del = (path, params) => request(url(path, params), { method: "DELETE" });

let known = null;

/** What the server is: version, folders, may_write …; asked once, and anew after the server was away. */
export function session() {
  known ??= get("/api/session").then((found) => {
    hideFolders([...found.folders, ...found.data_folders]);
    return found;
  }, (error) => {
    known = null;
    throw error;
  });
  return known;
}

const RETRY_MS = [500, 1000, 2000, 5000];

/**
 * Server-sent events. The browser resumes after a disconnect with Last-Event-ID; where it gives up, and after the page was
 * hidden (a hidden page holds none of the browser's few connections), it is opened again from the newest id.
 * @param {Object<string, (data: any) => void>} handlers  by event; "open" and "lost" tell the connection's
 *   state: open(wasAway), whether something may have been missed since the page began or was connected last
 * @param {string} resume  the parameter that takes the newest id, if there is one
 * @returns {() => void} closes it
 */
export function stream(path, params, handlers, resume = null) {
  let source = null;
  let timer = 0;
  let failures = 0;
  let isLost = document.hidden;
  let newest = null;
  const open = () => {
    const more = resume && newest !== null ? { [resume]: newest } : {};
    source = new EventSource(url(path, { ...params, ...more }));
    source.onopen = () => {
      failures = 0;
      const wasAway = isLost;
      if (wasAway) {
        isLost = false;
        known = null; // another server has another token
        document.dispatchEvent(new Event("reconnected"));
      }
      handlers.open?.(wasAway);
    };
    source.onerror = () => {
      isLost = true;
      handlers.lost?.();
      if (source?.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
    };
    for (const [name, handler] of Object.entries(handlers)) {
      if (name === "open" || name === "lost") continue;
      source.addEventListener(name, (event) => {
        if (event.lastEventId) newest = event.lastEventId;
        handler(JSON.parse(event.data));
      });
    }
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const onVisibility = () => {
    if (document.hidden) {
      close();
      isLost = true; // the server may be another one when the page is shown again
    } else if (!source) open();
  };
  document.addEventListener("visibilitychange", onVisibility);
  if (!document.hidden) open();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    close();
  };
}
