"""Feature maps in bfloat16 and float16: every family, its penalties, whole runs, and what a device is given."""

import math
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import pytest
import torch
from support import BATCH_NORM_IN_D, NARROW, run_cli, tiny
from torch import Tensor, nn

import ganvas
from ganvas import networks
from ganvas.config import replace
from ganvas.config.custom import Custom
from ganvas.errors import GanvasError
from ganvas.game.moves import Game, Penalties, train_d, train_g
from ganvas.game.objectives import get_objective
from ganvas.networks import Shape
from ganvas.runs.log import read_jsonl
from ganvas.training import precision
from ganvas.training.state import TrainState

SHAPE = Shape(1, 16, 12, 3)
ERROR = {torch.bfloat16: 0.02, torch.float16: 0.003}
"""Root mean square of an output's error over that of the output, at most; bfloat16 rounds by up to 0.004."""


MIXED = [family for family in NARROW if family != "transformer"]
"""The families whose feature maps may have less precision."""

SLOW = pytest.mark.exhaustive


def build(family: str, dtype: torch.dtype) -> tuple[networks.Generator, networks.Discriminator]:
    torch.manual_seed(0)
    pair = networks.build(NARROW[family], SHAPE)
    for network in pair:
        network.set_activation_dtype(dtype)
    return pair


def latents(n: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(n, 6), torch.arange(n) % SHAPE.classes


def game(family: str, dtype: torch.dtype) -> Game:
    return Game(*build(family, dtype), get_objective("rpgan"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", MIXED)
def test_outputs_are_close_to_those_of_float32(family: str, dtype: torch.dtype) -> None:
    z, labels = latents()
    outputs = []
    for kind in (torch.float32, dtype):
        g, d = build(family, kind)
        torch.manual_seed(2)
        images = g.d_input(z, labels)
        torch.manual_seed(3)
        reals = torch.rand(8, *SHAPE[:3]) * 2 - 1
        outputs.append((images, d(d.d_input(reals), labels)))
    for exact, rounded in zip(*outputs, strict=True):
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded), "nothing was computed in less precision"
        assert _rms(exact - rounded) <= ERROR[dtype] * _rms(exact)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", MIXED)
def test_gradients_point_where_those_of_float32_do(family: str, dtype: torch.dtype) -> None:
    """Those of D with all penalties, which need second derivatives, and those of G; processors round differently.

    Those of a projected G have gone through all of a frozen network.
    """
    penalties = Penalties() if family in BATCH_NORM_IN_D else Penalties(r1=1.0, r2=1.0, gp=1.0, dragan=1.0)
    gradients: list[list[Tensor]] = []
    for kind in (torch.float32, dtype):
        one, (z, labels) = game(family, kind), latents()
        real = one.real_input(torch.linspace(-1, 1, 8 * 192).view(8, *SHAPE[:3]))
        torch.manual_seed(4)
        values = train_d(one, real, one.fake_input(z, labels), labels, penalties=penalties, share=16.0)
        torch.manual_seed(4)
        train_g(one, real, one.fake_input(z, labels), labels, share=16.0)
        assert all(value.isfinite().all() for value in values.values())
        gradients.append([_flat_gradient(network) for network in (one.D, one.G)])
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > (0.9 if family == "projected" else 0.98)


def _flat_gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *(pytest.param(family, "bf16", marks=() if family in ("mlp", "cnn") else SLOW) for family in MIXED),
        *(pytest.param(family, "fp16", marks=() if family == "cnn" else SLOW) for family in MIXED),
    ],
)
def test_a_run_is_saved_in_float32_and_resumes(family: str, name: str, tmp_path: Path) -> None:
    penalties: dict[str, Any] = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {}
    config = replace(tiny(family=family, **penalties), precision=name, g_lr="1e-3")
    run = ganvas.train(config, out=tmp_path, quiet=True)
    assert "feature maps in" in (run.path / "log.txt").read_text()
    from safetensors import safe_open

    for file in (run.state_file, run.snapshots[-1] / "G.safetensors"):
        with safe_open(file, "pt") as tensors:
            kinds = {tensors.get_tensor(key).dtype for key in tensors.keys()}  # noqa: SIM118
        assert not kinds & {torch.bfloat16, torch.float16}
    longer = ganvas.train(replace(config, kimg=0.3, precision="fp32"), out=tmp_path, name=run.path.name, quiet=True)
    assert longer.path == run.path
    assert [line["nimg"] for line in read_jsonl(longer.path / "stats.jsonl")][-1] == 300


