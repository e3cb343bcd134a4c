"""Two runs beside each other in a real browser: every view has an address, and works by keys, in French and small."""

import re
import shutil
from collections.abc import Callable

import pytest

pytest.importorskip("playwright")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from studio_site import HOSTILE, Site


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
        page.wait_for_function("() => [...document.querySelectorAll('figure img')].every((one) => one.naturalWidth)")
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
        shutil.rmtree(second)
