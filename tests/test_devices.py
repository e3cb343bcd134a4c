"""The device of a name, on machines that have it and on others; memory there; what is said where it fails."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from ganvas import devices, environment, pytorch_state
from ganvas.devices import count_gpus, free_bytes, select_device, synchronize, used_memory, widest_float
from ganvas.errors import GanvasError
from ganvas.training import precision
from ganvas.training.memory import peak_bytes

CPU, CUDA, XPU, MPS = (torch.device(name) for name in ("cpu", "cuda:0", "xpu:1", "mps"))
MISSING = (
    "The operator 'aten::{operator}' is not currently implemented for the {kind} device. If you want this op to be "
    "considered for addition please comment. As a temporary fix, you can set the environment variable "
    "`PYTORCH_ENABLE_{kind}_FALLBACK=1` to use the CPU as a fallback for this op."
)


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, xpu: int = 0, mps: bool = False) -> None:
    """A machine with these GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: xpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_cpu_is_a_device() -> None:
    assert select_device("cpu") == CPU


@pytest.mark.parametrize(("name", "index"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_gpu_has_an_index(name: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.cuda.set_device refuses a device without an index."""
    pretend(monkeypatch, cuda=2)
    assert select_device(name) == torch.device("cuda", index)


@pytest.mark.parametrize(
    ("gpus", "chosen"),
    [
        ({"cuda": 1, "xpu": 1, "mps": True}, "cuda:0"),
        ({"xpu": 2}, "xpu:0"),
        ({"mps": True}, "mps"),
        ({}, "cpu"),
    ],
)
def test_auto_takes_the_first_gpu_there_is(gpus: dict[str, Any], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, **gpus)
    assert select_device("auto") == torch.device(chosen)


@pytest.mark.parametrize(("name", "chosen"), [("xpu", "xpu:0"), ("xpu:1", "xpu:1"), (XPU, "xpu:1")])
def test_xpu_is_named_like_cuda(name: Any, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, xpu=2)
    assert select_device(name) == torch.device(chosen)
    assert count_gpus() == {"cuda": 0, "xpu": 2, "mps": 0}


@pytest.mark.parametrize("name", ["cuda:1", "xpu", "xpu:0", "mps", "meta", "mps:1"])
def test_missing_devices_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=1)
    with pytest.raises(GanvasError, match=f"{name} does not exist: the GPUs of this machine are 1 of cuda, 0 of xpu"):
        select_device(name)


@pytest.mark.parametrize("name", ["gpu", "xpu:", "", 3, None])
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(GanvasError, match=r"auto, cpu, cuda, cuda:N, xpu, xpu:N or mps"):
        select_device(name)


@pytest.fixture
def _gpus_with_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (torch.cuda, torch.xpu):
        monkeypatch.setattr(module, "memory_allocated", lambda device: 5_000_000)
        monkeypatch.setattr(module, "max_memory_allocated", lambda device: 7_000_000)
        monkeypatch.setattr(module, "mem_get_info", lambda device: (3 * 10**9, 4 * 10**9))
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 5_000_000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 7_000_000)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 3 * 10**9 + 7_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 10**9))


@pytest.mark.usefixtures("_gpus_with_memory")
@pytest.mark.parametrize("device", [CUDA, XPU, MPS], ids=str)
def test_memory_is_that_of_the_gpu(device: torch.device) -> None:
    assert used_memory(device) == {"memory": 5.0}
    assert peak_bytes(device) == 7_000_000
    assert free_bytes(device) == 3 * 10**9


@pytest.mark.usefixtures("_gpus_with_memory")
def test_mps_shares_the_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    assert free_bytes(MPS) == 10**9
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 0)
    assert free_bytes(MPS) == 0


def test_free_memory_of_an_xpu_that_does_not_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device) -> tuple[int, int]:
        raise RuntimeError("The device doesn't support querying the available free memory.")

    for module in (torch.xpu, torch.cuda):
        monkeypatch.setattr(module, "mem_get_info", refuse)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: SimpleNamespace(total_memory=9 * 10**9))
    monkeypatch.setattr(torch.xpu, "memory_reserved", lambda device: 10**9)
    assert free_bytes(XPU) == 8 * 10**9
    with pytest.raises(RuntimeError):
        free_bytes(CUDA)


@pytest.mark.parametrize("device", [CPU, CUDA, XPU, MPS], ids=str)
def test_each_gpu_is_waited_for_by_its_own_module(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for module in (torch.cuda, torch.xpu, torch.mps):
        monkeypatch.setattr(module, "synchronize", lambda *_, name=module.__name__: called.append(name))
    synchronize(device)
    assert called == ([] if device == CPU else [f"torch.{device.type}"])


def test_only_cuda_copies_without_waiting() -> None:
    """MPS and XPU may read memory that is not pinned when it belongs to something else."""
    assert {"cuda"} == devices.PINNED
    assert devices.upload(torch.ones(2), CPU).tolist() == [1, 1]


@pytest.mark.parametrize("has_fp64", [True, False])
def test_float64_only_where_the_device_has_it(has_fp64: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: SimpleNamespace(has_fp64=has_fp64))
    assert widest_float(CPU) == widest_float(CUDA) == torch.float64
    assert widest_float(XPU) == (torch.float64 if has_fp64 else torch.float32)
    assert widest_float(MPS) == torch.float32


def test_generators_of_an_xpu_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of CUDA: the caller's random numbers stay as they were."""
    states, seeds = [torch.tensor([1])], list[int]()
    monkeypatch.setattr(torch.xpu, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.xpu, "get_rng_state_all", lambda: [state.clone() for state in states])
    monkeypatch.setattr(torch.xpu, "set_rng_state_all", lambda new: states.__setitem__(slice(None), new))
    monkeypatch.setattr(torch.xpu, "manual_seed_all", seeds.append)
    with pytorch_state.default_state():
        states[0] = torch.tensor([2])
    assert states[0].item() == 1
    assert not seeds


def test_devices_of_the_machine_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, xpu=1)
    monkeypatch.setattr(torch.xpu, "mem_get_info", lambda device: (3 * 10**9, 4 * 10**9))
    monkeypatch.setattr(torch.xpu, "get_device_name", lambda device: "a GPU of Intel")
    first, *_ = environment._devices()
    assert first == {"device": "xpu:0", "name": "a GPU of Intel", "free": 3 * 10**9, "total": 4 * 10**9}


@pytest.mark.parametrize("kind", ["MPS", "XPU"])
def test_a_missing_operation_is_explained(kind: str) -> None:
    explained = devices.explain_missing_operation(
        NotImplementedError(MISSING.format(operator="linalg_thing.out", kind=kind))
    )
    assert explained is not None
    assert f"cannot compute aten::linalg_thing.out on {kind}" in explained.what
    assert f"PYTORCH_ENABLE_{kind}_FALLBACK=1" in explained.fix
    assert "--device cpu" in explained.fix


def test_sizes_that_an_operation_lacks_do_not_fall_back() -> None:
    """PyTorch issue 96056: the variable has no effect on them."""
    text = "Adaptive pool MPS: input sizes must be divisible by output sizes. It is not implemented on MPS device yet."
    explained = devices.explain_missing_operation(NotImplementedError(text))
    assert explained is not None
    assert explained.fix == "--device cpu."


@pytest.mark.parametrize(
    "error", [NotImplementedError("not yet"), RuntimeError("for the MPS device"), NotImplementedError()]
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert devices.explain_missing_operation(error) is None
    assert not devices.is_out_of_memory(error)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("device", [CUDA, XPU], ids=str)
def test_bfloat16_only_where_a_gpu_does_not_emulate_it(
    native: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = torch.cuda if device == CUDA else torch.xpu
    monkeypatch.setattr(module, "device", lambda device: nullcontext())
    monkeypatch.setattr(module, "is_bf16_supported", lambda including_emulation: including_emulation or native)
    assert precision.choose("auto", device) == ("bf16" if native else "fp32")
    assert precision.choose("auto", MPS) == precision.choose("auto", CPU) == "fp32"
