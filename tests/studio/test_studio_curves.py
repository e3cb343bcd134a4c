"""The columns of stats.jsonl: read on, buckets that keep peaks and gaps, damage, and how long a long log takes."""

import json
import math
import os
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from serving import line, make_run, serving

from ganvas.diagnosis.history import Facts, History
from ganvas.studio.curves import SAMPLED, Columns, Curves
from ganvas.studio.tail import NOT_FINITE, Tail, end_of_lines, parse_stats


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "stats.jsonl"


def write(log: Path, lines: list[dict[str, Any]], mode: str = "w") -> None:
    with log.open(mode) as file:
        file.writelines(json.dumps(one) + "\n" for one in lines)


def read(log: Path) -> Columns:
    columns = Columns(log)
    columns.read_on()
    return columns


def test_half_a_line_waits_for_its_other_half(log: Path) -> None:
    text = json.dumps(line(1)) + "\n"
    log.write_text(text[:20])
    columns = read(log)
    assert not columns.nimg
    with log.open("a") as file:
        file.write(text[20:])
    columns.read_on()
    assert list(columns.nimg) == [1000]
    assert columns.damaged == 0
    assert columns.tail.offset == len(text) == end_of_lines(log)


def test_only_new_lines_are_read(log: Path) -> None:
    write(log, [line(1), line(2)])
    tail = Tail(log)
    assert [parse_stats(text)[0] for text, _ in tail.read()] == [1000, 2000]
    write(log, [line(3)], "a")
    assert [parse_stats(text)[0] for text, _ in tail.read()] == [3000]
    assert not list(tail.read())
    assert not tail.replaced


@pytest.mark.parametrize("how", ["another file", "shorter", "written again in place", "removed"])
def test_file_that_was_replaced_is_read_anew(log: Path, how: str) -> None:
    write(log, [line(1), line(2), line(3)])
    columns = read(log)
    if how == "another file":
        write(log.with_name("new"), [line(7)] * 3 + [line(8)] * 3)
        os.replace(log.with_name("new"), log)
    elif how == "shorter":
        write(log, [line(7), line(8)])
    elif how == "written again in place":
        write(log, [line(7), *([line(8)] * 6)])
    else:
        log.unlink()
    columns.read_on()
    assert columns.tail.replaced
    assert list(columns.nimg) == ([] if how == "removed" else [7000, 8000])
    assert len(columns.mean.get("D/loss", [])) == len(columns.nimg)


def test_damaged_lines_are_counted_and_skipped(log: Path) -> None:
    long = b'{"nimg": 1, "x": "' + b"a" * 2**20 + b'"}\n'
    deep = b'{"nimg": 3, "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"
    digits = b'{"nimg": 5, "x": ' + b"9" * 5000 + b"}\n"
    bad = [b"{}\n", b"[1]\n", b"null\n", b'{"nimg": -1}\n', b'{"nimg": true}\n', b"\xff\xfe\n", b"nonsense\n"]
    good = json.dumps(line(9)).encode() + b"\n"
    log.write_bytes(b"\n".join([b"", *bad]) + long + deep + digits + good + b'{"nimg": 10000, "D/lo')
    columns = read(log)
    assert list(columns.nimg) == [9000]
    assert columns.damaged == len(bad) + 3


def test_lines_that_a_resumed_training_wrote_again_count_once(log: Path) -> None:
    write(log, [line(1), line(2), line(3), line(2, **{"D/loss": 9.0}), line(4)])
    columns = read(log)
    assert list(columns.nimg) == [1000, 2000, 4000]
    assert columns.mean["D/loss"][1] == 9


