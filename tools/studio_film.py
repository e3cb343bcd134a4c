"""Makes the film of the studio for the README: every page in use, as a WebP of at most 3 MB, about two minutes long.

    python tools/studio_film.py RUNS RUN OTHER [--seed 7] [--out docs/images/studio/film.webp]

RUNS is the folder; RUN in it is opened, explored, and compared with OTHER, a run on the same data. A training of the
film's own is added to the folder. The script drives the real page in Chromium and keeps what is seen, in real time.
"""

import argparse
import io
import math
import time
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page
from studio_browser import SHORTEN, open_studio
from studio_material import drop, failing_log, photos

MAX_BYTES = 3_000_000
SCREEN, SHOWN = (1180, 700), (820, 486)
"""Pixels of the page, and of the film without its caption."""

CAPTION = 30
PAUSE = 0.33
"""Least seconds between two frames."""


class Film:
    """The frames of a page, each with the second at which it was seen."""

    def __init__(self, page: Page, runs: Path) -> None:
        self._page, self._runs = page, str(runs.resolve())
        self._caption, self._last = "", b""
        self._frames: list[tuple[float, Image.Image]] = []
        self._font = ImageFont.load_default(15)

    def scene(self, caption: str) -> None:
        """Writes this below the frames that follow."""
        self._caption, self._last = caption, b""

    def watch(self, seconds: float) -> None:
        """Keeps what is seen for so long, whenever it changes."""
        end = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            self._page.evaluate(SHORTEN, self._runs)
            content = self._page.screenshot(type="jpeg", quality=92)
            if content != self._last:
                self._frames.append((time.monotonic(), self._draw(content)))
                self._last = content
            if time.monotonic() > end:
                return
            time.sleep(max(0.0, PAUSE - (time.monotonic() - began)))

    def _draw(self, content: bytes) -> Image.Image:
        frame = Image.new("RGB", (SHOWN[0], SHOWN[1] + CAPTION), "#14626a")
        frame.paste(Image.open(io.BytesIO(content)).resize(SHOWN, Image.Resampling.LANCZOS))
        ImageDraw.Draw(frame).text((14, SHOWN[1] + 6), self._caption, "white", self._font)
        return frame

    def save(self, path: Path) -> None:
        """Writes the film, in the best quality that fits."""
        times = [seen for seen, _ in self._frames] + [self._frames[-1][0] + 2]
        durations = [max(20, round(1000 * (after - before))) for before, after in pairwise(times)]
        first, *rest = (frame for _, frame in self._frames)
        for quality in (70, 55, 40, 30, 20, 10):
            held = io.BytesIO()
            options = {"quality": quality, "method": 4, "minimize_size": True, "loop": 0, "duration": durations}
            first.save(held, "WEBP", save_all=True, append_images=rest, **options)
            if held.tell() <= MAX_BYTES:
                break
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held.getvalue())
        length = sum(durations) / 1000
        print(f"{path}: {held.tell() / 1e6:.2f} MB, {len(durations)} frames, {length:.0f} s, quality {quality}")


def train(film: Film, page: Page, address: str) -> None:
    """A training is started and watched."""
    film.scene("New training: choose images, a recipe, and how long it takes")
    page.goto(f"{address}data")
    page.get_by_role("button", name="digits28 included").click()
    film.watch(4)
    page.get_by_role("radio", name="mlp-stable", exact=True).check()
    page.get_by_label("Unit").select_option("kimg")
    page.get_by_label("Train for").fill("60")
    film.watch(3)
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_url("**/run?run=**", wait_until="commit")
    page.wait_for_selector(".run-state")
    film.scene("A run: images, curves and findings, live")
    film.watch(18)
    page.get_by_role("button", name="Stop", exact=True).click()
    film.watch(2)


def diagnose(film: Film, page: Page, address: str) -> None:
    """The log of a failing training is dropped."""
    page.goto(f"{address}diagnose")
    page.wait_for_selector(".drop")
    film.scene("Diagnose: the log of any program, dropped on the page")
    film.watch(1.5)
    drop(page, "losses.csv", failing_log())
    page.wait_for_selector(".verdict")
    film.watch(6)


