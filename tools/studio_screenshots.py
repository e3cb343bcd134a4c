"""Takes the pictures of the studio's pages for the docs, of a folder with real runs.

    python tools/studio_screenshots.py RUNS RUN OTHER [--images DATA] [--only PAGE] [--out docs/images/studio] [--all]

RUNS is the folder, RUN the name of the run whose page is shown; it is explored, and compared with OTHER, a run on the
same data. DATA is what is dropped as a new data set. With --all every page is taken at 1440, 1024 and 380 pixels, light
and dark, to look at; without it, the ones that the docs show. Each file is a WebP of at most 150 kB.
"""

import argparse
import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page
from studio_browser import SHORTEN, open_studio
from studio_material import class_folders, drop, failing_log, photos

MAX_BYTES = 150_000
WIDTHS = {1440: 900, 1024: 768, 380: 800}
"""Widths of a page, with the heights of their screens."""


@dataclass(frozen=True)
class View:
    """A page: its address, what is there when it is ready, what is done then, and the screens that it is high."""

    address: str
    ready: str
    act: Callable[[Page], object] = lambda page: None
    seconds: float = 0.5
    screens: float = 1.0


def views(run: str, other: str, images: str) -> dict[str, View]:
    """The pages, by the names of their pictures."""
    return {
        "runs": View("", ".run-card img"),
        "run": View(f"run?run={run}", ".chart path.line[d^=M]", screens=1.5),
        "data": View("data", ".drop", lambda page: drop_images(page, images), screens=1.4),
        "diagnose": View("diagnose", ".drop", drop_log, screens=1.2),
        "explore": View(f"explore?of={run}&seed=59&truncation=0.7", ".map-pad.drawn", seconds=4),
        "style": View("style", ".drop", paint, screens=1.3),
        "compare": View(f"compare?a={other}&b={run}", "figure img"),
        "lab": View("lab", ".lab-canvas", play, seconds=25),
        "quiz": View("quiz?lesson=6", "fieldset", lambda page: page.locator("fieldset button").nth(1).click()),
    }


DOCS = {
    ("runs", "light", 1440),
    ("runs", "dark", 380),
    ("run", "light", 1440),
    ("run", "dark", 1024),
    ("run", "light", 380),
    ("data", "light", 1440),
    ("diagnose", "dark", 1024),
    ("explore", "light", 1440),
    ("style", "light", 1024),
    ("compare", "light", 1440),
    ("lab", "dark", 1024),
    ("quiz", "light", 1024),
}


def drop_images(page: Page, images: str) -> None:
    """Drops a zip, and waits for what is said of it."""
    drop(page, "pictures.zip", class_folders(images))
    page.wait_for_selector(".sheet img")


def drop_log(page: Page) -> None:
    """Drops a log, and waits for the verdict."""
    drop(page, "losses.csv", failing_log())
    page.wait_for_selector(".verdict")


def paint(page: Page) -> None:
    """Draws a photo in the style of another for some seconds."""
    for place, (name, content) in enumerate(zip(("temple.png", "flower.png"), photos(), strict=True), start=1):
        drop(page, name, content, f".style-sources section:nth-child({place}) .drop")
    page.get_by_label("Longer side, in pixels").fill("256")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_timeout(45_000)


def play(page: Page) -> None:
    """Starts the game."""
    page.get_by_role("button", name="Play", exact=True).first.click()


def take(page: Page, view: View, address: str, width: int, folder: Path) -> bytes:
    """A page with all that it loads."""
    page.set_viewport_size({"width": width, "height": round(WIDTHS[width] * view.screens)})
    page.goto(address)
    page.wait_for_selector(view.ready)
    page.wait_for_function("() => [...document.images].every((one) => one.loading === 'lazy' || one.complete)")
    waits = "document.querySelectorAll('[role=status] .live-dot')"  # for the diagnosis
    page.wait_for_function(f"() => [...{waits}].every((one) => !one.checkVisibility())")
    view.act(page)
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
    parser.add_argument("other")
    parser.add_argument("--images", default="digits28")
    parser.add_argument("--out", type=Path, default=Path("docs/images/studio"))
    parser.add_argument("--only", action="append", help="the name of a page, such as lab")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pages = views(quote(f"0/{arguments.run}"), quote(f"0/{arguments.other}"), arguments.images)
    with open_studio(arguments.runs) as (address, page):
        for name, theme, width in itertools.product(arguments.only or pages, ("light", "dark"), WIDTHS):
            if arguments.all or (name, theme, width) in DOCS:
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                content = take(page, pages[name], address + pages[name].address, width, arguments.runs)
                save(content, arguments.out / f"{name}-{theme}-{width}.webp")


if __name__ == "__main__":
    main()
