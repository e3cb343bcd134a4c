"""On a pretended GPU (`pretended_gpu`): nothing is left on the CPU, and a round waits for nothing on the device."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretended_gpu import META, OnTwoDevices, PretendedGPU
from support import NARROW, tiny
from torch import Tensor
from torch.nn.functional import softplus
from watched_loops import discriminator, generator

import ganvas
from ganvas import devices
from ganvas.config import DatasetConfig, TrainConfig, replace
from ganvas.config.custom import Custom
from ganvas.data import Batches, batches, open_images
from ganvas.diagnosis.budget import TimeBudget
from ganvas.diagnosis.history import History
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.diagnosis.sources import facts_of
from ganvas.evaluation.trend import Trend
from ganvas.game.augment import ADJUST_EVERY
from ganvas.interrupts import StopRequests
from ganvas.latent_space import search
from ganvas.latent_space.noise import change_noise
from ganvas.latents import Latents
from ganvas.networks import Shape
from ganvas.networks.stylegan import ProgressiveNetwork
from ganvas.recipes import RECIPES
from ganvas.runs import checkpoint
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training import grids
from ganvas.training.cancellation import CancellableRounds
from ganvas.training.freezing import freeze_first_layers
from ganvas.training.loop import Session
from ganvas.training.moment_fitting import fit_moments
from ganvas.training.monitor.subject import RunNetworks
from ganvas.training.start import train
from ganvas.training.state import Batch, TrainState
from ganvas.training.stats import Stats

SIZE, CHANNELS, CLASSES, BATCH = 16, 3, 3, 4

SMALL = {
    "latent", "g_width", "d_width", "g_widths", "d_widths", "width", "pixel_width", "token_width", "heads",
    "head_width", "depth", "mapping_layers", "features_net",
}  # fmt: skip
"""Knobs of NARROW that make a network small; all others stay the recipe's."""


def narrow(recipe: str, **knobs: Any) -> TrainConfig:
    """A recipe with the narrowest networks, small batches, and at most two updates of D in a round."""
    config = RECIPES[recipe].config
    network = config.network
    if isinstance(network, Custom):
        small: Any = Custom(g="dcgan(g_width=4)", d="dcgan(d_width=4)", latent=6)
    else:
        least = NARROW[network.family]
        small = dataclasses.replace(network, **{name: getattr(least, name) for name in SMALL & vars(least).keys()})
    microbatch = config.optimisation.microbatch and BATCH // 2
    config = replace(dataclasses.replace(config, network=small), kimg=1, batch=BATCH, microbatch=microbatch)
    return replace(config, **{"d_steps": min(2, config.balance.d_steps), **knobs})


def shape_of(config: TrainConfig) -> Shape:
    return Shape(CHANNELS, SIZE, SIZE, CLASSES if config.dataset.conditional else 0)


def build(config: TrainConfig) -> TrainState:
    return TrainState.build(config, shape_of(config), META)


def draw_batches(config: TrainConfig, shape: tuple[int, int, int] = (CHANNELS, SIZE, SIZE)) -> list[Batch]:
    n = config.optimisation.batch
    images = torch.zeros(n, *shape, dtype=torch.uint8, device=META)
    labels = torch.zeros(n, dtype=torch.long, device=META)
    return [(images, labels)] * config.balance.d_steps


def play(config: TrainConfig, times: Sequence[int] = (980,)) -> tuple[TrainState, PretendedGPU]:
    """Rounds at these numbers of images shown, and what they do on the device."""
    state, stats = build(config), Stats(META)
    with PretendedGPU() as gpu:
        for nimg in times:
            for quantities in state.train_round(draw_batches(config), nimg):
                stats.add(quantities, nimg)
                assert {value.device for value in quantities.values()} == {META}
    assert gpu.operations > 100
    assert not gpu.doubles
    return state, gpu


@pytest.fixture(autouse=True)
def _without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """MPS and some XPUs cannot compute with it, so nothing may where `widest_float` says so."""
    for module in ("training.stats", "diagnosis.signals.networks", "style.losses"):
        monkeypatch.setattr(f"ganvas.{module}.widest_float", lambda device: torch.float32)


