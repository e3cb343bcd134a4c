"""What a newcomer gets wrong in code of their own: each mistake is found before the first round, in a sentence."""

import json
import sys
from dataclasses import replace as with_fields
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from support import run_cli, tiny
from torch import Tensor, nn

import ganvas
from ganvas import user_code
from ganvas.config import TrainConfig, replace
from ganvas.config.custom import Custom
from ganvas.errors import GanvasError, did_you_mean
from ganvas.features.extraction import extract_features
from ganvas.features.extractors import load_extractor
from ganvas.game.augment import load_transform
from ganvas.game.objectives import OBJECTIVES, Objective
from ganvas.networks import Discriminator, Generator, Shape
from ganvas.training import checks
from ganvas.training.state import TrainState

HERE = __name__
DIGITS = Shape(1, 8, 8)

NETS = """
import torch
from torch import nn

class Generator(nn.Module):
    def __init__(self, latent, shape, width=8):
        super().__init__()
        print("making G")
        self.shape, self.calls = shape, 0
        self.layers = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, 64))
    def forward(self, z):
        return self.layers(z).tanh().view(-1, 1, 8, 8)

class Late(Generator):
    def forward(self, z):
        self.calls += 1
        if self.calls > 10:
            raise ValueError("tired")
        return super().forward(z)

class Discriminator(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("nets.py").write_text(NETS)


def check(shape: Shape = DIGITS, g: Any = "mlp(g_widths=[8])", d: Any = "mlp(d_widths=[8])", **knobs: Any) -> None:
    """What a training does before its first round."""
    base = with_fields(replace(tiny(), r1=0.0, r2=0.0), network=Custom(latent=6))
    TrainState.build(replace(base, g=g, d=d, **knobs), shape, torch.device("cpu"))


class G(nn.Module):
    def __init__(self, latent: int, shape: Shape, width: int = 8) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, 64))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).tanh().view(-1, *self.shape[:3])


class DetachedG(G):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).detach()


class NoGradG(G):
    def forward(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(z)


class RoundedG(G):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).round()


class ListG(G):
    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__(latent, shape)
        self.more = {"first": [nn.Linear(latent, latent)]}

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.more["first"][0](z))


class TensorG(G):
    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__(latent, shape)
        self.scale = torch.ones(latent, requires_grad=True)

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z * self.scale)


class AliasG(G):
    """A list of layers that are registered too, and a frozen one that is not: neither is a mistake."""

    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__(latent, shape)
        self.order = [self.layers[0], self.layers[2]]
        self.frozen = [nn.Linear(latent, latent).requires_grad_(False)]

    def forward(self, z: Tensor) -> Tensor:
        return self.order[1](self.order[0](self.frozen[0](z)).relu()).tanh().view(-1, *self.shape[:3])


class DoubleG(G):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).double()


class OwnDoubleG(Generator):
    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__()
        self.layer = nn.Linear(latent, 64)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z).double().view(-1, 1, 8, 8)


class ByteG(G):
    def forward(self, z: Tensor) -> Tensor:
        return (127 * super().forward(z) + 128).to(torch.uint8)


class TupleG(G):
    def forward(self, z: Tensor) -> Any:
        return super().forward(z), z


class NoSuperG(nn.Module):
    def __init__(self, latent: int, shape: Shape) -> None:
        self.layer = nn.Linear(latent, 64)


class EmptyNoSuperG(nn.Module):
    def __init__(self, latent: int, shape: Shape) -> None:
        self.latent = latent


class CudaG(G):
    def forward(self, z: Tensor) -> Tensor:
        raise RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!")


class D(nn.Module):
    def __init__(self, shape: Shape, side: int = 8) -> None:
        super().__init__()
        self.head = nn.Linear(side * side, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


class InPlaceD(D):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return super().forward(x)


class DetachedD(D):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class _NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        raise RuntimeError("no second derivative")


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2 * _NoDerivative.apply(*context.saved_tensors)


class OnceD(D):
    def forward(self, x: Tensor) -> Tensor:
        return _Square.apply(super().forward(x))  # type: ignore[return-value]


class NormD(OnceD):
    """Batch norm, with which no correction penalises gradients."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


class ZeroD(D):
    """Its first weights are 0: no gradient reaches the images yet, which is no mistake."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        nn.init.zeros_(self.head.weight)


class PatchD(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class OwnInnerD(Discriminator):
    """Derived from ours, with a layer that is named like that of the adapter."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.network = nn.Linear(64, 4)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.network(images.flatten(1)).mean(1)


