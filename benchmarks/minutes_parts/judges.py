"""The judges: networks in whose features generated pictures are compared with real ones.

VGG-19 and SqueezeNet were trained on ImageNet's labels, as the network was that D of `fast` looks through; the eye was
not. A Fréchet distance in their features is no FID: it is read beside its floor, the distance of one half of the real
pictures to the other.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from minutes_parts.marks import GENERATED
from minutes_parts.sets import Pictures
from torch import Tensor
from torch.nn import functional as F

from ganvas.data.cached import cache
from ganvas.evaluation.memorisation import TrainingFeatures, compare_with_training
from ganvas.evaluation.metrics import compute_moments, frechet_distance
from ganvas.evaluation.near_copies import TrainingPixels
from ganvas.evaluation.neighbours import prdc
from ganvas.features.classifier import classifier_extractor
from ganvas.features.extraction import extract_features
from ganvas.features.extractors import eye_extractor
from ganvas.features.eye import to_rgb
from ganvas.features.layers import build_eye, build_squeezenet

Network = Callable[[Tensor], Tensor]
"""uint8 [n c h w] -> float32 [n f]."""

JUDGES = {
    "VGG-19": "mean of relu3_1 over the positions, 256 features, pictures at their own size",
    "SqueezeNet": "mean of fire9, 512 features, pictures brought to 128×128, bilinear",
    "eye": "mean of relu4_2, 192 features, pictures larger than 32×32 averaged to that",
}
"""Each judge's features, in float32."""

PER_PASS = 50
SQUEEZENET_MEAN = (123.0, 117.0, 104.0)
"""Of RGB in 0..255."""


def vgg19(weights: Path) -> Network:
    """VGG-19 in its normalised form (Gatys et al. 2016), to relu3_1: reflection padding, pools that round up."""
    stored = np.load(weights / "vgg19_normalised_to_relu3_1_fp32.npz")
    names = sorted({name.split(".")[0] for name in stored}, key=int)
    layers = [(torch.from_numpy(stored[f"{name}.weight"]), torch.from_numpy(stored[f"{name}.bias"])) for name in names]

    def features(pictures: Tensor) -> Tensor:
        x = F.conv2d(pictures / 255, layers[0][0], layers[0][1])
        for weight, bias in layers[1:]:
            if weight.shape[:2] in ((128, 64), (256, 128)):
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = F.relu(F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), weight, bias))
        return x.mean((2, 3))

    return features


def squeezenet(weights: Path) -> Network:
    """SqueezeNet 1.1 with Caffe's weights, which want BGR in 0..255 minus a mean: here RGB, by a flipped kernel."""
    stored = np.load(weights / "squeezenet1_1_caffe_fp16.npz")
    named = {key.replace("squeeze1x1", "squeeze"): torch.from_numpy(stored[key].astype(np.float32)) for key in stored}
    named["features.0.weight"] = named["features.0.weight"].flip(1)
    network = build_squeezenet(named)
    network.scale.fill_(127.5)
    network.shift.copy_(127.5 - torch.tensor(SQUEEZENET_MEAN).view(1, 3, 1, 1))

    def features(pictures: Tensor) -> Tensor:
        x = F.interpolate(pictures / 127.5 - 1, size=(128, 128), mode="bilinear")
        return network.features(x, ["fire9"])["fire9"].mean((2, 3))

    return features


def eye() -> Network:
    """The network that comes with the package: it saw CIFAR-10 and MNIST, and none of ImageNet's labels."""
    network = build_eye()

    def features(pictures: Tensor) -> Tensor:
        x = pictures / 127.5 - 1
        x = x if x.shape[-1] <= 32 else F.interpolate(x, size=(32, 32), mode="area")
        return network.features(x, ["relu4_2"])["relu4_2"].mean((2, 3))

    return features


