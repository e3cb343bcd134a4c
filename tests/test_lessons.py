"""The lessons: each runs by python alone, the languages share their code, and the questions have both languages."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import run_script

from ganvas.studio import quiz

LESSONS = Path(__file__).parent.parent / "lessons"
ENGLISH = sorted((LESSONS / "en").glob("*.py"))
FRENCH = sorted((LESSONS / "fr").glob("*.py"))
QUESTIONS = sorted(quiz.QUESTIONS.glob("*.json"))

WITHOUT_GAN = {"10_style_transfer"}
"""Lessons in which no network is trained, so that Ganvas has nothing to diagnose. They assert by numbers that what is
broken on purpose fails (`assert broken…`), and that the remedy helps (`assert remedied…`)."""


LONG = {"04", "05", "08", "09", "11", "12"}
"""Lessons whose fast form takes about 20 s and more: `make fuzz` and `make lessons` run them."""


def marks_of(lesson: Path) -> list[pytest.MarkDecorator]:
    return [pytest.mark.exhaustive] if lesson.stem[:2] in LONG else []


def cells_of(path: Path) -> list[str]:
    """The cells of a lesson in the percent format, each with its head."""
    return re.split(r"(?m)^(?=# %%)", path.read_text("utf-8"))[1:]


def code_of(path: Path) -> list[str]:
    return [cell for cell in cells_of(path) if not cell.startswith("# %% [markdown]")]


def test_each_lesson_is_there_in_both_languages_with_its_questions() -> None:
    numbers = [[path.stem[:2] for path in paths] for paths in (ENGLISH, FRENCH)]
    assert numbers[0] == numbers[1] == [path.stem for path in QUESTIONS]
    assert numbers[0]


@pytest.mark.parametrize(("english", "french"), list(zip(ENGLISH, FRENCH, strict=False)), ids=lambda path: path.stem)
def test_languages_share_their_code_and_the_order_of_their_texts(english: Path, french: Path) -> None:
    kinds = [[cell.startswith("# %% [markdown]") for cell in cells_of(path)] for path in (english, french)]
    assert kinds[0] == kinds[1]
    assert [cell.strip() for cell in code_of(english)] == [cell.strip() for cell in code_of(french)]
    texts = [[cell for cell in cells_of(path) if cell.startswith("# %% [markdown]")] for path in (english, french)]
    for one, other in zip(*texts, strict=True):
        assert one != other
        assert one.count("# #") == other.count("# #")  # headings
        assert re.findall(r"\$\$.+?\$\$", one) == re.findall(r"\$\$.+?\$\$", other)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", [pytest.param(path, marks=marks_of(path), id=path.stem) for path in ENGLISH])
def test_fast_form_of_a_lesson_runs(lesson: Path) -> None:
    ran = run_script(lesson, GANVAS_LESSON_FAST="1", MPLBACKEND="Agg")
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize("lesson", ENGLISH, ids=lambda path: path.stem)
def test_a_lesson_asserts_what_is_broken_and_asks_three_questions(lesson: Path) -> None:
    code = "".join(code_of(lesson))
    if lesson.stem in WITHOUT_GAN:
        assert not re.search(r"ganvas\.(train|watch|diagnose)\(", code)
        assert re.search(r"(?m)^assert broken\b", code)
        assert re.search(r"(?m)^assert remedied\b", code)
    else:
        assert re.search(r"assert .+ in str\(diagnosis\)", code)
    assert len(re.findall(r"(?m)^# [123]\. ", lesson.read_text("utf-8"))) >= 3
    assert any('"answers"' in cell.partition("\n")[0] and "assert" in cell for cell in code_of(lesson))
    assert max(cell.count("\n") for cell in code_of(lesson)) <= 55


def check_text(value: Any) -> None:
    assert isinstance(value, str)
    assert value.strip() == value != ""


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_questions_have_one_right_choice_in_both_languages(path: Path) -> None:
    bank = json.loads(path.read_text("utf-8"))
    for language, stem in bank["lesson"].items():
        assert (LESSONS / language / f"{stem}.py").is_file()
        title = (LESSONS / language / f"{stem}.py").read_text("utf-8").split("\n")[1]
        assert title == f"# # {int(path.stem)}. {bank['title'][language]}"
    assert len(bank["questions"]) >= 3
    for question in bank["questions"]:
        assert question.keys() == {"answer", "en", "fr"}
        counts = set()
        for language in ("en", "fr"):
            text = question[language]
            assert text.keys() == {"question", "choices", "why"}
            for one in (text["question"], *text["choices"], text["why"]):
                check_text(one)
            assert len(set(text["choices"])) == len(text["choices"]) >= 3
            counts.add(len(text["choices"]))
        assert len(counts) == 1
        assert question["answer"] in range(counts.pop())
