"""The names of snapshots and grids say after how many images they were written; runs of earlier versions still work."""

import json
import random
import shutil
from pathlib import Path

import pytest
import recording_trackers
from PIL import Image
from support import tiny

import ganvas
from ganvas.config import TrainConfig, replace
from ganvas.display import InlineImage
from ganvas.runs import cleaning, film
from ganvas.runs.folder import Run
from ganvas.runs.names import format_kimg, grid_file, name_images, numbered
from ganvas.studio.files import NAMES
from ganvas.trackers.follower import Follower
from ganvas.trackers.record import Record
from ganvas.training.start import train

EVERY = range(0, 2200, 300)
"""After how many images the run below draws a grid, its end apart."""


def short(**knobs: object) -> TrainConfig:
    return replace(tiny(kimg=2.2), g_lr=1e-3, snapshot_kimg=0.3, tick_kimg=0.1, evaluate_every=0, watch=False, **knobs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(short(keep_kimg=0.3, plot=True), out=tmp_path_factory.mktemp("runs"), name="new", quiet=True)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy, to be changed."""
    return Run(shutil.copytree(trained.path, tmp_path / "runs" / "new"))


@pytest.fixture
def earlier(run: Run) -> Run:
    """The run as an earlier version left it: named by whole kimg, each replacing those before it."""
    for nimg, path in [*numbered(run.grids), *numbered(run.snapshots)]:
        whole = path.with_name(path.name.replace(name_images(nimg), f"{nimg // 1000:06d}"))
        if whole != path:
            shutil.rmtree(whole, ignore_errors=True)
            path.replace(whole)
    return run


def test_names_say_the_images_and_are_in_their_order() -> None:
    assert [name_images(nimg) for nimg in (0, 999, 1000, 60_416)] == ["000000", "000000.999", "000001", "000060.416"]
    assert name_images(1_234_567_890) == "1234567.890"
    exact = [0, 20, 999, 1000, 1001, 1999, 60_416, 999_999_999, 1_000_000_000, 1_234_567_890]
    assert [format_kimg(nimg) for nimg in (0, 60, 1000, 60_416, 120_000, 1_234_567_890)] == [
        "0", "0.06", "1", "60.416", "120", "1,234,567.89"
    ]  # fmt: skip
    for form in ("fakes{}.png", "{}"):
        paths = [Path("a", form.format(name_images(nimg))) for nimg in exact]
        random.Random(0).shuffle(paths)
        assert [nimg for nimg, _ in numbered(paths)] == exact
    others = (
        "best",
        "fakes.png",
        "fakes-1.png",
        "fakes000001.5.png",
        "fakes000001.5000.png",
        "000001-copy",
        "٣٣٣٣٣٣",
        "1",
    )
    assert numbered(map(Path, others)) == []


def test_every_snapshot_has_its_grid_its_frame_and_its_name(run: Run) -> None:
    shown = [*EVERY, 2200]
    assert [nimg for nimg, _ in numbered(run.grids)] == shown
    assert [json.loads((path / "card.json").read_text())["nimg"] for path in run.snapshots] == shown
    assert run.film is not None
    with Image.open(run.film) as opened:
        assert getattr(opened, "n_frames", 1) == len(shown)
    assert not cleaning.find_foreign(run.path)
    assert all(NAMES.fullmatch(grid.name) for grid in run.grids)
    sampler = ganvas.load(run.latest_snapshot)
    (shown_grid,) = (part for part in sampler._parts() if isinstance(part, InlineImage))
    assert shown_grid.image == grid_file(run.path, 2200) == run.path / "fakes000002.200.png"
    grid_file(run.path, 2200).unlink()
    assert not grid_file(run.path, 2200).exists(), "not that of 2 kimg"


def test_snapshots_are_kept_at_parts_of_a_kimg(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent)
    kept = train(short(keep_kimg=0.6), out=".", name="kept", quiet=True)
    assert [nimg for nimg, _ in numbered(kept.snapshots)] == [0, 600, 1200, 1800, 2200]


def test_tracker_has_every_grid_at_its_images(run: Run) -> None:
    assert logged_grids(run) == [*EVERY, 2200]


def test_run_of_an_earlier_version_is_read_and_not_written_anew(earlier: Run) -> None:
    assert [path.name for path in earlier.snapshots] == ["000000", "000001", "000002"]
    assert logged_grids(earlier) == [900, 1800, 2200], "each replaced those of its kimg"
    (grid,) = (part for part in ganvas.load(earlier.path)._parts() if isinstance(part, InlineImage))
    assert grid.image == earlier.path / "fakes000002.png"
    made = film.save(earlier)
    assert made is not None
    with Image.open(made) as opened:
        assert getattr(opened, "n_frames", 1) == 3
    before = {path: path.stat().st_mtime_ns for path in earlier.path.rglob("*.safetensors")}
    train(short(keep_kimg=0.3, plot=True), out=earlier.path.parent, name="new", quiet=True)
    assert before == {path: path.stat().st_mtime_ns for path in earlier.path.rglob("*.safetensors")}
    said = (earlier.path / "log.txt").read_text()
    assert "written again" not in said
    assert f"Generated images:   {earlier.path / 'fakes000002.png'}" in said


def test_run_of_an_earlier_version_goes_on_with_the_new_names(earlier: Run) -> None:
    longer = train(replace(short(keep_kimg=0.3), kimg=2.9), out=earlier.path.parent, name="new", quiet=True)
    names = [path.name for path in longer.grids]
    assert names[-4:] == ["fakes000002.png", *(f"fakes000002.{rest}.png" for rest in (400, 700, 900))]
    assert longer.latest_snapshot.name == "000002.900"
    assert longer.progress()["nimg"] == 2900


def test_damaged_snapshot_of_an_earlier_version_is_written_again(earlier: Run) -> None:
    (earlier.latest_snapshot / "G.safetensors").write_bytes(b"")
    train(short(keep_kimg=0.3, plot=True), out=earlier.path.parent, name="new", quiet=True)
    assert earlier.latest_snapshot.name == "000002.200"
    assert ganvas.load(earlier.path).card.nimg == 2200


def logged_grids(run: Run) -> list[int]:
    """The images shown until each grid of generated images that a tracker is told of."""
    told: list[int] = []

    class Log(recording_trackers.Recording):
        def _write(self, call: str, **arguments: object) -> None:
            if call == "image" and arguments["name"] == "fakes":
                told.append(int(str(arguments["nimg"])))

    follower = Follower(run, Log(), Record("log"))
    follower.open()
    follower.close()
    return told
