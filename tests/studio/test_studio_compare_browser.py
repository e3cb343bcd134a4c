"""Two runs beside each other in a real browser: every view has an address, and works by keys, in French and small."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect
from serving import PIXEL
from studio_site import HOSTILE, Site, Watch

LOADED = "() => [...document.querySelectorAll('figure img')].every((one) => one.complete && one.naturalWidth)"
"""Whether the pictures of both runs are there."""


def remove_at_once(run: Path, site: Site) -> None:
    """Removes a run that a page looks at: of one that is half there it would ask for what is gone."""
    run.rename(site.data / "removed")
    shutil.rmtree(site.data / "removed")


def test_two_runs_are_compared(visit: Callable[..., Page], site: Site) -> None:
    second = site.runs / "second"
    shutil.copytree(site.runs / HOSTILE, second)
    shutil.copy(second / "fakes000000.png", second / "fakes000500.png")
    try:
        page = visit("/compare?a=0/second&view=wipe")
        over = page.locator(".compare-over img")
        expect(over).to_have_count(2)
        page.get_by_label("Place of the edge").press("Home")
        assert "inset(0" in (over.last.get_attribute("style") or "")
        page.get_by_role("button", name="Difference").press("Enter")
        page.wait_for_url("**view=difference**")
        page.get_by_role("button", name="Side by side").press("Enter")
        expect(page.locator("figcaption")).to_have_count(2)
        slider = page.get_by_role("slider", name="Images shown")
        expect(slider).to_have_attribute("aria-valuetext", "500 kimg")
        expect(page.locator("figcaption").first).to_contain_text("500 kimg")
        expect(page.locator("figcaption").last).not_to_contain_text("500 kimg")
        slider.press("Home")
        page.wait_for_url("**kimg=0**")
        expect(slider).to_have_attribute("aria-valuetext", "0 kimg")
        expect(page.locator(".compare-charts .chart").first).to_be_visible()
        assert page.locator("img[src='x']").count() == 0
        seeds = page.get_by_label("Seeds of your own")
        seeds.fill("0-3")
        seeds.press("Enter")
        page.wait_for_url("**seeds=0-3**")
        expect(page.locator("figure img").first).to_have_attribute("src", re.compile("/sheet.*seeds=0-3"))
        page.wait_for_function(LOADED)
        seeds.fill("")
        seeds.press("Enter")
        start = page.get_by_role("button", name="Start the comparison")
        expect(start).to_be_enabled()
        expect(page.locator("form")).to_contain_text("6 trainings, 18 minutes in all")
        budget = page.get_by_label("Budget of each training")
        for wrong in ("-4", "0", "some"):
            budget.fill(wrong)
            expect(start).to_be_disabled()
            expect(page.locator("form")).to_contain_text("a number above 0")
        budget.fill("3")
        page.get_by_role("checkbox", name="r3gan R3GAN").uncheck()
        expect(start).to_be_disabled()
        expect(page.locator("form")).to_contain_text("Choose at least two.")
        page.set_viewport_size({"width": 380, "height": 800})
        page.get_by_label("Language").select_option("fr")
        expect(page.locator("h1")).to_have_text("Comparer deux entraînements")
        expect(page.locator("figcaption")).to_have_count(2)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
        severe = [one["nodes"][0]["html"] for one in found if one["impact"] in ("serious", "critical")]
        assert not severe
    finally:
        remove_at_once(second, site)


def test_the_page_follows_the_runs(visit: Callable[..., Page], site: Site, watch: Watch) -> None:
    """A second run appears, gets new pictures and goes, and the page is not loaded again."""
    watch.refusals = {404}  # a run may go while the page asks for it
    page = visit("/compare")
    expect(page.get_by_text("There are fewer than two runs here.")).to_be_visible()
    second = site.runs / "second"
    shutil.copytree(site.runs / HOSTILE, second)
    try:
        expect(page.locator("figcaption")).to_have_count(2)
        expect(page.get_by_text("There are fewer than two runs here.")).to_have_count(0)
        options = page.get_by_label("Run B").locator("option")
        expect(options).to_have_count(2)
        expect(page.get_by_role("checkbox", name="second")).to_be_visible()
        page.get_by_label("Run A").select_option("0/second")
        page.get_by_label("Run B").select_option(site.run)
        page.wait_for_url("**b=0**")
        shutil.copy(second / "fakes000000.png", second / "fakes000700.png")
        (second / "events.jsonl").open("a").close()
        (second / "snapshots" / "new").mkdir(parents=True)
        expect(page.locator("figcaption").first).to_contain_text("700 kimg")
    finally:
        remove_at_once(second, site)
    expect(page.get_by_text("There are fewer than two runs here.")).to_be_visible()


@pytest.fixture
def second(site: Site) -> Iterator[Path]:
    """Another run beside that of the site."""
    run = Path(shutil.copytree(site.runs / HOSTILE, site.runs / "second"))
    yield run
    remove_at_once(run, site)


def test_grids_less_than_a_kimg_apart_are_told_apart_and_reached(visit: Callable[..., Page], second: Path) -> None:
    for name in ("000064", "000064.064"):
        shutil.copy(second / "fakes000000.png", second / f"fakes{name}.png")
    page = visit("/compare?a=0/second")
    slider, caption = page.get_by_role("slider", name="Images shown"), page.locator("figcaption").first
    expect(slider).to_have_attribute("aria-valuetext", "64.064 kimg")
    slider.press("ArrowLeft")
    page.wait_for_url(re.compile(r"kimg=64(&|$)"))
    expect(slider).to_have_attribute("aria-valuetext", "64 kimg")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "64.064 kimg")
    expect(caption).to_contain_text("64.064 kimg")
    page.goto("/run?run=0/second&at=64.064")
    slider, caption = page.get_by_role("slider", name="Images shown"), page.locator(".hero-caption")
    expect(caption).to_have_text("Generated at 64.064 kimg")
    slider.press("ArrowLeft")
    expect(caption).to_have_text("Generated at 64 kimg")
    expect(page.locator(".hero-frame img")).to_have_attribute("alt", "Grid of images generated at 64 kimg")
    expect(slider).to_have_attribute("aria-valuetext", "64 kimg")


def test_a_run_that_is_named_alone_is_beside_another_one(visit: Callable[..., Page], site: Site, second: Path) -> None:
    page = visit("/quiz")
    for one, other in (("0/second", site.run), (site.run, "0/second")):
        for field, chosen, rest in (("a", "Run A", "Run B"), ("b", "Run B", "Run A")):
            page.goto(f"/compare?{field}={quote(one)}")
            expect(page.get_by_label(chosen)).to_have_value(one)
            expect(page.get_by_label(rest)).to_have_value(other)


def test_sheets_are_asked_for_once_the_slider_rests(visit: Callable[..., Page], second: Path) -> None:
    newest = max((second / "snapshots").glob("0*"))
    for kimg in range(10, 20):
        copy = Path(shutil.copytree(newest, newest.with_name(f"0000{kimg}")))
        card = json.loads((copy / "card.json").read_text())
        (copy / "card.json").write_text(json.dumps(card | {"nimg": 1000 * kimg}))
    asked: list[str] = []

    def draw(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=PIXEL, content_type="image/png")

    page = visit("/quiz")
    page.route("**/api/explore/sheet*", draw)
    page.goto("/compare?a=0/second&seeds=0-3")
    caption = page.locator("figcaption").first
    expect(caption).to_contain_text("19 kimg")
    page.wait_for_function(LOADED)
    before = len(asked)
    page.get_by_role("slider", name="Images shown").evaluate(
        """(slider) => {
            for (let stop = slider.max - 1; stop >= slider.max - 8; stop--) {
                slider.value = stop;
                slider.dispatchEvent(new Event("input"));
            }
        }"""
    )
    expect(page.locator("output[for=compare-kimg]")).to_have_text("11 kimg")
    expect(caption).to_contain_text("11 kimg")
    page.wait_for_function(LOADED)
    assert len(asked) <= before + 2


COMPARISON: dict[str, Any] = {
    "folder": "0/comparisons/00000-a-vs-b", "name": "00000-a-vs-b", "path": "", "job": "1", "stopping": False,
    "changed": 1, "runs": [], "sentence": None, "report": None, "command": "ganvas compare a b",
}  # fmt: skip
STAGES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"stage": "reading", "part": 0}, "the images are read", None),
    ({"stage": "starting", "part": 0, "seconds": 4, "name": "cnn-seed0", "number": 1}, "1 of 6: cnn-seed0", None),
    (
        {"stage": "training", "part": 0.25, "seconds": 84, "minutes": 3, "nimg": 12_000, "total": 99_000,
         "name": "cnn-seed1", "number": 2},
        "Training 2 of 6: cnn-seed1 · 1.4 of 3 minutes, 12 kimg", "0.25",
    ),
    (
        {"stage": "training", "part": 0.3, "seconds": 84, "minutes": None, "nimg": 12_000, "total": 40_000,
         "name": "cnn-seed1", "number": 2},
        "Training 2 of 6: cnn-seed1 · 12 of 40 kimg", "0.3",
    ),
    ({"stage": "measuring", "part": 0.5, "number": 3}, "3 of 6 trainings complete. The images of the last one", "0.5"),
]  # fmt: skip


def test_a_running_comparison_says_what_it_does_before_its_first_pictures(visit: Callable[..., Page]) -> None:
    page = visit("/compare")
    shown = [
        COMPARISON | {"folder": f"0/comparisons/0000{i}-a-vs-b", "progress": {"trainings": 6, "run": None} | progress}
        for i, (progress, _, _) in enumerate(STAGES)
    ]
    page.route("**/api/comparisons", partial(Route.fulfill, json={"comparisons": shown}))
    page.reload()
    expect(page.locator("article")).to_have_count(len(STAGES))
    for card, (_, text, value) in zip(page.locator("article").all(), STAGES, strict=True):
        expect(card).to_contain_text(text)
        bar = card.get_by_role("progressbar", name="Progress of the comparison")
        assert bar.get_attribute("value") == value


COMPARISONS = """async () => {
    const { comparisonList } = await import("/static/js/pages/compare_list.js");
    window.comparisons = comparisonList({ mayWrite: true });
    document.querySelector("main").append(window.comparisons.element);
}"""


def test_a_comparison_that_goes_on_after_a_stop_can_be_stopped_again(visit: Callable[..., Page]) -> None:
    page, shown = visit("/diagnose"), COMPARISON | {"progress": None}
    page.route("**/api/comparisons", lambda route: route.fulfill(json={"comparisons": [shown]}))
    page.route("**/api/stop", partial(Route.fulfill, json={}))
    page.evaluate(COMPARISONS)
    stop = page.locator("article").get_by_role("button", name="Stop")
    stop.click()
    expect(stop).to_be_disabled()
    shown |= {"job": None}
    page.evaluate("() => window.comparisons.refresh()")
    expect(stop).to_be_hidden()
    shown |= {"job": "2"}
    page.evaluate("() => window.comparisons.refresh()")
    expect(stop).to_be_enabled()


@pytest.fixture
def unlabelled(site: Site) -> Iterator[Path]:
    """Pictures without classes."""
    folder = site.data / "unlabelled"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 12, 3), np.uint8)).save(folder / f"{i}.png")
    yield folder
    shutil.rmtree(folder)


def test_recipes_that_do_not_fit_the_images_are_refused_at_their_field(
    visit: Callable[..., Page], watch: Watch, unlabelled: Path
) -> None:
    page = visit("/compare", locale="fr-FR")
    images, start = page.get_by_label("Images", exact=True), page.get_by_role("button", name="Lancer la comparaison")
    expect(page.get_by_role("checkbox", name="r3gan R3GAN avec les réglages")).to_be_checked()
    images.fill(str(unlabelled))
    reason = page.locator("#compare-r3gan-error")
    expect(reason).to_contain_text("« Entraînement avec classes » is set, but unlabelled has no classes.")
    expect(page.locator("input[value=r3gan]")).to_be_disabled()
    expect(page.locator("input[value=cnn]")).to_be_enabled()
    expect(page.get_by_text("r3gan : ces images ne conviennent pas.")).to_be_visible()
    expect(start).to_be_disabled()
    images.fill(str(unlabelled / "nothing"))
    expect(page.locator("#compare-data-error")).to_contain_text("There is no nothing.")
    images.fill("digits")
    expect(page.locator("#compare-data-error")).to_be_hidden()
    expect(reason).to_be_hidden()
    expect(start).to_be_enabled()
    assert "--" not in page.locator("form").inner_text()