def explore(film: Film, page: Page, address: str, of: str, seed: int) -> None:
    """The map is dragged, the seed changed."""
    film.scene("Explore: the pictures of a generator, moved by hand")
    page.goto(f"{address}explore?of={quote(of)}&seed={seed}&truncation=0.7")
    page.wait_for_selector(".map-pad.drawn")
    film.watch(2)
    box = page.locator(".map-pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(30):
        angle, reach = step / 5, min(step, 12) / 12 * 0.25
        page.mouse.move(
            box["x"] + box["width"] * (0.5 + reach * math.cos(angle)),
            box["y"] + box["height"] * (0.5 + reach * math.sin(angle)),
        )
        film.watch(0.2)
    page.mouse.up()
    page.get_by_role("button", name="Random").click()
    film.watch(2)


def paint(film: Film, page: Page, address: str) -> None:
    """A photo in the style of another picture, as it is drawn."""
    photo, painting = photos()
    film.scene("Style: a photo in the style of a painting, as it is drawn")
    page.goto(f"{address}style")
    drop(page, "temple.png", photo, ".style-sources section:nth-child(1) .drop")
    drop(page, "flower.png", painting, ".style-sources section:nth-child(2) .drop")
    page.get_by_label("Longer side, in pixels").fill("256")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.locator(".style-image").scroll_into_view_if_needed()
    film.watch(15)
    if (stop := page.get_by_role("button", name="Stop here")).is_visible():
        stop.click()


def compare(film: Film, page: Page, address: str, run: str, other: str) -> None:
    """Two runs, wiped."""
    film.scene("Compare: two runs at the same seeds and images shown")
    page.goto(f"{address}compare?a={quote(other)}&b={quote(run)}")
    page.wait_for_selector("figure img")
    film.watch(3)
    page.get_by_role("button", name="Wipe").click()
    edge = page.get_by_label("Place of the edge")
    for place in [*range(50, 90, 8), *range(90, 10, -8)]:
        edge.fill(str(place))
        film.watch(0.25)


def play(film: Film, page: Page, address: str) -> None:
    """The lab: a game that goes well, and one that collapses."""
    film.scene("Lab: the game on points, by the code that trains on images")
    page.goto(f"{address}lab")
    page.wait_for_selector(".lab-canvas")
    page.get_by_role("button", name="Play", exact=True).click()
    film.watch(12)
    film.scene("Lab: a planted failure, and the finding beside it")
    page.get_by_role("button", name="Mode collapse").click()
    film.watch(1)
    if (start := page.get_by_role("button", name="Play", exact=True)).is_visible():
        start.click()
    film.watch(10)
    film.scene("Lab: the same game, repaired while it is played")
    page.get_by_role("button", name="Repair it").click()
    film.watch(12)


def ask(film: Film, page: Page, address: str) -> None:
    """A question on a lesson."""
    film.scene("Quiz: questions on the twelve lessons, each answer explained")
    page.goto(f"{address}quiz")
    page.wait_for_selector("fieldset")
    film.watch(2)
    page.locator("fieldset").nth(0).get_by_role("button").nth(1).click()
    film.watch(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("run")
    parser.add_argument("other")
    parser.add_argument("--seed", type=int, default=7, help="of the picture that Explore begins with")
    parser.add_argument("--out", type=Path, default=Path("docs/images/studio/film.webp"))
    arguments = parser.parse_args()
    run, other = f"0/{arguments.run}", f"0/{arguments.other}"
    with open_studio(arguments.runs, width=SCREEN[0], height=SCREEN[1]) as (address, page):
        page.emulate_media(color_scheme="light")
        film = Film(page, arguments.runs)
        film.scene("ganvas studio: every run of a folder, in the browser")
        page.wait_for_selector(".run-card img")
        page.wait_for_function("() => [...document.images].every((one) => one.complete && one.naturalWidth)")
        film.watch(3)
        page.goto(f"{address}run?run={quote(run)}")
        page.wait_for_selector(".chart path.line[d^=M]")
        film.scene("A run: one slider moves the images, the curves and the findings")
        film.watch(2)
        slider = page.get_by_role("slider", name="Images shown")
        slider.press("Home")
        for _ in range(14):
            slider.press("ArrowRight")
            film.watch(0.25)
        train(film, page, address)
        diagnose(film, page, address)
        explore(film, page, address, run, arguments.seed)
        paint(film, page, address)
        compare(film, page, address, run, other)
        play(film, page, address)
        ask(film, page, address)
        film.save(arguments.out)


if __name__ == "__main__":
    main()
