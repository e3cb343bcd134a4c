"""The film of a training: its frames are the grids' first images, at every snapshot, whatever happened to the run."""

import os
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence, features
from support import run_cli, tiny

from ganvas import image_io
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.runs import cleaning, curves, film
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training.start import train
from ganvas.training.state import TrainState


def longer(kimg: float = 3.0, *, family: str = "mlp", **knobs: object) -> TrainConfig:
    """A few snapshots, a kimg apart, of 8×8 digits."""
    return replace(tiny(family=family, kimg=kimg), snapshot_kimg=1, tick_kimg=1, watch=False, evaluate_every=0, **knobs)


def frames(path: Path | None) -> list[np.ndarray]:
    assert path is not None
    with Image.open(path) as opened:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(opened)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(longer(), out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy, to be changed."""
    return Run(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 33), (3, 130, 8), (4, 16, 16)], ids=str)
@pytest.mark.parametrize("names", [(), ("cat", "a long name of a class")], ids=["plain", "named"])
def test_images_cut_out_of_a_grid_are_those_that_were_put_in(
    shape: tuple[int, int, int], names: tuple[str, ...]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, *shape), np.uint8)
    grid = image_io.make_grid(images, 3, row_names=names)
    cells = [(1, 2), (0, 0), (0, 1)]
    cut = image_io.cut_grid(grid, cells, (2, 3), *shape[1:])
    for image, (row, column) in zip(cut, cells, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(image_io.to_pil(images[3 * row + column])))
    with pytest.raises(ValueError, match="no grid of 3×2 images"):
        image_io.cut_grid(grid, cells, (3, 2), *shape[1:])


def test_classes_take_turns_among_the_first_images(tmp_path: Path) -> None:
    rows, shape = 3, {"channels": 1, "height": 8, "width": 8, "classes": 3}
    images = np.repeat(np.arange(8 * rows, dtype=np.uint8), 64).reshape(-1, 1, 8, 8)
    image_io.save_image(image_io.make_grid(images, 8, row_names=["a", "bb", "c"]), tmp_path / "grid.png")
    values = [image.getpixel((0, 0)) for image in film.read_images(tmp_path / "grid.png", shape, 7)]
    assert values == [0, 8, 16, 1, 9, 17, 2]
    assert film.read_images(tmp_path / "grid.png", shape | {"classes": 0}, 7) == []


def test_frames_show_the_first_images_of_every_grid_with_their_kimg(run: Run) -> None:
    assert [grid.name for grid in run.grids] == [f"fakes{kimg:06d}.png" for kimg in range(4)]
    made = frames(film.save(run))
    assert len(made) == 4
    for frame, grid in zip(made, run.grids, strict=True):
        image = np.asarray(Image.open(grid).convert("RGB")).astype(int)
        assert abs(frame[4:68, 4:68] - image[4:68, 4:68]).mean() < 12, "seed 0, by a lossy format"
        ninth = image[4 + 68 : 68 + 68, 4:68]  # seed 8 is the first of the grid's second row, the film's third
        assert abs(frame[4 + 2 * 68 : 68 + 2 * 68, 4:68] - ninth).mean() < 12
    captions = [frame[-20:] for frame in made]
    assert all(caption.min() < 100 for caption in captions)
    assert abs(captions[0] - captions[1]).max() > 100


def test_training_ends_with_a_film_and_a_grown_run_continues_it() -> None:
    constant = longer(2.0, plot=True, g_lr=1e-3)
    run = train(constant, name="grown", quiet=True)
    assert run.film == run.path / "training.webp"
    first = frames(run.film)
    assert len(first) == 3
    assert "and their film" in (run.path / "log.txt").read_text()
    assert f"Their film:         {run.film}" in (run.path / "log.txt").read_text()
    train(replace(constant, kimg=4.0), name="grown", quiet=True)
    assert len(run.snapshots) == 1, "snapshots are pruned"
    whole = frames(run.film)
    assert len(whole) == 5
    assert abs(whole[0] - first[0]).mean() < 2
    assert not cleaning.find_foreign(run.path)


def test_film_that_a_killed_session_did_not_make_is_made_by_the_same_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    before = run.state_file.stat().st_mtime_ns
    train(longer(), out=".", name=run.path.name, quiet=True)
    assert run.film is None, "without --plot"
    train(longer(plot=True), out=".", name=run.path.name, quiet=True)
    assert len(frames(run.film)) == 4
    assert run.state_file.stat().st_mtime_ns == before


def test_film_of_an_earlier_session_is_renewed_in_a_complete_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The film of a first session that was stopped; the second one was killed before its own."""
    monkeypatch.chdir(run.path.parent)
    for grid in run.grids[2:]:
        grid.rename(grid.with_suffix(".later"))
    assert len(frames(film.save(run))) == 2
    for grid in run.path.glob("*.later"):
        grid.rename(grid.with_suffix(".png"))
    (run.path / "losses.png").write_bytes(b"")
    for drawing in ("training.webp", "losses.png"):
        os.utime(run.path / drawing, (0, 0))
    train(longer(plot=True), out=".", name=run.path.name, quiet=True)
    assert len(frames(run.film)) == 4
    drawn = {name: (run.path / name).stat() for name in ("training.webp", "losses.png")}
    assert drawn["losses.png"].st_size > 0
    train(longer(plot=True), out=".", name=run.path.name, quiet=True)
    assert all((run.path / name).stat().st_mtime_ns == stat.st_mtime_ns for name, stat in drawn.items())


def disturb_round(
    monkeypatch: pytest.MonkeyPatch, at: int, disturb: Callable[[tuple[dict[str, Any], dict[str, Any]]], object]
) -> None:
    """Calls `disturb` with what the round after `at` images returns, in a run named x."""
    train_round, state_file = TrainState.train_round, Run(Path("runs/x")).state_file

    def disturbed(self: TrainState, batches: Any, nimg: int) -> Any:
        result = train_round(self, batches, nimg)
        if nimg == at and state_file.exists():  # else it is one of the trial
            disturb(result)
        return result

    monkeypatch.setattr(TrainState, "train_round", disturbed)


def test_run_that_fails_has_its_film_and_curves_and_names_the_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    disturb_round(monkeypatch, 2500, lambda result: result[0].update({"D/loss": result[0]["D/loss"] * float("nan")}))
    with pytest.raises(GanvasError, match="no longer a finite number") as raised:
        train(longer(plot=True), name="x", quiet=True)
    assert "ganvas diagnose runs/x says what went wrong" in str(raised.value)
    run = Run(Path("runs/x"))
    assert len(frames(run.film)) == 3
    assert (run.path / "losses.png").exists()
    monkeypatch.setattr(curves, "plot", lambda *_: 1 / 0)
    with pytest.raises(GanvasError, match="no longer a finite number"):
        train(longer(plot=True), name="x", quiet=True)


@pytest.mark.parametrize(("at", "events"), [(1500, ["interrupted"]), (2980, ["interrupted", "done"])])
def test_interrupted_training_says_what_there_is_and_how_it_goes_on(
    at: int, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb_round(monkeypatch, at, lambda _: signal.raise_signal(signal.SIGINT))
    done = len(events) == 2
    words = "the run is complete" if done else "the same command resumes from there"
    with pytest.raises(KeyboardInterrupt, match=rf"stopped at {(at + 20) / 1000:g} kimg; {words}"):
        train(longer(), name="x", quiet=True)
    run = Run(Path("runs/x"))
    written = read_jsonl(run.path / "events.jsonl")
    assert [event["event"] for event in written] == events
    assert not done or {"seconds", "peak_bytes"} <= written[-1].keys()
    last = (run.path / "log.txt").read_text().splitlines()[-5:]
    first = "Done: 3 kimg in" if done else "To resume:          ganvas train runs/x"
    assert first in last[0]
    for line, end in zip(last[1:], (run.grids[-1], "sample runs/x", "evaluate runs/x", "diagnose runs/x"), strict=True):
        assert line.endswith(str(end))


def test_film_that_cannot_be_written_leaves_the_run_complete() -> None:
    Path("runs/x").mkdir(parents=True)
    run = train(longer(1.0), name="x", quiet=True)
    (run.path / "training.webp" / "mine").mkdir(parents=True)
    train(longer(1.0, plot=True), name="x", quiet=True)
    said = "The film could not be drawn: runs/x/training.webp is a folder: it is not replaced."
    assert said in (run.path / "log.txt").read_text()
    assert run.progress()["state"] == "complete"
    assert (run.path / "training.webp" / "mine").is_dir()


def test_unreadable_and_foreign_grids_are_left_out(run: Run) -> None:
    shutil.copy(run.path / "fakes000000.png", run.path / "fakes000009.png")  # later than what is saved
    assert len(frames(film.save(run))) == 4
    (run.path / "fakes000001.png").write_bytes((run.path / "fakes000002.png").read_bytes()[:3000])
    Image.new("RGB", (300, 200)).save(run.path / "fakes000002.png")
    assert len(frames(film.save(run, run.path / "other.gif"))) == 2
    (run.path / "fakes000003.png").unlink()
    assert film.save(run) is None, "one frame is no film"


def test_film_of_many_snapshots_keeps_the_first_and_the_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frames(film.save(run))
    monkeypatch.setattr(film, "MAX_FRAMES", 3)
    thinned = frames(film.save(run))
    assert len(thinned) == 3
    for one, other in ((0, 0), (-1, -1)):
        assert abs(thinned[one] - whole[other]).mean() < 2
    kept = [kimg for kimg, _ in film._thin([(kimg, Path()) for kimg in range(1000)])]
    assert kept == [0, 500, 999] or kept == [0, 499, 999]


@pytest.mark.parametrize("shape", [(1, 300, 150), (3, 512, 512), (4, 16, 16), (3, 8, 400)], ids=str)
def test_frames_of_any_images_are_small_and_opaque(shape: tuple[int, int, int], tmp_path: Path) -> None:
    images = np.full((64, *shape), 200, np.uint8)
    images[:, -1] = 0 if shape[0] == 4 else 200  # all of it transparent
    image_io.save_image(image_io.make_grid(images, 8), tmp_path / "grid.png")
    sizes = dict(zip(("channels", "height", "width"), shape, strict=True)) | {"classes": 0}
    (frame,) = film._draw_frames(iter([(1_234_000, tmp_path / "grid.png")]), sizes)
    assert max(frame.size) <= 4 * (film.MAX_SIDE + 4) + 4 + 20
    assert frame.mode == ("L" if shape[0] == 1 else "RGB")
    middle = np.asarray(frame.convert("RGB"))[5, 6]
    assert middle.tolist() == [255 if shape[0] == 4 else 200] * 3


def test_images_of_a_growing_generator_have_one_size_in_the_film() -> None:
    run = train(longer(2.0, family="stylegan", batch=100, growth="0..1"), name="growing", quiet=True)
    assert len(frames(film.save(run))) == 3


def test_gif_where_pillow_writes_no_webp(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    assert film.save(run) == run.film == run.path / "training.gif"
    assert len(frames(run.film)) == 4
    assert not cleaning.find_foreign(run.path)


def test_plot_makes_the_film_of_an_older_run(run: Run) -> None:
    printed = run_cli("plot", run.path).stdout.split()
    assert printed == [str(run.path / "losses.png"), str(run.path / "training.webp")]
    assert len(frames(run.film)) == 4


@pytest.mark.parametrize("name", ["plain", "my runs/it's"])
def test_commands_at_the_end_can_be_copied_into_a_shell(name: str) -> None:
    done = run_cli("train", "digits", "--kimg", 0.2, "--no-plot", "--device", "cpu", "--out", name).stderr
    commands = [line.partition(":")[2].strip() for line in done.splitlines() if "  ganvas " in line]
    assert [command.split()[1] for command in commands] == ["sample", "evaluate", "diagnose"]
    for command in commands:
        assert Run(Path(shlex.split(command)[2])).progress()["state"] == "complete"
    quiet = run_cli("train", "digits", "--kimg", 0.2, "--no-plot", "--device", "cpu", "--out", name, "--quiet")
    assert quiet.stderr == ""
