"""The pages Runs and Run in a real browser: one slider for all, zoom, gaps, live lines, addresses; and the scales."""

import json
import math
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect
from serving import PIXEL, make_run
from studio_site import HOSTILE, JOB, JOBS, Site, Watch

from ganvas.runs.lock import lock_run
from ganvas.runs.log import drop_lines_after

pytestmark = pytest.mark.slow

Visit = Callable[..., Page]
LINES, TICK = 4000, 1000
GAP = range(2000, 2200)
"""Lines whose loss of D is not finite."""


DRAWN = re.compile(r"^M[\d.]+ [\d.]+L")
"""The path of a line that is drawn."""


def line(i: int) -> dict[str, Any]:
    loss = {"num": TICK, "mean": math.sin(i / 300) + 2, "std": 0.1}
    return {
        "nimg": (i + 1) * TICK, "kimg_per_s": 2.0, "seconds": i / 2, "memory": 300.0,
        "D/loss": {"num": TICK} | ({} if i in GAP else loss) | ({"mean": None, "std": None} if i in GAP else {}),
        "G/loss": loss, "signals": {"diversity": 0.9},
    }  # fmt: skip


@pytest.fixture(scope="module")
def long_run(site: Site) -> Path:
    """A run of 4,000 ticks with 41 grids, events and a film's worth of places."""
    run = site.runs / "long"
    shutil.copytree(site.runs / HOSTILE, run)
    grid = max(run.glob("fakes*.png"))
    for kimg in range(0, LINES + 1, 100):
        shutil.copy(grid, run / f"fakes{kimg:06d}.png")
    (run / "stats.jsonl").write_text("".join(json.dumps(line(i)) + "\n" for i in range(LINES)))
    events = [
        {"time": 1.0, "nimg": 1_000_000, "event": "interrupted"},
        {"time": 2.0, "nimg": 3_000_000, "event": "rollback", "to": 2_900_000, "changes": {"g_lr": "1e-3"}},
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return run


def test_one_slider_moves_the_grid_the_cursors_and_the_address(visit: Visit, long_run: Path) -> None:
    page = visit("/run?run=0/long")
    slider, caption = page.get_by_role("slider", name="Images shown"), page.locator(".hero-caption")
    cursor = page.locator(".chart .cursor").first
    expect(caption).to_have_text("Generated at 4,000 kimg")
    before = cursor.get_attribute("transform")
    slider.press("ArrowLeft")
    expect(caption).to_have_text("Generated at 3,900 kimg")
    expect(page.locator(".hero-frame img")).to_have_attribute("alt", "Grid of images generated at 3,900 kimg")
    expect(cursor).not_to_have_attribute("transform", before or "")
    page.wait_for_url("**&at=3900")
    slider.press("Home")
    expect(caption).to_have_text("Generated at 0 kimg")
    page.keyboard.press("End")
    expect(caption).to_have_text("Generated at 4,000 kimg")
    expect(page).not_to_have_url(re.compile("at="))
    slider.evaluate("(slider) => { slider.value = 3456789; slider.dispatchEvent(new Event('input')); }")
    expect(slider).to_have_attribute("aria-valuetext", "3,457 kimg")  # no grid lies there
    page.locator(".timeline-flag[data-severity=warning]").click()
    expect(page.locator(".timeline-now")).to_have_text("3,000")


def test_space_plays_the_training_as_a_film(visit: Visit, long_run: Path) -> None:
    page = visit("/run?run=0/long&at=3500")
    expect(page.locator(".hero-caption")).to_have_text("Generated at 3,500 kimg")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".hero-caption")).to_have_text("Generated at 4,000 kimg")
    expect(page.get_by_role("button", name="Play the training")).to_be_visible()


