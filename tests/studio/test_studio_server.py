"""The server: runs and their changes as they happen, streams that go on where they ended, the command."""

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from serving import PIXEL, Served, line, make_run, serving
from support import tiny

from ganvas.runs.folder import Run
from ganvas.runs.lock import lock_run
from ganvas.runs.log import append_event, append_json, append_text, drop_lines_after, read_last
from ganvas.runs.overview import find_runs
from ganvas.studio.runs import last_finding
from ganvas.studio.streams import _RunNews
from ganvas.training.start import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was really trained."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        train(tiny(), out=out, quiet=True)
    return out


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs", "a", lines=5)
    return tmp_path / "runs"


def test_a_card_and_a_run_say_what_ganvas_runs_says(trained: Path) -> None:
    from ganvas.runs.overview import list_runs

    summary = list_runs(trained)[0]
    with serving(trained) as served:
        card = served.get("/api/runs").json["runs"][0]
        assert (card["state"], card["recipe"], card["data"]) == (summary.state, summary.recipe, summary.data)
        assert (card["nimg"], card["total"]) == (1000 * summary.kimg, 1000 * summary.total_kimg)
        assert (card["quality"], card["bytes"], card["snapshots"]) == (
            summary.quality,
            summary.bytes,
            summary.snapshots,
        )
        assert card["shape"] == [8, 8, 1]
        assert served.get(card["grid"]).headers["content-type"] == "image/png"
        run = served.get(f"/api/run?run={card['run']}").json
        assert run.items() >= {name: value for name, value in card.items() if name != "snapshots"}.items()
        assert run["config"]["network"]["family"] == "mlp"
        assert run["knobs"]["batch"] == 20
        assert run["command"].startswith("ganvas train ")
        assert [snapshot["nimg"] for snapshot in run["snapshots"] if not snapshot["best"]] == [200]
        assert [grid["nimg"] for grid in run["grids"]] == sorted(grid["nimg"] for grid in run["grids"])
        assert run["events"][-1]["event"] == "done"
        for url in (run["reals"], run["grids"][0]["url"]):
            assert served.get(url).body.startswith(b"\x89PNG")
        assert not run["files_damaged"]


def test_files_are_kept_by_the_browser_and_asked_for_again_where_they_change(served: Served, runs: Path) -> None:
    grid = served.get("/api/run?run=0/a").json["grids"][0]["url"]
    first = served.get(grid)
    assert "immutable" in first.headers["cache-control"]
    assert served.get(grid, if_none_match=first.headers["etag"]).status == 304
    (runs / "a" / "fakes000000.png").write_bytes(PIXEL + b" ")
    assert served.get("/api/run?run=0/a").json["grids"][0]["url"] != grid
    changed = served.get(grid, if_none_match=first.headers["etag"])
    assert changed.status == 200
    assert "no-cache" in changed.headers["cache-control"]


def test_static_files_have_their_types(served: Served) -> None:
    types = {
        "/static/js/main.js": "text/javascript",
        "/static/css/base.css": "text/css",
        "/favicon.ico": "image/svg+xml",
    }
    for path, kind in types.items():
        reply = served.get(path)
        assert reply.headers["content-type"].startswith(kind)
        assert reply.headers["cache-control"] == "no-cache"
        assert served.get(path, if_none_match=reply.headers["etag"]).status == (304 if "static" in path else 200)


@pytest.mark.parametrize("damage", ["config.json", "stats.jsonl", "events.jsonl", "card", "empty"])
def test_a_damaged_run_is_listed_with_its_problem(trained: Path, tmp_path: Path, damage: str) -> None:
    import shutil

    run = next(trained.iterdir())
    shutil.copytree(run, tmp_path / "runs" / "x", ignore=shutil.ignore_patterns("training.*"))
    path = tmp_path / "runs" / "x"
    if damage == "card":
        next(path.glob("snapshots/0*/card.json")).write_text("{")
    elif damage == "empty":
        for file in path.glob("*.*"):
            file.write_bytes(b"")
    else:
        (path / damage).write_bytes(b"\xff\x00nonsense\n" * 3)
    with serving(tmp_path / "runs") as served:
        card = served.get("/api/runs").json["runs"][0]
        run_ = served.get("/api/run?run=0/x")
        curves = served.get("/api/run/curves?run=0/x")
        assert (run_.status, curves.status) == (200, 200)
        assert card["problem"] or run_.json["files_damaged"] or curves.json["damaged"] == 3
        assert card["state"] == ("unreadable" if damage in ("config.json", "card", "empty") else "complete")


