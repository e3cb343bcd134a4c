/** A folder without a run: two ways to begin. */

import { h, icon, replace } from "../dom.js";
import { t } from "../i18n.js";
import { runAddress, startTraining } from "../jobs.js";
import { errorBox } from "../messages.js";
import { navigate } from "../router.js";

const EIGHT = ["..####..", ".##..##.", ".##..##.", "..####..", ".##..##.", ".##..##.", ".##..##.", "..####.."];
const STEPS = 5;

/** The invitation, with a picture of noise that becomes a digit. */
export function invitation(mayWrite) {
  const message = h("div", { class: "invite-message" });
  const start = h(
    "button",
    { type: "button", class: "button primary", disabled: !mayWrite, on: { click: begin } },
    icon("play"), t("runs.empty.start"),
  );
  async function begin() {
    start.disabled = true;
    replace(message, h("p", { class: "muted", role: "status" }, h("span", { class: "live-dot" }), " ", t("runs.empty.starting")));
    try {
      const run = await startTraining({ recipe: "digits28", minutes: 1, knobs: {} });
      if (message.isConnected) navigate(runAddress(run)); // else another page was opened meanwhile
    } catch (error) {
      start.disabled = false;
      replace(message, errorBox(error));
    }
  }
  return h(
    "section", { class: "invite" },
    drawing(),
    h("h1", null, t("runs.empty.title")),
    h("p", { class: "invite-lead" }, t("runs.empty.lead")),
    h("div", { class: "invite-ways" },
      h("div", { class: "panel" }, h("h2", null, t("runs.empty.first")), h("p", null, t("runs.empty.first.text")), start),
      h("div", { class: "panel" }, h("h2", null, t("runs.empty.own")), h("p", null, t("runs.empty.own.text")), h("a", { class: "button", href: "/data" }, icon("upload"), t("runs.empty.drop"))),
      h("div", { class: "panel" }, h("h2", null, t("runs.empty.explore")), h("p", null, t("runs.empty.explore.text")), h("a", { class: "button", href: "/explore" }, icon("move"), t("shell.explore")))),
    message,
  );
}

function drawing() {
  const canvas = h("canvas", { class: "invite-drawing pixelated", width: STEPS * 9 - 1, height: 8, role: "img", "aria-label": t("runs.empty.drawing") });
  const context = canvas.getContext("2d");
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let step = 0; step < STEPS; step++) {
    const clear = step / (STEPS - 1);
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < 8; x++) {
        const wanted = EIGHT[y][x] === "#" ? 0.95 : 0.06;
        const level = Math.round(255 * (clear * wanted + (1 - clear) * random()));
        context.fillStyle = `rgb(${level} ${level} ${level})`;
        context.fillRect(step * 9 + x, y, 1, 1);
      }
    }
  }
  return canvas;
}
