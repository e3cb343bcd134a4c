"""A small classifier of the labelled data at hand: it counts the classes a generator draws, and gives features.

Trained once on the training pictures, from a fixed seed, and kept in the cache under their fingerprint. On MNIST it
takes about 20 s on two CPU cores. How often it is right on held-out pictures belongs to every number it gives.
"""

from collections import deque
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data import ImageSet, cache
from ganvas.data.progress import bar
from ganvas.errors import GanvasError
from ganvas.evaluation.features import (
    Extractor,
    describe_resize,
    extract_set_features,
    hash_weights,
    resize_shorter_side,
    write_cache_file,
)
from ganvas.optimisers import AdamW

VERSION = 2
"""Counted up when the network or its training changes: older ones are then trained anew."""

SIDES = (16, 32)
"""It sees pictures whose shorter side lies between these."""

FEATURE_COUNT = 128
"""Features before its logits."""

MAX_IMAGES, MAX_EPOCHS, BATCH_SIZE = 180_000, 40, 128
"""It trains on so many pictures in all, or so many rounds through the set, whichever is fewer."""

LEARNING_RATE, WARMUP_IMAGES, DECAY_IMAGES = 0.01, 5000, 60_000
"""The learning rate, the first pictures over which it rises from 0, and the last ones over which it falls to 0."""

TARGET_ACCURACY, RECENT_IMAGES = 0.98, 10_000
"""The rate falls early once it is right on this share of so many of the last pictures: easy sets need fewer."""

MAX_SHIFT = 2
"""Pixels by which each training picture may move in each direction."""


def build_network(channels: int, classes: int) -> nn.Sequential:
    """Images float [n channels h w] in [-1, 1] -> logits [n classes]; all but the last layer give 128 features."""

    def layer(before: int, after: int, side: int) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, side, stride=2, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *layer(channels, 32, 4), *layer(32, 64, 3), *layer(64, FEATURE_COUNT, 3),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * FEATURE_COUNT, FEATURE_COUNT), nn.ReLU(inplace=True),
        nn.Linear(FEATURE_COUNT, classes),
    )  # fmt: skip


def classifier_extractor(train: ImageSet, held_out: ImageSet | None = None, *, progress: bool = False) -> Extractor:
    """The classifier of a labelled set, trained first if it is not in the cache, as an extractor with probabilities.

    Args:
        train: with labels.
        held_out: labelled pictures to tell its accuracy.

    Raises:
        GanvasError: the set has no labels, or fewer than two classes.
    """
    if train.labels is None or train.classes < 2:
        raise GanvasError(
            f"{train.name} has no classes to tell apart.",
            expected="labelled pictures of two classes or more",
            fix="put each class into a folder of its own, or use --features eye.",
        )
    with torch.random.fork_rng(devices=[]):
        trained = build_network(train.channels, train.classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _load_or_train(trained, train, progress)
    trained.eval().requires_grad_(False)
    head, body = trained[-1], trained[:-1]

    def look(images: Tensor) -> Tensor:
        return body(resize_shorter_side(images, SIDES))

    def probabilities(features: np.ndarray) -> np.ndarray:
        return F.softmax(head(torch.from_numpy(features)), dim=1).numpy()

    found = Extractor("classifier", hash_weights(trained), describe_resize(SIDES), look, probabilities=probabilities)
    if held_out is None or held_out.labels is None:
        return found
    seen = extract_set_features(held_out, np.arange(len(held_out)), found, progress=progress)
    right = probabilities(seen).argmax(1) == held_out.labels
    return replace(found, facts={"classifier_accuracy": round(float(right.mean()), 4)})


def bundled_weights(train: ImageSet) -> Traversable:
    """The file that the package has for a set; the embedded digits have one (tools/train_digits_classifier.py)."""
    return resources.files("ganvas.evaluation").joinpath(f"classifier-{VERSION}-{train.fingerprint}.safetensors")


def _load_or_train(trained: nn.Sequential, train: ImageSet, progress: bool) -> None:
    """The weights: shipped with the package, or kept in the cache, or trained now and kept."""
    path = cache.root() / "classifiers" / f"{cache.key('classifier', VERSION, train.fingerprint)}.safetensors"
    for file in (bundled_weights(train), path):
        try:
            trained.load_state_dict(load(file.read_bytes()))
            return
        except (OSError, RuntimeError, SafetensorError):
            continue
    _train(trained, train, progress)
    write_cache_file(path, save({name: weight.contiguous() for name, weight in trained.state_dict().items()}))


def _train(trained: nn.Sequential, train: ImageSet, progress: bool) -> None:
    """Adam, its rate constant until enough is learnt, then falling (Zhai et al. 2022); always the same."""
    assert train.labels is not None
    labels, count = torch.from_numpy(np.array(train.labels)), len(train)
    batch, total = min(BATCH_SIZE, count), min(MAX_IMAGES, MAX_EPOCHS * count)
    warm, fall = min(WARMUP_IMAGES, total // 10), min(DECAY_IMAGES, total // 2)
    lately: deque[float] = deque(maxlen=RECENT_IMAGES // batch)
    with torch.random.fork_rng(devices=[]), bar("Training a classifier", total, shown=progress) as advance:
        torch.manual_seed(0)
        for layer in trained.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                layer.reset_parameters()
        adam = AdamW(trained.parameters(), weight_decay=1e-3, fused=True)
        trained.train()
        order, seen, end = torch.empty(0, dtype=torch.long), 0, total
        while seen < end:
            while len(order) < batch:
                order = torch.cat([order, torch.randperm(count)])
            chosen, order = order[:batch], order[batch:]
            rows = np.sort(chosen.numpy())
            for group in adam.param_groups:
                group["lr"] = LEARNING_RATE * min(1.0, (seen + batch) / warm, (end - seen) / fall)
            logits = trained(_shift_randomly(resize_shorter_side(torch.from_numpy(train.images[rows]), SIDES)))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
            adam.zero_grad()
            loss.backward()
            adam.step()
            seen += batch
            lately.append(float((logits.argmax(1) == labels[rows]).float().mean()))
            if len(lately) == lately.maxlen and sum(lately) >= TARGET_ACCURACY * len(lately):
                end = min(end, seen + fall)
            advance(batch)


def _shift_randomly(images: Tensor) -> Tensor:
    """Each picture of [n c h w] moved by up to MOVED pixels in each direction; what lies beyond is its own edge."""
    height, width = images.shape[2:]
    windows = F.pad(images, (MAX_SHIFT,) * 4, mode="replicate").unfold(2, height, 1).unfold(3, width, 1)
    down, right = torch.randint(2 * MAX_SHIFT + 1, (2, len(images)))
    return windows[torch.arange(len(images)), :, down, right]
