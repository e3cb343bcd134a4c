"""The eye: a small convolutional network that comes with the package and turns images into features.

Eight 3×3 convolutions in four blocks with 2×2 pooling between them, as VGG (Simonyan & Zisserman 2015), with VGG's
layer names. `tools/train_eye.py` trained it to classify CIFAR-10 and MNIST; `EYE.md` beside this file is its model
card. It is not an Inception network: distances in its features are never called FID.
"""

from collections.abc import Collection
from functools import cache
from importlib import resources
from itertools import pairwise

from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = ((32, 32), (64, 64), (128, 128), (192, 192))
"""Channels of the convolutions, block by block."""

LAYER_NAMES = tuple(f"{block}_{layer}" for block, widths in enumerate(BLOCKS, 1) for layer in range(1, len(widths) + 1))
"""`1_1` to `4_2`: `conv1_1` is the first convolution, `relu1_1` its activation."""

CLASS_COUNT = 20
"""CIFAR-10's ten classes, then the ten digits."""

WEIGHTS_FILE = "eye.safetensors"


class Eye(nn.Module):
    """Images float [n 3 h w] in [-1, 1], 8×8 or larger -> logits [n 20].

    From `load_eye` its weights are frozen, but gradients reach the images.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *(width for block in BLOCKS for width in block))
        sides = zip(LAYER_NAMES, pairwise(widths), strict=True)
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(before, after, 3, padding=1) for name, (before, after) in sides}
        )
        self.head = nn.Linear(widths[-1], CLASS_COUNT)

    def activations(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The activations of the named layers, in the network's order; later layers are not computed.

        Args:
            images: float [n 3 h w] in [-1, 1].
            names: `relu1_1` to `relu4_2`.

        Returns:
            name -> float [n c h/2ᵇ w/2ᵇ], sides rounded up, b = 0 in the first block.
        """
        wanted, activations, x = set(names), {}, images
        for name, convolution in self.convolutions.items():
            if not wanted - activations.keys():
                break
            if name.endswith("_1") and name != LAYER_NAMES[0]:
                x = F.avg_pool2d(x, 2, ceil_mode=True)
            x = F.relu_(convolution(x))
            if f"relu{name}" in wanted:
                activations[f"relu{name}"] = x
        return activations

    def forward(self, images: Tensor) -> Tensor:
        last = f"relu{LAYER_NAMES[-1]}"
        return self.head(self.activations(images, [last])[last].mean((2, 3)))


@cache
def load_eye() -> Eye:
    """The trained eye, float32, in evaluation mode, on the CPU. It is shared by the whole process: do not change it."""
    weights = load(resources.files("ganvas.features").joinpath(WEIGHTS_FILE).read_bytes())
    network = Eye()
    network.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return network.eval().requires_grad_(False)


def to_rgb(images: Tensor) -> Tensor:
    """float [n 1|3|4 h w] in [-1, 1] -> [n 3 h w]: grey is repeated; transparency is blended with mid-grey, 0."""
    if images.shape[1] == 4:
        colour, opacity = images[:, :3], (images[:, 3:] + 1) / 2
        return colour * opacity
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