def test_new_changed_and_removed_runs_arrive_within_a_second(served: Served, runs: Path) -> None:
    import shutil

    with served.stream("/api/runs/stream") as events:
        assert [card["run"] for card in events.next("runs")[1]["changed"]] == ["0/a"]
        began = time.monotonic()
        make_run(runs, "b", lines=1)
        while "0/b" not in [card["run"] for card in events.next("runs")[1]["changed"]]:
            pass
        append_json(runs / "a" / "stats.jsonl", line(6))
        while [card["nimg"] for card in events.next("runs")[1]["changed"] if card["run"] == "0/a"] != [6000]:
            pass
        with lock_run(runs / "a"):
            append_json(runs / "a" / "stats.jsonl", line(7, kimg_per_s=3.5))
            card = events.next("runs")[1]["changed"][0]
            assert (card["state"], card["images_per_s"]) == ("training", 3500)
            assert card["seconds_left"] == pytest.approx((40_000 - 7000) / 3500)
        shutil.rmtree(runs / "b")
        while "0/b" not in events.next("runs")[1]["removed"]:
            pass
        assert time.monotonic() - began < 10


def test_a_list_goes_on_where_it_ended(served: Served, runs: Path) -> None:
    with served.stream("/api/runs/stream") as events:
        events.next("runs")
    make_run(runs, "b")
    served.get("/api/runs")
    with served.stream("/api/runs/stream", Last_Event_ID=events.id) as events:
        assert [card["run"] for card in events.next("runs")[1]["changed"]] == ["0/b"]
    for odd in ("x-1", f"{served.studio.runs.start}-²".encode().decode("latin-1"), "-", "9" * 400):
        with served.stream("/api/runs/stream", Last_Event_ID=odd) as events:
            assert len(events.next("runs")[1]["changed"]) == 2


def test_a_run_is_followed_line_by_line(served: Served, runs: Path) -> None:
    run, after = runs / "a", served.get("/api/run?run=0/a").json["position"]
    with served.stream(f"/api/run/stream?run=0/a&after={after}") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        assert events.next()[0] == "card"
        text = json.dumps(line(6)) + "\n"
        began = time.monotonic()
        append_text(run / "stats.jsonl", text[:30])  # half of a line waits
        time.sleep(0.6)
        append_text(run / "stats.jsonl", text[30:])
        data = events.next("lines")[1]
        assert time.monotonic() - began < 3
        assert data["nimg"] == [6000]
        assert data["series"]["D/loss"] == {"mean": [6.5], "low": [6.25], "high": [6.75]}
        (run / "fakes000006.png").write_bytes(PIXEL)
        assert events.next("grid")[1]["nimg"] == 6000
        append_event(run, "resume", 6000)
        assert events.next("event")[1]["event"] == "resume"
        append_json(run / "metrics.jsonl", {"values": {}})
        assert events.next("evaluation")[1] == {"values": {}}
    last = events.id
    append_json(run / "stats.jsonl", line(7))
    append_event(run, "done", 7000)
    (run / "fakes000007.png").write_bytes(PIXEL)
    with served.stream("/api/run/stream?run=0/a&after=0", Last_Event_ID=last) as events:
        assert events.next("lines")[1]["nimg"] == [7000]
        assert events.next("grid")[1]["nimg"] == 7000
        assert events.next("event")[1]["event"] == "done"
    assert events.id.split("-")[0] == str((run / "stats.jsonl").stat().st_size)


def test_a_log_that_was_written_anew_is_said_to_be(served: Served, runs: Path) -> None:
    with served.stream("/api/run/stream?run=0/a&after=0") as events:
        assert events.next("lines")[1]["nimg"] == [1000, 2000, 3000, 4000, 5000]
        drop_lines_after(runs / "a" / "stats.jsonl", 3000)  # as a resumed training does
        assert events.next("reset")[1] == {}
        append_json(runs / "a" / "stats.jsonl", line(4))
        assert events.next("lines")[1]["nimg"] == [4000]
    with served.stream("/api/run/stream?run=0/a&after=999999") as events:
        assert events.next()[0] == "reset"


@pytest.mark.parametrize("place", ["position", "id"])
def test_a_longer_log_in_the_place_of_one_whose_page_was_hidden_is_said_to_be_another(
    served: Served, runs: Path, place: str
) -> None:
    last = served.get("/api/run?run=0/a").json["position"]
    if place == "id":
        with served.stream(f"/api/run/stream?run=0/a&after={last}") as events:
            append_json(runs / "a" / "stats.jsonl", line(6))
            events.next("lines")
        last = events.id
    with served.stream(f"/api/run/stream?run=0/a&after={last}") as events:
        assert events.next()[0] == "card", "it is the same"
    (runs / "a" / "stats.jsonl").unlink()
    for i in range(20):
        append_json(runs / "a" / "stats.jsonl", line(i + 100))
    with served.stream("/api/run/stream?run=0/a", Last_Event_ID=last) as events:
        assert events.next()[:2] == ("reset", {})
    with served.stream("/api/run/stream?run=0/a", Last_Event_ID=events.id) as events:
        assert events.next()[0] == "card"


