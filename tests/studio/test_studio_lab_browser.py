"""The lab in a real browser: played, shared by its address, by keys alone, in both languages; axe finds nothing."""

from collections.abc import Callable

import pytest

pytest.importorskip("playwright")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
SMALL = "batch=16&d_width=8&g_width=8"
SHOWN = "document.querySelector('.lab-canvas').toDataURL()"


def test_a_game_is_played_stepped_and_shared(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}&data=grid")
    now = page.locator(".lab-now")
    expect(now).to_contain_text("Round 0: ")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(now).to_contain_text("Round 1: ")
    first = page.evaluate(SHOWN)
    page.get_by_label("D’s learning rate").fill("0.01")
    page.get_by_label("D’s learning rate").press("Enter")
    page.wait_for_url("**d_lr=0.01**")
    expect(now).to_contain_text("Round 1: ")  # a rate acts at once
    page.get_by_role("button", name="Play", exact=True).press("Enter")
    page.wait_for_function("() => parseInt(document.querySelector('.lab-now').textContent.match(/\\d+/)[0]) > 30")
    page.get_by_role("button", name="Pause", exact=True).press("Enter")
    expect(page.locator(".verdict, .lab-early").first).to_be_visible()
    page.goto(f"/lab?{SMALL}&data=grid")
    expect(now).to_contain_text("Round 0: ")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(now).to_contain_text("Round 1: ")
    assert page.evaluate(SHOWN) == first


def test_a_planted_failure_is_repaired_while_it_is_played(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}")
    repair = page.get_by_role("button", name="Repair it")
    page.get_by_role("button", name="Critic without a bound").click()
    expect(page.locator(".finding h3").first).to_have_text("critic unconstrained")
    repair.click()
    page.wait_for_url("**gp=1**")
    expect(page.locator(".lab-story")).to_contain_text("bounds the critic’s slope")
    expect(repair).to_be_hidden()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()  # it goes on


def test_own_points_are_drawn_by_pointer_and_keys(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}")
    expect(page.locator(".lab-now")).to_contain_text("Round 0: ")
    page.get_by_label("Data", exact=True).select_option("own")
    plane = page.get_by_role("application", name="The plane, to draw in")
    plane.click(position={"x": 60, "y": 60})
    page.wait_for_url("**points=**")
    plane.press("ArrowRight")
    plane.press("Enter")
    page.wait_for_function("() => new URLSearchParams(location.search).get('points').length === 8")


def test_french_small_light_and_dark(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}", viewport={"width": 380, "height": 800})
    page.get_by_label("Language").select_option("fr")
    expect(page.locator(".lab-now")).to_contain_text("Tour 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100))")
        found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
        assert not [
            one["nodes"][0]["failureSummary"] + one["nodes"][0]["html"]
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
