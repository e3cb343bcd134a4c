"""The fault of three public course reports: under Keras 3 their discriminator was never updated, without a warning."""

from pathlib import Path
from types import ModuleType

from ganvas.diagnosis.sources import diagnose


def write_printed_log(own_loop: ModuleType, fault: str, path: Path) -> Path:
    """Write what such a loop prints: Keras halves D's loss, the mean of two batches."""
    history = own_loop.train(*own_loop.digits(), fault=fault, steps=150, every=7, report=None).history
    losses = zip(history["D/loss"].value, history["G/loss"].value, strict=True)
    lines = [f"{10 * i} [D loss: {d / 2:f}, acc.: 50.00%] [G loss: {g:f}]\n" for i, (d, g) in enumerate(losses)]
    path.write_text("".join(lines))
    return path


def test_frozen_d_is_detected_in_a_printed_log(own_loop: ModuleType, tmp_path: Path) -> None:
    found = diagnose(write_printed_log(own_loop, "d-frozen", tmp_path / "log.txt"))
    assert found.failures[0].name == "D frozen"
    assert any("Keras" in cause for cause in found.failures[0].causes)
    assert "mode collapse" in found.unchecked


def test_healthy_log_is_healthy(own_loop: ModuleType, tmp_path: Path) -> None:
    assert diagnose(write_printed_log(own_loop, "healthy", tmp_path / "log.txt")).healthy


def test_frozen_d_is_detected_at_once_in_a_loop(own_loop: ModuleType) -> None:
    messages: list[str] = []
    own_loop.train(*own_loop.digits(), fault="d-frozen", steps=12, every=5, report=messages.append)
    assert "D is frozen" in messages[0]
    assert "exactly 0" in messages[0]
