"""The studio in a real browser: a training from the page, dropped files, names that are markup, keys, French, axe."""

import io
import math
import re
import time
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, ViewportSize, expect
from studio_site import HOSTILE, JOB, JOBS, SETTLED, Site, Watch, drop

pytestmark = pytest.mark.slow

Visit = Callable[..., Page]
PATIENCE_SECONDS = 20


def addresses(site: Site) -> list[str]:
    """The address of every page; of the page Data with images too."""
    return [
        "/",
        f"/run?run={quote(site.run)}",
        "/data",
        f"/data?data={quote(str(site.data / 'pictures'))}",
        "/diagnose",
        f"/explore?of={quote(site.run)}",
        "/style",
        "/quiz",
    ]


def log_of_a_failing_training() -> bytes:
    """D's loss falls to zero while G's rises."""
    rows = [f"{i * 10},{0.9 * math.exp(-i / 40) + 0.002 * (i % 3):.5f},{0.8 + i / 30:.4f}" for i in range(300)]
    return "\n".join(["step,d_loss,g_loss", *rows]).encode()


def go(page: Page, address: str) -> None:
    """Goes to a page and waits for what it loads by itself."""
    page.goto(address)
    wait_for_content(page)


def wait_for_content(page: Page) -> None:
    page.wait_for_selector("main h1")
    expect(page.locator("[role=status] .live-dot")).to_have_count(0)


def choose_english(page: Page) -> None:
    """Chooses the other language on a page in French, and waits until the page has been drawn again."""
    page.locator(".page-place").evaluate("place => place.dataset.before = ''")
    page.locator("#top").get_by_label("Langue").select_option("en")
    expect(page.locator("[data-before]")).to_have_count(0)
    wait_for_content(page)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("/lab?d_lr=0.01", "/api/lab"),
        ("/quiz?lesson=2", "/api/quiz"),
        ("/compare?view=wipe", "/api/recipes"),
        ("/explore?seeds=4", "/api/explore/sources"),
        ("/style?iterations=50", "/api/style/knobs"),
        ("/style?iterations=50", "/api/live"),
        ("/data?data=digits28", "/api/recipes"),
    ],
)
def test_a_page_that_is_left_while_it_loads_changes_nothing(visit: Visit, address: str, asked: str) -> None:
    page, held = visit(address), list[Route]()
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.route(f"**{asked}", lambda route: held.append(route))
    page.go_back()
    page.wait_for_timeout(200)  # the request has come to the route; what waits for 250 ms has not yet begun
    page.go_forward()
    page.wait_for_timeout(300)
    for route in held:
        route.continue_()
    page.wait_for_timeout(700)
    assert held
    assert page.url.endswith("/"), page.url
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_a_training_is_started_watched_stopped_and_continued(visit: Visit, site: Site) -> None:
    page = visit("/data")
    page.get_by_role("button", name="digits included, 8").click()
    expect(page.get_by_role("radio", name="digits", exact=True)).to_be_checked()
    page.get_by_label("Train for").fill("2000")
    expect(page.locator(".training-side code")).to_contain_text("--kimg 2000")
    page.get_by_role("button", name="Start the training").click()
    page.wait_for_url(re.compile(r"/run\?run="), wait_until="commit")
    slider = page.get_by_role("slider", name="Images shown")
    state = page.locator(".run-state")
    expect(state).to_have_text("training")
    for _ in range(3):
        before = slider.get_attribute("max") or ""
        page.wait_for_function("before => document.querySelector('.timeline-slider').max !== before", arg=before)
    newest = slider.get_attribute("aria-valuetext")
    slider.press("ArrowLeft")
    expect(slider).not_to_have_attribute("aria-valuetext", newest or "")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(state).to_have_text("unfinished")
    shown = float(slider.get_attribute("max") or "0")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("button", name="Go on")).to_be_disabled()  # until it trains: not a second time
    expect(state).to_have_text("training")
    page.wait_for_function("before => Number(document.querySelector('.timeline-slider').max) > before", arg=shown)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(state).to_have_text("unfinished")


