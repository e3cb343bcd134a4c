/** The head of a run: what it is, how far it is, and what can be done with it. */

import { post } from "../api.js";
import { copyText } from "../command.js";
import { h, icon, replace, setAttribute, setText } from "../dom.js";
import { ago, bytes, duration, number } from "../format.js";
import { t } from "../i18n.js";
import { waitFor } from "../jobs.js";
import { progressText } from "../progress.js";
import { toast, toastError } from "../toast.js";
import { exploreAddress } from "./explore_view.js";

const CHANGE_MS = 60_000;
const LOOK_MS = 100;
const STATE_ICONS = { complete: "healthy", unfinished: "pause", failed: "failure", unreadable: "failure" };

export function createHead(detail, mayWrite) {
  let card = detail;
  let busy = "";
  let gone = false;
  let evaluating = false;
  const state = h("span", { class: "badge run-state", role: "status" });
  const facts = h("dl", { class: "run-facts" });
  const bar = h("span");
  const progress = h("div", { class: "progress", role: "progressbar", "aria-label": t("runs.progress"), "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const problem = h("p", { class: "run-problem small" });
  const lost = h("span", { class: "badge lost-badge", "data-severity": "warning" }, icon("warning"), t("runs.lost"));

  const action = (name, key, kind, work) => {
    const button = h("button", { type: "button", class: `button ${kind}`, disabled: !mayWrite, title: mayWrite ? null : t("shell.reading_only"), on: { click: () => act(name, work) } }, icon(name), t(key));
    return button;
  };
  const stop = action("stop", "run.stop", "danger", async () => {
    await post("/api/stop", { run: card.run });
    toast(t("run.stopping"));
    await changed((state) => state !== "training");
  });
  const resume = action("play", "run.resume", "primary", async () => {
    const job = await post("/api/resume", { run: card.run });
    await waitFor(job, (one) => !element.isConnected || one.state !== "running" || card.state === "training");
    if (element.isConnected) toast(t("run.resuming"));
  });
  const evaluate = action("chart", "run.evaluate", "", async () => {
    const job = await waitFor(await post("/api/evaluate", { run: card.run }), (one) => one.state !== "running");
    toast(t(job.state === "done" ? "run.evaluated" : "run.evaluate.stopped"));
  });
  const copy = h("button", { type: "button", class: "button", title: detail.command, "aria-label": t("run.copy.label"), on: { click: () => copyText(detail.command, () => toast(detail.command)) } }, icon("copy"), t("run.copy"));
  const link = (name, key) => h("a", { class: "button", target: "_blank", rel: "noopener" }, icon(name), t(key));
  const [report, film] = [link("report", "run.report"), link("play", "run.film")];
  const explore = h("a", { class: "button", href: exploreAddress(card.run) }, icon("move"), t("run.explore"));

  /** Until then the button stays busy: a second click would ask for the same again. */
  async function changed(isThere) {
    const end = performance.now() + CHANGE_MS;
    while (!gone && !isThere(card.state) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }

  async function act(name, work) {
    busy = name;
    draw();
    try {
      await work();
    } catch (error) {
      toastError(error);
    }
    busy = "";
    draw();
  }

  const element = h(
    "header", { class: "run-head" },
    h("nav", { class: "small", "aria-label": t("run.path") }, h("a", { href: "/" }, t("runs.title")), h("span", { class: "muted" }, " / ", card.folder)),
    h("div", { class: "run-title" },
      h("h1", null, card.name), state, lost,
      h("div", { class: "run-actions" }, stop, resume, evaluate, explore, report, film, detail.command && copy)),
    h("div", { class: "run-line" }, facts),
    progress, problem,
  );

  function draw() {
    const shown = gone ? "failed" : card.state;
    const running = shown === "training";
    const said = t(gone ? "run.gone" : `runs.is.${shown}`);
    if (state.textContent !== said) replace(state, running ? h("span", { class: "live-dot" }) : icon(STATE_ICONS[shown] ?? "note"), said);
    setAttribute(state, "data-severity", gone || ["failed", "unreadable"].includes(shown) ? "failure" : shown === "complete" ? "healthy" : null);
    const readable = !gone && card.state !== "unreadable";
    stop.hidden = !running;
    resume.hidden = running || !readable || card.state === "complete";
    evaluate.hidden = !card.snapshots || card.snapshots.length === 0 || !readable;
    explore.hidden = evaluate.hidden;
    for (const [anchor, address] of [[report, card.report], [film, card.film]]) {
      anchor.hidden = !address || gone;
      setAttribute(anchor, "href", address);
    }
    for (const [name, button] of [["stop", stop], ["play", resume], ["chart", evaluate]]) {
      const works = busy === name || (button === evaluate && evaluating);
      button.disabled = !mayWrite || works;
      setAttribute(button, "aria-busy", works && "true");
    }
    const part = card.total ? Math.min(1, card.nimg / card.total) : 0;
    bar.style.transform = `scaleX(${part})`;
    progress.hidden = !running;
    progress.setAttribute("aria-valuenow", Math.round(100 * part));
    const [height, width, channels] = card.shape ?? [];
    const rows = [
      [t("run.recipe"), [card.recipe, card.origin && t("run.from", { origin: card.origin })].filter(Boolean).join(" ")],
      [t("run.data"), height ? `${card.data} · ${height}×${width}${channels > 1 ? "" : ` ${t("run.grey")}`}` : card.data],
      [t("run.shown"), progressText(card)],
      running && card.seconds_left !== null && [t("run.left"), duration(card.seconds_left)],
      card.images_per_s && [t("run.speed"), t("runs.per_s", { n: number(card.images_per_s) })],
      card.quality !== null && card.quality !== undefined && [t("run.quality"), number(card.quality)],
      card.bytes && [t("runs.size"), bytes(card.bytes)],
      !running && [t("run.changed"), ago(card.changed)],
    ].filter(Boolean);
    // the terms stay and only values change, so that a live page is calm
    const names = rows.map(([name]) => name).join("|");
    if (facts.dataset.names !== names) {
      facts.dataset.names = names;
      replace(facts, rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
    } else rows.forEach(([, value], i) => setText(facts.children[i].lastElementChild, String(value)));
    setText(problem, gone ? t("run.gone.text") : running ? "" : (card.problem ?? ""));
    problem.hidden = !problem.textContent || shown === "unfinished";
  }
  draw();

  return {
    element,
    update(next) {
      card = { ...card, ...next };
      draw();
    },
    /** Whether the run is no longer in its folder. */
    setGone(isGone) {
      gone = isGone;
      draw();
    },
    /** Whether an evaluation of it is under way, from whatever page it was started. */
    setEvaluating(works) {
      evaluating = works;
      draw();
    },
    setLost: (isLost) => element.classList.toggle("lost", isLost),
  };
}
