"""The pages of the documentation: links that lead somewhere, commands that exist, tables with all that the code has.

The built site is checked by `make docs` (tools/check_site.py); this needs neither Zensical nor a browser.
"""

import dataclasses
import json
import re
import shlex
import sys
import tomllib
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

import ganvas
from ganvas.cli import COMMANDS
from ganvas.config import TrainConfig
from ganvas.config.forms import leaves
from ganvas.diagnosis.rules.table import CONDITIONS
from ganvas.evaluation.measures import MEASURES
from ganvas.game.objectives import OBJECTIVES
from ganvas.recipes import RECIPES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import check_site  # noqa: E402
import make_site  # noqa: E402
import paper_values  # noqa: E402
import site_lessons  # noqa: E402
import site_tables  # noqa: E402

FRENCH_START = ("etudiant", "enseignant", "createur", "chercheur")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collected pages."""
    folder = tmp_path_factory.mktemp("site")
    make_site.collect(folder)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, str]:
    return {file: file.read_text() for file in sorted(site.rglob("*.md"))}


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown makes them."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    slugs: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.*)$", plain, re.MULTILINE):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())
        found.add(f"{slug}_{slugs[slug]}" if slugs[slug] else slug)
        slugs[slug] += 1
    return found


def links(text: str) -> list[str]:
    found: list[str] = []
    make_site.replace_links(text, lambda target: found.append(target) or target)
    return found


def test_every_link_leads_to_a_page_and_its_anchor(pages: dict[Path, str]) -> None:
    known = {file: anchors(text) for file, text in pages.items()}
    dead = []
    for file, text in pages.items():
        for link in links(text):
            path, _, anchor = link.partition("#")
            if make_site.is_external(link) or (link.startswith("#ganvas.")):
                continue
            goal = (file.parent / path).resolve() if path else file
            if not goal.is_file() or (anchor and goal.suffix == ".md" and anchor not in known[goal]):
                dead.append(f"{file.name}: {link}")
    assert not dead


def test_a_link_to_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_site, "DOCS", make_site.ROOT / "docs" / "decisions")
    page = tmp_path / "page.md"
    page.write_text("[gone](gone.md)")
    monkeypatch.setattr(make_site, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"gone\.md, which does not exist"):
        make_site.page(page)


def test_links_in_code_are_left_alone() -> None:
    assert links("`[a](b.md)` [c](d.md)\n```\n[e](f.md)\n```\n![g](h.png)") == ["d.md", "h.png"]


def test_the_text_of_a_link_may_continue_on_the_next_line() -> None:
    assert links("See [heads with\neyes](a.md) and [b](c.md).\n\nA [bracket\n\nand](no-link.md).") == ["a.md", "c.md"]


def test_the_built_site_is_checked(tmp_path: Path) -> None:
    def page(*body: str) -> list[str]:
        (tmp_path / "index.html").write_text("".join(body))
        return [problem.split(" ", 1)[1] for problem in check_site.problems(tmp_path)]

    assert page('<a id="here" href="#here">x</a><a href="https://example.org">y</a>') == []
    assert page('<a href="#there">x</a>') == ["links to #there: there is no such anchor"]
    assert page('<img src="no.png">') == ["links to no.png, which does not exist"]
    assert page('<script src="https://example.org/x.js"></script>') == ["loads https://example.org/x.js"]
    (tmp_path / "site.css").write_text("@import url(//example.org/font.css)")
    assert page("") == ["loads //example.org/font.css"]


def test_every_page_is_in_the_navigation(site: Path) -> None:
    config = tomllib.loads((site / "zensical.toml").read_text())

    def named(entry: object) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        parts = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []
        return {name for part in parts for name in named(part)}

    found = named(config["project"]["nav"])
    pages = {file.relative_to(site / "docs").as_posix() for file in (site / "docs").rglob("*.md")}
    assert found <= pages
    assert {page for page in pages - found if not page.startswith("repository/")} == set()


def test_tables_have_everything(pages: dict[Path, str]) -> None:
    named = {file.name: text for file, text in pages.items() if file.parent.name in ("reference", "concepts")}
    families = {type(recipe.config.network) for recipe in RECIPES.values()}
    knobs = set(dict(leaves(TrainConfig()))) | {f.name for kind in families for f in dataclasses.fields(kind)}
    for knob in knobs - {"family"}:
        assert f"| `--{knob.replace('_', '-')}` |" in named["knobs.md"], knob
    for verb in COMMANDS:
        assert f"## ganvas {verb}\n" in named["commands.md"], verb
    for recipe, row in RECIPES.items():
        assert f"| `{recipe}` | {row.summary} |" in named["recipes.md"], recipe
        assert f"### {recipe}\n" in named["recipes.md"], recipe
    for condition in CONDITIONS:
        assert f"## {condition.name}\n" in named["diagnoses.md"], condition.name
    for objective in OBJECTIVES:
        assert f"| `{objective}` |" in named["game.md"], objective
    assert named["measures.md"].count("\n| ") == len(MEASURES) + 1
    for name in set(ganvas.__all__) - {"__version__"}:
        assert f"heading: ganvas.{name}\n" in named["python.md"], name


def test_reference_names_everything_without_the_site() -> None:
    """Readers of the files see every recipe, condition, measure and objective; some tables of the site are longer."""
    tables = {
        "recipes": (
            ("recipe", "what it is", "follows"),
            [(f"`{name}`", recipe.summary, recipe.source) for name, recipe in RECIPES.items()],
        ),
        "diagnoses": (
            ("condition", "severity", "what it is"),
            [
                (
                    f'<a id="{site_tables.slug(row.name)}"></a>{row.name}',
                    row.severity,
                    site_tables.sentence(row.summary),
                )
                for row in CONDITIONS
            ],
        ),
    }
    for page, (titles, rows) in tables.items():
        text = (ROOT / f"docs/reference/{page}.md").read_text()
        assert f"<!-- made: {page} -->\n{site_tables.markdown(titles, rows)}\n" in text, page
    for page in ("reference/measures", "concepts/game"):  # the site's own table
        name = {"concepts/game": "objectives"}.get(page, "measures")
        text = (ROOT / f"docs/{page}.md").read_text()
        assert f"<!-- made: {name} -->\n{site_tables.TABLES[name]()}<!-- end -->" in text, page


@pytest.mark.parametrize(
    ("page", "table", "titles"),
    [
        ("lessons/questions", "questions", ("lesson", "question", "choices")),
        ("fr/questions", "questions_fr", ("leçon", "question", "choix")),
    ],
)
def test_questions_are_asked_without_the_site(page: str, table: str, titles: tuple[str, ...]) -> None:
    rows = []
    for file in sorted(site_lessons.QUESTIONS.glob("*.json")):
        for question in json.loads(file.read_text("utf-8"))["questions"]:
            asked = question["fr" if table.endswith("_fr") else "en"]
            texts = (asked["question"], " · ".join(asked["choices"]))
            rows.append((str(int(file.stem)), *map(site_lessons.escaped, texts)))
    text = (ROOT / f"docs/{page}.md").read_text("utf-8")
    assert f"<!-- made: {table} -->\n{site_tables.markdown(titles, rows)}\n" in text


def test_first_pages_say_how_ganvas_becomes_a_command_and_name_their_runs() -> None:
    """`make demo` installs into .venv, and takes the first number: a number on these pages would be wrong."""
    start = [*ROOT.glob("docs/start/*.md"), *(ROOT / f"docs/fr/{name}.md" for name in FRENCH_START)]
    assert len(start) == 8
    for page in (ROOT / "README.md", ROOT / "docs/index.md", *start):
        assert "source .venv/bin/activate" in page.read_text(), page
    for page in (ROOT / "README.md", *start):
        assert not re.search(r"runs/\d{5}", page.read_text()), page


def test_values_of_papers_are_ours_where_no_difference_is_named() -> None:
    assert list(paper_values.SOURCES) == list(RECIPES)
    for name, source in paper_values.SOURCES.items():
        for row in source.rows:
            own = site_tables.own_value(row, RECIPES[name].config)
            assert (own == row.paper) == (not row.why), (name, row.what, own)
            assert row.why != "the same", (name, row.what)


def test_modules_are_there() -> None:
    text = (ROOT / "docs/reference/modules.md").read_text().split("src/ganvas/")[1].split("```")[0]
    for module in re.findall(r"^  (\w+(?:\.py|/))", text, re.MULTILINE):
        assert (ROOT / "src" / "ganvas" / module).exists(), module


def test_commands_of_all_pages_exist_with_their_options(pages: dict[Path, str]) -> None:
    """What is in a block begins with a command, and each of its options is one of that command."""
    reference = next(text for file, text in pages.items() if file.name == "commands.md")
    sections = {part.split("\n", 1)[0]: part for part in reference.split("## ganvas ")[1:]}
    knobs = next(text for file, text in pages.items() if file.name == "knobs.md")
    checked = 0
    for file, text in pages.items():
        if file.parent.name not in ("start", "fr", "how-to", "concepts"):
            continue
        for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if not line.startswith("ganvas "):
                    continue
                _, verb, *words = shlex.split(line.split(" #")[0])
                allowed = sections[verb] + (knobs if verb == "train" else "")
                for option in (word for word in words if word.startswith("--")):
                    assert f"| `{option.split('=')[0]}" in allowed, (file.name, line)
                checked += 1
    assert checked > 60
