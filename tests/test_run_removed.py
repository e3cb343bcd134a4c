"""A run folder that is removed, moved or created by another process meanwhile; and signals before the training."""

import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.runs import folder
from ganvas.runs.folder import Run, create_run
from ganvas.runs.lock import lock_run
from ganvas.training.loop import Session
from ganvas.training.start import train

RUN = Path("runs/mine")


def train_and(act: Callable[[], object], monkeypatch: pytest.MonkeyPatch, at: int, config: TrainConfig) -> Run:
    """Trains RUN; `act` is called once when `at` images have been shown."""
    train_round, done = Session._train_round, []

    def round_then_act(self: Session, *args: Any, **knobs: Any) -> None:
        train_round(self, *args, **knobs)
        if self.nimg >= at and not done:
            done.append(act())

    monkeypatch.setattr(Session, "_train_round", round_then_act)
    run = train(config, name="mine", quiet=True)
    assert done
    return run


def move_away() -> None:
    RUN.rename("elsewhere")


def replace_folder() -> None:
    shutil.rmtree(RUN)
    RUN.mkdir()


@pytest.mark.parametrize("remove", [lambda: shutil.rmtree(RUN), move_away, replace_folder])
@pytest.mark.parametrize("at", [100, 200])  # in the middle, and before the last save
def test_a_removed_folder_stops_the_run(remove: Any, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GanvasError, match="was removed or moved while it was trained"):
        train_and(remove, monkeypatch, at, tiny())
    assert not RUN.exists() or not list(RUN.iterdir())


def test_a_folder_that_is_moved_back_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(tiny(), snapshot_kimg=0.1)
    with monkeypatch.context() as patch, pytest.raises(GanvasError, match="moved"):
        train_and(move_away, patch, 150, config)
    Path("elsewhere").rename(RUN)
    assert train(config, name="mine", quiet=True).progress()["state"] == "complete"


@pytest.mark.parametrize("at", [100, 200])
def test_a_removed_config_is_written_again(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def remove() -> None:
        kept.append((RUN / "config.json").read_text())
        (RUN / "config.json").unlink()

    run = train_and(remove, monkeypatch, at, tiny())
    assert (RUN / "config.json").read_text() == kept[0]
    assert run.progress()["state"] == "complete"


DATA = {
    "name": "d", "fingerprint": "f", "images": 1, "class_names": [],
    "shape": {"channels": 1, "height": 8, "width": 8, "classes": 0},
}  # fmt: skip


def test_of_several_that_create_a_run_one_does(tmp_path: Path) -> None:
    """Each wants another configuration; all get the one that is written, and nobody's is written over."""
    start, found, failed = threading.Barrier(6), [], []

    def create(seed: int) -> None:
        start.wait(10)
        try:
            config = replace(tiny(), seed=seed)
            found.append(create_run(tmp_path, "mine", "small", config, DATA, {}).config.seed)
        except GanvasError as error:  # the others held its lock for too long
            failed.append(error.what)

    threads = [threading.Thread(target=create, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {Run(tmp_path / "mine").config.seed}
    assert all("Another process" in what for what in failed)
    assert len(found) + len(failed) == 6


def test_a_run_that_another_process_has_just_created_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    write = folder.create_run

    def create_second(out: Path, name: str, recipe: str, config: TrainConfig, *rest: Any) -> Run:
        write(out, name, recipe, replace(config, seed=99), *rest)
        return write(out, name, recipe, config, *rest)

    monkeypatch.setattr(folder, "create_run", create_second)
    with pytest.raises(GanvasError, match="has another configuration: seed is 99 there"):
        train(tiny(), name="mine", quiet=True)


def test_a_run_that_another_process_has_just_begun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    write = folder.create_run
    with pytest.MonkeyPatch.context() as patch:
        held = []

        def create_and_lock(*args: Any) -> Run:
            run = write(*args)
            held.append(lock_run(run.path))
            held[0].__enter__()
            return run

        patch.setattr(folder, "create_run", create_and_lock)
        with pytest.raises(GanvasError, match="Another process is training"):
            train(tiny(), name="mine", quiet=True)
        held[0].__exit__(None, None, None)
    assert train(tiny(), name="mine", quiet=True).progress()["state"] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "seconds", [0.4, 1.2, *(pytest.param(s, marks=pytest.mark.exhaustive) for s in (0.8, 1.6, 2.4))]
)
def test_a_signal_before_the_training_is_130(number: int, seconds: float) -> None:
    """From Python's own start (0.2 s) on: while modules are imported, options are parsed, the data is opened."""
    command = [sys.executable, "-m", "ganvas", "train", "mlp", "--data", "digits", "--kimg", "100000", "--no-plot"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    time.sleep(seconds)
    running.send_signal(number)
    _, messages = running.communicate(timeout=60)
    assert running.returncode == 130, messages
    assert "Traceback" not in messages
    assert re.search("interrupted|stopped", messages)


def test_an_interrupt_while_a_class_is_made_is_130_too(tmp_path: Path) -> None:
    """dataclasses and namedtuples are made by exec, after whose interruption `python -m` ends by SIGINT itself."""
    text = "import sys\nfrom ganvas.cli.output import run_reporting_errors as run\n"
    (tmp_path / "probe.py").write_text(f"{text}sys.exit(run(lambda: exec('raise KeyboardInterrupt')))\n")
    ended = subprocess.run([sys.executable, "-m", "probe"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "ganvas: interrupted\n")
