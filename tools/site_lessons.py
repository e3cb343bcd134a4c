"""The pages of the site that are made from the lessons: each lesson in each language, and the questions on all."""

import html
import json
import re
from pathlib import Path

from ganvas.studio.quiz import QUESTIONS

LESSONS = Path(__file__).resolve().parent.parent / "lessons"
HEADINGS = {
    "en": ("Run this lesson: `{command}`", "Answers", "Answer"),
    "fr": ("Lancer cette leçon : `{command}`", "Réponses", "Réponse"),
}
"""By language: how to run a lesson, the heading of its folded cell, and that of the answer to a question."""


def is_lesson(file: Path) -> bool:
    """Whether a file is a lesson in the percent format."""
    return file.suffix == ".py" and file.is_relative_to(LESSONS)


def lesson_page(file: Path) -> str:
    """The Markdown of a lesson: texts as they are, code in fences, the cell with the answers folded."""
    run, answers, _ = HEADINGS[file.parent.name]
    parts = []
    for cell in re.split(r"(?m)^(?=# %%)", file.read_text(encoding="utf-8"))[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            parts.append("\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n")))
        else:
            code = f"```python\n{body.strip()}\n```"
            parts.append(folded(answers, code) if '"answers"' in head else code)
    command = run.format(command=f"python {file.relative_to(LESSONS.parent).as_posix()}")
    title, _, rest = "\n\n".join(parts).partition("\n")
    return f"{title}\n\n{command}\n{rest}\n"


def folded(summary: str, body: str) -> str:
    """Markdown that is shown when its summary is chosen."""
    return f'<details markdown="1">\n<summary>{summary}</summary>\n\n{body}\n\n</details>'


def questions(language: str) -> str:
    """The questions on every lesson, each with its folded answer."""
    lines = []
    for file in sorted(QUESTIONS.glob("*.json")):
        bank = json.loads(file.read_text(encoding="utf-8"))
        lines.append(f"## {int(file.stem)}. {bank['title'][language]}\n")
        for number, question in enumerate(bank["questions"], 1):
            text = question[language]
            lines.append(f"**{number}. {escaped(text['question'])}**\n")
            lines += [f"- {escaped(choice)}" for choice in text["choices"]]
            right = escaped(text["choices"][question["answer"]])
            lines.append("\n" + folded(HEADINGS[language][2], f"**{right}**\n\n{escaped(text['why'])}") + "\n")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """A text without the signs that Markdown or HTML would read."""
    return re.sub(r"([\\`*_\[\]$])", r"\\\1", html.escape(text, quote=False))