def bce(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return nn.functional.softplus(-on_real) + nn.functional.softplus(on_fake)


def g_loss(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return -on_fake


wrong_d = Objective(lambda r, f: -bce(r, f), g_loss)
wrong_g = Objective(bce, lambda r, f: f)
wrong_critic = Objective(lambda r, f: r - f, g_loss, critic=True)
wrong_relative = Objective(bce, lambda r, f: nn.functional.softplus(f - r), relative=True)
rounded = Objective(lambda r, f: bce(r, f).round(), g_loss)
infinite = Objective(lambda r, f: bce(r, f) / 0, g_loss)
meaned = Objective(lambda r, f: bce(r, f).mean(), g_loss)
writing = Objective(lambda r, f: f.add_(1) - r, g_loss)
a_tuple = Objective(lambda r, f: (f, r), g_loss)  # type: ignore[arg-type, return-value]
pearson = Objective(lambda r, f: (r - 1) ** 2 + (f + 1) ** 2, lambda r, f: f**2)  # LSGAN with c = 0


def rounds(images: Tensor) -> Tensor:
    return images.round()


def writes(images: Tensor) -> Tensor:
    images *= 0.5
    return images


def halves(images: Tensor) -> Tensor:
    return images * 0.5


def doubles(images: Tensor) -> Tensor:
    return images.double()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"g": DetachedG}, "DetachedG cannot learn.*\n.*\n.*detach"),
        ({"g": NoGradG}, "cannot learn"),
        ({"g": RoundedG}, "cannot learn"),
        ({"g": ListG}, "hides parameters from training: 2 tensors.*\n.*\n.*nn.ModuleList"),
        ({"g": TensorG}, r"hides parameters from training: 1 tensors, the first \[6\].*\n.*\n.*nn.Parameter"),
        ({"g": OwnDoubleG}, "gives torch.float64.*\n.*float32"),
        ({"g": ByteG}, "gives uint8.*\n.*float images.*\n.*whole numbers"),
        ({"g": TupleG}, "gives a tuple.*\n.*\n.*return the tensor alone"),
        ({"g": NoSuperG}, r"NoSuperG cannot be made: AttributeError.*line \d+\)\.\n.*super\(\).__init__\(\) first"),
        ({"g": EmptyNoSuperG}, r"super\(\).__init__\(\) first"),
        ({"g": CudaG}, "the program moves the network.*z.device"),
        (
            {"g": partial(cast(Any, G), depth=3)},
            r"cannot be called: .*depth.*\n.*G\(latent, shape\).*channels, height, width",
        ),
        ({"d": InPlaceD}, "InPlaceD changes its input in place.*\n.*\n.*clone"),
        ({"d": DetachedD}, "do not depend on its images"),
        ({"d": PatchD}, r"gives float32 \[4, 1, 4, 4\].*\n.*\n.*average over patches"),
        ({"d": partial(D, side=28)}, "fails on images.*\n.*the images are 8×8×1.*--resolution 28"),
        ({"d": OnceD, "r1": 1.0}, "fails in a gradient penalty: RuntimeError: no second.*\n.*--r1 0"),
        (
            {"d": OnceD, "on_failure": "correct"},
            r"fails in a gradient penalty: .*no second.*\n.*twice, or --on-failure stop \(a correction may penalise",
        ),
        ({"d": OnceD, "on_failure": "rollback", "r1": 1.0}, "or --r1 0 --on-failure stop"),
        ({"objective": wrong_d}, "d_loss of .* has the wrong sign"),
        ({"objective": wrong_g}, "g_loss of .* has the wrong sign"),
        ({"objective": wrong_critic}, "d_loss of .* has the wrong sign"),
        ({"objective": wrong_relative}, "g_loss of .* has the wrong sign"),
        ({"objective": rounded}, "does not depend on D's logits"),
        ({"objective": infinite}, "gives NaN or infinity.*\n.*\n.*logsigmoid"),
        ({"objective": meaned}, 'reduction="none"'),
        ({"objective": writing}, "changes its input in place"),
        ({"objective": a_tuple}, "gives a tuple"),
        ({"objective": f"{HERE}:bce"}, r"cannot be called: .*on_real.*\n.*Objective\(d_loss, g_loss\)"),
        ({"augment": rounds}, "not differentiable"),
        ({"augment": writes}, "in place"),
        ({"augment": doubles}, "float64"),
        ({"g": lambda latent, shape: G(latent, shape)}, r"g is a function.*\n.*partial\(Class, width=16\)"),
        ({"g": G(6, DIGITS)}, "g is an object of type G.*\n.*a class, or functools.partial"),
        ({"d": (D, {"side": 8})}, "d is an object of type tuple.*\n.*a class, or functools.partial"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(map(str, value)),
)
def test_each_mistake_has_its_sentence(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        check(**knobs)


@pytest.mark.parametrize(
    "knobs",
    [
        {"g": AliasG},
        {"g": DoubleG},
        {"d": ZeroD},
        {"d": OnceD},
        {"d": OnceD, "on_failure": "stop"},
        {"d": NormD, "on_failure": "correct"},
        {"d": OwnInnerD},
        {"objective": pearson},
    ],
    # an object's own text has its address
    ids=["alias", "double", "zero", "once", "once, stopped", "batch norm, corrected", "own inner", "pearson"],
)
def test_what_is_legal_is_not_refused(knobs: dict[str, Any]) -> None:
    check(**knobs)


def pads(images: Tensor) -> Tensor:
    """Takes images of 6 and more pixels a side."""
    return nn.functional.pad(images, (5, 5, 5, 5), mode="reflect")[:, :, 5:-5, 5:-5]


def crops(images: Tensor) -> Tensor:
    """Gives 8 pixels a side."""
    return nn.functional.pad(images, (4, 4, 4, 4))[:, :, 4:12, 4:12]


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (pads, r"pads fails on images \[4, 1, 4, 4\]: .*\n.*any size, or --growth 1"),
        (crops, r"crops gives float32 \[4, 1, 8, 8\].*\n.*\[4, 1, 4, 4\].*\n.*any size, or --growth 1"),
    ],
)
def test_augmentation_has_to_take_the_smallest_images_of_networks_that_grow(augment: Any, message: str) -> None:
    config = tiny(family="stylegan")
    for growth in ("0..1", "0..0.5@0-1k"):
        with pytest.raises(GanvasError, match=message):
            TrainState.build(replace(config, augment=augment, growth=growth), DIGITS, torch.device("cpu"))
    TrainState.build(replace(config, augment=augment, growth=1.0), DIGITS, torch.device("cpu"))
    state = TrainState.build(replace(config, augment=halves, growth="0..1"), DIGITS, torch.device("cpu"))
    assert state.game.D.d_input(torch.zeros(2, *DIGITS[:3])).shape[2:] == (8, 8), "the networks stay as they are"


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_our_objectives_pass_the_checks_of_others(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    objective = OBJECTIVES[name]
    config = replace(tiny(), objective=objective)
    checks._check_objective(config, objective)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"g": "dcgan(d_width=32)"}, "'d_width' is a knob of D.*\nExpected: one of g_width, g_norm\n"),
        ({"d": "dcgan(g_width=32)"}, "'g_width' is a knob of G.*\nExpected: one of d_width, d_norm, dropout\n"),
        ({"d": "vit(depth=2)"}, "'depth' is a knob of G.*\nExpected: one of d_width"),
        ({"g": "dcgan(growth=0.5)"}, "'growth' is not a knob of dcgan"),
        ({"d": "stylegan(growth='fast')"}, "growth"),
        ({"g": "dcgan(width=32)"}, "did you mean 'g_width'"),
        ({"g": "dcgan(family='mlp')"}, "'family' is not a knob of dcgan"),
        ({"g": "dcgna"}, "did you mean 'dcgan'"),
        ({"g": "nets.py"}, "nets.py:NAME\n.*it defines Generator, Late, Discriminator"),
        ({"objective": "nets.py"}, "nets.py:NAME"),
        ({"objective": "hinje"}, "did you mean 'hinge'"),
        ({"augment": "difaugment"}, "did you mean 'diffaugment'"),
        ({"g": "nets.py:Generater"}, "did you mean 'Generator'"),
        ({"g": "nets.py:Nope"}, "has no 'Nope'.*\n.*\nFix: it defines Generator"),
    ],
)
def test_wrong_names_are_met_with_the_right_ones(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        check(**knobs)


@pytest.mark.parametrize(
    ("knobs", "flag"), [({"g": "stylegan(growth='0..1')"}, "--g"), ({"d": "stylegan(growth=0.5)"}, "--d")]
)
def test_growth_of_one_network_has_no_effect(knobs: dict[str, Any], flag: str) -> None:
    with_growth = TrainConfig(network=Custom(**knobs), kimg=1.0)
    (warning,) = with_growth.warnings()
    assert warning.startswith(f"growth has no effect in {flag} stylegan(growth=")
    assert not TrainConfig(network=Custom(g="stylegan", d="stylegan"), kimg=1.0).warnings()


def test_a_far_name_is_no_suggestion() -> None:
    assert did_you_mean("Nope", ["GNoSuper", "Generator"]) == ""
    assert "Generator" in did_you_mean("generator", ["Generator"])


def test_objects_of_a_session_are_named_in_words() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere", "nn": nn}
    exec("class Discriminator(nn.Module):\n    def __init__(self, shape):\n        super().__init__()", namespace)
    with pytest.raises(GanvasError) as caught:
        check(d=namespace["Discriminator"])
    assert "the class Discriminator of this session fails on images" in str(caught.value)
    assert "<session>" not in str(caught.value)
    spec = user_code.describe(Objective(bce, g_loss))
    assert user_code.title(spec) == "the Objective of this session"
    assert user_code.title(user_code.describe(lambda images: images)) == "the function of this session"


def test_an_error_during_training_names_class_file_and_line() -> None:
    for shown in (
        run_cli("train", "custom", "--g", "nets.py:Late", "--d", "mlp(d_widths=[8])", "--kimg", 20, check=1).stderr,
        _trained_in_python(),
    ):
        assert "nets.py:Late fails: ValueError: tired (nets.py, line 18)" in shown.replace("\n", " ")
        assert "Traceback" not in shown


def _trained_in_python() -> str:
    with pytest.raises(GanvasError) as caught:
        ganvas.train("custom", g="nets.py:Late", d="mlp(d_widths=[8])", kimg=20, quiet=True, new=True)
    return str(caught.value)


@pytest.mark.slow
def test_prints_of_the_users_code_leave_json_alone() -> None:
    command = ("train", "custom", "--g", "nets.py:Generator", "--d", "mlp(d_widths=[8])", "--kimg", 0.128)
    done = run_cli(*command, "--batch", 32, "--no-plot", "--device", "cpu", "--json")
    assert Path(json.loads(done.stdout)["run"]).is_dir()
    assert "making G" in done.stderr


@pytest.mark.slow
def test_an_unfinished_run_of_edited_code_is_not_said_to_resume() -> None:
    knobs: dict[str, Any] = {"g": "nets.py:Generator", "d": "mlp(d_widths=[8])", "batch": 32, "plot": False}
    first = ganvas.train("custom", **knobs, kimg=0.064, quiet=True)
    metadata = json.loads((first.path / "config.json").read_text())
    metadata["config"]["kimg"] = 10 * metadata["config"]["kimg"]
    (first.path / "config.json").write_text(json.dumps(metadata))
    Path("nets.py").write_text(NETS + "# edited\n")
    second = run_cli("train", "custom", "--g", "nets.py:Generator", "--d", "mlp(d_widths=[8])", "--batch", 32,
                     "--no-plot", "--kimg", 0.064)  # fmt: skip
    assert f"{first} is unfinished; restore nets.py to resume it." in " ".join(second.stderr.split())


@pytest.mark.slow
def test_compare_checks_every_candidate_before_the_first_training() -> None:
    good, bad = "custom:d=mlp(d_widths=[8])", "custom:g=nets.py:Nope,d=mlp(d_widths=[8])"
    done = run_cli("compare", good, bad, "--data", "digits", "--kimg", 0.1, "--seeds", 1, "--out", "c", check=1)
    assert "has no 'Nope'" in done.stderr
    assert "custom g=nets.py:Nope" in done.stderr
    assert not Path("c").exists()


class Features(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class MapFeatures(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class DictFeatures(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return {"features": images}


class RandomFeatures(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) + torch.randn(1)


class FlatFeatures(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))


def direct(images: Tensor) -> Tensor:
    return images.flatten(1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DictFeatures", "DictFeatures gives a dict for 4 images"),
        ("RandomFeatures", "other features when it is called again"),
        ("FlatFeatures", r"gives features \[4\] for 4 images.*\n.*\[4, f\]"),
        ("direct", r"cannot be called: .*images.*\n.*torch.nn.Module, its class"),
        ("HERE", "gives a str"),
    ],
)
def test_extractors_of_another_form(name: str, message: str) -> None:
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(GanvasError, match=message):
        extract_features([images], load_extractor(f"{HERE}:{name}"), count=4)


def test_evaluate_takes_a_class() -> None:
    run = ganvas.train("digits", kimg=0.2, batch=20, plot=False, quiet=True)
    for features in (Features, lambda: MapFeatures()):
        found = ganvas.evaluate(run, features=features, count=40, quick=True, quiet=True)  # type: ignore[arg-type]
        assert "images not resized" in str(found)
    assert load_transform(f"{HERE}:rounds")(torch.tensor([0.6])) == 1
