"""The page Style in a real browser: pictures stay after a reload, one estimate of the time, messages in its words."""

import io
import json
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright")

from playwright.sync_api import Page, Route, expect
from studio_site import Site, Watch, drop

Visit = Callable[..., Page]
PHOTO, PAINTINGS = (f".style-sources section:nth-child({i}) .drop" for i in (1, 2))


def picture(seed: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)).save(content, "PNG")
    return content.getvalue()


def test_pictures_and_settings_stay_after_a_reload_but_for_those_that_are_gone(visit: Visit, site: Site) -> None:
    page = visit("/style")
    drop(page, "my photo.png", picture(1), PHOTO)
    expect(page.get_by_role("img", name="Photo")).to_be_visible()
    for number in (1, 2):
        drop(page, f"painting{number}.png", picture(number + 1), PAINTINGS)
        expect(page.get_by_role("img", name=f"painting{number}.png")).to_be_visible()
    page.get_by_label("Weight of painting2.png").fill("0.5")
    page.get_by_label("Colours").select_option("match")
    page.wait_for_url("**keep_colours=match**")
    command = page.locator(".style-command code")
    expect(command).to_contain_text("--style-weights 1 0.5 --keep-colours match")
    said = command.text_content() or ""
    page.reload()
    for name in ("Photo", "painting1.png", "painting2.png"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.style-picture img')].every((one) => one.naturalWidth)"
    )
    expect(page.get_by_label("Weight of painting2.png")).to_have_value("0.5")
    expect(page.get_by_label("Colours")).to_have_value("match")
    expect(command).to_have_text(said)
    expect(page.get_by_role("button", name="Draw", exact=True)).to_be_enabled()
    gone = page.evaluate("new URLSearchParams(location.search).get('paintings').split(',')[0]")
    assert page.request.delete(f"/api/uploads/{gone}").ok
    page.reload()
    expect(page.get_by_role("img", name="painting2.png")).to_be_visible()
    expect(page.get_by_role("img", name="painting1.png")).to_have_count(0)
    expect(page.locator(".error-box")).to_have_count(0)


def test_the_time_that_is_left_begins_with_the_estimate_and_comes_to_the_measured_speed(visit: Visit) -> None:
    page = visit("/style")
    ask = "async (facts) => (await import('/static/js/pages/style_time.js')).secondsLeft(facts)"
    work = 10_000_000
    expected = page.evaluate(ask, {"work": work})
    assert page.evaluate(ask, {"work": work, "done": 0, "seconds": 0}) == expected
    slow = [page.evaluate(ask, {"work": work, "done": work * part, "seconds": 100 * part}) for part in (0.01, 0.5, 1)]
    assert slow[0] == pytest.approx(expected, rel=0.2), "the first iterations alone do not change it much"
    assert (0.5 * expected < slow[1] < 50, slow[2]) == (True, 0)
    page.evaluate(f"async () => (await import('/static/js/pages/style_time.js')).learnTime({work}, 100)")
    assert page.evaluate(ask, {"work": work}) == pytest.approx(100)
    text = "async () => (await import('/static/js/pages/style_time.js')).timeText(1_000_000)"
    assert "10" in page.evaluate(text)


def test_messages_name_fields_and_files_and_leave_commands_as_they_are(visit: Visit, site: Site) -> None:
    page = visit("/style")

    def said(text: str) -> str:
        return page.evaluate("async (text) => (await import('/static/js/messages.js')).inWords(text)", text)

    assert said("a smaller --size or --tile.") == "a smaller “Longer side, in pixels” or “tile”."
    assert said("use --no-palette.") == "use “palette” off."
    assert said(f"{site.runs}/uploads/a/my photo.png cannot be used: cut.") == "my photo.png cannot be used: cut."
    page.evaluate("async () => (await import('/static/js/messages.js')).hideFolders(['/srv/My Runs'])")
    assert said("/srv/My Runs/uploads/a/photo.png cannot be read.") == "photo.png cannot be read."
    assert said("/srv/x/y.png and /srv/z.jpg: 3/4 and/or https://a.b/c") == "y.png and z.jpg: 3/4 and/or https://a.b/c"
    assert said("with --g-lr 2: ganvas train digits --g-lr 2 --out /a/b") == (
        "with “g lr” 2: ganvas train digits --g-lr 2 --out /a/b"
    )
    page.get_by_label("Longer side, in pixels").fill("huge")
    expect(page.locator("#style-size-error")).to_have_text(
        "“Longer side, in pixels” is 'huge'. Expected: a whole number from 17 to 16,384."
    )
    page.get_by_label("Language").select_option("fr")
    page.get_by_label("Grand côté, en pixels").fill("huge")
    expect(page.locator("#style-size-error")).to_contain_text("« Grand côté, en pixels »")


WORK = {
    "id": "1", "kind": "style", "of": "", "command": "", "state": "running", "stopping": False, "facts": {},
    "frames": [], "found": {}, "result": None, "error": None, "began": 1,
}  # fmt: skip
GONE = {"what": "This work is not here any more.", "expected": "", "fix": "start it again.", "field": "id"}


def test_a_drawing_that_a_restarted_server_does_not_have_has_ended(visit: Visit, watch: Watch) -> None:
    watch.refusals = {404}
    page, told = visit("/quiz"), f"event: work\ndata: {json.dumps(WORK)}\n\n"
    page.route(re.compile("/api/live$"), partial(Route.fulfill, json={"works": [WORK]}))
    page.route(re.compile("/api/live/stream"), partial(Route.fulfill, content_type="text/event-stream", body=told))
    page.route(re.compile("/api/live/frame"), partial(Route.fulfill, status=404, json={"error": GONE}))
    page.goto("/style")  # whose stream ends at once
    expect(page.locator(".style-result .error-box")).to_contain_text("This work is not here any more.")
    expect(page.locator(".style-result progress")).to_be_hidden()
    expect(page.get_by_role("button", name="Stop here")).to_be_hidden()
