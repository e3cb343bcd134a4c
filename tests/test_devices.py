"""The device of a name, on machines that have it and on others."""

import pytest
import torch

from ganvas.devices import select_device
from ganvas.errors import GanvasError


def test_cpu_is_a_device() -> None:
    assert select_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "index"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_gpu_has_an_index(name: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.cuda.set_device refuses a device without an index."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert select_device(name) == torch.device("cuda", index)


def test_missing_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(GanvasError, match="cuda:1 does not exist"):
        select_device("cuda:1")
    with pytest.raises(GanvasError, match="'gpu' is not a device"):
        select_device("gpu")
