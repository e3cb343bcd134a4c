"""Does the Fréchet distance in the eye's features rise with image damage? Six kinds of damage, five strengths each.

Blur, noise, JPEG, shuffled patches, dropped classes and duplicated images, on MNIST, CIFAR-10 and KaoKore. In every
family the Fréchet distance in the eye's features must rise with the strength. Its ranking of all thirty is compared
with those of SqueezeNet and VGG-19 (trained by others on ImageNet) by Spearman's rank correlation.

    python benchmarks/ladder.py --mnist DIR --cifar ZIP --faces ZIP --weights DIR [--count 2000] [--seed 0]
        [--out FOLDER]

--weights holds squeezenet1_1_caffe_fp16.npz and vgg19_normalised_to_relu3_1_fp32.npz. Writes FOLDER/ladder.json and
FOLDER/ladder.png, and prints the table.
"""

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.data.selection import iterate_batches
from ganvas.evaluation.metrics import compute_moments, frechet_distance
from ganvas.features import extraction
from ganvas.features.extraction import Extractor
from ganvas.features.extractors import eye_extractor
from ganvas.features.eye import to_rgb

Damage = Callable[[ImageSet, np.ndarray, np.ndarray, int], np.ndarray]
"""(set, rows [n], other rows that may stand in, strength 1 to 5) -> uint8 [n c h w]."""


def blur(images: ImageSet, rows: np.ndarray, spare: np.ndarray, strength: int) -> np.ndarray:
    sigma = (0.4, 0.7, 1.0, 1.5, 2.5)[strength - 1] * images.resolution[0] / 32
    return gaussian_filter(images.images[rows].astype(np.float32), (0, 0, sigma, sigma)).round().astype(np.uint8)


def noise(images: ImageSet, rows: np.ndarray, spare: np.ndarray, strength: int) -> np.ndarray:
    pixels, random = images.images[rows].astype(np.float32), np.random.default_rng(strength)
    return (pixels + random.normal(0, 8 * 1.7**strength, pixels.shape)).round().clip(0, 255).astype(np.uint8)


def compress(images: ImageSet, rows: np.ndarray, spare: np.ndarray, strength: int) -> np.ndarray:
    quality = (60, 35, 20, 10, 4)[strength - 1]
    return np.stack([_compress_image(image, quality) for image in images.images[rows]])


def _compress_image(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(file))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def shuffle(images: ImageSet, rows: np.ndarray, spare: np.ndarray, strength: int) -> np.ndarray:
    """Some of the sixteen tiles of each image change places."""
    pixels, random = np.array(images.images[rows]), np.random.default_rng(strength)
    side_h, side_w = (side // 4 for side in images.resolution)
    moved = (2, 4, 7, 11, 16)[strength - 1]
    for image in pixels:
        chosen = random.permutation(16)[:moved]
        places = [np.s_[:, side_h * (t // 4) : side_h * (t // 4 + 1), side_w * (t % 4) : side_w * (t % 4 + 1)]
                  for t in chosen]  # fmt: skip
        tiles = [image[place].copy() for place in places]
        for place, tile in zip(places, tiles[1:] + tiles[:1], strict=True):
            image[place] = tile
    return pixels


def drop(images: ImageSet, rows: np.ndarray, spare: np.ndarray, strength: int) -> np.ndarray:
    """The first tenth, fifth … of all images in the order of their classes are missing; others replace them."""
    assert images.labels is not None
    share = (0.1, 0.2, 0.4, 0.6, 0.8)[strength - 1]
    by_class = spare[np.argsort(images.labels[spare], kind="stable")]
    kept = by_class[round(share * len(by_class)) :]
    return images.images[np.resize(np.random.default_rng(strength).permutation(kept), len(rows))]


def duplicate(images: ImageSet, rows: np.ndarray, spare: np.ndarray, strength: int) -> np.ndarray:
    different = max(2, len(rows) // (4, 10, 25, 60, 150)[strength - 1])
    return images.images[np.resize(rows[:different], len(rows))]


DAMAGES: dict[str, Damage] = {
    "blur": blur, "noise": noise, "JPEG": compress, "shuffle": shuffle,
    "dropped classes": drop, "duplicates": duplicate,
}  # fmt: skip


def squeezenet(path: Path) -> Extractor:
    """SqueezeNet 1.1 (Iandola et al. 2016) in Caffe's form: the mean of its last fire module, 512 features."""
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in np.load(path).items()}
    mean = torch.tensor([104.0, 117.0, 123.0])[:, None, None]

    def conv(x: Tensor, name: str, **how: int) -> Tensor:
        return F.relu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **how))

    def extract(images: Tensor) -> Tensor:
        x = (to_rgb(images.float() / 127.5 - 1) + 1) * 127.5
        x = (
            F.interpolate(x, (SQUEEZENET_SIDE, SQUEEZENET_SIDE), mode="bicubic", antialias=True).clamp(0, 255).flip(1)
            - mean
        )
        x = F.max_pool2d(conv(x, "features.0", stride=2), 3, 2, ceil_mode=True)
        for module in (3, 4, 6, 7, 9, 10, 11, 12):
            if module in (6, 9):
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            x = conv(x, f"features.{module}.squeeze1x1")
            wide = conv(x, f"features.{module}.expand3x3", padding=1)
            x = torch.cat([conv(x, f"features.{module}.expand1x1"), wide], dim=1)
        return x.mean((2, 3))

    return Extractor("SqueezeNet", path.name, f"to {SQUEEZENET_SIDE}×{SQUEEZENET_SIDE}", extract)


def vgg(path: Path) -> Extractor:
    """VGG-19 with normalised weights (Gatys et al. 2016), to relu3_1: the mean of its 256 channels."""
    weights = {name: torch.from_numpy(value) for name, value in np.load(path).items()}
    layers = sorted({name.rsplit(".", 1)[0] for name in weights}, key=lambda name: [*map(_number, name.split("."))])

    def extract(images: Tensor) -> Tensor:
        x = to_rgb(extraction.resize_shorter_side(images, (64, 128))) / 2 + 0.5
        for name in layers:
            kernel = weights[f"{name}.weight"]
            if kernel.shape[2] == 1:
                x = F.conv2d(x, kernel, weights[f"{name}.bias"])
                continue
            if len(kernel) in (128, 256) and kernel.shape[1] != len(kernel):
                x = F.max_pool2d(x, 2, ceil_mode=True)
            x = F.relu(F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), kernel, weights[f"{name}.bias"]))
        return x.mean((2, 3))

    return Extractor("VGG-19", path.name, "shorter side to 64..128", extract)