def test_questions_of_a_lesson_are_answered_and_explained(visit: Visit) -> None:
    page = visit("/quiz?lesson=2")
    expect(page.get_by_role("heading", level=2)).to_have_text("2. Convolutions upside down")
    banks = page.evaluate("fetch('/api/quiz').then(answer => answer.json())")
    questions = next(bank["questions"] for bank in banks if bank["number"] == 2)
    for i, question in enumerate(questions):  # the first is answered wrongly
        fieldset = page.locator("fieldset").nth(i)
        fieldset.get_by_role("button").nth((question["answer"] + (i == 0)) % len(question["en"]["choices"])).click()
        expect(fieldset.get_by_role("status")).to_have_text(
            f"{'Not quite.' if i == 0 else 'Right.'} {question['en']['why']}"
        )
        expect(fieldset.locator("[data-answer=right]")).to_contain_text(question["en"]["choices"][question["answer"]])
    expect(page.locator(".quiz-score")).to_contain_text(f"{len(questions) - 1} right of {len(questions)}")
    page.get_by_role("button", name="Once more").click()
    expect(page.locator("[data-answer]")).to_have_count(0)
    page.get_by_role("link", name="1. The game").click()
    expect(page).to_have_url(re.compile(r"lesson=1$"))
    expect(page.get_by_role("heading", level=2)).to_be_focused()


