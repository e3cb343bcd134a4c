/** How far the reading of a long log is. */

import { get } from "../api.js";
import { h, setText } from "../dom.js";
import { bytes } from "../format.js";
import { t } from "../i18n.js";

const EVERY_MS = 700;

/** Shows in `place` how far the log of a run is read, from a moment on until `work` ends; gives what it gives. */
export async function whileReading(place, run, work) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("run.reading") });
  const text = h("p", { class: "small muted" });
  const element = h("div", { class: "panel upload", role: "status" }, h("p", { class: "upload-name" }, h("span", { class: "live-dot" }), t("run.reading")), bar, text);
  const ended = new AbortController();
  let timer = 0;
  const follow = async () => {
    const { done, total } = await get("/api/run/curves/progress", { run }, { signal: ended.signal }).catch(() => ({}));
    if (ended.signal.aborted) return;
    if (total) {
      if (!element.parentNode) place.prepend(element);
      bar.value = done / total;
      setText(text, t("upload.progress", { done: bytes(done), total: bytes(total) }));
    }
    timer = setTimeout(follow, EVERY_MS);
  };
  timer = setTimeout(follow, EVERY_MS);
  try {
    return await work;
  } finally {
    ended.abort();
    clearTimeout(timer);
    element.remove();
  }
}
