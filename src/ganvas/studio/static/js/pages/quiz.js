/** The quiz: the questions of one lesson at a time, each explained as soon as it is answered. */

import { get } from "../api.js";
import { h, icon, replace, setText } from "../dom.js";
import { language, t } from "../i18n.js";
import { setParams } from "../router.js";

export default {
  title: "quiz.title",

  async open(main, params) {
    const lessons = await get("/api/quiz");
    if (!main.isConnected) return undefined;
    const nav = h("nav", { class: "quiz-lessons", "aria-label": t("quiz.lessons") });
    const place = h("div", { class: "quiz-questions stack" });
    const titleOf = (lesson) => t("quiz.lesson", { number: lesson.number, title: lesson.title[language()] });

    function choose(lesson, focus = true) {
      setParams({ lesson: lesson.number }, { push: focus });
      draw(lesson);
      if (focus) place.querySelector("h2").focus();
    }

    function draw(lesson) {
      const links = lessons.map((one) => {
        const open = (event) => {
          event.preventDefault();
          choose(one);
        };
        return h("a", { href: `/quiz?lesson=${one.number}`, "aria-current": one === lesson && "page", on: { click: open } }, titleOf(one));
      });
      replace(nav, links);
      const score = { asked: lesson.questions.length, answered: 0, right: 0 };
      const status = h("p", { class: "quiz-score", role: "status" });
      const end = h("div", { class: "row" });
      const next = lessons[lessons.indexOf(lesson) + 1];
      const answered = (right) => {
        score.answered += 1;
        score.right += right;
        setText(status, t("quiz.score", { right: score.right, n: score.answered, asked: score.asked }));
        if (score.answered < score.asked) return;
        replace(
          end,
          h("button", { type: "button", class: "button", on: { click: () => choose(lesson) } }, t("quiz.again")),
          next && h("button", { type: "button", class: "button primary", on: { click: () => choose(next) } }, titleOf(next)),
        );
      };
      const file = `lessons/${language()}/${lesson.lesson[language()]}.py`;
      replace(
        place,
        h("h2", { tabindex: -1 }, titleOf(lesson)),
        h("p", { class: "muted small" }, t("quiz.file"), " ", h("code", null, file)),
        lesson.questions.map((question, i) => questionView(question, i + 1, answered)),
        status,
        end,
      );
    }

    const wanted = Number(params.get("lesson"));
    draw(lessons.find((one) => one.number === wanted) ?? lessons[0]);
    main.append(
      h(
        "div",
        { class: "page quiz-page" },
        h("div", { class: "page-head" }, h("h1", null, t("quiz.title")), h("p", { class: "muted" }, t("quiz.subtitle"))),
        h("div", { class: "quiz-layout" }, nav, place),
      ),
    );
  },
};

/** A question: its choices until one is taken, then what is right, and why. They are buttons: of radios an arrow key would take one. */
function questionView(question, number, answered) {
  const { question: text, choices, why } = question[language()];
  const verdict = h("div", { class: "quiz-why", role: "status" });
  const rows = choices.map((choice, i) => h("button", { type: "button", class: "quiz-choice", on: { click: () => take(i) } }, h("span", null, choice)));
  let taken = false;

  function take(chosen) {
    if (taken) return;
    taken = true;
    const right = chosen === question.answer;
    rows.forEach((row, i) => {
      row.setAttribute("aria-disabled", "true"); // the focus stays on it
      if (i === question.answer) row.append(icon("healthy"), h("span", { class: "visually-hidden" }, t("quiz.is_right")));
      if (i === question.answer) row.dataset.answer = "right";
      else if (i === chosen) row.dataset.answer = "wrong";
    });
    replace(verdict, h("p", null, h("strong", null, t(right ? "quiz.right" : "quiz.wrong")), " ", why));
    answered(right);
  }

  return h("fieldset", { class: "panel quiz-question" }, h("legend", null, `${number}. ${text}`), rows, verdict);
}
