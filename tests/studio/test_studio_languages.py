"""The texts of the studio: English and French have the same, and every one that a script asks for is there."""

import json
import re
from pathlib import Path

import pytest

import ganvas
from ganvas.recipes import RECIPES

STATIC = Path(ganvas.__file__).parent / "studio" / "static"
LANGUAGES = ("en", "fr")
SCRIPTS = {path.relative_to(STATIC).as_posix(): path.read_text(encoding="utf-8") for path in STATIC.rglob("*.js")}

Text = str | dict[str, str]


def read_texts(language: str) -> dict[str, Text]:
    """Every text of a language by its key; a key stands in one file only."""
    texts: dict[str, Text] = {}
    for path in sorted((STATIC / "lang" / language).glob("*.json")):
        some = json.loads(path.read_text(encoding="utf-8"))
        assert not texts.keys() & some.keys(), path
        texts |= some
    return texts


TEXTS = {language: read_texts(language) for language in LANGUAGES}


def forms(text: Text) -> list[str]:
    return [text] if isinstance(text, str) else list(text.values())


def parameters(text: Text) -> set[str]:
    return {name for form in forms(text) for name in re.findall(r"\{(\w+)\}", form)}


def asked_for() -> tuple[set[str], set[str]]:
    """Keys in quotes anywhere in a script, as "run.stop"; and what stands before ${state} in `run.state.${state}`."""
    source = "\n".join(SCRIPTS.values())
    whole = {key for key in re.findall(r"""["'`]([a-z_]+(?:\.[\w-]+)+)["'`]""", source) if key in TEXTS["en"]}
    return whole, set(re.findall(r"`([a-z_]+\.(?:[\w-]+\.)*)\$\{", source))


def test_every_language_has_the_same_texts_with_the_same_parameters() -> None:
    english, french = TEXTS["en"], TEXTS["fr"]
    assert english.keys() == french.keys()
    assert not [key for key in english if parameters(english[key]) != parameters(french[key])]
    assert not [key for key in english if type(english[key]) is not type(french[key])]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_html_and_plurals_have_every_form(language: str) -> None:
    for key, text in TEXTS[language].items():
        assert all(form.strip() and "<" not in form for form in forms(text)), key
        if isinstance(text, dict):
            assert {"one", "other"} <= text.keys(), key


def test_every_text_that_a_script_asks_for_is_there() -> None:
    direct = {key for script in SCRIPTS.values() for key in re.findall(r"""\bt\(\s*["']([^"']+)["']""", script)}
    assert direct
    assert not direct - TEXTS["en"].keys()
    _, beginnings = asked_for()
    assert not {one for one in beginnings if not any(key.startswith(one) for key in TEXTS["en"])}


def test_every_text_is_used() -> None:
    whole, beginnings = asked_for()
    assert not [key for key in TEXTS["en"] if key not in whole and not key.startswith(tuple(beginnings))]


def test_every_recipe_has_its_summary_which_in_english_is_that_of_the_command_line() -> None:
    summaries = {f"recipe.{name}": recipe.summary for name, recipe in RECIPES.items()}
    for language in LANGUAGES:
        assert {key for key in TEXTS[language] if key.startswith("recipe.")} == summaries.keys()
    assert {key: TEXTS["en"][key] for key in summaries} == summaries


def test_scripts_load_each_file_of_texts() -> None:
    (files,) = re.findall(r"const FILES = \[(.*?)\]", SCRIPTS["js/i18n.js"])
    loaded = sorted(re.findall(r'"(\w+)"', files))
    for language in LANGUAGES:
        assert sorted(path.stem for path in (STATIC / "lang" / language).glob("*.json")) == loaded


PAGE_FILES = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html")]


@pytest.mark.parametrize("path", PAGE_FILES, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_file_of_the_page_is_small_and_needs_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert unsafe not in text
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", text)