@pytest.mark.parametrize(
    ("capability", "native", "asked", "chosen"),
    [
        ((9, 0), True, "auto", "bf16"),
        ((7, 5), False, "auto", "fp32"),
        ((8, 0), True, "tf32", "tf32"),
        ((7, 5), False, "fp16", "fp16"),
        ((9, 0), True, "fp32", "fp32"),
    ],
)
def test_what_a_gpu_is_given(
    capability: tuple[int, int], native: bool, asked: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import contextlib

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native and not including_emulation)
    assert precision.choose(asked, torch.device("cuda", 0)) == chosen


def test_a_cpu_computes_in_float32_unless_told(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert precision.choose("auto", cpu) == "fp32"
    assert precision.choose("bf16", cpu) == "bf16"
    with pytest.raises(GanvasError, match="no TensorFloat-32"):
        ganvas.train(replace(tiny(), precision="tf32", device="cpu"), out=tmp_path, quiet=True)
    assert not any(tmp_path.iterdir())


def test_tf32_ends_with_the_round() -> None:
    backends: Any = torch.backends
    places = backends.cuda.matmul, backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    with precision.arithmetic("tf32"):
        assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
    assert [place.fp32_precision for place in places] == before


def test_the_average_is_exact() -> None:
    """It is sampled and evaluated: its feature maps stay float32."""
    state = TrainState.build(
        replace(tiny(family="cnn"), precision="bf16"), SHAPE._replace(classes=0), torch.device("cpu")
    )
    assert state.game.G.activation_dtype == state.game.D.activation_dtype == torch.bfloat16
    assert state.g_ema.activation_dtype == torch.float32


def test_the_classic_transformer_stays_exact() -> None:
    state = TrainState.build(replace(tiny(family="transformer"), precision="bf16"), SHAPE, torch.device("cpu"))
    assert state.precision == "fp32"
    assert state.game.G.activation_dtype == state.game.D.activation_dtype == torch.float32


class PlainG(nn.Module):
    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class PlainD(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


@pytest.mark.parametrize(("d", "expected"), [(PlainD, "fp32"), ("mlp(d_widths=[8])", "bf16")])
def test_plain_networks_of_the_users_own_stay_exact_and_say_so(d: Any, expected: str) -> None:
    config = with_fields(tiny(), network=Custom(latent=6, g="mlp", d="mlp"))
    config = replace(config, g=PlainG, d=d, precision="bf16")
    state = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu"))
    assert state.precision == expected
    assert state.game.G.activation_dtype == torch.float32


def test_the_scale_of_half_precision_losses_is_undone() -> None:
    """Gradient norms, and so the log, do not depend on it."""
    norms = []
    for name in ("fp32", "fp16"):
        state = TrainState.build(replace(tiny(family="cnn"), precision=name), Shape(1, 8, 8), torch.device("cpu"))
        images = torch.arange(20 * 64, dtype=torch.uint8).view(20, 1, 8, 8)
        norms.append(state.train_round([(images, None)], 0)[1])
    for key, exact in norms[0].items():
        assert math.isclose(exact.item(), norms[1][key].item(), rel_tol=0.05), key


def test_command_line_takes_it(tmp_path: Path) -> None:
    done = run_cli("train", "digits", "--kimg", "0.3", "--precision", "bf16", "--out", tmp_path, "--no-plot")
    assert "feature maps in bfloat16" in done.stderr + done.stdout


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", MIXED)
def test_quality_is_that_of_float32(family: str, tmp_path: Path) -> None:
    """The median of three seeds after 200 rounds on the digits is no worse than float32, up to the spread of those."""
    if family == "projected" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor emulates bfloat16: the rounds take more than an hour")
    penalties: dict[str, Any] = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {"r1": 1.0, "r2": 1.0}
    config = replace(tiny(family=family, kimg=6.4, **penalties), batch=32, evaluate_every=0.0, ema=0.5)

    def distance(seed: int, name: str) -> float:
        run = ganvas.train(replace(config, seed=seed, precision=name), out=tmp_path, name=f"{name}-{seed}", quiet=True)
        return ganvas.evaluate(run, count=1000, quick=True).values["frechet"].value

    exact = sorted(distance(seed, "fp32") for seed in range(3))
    for name in ("bf16",) if family == "projected" else ("bf16", "fp16"):  # a CPU is very slow in float16 there
        rounded = sorted(distance(seed, name) for seed in range(3))
        assert rounded[1] <= 2 * exact[2] - exact[0], (name, exact, rounded)
