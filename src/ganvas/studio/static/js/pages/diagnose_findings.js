/** The verdict and the findings of a diagnosis, each with its evidence, causes and fixes. */

import { h, icon } from "../dom.js";
import { number } from "../format.js";
import { t } from "../i18n.js";

const TOO_EARLY = "too early to judge";

/** The worst severity of a diagnosis; "healthy" where nothing worse than a note was found, unless it is too early to judge. */
export function worst(findings) {
  const mild = findings.some((one) => one.name === TOO_EARLY) ? "note" : "healthy";
  return ["failure", "warning"].find((severity) => findings.some((one) => one.severity === severity)) ?? mild;
}

const flagsOf = (fix) => fix.flags && h("code", { class: "finding-flags" }, fix.flags);

/** Texts of a diagnosis are in English: the same as those of the command. `change(fix)`: what stands after a fix in words, by default its flags. */
export function findingsView(answer, change = flagsOf) {
  const severity = worst(answer.findings);
  return h(
    "section",
    { class: "findings" },
    h(
      "div",
      { class: "verdict", "data-severity": severity },
      icon(severity),
      h("div", null, h("p", { class: "verdict-word" }, t(`diagnose.${severity}`)), h("h2", { tabindex: "-1", lang: "en" }, answer.verdict)),
    ),
    answer.findings.map((finding, index) => findingCard(finding, index, change)),
    unchecked(answer.unchecked),
  );
}

function findingCard(finding, index, change) {
  const { severity, since, unit } = finding;
  return h(
    "article",
    { class: "finding card", "data-severity": severity, id: `finding-${index}`, tabindex: "-1", "aria-labelledby": `finding-${index}-name` },
    h(
      "header",
      null,
      h("span", { class: "badge", "data-severity": severity }, icon(severity), t(`diagnose.${severity}`)),
      h("h3", { id: `finding-${index}-name`, lang: "en" }, finding.name),
      severity !== "note" && h("span", { class: "finding-since" }, t("diagnose.since", { unit: t(`diagnose.unit.${unit}`), value: number(since) })),
    ),
    h("p", { class: "finding-summary", lang: "en" }, finding.summary),
    h(
      "div",
      { class: "finding-parts", lang: "en" },
      part(t("diagnose.evidence"), finding.evidence),
      severity !== "note" && part(t("diagnose.causes"), finding.causes),
      severity !== "note" && part(t("diagnose.fixes"), finding.fixes.map((fix) => [fix.do, " ", change(fix)])),
    ),
    finding.source && h("p", { class: "finding-source muted", lang: "en" }, finding.source),
  );
}

function part(title, items) {
  if (!items?.length) return null;
  return h("div", null, h("h4", { lang: document.documentElement.lang }, title), h("ul", null, items.map((item) => h("li", null, item))));
}

function unchecked(table) {
  const names = Object.keys(table ?? {});
  if (!names.length) return null;
  return h(
    "details",
    { class: "unchecked" },
    h("summary", null, t("diagnose.unchecked", { n: names.length })),
    h("p", { lang: "en" }, names.join(", ")),
  );
}