def test_names_are_those_of_a_diagnosis(log: Path) -> None:
    lines = [line(1), line(2, quality=0.2)]
    write(log, lines)
    names = History.from_stats(lines, Facts()).columns
    assert set(read(log).mean) == {name for name in names if not name.endswith("/std") and name != "nimg"}


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999", "null", '{"mean": null, "std": 1.0}'])
def test_what_is_not_finite_is_a_gap(log: Path, written: str) -> None:
    log.write_text(f'{{"nimg": 1, "x": 1.0}}\n{{"nimg": 2, "x": {written}}}\n{{"nimg": 3, "x": 3.0}}\n')
    series = read(log).curves(["x"], 0, None, 10)["series"]["x"]
    assert series["mean"] == [1.0, None, 3.0]
    assert parse_stats(b'{"nimg": 2, "x": null}')[1] == {"x": NOT_FINITE}


def test_buckets_keep_peaks_and_gaps(log: Path) -> None:
    lines = [{"nimg": i, "x": 1.0, "y": 0.0} for i in range(1, 5001)]
    lines[1234]["x"], lines[4321]["x"], lines[2500]["y"] = 100.0, -50.0, None
    write(log, lines)
    found = read(log).curves(["x", "y", "nosuch"], 0, None, 100)
    x, y = found["series"]["x"], found["series"]["y"]
    assert found["bucketed"]
    assert len(found["nimg"]) == len(x["mean"]) == 100
    assert max(x["high"]) == 100
    assert min(x["low"]) == -50
    assert y["mean"].count(None) == 1
    assert None not in y["low"]
    assert found["nimg"] == sorted(found["nimg"])
    assert "nosuch" not in found["series"]


def test_zoomed_in_every_line_is_there_with_its_deviation(log: Path) -> None:
    write(log, [line(i) for i in range(1, 2001)])
    found = read(log).curves(["D/loss"], 500_000, 520_000, 600)
    assert found["nimg"] == [1000 * i for i in range(500, 521)]
    assert not found["bucketed"]
    series = found["series"]["D/loss"]
    assert (series["low"][0], series["mean"][0], series["high"][0]) == (500.25, 500.5, 500.75)


def test_a_quantity_that_comes_late_or_seldom_is_at_its_own_lines(log: Path) -> None:
    write(log, [line(i, **({"quality": i / 10} if i % 3 == 0 else {})) for i in range(1, 8)])
    quality = read(log).curves(["quality"], 0, None, 100)["series"]["quality"]["mean"]
    assert [value and round(value, 6) for value in quality] == [None, None, 0.3, None, None, 0.6, None]


def test_panels_are_those_with_something_to_see(log: Path) -> None:
    write(log, [line(i, **{"D/updates": 1, "G/updates": 1, "D/skipped": 0, "memory": 3}) for i in range(1, 4)])
    columns = read(log)
    keys = {panel["title_key"] for panel in columns.panels()}
    assert keys == {"losses", "speed", "memory", "diversity"}
    write(log, [line(4, **{"D/updates": 1, "G/updates": 2, "D/skipped": 5})], "a")
    columns.read_on()
    assert {panel["title_key"] for panel in columns.panels()} == keys | {"updates", "skipped"}


def test_every_panel_of_the_figure_has_a_key() -> None:
    from ganvas.runs.curves import PANELS
    from ganvas.studio.curves import _KEYS

    assert PANELS.keys() == _KEYS.keys()
    assert len(set(_KEYS.values())) == len(_KEYS)


def test_columns_that_are_kept_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.studio.curves.MAX_KEPT", 4000)
    curves = Curves()
    for i in range(8):
        run = make_run(tmp_path, f"run{i}", lines=50)
        assert curves.read(run, [], 0, None, 10)["total_lines"] == 50
    assert sum(columns.size for columns in curves._kept.values()) <= 4000 + 50 * 4 * 9
    assert len(curves._kept) < 5