def test_dragging_zooms_to_raw_lines_and_the_address_shows_the_same_again(visit: Visit, long_run: Path) -> None:
    page = visit("/run?run=0/long")
    plot = page.locator(".chart-plot").first
    plot.scroll_into_view_if_needed()
    expect(plot.locator("path.line").first).to_have_attribute("d", DRAWN)
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 150, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + 175, box["y"] + 90, steps=4)
    with page.expect_response(lambda answer: "/api/run/curves" in answer.url and "from=" in answer.url) as answered:
        page.mouse.up()
    found = answered.value.json()
    assert not found["bucketed"]
    assert len(found["nimg"]) > 50
    page.wait_for_url("**&from=*&to=*")
    ticks = page.locator(".chart .tick-x").all_text_contents()
    again = visit(page.url)
    again.locator(".chart-plot").first.scroll_into_view_if_needed()
    expect(again.locator(".chart .tick-x").first).to_have_text(ticks[0])
    again.locator(".chart-plot").first.press("0")
    expect(again).not_to_have_url(re.compile("from="))
    expect(again.locator(".chart .tick-x").first).to_have_text("0 kimg")


def test_values_that_are_not_finite_are_a_gap_and_the_table_says_so(visit: Visit, long_run: Path) -> None:
    page = visit("/run?run=0/long&from=1900&to=2300")
    losses = page.locator(".chart").first
    losses.locator("summary").click()
    expect(losses.locator("tbody tr").nth(30)).to_contain_text("–")
    d, g = (losses.locator(f"path.line.tone-{one}").get_attribute("d") or "" for one in "dg")
    assert d.count("M") == 2
    assert g.count("M") == 1


def test_a_long_log_is_sampled_first_and_the_page_says_how_far_its_reading_is(visit: Visit, long_run: Path) -> None:
    shutil.copytree(long_run, long_run.parent / "unread")
    page, held = visit("/diagnose"), list[Any]()
    page.route(re.compile(r"/api/run/curves\?"), lambda route: held.append(route))
    page.goto("/run?run=0/unread", wait_until="commit")
    line_of_d = page.locator(".chart path.line.tone-d").first
    expect(line_of_d).to_have_attribute("d", DRAWN)
    sampled = line_of_d.get_attribute("d")
    expect(page.get_by_role("progressbar", name="Reading the log of this run")).to_be_visible()
    expect(page.locator(".upload")).to_contain_text(re.compile(r" of [\d.]+ .B"))
    held[0].continue_()
    expect(page.get_by_role("progressbar", name="Reading the log of this run")).to_have_count(0)
    expect(line_of_d).not_to_have_attribute("d", sampled or "")


def test_a_zoom_does_not_end_the_reading_of_a_long_log(visit: Visit, long_run: Path) -> None:
    shutil.copytree(long_run, long_run.parent / "zoomed")
    page, held = visit("/diagnose"), list[Route]()
    page.route(re.compile(r"/api/run/curves\?(?!.*from=)"), lambda route: held.append(route))
    page.goto("/run?run=0/zoomed", wait_until="commit")
    line_of_d, plot = page.locator(".chart path.line.tone-d").first, page.locator(".chart-plot").first
    expect(line_of_d).to_have_attribute("d", DRAWN)
    with page.expect_response(lambda answer: "from=" in answer.url):
        plot.press("=")
    plot.press("0")
    expect(page.locator(".chart .tick-x").first).to_have_text("0 kimg")
    sampled = line_of_d.get_attribute("d")
    held[0].continue_()
    expect(line_of_d).not_to_have_attribute("d", sampled or "")


def half_a_run(site: Site, name: str) -> Path:
    """A run that has one line, and no snapshot yet."""
    run = site.runs / name
    shutil.copytree(site.runs / HOSTILE, run)
    shutil.rmtree(run / "snapshots")
    (run / "stats.jsonl").write_text((run / "stats.jsonl").read_text().splitlines(keepends=True)[0])
    return run