@pytest.fixture(autouse=True)
def _uploads_like_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "PINNED", {"meta"})
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self.clone())  # which needs a GPU


def test_tensors_left_on_the_cpu_are_found() -> None:
    """The check itself: without it the meta device computes with tensors of both."""
    there, here = torch.ones(3, 3, device=META), torch.ones(3, 3)
    generator = torch.Generator()
    operations: dict[str, Callable[[], object]] = {
        "sum": lambda: there + here,
        "product": lambda: there @ here,
        "rows": lambda: there[torch.tensor([0, 1])],
        "inside": lambda: torch.cat([there, here]),
        "in place": lambda: there.mul_(here),
        "generator": lambda: torch.randn(3, generator=generator, device=META),
    }
    for operation in operations.values():
        with PretendedGPU(), pytest.raises(OnTwoDevices):
            operation()
    with PretendedGPU() as gpu:
        _ = there + torch.tensor(2.0)  # a number
        there.add_(1).copy_(here, non_blocking=True)
        here.to(META, non_blocking=True)
    assert not gpu.waits


def test_waiting_for_the_device_is_counted() -> None:
    there, here = torch.ones(3, 3, device=META), torch.ones(3, 3)
    reads: dict[str, Callable[[], object]] = {
        "item": lambda: there.sum().item(),
        "float": lambda: float(there.sum()),
        "int": lambda: int(there.sum()),
        "bool": lambda: bool(there.sum() > 0),
        "if": lambda: 1 if there.any() else 0,
        "tolist": lambda: there.tolist(),
        "cpu": lambda: there.cpu(),
        "to": lambda: there.to("cpu"),
        "to another": lambda: there.to(here),
        "copy": lambda: here.copy_(there),
        "upload": lambda: here.to(META),
        "upload of a list": lambda: torch.tensor([1.0, 2.0], device=META),
        "nonzero": lambda: there.nonzero(),
        "mask": lambda: there[there > 0],
        "assignment by a mask": lambda: there.__setitem__(there > 0, 0.0),
        "equal": lambda: torch.equal(there, there),
        "unique": lambda: there.unique(),
    }
    for name, read in reads.items():
        with PretendedGPU() as gpu:
            read()
        assert gpu.waits, name


OTHERS = {
    "digits": {"augment": "ada", "ada_target": 0.6, "objective": "non-saturating", "g_steps": 2},
    "cnn-stable": {"augment": "diffaugment", "noise": "0.1..0", "penalty_every": 2, "dragan": 1.0, "precision": "fp16"},
    "wgan": {"microbatch": 2, "g_norm": "none", "augment": "translation", "gp": 1.0, "r1": 1.0},
    "fast": {"conditional": True, "shared_fakes": False},
}
"""Further knobs, with a recipe that allows them."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_round_of_every_recipe_stays_on_the_device_and_never_waits_for_it(recipe: str) -> None:
    config = narrow(recipe)
    _, gpu = play(config)
    assert not gpu.waits
    if config.network.family == "projected":
        assert config.loss.moments


@pytest.mark.parametrize("family", NARROW)
def test_a_round_in_bfloat16_with_classes_stays_on_the_device_and_never_waits_for_it(family: str) -> None:
    """Or without classes, where the recipe has them."""
    recipe = next(name for name, recipe in RECIPES.items() if recipe.config.network.family == family)
    config = narrow(recipe)
    state, gpu = play(replace(config, conditional=not config.dataset.conditional, d_steps=1, precision="bf16"))
    assert state.precision == ("bf16" if state.game.G.mixed_precision else "fp32")
    assert not gpu.waits


@pytest.mark.parametrize("recipe", OTHERS)
def test_further_knobs_stay_on_the_device_and_never_wait_for_it(recipe: str) -> None:
    config = narrow(recipe, **OTHERS[recipe])
    state, gpu = play(config, [BATCH * i for i in range(ADJUST_EVERY if config.loss.ada_target else 1)])
    assert not gpu.waits
    assert state.ada is None or state.ada.p.device == META


@pytest.mark.parametrize("nimg", [0, 150, 400])
def test_growing_stays_on_the_device_and_never_waits_for_it(nimg: int) -> None:
    state, gpu = play(narrow("stylegan", shared_fakes=True), [nimg])
    grown = state.game.G
    assert isinstance(grown, ProgressiveNetwork)
    assert (grown.stage, grown.alpha < 1) == {0: (0, False), 150: (1, True), 400: (2, True)}[nimg]
    assert not gpu.waits


def test_latents_of_many_rounds_are_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[Tensor] = []
    upload = devices.upload
    monkeypatch.setattr(devices, "upload", lambda tensor, device: (copies.append(tensor), upload(tensor, device))[1])
    config = narrow("mlp", tick_kimg=0.2)
    rounds = 200 // config.images_per_round
    play(config, [config.images_per_round * i for i in range(rounds + 1)])
    assert [len(copy) for copy in copies] == [rounds, rounds]


def test_latents_are_waited_for_where_a_copy_may_read_its_source_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MPS and XPU: else their memory may be something else by then, and the numbers wrong."""
    monkeypatch.setattr(devices, "PINNED", {"cuda"})
    _, gpu = play(narrow("mlp"))
    assert [wait.split()[1] for wait in gpu.waits] == ["upload:"]


