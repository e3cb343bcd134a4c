/** Starts the page: its texts, its settings, the generator; and says what goes on meanwhile, or why it cannot be. */

import { errorBox, h, icon, replace, setAttribute } from "studio/dom.js";
import { recall, remember } from "studio/settings.js";
import { element } from "./elements.js";
import { Generator, numbers, unpack, whyNot } from "./network.js";
import { fillTexts, formatNumber, language, languages, setLanguage, t } from "./texts.js";
import { Viewer } from "./viewer.js";

const THEMES = ["system", "light", "dark"];
const SIGNS = { system: "system", light: "sun", dark: "moon" };
const STEPS = { unpack: 0.1, compile: 0.4, open: 0.9 };
const about = JSON.parse(element("about").textContent);

let step = null;
let viewer = null;
let timing = null;

function writeTexts() {
  fillTexts();
  const { shape, facts } = about;
  const kind = t("kind", { size: `${shape.height}×${shape.width}`, colours: t(`kind.${shape.channels}`) });
  element("lead").textContent = t("lead", { kind });
  if (step) element("start-step").textContent = t(`start.${step}`);
  const { parity } = facts;
  const rows = [
    ["about.draws", kind],
    about.classes && ["about.classes", about.class_names.join(", ")],
    ["about.recipe", facts.recipe],
    ["about.data", facts.data],
    facts.licence && ["about.licence", facts.licence],
    facts.attribution && ["about.attribution", facts.attribution],
    ["about.length", t("about.length.value", { kimg: facts.kimg })],
    ["about.weights", t(facts.half ? "about.weights.half" : "about.weights.full")],
    ["about.check", t("about.check.value", { images: parity.images, largest: parity.largest })],
    ["about.made", facts.versions],
    ["about.engine", t("about.engine.value", { version: about.runtime })],
  ].filter(Boolean);
  replace(element("facts"), rows.map(([key, value]) => [h("dt", null, t(key)), h("dd", null, value)]));
  if (timing) element("timing").textContent = t("about.timing", timing);
  viewer?.writeTexts();
  if (viewer?.drawn) viewer.drawPicture();
}

function drawSettings() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  const theme = t("theme", { theme: t(`theme.${chosen}`) });
  replace(
    element("settings"),
    h(
      "select",
      { class: "plain-select", "aria-label": t("language"), on: { change: (event) => changeLanguage(event.target.value) } },
      languages().map((one) => h("option", { value: one, selected: one === language(), lang: one }, one.toUpperCase())),
    ),
    h("button", { type: "button", class: "icon-button", id: "theme", title: theme, "aria-label": theme, on: { click: nextTheme } }, icon(SIGNS[chosen])),
  );
}

function changeLanguage(name) {
  setLanguage(name);
  writeTexts();
  drawSettings();
  element("settings").querySelector("select").focus();
}

function nextTheme() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  const next = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  remember("theme", next === "system" ? null : next);
  drawSettings();
  element("theme").focus();
}

/** Shows a step, and lets the browser paint it before the work begins. */
async function report(name) {
  step = name;
  element("start-step").textContent = t(`start.${name}`);
  element("start-progress").value = STEPS[name];
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}

async function start() {
  const begun = performance.now();
  const reason = whyNot();
  if (reason) return refuse(t("cannot"), t(reason), t("cannot.fix"));
  try {
    const generator = await Generator.open(about, report);
    const flat = numbers(about.directions);
    const width = about.styles.at(-1);
    const directions = Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));
    viewer = new Viewer(generator, directions);
    viewer.draw();
    await viewer.first;
  } catch (error) {
    console.error(error);
    return refuse(t("failed"), String(error?.message ?? error), t("failed.fix"));
  }
  element("start").hidden = true;
  element("viewer").hidden = false;
  timing = { start: (performance.now() - begun) / 1000, each: viewer.each };
  element("timing").textContent = t("about.timing", timing);
}

function refuse(what, expected, fix) {
  element("start").hidden = true;
  replace(element("problem"), errorBox({ what, expected, fix }));
}

element("notices").addEventListener("toggle", async (event) => {
  if (!event.target.open || !element("notices-packed")) return;
  element("notices-text").textContent = new TextDecoder().decode(await unpack("notices-packed"));
});

writeTexts();
drawSettings();
await start();
