// A place for files: dropped, or chosen by a button. A dropped folder is read to the end, with the paths below it.

import { h, svg } from "./dom.js";
import { t } from "./i18n.js";

/**
 * A drop zone.
 *
 * `drawing`: images or log. `title`, `hint`: its texts. `folders`: whether a folder may be chosen too.
 * `onItems([{file, path}])` gets what was dropped or chosen; `path` is relative, with the dropped folder's own name.
 */
export function dropZone({ drawing, title, hint, onItems, folders = true }) {
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
    picture(drawing),
    h("p", { class: "drop-title" }, title),
    h("p", { class: "drop-hint" }, hint),
    h(
      "div",
      { class: "drop-buttons" },
      button(files, t("drop.files"), "primary"),
      folders && button(folder, t("drop.folder"), ""),
    ),
    status,
    files,
    folder,
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

/** A file that is dropped beside a zone does not replace the page by itself. */
export function ignoreOtherDrops() {
  for (const event of ["dragover", "drop"]) document.addEventListener(event, (one) => one.preventDefault());
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
    await Promise.all(some.map((child) => collect(child, found)));
  }
}

const DRAWINGS = {
  images: [
    ["rect", { x: 6, y: 8, width: 26, height: 26, rx: 4 }],
    ["path", { d: "M18 16h20a4 4 0 0 1 4 4v16a4 4 0 0 1-4 4H20a4 4 0 0 1-4-4V18a2 2 0 0 1 2-2z", class: "front" }],
    ["path", { d: "m18 38 8-9 5 5 4-4 6 7" }],
    ["circle", { cx: 34, cy: 24, r: 2.4 }],
  ],
  log: [
    ["path", { d: "M12 5h17l9 9v25a4 4 0 0 1-4 4H12a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3z", class: "front" }],
    ["path", { d: "M29 5v9h9" }],
    ["path", { d: "m14 20 5 9 4-4 4 8 7-3" }],
  ],
};

function picture(name) {
  return svg(
    "svg",
    { class: "drop-icon", viewBox: "0 0 48 48", "aria-hidden": "true" },
    DRAWINGS[name].map(([tag, attributes]) => svg(tag, attributes)),
  );
}
