"""Converts published weights of VGG-19 and SqueezeNet to torchvision's names, to evaluate style transfer with them.

`vgg19_normalised_to_relu3_1_fp32.npz` (Gatys' normalised VGG-19) takes RGB in [0, 1] and starts with a 1×1 convolution;
`squeezenet1_1_caffe_fp16.npz` takes BGR in 0..255 minus a mean. Both differences are linear in the pixels, so they are
folded into the first convolution, and `ganvas.features.layers` can use the weights.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas.features.layers import IMAGENET_MEAN, IMAGENET_STD

VGG, SQUEEZENET = "vgg19_normalised_to_relu3_1_fp32.npz", "squeezenet1_1_caffe_fp16.npz"


def vgg19_weights(path: Path) -> dict[str, Tensor]:
    """The npz of VGG-19 -> `features.0.weight` … `features.10.bias`, for ImageNet-normalised inputs."""
    found = {name: torch.from_numpy(value) for name, value in np.load(path).items()}
    mix, shift = found["0.weight"][:, :, 0, 0], found["0.bias"]
    first = found["2.weight"]
    places = {"2": 0, "5": 2, "9": 5, "12": 7, "16": 10}
    weights = {
        f"features.{new}.{part}": found[f"{old}.{part}"] for old, new in places.items() for part in ("weight", "bias")
    }
    weights["features.0.weight"] = torch.einsum("oikl,ij->ojkl", first, mix)
    weights["features.0.bias"] = found["2.bias"] + torch.einsum("oikl,i->o", first, shift)
    return _for_imagenet(weights)


def squeezenet_weights(path: Path) -> dict[str, Tensor]:
    """The npz of SqueezeNet -> torchvision's names, for ImageNet-normalised inputs."""
    found = {name: torch.from_numpy(value.astype(np.float32)) for name, value in np.load(path).items()}
    weights = {name.replace("squeeze1x1", "squeeze"): value for name, value in found.items()}
    mean = torch.tensor([104.0, 117.0, 123.0])
    first = weights["features.0.weight"]
    weights["features.0.bias"] = weights["features.0.bias"] - torch.einsum("oikl,i->o", first, mean)
    weights["features.0.weight"] = 255 * first.flip(1)
    return _for_imagenet(weights)


def _for_imagenet(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adapts the first convolution from RGB x in [0, 1] to (x − mean) / deviation."""
    first, mean, deviation = weights["features.0.weight"], torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    weights["features.0.bias"] = weights["features.0.bias"] + torch.einsum("oikl,i->o", first, mean)
    weights["features.0.weight"] = first * deviation.view(1, 3, 1, 1)
    return weights
