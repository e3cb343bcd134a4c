"""The quality monitor: measures when due, keeps the best snapshot, has bounded cost, and never ends a run."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import shorten_statistics, tiny

from ganvas import networks, sampling
from ganvas.comparison.measurements import read_curves, read_trend
from ganvas.config import replace
from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.diagnosis import budget
from ganvas.diagnosis.budget import TimeBudget
from ganvas.evaluation.trend import Trend
from ganvas.features import efficientnet
from ganvas.networks import Shape
from ganvas.runs import log
from ganvas.runs.folder import Run
from ganvas.training import start
from ganvas.training.monitor.quality import QualityMonitor
from ganvas.training.monitor.subject import RunNetworks
from ganvas.training.state import TrainState


@pytest.fixture
def always_affordable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every measurement fits into the allowed share of time."""
    monkeypatch.setattr(budget, "SHARE", 1e6)
    monkeypatch.setattr("ganvas.evaluation.trend.MAX_IMAGES", 120)
    monkeypatch.setattr("ganvas.evaluation.trend.MIN_IMAGES", 30)


def build_monitor(run: Run, images: ImageSet, every: int, seconds: float) -> tuple[QualityMonitor, TimeBudget]:
    """After so many seconds of training, none of which was spent on monitoring."""
    time_budget = TimeBudget.of_run()
    time_budget.seconds = seconds
    latent = run.config.network.latent
    return QualityMonitor(
        run, partial(Trend, images, latent, False, torch.device("cpu")), every, time_budget
    ), time_budget


@pytest.mark.usefixtures("always_affordable")
def test_best_snapshot_is_kept_and_the_curve_is_written(tmp_path: Path) -> None:
    run = start.train(replace(tiny(kimg=0.4), evaluate_every=0.1), out=tmp_path, quiet=True)
    lines = [line for line in log.read_jsonl(run.path / "stats.jsonl") if "quality" in line]
    assert len(lines) == 4
    best = min(lines, key=lambda line: line["quality"])
    assert lines[-1]["best"] == best["quality"]
    assert run.best_snapshot is not None
    card = json.loads((run.best_snapshot / "card.json").read_text())
    assert (card["nimg"], card["quality"]["value"]) == (best["nimg"], best["quality"])
    assert card["quality"]["extractor"] == "eye"
    assert run.best_snapshot not in run.snapshots
    assert sampling.load(run.best_snapshot).sample(seeds=[3]).shape == (1, 1, 8, 8)
    again = start.train(replace(tiny(kimg=0.4), evaluate_every=0.1), out=tmp_path, quiet=True)
    assert again.path == run.path


@pytest.mark.usefixtures("always_affordable")
def test_features_of_ds_own_network_choose_no_best_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(efficientnet, "is_installed", lambda: False)
    monkeypatch.setattr(start, "measure_speed", lambda *_: 1000.0)
    run = start.train(replace(tiny(family="projected", kimg=0.08, r1=0.0, r2=0.0), evaluate_every=0.04), out=tmp_path)
    lines = [line for line in log.read_jsonl(run.path / "stats.jsonl") if "quality" in line]
    assert len(lines) == 2, "it is recorded"
    assert not any("best" in line for line in lines)
    assert run.best_snapshot is None
    printed = capfd.readouterr().err
    assert printed.count("no best snapshot is chosen") == 1
    assert f"quality {lines[-1]['quality']:.3g}  left" in (run.path / "log.txt").read_text()
    assert read_trend(run) is None
    assert "quality" not in read_curves(run), "it is not drawn beside that of others"


@pytest.mark.usefixtures("always_affordable")
def test_networks_are_measured_when_they_have_grown(tmp_path: Path) -> None:
    config = replace(tiny(family="stylegan", kimg=0.2), evaluate_every=0.04, growth="0..1@0-0.5")
    run = start.train(config, out=tmp_path, quiet=True)
    lines = [line for line in log.read_jsonl(run.path / "stats.jsonl") if line["nimg"]]
    assert min(line["growth"] for line in lines) < 1
    assert {line["growth"] for line in lines if "quality" in line} == {1}


@pytest.mark.usefixtures("always_affordable")
def test_monitor_does_not_change_the_run(tmp_path: Path) -> None:
    weights = []
    for every in (0.0, 0.1):
        config = replace(tiny(), evaluate_every=every)
        run = start.train(config, out=tmp_path / str(every), quiet=True)
        weights.append((run.latest_snapshot / "G.safetensors").read_bytes())
        assert (run.best_snapshot is None) == (every == 0)
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("always_affordable")
def test_failing_measurement_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise MemoryError("no room")

    monkeypatch.setattr(Trend, "measure", fail)
    run = start.train(replace(tiny(), evaluate_every=0.1), out=tmp_path, quiet=True)
    failures = [e for e in log.read_jsonl(run.path / "events.jsonl") if e["event"] == "evaluation failed"]
    assert [e["error"] for e in failures] == ["MemoryError: no room"]
    assert run.latest_snapshot.name == "000000.200"
    assert run.config.total_images == 200


