"""Networks, objectives and augmentations of the user's own: trained, resumed, diagnosed, compared; each bad input."""

import json
import subprocess
import sys
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import run_cli, run_script, tiny
from torch import Tensor, nn

import ganvas
from ganvas import user_code
from ganvas.comparison.candidates import parse_candidates
from ganvas.config import TrainConfig, replace
from ganvas.config.custom import Custom
from ganvas.diagnosis.rules.fixes import accepted_changes, penalise_gradients
from ganvas.diagnosis.rules.remedies import changes_of
from ganvas.diagnosis.rules.table import condition
from ganvas.diagnosis.sources import read_run
from ganvas.errors import GanvasError
from ganvas.game.augment import get_augmentation
from ganvas.game.objectives import Objective
from ganvas.networks import Discriminator, Shape, build, custom
from ganvas.runs import folder
from ganvas.training import checks
from ganvas.training.start import train
from ganvas.training.state import TrainState

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_networks.py"
DIGITS = Shape(1, 8, 8)
SMALL_D = "mlp(d_widths=[8])"
SMALL_GENERATORS = (
    "mlp(g_widths=[8])", "cnn(g_width=4)", "dcgan(g_width=4)", "transformer(token_width=8, heads=2, head_width=4)",
    "vit(token_width=8, depth=1, heads=2)", "resnet(g_width=4)", "stylegan(width=8)", "r3gan(width=16, blocks=1)",
    "projected(g_width=4)",
)  # fmt: skip
PROJECTED_D = "projected(features_net='eye', d_width=4, pixel_width=4)"
SMALL_G = "mlp(g_widths=[8], g_norm='none')"


@pytest.fixture(autouse=True)
def _own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("my.py").write_text(EXAMPLE.read_text())


def config(g: str = "my.py:Generator(width=8)", d: str = "my.py:Discriminator(width=8)", **knobs: Any) -> TrainConfig:
    """A tiny configuration of these networks, without penalties."""
    network = Custom(g=g, d=d, latent=6)
    return replace(with_fields(tiny(r1=0.0, r2=0.0), network=network), **knobs)


def state(shape: Shape = DIGITS, **knobs: Any) -> TrainState:
    """The networks that a training would start with."""
    return TrainState.build(config(**knobs), shape, torch.device("cpu"))


class G(nn.Module):
    """z -> images."""

    def __init__(self, latent: int, shape: Shape, width: int = 8, bias: float = 0.0) -> None:
        super().__init__()
        self.shape, self.bias = shape, bias
        pixels = shape.channels * shape.height * shape.width
        self.layers = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, pixels))

    def forward(self, z: Tensor) -> Tensor:
        return (self.layers(z) + self.bias).tanh().view(-1, *self.shape[:3])


class D(nn.Module):
    """images -> logits; flattens with `view`, which refuses channels_last."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(shape.channels, 4, 3, stride=2, padding=1), nn.LazyLinear(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).view(len(x), -1))


class Flat(G):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class Sigmoid(G):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).sigmoid().view(-1, *self.shape[:3])


class Infinite(G):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) / 0


class Failing(G):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) @ z


class NoSuper(nn.Module):
    def __init__(self, latent: int, shape: Shape) -> None:
        raise ValueError("not today")


class Listed(nn.Module):
    def __init__(self, *arguments: object) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 64)]

    def forward(self, z: Tensor) -> Tensor:
        return self.layers[0](z).view(-1, 1, 8, 8)


class NormedG(G):
    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__(latent, shape)
        self.layers.append(nn.BatchNorm1d(shape.channels * shape.height * shape.width))


class NormedD(D):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).flatten(1))


class SigmoidD(D):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid().squeeze(1)


class TwoLogits(D):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).repeat(1, 2)


class FrozenD(D):
    """The convolution is not trained."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.conv.requires_grad_(False)


