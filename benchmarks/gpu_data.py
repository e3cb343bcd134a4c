"""Packs the images that gpu.py needs on a machine without network, and prints their sizes.

    python benchmarks/gpu_data.py --mnist DIR --cifar TRAIN.zip [--faces ZIP] --out FOLDER

FOLDER receives mnist/ (the IDX files as they are), cifar10-half.zip (25,000 of CIFAR-10's training images, the
same number of each class, chosen with a fixed seed, as lossless WebP in class folders; every pixel is compared after
packing), and the zip of faces as it is. The same sources and the same Pillow give the same files.
"""

import argparse
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.data import DataOptions, ImageSet, open_images

LIMIT_BYTES = 64 * 2**20
"""Limit for all files together with a checkout of the project."""


def choose_half(images: ImageSet) -> np.ndarray:
    """The indices of half of each class, int64, ascending."""
    assert images.labels is not None
    random = np.random.default_rng(0)
    members = [np.flatnonzero(images.labels == c) for c in range(images.classes)]
    return np.sort(np.concatenate([random.permutation(own)[: len(own) // 2] for own in members]))


def pack(images: ImageSet, rows: np.ndarray, path: Path) -> None:
    """Writes the chosen images as a zip of class folders.

    Raises:
        ValueError: an image changes by packing.
    """
    assert images.labels is not None
    with zipfile.ZipFile(path, "w") as archive:
        for row in rows:
            pixels = np.ascontiguousarray(images.images[row].transpose(1, 2, 0))
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=100, method=4)
            if not np.array_equal(np.asarray(Image.open(file)), pixels):
                raise ValueError(f"image {row} changes by packing")
            name = f"{images.class_names[images.labels[row]]}/{row:05}.webp"
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), file.getvalue())


def checkout_bytes() -> int:
    """Bytes of the files in the project's repository."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return sum((root / name).stat().st_size for name in listed.decode().split("\0") if name and (root / name).is_file())


def path_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="the folder of MNIST's IDX files")
    parser.add_argument("--cifar", type=Path, required=True, help="CIFAR-10's training images, in any form")
    parser.add_argument("--faces", type=Path, help="a zip of faces (KaoKore)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    (arguments.out / "mnist").mkdir(parents=True, exist_ok=True)
    for file in sorted(arguments.mnist.glob("*ubyte*")):
        shutil.copyfile(file, arguments.out / "mnist" / file.name)
    images = open_images(DataOptions(str(arguments.cifar)))
    pack(images, choose_half(images), arguments.out / "cifar10-half.zip")
    if arguments.faces:
        shutil.copyfile(arguments.faces, arguments.out / "faces.zip")
    parts = {"checkout": checkout_bytes(), **{path.name: path_bytes(path) for path in sorted(arguments.out.iterdir())}}
    parts["total"] = sum(parts.values())
    for name, count in parts.items():
        print(f"{name:28} {count / 2**20:6.1f} MiB")
    if parts["total"] > LIMIT_BYTES:
        print(f"More than {LIMIT_BYTES // 2**20} MiB: copy the data of each stage separately, see GPU.md.")


if __name__ == "__main__":
    main()
