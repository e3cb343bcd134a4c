/** What the rules find in the game of the lab, with a button for each fix that the lab has the knobs for. */

import { h, replace } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n.js";
import { findingsView, worst } from "./diagnose_findings.js";

/** The shares of the parts that G reaches, and of its points near them, from which a game without findings is called healthy. */
const ENOUGH = { parts: 0.75, good: 0.5 };

/** @param {(name: string, value: any) => boolean} takes  whether a knob can have a value  @param {(changes: object) => void} onFix */
export function createFinding({ takes, onFix }) {
  const element = h("div", { class: "lab-finding", role: "region", tabindex: 0, "aria-label": t("lab.finding") });

  /** Whether the lab has the knobs for a fix; it has no schedules, snapshots or code of one's own. */
  const isPlayable = ({ changes }) => Object.keys(changes).length > 0 && Object.entries(changes).every(([name, value]) => takes(name, value));

  function button({ changes }) {
    const text = Object.entries(changes).map(([name, value]) => `${name} ${value}`).join(", ");
    return h("button", { type: "button", class: "button small", on: { click: () => onFix(changes) } }, t("lab.fix", { changes: text }));
  }

  function draw({ diagnosis, covered, parts, good }) {
    const { checked, conditions, findings } = diagnosis;
    const isEarly = worst(findings) === "healthy" && (covered < ENOUGH.parts * parts || good < ENOUGH.good);
    const told = isEarly ? h("p", { class: "panel lab-early" }, t("lab.not_there", { covered, parts, good: percent(good) })) : findingsView({ ...diagnosis, findings: findings.map((one) => ({ ...one, fixes: one.fixes.filter(isPlayable) })) }, button);
    replace(element, told, h("p", { class: "small muted" }, t("lab.checked", { checked, all: conditions })));
  }

  return {
    element,
    /** Draws the findings of a frame anew; the focus and the place stay where they are. */
    show(frame) {
      const focus = element.contains(document.activeElement) && document.activeElement !== element ? document.activeElement.textContent : null;
      const { scrollTop } = element;
      draw(frame);
      element.scrollTop = scrollTop;
      if (focus === null) return;
      const same = [...element.querySelectorAll("button, summary, [tabindex]")].find((one) => one.textContent === focus);
      (same ?? element).focus({ preventScroll: true });
    },
  };
}
