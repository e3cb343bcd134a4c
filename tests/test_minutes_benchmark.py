"""benchmarks/minutes.py: its cells, its curves and its report, from made-up results; hardly anything is trained."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganvas
from ganvas import GanvasError
from ganvas.data import ImageSet

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def make_result(method: str, minutes: float, seed: int, values: dict[float, float]) -> dict[str, Any]:
    marks = [
        {"minutes": mark, "seconds": 60 * mark, "cpu_seconds": 110 * mark, "images": int(1000 * mark),
         "VGG-19": value, "SqueezeNet": 50 * value, "eye": value / 40}
        for mark, value in values.items()
    ]  # fmt: skip
    return {
        "set": "kaokore", "method": method, "minutes": minutes, "seed": seed,
        "protocol": {"command": f"{method} --batch 16", "threads": 2, "trained on": 2000, "reals": 2000},
        "machine": {"cores": 2, "processor": "a CPU", "load before": 0.1 + seed},
        "floors": {"VGG-19": 3.0, "SqueezeNet": 384.0, "eye": 0.077},
        "marks": marks, "grids": {f"{minutes:g}": f"grids/kaokore-{method}-{minutes:g}-{seed}.webp"},
    }  # fmt: skip


def test_the_plan_names_each_cell_once_and_only_cells_that_can_be() -> None:
    from minutes_parts.cells import PLAN
    from minutes_parts.methods import METHODS, suits
    from minutes_parts.sets import SETS

    assert len({cell.name for cell in PLAN}) == len(PLAN)
    assert {cell.method for cell in PLAN} == set(METHODS)
    assert {cell.set_name for cell in PLAN} == set(SETS)
    assert all(suits(cell.method, cell.set_name) for cell in PLAN)


def test_options_choose_planned_cells_and_all_four_name_any() -> None:
    from minutes_parts.cells import Cell, choose

    chosen = choose("kaokore", "fast", None, None, None)
    assert {cell.minutes for cell in chosen} == {3, 10, 30}
    assert {cell.seed for cell in chosen} == {0, 1, 2}
    assert choose("kaokore", "fast", 10, 5, None) == [Cell("kaokore", "fast", 10, 5)]
    assert {cell.set_name for cell in choose(None, None, None, None, "mnist-*-30-0")} == {"mnist"}
    assert choose("kaokore", "fast", 7, None, None) == []


def test_marks_end_with_the_cell() -> None:
    from minutes_parts.methods import marks_within

    assert marks_within(10) == [1, 2, 3, 5, 7.5, 10]
    assert marks_within(0.2) == [0.2]


def test_each_mark_has_the_nearest_snapshot_and_the_end_has_the_last() -> None:
    from minutes_parts.methods import nearest_each_once

    times = [0.0, 50.0, 58.0, 70.0, 115.0, 290.0]
    assert nearest_each_once([60, 120, 180, 300], times) == [(0, 2), (1, 4), (3, 5)]
    assert nearest_each_once([60, 300], [0.0, 75.0]) == [(1, 1)]
    assert nearest_each_once([12], [3.0]) == [(0, 0)]


def test_complete_cells_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import minutes

    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "mnist-fast-10-0.json").write_text("{}")
    (folder / "mnist-dcgan-2-7.json").write_text("{}")
    listed = minutes.list_cells(folder)
    assert "there      10 min  mnist-fast-10-0" in listed
    assert "missing    10 min  mnist-fast-10-1" in listed
    assert "extra    mnist-dcgan-2-7" in listed
    command = f"minutes.py --only mnist-fast-10-0 --results {folder} --data {tmp_path}".split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        minutes.main()
    assert capsys.readouterr().out == "mnist-fast-10-0 is there\n"


def test_a_cell_keeps_the_knobs_and_the_time_of_its_run(tmp_path: Path) -> None:
    from minutes import describe_run

    knobs: dict[str, Any] = {"data": "digits", "batch": 16, "quiet": True, "plot": False, "watch": False}
    by_kimg = describe_run(ganvas.train("mlp", kimg=0.032, out=tmp_path, name="a", **knobs))
    by_time = describe_run(ganvas.train("mlp", minutes=0.03, out=tmp_path, name="b", **knobs))
    assert by_kimg["knobs"].keys() == {"network", "loss", "balance", "optimisation"}
    assert by_kimg["knobs"]["optimisation"]["batch"] == 16
    assert by_kimg["elapsed"] is None
    assert by_time["elapsed"] > 0
    json.dumps(by_time)


def test_time_to_equal_quality_lies_on_a_line_in_logarithms() -> None:
    from minutes_parts.curves import Point, first_to_reach, time_to_reach

    curve = [Point(10, 100), Point(1000, 1)]
    reached = time_to_reach(curve, 10)
    assert reached is not None
    assert reached.seconds == pytest.approx(100)
    assert not reached.at_most
    assert time_to_reach(curve, 0.5) is None
    at_once = time_to_reach(curve, 200)
    assert at_once is not None
    assert (at_once.seconds, at_once.at_most) == (10, True)
    assert time_to_reach([Point(10, 100), Point(20, 120), Point(40, 60)], 60) is not None
    first = first_to_reach([curve, [Point(50, 10)]], 10)
    assert first is not None
    assert first.seconds == 50
    assert first_to_reach([], 1) is None


def test_a_curve_is_the_mean_at_the_marks_that_all_seeds_have() -> None:
    from minutes_parts.curves import Point, mean_curve

    cells = [make_result("fast", 3, 0, {1: 40, 2: 30, 3: 20}), make_result("fast", 3, 1, {1: 60, 3: 10})]
    assert mean_curve(cells, "VGG-19") == [Point(60, 50), Point(180, 15)]


def test_the_report_shows_spread_ratios_curves_and_pictures(tmp_path: Path) -> None:
    from minutes_parts.cells import read_results
    from minutes_parts.report import write_report

    folder = tmp_path / "results"
    folder.mkdir()
    results = [
        make_result("dcgan", 30, 0, {10: 140, 30: 100}),
        make_result("fast", 10, 0, {1: 1000, 10: 10}),
        make_result("fast", 10, 1, {1: 1000, 10: 10.5}),
    ]
    for number, result in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(result))
    text = write_report(read_results(folder), folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert text.index("`fast` | 10 | 2 |") < text.index("`dcgan` | 30 | 1 |")
    assert "10.2 ± 0.354" in text
    assert "| *real against real* | | | | | 3 | 384 | 0.077 |" in text
    assert "| `dcgan`, 30 min | VGG-19 | 100 | 1,800 | 191 | 0.106 | 0.10 |" in text
    assert '<img src="../results/grids/kaokore-fast-10-0.webp"' in text
    assert (tmp_path / "docs" / "kaokore.svg").stat().st_size < 150_000
    empty = write_report([], folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert "No cell is complete yet" in empty


def test_the_report_says_what_differs_between_cells(tmp_path: Path) -> None:
    from minutes_parts.methods import SPEED
    from minutes_parts.report import equal_quality, group, write_report

    own, rival = make_result("fast", 10, 0, {1: 1000, 10: 10}), make_result("dcgan", 30, 0, {10: 140, 30: 100})
    assert "another processor" not in equal_quality(group([own, rival]))
    own["machine"][SPEED], rival["machine"][SPEED] = 60.0, 55.0
    assert "another processor" not in equal_quality(group([own, rival]))
    rival["machine"][SPEED] = 30.0
    assert "| `dcgan`, 30 min † | VGG-19 | 100 |" in equal_quality(group([own, rival])), "of the same name"
    rival["machine"][SPEED] = 60.0
    rival["machine"]["processor"] = "an older CPU"
    rival["diagnosis"] = ["failure: D is too weak."]
    assert "| `dcgan`, 30 min † | VGG-19 | 100 |" in equal_quality(group([own, rival]))
    text = write_report([own, rival], tmp_path, tmp_path / "docs").read_text(encoding="utf-8")
    assert "(†: on another processor, so that times compare roughly):" in text
    assert "- `ganvas diagnose`, `dcgan`, 30 min, seed 0: failure: D is too weak." in text
    later = make_result("fast", 10, 1, {1: 1000, 10: 10}) | {"knobs": {"optimisation": {"d_lr": 0.004}}}
    with pytest.raises(SystemExit, match=r"kaokore-fast-10-\* are of unlike knobs"):
        group([own, later])


def test_few_pictures_are_spread_over_a_sorted_set() -> None:
    from minutes_parts.sets import few_rows

    assert few_rows(2000, 200).tolist() == list(range(0, 2000, 10))
    assert few_rows(7, 3).tolist() == [0, 2, 4]


def test_spread_is_the_mean_distance_of_pairs() -> None:
    from minutes_parts.judges import mean_pairwise

    assert mean_pairwise(np.array([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)


def test_one_picture_a_class_has_no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    from minutes_parts import judges
    from minutes_parts.sets import Pictures

    for network in ("vgg19", "squeezenet"):
        monkeypatch.setattr(judges, network, lambda weights: lambda pictures: pictures.mean((2, 3)))
    monkeypatch.setattr(judges, "GENERATED", 200)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (400, 3, 8, 8), np.uint8)
    images = ImageSet("made-up", pixels, np.arange(400) % 2, ("even", "odd"), "0" * 64)
    panel = judges.Panel(Pictures(Path(), None, True, False, images, pixels, pixels[:200], None), Path())
    varied = panel.measure(random.integers(0, 256, (200, 3, 8, 8), np.uint8))
    same = panel.measure(np.tile(pixels[:2], (100, 1, 1, 1)))
    assert varied["spread within a class"] == pytest.approx(1, abs=0.2)
    assert same["spread within a class"] < 0.01
    assert same["distance within a class"] > 2 * varied["distance within a class"]
    assert same["recall"] < varied["recall"]
    assert set(panel.floors) == {*judges.JUDGES, "distance within a class"}


def test_copies_of_training_pictures_are_seen_in_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from minutes_parts import judges
    from minutes_parts.sets import Pictures

    for network in ("vgg19", "squeezenet"):
        monkeypatch.setattr(judges, network, lambda weights: lambda pictures: pictures.mean((2, 3)))
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), np.uint8)
    train, held_out, others = pixels[:100], pixels[100:200], pixels[200:]
    images = ImageSet("made-up", pixels[:200], None, (), "0" * 64)
    panel = judges.Panel(Pictures(Path(), None, False, False, images, train, held_out, held_out), Path())
    assert panel.measure(others)["near-copies"] == panel.floors["near-copies"] == 0
    copies = np.concatenate([train[:50] // 2 + 30, others[:50]])
    assert panel.measure(copies)["near-copies"] == 0.5


def test_marks_keep_pictures_and_do_not_count_sampling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minutes_parts import marks

    clock = iter([0.0, 30.0, 61.0, 100.0, 130.0, 165.0, 200.0])
    monkeypatch.setattr(marks.time, "perf_counter", lambda: next(clock))
    watched = marks.Marks(tmp_path, [1, 2], lambda n: np.zeros((n, 1, 2, 2), np.uint8))
    assert [watched.after_round(50) for _ in range(4)] == [False, False, False, True]
    lines = [json.loads(line) for line in (tmp_path / "marks.jsonl").read_text().splitlines()]
    assert [(line["minutes"], line["seconds"], line["images"]) for line in lines] == [(1, 61.0, 100), (2, 126.0, 200)]
    assert np.load(tmp_path / "2.npy").shape == (2000, 1, 2, 2)


@pytest.fixture
def known_sets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    from minutes_parts import sets

    monkeypatch.setattr(sets, "SETS", dict(sets.SETS))
    return sets.SETS


def test_any_pictures_are_a_set(tmp_path: Path, known_sets: dict[str, Any]) -> None:
    from minutes_parts.sets import add_set, open_pictures

    file = tmp_path / "photos.npz"
    images = np.random.default_rng(0).integers(0, 256, (40, 80, 96, 3), np.uint8)
    np.savez(file, images=images, labels=np.arange(40) % 3)
    few, by_class = add_set(file, None, 30, conditional=False), add_set(file, "32", None, conditional=True)
    assert (few[:10], by_class[:22]) == ("photos-30-", "photos-32-conditional-")
    pictures = open_pictures(few, tmp_path)
    assert pictures.train.shape == (30, 3, 64, 77), "the size at which a CPU trains"
    assert pictures.held_out is not None
    assert len(pictures.reals) == len(pictures.held_out) == 10
    conditional = open_pictures(by_class, tmp_path)
    assert (conditional.conditional, conditional.train.shape) == (True, (40, 3, 32, 32))
    (tmp_path / "elsewhere").mkdir()
    other = add_set(file.rename(tmp_path / "elsewhere" / file.name), None, 30, conditional=False)
    assert len({few, by_class, other} & set(known_sets)) == 3, "files of one name are sets of their own"


@pytest.mark.usefixtures("known_sets")
def test_pictures_that_are_no_set(tmp_path: Path) -> None:
    from minutes_parts.sets import add_set

    few, mnist = tmp_path / "few.npz", tmp_path / "mnist.npy"
    np.savez(few, images=np.zeros((20, 8, 8, 3), np.uint8), labels=np.arange(20) % 7)
    np.save(mnist, np.zeros((20, 8, 8, 3), np.uint8))
    with pytest.raises(GanvasError, match="4 or more pictures of each class"):
        add_set(few, None, None, conditional=True)
    with pytest.raises(GanvasError, match="4 or more pictures of each class"):
        add_set(mnist.rename(tmp_path / "unlabelled.npy"), None, None, conditional=True)
    with pytest.raises(GanvasError, match="has 20 pictures; --few needs more"):
        add_set(few, None, 20, conditional=False)
    with pytest.raises(GanvasError, match="absent"):
        add_set(tmp_path / "absent", None, None, conditional=False)
    with pytest.raises(GanvasError, match="give --few or --conditional"):
        add_set(few, None, 4, conditional=True)


def test_results_of_other_sets_come_last(tmp_path: Path) -> None:
    from minutes_parts.cells import read_results

    for name in ("photos", "kaokore", "cats"):
        (tmp_path / f"{name}.json").write_text(json.dumps(make_result("fast", 10, 0, {10: 10}) | {"set": name}))
    assert [result["set"] for result in read_results(tmp_path)] == ["kaokore", "cats", "photos"]