def test_events_that_were_written_anew_are_not_sent_twice(served: Served, runs: Path) -> None:
    run = runs / "a"
    append_event(run, "planned", 1000)
    append_event(run, "interrupted", 5000)
    after = served.get("/api/run?run=0/a").json["position"]
    with served.stream(f"/api/run/stream?run=0/a&after={after}") as events:
        assert events.next()[0] == "card"
        append_event(run, "resume", 5000)
        assert events.next("event")[1]["event"] == "resume"
        drop_lines_after(run / "events.jsonl", 3000)  # as a resumed training does
        assert events.next()[:2] == ("reset", {})
        append_event(run, "done", 7000)
        assert events.next("event")[1]["event"] == "done"


def test_a_run_that_goes_is_said_to_be_gone_and_ends_no_stream(served: Served, runs: Path) -> None:
    make_run(runs, "b", lines=2)
    with served.stream("/api/run/stream?run=0/b") as events:
        events.next("card")
        (runs / "b").rename(runs.parent / "b")  # at once: while files go one by one, a look could fall between them
        assert events.next("gone")[1] == {}
        make_run(runs, "b", lines=1)
        assert events.next()[0] == "reset"
        assert events.next("card")[1]["nimg"] == 1000


def test_a_run_that_was_read_while_it_went_is_read_again_when_it_is_back(served: Served, runs: Path) -> None:
    run = make_run(runs, "b", lines=2)
    news = _RunNews(served.studio, "0/b", "").news
    served.studio.runs.look()
    assert [event.split()[1] for event in news()] == [b"card"]
    append_event(run, "planned", 1000)
    served.studio.runs.look()
    run.rename(runs.parent / "b")
    assert b"reset" in b"".join(news()), "the logs are gone, the run was there at the last look"
    served.studio.runs.look()
    assert news() == [b"event: gone\ndata: {}\n\n"]
    assert news() == []
    make_run(runs, "b", lines=1)
    served.studio.runs.look()
    first, *others = news()
    assert b"event: reset" in first
    assert b"event: card" in others[-1]
    assert b"event: lines" not in b"".join(others), "the page reads them"


