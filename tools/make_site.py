"""Collects the pages of the documentation site: `docs/`, tables made from the code, and the files that pages link to.

    python tools/make_site.py [--out build]        # make docs does this, builds build/site, and checks it

Between `<!-- made: NAME -->` and `<!-- end -->` a page has a sentence or a short table for readers of the file; on the
site a table of `site_tables.TABLES` takes its place. A file outside `docs/` that a page links to is a page too, under
`repository/`.
"""

import argparse
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from site_lessons import LESSONS, is_lesson, lesson_page
from site_tables import TABLES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CONFIG = "zensical.toml"
NO_PAGES = {CONFIG, "requirements.txt"}
ASSETS = {ROOT / "src/ganvas/studio/static/favicon.svg": "favicon.svg"}
"""Files of the package that the theme needs, and their names on the site."""
IMAGES = {".png", ".jpg", ".webp", ".svg", ".gif"}
LINK = re.compile(r"(!?\[(?:(?!\n\n)[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
"""A link within one paragraph: its text may continue on the next line."""
MADE = re.compile(r"<!-- made: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
FENCE = re.compile(r"^ *(```|~~~)")
CODE = re.compile(r"(`+)(.+?)\1")


def replace_links(text: str, replace: Callable[[str], str]) -> str:
    """The text with the target of each Markdown link replaced; code is left alone."""
    bare, fenced = [], False
    for line in text.split("\n"):
        fence = bool(FENCE.match(line))
        bare.append("`" * len(line) if fence or fenced else CODE.sub(lambda code: "`" * len(code[0]), line))
        fenced ^= fence
    parts, end = [], 0
    for link in LINK.finditer("\n".join(bare)):
        parts += [text[end : link.start(2)], replace(text[link.start(2) : link.end(2)])]
        end = link.end(2)
    return "".join([*parts, text[end:]])


def is_external(target: str) -> bool:
    """Whether a link leaves the site."""
    return bool(re.match(r"[a-z]+:", target))


def place(file: Path) -> Path:
    """Where a file of the repository lies on the site, relative to its pages."""
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS)
    if is_lesson(file):
        return file.relative_to(ROOT).with_suffix(".md")
    path = Path("repository", file.relative_to(ROOT))
    return path if path.suffix in {".md", *IMAGES} else path.with_name(f"{path.name}.md")


def collect(out: Path) -> None:
    """Writes the pages into `out`/docs, and the configuration beside them.

    Raises:
        SystemExit: a page links to a file that does not exist, or names a table that does not exist.
    """
    shutil.rmtree(out / "docs", ignore_errors=True)
    config = (DOCS / CONFIG).read_text(encoding="utf-8")
    named = [ROOT / path for path in re.findall(r'"repository/([^"]+)"', config)] + lessons("*")
    waiting = named + [file for file in sorted(DOCS.rglob("*")) if file.is_file() and file.name not in NO_PAGES]
    known = set(waiting)
    while waiting:
        file = waiting.pop()
        target = out / "docs" / place(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        if place(file).suffix != ".md":
            shutil.copyfile(file, target)
            continue
        text, linked = page(file)
        target.write_text(text, encoding="utf-8")
        waiting += sorted(linked - known)
        known |= linked
    for file, name in ASSETS.items():
        shutil.copyfile(file, out / "docs" / name)
    (out / CONFIG).write_text(with_entries(config), encoding="utf-8")


def page(file: Path) -> tuple[str, set[Path]]:
    """The text of a page, with its tables, and the files that it links to."""
    text = lesson_page(file) if is_lesson(file) else file.read_text(encoding="utf-8")
    if file.suffix != ".md" and not is_lesson(file):
        language = {".py": "python", ".toml": "toml"}.get(file.suffix, "text")
        return f"# {file.relative_to(ROOT)}\n\n````{language}\n{text}\n````\n", set()
    linked: set[Path] = set()

    def resolve(link: str) -> str:
        path, _, anchor = link.partition("#")
        if is_external(link) or not path:
            return link
        goal = (file.parent / path).resolve()
        if goal.is_dir():
            goal = goal / "index.md"
        if not goal.is_file() or not goal.is_relative_to(ROOT):
            raise SystemExit(f"{file.relative_to(ROOT)} links to {link}, which does not exist.")
        linked.add(goal)
        up = "../" * (len(place(file).parts) - 1)
        return f"{up}{place(goal).as_posix()}" + (f"#{anchor}" if anchor else "")

    text = replace_links(text, resolve)
    return MADE.sub(lambda made: table(made[1], file), text), linked


def table(name: str, file: Path) -> str:
    """The table of that name."""
    if name not in TABLES:
        raise SystemExit(f"{file.relative_to(ROOT)} has the table {name}. There are {', '.join(TABLES)}.")
    return TABLES[name]()


def with_entries(config: str) -> str:
    """The configuration with every decision and every lesson in its navigation."""
    lists = {"decision": decisions(), "lesson in English": lessons("en"), "lesson in French": lessons("fr")}
    for name, files in lists.items():
        entries = [f'    {{ "{title(file)}" = "{place(file).as_posix()}" }},' for file in files]
        config = config.replace(f"    # every {name}\n", "\n".join(entries) + "\n")
    return config


def decisions() -> list[Path]:
    """The files of all decisions, in their order."""
    return sorted((DOCS / "decisions").glob("[0-9]*.md"))


def lessons(language: str) -> list[Path]:
    """The files of all lessons in a language, in their order."""
    return sorted(LESSONS.glob(f"{language}/[0-9]*.py"))


def title(file: Path) -> str:
    """The first heading of a page."""
    return page(file)[0].split("\n", 1)[0].removeprefix("# ").replace('"', "'")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Collects the pages of the documentation site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    collect(parser.parse_args().out.resolve())