def test_an_arrow_key_answers_no_question(visit: Visit) -> None:
    page = visit("/quiz?lesson=2")
    question = page.locator("fieldset").first
    choices, verdict = question.get_by_role("button"), question.get_by_role("status")
    choices.first.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(50)
    expect(verdict).to_be_empty()
    for key in ("Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(verdict).to_contain_text("Right.")  # the third choice alone is
    expect(choices.nth(2)).to_be_focused()
    choices.first.click(force=True)  # Playwright waits for no button that is disabled
    expect(page.locator("[data-answer]")).to_have_count(1)


def test_the_link_that_skips_leads_to_the_content_as_it_is(visit: Visit) -> None:
    page = visit("/quiz?lesson=2")
    page.locator("fieldset").first.get_by_role("button").first.click()
    pages = page.evaluate("history.length")
    page.get_by_role("link", name="Skip to the content").press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.wait_for_timeout(200)
    expect(page.locator("[data-answer=right]")).to_have_count(1)
    assert page.evaluate("history.length") == pages


def test_a_broken_zip_is_refused_with_the_reason(visit: Visit, watch: Watch) -> None:
    watch.refusals = {400}
    page = visit("/data")
    drop(page, f"{HOSTILE}.zip", b"PK\x03\x04 and then nothing")
    expect(page.locator(".error-box")).to_contain_text("zip")
    expect(page.locator(".drop")).to_be_visible()


def test_a_dropped_zip_is_inspected_and_a_wrong_knob_is_said_beside_its_field(visit: Visit, site: Site) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for path in sorted((site.data / "pictures").rglob("*.png")):
            archive.write(path, path.relative_to(site.data / "pictures"))
    page = visit("/data")
    drop(page, "pictures.zip", held.getvalue())
    report = page.locator(".report")
    expect(report).to_contain_text("41 images · 2 classes")
    expect(page.locator(".sheet img")).to_have_count(24)
    page.get_by_text("1 file cannot be used").click()
    expect(page.locator(".bad-file .file-name")).to_contain_text(f"{HOSTILE}.png")
    page.get_by_text("1 exact copy of another image").click()
    expect(page.locator(".duplicate figure img")).to_have_count(2)
    expect(page.get_by_role("radio").first).to_have_attribute("value", "fast")
    expect(page.get_by_role("radio").nth(1)).to_have_attribute("value", "mlp")  # not those of the included digits
    page.get_by_label("resolution", exact=True).fill("huge")
    expect(page.locator("#knob-resolution-error")).to_contain_text("is not a size")
    page.get_by_role("button", name="Start the training").click()
    expect(page.get_by_label("resolution", exact=True)).to_be_focused()
    assert "/data" in page.url


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(visit: Visit, site: Site) -> None:
    page = visit("/data")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    drop(page, "large.zip", bytes(2_000_000))
    bar = page.get_by_role("progressbar", name="Upload")
    page.wait_for_function("() => document.querySelector('.upload progress')?.value > 0.05")
    assert float(bar.get_attribute("value") or "1") < 1
    expect(page.locator(".upload-end")).to_contain_text(re.compile(r"[\d.,]+ .?B of 2(\.0)? MB"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Drop images here")).to_be_visible()
    expect(page.locator(".error-box")).to_have_count(0)
    end = time.monotonic() + PATIENCE_SECONDS
    while any("large" in path.name for path in (site.runs / "uploads").iterdir()):
        assert time.monotonic() < end, "what was sent is still there"
        time.sleep(0.05)


def test_what_was_entered_stays_with_its_images_and_back_leads_to_the_choice(visit: Visit) -> None:
    page = visit("/data")
    page.get_by_role("button", name=re.compile("^digits ")).click()
    expect(page.locator("#length")).to_have_value("400")
    page.get_by_label("Unit").select_option("minutes")
    expect(page.locator("#length")).to_have_value("10")  # not 400 minutes
    page.locator("#length").fill("3")
    page.get_by_label("mirror").check()
    expect(page.locator(".command")).to_contain_text("--minutes 3")
    page.get_by_label("Language").select_option("fr")
    expect(page.locator("#length")).to_have_value("3")
    expect(page.get_by_label("mirror")).to_be_checked()
    page.get_by_label("Langue").select_option("en")
    expect(page.locator(".training h2").first).to_have_text("Recipe")
    page.go_back()
    expect(page.get_by_text("Drop images here")).to_be_visible()
    page.locator("#data-path").fill("pictures")  # below one of the folders
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#length")).to_have_value("10")
    expect(page.get_by_label("mirror")).not_to_be_checked()
    page.get_by_text("more recipes").click()
    expect(page.get_by_text("{size}")).to_have_count(0)


def test_minutes_of_a_cpu_have_the_preset_and_kimg_the_recipe_itself(visit: Visit) -> None:
    page = visit("/data")
    page.get_by_role("button", name=re.compile("^digits28 ")).click()
    page.get_by_text("more recipes").click()
    page.get_by_label("cnn-stable", exact=True).check()
    expect(page.locator("#length")).to_have_value("600")
    page.locator(".knob-all > summary").click()
    page.locator(".knob-group > summary").filter(has_text="Optimisation").click()
    expect(page.locator("#knob-batch")).to_have_attribute("placeholder", "64")
    page.get_by_label("Unit").select_option("minutes")
    expect(page.locator("#knob-batch")).to_have_attribute("placeholder", "32")
    expect(page.get_by_text("For 10 minutes on a CPU, cnn-stable starts from")).to_be_visible()
    expect(page.locator(".command")).to_contain_text("train cnn-stable --minutes 10 --data")
    expect(page.locator("#knob-batch")).to_be_visible()  # the groups are as they were
    page.get_by_label("Unit").select_option("kimg")
    expect(page.locator("#knob-batch")).to_have_attribute("placeholder", "64")
    expect(page.get_by_text("minutes on a CPU")).to_have_count(0)


ESTIMATE: dict[str, Any] = {
    "seconds": 60, "images_per_s": 9, "kimg": 1, "disk_bytes": 1000, "memory_bytes": {"needed": 1000, "free": 2000},
    "parameters": {"G": 1, "D": 1}, "warning": None,
}  # fmt: skip


def test_an_estimate_is_shown_only_beside_the_settings_that_it_is_of(visit: Visit) -> None:
    page, held = visit("/data?data=digits"), list[Route]()
    done = JOB | {"state": "done", "result": ESTIMATE}
    estimate, shown = page.get_by_role("button", name="Estimate"), page.locator(".estimate")
    page.route("**/api/estimate", partial(Route.fulfill, status=202, json=JOB))
    page.route(JOBS, lambda route: held.append(route))
    with page.expect_request(JOBS):
        estimate.click()
    page.locator("#length").fill("500")
    expect(page.locator(".training-side .data-wait")).to_have_count(0)
    held[0].fulfill(json={"jobs": [done]})
    page.wait_for_timeout(200)
    expect(shown).to_have_count(0)
    page.route("**/api/estimate", partial(Route.fulfill, status=202, json=done))
    estimate.click()
    expect(shown).to_be_visible()
    page.get_by_role("radio", name="fast", exact=True).check()
    expect(shown).to_have_count(0)


def test_enter_right_after_a_length_starts_a_training_whose_end_without_a_run_is_told(visit: Visit) -> None:
    page, held, started = visit("/data?data=digits"), list[Route](), list[Route]()
    failure = page.locator(".training-side .error-box")

    def start(route: Route) -> None:
        started.append(route)
        route.fulfill(status=202, json=JOB | {"state": "done", "output": "first\nsecond\nthird\nlast"})

    expect(page.locator(".training-side code")).to_be_visible()
    page.route("**/api/check", lambda route: held.append(route))
    page.route("**/api/train", start)
    page.locator("#length").fill("500")
    page.locator("#length").press("Enter")
    page.wait_for_timeout(400)  # longer than the page waits before it checks what was typed
    for route in held:
        route.continue_()
    expect(failure).to_contain_text("The training ended before its run was made.")
    expect(failure).to_contain_text("second third last")
    assert len(started) == 1


def test_a_training_that_the_server_has_forgotten_has_ended(visit: Visit, watch: Watch) -> None:
    watch.refusals = {404}
    page = visit("/data?data=digits")
    page.route("**/api/train", partial(Route.fulfill, status=202, json=JOB | {"output": "last"}))
    page.route(JOBS, partial(Route.fulfill, status=404, json={"error": {"what": "There is no job '1'."}}))
    expect(page.locator(".training-side code")).to_be_visible()
    page.get_by_role("button", name="Start the training").click()
    failure = page.locator(".training-side .error-box")
    expect(failure).to_contain_text("The training ended before its run was made.")
    expect(failure).to_contain_text("last")


SHOW = """(isShown) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => !isShown });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""As the browser tells a page of its tab that another one is chosen, or it again."""


def test_a_page_that_was_hidden_asks_anew_which_runs_there_are_and_who_it_is(visit: Visit) -> None:
    page, held = visit("/"), list[Route]()
    cards, lost = page.locator(".run-card"), page.locator(".lost")
    expect(cards.first).to_be_visible()
    page.evaluate(SHOW, False)
    expect(lost).to_have_count(0)
    page.route("**/api/runs", lambda route: held.append(route))
    with page.expect_request("**/api/session"), page.expect_request("**/api/runs"):
        page.evaluate(SHOW, True)
    page.wait_for_timeout(500)  # what a stream begins with has come
    expect(lost).to_have_count(0)
    held[0].fulfill(json={"runs": [], "bytes": 0})  # a server that was started again tells of none that went
    expect(cards).to_have_count(0)


def test_a_training_that_was_started_leads_to_its_run_only_where_it_is_waited_for(visit: Visit, site: Site) -> None:
    page, held = visit("/quiz"), list[Route]()
    page.route("**/api/runs", partial(Route.fulfill, json={"runs": [], "bytes": 0}))
    page.route("**/api/runs/stream", lambda route: None)  # never answered
    page.route("**/api/train", partial(Route.fulfill, status=202, json=JOB))
    page.route(JOBS, lambda route: held.append(route))
    page.get_by_role("link", name="Runs", exact=True).click()
    with page.expect_request(JOBS):
        page.get_by_role("button", name="Train on digits").click()
    page.get_by_role("link", name="Quiz", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Questions on the lessons")
    held[0].fulfill(json={"jobs": [JOB | {"run": site.run}]})
    page.wait_for_timeout(300)
    assert "/quiz" in page.url


def test_an_inspection_that_is_cancelled_is_asked_for_no_longer(visit: Visit) -> None:
    page = visit("/data")
    page.route(re.compile(r"/api/data\?data=digits28$"), lambda route: None)  # never answered
    page.get_by_role("button", name=re.compile("^digits28 ")).click()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("data=digits28")):
        page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name=re.compile("^digits ")).click()
    expect(page.locator(".report h2")).to_contain_text("digits")


def test_a_dropped_log_is_diagnosed_on_its_curves(visit: Visit) -> None:
    page = visit("/diagnose")
    drop(page, "training.csv", log_of_a_failing_training())
    expect(page.locator(".verdict")).to_contain_text("D too strong")
    finding = page.locator(".finding").first
    for part in ("Evidence", "Causes", "Fixes"):
        expect(finding).to_contain_text(part)
    chart = page.locator(".chart").first
    expect(chart.locator("path.line")).to_have_count(2)
    chart.locator(".flag").first.click()
    expect(finding).to_be_focused()
    page.get_by_text("columns were recognised").click()
    expect(page.get_by_label("What g_loss is")).to_have_value("g_loss")


def test_unknown_columns_of_a_log_can_be_named(visit: Visit, watch: Watch) -> None:
    watch.refusals = {400}
    page = visit("/diagnose")
    drop(page, "odd.csv", log_of_a_failing_training().replace(b"d_loss", b"first").replace(b"g_loss", b"second"))
    page.get_by_label("D’s loss").fill("first")
    page.get_by_label("G’s loss").fill("second")
    page.get_by_role("button", name="Read it again like this").click()
    expect(page.locator(".verdict")).to_contain_text("D too strong")


def test_keys_alone_lead_from_a_run_to_a_new_training(visit: Visit, site: Site) -> None:
    page = visit("/")
    press_until(page, lambda: page.locator(".run-card a").first.evaluate("one => one === document.activeElement"))
    page.keyboard.press("Enter")
    slider = page.get_by_role("slider", name="Images shown")
    expect(slider).to_be_visible()
    press_until(page, lambda: slider.evaluate("one => one === document.activeElement"))
    newest = slider.get_attribute("aria-valuetext") or ""
    page.keyboard.press("Home")
    expect(slider).not_to_have_attribute("aria-valuetext", newest)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", newest)
    page.goto("/data")
    digits = page.get_by_role("button", name="digits included, 8")
    expect(digits).to_be_visible()
    press_until(page, lambda: digits.evaluate("one => one === document.activeElement"))
    page.keyboard.press("Enter")
    chosen = page.get_by_role("radio", name="digits", exact=True)
    expect(chosen).to_be_checked()
    press_until(page, lambda: chosen.evaluate("one => one === document.activeElement"))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="fast", exact=True)).to_be_checked()


