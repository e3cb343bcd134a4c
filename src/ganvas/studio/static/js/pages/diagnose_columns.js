/** How a log was read: which of its columns is what, and a way to say it where the names do not. */

import { h, icon } from "../dom.js";
import { t } from "../i18n.js";

/** The roles of `ganvas diagnose --columns`, and the name in Ganvas of what each reads. */
export const ROLES = {
  d_loss: "D/loss", g_loss: "G/loss", d_loss_real: "D/loss_real", d_loss_fake: "D/loss_fake", real_score: "D/real",
  fake_score: "D/fake", d_accuracy: "D/accuracy", d_grad_norm: "D/gradient", g_grad_norm: "G/gradient",
  gradient_penalty: "D/gp", fid: "fid", kid: "kid", inception_score: "inception score", step: "step", epoch: "epoch",
  kimg: "kimg",
};

/** `columns`: {role: name in the log} said so far. `onColumns` gets the new ones. */
export function columnsView({ answer, columns, onColumns }) {
  const facts = answer.facts ?? {};
  const read = Object.entries(facts.columns ?? {}).filter(([name]) => !name.endsWith("/std"));
  const unused = facts.unused ?? [];
  const missing = ["D/loss", "G/loss"].filter((own) => !read.some(([, role]) => role.startsWith(own)));
  const names = [...read.map(([name]) => name), ...unused];
  const selects = new Map();
  const row = (name, own) => {
    const given = Object.keys(columns).find((role) => columns[role] === name);
    const role = given ?? Object.keys(ROLES).find((one) => ROLES[one] === own) ?? "";
    const empty = own && !role ? own : t("diagnose.columns.none");
    const select = h(
      "select",
      { "aria-label": t("diagnose.columns.role", { name }) },
      h("option", { value: "" }, empty),
      Object.entries(ROLES).map(([one, label]) => h("option", { value: one, selected: one === role }, label)),
    );
    selects.set(name, { select, before: role, given });
    return h("tr", null, h("th", { scope: "row", class: "file-name" }, name), h("td", null, select));
  };
  const submit = (event) => {
    event.preventDefault();
    const chosen = {};
    for (const [name, { select, before, given }] of selects) {
      if (select.value && (select.value !== before || given)) chosen[select.value] = name;
    }
    onColumns(chosen);
  };
  const lines = [
    ...(facts.notes ?? []),
    ...(facts.unread ? [t("diagnose.unread", { n: facts.unread })] : []),
    ...(facts.restarts ? [t("diagnose.restarts", { n: facts.restarts })] : []),
  ];
  if (!names.length && !lines.length) return null;
  return h(
    "details",
    { class: "panel columns", open: missing.length > 0 },
    h("summary", null, t("diagnose.columns.title", { n: read.length })),
    missing.length ? h("p", { class: "columns-missing", "data-severity": "warning" }, icon("warning"), t("diagnose.columns.missing", { names: missing.join(", ") })) : null,
    lines.length ? h("ul", { class: "columns-notes muted small" }, lines.map((line) => h("li", null, line))) : null,
    names.length
      ? h(
          "form",
          { on: { submit } },
          h(
            "div",
            { class: "table-scroll", tabindex: "0", role: "region", "aria-label": t("diagnose.columns.table") },
            h(
              "table",
              { class: "table columns-table" },
              h("thead", null, h("tr", null, h("th", { scope: "col" }, t("diagnose.columns.name")), h("th", { scope: "col" }, t("diagnose.columns.what")))),
              h("tbody", null, read.map(([name, own]) => row(name, own)), unused.map((name) => row(name, null))),
            ),
          ),
          h("button", { type: "submit", class: "button" }, t("diagnose.columns.again")),
        )
      : null,
  );
}
