"""Checks a built site: every link, anchor and image is there, and no page loads anything from elsewhere.

python tools/check_site.py build/site
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("video", "src"), ("iframe", "src")}
"""Elements whose address the browser fetches by itself."""
OUTSIDE = re.compile(r"^(?:https?:)?//")
STYLE_URL = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """The anchors of a page, and the addresses that it names: (element, attribute, address)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.addresses: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.addresses.append((tag, name, value or ""))
            elif name == "srcset":
                self.addresses += [(tag, "src", part.split()[0]) for part in (value or "").split(",")]


def problems(site: Path) -> Iterator[str]:
    """Yields a sentence for each dead link and for each thing that is loaded from elsewhere."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site} has no page."
    for file, page in pages.items():
        where = file.relative_to(site)
        for tag, name, address in page.addresses:
            if OUTSIDE.match(address):
                if (tag, name) in LOADED:
                    yield f"{where} loads {address}"
                continue
            parts = urlsplit(address)
            if parts.scheme or address == "":
                continue
            goal = file if not parts.path else _resolve(site, file, unquote(parts.path))
            if not goal.is_file():
                yield f"{where} links to {address}, which does not exist"
            elif parts.fragment and goal in pages and unquote(parts.fragment) not in pages[goal].anchors | {"__top"}:
                yield f"{where} links to {address}: there is no such anchor"
    for file in sorted(site.rglob("*.css")):
        yield from (
            f"{file.relative_to(site)} loads {url}" for url in STYLE_URL.findall(file.read_text(encoding="utf-8"))
        )


def _resolve(site: Path, file: Path, path: str) -> Path:
    goal = (site / path.lstrip("/") if path.startswith("/") else file.parent / path).resolve()
    return goal / "index.html" if goal.is_dir() else goal


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "Every link is alive, and nothing is loaded from elsewhere.")
    sys.exit(bool(found))
