"""Trains the eye (src/ganvas/features/eye.py), the small network whose features Ganvas compares pictures in.

    python tools/train_eye.py --cifar TRAIN.zip TEST.zip --mnist DIR [--epochs 12] [--out FOLDER]

One softmax over twenty classes: CIFAR-10's ten, and the ten digits, which it sees in 32×32 with a black border. An
epoch is all 50,000 pictures of CIFAR-10's training set and 10,000 of MNIST's. Pictures are moved by up to four pixels;
CIFAR-10's also mirrored, one in ten shown in grey, and each has an 8×8 square covered. Batch normalisation is used in
training only and is folded into the convolutions at the end; weights are kept in half precision. On the same machine
and versions the same seed gives the same file. Writes
FOLDER/eye.safetensors and prints the accuracies that EYE.md tells.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data import DataOptions, open_images, to_unit
from ganvas.features.eye import BLOCKS, CLASS_COUNT, LAYER_NAMES, WEIGHTS_FILE, Eye

IMAGE_SIDE, MAX_SHIFT, COVER_SIDE = 32, 4, 8
DIGITS_PER_EPOCH = 10_000
"""Digits seen in an epoch."""


def load_split(source: Path, split: str) -> tuple[Tensor, Tensor]:
    """uint8 [n 3 32 32], int64 [n]; digits become classes 10 to 19."""
    images = open_images(DataOptions(str(source), "test" if split == "test" else "train"))
    assert images.labels is not None
    pixels, labels = torch.from_numpy(np.array(images.images)), torch.from_numpy(np.array(images.labels))
    if images.channels == 1:
        border = (IMAGE_SIDE - pixels.shape[-1]) // 2
        return F.pad(pixels, (border,) * 4).expand(-1, 3, -1, -1), labels + 10
    return pixels, labels


def augment(images: Tensor, labels: Tensor) -> Tensor:
    """A batch float [n 3 32 32], each picture moved, and natural ones mirrored, greyed or covered in part."""
    count, natural = len(images), (labels < 10)[:, None, None, None]
    padded = F.pad(images, (MAX_SHIFT,) * 4, mode="reflect")
    down, right = torch.randint(0, 2 * MAX_SHIFT + 1, (2, count, 1)) + torch.arange(IMAGE_SIDE)
    each, colours = torch.arange(count)[:, None, None, None], torch.arange(3)[:, None, None]
    images = padded[each, colours, down[:, None, :, None], right[:, None, None, :]]
    images = torch.where(natural & (torch.rand(count, 1, 1, 1) < 0.5), images.flip(3), images)
    images = torch.where(natural & (torch.rand(count, 1, 1, 1) < 0.1), images.mean(1, keepdim=True), images)
    top, left = torch.randint(-COVER_SIDE + 1, IMAGE_SIDE, (2, count, 1))
    rows, columns = torch.arange(IMAGE_SIDE) - top, torch.arange(IMAGE_SIDE) - left
    covered = ((rows >= 0) & (rows < COVER_SIDE))[:, :, None] & ((columns >= 0) & (columns < COVER_SIDE))[:, None, :]
    return images.masked_fill(covered[:, None] & natural, 0)


def build_training_network() -> nn.Sequential:
    """The eye as it learns: batch normalisation after every convolution."""
    layers: list[nn.Module] = []
    before = 3
    for block, widths in enumerate(BLOCKS):
        layers += [nn.AvgPool2d(2)] if block else []
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASS_COUNT))


def fold_batch_norm(network: nn.Sequential) -> Eye:
    """The same function without batch normalisation, in half precision."""
    result = Eye()
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in network if isinstance(layer, nn.BatchNorm2d)]
    with torch.no_grad():
        for name, convolution, norm in zip(LAYER_NAMES, convolutions, norms, strict=True):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            target = result.convolutions[name]
            assert isinstance(target, nn.Conv2d)
            assert target.bias is not None
            target.weight.copy_(convolution.weight * scale[:, None, None, None])
            target.bias.copy_(norm.bias - norm.running_mean * scale)
    result.head.load_state_dict(network[-1].state_dict())
    return result.half()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    right = [
        (network(to_unit(part)).argmax(1) == truth).sum()
        for part, truth in zip(images.split(500), labels.split(500), strict=True)
    ]
    return float(torch.stack(right).sum() / len(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, nargs=2, required=True, metavar=("TRAIN", "TEST"))
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--out", type=Path, default=Path("."))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    natural, digits = load_split(arguments.cifar[0], "train"), load_split(arguments.mnist, "train")
    images, labels = torch.cat([natural[0], digits[0]]), torch.cat([natural[1], digits[1]])
    network = build_training_network().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.SGD(network.parameters(), momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True)
    rounds = (len(natural[0]) + DIGITS_PER_EPOCH) // arguments.batch
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, arguments.rate, epochs=arguments.epochs, steps_per_epoch=rounds, pct_start=0.2
    )
    tests = {"CIFAR-10": load_split(arguments.cifar[1], "train"), "MNIST": load_split(arguments.mnist, "test")}
    for epoch in range(arguments.epochs):
        started, losses = time.monotonic(), []
        some = len(natural[0]) + torch.randperm(len(digits[0]))[:DIGITS_PER_EPOCH]
        order = torch.cat([torch.arange(len(natural[0])), some])
        for chosen in order[torch.randperm(len(order))].split(arguments.batch)[:rounds]:
            batch = augment(to_unit(images[chosen]), labels[chosen]).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            losses.append(loss.detach())
        told = f"epoch {epoch + 1}: loss {torch.stack(losses).mean():.3f}, {time.monotonic() - started:.0f} s"
        network.eval()
        told += "".join(f", {name} {accuracy(network, *test):.4f}" for name, test in tests.items())
        network.train()
        print(told, flush=True)
    result = fold_batch_norm(network.eval())
    save_file({name: weight.contiguous() for name, weight in result.state_dict().items()}, arguments.out / WEIGHTS_FILE)
    result = result.float()
    for name, test in tests.items():
        print(f"{name}, held out, as saved: {accuracy(result, *test):.4f}")


if __name__ == "__main__":
    main()
