/** The curves of a run as they are read first: of a long log the page says how far that is. */

import { get } from "../api.js";
import { h, replace, setText } from "../dom.js";
import { bytes } from "../format.js";
import { t } from "../i18n.js";

const EVERY_MS = 700;
const NO_CURVES = { nimg: [], series: {}, names: [], panels: [], damaged: 0 };

/** What /api/run/curves answers; until then the progress stands on `page`, unless `signal` says that something else does. */
export async function readCurves(page, run, signal) {
  const wait = view();
  let timer = 0;
  const follow = async () => {
    const { done, total } = await get("/api/run/curves/progress", { run }, { signal }).catch(() => ({}));
    if (!timer || signal.aborted || !page.isConnected) return;
    if (total) wait.show(page, done, total);
    timer = setTimeout(follow, EVERY_MS);
  };
  timer = setTimeout(follow, EVERY_MS);
  const found = await get("/api/run/curves", { run }, { signal }).catch(() => NO_CURVES);
  clearTimeout(timer);
  timer = 0;
  return found;
}

function view() {
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("run.reading") });
  const text = h("p", { class: "small muted" });
  const element = h("div", { class: "panel upload", role: "status" }, h("p", { class: "upload-name" }, h("span", { class: "live-dot" }), t("run.reading")), bar, text);
  return {
    show(page, done, total) {
      if (element.parentNode !== page) replace(page, element);
      bar.value = done / total;
      setText(text, t("upload.progress", { done: bytes(done), total: bytes(total) }));
    },
  };
}