def _number(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdigit() else (0, part)


SQUEEZENET_SIDE = 96
"""The size of SqueezeNet's input: small images are enlarged, because it downsamples four times."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("mnist", "cifar", "faces", "weights"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images")
    parser.add_argument("--only", nargs="+", choices=["mnist", "cifar", "faces"], default=["mnist", "cifar", "faces"])
    parser.add_argument("--out", type=Path, default=Path("ladder"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    extractors = [
        eye_extractor(),
        squeezenet(arguments.weights / "squeezenet1_1_caffe_fp16.npz"),
        vgg(arguments.weights / "vgg19_normalised_to_relu3_1_fp32.npz"),
    ]
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for data in arguments.only:
        size = "64" if data == "faces" else None
        images = open_images(DataOptions(str(getattr(arguments, data)), "train", size))
        found[data] = measure_damages(images, extractors, arguments.count, arguments.seed)
        print_table(data, found[data])
    (arguments.out / "ladder.json").write_text(json.dumps(found, indent=1) + "\n")
    plot(found, arguments.out / "ladder.png")


def measure_damages(
    images: ImageSet, extractors: list[Extractor], count: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """extractor -> damage -> Fréchet distance at strengths 0 (undamaged) to 5; both sides are different pictures."""
    order = np.random.default_rng(seed).permutation(len(images))
    count = min(count, len(images) // 2)
    known, rows = order[:count], order[count : 2 * count]
    there = {extractor.name: compute_moments(extract(images.images[known], extractor)) for extractor in extractors}
    clean = {
        extractor.name: frechet_distance(
            compute_moments(extract(images.images[rows], extractor)), there[extractor.name]
        )
        for extractor in extractors
    }
    ladder: dict[str, dict[str, list[float]]] = {
        extractor.name: {damage: [clean[extractor.name]] for damage in DAMAGES} for extractor in extractors
    }
    for damage, inflict in DAMAGES.items():
        for strength in range(1, 6):
            pixels = inflict(images, rows, order[count:], strength)
            for extractor in extractors:
                ladder[extractor.name][damage].append(
                    frechet_distance(compute_moments(extract(pixels, extractor)), there[extractor.name])
                )
    return ladder


def extract(pixels: np.ndarray, extractor: Extractor) -> np.ndarray:
    return extraction.extract_features(iterate_batches(pixels, np.arange(len(pixels))), extractor, count=len(pixels))


def print_table(data: str, ladder: dict[str, dict[str, list[float]]]) -> None:
    names = list(ladder)
    print(f"\n{data}\n| damage | " + " | ".join(names) + " | rises |\n|---|" + "---|" * (len(names) + 1))
    for damage in DAMAGES:
        cells = [" ".join(f"{value:.3g}" for value in ladder[name][damage]) for name in names]
        steady = [bool((np.diff(ladder[name][damage]) > 0).all()) for name in names]
        print(f"| {damage} | " + " | ".join(cells) + f" | {' '.join('yes' if s else 'NO' for s in steady)} |")
    ranked = {name: [v for damage in DAMAGES for v in ladder[name][damage][1:]] for name in names}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            print(f"Spearman, {a} and {b}: {spearmanr(ranked[a], ranked[b]).statistic:.3f}")  # pyright: ignore[reportAttributeAccessIssue]


def plot(found: dict[str, dict[str, dict[str, list[float]]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4.2 * len(found), 3.4), squeeze=False, layout="constrained")
    for axis, (data, ladder) in zip(axes.flat, found.items(), strict=True):
        for damage, values in ladder["eye"].items():
            axis.plot(range(6), values, marker="o", markersize=3, label=damage)
        axis.set_yscale("log")
        axis.set_title(data, fontsize=10)
        axis.set_xlabel("strength")
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("Fréchet distance, eye")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
