"""A small classifier of the labelled data at hand: it counts the classes a generator draws, and gives features.

Trained once on the training pictures, from a fixed seed, and kept in the cache under their fingerprint. On MNIST it
takes about a minute on two CPU cores. How often it is right on held-out pictures belongs to every number it gives.
"""

from dataclasses import replace

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data import ImageSet, cache
from ganvas.data.progress import bar
from ganvas.errors import GanvasError
from ganvas.judge.features import Extractor, described, digest, fitted, keep, of_set

VERSION = 1
"""Counted up when the network or its training changes: older ones are then trained anew."""

SIDES = (16, 32)
"""It sees pictures whose shorter side lies between these."""

WIDTH = 128
"""Features before its logits."""

SEEN, EPOCHS, BATCH = 180_000, 40, 128
"""It trains on so many pictures in all, or so many rounds through the set, whichever is fewer."""

MOVED = 2
"""Pixels by which a training picture may move in each direction."""


def network(channels: int, classes: int) -> nn.Sequential:
    """Images float [n channels h w] in [-1, 1] -> logits [n classes]; all but the last layer give 128 features."""

    def layer(before: int, after: int, side: int) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, side, stride=2, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *layer(channels, 32, 4), *layer(32, 64, 3), *layer(64, WIDTH, 3),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, WIDTH), nn.ReLU(inplace=True),
        nn.Linear(WIDTH, classes),
    )  # fmt: skip


def classifier(train: ImageSet, held_out: ImageSet | None = None, *, progress: bool = False) -> Extractor:
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
            mend="put each class into a folder of its own, or use --features eye.",
        )
    folder = cache.root() / "classifiers"
    path = folder / f"{cache.key('classifier', VERSION, train.fingerprint)}.safetensors"
    with torch.random.fork_rng(devices=[]):
        trained = network(train.channels, train.classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        trained.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError):
        _train(trained, train, progress)
        keep(path, save({name: weight.contiguous() for name, weight in trained.state_dict().items()}))
    trained.eval().requires_grad_(False)
    head, body = trained[-1], trained[:-1]

    def look(images: Tensor) -> Tensor:
        return body(fitted(images, SIDES))

    def probabilities(features: np.ndarray) -> np.ndarray:
        return F.softmax(head(torch.from_numpy(features)), dim=1).numpy()

    found = Extractor("classifier", digest(trained), described(SIDES), look, probabilities=probabilities)
    if held_out is None or held_out.labels is None:
        return found
    seen = of_set(held_out, np.arange(len(held_out)), found, progress=progress)
    right = probabilities(seen).argmax(1) == held_out.labels
    return replace(found, facts={"classifier_accuracy": round(float(right.mean()), 4)})


def _train(trained: nn.Sequential, train: ImageSet, progress: bool) -> None:
    """Adam under a one-cycle rate (Smith & Topin 2018), pictures moved by up to two pixels; always the same."""
    assert train.labels is not None
    labels, count = torch.from_numpy(np.array(train.labels)), len(train)
    batch = min(BATCH, count)
    rounds = max(1, min(SEEN, EPOCHS * count) // batch)
    with torch.random.fork_rng(devices=[]), bar("Training a classifier", rounds, shown=progress) as advance:
        torch.manual_seed(0)
        for layer in trained.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                layer.reset_parameters()
        adam = torch.optim.AdamW(trained.parameters(), weight_decay=1e-3, foreach=True)
        rate = torch.optim.lr_scheduler.OneCycleLR(adam, 5e-3, total_steps=rounds)
        trained.train()
        order = torch.empty(0, dtype=torch.long)
        for _ in range(rounds):
            while len(order) < batch:
                order = torch.cat([order, torch.randperm(count)])
            chosen, order = order[:batch], order[batch:]
            rows = np.sort(chosen.numpy())
            images = fitted(torch.from_numpy(train.images[rows]), SIDES)
            down, right = torch.randint(-MOVED, MOVED + 1, (2,)).tolist()
            moved = F.pad(images, (MOVED,) * 4, mode="replicate")
            moved = moved[:, :, MOVED + down :, MOVED + right :][:, :, : images.shape[2], : images.shape[3]]
            loss = F.cross_entropy(trained(moved), labels[rows], label_smoothing=0.05)
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
            advance(1)