class OwnD(Discriminator):
    """Derived from Ganvas's class: used as it is."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = nn.Linear(shape.channels * shape.height * shape.width, 1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(images.flatten(1)).squeeze(1)


def make_generator(latent: int, shape: Shape) -> nn.Module:
    return G(latent, shape)


instance = nn.Linear(3, 3)
averaged = Objective(lambda r, f: (f - r).mean(), lambda r, f: -f)
reads_reals = Objective(lambda r, f: f - r, lambda r, f: r - f)
constant = Objective(lambda r, f: torch.zeros(len(r)), lambda r, f: -f)
no_boundary = Objective(lambda r, f: nn.functional.softplus(f - r.detach()) - r, lambda r, f: -f, boundary="half")  # type: ignore[arg-type]


def critic() -> Objective:
    return Objective(lambda r, f: f - r, lambda r, f: -f, critic=True)


def brighter(images: Tensor) -> Tensor:
    return images + 1


def detached(images: Tensor) -> Tensor:
    return images.detach()


def cropped(images: Tensor) -> Tensor:
    return images[:, :, :4]


class Flip(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flip(3)


HERE = __name__
BAD: list[tuple[dict[str, Any], str]] = [
    ({"g": f"{HERE}:Flat"}, r"gives float32 \[4, 64\].*\n.*\[4, 1, 8, 8\]"),
    ({"g": f"{HERE}:Sigmoid"}, r"its images are in \[0, 1\]"),
    ({"g": f"{HERE}:Infinite"}, "NaN or infinity"),
    ({"g": f"{HERE}:Failing"}, r"Failing fails on z \[4, 6\]: RuntimeError: .*\(test_custom.py, line \d+\)"),
    ({"g": f"{HERE}:NoSuper"}, "NoSuper cannot be made: ValueError: not today"),
    ({"g": f"{HERE}:Listed"}, "hides parameters from training: 2 tensors.*\n.*\n.*nn.ModuleList"),
    ({"g": f"{HERE}:make_generator"}, "type function.*\n.*a class derived from torch.nn.Module"),
    ({"g": f"{HERE}:instance"}, "an instance of type Linear"),
    ({"g": "os:system"}, "a class derived from torch.nn.Module"),
    ({"g": f"{HERE}:G(depth=3)"}, r"G\(depth=3\) cannot be called: .*depth.*\n.*G\(latent, shape\).*classes"),
    ({"g": f"{HERE}:Generator"}, "has no 'Generator'"),
    ({"g": f"{HERE}:NormedG", "batch": 1}, "Batch norm in .*NormedG with one image"),
    ({"g": f"{HERE}:NormedG", "microbatch": 1}, "Batch norm in .*NormedG with one image"),
    ({"d": f"{HERE}:NormedD", "batch": 1}, "Batch norm in .*NormedD with one image"),
    ({"d": f"{HERE}:SigmoidD"}, "gives probabilities.*\n.*logits"),
    ({"d": f"{HERE}:TwoLogits"}, r"gives float32 \[4, 2\]"),
    ({"d": f"{HERE}:NormedD", "r1": 1.0}, r"gradient penalty \(--r1\) with batch norm"),
    ({"d": f"{HERE}:NormedD", "gp": "0..10"}, r"gradient penalty \(--gp\) with batch norm"),
    ({"objective": f"{HERE}:averaged"}, r"d_loss .* gives float32 \[\].*\n.*for each image"),
    ({"objective": f"{HERE}:reads_reals"}, "relative is False"),
    ({"objective": f"{HERE}:no_boundary"}, "boundary of .* is 'half'"),
    ({"objective": f"{HERE}:constant"}, "does not depend on D's logits"),
    ({"objective": f"{HERE}:HERE"}, "gives a str.*\n.*Objective"),
    ({"objective": f"{HERE}:critic", "ada_target": 0.6, "augment": "ada"}, "--ada-target with"),
    ({"objective": f"{HERE}:critic", "skip_d_below": 0.1}, "--skip-d-below"),
    ({"augment": f"{HERE}:detached"}, "not differentiable"),
    ({"augment": f"{HERE}:cropped"}, r"gives float32 \[4, 1, 4, 8\]"),
    ({"augment": f"{HERE}:HERE"}, "of type str"),
]


@pytest.mark.parametrize(
    ("knobs", "message"), BAD, ids=lambda v: "" if isinstance(v, str) else "-".join(map(str, v.values()))
)
def test_each_mistake_has_its_sentence(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        state(DIGITS, **{"g": SMALL_G, "d": SMALL_D} | knobs)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"g": "msg"}, "no family 'msg' for one network alone"),
        ({"d": "dcgan(width=3)"}, "'width' is not a knob"),
        ({"d": "dcgan(d_width=0)"}, "d-width is 0"),
        ({"g": "dcgan(latent=3)"}, "one latent for both"),
        ({"d": "dcgan", "gp": 10}, "d_norm='none'"),
        ({"d": "r3gan", "spectral_norm": True}, "--spectral-norm with the r3gan family"),
        ({"g": "projected"}, "without its width"),
        ({"g": "projected(pixel_width=8)"}, "'pixel_width' is a knob of D"),
        ({"d": "projected(g_width=8)"}, "'g_width' is a knob of G"),
        ({"d": "projected(features_net='my.py:Maps')"}, "frozen network is code of your own"),
        ({"d": PROJECTED_D, "microbatch": 1}, "one image at a time"),
        ({"d": PROJECTED_D, "r1": 1}, "A gradient penalty with the projected family"),
        ({"d": "dcgan", "moments": 0.1}, "--moments with the custom family"),
        ({"objective": "wgan"}, "FILE.py:NAME"),
        ({"objective": None}, "objective is None"),
        ({"augment": "flip"}, "FILE.py:NAME"),
        ({"objective": "my.py:least_squares", "label_smoothing": 0.1}, "cross-entropy"),
    ],
)
def test_mistakes_that_need_no_code_are_found_in_the_configuration(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        config(**knobs)


def test_labels_and_forward_must_agree() -> None:
    with pytest.raises(GanvasError, match="takes no labels, and --conditional"):
        state(Shape(1, 8, 8, 3), g=f"{HERE}:G", conditional=True)
    built = state(Shape(3, 9, 12, 4), conditional=True)
    assert built.game.G(torch.zeros(2, 6), torch.tensor([0, 3])).shape == (2, 3, 9, 12)
    assert built.game.D(torch.zeros(2, 3, 9, 12), torch.tensor([0, 3])).shape == (2,)


def test_ours_against_theirs_at_any_size() -> None:
    for g, d in ((SMALL_G, f"{HERE}:D"), (f"{HERE}:G", SMALL_D), ("stylegan(width=8)", f"{HERE}:OwnD")):
        network = Custom(g=g, d=d, latent=6)
        generator, discriminator = build(network, Shape(1, 28, 28))
        images = generator(torch.randn(2, 6))
        assert generator.latent == 6
        assert images.shape == (2, 1, 28, 28)
        assert discriminator(images).shape == (2,)
    assert isinstance(discriminator, OwnD)


@pytest.mark.parametrize("g", [*SMALL_GENERATORS, f"{HERE}:G"], ids=lambda g: g.partition("(")[0].rpartition(":")[2])
@pytest.mark.parametrize("shape", [Shape(3, 16, 20), DIGITS], ids=["rgb", "grey"])
def test_any_generator_is_trained_by_a_d_with_a_frozen_network(g: str, shape: Shape) -> None:
    """Its gradient reaches the first layer of G; the frozen network is in no state."""
    built = state(shape, g=g, d=PROJECTED_D, objective="hinge", spectral_norm=True, moments=0.1)
    game = built.game
    images = game.G(torch.randn(4, 6))
    logits = game.D(game.D.d_input(images))
    assert images.shape == (4, *shape[:3])
    assert logits.shape[0] == 4
    assert logits.shape[1] % 4 == 0, "four heads: three scales and the pixels"
    logits.mean().backward()
    assert built.memory_format == torch.channels_last or g == f"{HERE}:G"
    first = next(game.G.parameters()).grad
    assert first is not None
    assert first.any()
    assert not any("frozen" in name for name in game.D.state_dict())


def test_batch_norm_makes_logits_depend_on_the_batch_and_view_keeps_the_memory_contiguous() -> None:
    normed, plain = state(d=f"{HERE}:NormedD"), state(d=f"{HERE}:D", r1=1.0)
    assert normed.game.D.batch_dependent
    assert not plain.game.D.batch_dependent
    assert normed.memory_format == torch.channels_last
    assert plain.memory_format == torch.contiguous_format


def test_checks_change_neither_weights_nor_random_numbers() -> None:
    knobs = config(g=f"{HERE}:NormedG", d=f"{HERE}:NormedD")
    torch.manual_seed(0)
    networks = build(knobs.network, Shape(1, 8, 8))
    before = [tensor.clone() for network in networks for tensor in network.state_dict().values()]
    expected = torch.get_rng_state()
    checks.check_user_code(knobs, *networks, critic(), Shape(1, 8, 8))
    assert checks.work_in_channels_last(knobs, *networks, Shape(1, 8, 8))
    assert torch.equal(torch.get_rng_state(), expected)
    after = [tensor for network in networks for tensor in network.state_dict().values()]
    assert all(map(torch.equal, before, after))


def test_frozen_parameters_stay_and_the_others_learn() -> None:
    run = train(config(d=f"{HERE}:FrozenD", clip=0.02), quiet=True)
    tensors = load_file(run.state_file)
    fresh = state(d=f"{HERE}:FrozenD").game.D.state_dict()
    assert torch.equal(tensors["D/network.conv.weight"], fresh["network.conv.weight"])
    assert not torch.equal(tensors["D/network.head.weight"], fresh["network.head.weight"])


def test_own_augmentation_is_applied_with_its_probability() -> None:
    images = torch.zeros(4000, 1, 2, 2)
    augment = get_augmentation(f"{HERE}:brighter")
    assert augment(images, 0.0) is images
    assert torch.equal(augment(images, 1.0), images + 1)
    for p in (0.3, torch.tensor(0.3)):
        assert augment(images, p)[:, 0, 0, 0].mean().item() == pytest.approx(0.3, abs=0.04)
    images = torch.arange(4.0).view(1, 1, 2, 2)
    assert torch.equal(get_augmentation(f"{HERE}:Flip")(images, 1.0), images.flip(3))


def test_critic_of_ones_own_is_known_to_the_diagnosis() -> None:
    run = train(config(objective=f"{HERE}:critic"), quiet=True)
    assert run.metadata["critic"] is True
    assert ganvas.diagnose(run).facts.critic


def test_batch_norm_in_a_d_of_ones_own_is_known_to_the_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(config(d=f"{HERE}:NormedD"), quiet=True)
    assert run.metadata["d_norm"] == "batch"
    monkeypatch.setattr(user_code, "_known", {})  # as in another process
    facts = read_run(run).facts
    assert accepted_changes(penalise_gradients, facts) == {}
    changes = changes_of(condition("mode collapse").remedy, run.config)
    assert "noise" in changes
    assert not {"r1", "r2"} & changes.keys()


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"conditional": True, "spectral_norm": True, "augment": "my.py:flip", "augment_p": "0..0.5@0k-0.08k"},
        {"objective": "my.py:least_squares", "augment": "my.py:flip", "ada_target": 0.6, "ada_kimg": 0.2},
        {"d": PROJECTED_D, "spectral_norm": True, "moments": 0.1, "watch": False},
    ],
    ids=["plain", "conditional", "ada", "projected"],
)
def test_resumed_run_is_the_same_run(knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.training.moment_fitting.IMAGES", 32)
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    half = config(kimg=0.04, snapshot_kimg=0.04, g_lr=1e-3, **knobs)
    whole = train(replace(half, kimg=0.08), name="whole", quiet=True)
    train(half, name="parts", quiet=True)
    parts = train(replace(half, kimg=0.08), name="parts", quiet=True)
    a, b = load_file(whole.state_file), load_file(parts.state_file)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_run_from_the_command_line_resumes_samples_and_notices_a_changed_file() -> None:
    own = ["--g", "my.py:Generator(width=8)", "--d", "my.py:Discriminator(width=8)"]
    own += ["--objective", "my.py:least_squares", "--augment", "my.py:flip", "--augment-p", "0.3"]
    command = ["train", "custom", *own, "--kimg", 0.128, "--batch", 32, "--no-plot", "--device", "cpu"]
    first = json.loads(run_cli(*command, "--json").stdout)
    assert first["config"]["network"]["g"] == own[1]
    assert "is complete" in run_cli(*command).stderr
    run = ganvas.Run(Path(first["run"]))
    assert list(run.metadata["sources"]) == ["my.py"]
    before = ganvas.load(run).sample(range(4))
    assert before.shape == (4, 1, 8, 8)

    Path("my.py").write_text(EXAMPLE.read_text() + "# a comment\n")
    again = run_cli(*command)
    assert f"my.py changed since {run} was started, so this is a new run" in again.stderr
    refused = run_cli("train", run, check=1).stderr
    assert f"my.py changed since {run} was started." in refused
    assert "Fix: restore it" in refused
    sampled = run_cli("sample", run, "--out", "grid.png")
    assert f"Note: my.py changed since {run.latest_snapshot} was saved" in sampled.stderr
    assert np.array_equal(ganvas.load(run).sample(range(4)), before)

    Path("my.py").write_text(
        EXAMPLE.read_text().replace("nn.Linear(width, width)", "nn.Linear(width, width), nn.Tanh()")
    )
    unfit = run_cli("sample", run, "--out", "grid.png", check=1).stderr
    assert "do not fit my.py:Generator(width=8), which changed since" in unfit
    Path("my.py").unlink()
    missing = run_cli("sample", run, "--out", "grid.png", check=1).stderr
    assert "my.py cannot be read" in missing
    assert f"my.py was {Path('my.py').resolve()} when it was trained" in missing


def test_a_comparison_continues_only_with_the_same_code() -> None:
    run = train(config(), name="a", quiet=True)
    assert folder.is_same_run(run, config(), run.metadata["data"]["fingerprint"])
    Path("my.py").write_text(EXAMPLE.read_text() + "# a comment\n")
    train(config(), name="b", quiet=True)  # loads the new code, as the next process would
    assert not folder.is_same_run(run, config(), run.metadata["data"]["fingerprint"])
    assert len(parse_candidates(["runs/a", "runs/b"])) == 2


def test_candidates_have_arguments_with_commas_and_colons() -> None:
    spec = "my.py:Generator(width=8, name='a,b')"
    (candidate,) = parse_candidates([f"custom:g={spec},d=mlp(d_widths=[8,8]),batch=32"])
    assert candidate.config.network == Custom(g=spec, d="mlp(d_widths=[8,8])", latent=128)
    assert candidate.config.optimisation.batch == 32
    assert f"--g '{spec}'" in candidate.command.replace("'\"'\"'", "'")


@pytest.mark.slow
@pytest.mark.parametrize("as_script", [True, False])
def test_classes_from_python_are_trained_in_a_script_and_in_a_session(as_script: bool) -> None:
    code = """
