"""Which device a name means, on machines that have it and on others."""

import pytest
import torch

from ganvas.devices import select_device
from ganvas.errors import GanvasError


def test_the_cpu() -> None:
    assert select_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "number"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_gpu_has_its_number(name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.cuda.set_device refuses one without."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert select_device(name) == torch.device("cuda", number)


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(GanvasError, match="cuda:1 does not exist"):
        select_device("cuda:1")
    with pytest.raises(GanvasError, match="'gpu' is not a device"):
        select_device("gpu")