def test_an_update_policy_waits_once_a_round() -> None:
    """It decides on the CPU which network the next round updates."""
    _, gpu = play(narrow("mlp", loss_change=1.0), [0, BATCH, 2 * BATCH])
    assert [wait.partition(":")[0] for wait in gpu.waits] == ["balance.py"] * 3


# A whole training


@pytest.fixture
def data(write_images: Callable[..., Path]) -> Path:
    return write_images(40, SIZE, SIZE, CHANNELS, classes=CLASSES)


@pytest.fixture
def _on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part of the package computes on the pretended GPU."""
    for module in ("sampling", "evaluation.evaluation", "training.distributed"):
        monkeypatch.setattr(f"ganvas.{module}.select_device", lambda name: META)


@dataclasses.dataclass
class Watched:
    """What a training waited for in each round, and before each round since the one before; and all that was done."""

    gpu: PretendedGPU
    rounds: list[list[str]] = dataclasses.field(default_factory=list)
    before: list[list[str]] = dataclasses.field(default_factory=list)
    seen: int = 0

    def take_waits(self) -> list[str]:
        """Those since the last call."""
        waits, self.seen = self.gpu.waits[self.seen :], len(self.gpu.waits)
        return waits


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A training on the pretended GPU whose ticks measure all they can. What they read is made up: none judges it."""
    monkeypatch.setattr(Stats, "first_non_finite", lambda self: None)
    monkeypatch.setattr(TimeBudget, "allows", lambda self, *_: True)
    monkeypatch.setattr(TimeBudget, "left", lambda self, name: math.inf)
    found = Watched(PretendedGPU())
    whole, one_round = Session.train, Session._train_round

    def train_whole(self: Session, *arguments: Any) -> None:
        with found.gpu:
            whole(self, *arguments)

    def train_round(self: Session, *arguments: Any, **options: Any) -> None:
        found.before.append(found.take_waits())
        one_round(self, *arguments, **options)
        found.rounds.append(found.take_waits())

    monkeypatch.setattr(Session, "train", train_whole)
    monkeypatch.setattr(Session, "_train_round", train_round)
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    return found


def is_upload_of_the_batch(wait: str) -> bool:
    """The loader of the CPU, which any GPU but CUDA's has, copies each batch and waits for it."""
    return wait.startswith("batches.py") and "gather" in wait


@pytest.mark.usefixtures("_on_the_device")
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_a_training_never_waits_between_its_ticks(family: str, data: Path, watched: Watched) -> None:
    """Batches, rounds, cancellable ones, statistics; and all that ticks and snapshots do stays on the device."""
    config = replace(tiny(data, family=family, kimg=0.08), snapshot_kimg=0.04, tick_kimg=0.04)
    config = replace(config, conditional=family == "mlp", mirror=True)
    run = train(config, quiet=True)
    assert len(watched.rounds) == 4
    assert not [wait for waits in watched.rounds for wait in waits if not is_upload_of_the_batch(wait)]
    assert [bool(waits) for waits in watched.before] == [True, False, True, False], "a tick is after every second round"
    assert not watched.gpu.doubles
    events = list(read_jsonl(run.path / "events.jsonl"))
    assert events[-1]["event"] == "done"
    assert not [event for event in events if "failed" in event["event"]]
    ticks = list(read_jsonl(run.path / "stats.jsonl"))
    assert len(ticks) == 2
    assert all(tick["signals"].keys() >= {"D/auc", "G/update", "diversity", "D/input_gradient"} for tick in ticks)
    assert "quality" in ticks[-1]
    assert run.best_snapshot is not None
    assert run.latest_snapshot.exists()
    assert checkpoint.load(run.state_file)[1]["nimg"] == 80


