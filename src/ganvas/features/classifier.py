"""A small classifier of the user's labelled data: it counts the classes that a generator draws, and gives features.

It is trained once on the training images, from a fixed seed, and cached by their fingerprint. On MNIST that takes
about 20 s on two CPU cores. Its accuracy on held-out images is part of the protocol of every number it gives.
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

from ganvas.data import ImageSet
from ganvas.data.cached import cache, cache_files
from ganvas.data.selection import number_as
from ganvas.errors import GanvasError
from ganvas.features.extraction import (
    Extractor,
    describe_resize,
    extract_set_features,
    hash_weights,
    resize_shorter_side,
)
from ganvas.optimisers import AdamW
from ganvas.progress import progress_bar

VERSION = 2
"""Incremented when the network or its training changes: cached classifiers are then trained again."""

SIDES = (16, 32)
"""Images are resized until their shorter side is in this range."""

FEATURE_COUNT = 128
"""Features before the logits."""

MAX_IMAGES, MAX_EPOCHS, BATCH_SIZE = 180_000, 40, 128
"""It trains on MAX_IMAGES images or for MAX_EPOCHS epochs, whichever is fewer."""

LEARNING_RATE, WARMUP_IMAGES, DECAY_IMAGES = 0.01, 5000, 60_000
"""The learning rate, the images over which it rises from 0 (warm-up), and the last ones over which it decays to 0."""

TARGET_ACCURACY, RECENT_IMAGES = 0.98, 10_000
"""The decay starts early once this accuracy is reached on the most recent images: easy sets need fewer images."""

MAX_SHIFT = 2
"""The largest random shift of a training image in each direction, in pixels."""


def build_network(channels: int, classes: int) -> nn.Sequential:
    """Images float [n channels h w] in [-1, 1] -> logits [n classes]; the input of the last layer is the features."""

    def layer(before: int, after: int, side: int) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, side, stride=2, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *layer(channels, 32, 4), *layer(32, 64, 3), *layer(64, FEATURE_COUNT, 3),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * FEATURE_COUNT, FEATURE_COUNT), nn.ReLU(inplace=True),
        nn.Linear(FEATURE_COUNT, classes),
    )  # fmt: skip


def classifier_extractor(train: ImageSet, held_out: ImageSet | None = None, *, progress: bool = False) -> Extractor:
    """The classifier of a labelled set as an extractor with probabilities; trained if it is not in the cache.

    Args:
        train: the training set, with labels.
        held_out: labelled images that measure its accuracy: those whose class has a name that `train` has too.
        progress: show progress bars.

    Raises:
        GanvasError: the set has no labels, or fewer than two classes.
    """
    if train.labels is None or train.classes < 2:
        raise GanvasError(
            f"{train.name} has no classes.",
            expected="labelled images of two or more classes",
            fix="put each class into its own folder, or use --features eye.",
        )
    with torch.random.fork_rng(devices=[]):
        trained = build_network(train.channels, train.classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _load_or_train(trained, train, progress)
    trained.eval().requires_grad_(False)
    head, body = trained[-1], trained[:-1]

    def extract(images: Tensor) -> Tensor:
        return body(resize_shorter_side(images, SIDES))

    def predict_probabilities(features: np.ndarray) -> np.ndarray:
        return F.softmax(head(torch.from_numpy(features)), dim=1).numpy()

    digest, resize = hash_weights(trained), describe_resize(SIDES)
    result = Extractor("classifier", digest, resize, extract, predict_probabilities=predict_probabilities)
    if held_out is None:
        return result
    labels = number_as(held_out, train)
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        return result
    features = extract_set_features(held_out, known, result, progress=progress)
    correct = predict_probabilities(features).argmax(1) == labels[known]
    return replace(result, facts={"classifier_accuracy": round(float(correct.mean()), 4)})


def bundled_weights(train: ImageSet) -> Traversable:
    """The weights file in the package for a set; only the embedded digits have one (see train_digits_classifier)."""
    return resources.files("ganvas.features").joinpath(f"classifier-{VERSION}-{train.fingerprint}.safetensors")


def _load_or_train(trained: nn.Sequential, train: ImageSet, progress: bool) -> None:
    """Loads the weights from the package or the cache; otherwise trains the network and caches its weights."""
    path = cache_files.root() / "classifiers" / f"{cache.key('classifier', VERSION, train.fingerprint)}.safetensors"
    for file in (bundled_weights(train), path):
        try:
            trained.load_state_dict(load(file.read_bytes()))
            return
        except (OSError, RuntimeError, SafetensorError):
            continue
    _train(trained, train, progress)
    cache.write_file(path, save({name: weight.contiguous() for name, weight in trained.state_dict().items()}))


def _train(trained: nn.Sequential, train: ImageSet, progress: bool) -> None:
    """AdamW at a constant rate until the target accuracy, then a linear decay (Zhai et al. 2022); deterministic."""
    assert train.labels is not None
    labels, count = torch.from_numpy(np.array(train.labels)), len(train)
    batch, total = min(BATCH_SIZE, count), min(MAX_IMAGES, MAX_EPOCHS * count)
    warmup, decay = min(WARMUP_IMAGES, total // 10), min(DECAY_IMAGES, total // 2)
    recent: deque[float] = deque(maxlen=RECENT_IMAGES // batch)
    with torch.random.fork_rng(devices=[]), progress_bar("Training a classifier", total, shown=progress) as advance:
        torch.default_generator.manual_seed(0)
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
                group["lr"] = LEARNING_RATE * min(1.0, (seen + batch) / warmup, (end - seen) / decay)
            logits = trained(_shift_randomly(resize_shorter_side(torch.from_numpy(train.images[rows]), SIDES)))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
            adam.zero_grad()
            loss.backward()
            adam.step()
            seen += batch
            recent.append(float((logits.argmax(1) == labels[rows]).float().mean()))
            if len(recent) == recent.maxlen and sum(recent) >= TARGET_ACCURACY * len(recent):
                end = min(end, seen + decay)
            advance(batch)


def _shift_randomly(images: Tensor) -> Tensor:
    """Shifts each image of [n c h w] by up to MAX_SHIFT pixels in each direction; edge pixels are replicated."""
    height, width = images.shape[2:]
    windows = F.pad(images, (MAX_SHIFT,) * 4, mode="replicate").unfold(2, height, 1).unfold(3, width, 1)
    down, right = torch.randint(2 * MAX_SHIFT + 1, (2, len(images)))
    return windows[torch.arange(len(images)), :, down, right]
