"""benchmarks/gpu.py from start to end on the CPU: interrupted, resumed, and called again."""

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.data import DataOptions, open_images
from ganvas.runs.log import read_jsonl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
STAGES = [
    "tests", "ceilings", "throughput", "compiled", "profile", "stacked", "stacked-fast", "cifar-r3gan",
    "cifar-stylegan", "cifar-fast", "faces-64", "faces-128", "ranks",
]  # fmt: skip


def script_command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]


def run_command(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    """300 + 100 digits of 8×8 as IDX files, and 300 RGB images of 8×8 in ten classes."""
    random = np.random.default_rng(0)
    digits = tmp_path / "idx"
    digits.mkdir()
    for split, n in (("train", 300), ("t10k", 100)):
        write_idx(digits / f"{split}-images-idx3-ubyte.gz", random.integers(0, 256, (n, 8, 8), np.uint8))
        write_idx(digits / f"{split}-labels-idx1-ubyte.gz", (np.arange(n) % 10).astype(np.uint8))
    pixels = random.integers(0, 256, (300, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "cifar.npz", images=pixels, labels=np.arange(300) % 10)
    return digits, tmp_path / "cifar.npz"


def test_data_is_packed_losslessly(sources: tuple[Path, Path], tmp_path: Path) -> None:
    digits, cifar = sources
    for name in ("once", "again"):
        output = run_command(
            *script_command("gpu_data.py", "--mnist", digits, "--cifar", cifar, "--out", tmp_path / name)
        )
        assert "total" in output
    once, again = (tmp_path / name / "cifar10-half.zip" for name in ("once", "again"))
    assert once.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(once) as archive:
        assert all(name.endswith(".webp") for name in archive.namelist())
    whole, half = (open_images(DataOptions(str(path)), progress=False) for path in (cifar, once))
    assert half.skipped == ()
    assert half.labels is not None
    assert whole.labels is not None
    assert np.bincount(half.labels).tolist() == [15] * 10
    labels = {pixels.tobytes(): label for pixels, label in zip(whole.images, whole.labels, strict=True)}
    assert [labels[pixels.tobytes()] for pixels in half.images] == half.labels.tolist()
    packed = open_images(DataOptions(str(tmp_path / "once" / "mnist"), "test"), progress=False)
    assert packed.images.shape == (100, 1, 8, 8)


@pytest.mark.exhaustive
def test_every_stage_runs_once(sources: tuple[Path, Path], tmp_path: Path) -> None:
    digits, cifar = sources
    data, out, work = tmp_path / "data", tmp_path / "out", tmp_path / "work"
    faces = tmp_path / "own.zip"
    with zipfile.ZipFile(faces, "w") as archive:
        for i, pixels in enumerate(np.load(cifar)["images"][:60]):
            with archive.open(f"{i}.png", "w") as file:
                Image.fromarray(pixels).save(file, "PNG")
    run_command(*script_command("gpu_data.py", "--mnist", digits, "--cifar", cifar, "--faces", faces, "--out", data))
    flags = ["--data", data, "--out", out, "--work", work, "--device", "cpu", "--tiny"]

    interrupted = subprocess.Popen(script_command("gpu.py", "cifar-stylegan", *flags))
    stats = work / "runs" / "cifar-stylegan" / "stats.jsonl"
    deadline = time.monotonic() + 60
    while not (stats.exists() and stats.stat().st_size):
        assert interrupted.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    interrupted.send_signal(signal.SIGTERM)
    assert interrupted.wait(60) == 130
    reached = list(read_jsonl(stats))[-1]["nimg"]
    assert not json.loads((out / "results.json").read_text())["stages"]["cifar-stylegan"]["done"]

    run_command(*script_command("gpu.py", *flags))
    results = json.loads((out / "results.json").read_text())
    assert list(results["stages"]) == ["cifar-stylegan", *(name for name in STAGES if name != "cifar-stylegan")]
    assert all(found["done"] for found in results["stages"].values())
    events = [event["event"] for event in read_jsonl(stats.with_name("events.jsonl"))]
    assert events.count("interrupted") >= 1
    assert events.count("resume") == 1
    found = results["stages"]["cifar-stylegan"]
    assert found["kimg"] * 1000 > reached
    assert found["peak_bytes"] > 0

    marked, fast = results["stages"]["tests"]["rows"]
    assert marked["passed"] >= 2
    assert fast["passed"] >= 4
    assert marked["failed"] == fast["failed"] == []
    stages = results["stages"]
    measured = {(row["recipe"], row["mode"]) for row in stages["throughput"]["rows"] if "error" not in row}
    assert measured == {(name, mode) for name in ("cnn-stable", "r3gan-short") for mode in ("fp32", "tf32", "bf16")}
    for row in (*stages["throughput"]["rows"], *stages["compiled"]["rows"]):
        assert 0 < row["min"] <= row["images_per_s"] <= row["max"]
        assert row["peak_bytes"] > 0
        assert row["flops_per_image"] > 0
        assert row["bytes_per_image"] > 0
        assert row["notes"] == [], "it was not compiled"
    assert {row["mode"] for row in stages["compiled"]["rows"]} == {"bf16, compiled"}
    assert {row["ceiling"] for row in stages["ceilings"]["rows"]} == {"fp32", "tf32", "bf16", "copy"}
    assert all(row["value"] > 0 for row in stages["ceilings"]["rows"])
    assert all(0 < row["operations"][0]["share"] <= 1 for row in stages["profile"]["rows"])
    evaluation = results["stages"]["stacked"]["evaluation"]
    assert 0 <= evaluation["values"]["modes"]["value"] <= 100
    assert 0 < evaluation["values"]["kl_uniform"]["value"] < 7
    assert evaluation["protocol"]["subject"]["count"] == 100
    assert all(row["same"] and row["ranks_equal"] for row in results["stages"]["ranks"]["rows"])

    grids = [f"{name}.png" for name in STAGES if name.startswith(("cifar", "stacked", "faces"))]
    assert sorted(os.listdir(out)) == sorted(["report.md", "results.json", *grids])
    for name in grids:
        with Image.open(out / name) as grid:
            assert grid.width > 500
    report = (out / "report.md").read_text()
    assert [line for line in report.splitlines() if line.startswith("## ")] == [f"## {name}" for name in STAGES]
    assert "classes generated" in report

    before = (out / "results.json").read_text()
    output = run_command(*script_command("gpu.py", *flags))
    assert output.splitlines() == [f"{name}: already done" for name in STAGES]
    assert (out / "results.json").read_text() == before
