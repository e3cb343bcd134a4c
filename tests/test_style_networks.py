"""Networks of style transfer: features equal an independent computation, with and without tiles."""

import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.errors import GanvasError
from ganvas.features import layers, weights
from ganvas.features.eye import LAYER_NAMES, load_eye
from ganvas.features.layers import VGG19_BLOCKS, FeatureNetwork
from ganvas.style.images import MIN_SIDE
from ganvas.style.objective import FeatureLayers, StyleObjective, StyleTarget
from ganvas.style.tiles import split_into_tiles


@pytest.fixture(scope="session")
def judges() -> ModuleType:
    spec = spec_from_file_location(
        "style_reference_networks", Path(__file__).parent.parent / "benchmarks" / "style_reference_networks.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_vgg(blocks: int = 2) -> dict[str, Tensor]:
    """Random weights of VGG-19's shapes, to the end of a block."""
    found, place, before = {}, 0, 3
    for block in VGG19_BLOCKS[:blocks]:
        for width in block:
            found[f"features.{place}.weight"] = torch.randn(width, before, 3, 3) * (2 / (9 * before)) ** 0.5
            found[f"features.{place}.bias"] = torch.randn(width) * 0.1
            place, before = place + 2, width
        place += 1
    return found


def small_squeezenet(fires: int = 4) -> dict[str, Tensor]:
    """Random weights of SqueezeNet's shapes, to this fire module."""
    shapes = {"features.0": (64, 3, 3)}
    before = 64
    places = (3, 4, 6, 7, 9, 10, 11, 12)[:fires]
    for place, (squeezed, expanded) in zip(places, layers.SQUEEZENET_FIRES, strict=False):
        shapes |= {
            f"features.{place}.squeeze": (squeezed, before, 1),
            f"features.{place}.expand1x1": (expanded, squeezed, 1),
            f"features.{place}.expand3x3": (expanded, squeezed, 3),
        }
        before = 2 * expanded
    found = {f"{n}.weight": torch.randn(o, i, k, k) * (2 / (i * k * k)) ** 0.5 for n, (o, i, k) in shapes.items()}
    return found | {f"{n}.bias": torch.randn(o) * 0.1 for n, (o, _, _) in shapes.items()}


def test_eye_network_equals_that_of_the_evaluation_except_at_the_border() -> None:
    images = torch.rand(1, 3, 44, 52) * 2 - 1
    names = [f"relu{name}" for name in LAYER_NAMES]
    style_features, its = layers.build_eye().features(images, names), load_eye().activations(images, names)
    assert style_features.keys() == its.keys()
    assert not torch.equal(style_features["relu1_1"], its["relu1_1"])
    for name in ("relu1_1", "relu2_2", "relu3_1"):
        inside = (..., slice(4, -4), slice(4, -4))
        assert torch.equal(style_features[name][inside], its[name][inside])
    network = layers.build_eye()
    assert (network.stride("relu4_2"), network.receptive_radius("relu1_1"), network.receptive_radius("relu4_2")) == (
        8,
        1,
        37,
    )


def test_vgg19_equals_a_direct_computation_with_the_file(real_data: Path, judges: ModuleType) -> None:
    """As the file expects it: RGB in [0, 1], its 1×1 convolution, padding by reflection, ceil-mode pools."""
    path = real_data / "weights" / judges.VGG
    network = layers.build_vgg19(judges.vgg19_weights(path))
    assert network.layer_names == ("rgb", "patches", "relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
    images = torch.rand(1, 3, 64, 72) * 2 - 1
    style_features = network.features(images, network.layer_names)
    found = {name: torch.from_numpy(value) for name, value in np.load(path).items()}
    x = F.conv2d((images + 1) / 2, found["0.weight"], found["0.bias"])
    for place, name in (("2", "relu1_1"), ("5", "relu1_2"), ("9", "relu2_1"), ("12", "relu2_2"), ("16", "relu3_1")):
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.relu(F.conv2d(x, found[f"{place}.weight"], found[f"{place}.bias"]))
        inside = (..., slice(4, -4), slice(4, -4))
        assert torch.allclose(style_features[name][inside], x[inside], rtol=1e-3, atol=1e-4 * float(x.max())), name
        if name in ("relu1_2", "relu2_2"):
            x = F.max_pool2d(x, 2, ceil_mode=True)


def test_squeezenet_equals_a_direct_computation_with_the_file(real_data: Path, judges: ModuleType) -> None:
    path = real_data / "weights" / judges.SQUEEZENET
    network = layers.build_squeezenet(judges.squeezenet_weights(path))
    images = torch.rand(1, 3, 67, 67) * 2 - 1
    style_features = network.features(images, ["relu1", "fire2"])
    found = {name: torch.from_numpy(value.astype(np.float32)) for name, value in np.load(path).items()}
    x = ((images + 1) * 127.5).flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    x = F.relu(F.conv2d(x, found["features.0.weight"], found["features.0.bias"], stride=2))
    assert torch.allclose(style_features["relu1"], x, rtol=1e-3, atol=1e-3 * float(x.max()))
    fire = {part: found[f"features.3.{part}.weight"] for part in ("squeeze1x1", "expand1x1", "expand3x3")}
    bias = {part: found[f"features.3.{part}.bias"] for part in fire}
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = F.relu(F.conv2d(x, fire["squeeze1x1"], bias["squeeze1x1"]))
    x = F.relu(torch.cat([F.conv2d(x, fire["expand1x1"], bias["expand1x1"]),
                          F.conv2d(x, fire["expand3x3"], bias["expand3x3"], padding=1)], 1))  # fmt: skip
    assert torch.allclose(style_features["fire2"], x, rtol=1e-3, atol=1e-3 * float(x.max()))


def test_vgg19_has_the_published_size() -> None:
    """Simonyan & Zisserman: sixteen convolutions, 20,024,384 parameters before the classifier."""
    network = layers.build_vgg19(small_vgg(5))
    assert sum(p.numel() for p in network.parameters()) == 20_024_384
    assert len([name for name in network.layer_names if name.startswith("relu")]) == 16
    assert (network.stride("relu4_2"), network.receptive_radius("relu5_1")) == (8, 85)


def feature_networks() -> dict[str, FeatureNetwork]:
    return {
        "eye": layers.build_eye(),
        "vgg19": layers.build_vgg19(small_vgg(3)),
        "squeezenet": layers.build_squeezenet(small_squeezenet()),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eye", "vgg19", "squeezenet"])
@pytest.mark.parametrize("size", [(100, 77), (64, 131)])
def test_features_in_tiles_equal_those_of_the_whole(name: str, size: tuple[int, int]) -> None:
    """Translation equivariance: every position of every layer, also at the image's border, for odd and even sizes."""
    network = feature_networks()[name]
    images = torch.rand(1, 3, *size) * 2 - 1
    whole = network.features(images, network.layer_names)
    last = network.layer_names[-1]
    for layer in network.layer_names:
        tiles = split_into_tiles(*size, 32, network.receptive_radius(layer), network.stride(last))
        assert len(tiles) > 4
        stride, covered = network.stride(layer), torch.zeros_like(whole[layer])
        for tile in tiles:
            own = tile.crop_features(network.features(tile.crop_input(images), [layer])[layer], stride)
            there = tile.rows.own_start // stride, tile.columns.own_start // stride
            place = (..., slice(there[0], there[0] + own.shape[2]), slice(there[1], there[1] + own.shape[3]))
            assert torch.allclose(own, whole[layer][place], atol=1e-4), layer
            covered[place] += 1
        assert (covered == 1).all(), f"{layer}: every position belongs to one tile"


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("statistic", ["gram", "wasserstein"])
def test_gradient_in_tiles_equals_that_of_the_whole(statistic: str, masked: bool) -> None:
    network = layers.build_eye()
    content = {"rgb": 0.3, "patches": 0.2, "relu1_1": 0.2, "relu3_1": 0.3}
    style, photo, image = (torch.rand(1, 3, *size) * 2 - 1 for size in ((60, 50), (90, 100), (90, 100)))
    masks = [torch.rand(1, 1, 90, 100), torch.rand(1, 1, 90, 100)] if masked else [None]
    values = []
    for tile in (None, 32):
        feature_layers = FeatureLayers(network, content, {"relu2_1": 1.0}, tile)
        regions = [StyleTarget(mask, feature_layers.statistics(style), 0.5) for mask in masks]
        values.append(
            StyleObjective(feature_layers, photo, regions, statistic=statistic, content_weight=0.3, tv_weight=0.2)(
                image
            )
        )
    whole, tiles = values
    assert tiles.loss == pytest.approx(whole.loss, rel=1e-4)
    assert (tiles.content, tiles.tv) == pytest.approx((whole.content, whole.tv), rel=1e-4)
    worst = float((tiles.gradient - whole.gradient).abs().max() / whole.gradient.abs().max())
    assert worst < 1e-3, "no seam"


def test_smallest_image_has_a_position_of_every_layer() -> None:
    images = torch.zeros(1, 3, MIN_SIDE, 40)
    for network in (layers.build_eye(), layers.build_squeezenet(small_squeezenet(8))):
        assert network.layer_names[-1] in ("relu4_2", "fire9")
        assert all(min(f.shape[2:]) > 0 for f in network.features(images, network.layer_names).values())


@pytest.mark.parametrize("part", [(..., slice(33, None), slice(None)), (..., slice(None), slice(64, None))])
@pytest.mark.parametrize("statistic", ["gram", "wasserstein"])
def test_mask_at_a_border_where_pools_round_down(statistic: str, part: tuple[Any, ...]) -> None:
    network = FeatureNetwork("rounded")
    network.append("relu1_1", layers.ConvReLU(3, 4, 3, padding=1), 3, padding=1)
    network.append("pool1", nn.MaxPool2d(16), 16, 16)
    network.append("relu2_1", layers.ConvReLU(4, 4, 3, padding=1), 3, padding=1)
    network.double().requires_grad_(False)
    mask, image = torch.zeros(1, 1, 43, 70).double(), torch.rand(1, 3, 43, 70).double()
    mask[part] = 1
    values = []
    for tile in (None, 32):
        feature_layers = FeatureLayers(network, {"relu1_1": 0.5, "relu2_1": 0.5}, {"rgb": 1.0}, tile)
        statistics = feature_layers.statistics(image.flip(1), mask)
        assert all(value.isfinite().all() for value in statistics.values())
        objective = StyleObjective(
            feature_layers, image, [StyleTarget(mask, statistics)], statistic=statistic, content_weight=1, tv_weight=1
        )
        values.append(objective(image))
    assert len(objective.tiles) == 2
    assert math.isfinite(values[0].loss)
    assert values[1].loss == pytest.approx(values[0].loss, rel=1e-4)
    worst = float((values[1].gradient - values[0].gradient).abs().max() / values[0].gradient.abs().max())
    assert worst < 1e-3


@pytest.mark.parametrize(("statistic", "layer"), [("gram", "relu2_1"), ("wasserstein", "patches")])
def test_gradient_of_the_objective_equals_finite_differences(statistic: str, layer: str) -> None:
    network = layers.build_eye().double()
    feature_layers = FeatureLayers(network, {"rgb": 0.5, layer: 0.5}, {"relu1_2": 1.0}, None)
    style, photo, image = (torch.rand(1, 3, 24, 24).double() * 2 - 1 for _ in range(3))
    objective = StyleObjective(
        feature_layers,
        photo,
        [StyleTarget(None, feature_layers.statistics(style))],
        statistic=statistic,
        content_weight=1,
        tv_weight=1,
    )
    value, direction = objective(image), torch.randn(1, 3, 24, 24).double()
    derivative = (objective(image + 1e-6 * direction).loss - objective(image - 1e-6 * direction).loss) / 2e-6
    assert float((value.gradient * direction).sum()) == pytest.approx(derivative, rel=1e-5)
    assert value.loss == pytest.approx(value.style + value.content + value.tv)


def test_safetensors_and_pth_give_the_same_features(tmp_path: Path) -> None:
    made = small_vgg(1)
    save_file(made, tmp_path / "vgg.safetensors")
    torch.save(made, tmp_path / "vgg.pth")
    images = torch.rand(1, 3, 16, 16)
    outputs = [
        weights.load_network("vgg19", tmp_path / name).features(images, ["relu1_2"])["relu1_2"]
        for name in ("vgg.safetensors", "vgg.pth")
    ]
    assert torch.equal(*outputs)


def test_pth_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

    torch.save({"features.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(GanvasError, match="cannot be read as weights"):
        weights.load_weights(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"other.0.weight": torch.zeros(3)}, "not the weights of vgg19"),
        (
            {"features.0.weight": torch.zeros(64, 3, 5, 5), "features.0.bias": torch.zeros(64)},
            "not the weights of vgg19",
        ),
        (
            {"features.0.weight": torch.full((64, 3, 3, 3), torch.nan), "features.0.bias": torch.zeros(64)},
            "not numbers",
        ),
        (None, "cannot be read as weights"),
    ],
)
def test_weights_of_other_networks_are_refused(tmp_path: Path, content: dict[str, Tensor] | None, words: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"no weights") if content is None else torch.save(content, path)
    with pytest.raises(GanvasError, match=words):
        weights.load_network("vgg19", path)