def test_the_command_that_evaluates_comes_with_the_first_snapshot_and_is_quoted(visit: Visit, site: Site) -> None:
    run, written = half_a_run(site, "a (1)"), site.data / "snapshots"
    page = visit(f"/run?run={quote('0/a (1)')}")
    evaluations = page.locator("section.panel", has=page.get_by_role("heading", name="Evaluations", exact=True))
    expect(evaluations).to_contain_text("Not evaluated yet.")
    expect(evaluations.locator("code")).to_have_count(0)
    shutil.copytree(site.runs / HOSTILE / "snapshots", written)
    written.rename(run / "snapshots")
    expect(evaluations.locator("code")).to_have_count(1)
    *command, path = shlex.split(evaluations.locator("code").text_content() or "")
    assert command == ["ganvas", "evaluate"]
    assert Path(path).samefile(run)


def test_a_page_that_was_left_asks_no_longer_whether_its_run_trains(visit: Visit, site: Site) -> None:
    half_a_run(site, "halfway")
    page, asked = visit("/run?run=0/halfway"), list[Route]()

    def tell(route: Route) -> None:
        asked.append(route)
        route.fulfill(json={"jobs": [JOB]})

    page.route("**/api/resume", partial(Route.fulfill, status=202, json=JOB))
    page.route(JOBS, tell)
    with page.expect_request(JOBS):
        page.get_by_role("button", name="Go on").click()
    page.get_by_role("link", name="Runs", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.wait_for_timeout(500)  # a question that was under way has come
    before = len(asked)
    page.wait_for_timeout(700)
    assert len(asked) == before
    expect(page.locator(".toast")).to_have_count(0)


LATER = """(() => {
    const [now, every] = [Date.now, window.setInterval];
    window.later = 0;
    Date.now = () => now() + window.later;
    window.setInterval = (work, wait) => every(work, Math.min(wait, 100));
})()"""
"""Minutes of intervals take a tenth of a second, and the clock goes to wherever `later` is set."""


def test_how_long_ago_a_run_has_changed_is_told_anew_each_minute(visit: Visit, site: Site) -> None:
    shutil.copytree(site.runs / HOSTILE, site.runs / "aged")
    (site.runs / "aged" / "stats.jsonl").touch()
    page = visit("/diagnose")
    page.add_init_script(LATER)
    for address, place in (
        ("/", page.locator(".run-card", has_text="aged")),
        ("/run?run=0/aged", page.locator(".run-facts")),
    ):
        page.goto(address)
        expect(place).to_contain_text("just now")
        page.evaluate("() => { window.later = 600_000; }")
        expect(place).to_contain_text(re.compile("1[01] minutes ago"))


FINDING: dict[str, Any] = {
    "severity": "warning", "name": "plateau", "summary": "The quality stays.", "causes": [], "since_nimg": 1000,
    "fixes": [{"do": "Take smaller batches.", "changes": {"batch": 10}, "flags": "--batch 10"}],
}  # fmt: skip


def diagnose(route: Route) -> None:
    """Answers with a finding whose evidence is another one for each time."""
    evidence = ["of a part" if "until=" in route.request.url else "of the whole run"]
    route.fulfill(json={"verdict": "It stays.", "findings": [FINDING | {"evidence": evidence}], "now": 3})


def test_findings_that_are_drawn_anew_keep_the_focus_and_what_was_started(visit: Visit, site: Site) -> None:
    shutil.copytree(site.runs / HOSTILE, site.runs / "found")
    page, held = visit("/diagnose"), list[Route]()
    page.route(re.compile("/api/run/diagnosis"), diagnose)
    page.route("**/api/train", partial(Route.fulfill, status=202, json=JOB))
    page.route(JOBS, lambda route: held.append(route))
    page.goto("/run?run=0/found")
    finding, slider = page.locator("#finding-plateau"), page.get_by_role("slider", name="Images shown")
    start = finding.get_by_role("button", name="Start a run with this")
    go = "(slider, place) => { slider.value = place || slider.max; slider.dispatchEvent(new Event('input')); }"
    finding.locator("summary").click()
    expect(finding).to_contain_text("of the whole run")
    slider.evaluate(go, "0")
    expect(finding).to_contain_text("of a part")
    expect(finding.locator("summary")).to_be_focused()
    with page.expect_request(JOBS):
        start.click()
    slider.evaluate(go, "")
    expect(finding).to_contain_text("of the whole run")
    expect(start).to_be_disabled()
    page.get_by_role("link", name="Quiz", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Questions on the lessons")
    held[0].fulfill(json={"jobs": [JOB | {"run": "0/found"}]})
    page.wait_for_timeout(300)
    assert "/quiz" in page.url


def test_a_slider_that_rests_at_many_places_asks_for_one_diagnosis_at_a_time(visit: Visit, site: Site) -> None:
    shutil.copytree(site.runs / HOSTILE, site.runs / "rested")
    page, held = visit("/diagnose"), list[Route]()
    page.route(re.compile(r"/api/run/diagnosis\?(?!.*until=)"), diagnose)
    page.route(re.compile(r"/api/run/diagnosis\?.*until="), lambda route: held.append(route))
    page.goto("/run?run=0/rested")
    expect(page.locator("#finding-plateau")).to_be_visible()
    slider = page.get_by_role("slider", name="Images shown")
    go = "(slider, place) => { slider.value = place; slider.dispatchEvent(new Event('input')); }"
    with page.expect_request(re.compile("until=100$")):
        slider.evaluate(go, "100")
    for place in ("200", "300", "400", "500"):
        slider.evaluate(go, place)
        page.wait_for_timeout(400)  # longer than the page waits before it asks
    assert len(held) == 1
    with page.expect_request(re.compile("until=500$")):
        diagnose(held[0])
    page.wait_for_timeout(400)
    assert [route.request.url.rpartition("=")[2] for route in held] == ["100", "500"]
    diagnose(held[1])
    expect(page.locator("#finding-plateau")).to_contain_text("of a part")


def test_new_lines_and_grids_come_while_the_page_is_open(visit: Visit, site: Site) -> None:
    run = site.runs / "live"
    shutil.copytree(site.runs / HOSTILE, run)
    page = visit("/run?run=0/live")
    page.wait_for_load_state("load")
    newest = int(page.locator(".timeline-slider").get_attribute("max") or "0")
    expect(page.locator(".chart .line").first).to_have_attribute("d", DRAWN)
    written = (run / "stats.jsonl").read_text().splitlines()[-1]
    more = json.dumps(json.loads(written) | {"nimg": newest + 5000}) + "\n"
    with (run / "stats.jsonl").open("a") as file:
        file.write(more[:40])  # half of a line waits for the rest
        file.flush()
        page.wait_for_timeout(500)
        assert page.locator(".timeline-slider").get_attribute("max") == str(newest)
        file.write(more[40:])
    expect(page.locator(".timeline-slider")).to_have_attribute("max", str(newest + 5000))
    shutil.copy(max(run.glob("fakes*.png")), run / "fakes000099.png")
    expect(page.locator(".hero-caption")).to_have_text("Generated at 99 kimg")


def test_a_quantity_can_be_added_and_taken_away(visit: Visit, long_run: Path) -> None:
    page = visit("/run?run=0/long")
    charts = page.locator(".chart")
    expect(charts.first).to_be_visible()
    count = charts.count()
    page.get_by_label("Add a quantity").select_option("seconds")
    expect(charts).to_have_count(count + 1)
    assert "add=seconds" in page.url
    page.get_by_role("button", name="Remove the chart seconds").click()
    expect(charts).to_have_count(count)


def test_runs_are_filtered_and_removed_after_a_second_yes(visit: Visit, site: Site, long_run: Path) -> None:
    shutil.copytree(site.runs / HOSTILE, site.runs / "unwanted")
    page = visit("/")
    expect(page.locator(".run-card .card-link", has_text="unwanted")).to_be_visible()
    page.get_by_role("searchbox").fill("unwan digits")
    expect(page.locator(".run-card")).to_have_count(1)
    page.wait_for_url("**q=unwan*")
    page.get_by_role("button", name="Clean up").click()
    page.get_by_label("Select unwanted").check()
    page.get_by_role("button", name="Remove…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("unwanted")
    dialog.get_by_role("button", name="Cancel").click()
    assert (site.runs / "unwanted").is_dir()
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".run-card")).to_have_count(0)
    assert not (site.runs / "unwanted").exists()
    assert long_run.is_dir()


def test_the_buttons_and_the_places_of_runs_that_train_stay_while_these_write(visit: Visit, site: Site) -> None:
    with ExitStack() as locks:
        for name in ("writes-a", "writes-b"):
            shutil.copytree(site.runs / HOSTILE, site.runs / name)
            locks.enter_context(lock_run(site.runs / name))
        page = visit("/?q=writes-")
        expect(page.locator(".run-card[data-state=training]")).to_have_count(2)
        page.get_by_role("button", name="Clean up").click()
        page.get_by_label("Select writes-a").check()
        remove = page.get_by_role("button", name="Remove…")
        remove.focus()
        with (site.runs / "writes-b" / "stats.jsonl").open("a") as file:
            file.write(json.dumps(line(7)) + "\n")
        expect(page.locator(".run-card", has_text="writes-b")).to_contain_text("8 of ")
        expect(remove).to_be_focused()
        assert page.locator(".card-link").all_text_contents() == ["writes-a", "writes-b"]


SCALES = """async () => {
    const s = await import("/static/js/scale.js");
    const y = s.scale([0, 10], [100, 0]);
    const x = (value) => value;
    return {
        ticks: s.ticks(0, 10, 4),
        small: s.ticks(0.00012, 0.00031, 4),
        one: s.ticks(3, 3, 4),
        log: s.logTicks(0.01, 100, 4),
        nearest: [s.nearest([], 1), s.nearest([1, 5, 9], 4), s.nearest([1, 5, 9], 100)],
        upTo: [s.lastUpTo([1, 5, 9], 0), s.lastUpTo([1, 5, 9], 5), s.lastUpTo([1, 5, 9], 8)],
        gap: s.linePath([0, 1, 2, 3, 4], [1, 2, null, 4, 5], 0, 4, x, y),
        alone: s.linePath([0, 1, 2, 3, 4], [1, 2, null, 4, null], 0, 4, x, y),
        sparse: s.linePath([0, 1, 2, 3, 4], [1, null, null, 4, null], 0, 4, x, y),
        log_of_zero: s.scale([1, 10], [0, 1], true)(0),
        flat: s.domain([{mean: [2, 2]}], 0, 1, false),
        nothing: s.domain([{mean: [null]}], 0, 0, true),
        zoomed: s.zoomed([0, 100], 0.5, 100, [0, 100], 1),
        whole: s.zoomed([0, 60], 2, 30, [0, 100], 1),
        shifted: s.shifted([80, 100], 0.5, [0, 100]),
        merged: s.mergeMarks(
            [{x: 30, severity: null, label: "c"}, {x: 1, severity: "note", label: "a"},
             {x: 2, severity: "failure", label: "b"}], x, 10).map((mark) => [mark.x, mark.label, mark.title]),
    };
}"""


def test_scales_ticks_and_paths(visit: Visit) -> None:
    found = visit("/diagnose").evaluate(SCALES)
    assert found == {
        "ticks": [0, 2.5, 5, 7.5, 10],
        "small": [0.00015, 0.0002, 0.00025, 0.0003],
        "one": [3],
        "log": [0.01, 0.1, 1, 10, 100],
        "nearest": [-1, 1, 2],
        "upTo": [-1, 1, 1],
        "gap": "M0 90L1 80M3 60L4 50",
        "alone": "M0 90L1 80M3 60m-1.2 0a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0",
        "sparse": "M0 90L3 60",
        "log_of_zero": None,
        "flat": [1.8, 2.2],
        "nothing": [0.1, 1],
        "zoomed": [50, 100],
        "whole": None,
        "shifted": [80, 100],
        "merged": [[2, "b +1", "a, b"], [30, "c", "c"]],
    }


PLACES = """async () => {
    const {createTime} = await import("/static/js/time.js");
    const time = createTime({at: 5000, range: null});
    const told = [];
    time.on(["at", "newest"], ({now}) => told.push(now));
    time.grow(8000);
    const kept = [time.at, time.now];
    time.grow(3000);
    return {kept, left: [time.at, time.now], last: told.at(-1)};
}"""


def test_a_place_beyond_the_end_of_a_log_that_has_become_shorter_is_left(visit: Visit) -> None:
    assert visit("/").evaluate(PLACES) == {"kept": [5000, 5000], "left": [None, 3000], "last": 3000}


KEYED = """async () => {
    const {h, keyed} = await import("/static/js/dom.js");
    const list = document.querySelector("main").appendChild(h("ul"));
    const show = (names) => keyed(list, names, (name) => name, (name) => h("li", null, h("button", null, name)));
    show(["a", "b", "c"]);
    list.children[1].firstChild.focus();
    show(["b", "c", "d"]);
    return [list.textContent, document.activeElement.textContent];
}"""


def test_the_focus_stays_where_an_element_before_it_goes(visit: Visit) -> None:
    assert visit("/diagnose").evaluate(KEYED) == ["bcd", "b"]


def test_a_slow_training_has_a_speed(visit: Visit, site: Site) -> None:
    run = Path(shutil.copytree(site.runs / HOSTILE, site.runs / "slow"))
    (run / "stats.jsonl").write_text(json.dumps(line(0) | {"seconds": 4000}) + "\n")
    page = visit("/run?run=0/slow")
    expect(page.locator(".run-facts")).to_contain_text("0.25 img/s")
    page.goto("/?q=slow")
    expect(page.locator(".card-facts")).to_contain_text("0.25 img/s")


AGAIN = """() => {
    document.dispatchEvent(new Event("reconnected"));
    return document.querySelector(".hero-frame img").alt.endsWith(" 0 kimg");
}"""
"""Whether the first grid is there, which is asked for once more."""


def test_a_grid_that_could_not_be_loaded_is_asked_for_again(visit: Visit, long_run: Path, watch: Watch) -> None:
    watch.refusals = {404}
    first = re.compile("fakes000000")
    page = visit("/run?run=0/long")
    image = page.locator(".hero-frame img")
    expect(image).to_have_attribute("alt", "Grid of images generated at 4,000 kimg")
    page.route(first, lambda route: route.fulfill(status=404))
    with page.expect_response(first):
        page.get_by_role("slider", name="Images shown").press("Home")
    page.unroute(first)
    expect(page.locator(".hero-caption")).to_have_text("Generated at 0 kimg")
    expect(image).to_have_attribute("alt", "Grid of images generated at 4,000 kimg")
    page.wait_for_function(AGAIN, polling=100)  # the browser finds only after the answer that it is no picture


RUN_PAGE = """async () => {
    const events = await import("/static/js/pages/run_events.js");
    const {ticksText} = await import("/static/js/format.js");
    const {worst} = await import("/static/js/pages/diagnose_findings.js");
    const note = (name) => ({severity: "note", name});
    return {
        joined: events.joined([{nimg: 1}], [{nimg: 1}, {nimg: 2}]).length,
        short: ticksText([-0.5, 0, 2500], 7),
        long: ticksText([-250000, 0, 250000], 7),
        verdicts: [worst([]), worst([note("too early to judge")]), worst([note("another")]),
            worst([note("too early to judge"), {severity: "warning", name: "plateau"}])],
    };
}"""


def test_labels_fit_and_a_verdict_does_not_come_too_early(visit: Visit) -> None:
    assert visit("/diagnose").evaluate(RUN_PAGE) == {
        "joined": 2,
        "short": ["-0.5", "0", "2,500"],
        "long": ["-2.5E5", "0", "2.5E5"],
        "verdicts": ["healthy", "note", "healthy", "warning"],
    }


def test_a_run_that_is_removed_while_its_page_is_open_is_said_to_be(visit: Visit, watch: Watch, site: Site) -> None:
    watch.refusals = {404}  # what the page asks for while the files go
    run = site.runs / "removed"
    shutil.copytree(site.runs / HOSTILE, run)
    plans = [{"time": 1.0 + i, "nimg": i, "event": "replanned", "kimg": 3 + i} for i in range(3)]
    (run / "events.jsonl").write_text("".join(json.dumps(plan) + "\n" for plan in plans))
    page = visit("/run?run=0/removed")
    expect(page.locator(".events li")).to_have_count(1)
    expect(page.locator(".events li")).to_contain_text("Planned anew 3 times, at last 5 kimg in all")
    expect(page.get_by_role("button", name="Evaluate")).to_be_visible()
    shutil.rmtree(run)
    expect(page.locator(".run-state")).to_have_text("removed")
    expect(page.get_by_role("button", name="Evaluate")).to_be_hidden()


def test_a_run_that_is_trained_again_under_its_name_takes_the_place_of_the_one_before(
    visit: Visit, watch: Watch, site: Site
) -> None:
    watch.refusals = {404}  # what the page asks for while there is none
    run, other = (make_run(folder, "again", lines=lines) for folder, lines in ((site.runs, 3), (site.data, 1)))
    (run / "fakes000003.png").write_bytes(PIXEL)
    page = visit("/diagnose")
    page.route(re.compile("/api/run/diagnosis"), diagnose)
    page.goto("/run?run=0/again")
    state, caption = page.locator(".run-state"), page.locator(".hero-caption")
    expect(caption).to_have_text("Generated at 3 kimg")
    run.rename(site.data / "before")
    expect(state).to_have_text("removed")
    other.rename(run)
    expect(caption).to_have_text("Generated at 0 kimg")
    expect(state).not_to_have_text("removed")
    expect(page.locator(".timeline-slider")).to_have_attribute("max", "1000")
    shutil.rmtree(site.data / "before")


def test_a_log_that_is_written_anew_takes_its_grids_and_its_length_with_it(visit: Visit, site: Site) -> None:
    run = make_run(site.runs, "shortened", lines=5)
    for kimg in (3, 5):
        (run / f"fakes{kimg:06d}.png").write_bytes(PIXEL)
    page = visit("/diagnose")
    page.route(re.compile("/api/run/diagnosis"), diagnose)
    page.goto("/run?run=0/shortened")
    slider, caption = page.locator(".timeline-slider"), page.locator(".hero-caption")
    expect(caption).to_have_text("Generated at 5 kimg")
    expect(slider).to_have_attribute("max", "5000")
    (run / "fakes000005.png").unlink()
    drop_lines_after(run / "stats.jsonl", 3000)  # as a training does that goes on from there
    expect(caption).to_have_text("Generated at 3 kimg")
    expect(slider).to_have_attribute("max", "3000")


def test_the_document_of_a_page_names_each_module_that_the_page_needs(visit: Visit, long_run: Path) -> None:
    for address in ("/run?run=0/long", "/", "/data", "/diagnose"):
        page = visit(address)
        loaded = page.evaluate("() => performance.getEntriesByType('resource').map((one) => one.name)")
        named = page.evaluate("() => [...document.querySelectorAll('link[rel=modulepreload]')].map((one) => one.href)")
        scripts = {name for name in loaded if name.endswith(".js")}
        assert scripts == {*named, f"{page.url.split('/')[0]}//{page.url.split('/')[2]}/static/js/theme.js"}, address
