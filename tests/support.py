"""A configuration that trains in well under a second, and the command line in a subprocess or in this one."""

import contextlib
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

import pytest

from ganvas.cli import main
from ganvas.cli import training as command_line
from ganvas.comparison import worker
from ganvas.comparison.jobs import Job, Outcome, ended_outcome
from ganvas.config import DatasetConfig, LossConfig, Network, OptimisationConfig, RuntimeConfig, TrainConfig
from ganvas.config.families import CNN, DCGAN, MLP, MSG, R3GAN, Projected, ResNet, StyleGAN, Transformer, ViT
from ganvas.training import start

DEVICE = os.environ.get("GANVAS_TEST_DEVICE", "cpu")
"""The device of the tests marked gpu and of the configurations that `tiny` makes."""

NARROW: dict[str, Network] = {
    "mlp": MLP(latent=6, g_widths=(8, 8), d_widths=(8,), g_norm="none"),
    "cnn": CNN(latent=6, g_width=4, d_width=4),
    "dcgan": DCGAN(latent=6, g_width=4, d_width=4),
    "transformer": Transformer(latent=6, token_width=8, heads=2, head_width=4),
    "vit": ViT(latent=6, token_width=8, depth=1, heads=2, d_width=4),
    "resnet": ResNet(latent=6, g_width=4, d_width=4),
    "stylegan": StyleGAN(latent=6, mapping_layers=2, width=8, growth=1.0),
    "msg": MSG(latent=6, width=8),
    "r3gan": R3GAN(latent=6, width=16, blocks=1),
    "projected": Projected(features_net="eye", latent=6, g_width=4, d_width=4, pixel_width=4),
}
"""The narrowest network of each family."""

FAMILY_CASES = [
    family if family in ("mlp", "cnn", "stylegan", "projected") else pytest.param(family, marks=pytest.mark.exhaustive)
    for family in NARROW
]
"""All families, for tests that train or draw with each: four in the normal suite."""

BATCH_NORM_IN_D = ("dcgan", "projected")
"""Families that allow no gradient penalty."""


def tiny(data: Path | str = "digits", *, family: str = "mlp", kimg: float = 0.2, **loss: object) -> TrainConfig:
    """A configuration that trains in well under a second: batches of 20, two snapshots."""
    return TrainConfig(
        kimg=kimg,
        dataset=DatasetConfig(data=str(data)),
        network=NARROW[family],
        loss=LossConfig(**{"r1": 0.1, "r2": 0.1, **loss}),  # type: ignore[arg-type]
        optimisation=OptimisationConfig(batch=20, g_lr="1e-3..1e-4:cosine", d_lr=1e-3, ema=0.1),
        runtime=RuntimeConfig(tick_kimg=0.04, snapshot_kimg=0.1, plot=False, device=DEVICE),
    )


def shorten_statistics(patch: pytest.MonkeyPatch) -> None:
    """Shortens what a run does before its first round and at every snapshot, for speed."""
    patch.setattr("ganvas.training.moment_fitting.IMAGES", 128)
    patch.setattr("ganvas.training.state.STATISTICS_PASSES", 1)
    patch.setattr("ganvas.training.estimate.TRIAL_ROUNDS", 1)


class Hang(BaseException):
    """A call takes too long; nothing catches it."""


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raises Hang in the main thread after so many seconds."""

    def end(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call_cli(*arguments: object, check: int | None) -> subprocess.CompletedProcess[str]:
    """Runs the command line in this process, which spares two seconds of imports; for what is refused at once."""
    command, out, err = ["ganvas", *map(str, arguments)], io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", command), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as exit_:
            status = exit_.code
    assert check is None or status == check, err.getvalue()
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())  # type: ignore[arg-type]


def run_cli(*arguments: object, check: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a subprocess; asserts its exit status unless `check` is None.

    It is forked from one that has imported PyTorch, which takes two seconds less, but for variables that Python reads.
    """
    command = ["ganvas", *map(str, arguments)]
    if any(name.startswith("PYTHON") for name in environment):
        result = subprocess.run(
            [sys.executable, "-m", *command],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
        )
    else:
        result = Fork(command, _run_command, environment).wait()
    assert check is None or result.returncode == check, result.stderr
    return result


def start_cli(*arguments: object) -> "Fork":
    """The command line in a forked process, while it runs."""
    return Fork(["ganvas", *map(str, arguments)], _run_command)


def run_script(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python script, in which a warning is an error, in a process that is forked as that of `run_cli`."""
    return Fork([str(path)], run_strictly, environment).wait()


PRELOADED = [
    "torch",
    "torch._dynamo",  # which the first step of an optimiser imports
    "ganvas.cli",
    "ganvas.training.start",
    "ganvas.comparison.comparison",
    "ganvas.comparison.worker",
    "ganvas.evaluation.evaluation",
    "ganvas.trackers.processes",
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",  # of the lessons
    "rich.console",  # which nearly every command prints with
    "sklearn.cluster",
    "pytest",
    "unittest.mock",
]


class Fork:
    """A command in a process that is forked from one that has imported PRELOADED: `_fork_server` in conftest."""

    def __init__(
        self, command: list[str], run: Callable[[list[str]], object], environment: Mapping[str, str] | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        self._command, self._folder = command, tempfile.TemporaryDirectory()
        self._out, self._err = (Path(self._folder.name, name) for name in ("out", "err"))
        variables = {**os.environ, **(environment or {})}
        arguments = (run, command, os.getcwd(), variables, self._out, self._err)
        self.process = context.Process(target=_run_in_fork, args=arguments)
        self.process.start()

    @property
    def is_running(self) -> bool:
        return self.process.exitcode is None

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Its result; after so many seconds it is killed, and a TimeoutExpired raised."""
        with self._folder:
            self.process.join(seconds)
            if self.process.exitcode is None:
                self.process.kill()
                raise subprocess.TimeoutExpired(self._command, seconds, self._out.read_bytes(), self._err.read_bytes())
            return subprocess.CompletedProcess(
                self._command, self.process.exitcode, self._out.read_text(), self._err.read_text()
            )


def _run_in_fork(
    run: Callable[[list[str]], object],
    command: list[str],
    folder: str,
    environment: dict[str, str],
    out: Path,
    err: Path,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for stream, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = command
    os.fsync = _skip_fsync  # as in tests/conftest.py
    run(command)


def _skip_fsync(fd: object) -> None:
    pass


def _run_command(command: list[str]) -> None:
    main()


def run_torchrun(command: list[str]) -> None:
    """torchrun with these arguments."""
    from torch.distributed.run import main

    main(command[1:])


def run_script_file(command: list[str]) -> None:
    """Runs a Python script."""
    runpy.run_path(command[0], run_name="__main__")


def train_in_this_process(jobs: Sequence[Job], **_: object) -> Iterator[Outcome]:
    """`train_all` without subprocesses, which other tests cover."""
    for job in jobs:
        yield ended_outcome(job) or Outcome(job, worker.run_job(job, quiet=True))


def run_comparing_here(command: list[str]) -> None:
    """Runs the command line; a comparison trains in its own process."""
    from ganvas.comparison import comparison

    comparison.train_all = train_in_this_process
    main()


def run_strictly(command: list[str]) -> None:
    """Runs a Python script, in which a warning is an error."""
    warnings.simplefilter("error")
    run_script_file(command)


def planned_config(words: list[str], monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """The configuration that `ganvas train WORDS` would train."""
    configs: list[TrainConfig] = []
    monkeypatch.setattr(start, "plan", lambda config, **_: configs.append(config) or {"config": {}})
    command_line.train([*words, "--dry-run", "--json"])
    return configs[-1]