@pytest.mark.filterwarnings("ignore:.*to a meta parameter")
@pytest.mark.parametrize("recipe", ["fast", "stylegan", "transformer-modern"])
def test_what_is_done_at_a_tick_stays_on_the_device(recipe: str) -> None:
    """Also of families whose training takes longer: moments, the probe, the average, its pictures, a saved state."""
    config = replace(narrow(recipe), data="digits", conditional=True, mirror=True, batch=20)
    images = open_images(config.dataset.options(), progress=False)
    state = TrainState.build(config, Shape(1, 8, 8, 10), META)
    with PretendedGPU() as gpu:
        fit_moments(state, images, 0)
        history = History("kimg", facts_of(config, len(images), 10, critic=False))
        probe = NetworkProbe(RunNetworks(config.dataset, images, state), history)
        probe.prepare()
        state.train_round(draw_batches(config, (1, 8, 8)), 980)
        assert probe.measure().keys() >= {"D/auc", "G/update", "D/input_gradient", "G/label_effect"}
        assert probe.errors == {}
        state.average_for_sampling(images)
        assert grids.draw_fakes(state, Shape(1, 8, 8, 10), images).width > 0
        assert freeze_first_layers(state.game.D, 1, Shape(1, 8, 8, 10), META)
        saved = {name: torch.zeros(t.shape, dtype=t.dtype) for name, t in checkpoint.named_tensors(state.parts).items()}
        checkpoint.restore(state.parts, saved)
    restored = checkpoint.named_tensors(state.parts)
    assert {name for name, t in restored.items() if t.device != META} == {name for name in saved if "/step" in name}
    assert not gpu.doubles


def test_slow_rounds_that_can_be_cancelled_never_wait() -> None:
    config = narrow("cnn-stable")
    rounds = CancellableRounds(build(config), StopRequests())
    with PretendedGPU() as gpu:
        for nimg in (0, BATCH):
            assert rounds.run(draw_batches(config), nimg, slow=True) is not None
    assert not gpu.waits


