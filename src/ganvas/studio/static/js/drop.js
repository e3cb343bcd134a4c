// A place for files: dropped, or chosen by a button. A dropped folder is read to the end, with the paths below it.

import { h, svg } from "./dom.js";
import { t } from "./i18n.js";

const READ_AT_A_TIME = 500;

/**
 * A drop zone.
 *
 * `title`, `hint`: its texts. `folders`: whether there is a button for a folder too.
 * `onItems([{file, path}])` gets what was dropped or chosen; `path` is relative, with the dropped folder's own name.
 */
export function dropZone({ title, hint, folders = true, onItems }) {
  const hidden = { type: "file", multiple: true, hidden: true };
  const files = h("input", { ...hidden, "aria-label": t("drop.files") });
  const folder = h("input", { ...hidden, webkitdirectory: true, "aria-label": t("drop.folder") });
  const status = h("p", { class: "drop-status", role: "status" });
  const give = (items) => {
    status.textContent = items.length ? "" : t("drop.nothing");
    if (items.length) onItems(items);
  };
  for (const input of [files, folder]) {
    input.addEventListener("change", () => {
      const items = Array.from(input.files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
      input.value = "";
      give(items);
    });
  }
  const button = (input, text, kind) =>
    h("button", { type: "button", class: `button ${kind}`, on: { click: () => input.click() } }, text);
  const zone = h(
    "div",
    { class: "drop" },
    picture(),
    h("p", { class: "drop-title" }, title),
    h("p", { class: "drop-hint" }, hint),
    h(
      "div",
      { class: "drop-buttons" },
      button(files, t("drop.files"), "primary"),
      folders ? button(folder, t("drop.folder"), "") : null,
    ),
    status,
    files,
    folders ? folder : null,
  );
  let depth = 0; // dragenter and dragleave come for every child too
  zone.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) leave();
  });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    leave();
    status.textContent = t("drop.reading");
    try {
      give(await readDropped(event.dataTransfer));
    } catch (error) {
      status.textContent = t("drop.failed", { text: error.message });
    }
  });
  const leave = () => {
    depth = 0;
    zone.classList.remove("over");
  };
  return zone;
}

/** Without this a file dropped beside a zone replaces the page by itself. Returns a function that undoes it. */
export function ignoreOtherDrops() {
  const stop = (event) => event.preventDefault();
  document.addEventListener("dragover", stop);
  document.addEventListener("drop", stop);
  return () => {
    document.removeEventListener("dragover", stop);
    document.removeEventListener("drop", stop);
  };
}

async function readDropped(transfer) {
  // The entries have to be taken before the first await: the list is emptied when the event ends.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return Array.from(transfer.files, (file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of entries) await collect(entry, found);
  return found;
}

async function collect(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most a hundred each
    if (!some.length) return;
    for (let begin = 0; begin < some.length; begin += READ_AT_A_TIME) {
      await Promise.all(some.slice(begin, begin + READ_AT_A_TIME).map((child) => collect(child, found)));
    }
  }
}

function picture() {
  return svg(
    "svg",
    { class: "drop-icon", viewBox: "0 0 48 48", "aria-hidden": "true" },
    svg("rect", { x: 6, y: 8, width: 26, height: 26, rx: 4 }),
    svg("path", { d: "M18 16h20a4 4 0 0 1 4 4v16a4 4 0 0 1-4 4H20a4 4 0 0 1-4-4V18a2 2 0 0 1 2-2z", class: "front" }),
    svg("path", { d: "m18 38 8-9 5 5 4-4 6 7" }),
    svg("circle", { cx: 34, cy: 24, r: 2.4 }),
  );
}