import ganvas
from torch import nn
class G(nn.Module):
    def __init__(self, latent, shape):
        super().__init__()
        self.shape, self.layer = shape, nn.Linear(latent, 64)
    def forward(self, z):
        return self.layer(z).tanh().view(-1, *self.shape[:3])
if __name__ == "__main__":
    knobs = dict(d="mlp(d_widths=[8])", kimg=0.128, batch=32, device="cpu", plot=False, quiet=True)
    run = ganvas.train("custom", g=G, **knobs)
    assert ganvas.train("custom", g=G, **knobs).path == run.path
    print(run.config.network.g, ganvas.load(run).sample(range(2)).shape)
"""
    Path("script.py").write_text(code)
    if as_script:
        done = run_script(Path("script.py"))
    else:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == ("script.py:G" if as_script else "<session>:G")
    sampled = run_cli("sample", "runs/00000-custom-digits", "--out", "grid.png", check=0 if as_script else 1)
    assert as_script or "exists only in the Python session" in sampled.stderr


def test_diagnosis_names_a_fault_in_networks_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """G saturates: its bias is so large that tanh passes no gradient, and every image is white.

    From the first round on, the check at the start would refuse it; here it stands for a G that saturates later.
    """
    monkeypatch.setattr(checks, "check_user_code", lambda *arguments: None)
    run = train(config(g=f"{HERE}:G(bias=30.0)", kimg=1.2, tick_kimg=0.1), quiet=True)
    found = ganvas.diagnose(run)
    assert {"G frozen", "mode collapse"} <= {finding.name for finding in found.failures}, str(found)


@pytest.mark.exhaustive
def test_two_processes_train_the_same_networks() -> None:
    own = ["--g", "my.py:Generator(width=8)", "--d", "my.py:Discriminator(width=8)"]
    done = run_cli("train", "custom", *own, "--kimg", 0.128, "--batch", 32, "--no-plot", "--device", "cpu", "--gpus", 2,
                   "--quiet", "--json", OMP_NUM_THREADS="1")  # fmt: skip
    run = ganvas.Run(Path(json.loads(done.stdout)["run"]))
    assert run.latest_snapshot.exists()


def test_adapters_keep_other_names_out_of_the_weights() -> None:
    generator, discriminator = build(Custom(g=f"{HERE}:G", d=f"{HERE}:D"), Shape(1, 8, 8))
    assert isinstance(generator, custom.PlainGenerator)
    assert all(name.startswith("network.") for name in (*generator.state_dict(), *discriminator.state_dict()))