def test_a_run_that_was_idle_for_long_is_still_seen_within_a_second(
    served: Served, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.studio.runs.IDLE_SECONDS", -1.0)
    with served.stream("/api/runs/stream") as events:
        events.next("runs")
        for i in (6, 7, 8):
            began = time.monotonic()
            append_json(runs / "a" / "stats.jsonl", line(i))
            assert events.next("runs")[1]["changed"][0]["nimg"] == 1000 * i
            assert time.monotonic() - began < 3  # 1 s on a machine with nothing else to do


def test_many_pages_share_one_look_at_the_files(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    with serving(runs) as served:
        look = served.studio.runs.look
        monkeypatch.setattr(served.studio.runs, "look", lambda **how: (looks.append(time.monotonic()), look(**how))[1])
        streams = [served.stream("/api/runs/stream") for _ in range(20)]
        for one in streams:
            one.__enter__().next("runs")
        looks.clear()
        time.sleep(2)
        assert 3 < len(looks) < 10
        for one in streams:
            one.__exit__(None, None, None)
        time.sleep(0.7)
        looks.clear()
        time.sleep(0.7)
        assert not looks  # nobody watches


@pytest.mark.parametrize(
    ("events", "severity"),
    [
        ([], "healthy"),
        ([("diagnosis", "note")], "note"),
        ([("diagnosis", "failure"), ("diagnosis", "note")], "failure"),
        ([("diagnosis", "warning"), ("rollback", "")], "healthy"),
        ([("rollback", ""), ("diagnosis", "warning")], "warning"),
        ([("diagnosis", "warning"), ("non-finite", "")], "failure"),
        ([("diagnosis", "???"), ("diagnosis", ["x"])], "healthy"),
        ([("diagnosis", "failure"), ("diagnosis", "warning"), ("diagnosis over", "failure")], "warning"),
        ([("diagnosis", "warning"), ("diagnosis over", "warning"), ("diagnosis", "warning")], "warning"),
        ([("diagnosis", "warning"), ("diagnosis over", "warning")], "healthy"),
        ([("diagnosis", "warning"), ("resume", "")], "warning"),
        ([("diagnosis", "warning"), ("non-finite", ""), ("resume", "")], "warning"),
    ],
)
def test_severity_is_that_of_what_was_found_last(runs: Path, events: list[tuple[str, Any]], severity: str) -> None:

    for name, value in events:
        append_event(runs / "a", name, 0, name=value, severity=value, summary=f"a {value}", quantities=["D/loss"])
    found = last_finding(Run(runs / "a"))
    assert found[0] == severity
    assert bool(found[1]) == (severity != "healthy")


def test_a_hundred_runs_are_listed_in_a_second(tmp_path: Path) -> None:
    for i in range(100):
        run = make_run(tmp_path / "runs", f"{i:05d}", lines=1)
        (run / "stats.jsonl").write_bytes(json.dumps(line(1)).encode() + b"\n" + b"x" * 2_000_000 + b"\n")
        append_json(run / "stats.jsonl", line(2))
    with serving(tmp_path / "runs") as served:
        began = time.process_time()
        cards = served.get("/api/runs").json["runs"]
        first, began = time.process_time() - began, time.process_time()
        assert {card["nimg"] for card in cards} == {2000}
        assert len(served.get("/api/runs").json["runs"]) == len(cards) == 100
        again = time.process_time() - began
    assert first < 2, first  # 0.4 s on a machine with nothing else to do
    assert again < 0.3, again


def test_what_lies_in_uploads_is_not_listed(runs: Path) -> None:
    make_run(runs / "uploads", "z", lines=1)
    make_run(runs / "comparisons" / "c" / "runs", "d", lines=1)
    with serving(runs) as served:
        assert {card["run"] for card in served.get("/api/runs").json["runs"]} == {"0/a", "0/comparisons/c/runs/d"}


def test_of_many_plain_files_none_is_looked_at_in_a_search(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = runs / "uploads" / "pictures"
    sent.mkdir(parents=True)
    for i in range(50):
        (sent / f"{i}.png").write_bytes(PIXEL)
    (runs / "linked").symlink_to(runs / "a")
    (runs / "loop").symlink_to(runs / "loop")
    (runs / "file").symlink_to(sent / "0.png")
    isdir, asked = os.path.isdir, list[str]()
    monkeypatch.setattr(os.path, "isdir", lambda path: (asked.append(Path(path).name), isdir(path))[1])
    assert list(find_runs(runs)) == [runs / "a", runs / "linked"]
    assert not [name for name in asked if name.endswith(".png")]


def test_several_folders_a_run_itself_and_one_that_is_missing(runs: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "more", "a", lines=1)
    with serving(runs / "a", tmp_path / "more", tmp_path / "later") as served:
        assert {card["run"] for card in served.get("/api/runs").json["runs"]} == {"0/.", "1/a"}
        assert served.get("/api/run?run=0/.").json["name"] == "a"
        make_run(tmp_path / "later", "b")
        served.studio.runs._searched = 0
        assert "2/b" in {card["run"] for card in served.get("/api/runs").json["runs"]}


def test_a_bug_is_answered_and_printed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", printed)
    monkeypatch.setattr(served.studio.runs, "cards", lambda: 1 / 0)
    reply = served.get("/api/runs")
    assert reply.status == 500
    assert "ZeroDivisionError" in reply.json["error"]["what"]
    assert "division by zero" not in reply.body.decode()
    began = time.monotonic()
    while "ZeroDivisionError" not in printed.getvalue() and time.monotonic() - began < 5:  # after the answer
        time.sleep(0.01)
    assert "ZeroDivisionError" in printed.getvalue()


def test_methods_and_addresses_that_there_are_not(served: Served) -> None:
    assert served.get("/nosuch").json["error"]["what"].startswith("GET /nosuch")
    assert served.get("/api/runs", "POST", b"{}", token=served.studio.token).status == 405
    shown = served.get("/nosuch", accept="text/html,*/*;q=0.8")  # as a browser asks for a page
    assert shown.status == 404
    assert shown.body == served.get("/").body
    assert served.get("/api/nosuch", accept="text/html,*/*;q=0.8").json["error"]


def test_the_last_line_of_a_log_is_found_however_long_it_is(tmp_path: Path) -> None:
    log = tmp_path / "stats.jsonl"
    for size in (10, 2**14 - 20, 2**14 + 20, 2**17):
        log.write_text('{"nimg": 1}\n' + json.dumps({"nimg": 2, "x": "a" * size}) + "\n")
        assert read_last(log)["nimg"] == 2
        append_text(log, '{"nimg": 3, "half')
        assert read_last(log)["nimg"] == 2
