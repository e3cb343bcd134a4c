"""The server: runs and their changes as they happen, streams that go on where they ended, the command."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from serving import PIXEL, Served, line, make_run, serving
from support import tiny

from ganvas.errors import GanvasError
from ganvas.runs.lock import lock_run
from ganvas.runs.log import append_event, append_json, append_text, drop_lines_after, read_last
from ganvas.studio import server
from ganvas.studio.runs import last_finding
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


@pytest.fixture
def served(runs: Path) -> Iterator[Served]:
    with serving(runs) as one:
        yield one


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
    import shutil

    make_run(runs, "b", lines=2)
    with served.stream("/api/run/stream?run=0/b") as events:
        events.next("card")
        shutil.rmtree(runs / "b")
        assert events.next("gone")[1] == {}
        make_run(runs, "b", lines=1)
        assert events.next("reset")
        assert events.next("card")


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
    ],
)
def test_severity_is_that_of_what_was_found_last(runs: Path, events: list[tuple[str, Any]], severity: str) -> None:
    from ganvas.runs.folder import Run

    for name, value in events:
        append_event(runs / "a", name, 0, severity=value, summary=f"a {value}", quantities=["D/loss"])
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


def test_several_folders_a_run_itself_and_one_that_is_missing(runs: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "more", "a", lines=1)
    with serving(runs / "a", tmp_path / "more", tmp_path / "later") as served:
        assert {card["run"] for card in served.get("/api/runs").json["runs"]} == {"0/.", "1/a"}
        assert served.get("/api/run?run=0/.").json["name"] == "a"
        make_run(tmp_path / "later", "b")
        served.studio.runs._searched = 0
        assert "2/b" in {card["run"] for card in served.get("/api/runs").json["runs"]}


def test_a_bug_is_answered_and_printed(served: Served, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(served.studio.runs, "cards", lambda: 1 / 0)
    reply = served.get("/api/runs")
    assert reply.status == 500
    assert "ZeroDivisionError" in reply.json["error"]["what"]
    assert "division by zero" not in reply.body.decode()
    printed, began = "", time.monotonic()
    while "ZeroDivisionError" not in printed and time.monotonic() - began < 5:  # after the answer
        printed += capfd.readouterr().err
    assert "ZeroDivisionError" in printed


def test_methods_and_addresses_that_there_are_not(served: Served) -> None:
    assert served.get("/nosuch").json["error"]["what"].startswith("GET /nosuch")
    assert served.get("/api/runs", "POST", b"{}", token=served.studio.token).status == 405


# The command


def start(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganvas", "studio", *map(str, arguments), "--no-open"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def read_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, process.communicate()
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_small_and_ends_cleanly_with_streams_open(runs: Path, number: int) -> None:
    process = start("--port", 0, folder=runs.parent)
    address = read_address(process)
    base = address.partition("?")[0]
    with urllib.request.urlopen(f"{base}api/runs/stream") as stream, urllib.request.urlopen(f"{base}api/runs") as reply:
        assert len(json.load(reply)["runs"]) == 1
        assert b"retry" in stream.readline()
        with suppress(FileNotFoundError):  # Linux
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            assert found
            assert int(found[1]) < 60_000
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
            assert "libtorch" not in mapped
            assert "numpy" not in mapped
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    assert err == "ganvas: the studio has ended\n"


@pytest.mark.slow
def test_a_taken_port_is_said_to_be_and_another_one_is_used_if_none_was_asked_for(runs: Path) -> None:
    """Two studios on one folder work."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start("--port", port, folder=runs.parent)
        _, err = done.communicate(timeout=30)
        assert done.returncode == 1
        assert f"Port {port} is taken by another program." in err
        assert "leave --port out" in err
    both = [start(folder=runs.parent) for _ in range(2)]
    try:
        addresses = [read_address(process).partition("?")[0] for process in both]
        assert len(set(addresses)) == 2
        for address in addresses:
            with urllib.request.urlopen(f"{address}api/runs") as reply:
                assert len(json.load(reply)["runs"]) == 1
    finally:
        for process in both:
            process.terminate()
        said = [process.communicate(timeout=20)[1] for process in both]
    assert any("is taken: this studio is on port" in text for text in said)


def test_the_next_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(server, "PORT", port)
        with server._bind("127.0.0.1", None) as found:
            assert port < found.getsockname()[1] < port + server.PORTS_TRIED
        monkeypatch.setattr(server, "PORTS_TRIED", 1)
        with pytest.raises(GanvasError, match="are all taken"):
            server._bind("127.0.0.1", None)


def test_without_the_extra_the_command_names_it(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(GanvasError, match=re.escape("pip install 'ganvas[studio]'")):
        server.serve([runs])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "192.0.2.1"}, "no address of this machine"),
        ({"host": "nosuch.invalid"}, "no address of this machine"),
        ({"host": ""}, "no address of this machine"), ({"host": 3}, "host is 3"), ({"port": 65536}, "port is 65536"),
        ({"port": -1}, "port is -1"), ({"trainings": 0}, "trainings is 0"), ({"folders": []}, "No folder"),
        ({"folders": 7}, "folders are int"), ({"folders": ["file"]}, "file is no folder"),
        ({"folders": ["a\0b"]}, "not a path"),
        ({"data": ["nosuch"]}, "There is no folder nosuch"), ({"data": ["file"]}, "file is no folder"),
        ({"open": 1}, "open is 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(arguments: dict[str, Any], message: str) -> None:
    Path("file").touch()
    with pytest.raises(GanvasError, match=message):
        server.serve(**{"open": False, "port": 0} | arguments)


def test_a_browser_is_opened_only_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    server._open("x")
    monkeypatch.setenv("DISPLAY", ":0")
    server._open("y")
    assert opened == ["y"]


def test_the_server_needs_neither_pytorch_nor_numpy() -> None:
    code = "import sys, ganvas.studio.listening, ganvas.studio.app; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_last_line_of_a_log_is_found_however_long_it_is(tmp_path: Path) -> None:
    log = tmp_path / "stats.jsonl"
    for size in (10, 2**14 - 20, 2**14 + 20, 2**17):
        log.write_text('{"nimg": 1}\n' + json.dumps({"nimg": 2, "x": "a" * size}) + "\n")
        assert read_last(log)["nimg"] == 2
        append_text(log, '{"nimg": 3, "half')
        assert read_last(log)["nimg"] == 2
