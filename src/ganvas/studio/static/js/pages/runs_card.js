/** The card of a run. It is updated in place, so that nothing flickers while it trains. */

import { h, icon, replace, setAttribute, setText } from "../dom.js";
import { ago, bytes, duration, number, percent } from "../format.js";
import { t } from "../i18n.js";
import { sharpenSmall, showImage } from "../images.js";
import { runAddress } from "../jobs.js";
import { progressText } from "../progress.js";

const STATE_ICONS = { complete: "healthy", unfinished: "pause", failed: "failure", unreadable: "failure" };

/** An empty card; `updateCard` fills it. */
export function makeCard(card, state, choose) {
  const image = sharpenSmall(h("img", { alt: "", loading: "lazy", decoding: "async" }));
  const parts = {
    image,
    blank: h("span", { class: "card-blank muted" }, t("runs.no_grid")),
    state: h("span", { class: "badge card-state" }),
    severity: h("span", { class: "badge card-severity" }),
    link: h("a", { href: runAddress(card.run), class: "card-link" }),
    what: h("p", { class: "card-what" }),
    bar: h("span"),
    progress: h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": t("runs.progress") }),
    done: h("span"),
    left: h("span", { class: "muted" }),
    facts: h("dl", { class: "card-facts" }),
    choose: h("input", { type: "checkbox", class: "card-choose", on: { change: () => choose(card.run) } }),
  };
  parts.progress.append(parts.bar);
  const element = h(
    "li", { class: "card run-card" },
    h("div", { class: "card-hero" }, parts.image, parts.blank, parts.state, parts.severity),
    h("div", { class: "card-body" },
      h("h2", { class: "card-name" }, parts.link), parts.what,
      h("div", { class: "card-progress" }, parts.progress, h("p", { class: "card-times" }, parts.done, parts.left)),
      parts.facts),
    h("label", { class: "card-chooser" }, parts.choose, h("span", { class: "visually-hidden" }, t("runs.select", { name: card.name }))),
  );
  element.parts = parts;
  return element;
}

/** Shows what a card says now; only what changed is touched. */
export function updateCard(element, card, state) {
  const { parts } = element;
  const text = JSON.stringify(card);
  parts.choose.checked = state.chosen?.has(card.run) ?? false;
  element.classList.toggle("is-chosen", parts.choose.checked);
  const running = card.state === "training";
  const part = card.total ? Math.min(1, card.nimg / card.total) : 0;
  setText(parts.left, timeOf(card, running, part)); // how long ago it was is another time by itself
  if (element.shown === text) return;
  element.shown = text;
  element.dataset.state = card.state;
  parts.blank.hidden = Boolean(card.grid);
  parts.image.hidden = !card.grid;
  if (card.grid) showImage(parts.image, card.grid);
  setText(parts.link, card.name);
  replace(parts.state, running ? h("span", { class: "live-dot" }) : icon(STATE_ICONS[card.state] ?? "note"), t(`runs.is.${card.state}`));
  setAttribute(parts.state, "data-severity", ["failed", "unreadable"].includes(card.state) ? "failure" : null);
  const severe = card.severity && card.severity !== "healthy";
  parts.severity.hidden = !severe;
  if (severe) {
    replace(parts.severity, icon(card.severity), h("span", null, card.finding || t(`run.severity.${card.severity}`)));
    parts.severity.title = `${t(`run.severity.${card.severity}`)}: ${card.finding}`;
  }
  setAttribute(parts.severity, "data-severity", severe ? card.severity : null);
  const folder = state.folders.length > 1 && card.folder.split(/[\\/]/).at(-1);
  setText(parts.what, [card.recipe, card.data, folder].filter(Boolean).join(" · "));
  parts.bar.style.transform = `scaleX(${part})`;
  parts.progress.hidden = !card.total;
  parts.progress.setAttribute("aria-valuenow", Math.round(part * 100));
  setText(parts.done, progressText(card));
  const facts = [
    [t("runs.quality"), card.quality === null || card.quality === undefined ? "–" : number(card.quality)],
    [t("runs.speed"), card.images_per_s ? t("runs.per_s", { n: number(card.images_per_s) }) : "–"],
    [t("runs.size"), card.bytes ? bytes(card.bytes) : "–"],
  ];
  replace(parts.facts, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  element.title = card.problem && card.state !== "training" ? card.problem : "";
}

function timeOf(card, running, part) {
  if (!running) return ago(card.changed);
  if (card.seconds_left !== null && card.seconds_left !== undefined) return t("runs.left", { time: duration(card.seconds_left) });
  return card.total ? percent(part) : "";
}