def test_a_first_look_at_a_long_log_takes_lines_all_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, "long", lines=3000)
    with (run / "stats.jsonl").open("a") as file:
        file.write('{"nimg": 99')
    monkeypatch.setattr("ganvas.studio.curves.LONG", 10_000)
    curves = Curves()
    found = curves.look(run, 600)
    whole = Curves().read(run, [], 0, None, 5000)
    assert found["sampled"]
    assert 300 < found["total_lines"] <= SAMPLED
    places = {nimg: i for i, nimg in enumerate(whole["nimg"])}
    steps = [places[nimg] for nimg in found["nimg"]]
    assert steps == sorted(set(steps))
    assert max(b - a for a, b in pairwise([0, *steps, 2999])) < 30
    for name, series in found["series"].items():
        assert series["mean"] == [whole["series"][name]["mean"][i] for i in steps]
    assert found["panels"] == whole["panels"]
    assert curves.progress(run)["done"] == 0

    curves.read(run, [], 0, None, 10)
    assert "sampled" not in curves.look(run, 600)
    short = make_run(tmp_path, "short", lines=20)
    assert "sampled" not in curves.look(short, 600)


def test_endpoint(tmp_path: Path) -> None:
    make_run(tmp_path, "a", lines=30)
    with serving(tmp_path) as served:
        size = (tmp_path / "a" / "stats.jsonl").stat().st_size
        assert served.get("/api/run/curves/progress?run=0/a").json == {"done": 0, "total": size}
        found = served.get("/api/run/curves?run=0/a&points=10").json
        assert served.get("/api/run/curves/progress?run=0/a").json == {"done": size, "total": size}
        assert found["total_lines"] == 30
        assert len(found["nimg"]) == 10
        assert found["series"].keys() == {"D/loss", "kimg_per_s", "diversity"}
        assert "seconds" in found["names"]
        assert served.get("/api/run/curves?run=0/a&names=seconds&from=5000&to=6000").json["series"]["seconds"][
            "mean"
        ] == [
            2.5,
            3.0,
        ]
        for wrong in ("points=0.5", "from=-1", "to=nan", "points=999999", "from=²"):
            assert served.get(f"/api/run/curves?run=0/a&{wrong.encode().decode('latin-1')}").status == 400, wrong
        for path in ("curves", "curves/look", "curves/progress"):
            assert served.get(f"/api/run/{path}?run=0/nosuch").status == 404


def test_a_reading_that_is_stopped_goes_on_later(log: Path) -> None:
    write(log, [line(number) for number in range(1, 21)])
    stop = threading.Event()
    stop.set()
    columns = Columns(log)
    columns.read_on(stop)
    assert list(columns.nimg) == [1000]
    columns.read_on()
    assert list(columns.nimg) == [1000 * number for number in range(1, 21)]
    assert not columns.tail.replaced
    assert len(columns.mean["D/loss"]) == 20


def test_the_log_of_a_page_that_has_gone_is_read_no_further(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    write(run / "stats.jsonl", [line(number) for number in range(1, 60_001)])
    with serving(tmp_path) as served:
        with served.connect() as page:
            page.sendall(f"GET /api/run/curves?run=0/a HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
            ended = time.monotonic() + 20
            while not served.get("/api/run/curves/progress?run=0/a").json["done"]:
                assert time.monotonic() < ended
        time.sleep(0.2)
        progress = served.get("/api/run/curves/progress?run=0/a").json
        time.sleep(0.2)
        assert served.get("/api/run/curves/progress?run=0/a").json == progress
        assert progress["done"] < progress["total"]
        assert served.get("/api/run/curves?run=0/a").json["total_lines"] == 60_000


def test_a_long_log_takes_less_than_a_second(log: Path) -> None:
    many = {f"q{i}": math.sin(i) for i in range(40)}
    text = json.dumps(line(1, signals=many))[len('{"nimg": 1000') :]
    with log.open("w") as file:
        file.writelines(f'{{"nimg": {1000 * i}{text}\n' for i in range(1, 10_001))
    began = time.process_time()
    columns = read(log)
    found = columns.curves(["D/loss", *(f"q{i}" for i in range(16))], 0, None, 600)
    taken = time.process_time() - began
    assert len(columns.nimg) == 10_000
    assert len(found["nimg"]) == 600
    assert columns.size < 4e6
    assert taken < 1.5, taken  # 0.4 s on a machine with nothing else to do
