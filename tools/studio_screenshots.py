"""Takes the pictures of the studio's pages for the docs, of a folder with real runs.

    python tools/studio_screenshots.py RUNS RUN [--out docs/images/studio] [--all]

RUNS is the folder, RUN the name of the run whose page is shown; it is compared with the run that changed last. With
--all every page is taken at 1440, 1024 and 380 pixels, light and dark, to look at; without it, the ones that the docs
show. Each file is a WebP of at most 150 kB.
"""

import argparse
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page
from studio_browser import SHORTEN, open_studio

MAX_BYTES = 150_000
WIDTHS = {1440: 900, 1024: 768, 380: 800}
"""Widths of a page, with the heights of their screens."""


@dataclass(frozen=True)
class View:
    """A page: its address, what is there when it is drawn, what is clicked then, and the screens that it is high."""

    address: str
    ready: str
    click: str = ""
    seconds: float = 0.5
    screens: float = 1.0


VIEWS = {
    "runs": View("", ".run-card img"),
    "run": View("run?run=0/{run}", ".chart path.line[d^=M]", screens=1.5),
    "explore": View("explore?of=pretrained:digits28&seed=7", ".map-pad.drawn", seconds=4),
    "compare": View("compare?a=0/{run}", "figure img"),
    "lab": View("lab", ".lab-canvas", "button:text-is('Play')", seconds=25),
    "quiz": View("quiz?lesson=6", "fieldset", "fieldset input >> nth=1"),
}

DOCS = {
    ("runs", "light", 1440),
    ("runs", "dark", 380),
    ("run", "light", 1440),
    ("run", "dark", 1024),
    ("run", "light", 380),
    ("explore", "light", 1440),
    ("compare", "light", 1440),
    ("lab", "dark", 1024),
    ("quiz", "light", 1024),
}


def take(page: Page, view: View, address: str, width: int, folder: Path) -> bytes:
    """A page with all that it loads."""
    page.set_viewport_size({"width": width, "height": round(WIDTHS[width] * view.screens)})
    page.goto(address)
    page.wait_for_selector(view.ready)
    page.wait_for_function("() => [...document.images].every((one) => one.loading === 'lazy' || one.complete)")
    page.wait_for_function("() => !document.querySelector('[role=status] .live-dot')")  # the diagnosis is there
    if view.click:
        page.locator(view.click).first.click()
    page.wait_for_timeout(1000 * view.seconds)
    page.evaluate(SHORTEN, str(folder.resolve()))
    return page.screenshot()


def save(content: bytes, path: Path) -> None:
    """A WebP of at most MAX_BYTES, of the best quality that fits."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    for quality in range(90, 20, -10):
        held = io.BytesIO()
        image.save(held, "WEBP", quality=quality, method=6)
        if held.tell() <= MAX_BYTES:
            break
    path.write_bytes(held.getvalue())
    print(f"{path}: {held.tell() / 1000:.0f} kB at quality {quality}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, default=Path("docs/images/studio"))
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with open_studio(arguments.runs) as (address, page):
        for name, theme, width in itertools.product(VIEWS, ("light", "dark"), WIDTHS):
            if arguments.all or (name, theme, width) in DOCS:
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                where = address + VIEWS[name].address.format(run=quote(arguments.run))
                content = take(page, VIEWS[name], where, width, arguments.runs)
                save(content, arguments.out / f"{name}-{theme}-{width}.webp")


if __name__ == "__main__":
    main()
