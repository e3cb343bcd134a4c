"""The caller's PyTorch settings change no result, and every call leaves them unchanged."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support import tiny

import ganvas
from ganvas.config import TrainConfig, replace
from ganvas.pytorch_state import seed_generators


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def low_precision() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


CALLER_STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta device": default_device,
    "a block on meta": lambda: torch.device("meta"),
    "medium precision": low_precision,
}


def state() -> dict[str, Any]:
    """All state that a caller could notice."""
    backends: Any = torch.backends
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32),
        "mkldnn": (backends.mkldnn.matmul.fp32_precision, backends.mkldnn.conv.fp32_precision),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "random": hashlib.sha256(torch.get_rng_state().cpu().numpy().tobytes()).hexdigest(),
        "numpy": hashlib.sha256(np.random.get_state()[1].tobytes()).hexdigest(),  # type: ignore[index]
    }


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def small() -> TrainConfig:
    """StyleGAN has nearly every kind of layer, and draws noise."""
    return replace(tiny(family="stylegan"), kimg=0.06)


def trained(out: Path) -> str:
    run = ganvas.train(small(), out=out, quiet=True, new=True)
    return digest(*load_file(run.path / "state" / "latest.safetensors").values())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ganvas.Run:
    return ganvas.train(small(), out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.fixture(scope="module")
def run_with_classes(tmp_path_factory: pytest.TempPathFactory) -> ganvas.Run:
    return ganvas.train(replace(small(), conditional=True), out=tmp_path_factory.mktemp("classes"), quiet=True)


def sampled(run: ganvas.Run) -> str:
    sampler = ganvas.load(run)
    parts = [part.numpy() for part in sampler.sample_batches(range(70))]
    return digest(sampler.sample(range(5), truncation=0.7), *parts)


def sampled_with_classes(run: ganvas.Run) -> str:
    sampler = ganvas.load(run)
    points = sampler.latents(range(2))
    sheet = ganvas.directions(sampler, method="sefa").sheet(n=1)
    walk = [part.numpy() for part in sampler.interpolate(latents=points, frames=2, loop=False)]
    return digest(sampler.sample(range(5)), sampler.draw(points), sampler.mix([0, 1], points), np.asarray(sheet), *walk)


def evaluated(run: ganvas.Run) -> str:
    found = ganvas.evaluate(run, count=60, quick=True, device="cpu")
    return repr({name: value.value for name, value in found.values.items()})


def stylized(_: ganvas.Run) -> str:
    photo, painting = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    return digest(ganvas.stylize(photo, painting, size=32, iterations=3, device="cpu").pixels)


CALLS: dict[str, Callable[[ganvas.Run], str]] = {"sample": sampled, "evaluate": evaluated, "stylize": stylized}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return trained(tmp_path_factory.mktemp("plain") / "plain")


@pytest.mark.slow
@pytest.mark.parametrize("caller_state", CALLER_STATES)
def test_training_is_the_same_in_any_caller_state(caller_state: str, expected: str, tmp_path: Path) -> None:
    with CALLER_STATES[caller_state]():
        before = state()
        found = trained(tmp_path / "other")
        assert state() == before
    assert found == expected


@pytest.mark.parametrize("call", ["sample", pytest.param("evaluate", marks=pytest.mark.slow), "stylize"])
def test_results_are_the_same_in_any_caller_state(call: str, run: ganvas.Run) -> None:
    check_in_any_caller_state(lambda: CALLS[call](run))


def test_pictures_with_classes_are_the_same_in_any_caller_state(
    run_with_classes: ganvas.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.latent_space.axes.SAMPLES", 64)
    check_in_any_caller_state(lambda: sampled_with_classes(run_with_classes))


def check_in_any_caller_state(call: Callable[[], str]) -> None:
    expected = call()
    for name, caller_state in CALLER_STATES.items():
        with caller_state():
            before = state()
            found = call()
            assert state() == before, name
        assert found == expected, name


@pytest.mark.parametrize("call", ["train", *CALLS])
def test_random_number_generators_of_the_caller_are_unchanged(call: str, run: ganvas.Run, tmp_path: Path) -> None:
    torch.manual_seed(3)
    torch.rand(5)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    expected = torch.rand(4), np.random.rand(4)
    torch.set_rng_state(torch_state)
    np.random.set_state(numpy_state)
    trained(tmp_path) if call == "train" else CALLS[call](run)
    assert torch.equal(torch.rand(4), expected[0])
    assert np.array_equal(np.random.rand(4), expected[1])


def test_state_of_the_caller_is_restored_after_an_error(tmp_path: Path) -> None:
    with torch.inference_mode(), default_dtype(torch.float64):
        before = state()
        with pytest.raises(ganvas.GanvasError):
            ganvas.train("digits", data=str(tmp_path / "nothing"), out=tmp_path, quiet=True)
        with pytest.raises(ganvas.GanvasError):
            ganvas.load(tmp_path / "nothing")
        assert state() == before


def test_sampling_in_batches_restores_the_state_of_the_caller_between_batches(run: ganvas.Run) -> None:
    parts = ganvas.load(run).sample_batches(range(130))
    with default_dtype(torch.float64):
        next(parts)
        assert torch.get_default_dtype() is torch.float64
        assert torch.is_grad_enabled()
        next(parts)


def test_overlapping_calls_in_threads_leave_the_callers_state(run: ganvas.Run) -> None:
    sampler = ganvas.load(run)
    expected = digest(sampler.sample(range(40)))
    found: list[str] = []

    def sample() -> None:
        for _ in range(10):
            found.append(digest(sampler.sample(range(40))))

    with default_dtype(torch.float64), low_precision():
        before = state()
        threads = [threading.Thread(target=sample) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = state()
    assert after == before
    assert set(found) == {expected}
    assert len(found) == 40


def test_sampling_in_a_thread_leaves_the_random_numbers_of_others(run: ganvas.Run) -> None:
    sampler = ganvas.load(run)
    ended = threading.Event()

    def sample() -> None:
        while not ended.is_set():
            sampler.sample(range(8))

    thread = threading.Thread(target=sample)
    torch.manual_seed(0)
    thread.start()
    drawn = torch.stack([torch.rand(()) for _ in range(5000)])
    ended.set()
    thread.join()
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.stack([torch.rand(()) for _ in range(5000)]))


def test_seeding_on_the_cpu_gives_the_numbers_of_torch_manual_seed_and_asks_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "manual_seed", None)
        seed_generators(7, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)
    every: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", every.append)
    seed_generators(7, torch.device("cuda"))
    assert every == [7]


def test_a_watched_loop_is_measured_in_any_default_dtype() -> None:
    G, D = torch.nn.Linear(4, 64), torch.nn.Linear(64, 1)
    with default_dtype(torch.float64), ganvas.watch(G, D, every=1) as probe:
        for _ in range(3):
            probe.step(real=torch.rand(8, 1, 8, 8), fake=G(torch.randn(8, 4, dtype=torch.float32)).reshape(8, 1, 8, 8))
    assert "images" not in probe.history.facts.probe_errors