@torch.no_grad()
def extract(network: Network, pictures: np.ndarray) -> np.ndarray:
    """uint8 [n c h w] -> float64 [n f]."""
    parts = []
    for start in range(0, len(pictures), PER_PASS):
        x = to_rgb(torch.from_numpy(pictures[start : start + PER_PASS]).float())
        parts.append(network(x.contiguous(memory_format=torch.channels_last)))
    return torch.cat(parts).double().numpy()


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance between two sets of features."""
    return frechet_distance(compute_moments(a), compute_moments(b))


def half_distance(features: np.ndarray) -> float:
    """Of the first half to the second: the rows are in random order."""
    half = len(features) // 2
    return distance(features[:half], features[half : 2 * half])


class Panel:
    """All judges of one set of pictures; the features of the real ones are computed once.

    Attributes:
        floors: real against real, for each value that has such a floor.
    """

    def __init__(self, pictures: Pictures, weights: Path) -> None:
        self.pictures = pictures
        self.networks = {"VGG-19": vgg19(weights), "SqueezeNet": squeezenet(weights), "eye": eye()}
        self.reals = {name: self._extract_reals(name) for name in JUDGES}
        self.floors: dict[str, float] = {name: half_distance(features) for name, features in self.reals.items()}
        self.extras: list[Callable[[np.ndarray], dict[str, Any]]] = []
        if pictures.conditional:
            self.extras.append(self._measure_classes())
        if pictures.digits:
            self.extras.append(self._measure_digits())
        if pictures.held_out is not None:
            self.extras.append(self._measure_copies(pictures.held_out))

    def _extract_reals(self, name: str) -> np.ndarray:
        """Cached, as `ganvas evaluate` caches features."""
        reals = np.ascontiguousarray(self.pictures.reals)
        digest = hashlib.sha256(reals.tobytes()).hexdigest()
        key = cache.key("minutes float32", digest, name, JUDGES[name], torch.__version__)
        return cache.load_or_compute(key, len(reals), lambda: extract(self.networks[name], reals))

    def measure(self, generated: np.ndarray) -> dict[str, Any]:
        """What all judges say of pictures uint8 [n c h w]; those of a conditional generator have class row mod 10."""
        values: dict[str, Any] = {
            name: distance(extract(network, generated), self.reals[name]) for name, network in self.networks.items()
        }
        for measure in self.extras:
            values |= measure(generated)
        return values

    def _measure_classes(self) -> Callable[[np.ndarray], dict[str, Any]]:
        """Variety: recall, and within each class the eye's distance and the spread beside that of real pictures."""
        network, images, labels = self.networks["eye"], self.pictures.images.images, self.pictures.images.labels
        assert labels is not None
        classes, shuffled = self.pictures.images.classes, np.random.RandomState(0).permutation(len(labels))
        each = GENERATED // classes
        rows = [shuffled[labels[shuffled] == label][: 2 * each] for label in range(classes)]
        both_halves = [extract(network, images[chosen]) for chosen in rows]
        real = [features[:each] for features in both_halves]
        all_real = _extract_for_neighbours(self.pictures.reals)
        self.floors["distance within a class"] = float(np.mean([half_distance(one) for one in both_halves]))

        def measure(generated: np.ndarray) -> dict[str, Any]:
            features = extract(network, generated)
            fake = [features[label::classes] for label in range(classes)]
            spreads = [mean_pairwise(f) / mean_pairwise(r) for f, r in zip(fake, real, strict=True)]
            return {
                "recall": prdc(all_real, _extract_for_neighbours(generated)).recall,
                "distance within a class": float(np.mean([distance(f, r) for f, r in zip(fake, real, strict=True)])),
                "spread within a class": float(np.mean(spreads)),
                "least spread of a class": float(np.min(spreads)),
            }

        return measure

    def _measure_digits(self) -> Callable[[np.ndarray], dict[str, Any]]:
        """The distance in the features of a classifier of the digits, and how it sees the classes shared out."""
        classifier = classifier_extractor(self.pictures.images)
        assert classifier.predict_probabilities is not None
        predict = classifier.predict_probabilities
        real = _extract(classifier.extract, self.pictures.reals)

        def count(features: np.ndarray) -> dict[str, float]:
            probabilities = predict(features)
            shares = np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1]) / len(probabilities)
            sure = float((probabilities.max(1) > 0.9).mean())
            return {"rarest class": float(shares.min()), "sure of the class": sure}

        self.floors |= {"classifier": half_distance(real), **count(real)}

        def measure(generated: np.ndarray) -> dict[str, Any]:
            features = _extract(classifier.extract, generated)
            return {"classifier": distance(features, real), **count(features)}

        return measure

    def _measure_copies(self, held_out: np.ndarray) -> Callable[[np.ndarray], dict[str, Any]]:
        """Memorisation: distances to the training pictures in the eye's features, and near-copies in the pixels."""
        real = TrainingFeatures(_extract_for_neighbours(self.pictures.train), _extract_for_neighbours(held_out))
        pixels = TrainingPixels.from_images(self.pictures.train)
        assert pixels is not None, "at least three pictures differ"
        self.floors["near-copies"] = pixels.find(held_out, n_pairs=1).share

        def measure(generated: np.ndarray) -> dict[str, Any]:
            found = compare_with_training(_extract_for_neighbours(generated), real, n_pairs=1)
            return {
                "nearest, of held-out": found.ratio, "copies": found.copies, "authenticity": found.authenticity,
                "C_T": found.c_t, "near-copies": pixels.find(generated, n_pairs=1).share,
            }  # fmt: skip

        return measure


def mean_pairwise(features: np.ndarray) -> float:
    """The mean distance between two different rows of [n f]."""
    squares = np.square(features).sum(1)
    distances = np.sqrt((squares[:, None] + squares - 2 * features @ features.T).clip(min=0))
    return float(distances.sum() / (len(features) * (len(features) - 1)))


def _extract(features: Callable[[Tensor], Tensor], pictures: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([features(part) for part in torch.from_numpy(np.array(pictures)).split(64)]).numpy()


def _extract_for_neighbours(pictures: np.ndarray) -> np.ndarray:
    """The features in which `ganvas evaluate` looks for neighbours, float32 [n f]."""
    return extract_features(torch.from_numpy(np.array(pictures)).split(64), eye_extractor(), count=len(pictures))