def test_measurement_waits_until_its_time_share_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(tiny(), evaluate_every=0.1)
    run = start.train(config, out=tmp_path, quiet=True)
    assert not any("quality" in line for line in log.read_jsonl(run.path / "stats.jsonl"))
    images = open_images(DataOptions("digits"))
    generator, _ = networks.build(config.network, Shape(1, 8, 8))
    monitor, time_budget = build_monitor(run, images, 100, seconds=9.0)
    assert monitor.measure(generator.eval, 100) is None
    assert monitor.trend is None  # not even tried
    time_budget.seconds = 1e4
    assert monitor.measure(generator.eval, 100) is not None
    assert monitor.trend is not None
    time_budget.seconds = 1e5
    assert monitor.measure(generator.eval, 150) is None  # not due
    time_budget.spent["quality"] = 0.0
    monitor.trend.expected_seconds = 30.0
    measured: list[int] = []
    monkeypatch.setattr(monitor.trend, "measure", lambda *_: measured.append(1))
    time_budget.seconds = 400.0
    assert monitor.measure(generator.eval, 200) is None  # 20 s, and it takes 30
    assert not measured
    time_budget.seconds, time_budget.spent["probes"] = 2000.0, 155.0
    monitor.measure(generator.eval, 200)  # 100 s, but probes have left 7 of what there is for both
    assert not measured
    time_budget.spent["probes"] = 60.0
    monitor.measure(generator.eval, 200)
    assert measured


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 0.2 kimg."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_statistics(patch)
        return start.train(tiny(kimg=0.2), out=tmp_path_factory.mktemp("trained"), quiet=True)


@pytest.mark.parametrize(("kimg", "count"), [(1.0, 250), (100.0, 500), (1000.0, 1400)])
def test_number_of_images_follows_the_time_share(
    trained: Run, monkeypatch: pytest.MonkeyPatch, kimg: float, count: int
) -> None:
    """At 0.1 s per kimg each kimg allows 5 ms of measurement; an image takes 1 ms."""
    monkeypatch.setattr(Trend, "seconds_per_image", lambda *_: 1e-3)
    images = open_images(DataOptions("digits"))
    generator, _ = networks.build(trained.config.network, Shape(1, 8, 8))
    monitor, _ = build_monitor(trained, images, round(1000 * kimg), seconds=100.0)
    monitor.measure(generator.eval, 1_000_000)  # a busy machine may leave it no time for so many
    assert monitor.describe(0.0)["count"] == count


@pytest.mark.usefixtures("always_affordable")
def test_resumed_run_keeps_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trend, "seconds_per_image", lambda *_: 0.5e6)  # so slow that the smallest number is used
    config = replace(tiny(kimg=0.4), evaluate_every=0.1)
    run = start.train(config, out=tmp_path, quiet=True)
    assert run.best_snapshot is not None
    before = json.loads((run.best_snapshot / "card.json").read_text())["quality"]["count"]
    monkeypatch.setattr(Trend, "seconds_per_image", lambda *_: 1e-9)
    again, _ = build_monitor(run, open_images(DataOptions("digits")), 100, seconds=100.0)
    generator, _ = networks.build(config.network, Shape(1, 8, 8))
    assert again.measure(generator.eval, 1000) is not None
    assert again.describe(0.0)["count"] == before


def test_trend_is_lower_for_better_images() -> None:
    images = open_images(DataOptions("digits"))
    trend = Trend(images, 6, False, torch.device("cpu"))

    class Replay(torch.nn.Module):
        shape = Shape(1, 8, 8)

        def __init__(self, noise: float) -> None:
            super().__init__()
            self.noise = noise

        def truncated(self, z: torch.Tensor, labels: object, truncation: float) -> torch.Tensor:
            rows = ((z[:, 0].abs() * 1e6).long() % len(images)).numpy()
            pixels = torch.from_numpy(images.images[rows]) / 127.5 - 1
            return pixels + self.noise * torch.sin(1e3 * z[:, :1, None, None] * torch.arange(8))

    values = [trend.measure(Replay(noise), 1e9) for noise in (0.0, 0.3, 1.0)]  # type: ignore[arg-type]
    assert all(value is not None for value in values)
    assert values == sorted(values)  # type: ignore[type-var]
    assert abs(values[0]) < 0.1 * values[2]  # type: ignore[arg-type,operator]


@pytest.mark.parametrize("conditional", [True, False])
def test_held_out_images_have_the_classes_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conditional: bool
) -> None:
    for number, name in enumerate(("train/cat", "train/dog", "test/ant", "test/cat", "test/dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (8, 8), 10 * number + i).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    config = replace(tiny("~/photos"), conditional=conditional)
    images = open_images(config.dataset.options(), progress=False)
    state = TrainState.build(config, Shape(1, 8, 8, 2 if conditional else 0), torch.device("cpu"))
    networks = RunNetworks(config.dataset, images, state)
    inputs = networks._held_out
    assert inputs is not None
    found = [] if inputs.labels is None else inputs.labels.tolist()
    assert found == ([0, 0, 0, 1, 1, 1] if conditional else [])
    assert sorted({int(value) // 10 for value in inputs.values[:, 0, 0, 0]}) == ([3, 4] if conditional else [2, 3, 4])
    assert networks.on_held_out(torch.zeros(1)) is not None