@pytest.mark.parametrize("fits", [True, False])
def test_batches_for_cuda_never_wait(fits: bool, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are on the device, or come from pinned memory."""
    loader = batches._DeviceLoader if fits else batches._StreamingLoader
    monkeypatch.setattr(batches, "_choose_loader", lambda images, device, _: loader(images, device))
    images = open_images(DatasetConfig(data=str(data)).options(), progress=False)
    drawn = Batches(images, batch=BATCH, seed=0, mirror=True, device=META)
    with PretendedGPU() as gpu:
        for _ in range(3):
            pixels, labels = next(drawn)
            assert pixels.device == labels.device == META  # type: ignore[union-attr]
    assert not gpu.waits


# What comes afterwards


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Trained on the CPU, with the digits' classes."""
    conditional = {"mlp": True, "stylegan": True, "cnn": False}
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganvas.training.state.STATISTICS_PASSES", 1)
        patch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
        return {
            family: train(
                replace(tiny("digits", family=family, kimg=0.02), conditional=labelled, watch=False, device="cpu"),
                out=out,
                name=family,
                quiet=True,
            )
            for family, labelled in conditional.items()
        }


@pytest.mark.usefixtures("_on_the_device")
@pytest.mark.parametrize("family", ["mlp", "stylegan", "cnn"])
def test_the_sampler_stays_on_the_device(family: str, runs: dict[str, Run]) -> None:
    with PretendedGPU() as gpu:
        sampler = ganvas.load(runs[family])
        assert sampler.sample("0-2", truncation=0.7).shape == (3, 1, 8, 8)
        latents = sampler.latents([0, 1])
        assert latents.styles.device.type == "cpu"
        assert len(sampler.draw(latents)) == 2
        assert len(next(sampler.interpolate([0, 1], frames=2))) > 0
        assert len(sampler.sample_grid(range(4))[0]) >= 4
        if family == "stylegan":
            assert len(sampler.mix([0, 1], [2])) == 2
            assert len(change_noise(sampler, "3").sample([0])) == 1
            z = Latents(torch.randn(2, 1, 6), None, "z")
            assert sampler.check_latents(z).space == "w"
    assert gpu.operations > 50
    assert not gpu.doubles


@pytest.mark.usefixtures("_on_the_device")
@pytest.mark.parametrize(("family", "methods"), [("mlp", ["pca", "sefa"]), ("stylegan", ["pca"])])
def test_the_latent_space_stays_on_the_device(
    family: str, methods: list[Any], runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.latent_space.axes.SAMPLES", 64)
    monkeypatch.setattr(search, "CANDIDATES", 8)
    photo = np.random.default_rng(0).integers(0, 256, (1, 8, 8), np.uint8)
    with PretendedGPU() as gpu:
        for method in methods:
            found = ganvas.directions(runs[family], method=method, n=2)
            assert found.vectors.device.type == "cpu"
        place = ganvas.project(runs[family], photo, steps=2, references=0, quiet=True)
    assert place.latents.styles.device.type == "cpu"
    assert not gpu.doubles


@pytest.mark.usefixtures("_on_the_device")
def test_an_evaluation_stays_on_the_device(runs: dict[str, Run]) -> None:
    """The generator and the features; the classifier and the measures compute on the CPU."""
    with PretendedGPU() as gpu:
        result = ganvas.evaluate(runs["mlp"], count=20, quick=True, quiet=True)
    assert {"frechet", "kernel", "precision", "modes"} <= result.values.keys()
    assert gpu.operations > 100
    assert not gpu.doubles


def test_the_trend_of_the_quality_stays_on_the_device() -> None:
    images = open_images(DatasetConfig(data="digits").options(), progress=False)
    state = TrainState.build(narrow("mlp"), Shape(1, 8, 8), META)
    with PretendedGPU() as gpu:
        trend = Trend(images, 6, False, META, 250)
        assert trend.seconds_per_image(state.g_ema) > 0
        assert trend.measure(state.g_ema, math.inf) is not None
    assert gpu.operations > 50


@pytest.mark.parametrize(
    "knobs",
    [
        {"masks": True},
        {"optimiser": "adam", "keep_colours": "luminance", "statistic": "gram", "init": "noise", "tile": 64},
    ],
    ids=["lbfgs", "adam"],
)
def test_style_transfer_stays_on_the_device(knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.devices.select_device", lambda name: META)
    random = np.random.default_rng(0)
    photo, *paintings = (random.integers(0, 256, (3, 48, 40), np.uint8) for _ in range(3))
    if knobs.pop("masks", False):
        left = np.tile(np.where(np.arange(40) < 20, 255, 0).astype(np.uint8), (1, 48, 1))
        knobs["masks"] = [left, 255 - left]
    with PretendedGPU(truth=False) as gpu:
        result = ganvas.stylize(photo, paintings, size=48, min_scale=48, iterations=2, **knobs)
    assert result.pixels.shape == photo.shape
    assert gpu.operations > 100
    assert not gpu.doubles


def test_somebody_elses_loop_is_probed_on_the_device() -> None:
    G, D = generator().to(META), discriminator().to(META)
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 1e-3) for network in (G, D))
    with PretendedGPU(truth=False) as gpu:
        probe = ganvas.watch(G, D, every=1, report=None)
        for _ in range(4):
            real, fake = torch.randn(48, 2, device=META), G(torch.randn(48, 4, device=META))
            d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
            D.zero_grad()
            d_loss.backward()
            d_adam.step()
            g_loss = softplus(-D(fake)).mean()
            G.zero_grad()
            g_loss.backward()
            g_adam.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
        probe.close()
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/auc"]) == 3
    assert not gpu.doubles
