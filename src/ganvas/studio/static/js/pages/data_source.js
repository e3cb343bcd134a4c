/** Where the images come from: dropped files, a set by name, or a path below the folders of the studio. */

import { dropZone } from "../drop.js";
import { h, icon, replace } from "../dom.js";
import { bytes } from "../format.js";
import { has, t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { upload } from "../upload.js";

const SETS_SHOWN = 8;

/** `onData(path or name)` is called with what was chosen; `signal` cancels an upload. */
export function sourceView({ known, onData, signal }) {
  const place = h("div", { class: "data-place" });
  const showZone = (problem) =>
    replace(
      place,
      problem && errorBox(problem),
      dropZone({ drawing: "images", title: t("data.drop.title"), hint: t("data.drop.hint"), onItems: send }),
    );

  const send = async (items) => {
    const own = new AbortController();
    const stop = () => own.abort();
    signal.addEventListener("abort", stop);
    const view = uploadView(items, stop);
    replace(place, view.element);
    try {
      const done = await upload(items, { onProgress: view.onProgress, signal: own.signal });
      onData(done.path);
    } catch (error) {
      showZone(error.name === "AbortError" ? null : error);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  };
  showZone(null);
  return h("div", { class: "data-source" }, known.may_write ? place : null, sets(known.data_sets, onData), paths(known, onData));
}

/** A bar with bytes sent and a button that cancels. */
export function uploadView(items, onCancel) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("upload.label") });
  const text = h("p", { class: "small muted" });
  const name = items.length === 1 ? items[0].path : t("n.files", { n: items.length });
  const element = h(
    "div",
    { class: "panel upload" },
    h("p", { class: "upload-name" }, icon("upload"), name),
    bar,
    h(
      "div",
      { class: "upload-end" },
      text,
      h("button", { type: "button", class: "button quiet small", on: { click: onCancel } }, t("upload.cancel")),
    ),
  );
  const onProgress = (done, total) => {
    bar.value = total ? done / total : 1;
    text.textContent = t("upload.progress", { done: bytes(done), total: bytes(total) });
  };
  return { element, onProgress };
}

/** `all`: those that the server knows, {name, download: bytes}. */
function sets(all, onData) {
  const note = ({ name, download }) => {
    if (download) return t("data.set.download", { size: bytes(download) });
    return has(`data.set.${name}`) ? t(`data.set.${name}`) : "";
  };
  const button = (one) =>
    h(
      "button",
      { type: "button", class: "data-set", on: { click: () => onData(one.name) } },
      h("span", { class: "data-set-name" }, one.name),
      h("span", { class: "data-set-note" }, note(one)),
    );
  const list = (some) => h("div", { class: "data-set-list" }, some.map(button));
  const rest = all.slice(SETS_SHOWN);
  return h(
    "section",
    { class: "data-sets" },
    h("h2", null, t("data.sets.title")),
    list(all.slice(0, SETS_SHOWN)),
    rest.length ? h("details", { class: "data-sets-more" }, h("summary", null, t("data.more", { n: rest.length })), list(rest)) : null,
  );
}

function paths(known, onData) {
  const input = h("input", { type: "text", id: "data-path", autocomplete: "off", spellcheck: "false", placeholder: t("data.path.example") });
  const submit = (event) => {
    event.preventDefault();
    if (input.value.trim()) onData(input.value.trim());
  };
  const folders = [...known.folders, ...(known.data_folders ?? [])];
  return h(
    "form",
    { class: "data-path", on: { submit } },
    h("label", { for: "data-path" }, t("data.path.label")),
    h("div", { class: "row" }, input, h("button", { type: "submit", class: "button" }, t("data.path.open"))),
    h("p", { class: "small muted" }, t("data.path.hint"), " ", folders.map((one, i) => [i ? ", " : "", h("code", null, one)])),
  );
}
