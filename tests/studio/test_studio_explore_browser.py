"""Explore and Style in a real browser: the map, addresses that give the same pixels, a photo, a walk, a painting."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, Route, expect
from studio_site import HOSTILE, Site, Watch, drop

pytestmark = pytest.mark.slow

Visit = Callable[..., Page]
DIGITS = "/explore?of=pretrained:digits"
PIXELS = """() => {
    const image = document.querySelector('.explore-image');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
}"""
DRAWN = """wanted => {
    const { query, exact } = document.querySelector('.explore-image')?.dataset ?? {};
    if (exact !== 'true') return false;
    return Object.entries(wanted).every(([name, value]) => (JSON.parse(query)[name] ?? null) === value);
}"""
"""Whether the picture of a view is there, in full precision; `wanted`: some of its parameters."""


def photo(seed: int = 1) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 52, 3), np.uint8)).save(content, "PNG")
    return content.getvalue()


def drawn(page: Page, **wanted: Any) -> list[int]:
    """The pixels of the picture, once it is that of the wanted parameters."""
    page.wait_for_function(DRAWN, arg=wanted)
    return page.evaluate(PIXELS)


def test_a_map_is_dragged_and_its_address_gives_the_same_pixels(visit: Visit) -> None:
    page = visit(f"{DIGITS}&seed=7&class=3")
    before = drawn(page, seed="7", move=None)
    page.wait_for_selector(".map-pad.drawn")
    box = page.locator(".map-pad").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(box["x"] + box["width"] * (0.5 + step / 20), box["y"] + box["height"] * (0.5 - step / 32))
    page.mouse.up()
    page.wait_for_url(re.compile("move="))
    sliders = page.locator(".map-axis input")
    moved = [float(sliders.nth(axis).input_value()) for axis in (0, 1)]
    assert moved[0] == pytest.approx(2.4, abs=0.2)
    assert moved[1] == pytest.approx(1.5, abs=0.2)
    expect(page.locator(".explore-command code")).to_contain_text("--move pca:0=")
    move = f"pca:0={moved[0]:g},pca:1={moved[1]:g}"
    page.wait_for_url(re.compile(re.escape(move).replace(":", "%3A").replace("=", "%3D").replace(",", "%2C")))
    expect(page.locator(".explore-command code")).to_contain_text(f"--move {move}")
    after = drawn(page, move=move)
    assert after != before
    page.goto(page.url)
    assert drawn(page, move=move, seed="7") == after
    page.wait_for_timeout(1100)  # what follows sooner belongs to the same change
    page.get_by_role("button", name="To the middle").click()
    assert drawn(page, move=None) == before
    page.wait_for_url(lambda address: "move=" not in address)
    page.go_back()
    assert drawn(page, move=move) == after
    assert float(sliders.first.input_value()) == moved[0]
    page.go_forward()
    drawn(page, move=None)


def test_keys_alone_move_change_and_keep_a_view(visit: Visit) -> None:
    page = visit(DIGITS)
    page.wait_for_selector(".map-pad.drawn")
    first = drawn(page, seed="0")
    slider = page.get_by_role("slider", name="Across the map")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "+0.2")
    assert drawn(page, move="pca:0=0.2") != first
    page.get_by_role("button", name="The next seed").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="3", exact=True).focus()
    page.keyboard.press("Space")
    truncation = page.get_by_role("slider", name="Truncation")
    truncation.focus()
    page.keyboard.press("ArrowLeft")
    drawn(page, seed="1", truncation="0.95", move="pca:0=0.2", **{"class": "3"})
    page.get_by_role("textbox", name="Name of this view").focus()
    page.keyboard.type("by keys")
    page.keyboard.press("Enter")
    expect(page.locator(".bookmark-name")).to_have_text(["by keys"])
    page.get_by_role("button", name="Remove by keys").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bookmark")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".bookmark-name")).to_have_text(["by keys"])
    page.get_by_role("button", name="Remove by keys").click()
    expect(page.locator(".bookmark")).to_have_count(0)


def test_a_direction_gets_a_name_that_stays(visit: Visit) -> None:
    page = visit(DIGITS)
    page.get_by_role("button", name="Give pca:1 a name").click()
    field = page.get_by_label("Name of pca:1")
    field.fill("slant")
    field.press("Enter")
    slant = page.get_by_role("slider", name="slant · pca:1")
    expect(slant).to_be_visible()
    expect(page.get_by_role("button", name="Give pca:1 a name")).to_be_focused()
    expect(page.get_by_label("Direction up the map").locator("option:checked")).to_contain_text("slant")
    page.reload()
    expect(slant).to_be_visible()
    page.get_by_role("button", name="Give pca:1 a name").click()
    field.fill("other")
    field.press("Escape")
    expect(slant).to_be_visible()
    page.get_by_role("button", name="Give pca:1 a name").click()
    field.fill("")
    field.press("Enter")
    expect(slant).to_have_count(0)


def test_bookmarks_are_links_and_a_walk_between_them_is_a_film(visit: Visit, site: Site) -> None:
    page = visit(DIGITS)
    for seed in ("4", "5"):
        page.get_by_label("Seed", exact=True).fill(seed)
        page.keyboard.press("Tab")
        drawn(page, seed=seed)
        page.get_by_role("button", name="Keep").click()
    expect(page.locator(".bookmark")).to_have_count(2)
    page.locator(".bookmark a").first.click()
    drawn(page, seed="4")
    expect(page.locator(".bookmark")).to_have_count(2)
    page.get_by_role("button", name="Put seed 5 earlier").click()
    expect(page.locator(".bookmark-name")).to_have_text(["seed 5", "seed 4"])
    expect(page.get_by_role("button", name="Put seed 5 earlier")).to_be_focused()
    page.get_by_role("button", name="Put seed 5 earlier").click()  # it is the first already
    page.get_by_label("seed 5 in the walk").uncheck()
    expect(page.get_by_text("It needs two bookmarks.")).to_be_visible()
    page.reload()
    expect(page.locator(".bookmark-name")).to_have_text(["seed 5", "seed 4"])
    page.get_by_label("Seconds from one to the next").fill("0.2")
    page.get_by_label("Format").select_option(".png")
    page.get_by_role("button", name="Make the film").click()
    film = page.get_by_role("link", name="Save the film")
    expect(film).to_have_attribute("download", "walk.png")
    with Image.open(io.BytesIO(page.request.get(film.get_attribute("href") or "").body())) as image:
        assert image.n_frames == 10  # type: ignore[attr-defined]
    expect(page.locator(".explore-walk code").last).to_contain_text("--video walk.png")
    assert list((site.runs / ".explore" / "digits" / "walks").glob("*.npz"))
    expect(page.locator(".kept-films a").first).to_contain_text("PNG · ")
    page.reload()
    expect(film).to_have_attribute("download", "walk.png")


def test_a_wrong_photo_and_a_wrong_seed_are_refused_at_once(visit: Visit, watch: Watch) -> None:
    watch.refusals = {400}
    page = visit(f"{DIGITS}&seed=3")
    drop(page, "notes.png", b"no picture", ".explore-photo .drop")
    expect(page.locator(".explore-photo .error-what")).to_contain_text("notes.png cannot be used")
    seed = page.get_by_label("Seed", exact=True)
    seed.fill("-4")
    page.keyboard.press("Tab")
    expect(page.get_by_text("A seed is a whole number from 0")).to_be_visible()
    expect(seed).to_have_value("3")
    seed.fill("4")
    page.keyboard.press("Tab")
    drawn(page, seed="4")
    expect(page.get_by_text("A seed is a whole number from 0")).to_be_hidden()


def stop_where_the_page_is_opened_again(again: Page) -> None:
    """A search that goes on is shown there too, stopped, and left for another photo."""
    expect(again.locator(".photo-pair img").nth(1)).to_have_attribute("src", re.compile("^blob:"))
    expect(again.locator(".photo-pair img").first).to_be_visible()
    assert again.evaluate("document.querySelector('.photo-pair img').naturalWidth") == 52
    again.get_by_role("button", name="Stop").click()
    expect(again.get_by_text("Stopped here: distance")).to_be_visible()
    again.get_by_role("button", name="Another photo").click()
    expect(again.locator(".explore-photo .drop")).to_be_visible()
    again.get_by_role("link", name="Runs", exact=True).first.click()
    again.go_back()
    expect(again.locator(".explore-photo .drop")).to_be_visible()


def test_a_photo_is_sought_live_shown_again_stopped_and_becomes_a_view(visit: Visit) -> None:
    page = visit(f"{DIGITS}&seed=3")
    drop(page, "me.png", photo(), ".explore-photo .drop")
    found = page.locator(".photo-pair img").nth(1)
    expect(page.locator(".photo-pair img").first).to_be_visible()
    again = page.context.new_page()
    again.goto(page.url)
    stop_where_the_page_is_opened_again(again)
    again.close()
    expect(found).to_have_attribute("src", re.compile("^blob:"))
    page.wait_for_url(re.compile("place=[0-9a-f]{12}"))
    place = page.evaluate("new URLSearchParams(location.search).get('place')")
    shown = drawn(page, place=place, seed=None)
    expect(page.locator(".explore-command code")).to_contain_text(f"{place}.npz")
    expect(page.get_by_role("slider", name="Truncation")).to_be_disabled()
    page.goto(page.url)
    assert drawn(page, place=place) == shown
    page.get_by_role("button", name="Back to seeds").click()
    drawn(page, place=None, seed="0")
    page.goto("about:blank")
    page.goto(DIGITS)
    page.locator(".explore-kept .bookmark a").first.click()
    assert drawn(page, place=place) == shown
    page.get_by_role("button", name="Back to seeds").click()
    page.get_by_role("button", name="Nearest training pictures").click()
    expect(page.locator(".nearest-list img")).to_have_count(6)
    expect(page.locator(".explore-nearest .verdict-line")).to_contain_text("cop")


def test_a_run_leads_to_its_generator_and_reasons_are_in_words(visit: Visit, site: Site) -> None:
    page = visit("/run?run=" + site.run.replace("<", "%3C").replace(">", "%3E"))
    page.get_by_role("link", name="Explore").last.click()
    page.wait_for_selector(".map-pad.drawn")
    page.get_by_text("Style mixing").click()
    expect(page.locator(".explore-reason").first).to_contain_text("no layers to mix")
    expect(page.locator(".explore-head")).to_contain_text("Snapshot")


def test_a_photo_is_painted_live_and_any_state_is_kept(visit: Visit, watch: Watch) -> None:
    watch.refusals = {400}
    page = visit("/style")
    start = page.get_by_role("button", name="Draw", exact=True)
    expect(start).to_be_disabled()
    drop(page, "notes.txt", b"no picture", ".style-sources section:nth-child(1) .drop")
    expect(page.locator(".style-sources .error-what")).to_contain_text("notes.txt cannot be used")
    drop(page, "photo.png", photo(1), ".style-sources section:nth-child(1) .drop")
    expect(page.get_by_role("img", name="Photo")).to_be_visible()
    expect(page.locator(".style-sources .error-what")).to_have_count(0)
    drop(page, "painting.png", photo(2), ".style-sources section:nth-child(2) .drop")
    page.get_by_label("Longer side, in pixels").fill("huge")
    expect(page.locator("#style-size-error")).to_contain_text("“Longer side, in pixels” is 'huge'")
    expect(start).to_be_disabled()
    page.get_by_label("Longer side, in pixels").fill("48")
    page.get_by_label("Colours").select_option("luminance")
    page.get_by_text("All 14 other settings").click()
    page.get_by_label("iterations", exact=True).fill("9000")
    expect(page.locator(".style-command code")).to_contain_text("--keep-colours luminance")
    start.click()
    slider = page.get_by_role("slider", name="State")
    expect(slider).to_be_visible()
    keep = page.get_by_role("link", name="Save this picture")
    page.wait_for_function("() => Number(document.querySelector('#style-iterate').max) >= 2")
    slider.focus()
    page.keyboard.press("Home")
    expect(keep).to_have_attribute("download", "styled-0001.png")
    first = page.request.get(keep.get_attribute("href") or "").body()
    page.keyboard.press("End")
    expect(keep).not_to_have_attribute("download", "styled-0001.png")
    page.get_by_role("button", name="Stop here").click()
    expect(page.get_by_text("The last picture is still here.")).to_be_visible()
    last = page.request.get(keep.get_attribute("href") or "").body()
    assert last != first
    page.goto(page.url)  # the address has the work
    expect(page.get_by_text("The last picture is still here.")).to_be_visible()
    expect(page.locator(".style-image")).to_be_visible()


def test_an_address_may_mix_methods_and_stays_as_it_is(visit: Visit) -> None:
    page = visit(f"{DIGITS}&seed=2&x=sefa:1&y=pca:4&move=pca:4=-1.5,sefa:1=0.8")
    page.wait_for_selector(".map-pad.drawn")
    drawn(page, seed="2", move="pca:4=-1.5,sefa:1=0.8")
    expect(page.get_by_role("slider", name="Across the map")).to_have_value("0.8")
    expect(page.get_by_role("slider", name="Up the map")).to_have_value("-1.5")
    expect(page.get_by_label("Direction up the map")).to_have_value("pca:4")
    given = page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
    wanted = {"of": "pretrained:digits", "seed": "2", "x": "sefa:1", "y": "pca:4", "move": "pca:4=-1.5,sefa:1=0.8"}
    assert wanted.items() <= given.items()


def test_a_snapshot_that_its_training_has_removed_leads_to_the_newest(visit: Visit, site: Site, watch: Watch) -> None:
    watch.refusals = {404}
    run = Path(shutil.copytree(site.runs / HOSTILE, site.runs / "growing"))
    old = max((run / "snapshots").glob("0*"))
    page = visit("/explore?of=0/growing&y=pca:2")
    drawn(page, snapshot=old.name, seed="0")
    page.wait_for_selector(".map-pad.drawn")  # what is asked for before has been answered
    old.rename(old.with_name("000900"))
    page.get_by_role("button", name="The next seed").click()
    expect(page.locator(".explore-message")).to_contain_text(f"has no snapshot '{old.name}'")
    newest = page.get_by_role("link", name="To the newest snapshot")
    newest.click()
    drawn(page, snapshot="000900", seed="1")
    expect(page.get_by_label("Direction up the map")).to_have_value("pca:2")
    page.goto(f"/explore?of=0/growing&snapshot={old.name}&seed=2")
    expect(page.locator(".error-fix")).to_contain_text("take the newest")
    newest.click()
    drawn(page, snapshot="000900", seed="2")


def test_a_page_that_was_left_asks_for_no_map(visit: Visit, watch: Watch) -> None:
    page, held = visit("/quiz"), list[Route]()
    page.route(re.compile("/directions.*method=sefa"), lambda route: held.append(route))
    with page.expect_request(re.compile("/directions.*method=sefa")):
        page.goto(f"{DIGITS}&y=sefa:0")
    page.get_by_role("link", name="Quiz", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Questions on the lessons")
    page.wait_for_timeout(400)  # longer than a map waits before it asks for its pictures
    assert not any("/api/explore/map" in address for address in watch.requests)


def test_another_language_drops_no_search_for_the_nearest_training_pictures(visit: Visit) -> None:
    page, held, dropped = visit(DIGITS), list[Route](), list[Request]()
    page.route("**/api/explore/nearest", lambda route: held.append(route))
    with page.expect_request("**/api/explore/nearest"):
        page.get_by_role("button", name="Nearest training pictures").click()
    page.on("requestfailed", lambda request: dropped.append(request))
    page.get_by_label("Language").select_option("fr")
    expect(page.get_by_role("button", name="Images d’entraînement les plus proches")).to_be_visible()
    assert not [request.url for request in dropped if "nearest" in request.url]
