/** What is trained on the images: recipe, length and knobs; the command, an estimate, and the start. */

import { get, post } from "../api.js";
import { commandBox } from "../command.js";
import { h, icon, replace } from "../dom.js";
import { t } from "../i18n.js";
import { runAddress, startTraining, waitFor } from "../jobs.js";
import { errorBox } from "../messages.js";
import { navigate } from "../router.js";
import { estimateView } from "./data_estimate.js";
import { knobFields } from "./data_knobs.js";
import { lengthFields, recipeCards } from "./data_recipes.js";

const CHECK_MS = 250;
const FOR_OWN_IMAGES = "fast";

/** `form` {recipe, length, knobs, name} keeps what is entered; `onStart` is called when a run was started. Returns {element, close}. */
export function trainingView({ data, report, recipes, known, form, onStart }) {
  const aborter = new AbortController();
  const { signal } = aborter;
  const ordered = order(recipes, data, known.data_sets);
  if (!recipes.some((one) => one.name === form.recipe)) form.recipe = ordered[0].name;
  const classes = Object.keys(report.class_counts).length;

  const settings = h("div", { class: "stack" });
  const preset = h("div");
  const knobs = h("div", { class: "stack" });
  const command = h("div");
  const problems = h("div", { class: "stack" });
  const estimate = h("div", { "aria-live": "polite" });
  const outcome = h("div");
  const startButton = h("button", { type: "submit", class: "button primary data-start" }, icon("play"), t("data.start"));
  const estimateButton = h("button", { type: "button", class: "button", on: { click: () => runEstimate() } }, icon("chart"), t("data.estimate"));
  let fields = null;
  let length = null;
  let drawn = ""; // what the knobs that have fields now were asked for with
  let timer = 0;
  let turn = 0;
  let estimates = 0;

  const body = () => ({ recipe: form.recipe, data, ...length.value(), knobs: form.knobs, ...(form.name ? { name: form.name } : {}) });

  const check = async () => {
    clearTimeout(timer); // it would take the place of this one, whose answer a start waits for
    const mine = ++turn;
    const answer = await drawKnobs(mine)
      .then(() => (known.may_write ? post("/api/check", body(), { signal }) : { ok: false, errors: [], command: null }))
      .catch((error) => ({ ok: false, errors: [error], command: null }));
    if (mine !== turn || signal.aborted) return null;
    const rest = length.showErrors(fields ? fields.showErrors(answer.errors) : answer.errors);
    replace(problems, rest.map(errorBox), (answer.warnings ?? []).map(warning));
    replace(preset, answer.preset && h("p", { class: "muted small", lang: "en" }, answer.preset));
    replace(command, answer.command && commandBox(answer.command));
    return answer.ok;
  };

  /** Of an estimate that is under way, for other settings, nothing is shown either. */
  const forget = () => {
    estimates++;
    estimateButton.disabled = false;
    replace(estimate);
  };

  const changed = () => {
    forget();
    clearTimeout(timer);
    timer = setTimeout(check, CHECK_MS);
  };

  /** Draws the fields of the knobs where they are others: those of another recipe, or of its preset for these minutes. */
  const drawKnobs = async (mine) => {
    const { has_preset: hasPreset } = recipes.find((one) => one.name === form.recipe);
    const { minutes } = length.value();
    const { device, init_from } = form.knobs;
    const asked = { recipe: form.recipe, ...(hasPreset && minutes ? { minutes, ...(device && { device }), ...(init_from && { init_from }) } : {}) };
    if (JSON.stringify(asked) === drawn) return;
    const found = await get("/api/knobs", asked, { signal });
    if (signal.aborted || mine !== turn) return;
    drawn = JSON.stringify(asked);
    const names = new Set(found.knobs.map((knob) => knob.name));
    for (const name of Object.keys(form.knobs)) if (!names.has(name)) delete form.knobs[name];
    const open = [...knobs.querySelectorAll("details")].map((one) => one.open);
    const focused = document.activeElement?.id;
    fields = knobFields({ knobs: found.knobs, values: form.knobs, classes, onChange: changed });
    replace(
      knobs,
      fields.prominent,
      h("details", { class: "knob-all" }, h("summary", null, t("data.knobs", { n: found.knobs.length })), h("p", { class: "muted small" }, t("data.knobs.hint")), fields.groups),
    );
    [...knobs.querySelectorAll("details")].forEach((one, i) => (one.open = open[i] ?? false));
    if (focused?.startsWith("knob-")) document.getElementById(focused)?.focus();
  };

  const drawSettings = async () => {
    forget();
    const recipe = recipes.find((one) => one.name === form.recipe);
    length = lengthFields({ recipe, form, onChange: changed });
    fields = null;
    drawn = "";
    replace(knobs);
    replace(settings, length.element, preset, knobs);
    await check();
  };

  const runEstimate = async () => {
    if (!(await check())) return focusProblem(settings, problems);
    const mine = ++estimates;
    const { minutes } = length.value();
    estimateButton.disabled = true;
    replace(estimate, h("p", { class: "data-wait", role: "status" }, h("span", { class: "live-dot" }), t("data.estimating")));
    try {
      const job = await waitFor(await post("/api/estimate", body(), { signal }), (one) => mine !== estimates || one.state !== "running");
      if (mine === estimates) replace(estimate, job.result && estimateView(job.result, Number(minutes) || null));
    } catch (error) {
      if (mine === estimates) replace(estimate, errorBox(error));
    }
    if (mine === estimates) estimateButton.disabled = false;
  };

  const start = async (event) => {
    event.preventDefault();
    if (!(await check())) return focusProblem(settings, problems);
    startButton.disabled = true;
    replace(outcome, h("p", { class: "data-wait", role: "status" }, h("span", { class: "live-dot" }), t("data.starting")));
    try {
      const run = await startTraining(body());
      onStart();
      if (!signal.aborted) navigate(runAddress(run));
    } catch (error) {
      replace(outcome, errorBox(error));
      startButton.disabled = false;
    }
  };

  const name = h("input", { type: "text", id: "run-name", autocomplete: "off", spellcheck: "false", props: { value: form.name } });
  name.addEventListener("input", () => {
    form.name = name.value.trim();
    changed();
  });
  const onRecipe = (chosen) => {
    if (form.recipe !== chosen) form.length = null;
    form.recipe = chosen;
    drawSettings().catch((error) => signal.aborted || replace(settings, errorBox(error)));
  };
  const element = h(
    "form",
    { class: "training", novalidate: true, on: { submit: start } },
    h(
      "div",
      { class: "training-main stack" },
      h("h2", null, t("data.recipe.title")),
      recipeCards({ recipes: ordered, chosen: form.recipe, onChange: onRecipe }),
      settings,
    ),
    h(
      "aside",
      { class: "panel training-side stack", "aria-label": t("data.summary") },
      h("h2", null, t("data.summary")),
      h("div", { class: "field" }, h("label", { for: "run-name" }, t("data.name")), name),
      problems,
      command,
      estimate,
      outcome,
      known.may_write
        ? h("div", { class: "training-buttons" }, startButton, estimateButton)
        : h("p", { class: "muted" }, t("shell.reading_only")),
    ),
  );
  onRecipe(form.recipe);
  return {
    element,
    close() {
      clearTimeout(timer);
      forget();
      aborter.abort();
    },
  };
}

/** The recipes, first the one that is made for these images, last those that are made for other included ones. */
function order(recipes, data, sets) {
  const first = recipes.find((one) => one.data === data) ?? recipes.find((one) => one.name === FOR_OWN_IMAGES) ?? recipes[0];
  const included = new Set(sets.filter((set) => !set.download).map((set) => set.name));
  const isForOthers = (one) => included.has(one.data) && one.data !== data;
  const rest = recipes.filter((one) => one !== first);
  return [first, ...rest.filter((one) => !isForOthers(one)), ...rest.filter(isForOthers)];
}

const warning = (text) =>
  h("p", { class: "estimate-warning", "data-severity": "warning" }, icon("warning"), h("span", { lang: "en" }, text));

function focusProblem(settings, problems) {
  const invalid = settings.querySelector("[aria-invalid]");
  if (invalid) invalid.focus();
  else problems.scrollIntoView({ block: "nearest" });
}