def press_until(page: Page, there: Callable[[], bool]) -> None:
    """Presses Tab until the wanted element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if there():
            return
    raise AssertionError(f"60 tabs do not lead there, but to {page.evaluate('document.activeElement.outerHTML')}")


THEMES: tuple[tuple[Literal["light", "dark"], dict[str, list[str]]], ...] = (
    ("light", {}),
    ("dark", {"runOnly": ["color-contrast"]}),  # nothing else depends on colours
)
NARROW: ViewportSize = {"width": 380, "height": 800}
WIDE: ViewportSize = {"width": 1280, "height": 720}


def test_pages_in_french_fit_names_are_text_and_axe_finds_nothing_serious(visit: Visit, site: Site) -> None:
    """Each page is loaded in French on 380 pixels; axe checks it in English, wide, in light and in dark."""
    page, severe = visit("/data", viewport=NARROW), []
    page.get_by_label("Language").select_option("fr")
    expect(page.locator("h1")).to_have_text("Nouvel entraînement")
    for address in addresses(site):
        go(page, address)
        assert page.evaluate("document.documentElement.lang") == "fr"
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, address
        page.set_viewport_size(WIDE)
        choose_english(page)
        if address not in ("/data", "/diagnose", "/style", "/quiz"):
            expect(page.get_by_text(HOSTILE).first).to_be_attached()
        assert page.locator("img[src='x'], main script").count() == 0
        if address == "/diagnose":
            drop(page, "training.csv", log_of_a_failing_training())
            page.wait_for_selector(".verdict")
        for theme, options in THEMES:
            page.emulate_media(color_scheme=theme)
            page.evaluate(SETTLED)
            wanted = {"resultTypes": ["violations"], "preload": False, **options}
            if theme == "light":  # which puts the script into the page
                found = Axe().run(page, options=wanted).response["violations"]
            else:
                found = page.evaluate("wanted => axe.run(wanted).then((one) => one.violations)", wanted)
            severe += [
                (address, theme, one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"])
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
        page.evaluate("localStorage.setItem('ganvas-language', 'fr')")
        page.set_viewport_size(NARROW)
    assert not severe


def test_who_may_only_read_sees_the_settings_of_a_training_and_no_error(visit: Visit) -> None:
    page = visit("/data")
    page.context.clear_cookies()
    page.goto("/data?data=digits")
    expect(page.locator(".training-side")).to_contain_text("This page may only read.")
    expect(page.locator(".knob-all summary").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.locator(".error-box")).to_have_count(0)
