"""The lab in a real browser: played, shared by its address, by keys alone, in both languages; axe finds nothing."""

from collections.abc import Callable

import pytest

pytest.importorskip("playwright")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from studio_site import SETTLED, Watch

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
    page.get_by_role("spinbutton", name="D’s learning rate").fill("0.01")
    page.get_by_role("spinbutton", name="D’s learning rate").press("Enter")
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


def test_a_fix_of_the_finding_is_a_button_where_the_lab_has_its_knob(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}")
    page.get_by_role("button", name="Critic without a bound").click()
    expect(page.locator(".finding h3").first).to_have_text("critic unconstrained")
    page.locator(".finding").get_by_role("button", name="Set ").first.click()
    page.wait_for_url(lambda address: "gp=" in address or "clip=" in address or "d_lr=" in address)
    assert "--" not in page.locator(".lab-finding").inner_text()


def test_the_back_button_undoes_and_the_link_of_the_page_leads_back(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}&speed=fast")
    expect(page.locator(".lab-now")).to_contain_text("Round 0: ")
    page.wait_for_timeout(1100)  # a gesture has ended
    page.get_by_role("button", name="D too weak").click()
    page.wait_for_url("**d_lr=0.000001**")
    expect(page.get_by_role("spinbutton", name="D’s learning rate")).to_have_value("0.000001")
    page.get_by_role("link", name="Quiz", exact=True).click()
    page.get_by_role("link", name="Lab", exact=True).click()
    page.wait_for_url("**d_lr=0.000001**")
    expect(page.get_by_label("Speed")).to_have_value("fast")
    page.go_back()
    page.go_back()
    page.wait_for_url("**d_lr=0.000001**")
    page.go_back()
    page.wait_for_url(lambda address: "d_width=8" in address and "d_lr" not in address)
    expect(page.get_by_role("spinbutton", name="D’s learning rate")).to_have_value("0.002")


def test_a_link_with_wrong_values_still_gives_a_game(visit: Visit) -> None:
    page = visit("/lab?d_lr=abc&seed=-1&data=grid&speed=warp&points=0000")
    expect(page.get_by_role("alert")).to_contain_text("d_lr, seed")
    expect(page.locator(".lab-now")).to_contain_text("Round 0: ")
    page.wait_for_url(lambda address: address.endswith("/lab?data=grid"))
    expect(page.get_by_label("Speed")).to_have_value("normal")


def test_settings_that_exclude_each_other_give_the_game_by_default(visit: Visit, watch: Watch) -> None:
    watch.refusals = {400}
    page = visit("/lab?spectral_norm=true&clip=0.1")
    expect(page.get_by_role("alert").first).to_contain_text("Spectral norm")
    expect(page.get_by_text("this is the game by default")).to_be_visible()
    expect(page.locator(".lab-now")).to_contain_text("Round 0: ")


def test_a_game_goes_on_in_another_language(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}&data=grid")
    for _ in range(3):
        page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".lab-now")).to_contain_text("Round 3: ")
    page.get_by_label("Language").select_option("fr")
    expect(page.locator(".lab-now")).to_contain_text("Tour 3")
    page.get_by_role("button", name="Pas", exact=True).click()
    expect(page.locator(".lab-now")).to_contain_text("Tour 4")


def test_buttons_and_arrows_go_through_values_that_make_a_difference(visit: Visit) -> None:
    page = visit(f"/lab?{SMALL}")
    rate = page.get_by_role("spinbutton", name="D’s learning rate")
    expect(rate).to_have_value("0.002")
    rate.press("ArrowUp")
    expect(rate).to_have_value("0.005")
    rate.fill("-5")
    rate.press("Tab")
    expect(rate).to_have_attribute("aria-invalid", "true")
    rate.fill("5e-3")
    rate.press("Tab")
    expect(rate).not_to_have_attribute("aria-invalid", "true")
    page.wait_for_url("**d_lr=0.005**")
    page.get_by_role("button", name="D’s learning rate: less").click(click_count=3)
    page.wait_for_url("**d_lr=0.0005**")
    steps = """async () => {
        const { stepOf } = await import('/static/js/pages/lab_steps.js');
        const r1 = { name: 'r1', least: 0, most: 100, whole: false };
        const width = { name: 'd_width', least: 2, most: 128, whole: true };
        const momentum = { name: 'beta2', least: 0, most: 0.9999, whole: false };
        return [
            stepOf(r1, 0, true), stepOf(r1, 0.1, true), stepOf(r1, 100, true),
            stepOf(r1, 0.001, false), stepOf(r1, 0.3, false),
            stepOf(width, 64, true), stepOf(width, 100, false), stepOf(width, 2, false),
            stepOf(momentum, 0.99, true), stepOf(momentum, 0, false),
        ];
    }"""
    assert page.evaluate(steps) == [0.001, 0.2, 100, 0, 0.2, 128, 64, 2, 0.995, 0]


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
        page.evaluate(SETTLED)
        found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
        assert not [
            one["nodes"][0]["failureSummary"] + one["nodes"][0]["html"]
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
