"""Shared fixtures: a cache and a working folder for each test, random images, and real data sets."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for tiny networks and parallel tests, more threads are slower

COSTLY = (
    "test_studio_explore_browser", "test_studio_lab_browser", "test_studio_compare_browser",
    "test_studio_style_browser", "test_studio_style", "test_distributed", "test_readme", "test_workers",
    "test_compilation", "test_watch_keras", "test_cluster", "test_fuzz", "test_kills", "test_quality", "test_package",
    "test_report", "test_imports", "test_budget", "test_export_matrix", "test_keras_case", "test_environment",
    "test_real", "test_gpu_script", "test_studio_lab", "test_threads",
)  # fmt: skip
"""Files of few tests that take long: at the end, one of them would leave the other processes without tests."""


@pytest.hookimpl(trylast=True)  # when those that do not run are no longer among them
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes run the tests, a file each: the costly ones first, then those of many tests."""
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path.stem not in COSTLY, -tests[item.path]))


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk() -> Iterator[None]:
    """No test cuts the power: a file need not have reached the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _fork_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What `support.Fork` forks from: one in a process, which has imported what was named before its start.

    Where several processes run the tests, it imports while the first of them run.
    """
    from multiprocessing import forkserver, set_forkserver_preload

    from support import PRELOADED

    set_forkserver_preload(PRELOADED)
    if hasattr(request.config, "workerinput"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
            forkserver.ensure_running()


@pytest.fixture(autouse=True)
def _separate_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Seeds PyTorch: with some seeds, networks this narrow output only zeros."""
    import torch  # not above: the process that gives the tests to others needs no PyTorch

    if torch.accelerator.is_available():
        torch.manual_seed(0)
    else:  # the same numbers; torch.manual_seed formats a stack for each kind of GPU that is not there
        torch.default_generator.manual_seed(0)


@pytest.fixture(autouse=True)
def _few_images_for_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens what a run does before its first round and at every snapshot, for speed."""
    from support import shorten_statistics

    shorten_statistics(monkeypatch)


@pytest.fixture
def few_pictures_for_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 16 directions, for speed."""
    monkeypatch.setattr("ganvas.latent_space.axes.DRAWN", 128)


@pytest.fixture(scope="session")
def own_loop() -> ModuleType:
    """examples/own_loop.py: a training loop that is not Ganvas's, and faults for it."""
    spec = spec_from_file_location("own_loop", Path(__file__).parent.parent / "examples" / "own_loop.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets; without one, the test is skipped."""
    folder = os.environ.get("GANVAS_TEST_DATA")
    if not folder:
        pytest.skip("GANVAS_TEST_DATA is not set: no real data sets here")
    return Path(folder)


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., Path]:
    """Writes n random images as an .npz and returns its path."""

    def write(n: int = 40, height: int = 16, width: int = 16, channels: int = 1, classes: int = 0) -> Path:
        random = np.random.default_rng(0)
        arrays: dict[str, Any] = {"images": random.integers(0, 256, (n, height, width, channels), np.uint8)}
        if classes:
            arrays["labels"] = np.arange(n) % classes
        path = tmp_path / f"pictures-{height}x{width}x{channels}.npz"
        np.savez(path, **arrays)
        return path

    return write
