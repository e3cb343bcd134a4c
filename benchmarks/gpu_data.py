"""Packs the pictures that gpu.py needs where there is no network, and says how large they are.

    python benchmarks/gpu_data.py --mnist DIR --cifar TRAIN.zip [--faces ZIP] --out FOLDER

FOLDER receives mnist/ (the IDX files as they are), cifar10-half.zip (25,000 of CIFAR-10's training pictures, as many
of each class, chosen by a fixed seed: lossless WebP in class folders, every pixel compared after packing), and the
faces as they are. The same sources give the same files with the same Pillow.
"""

import argparse
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.data import ImageSet, PictureOptions, open_images

LIMIT = 64 * 2**20
"""Bytes: all together, with a checkout of the project, should stay below."""


def half(images: ImageSet) -> np.ndarray:
    """The rows of half of each class, int64 ascending."""
    assert images.labels is not None
    random = np.random.default_rng(0)
    members = [np.flatnonzero(images.labels == c) for c in range(images.classes)]
    return np.sort(np.concatenate([random.permutation(own)[: len(own) // 2] for own in members]))


def pack(images: ImageSet, rows: np.ndarray, path: Path) -> None:
    """Writes the chosen pictures as a zip of class folders.

    Raises:
        ValueError: a picture does not come out as it went in.
    """
    assert images.labels is not None
    with zipfile.ZipFile(path, "w") as archive:
        for row in rows:
            pixels = np.ascontiguousarray(images.images[row].transpose(1, 2, 0))
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=100, method=4)
            if not np.array_equal(np.asarray(Image.open(file)), pixels):
                raise ValueError(f"picture {row} is not kept to the pixel")
            name = f"{images.class_names[images.labels[row]]}/{row:05}.webp"
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), file.getvalue())


def checkout() -> int:
    """Bytes of the files that the project's repository holds."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return sum((root / name).stat().st_size for name in listed.decode().split("\0") if name and (root / name).is_file())


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True, help="the folder of MNIST's IDX files")
    parser.add_argument("--cifar", type=Path, required=True, help="CIFAR-10's training pictures, in any form")
    parser.add_argument("--faces", type=Path, help="a zip of faces (KaoKore)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    (arguments.out / "mnist").mkdir(parents=True, exist_ok=True)
    for file in sorted(arguments.mnist.glob("*ubyte*")):
        shutil.copyfile(file, arguments.out / "mnist" / file.name)
    images = open_images(PictureOptions(str(arguments.cifar)))
    pack(images, half(images), arguments.out / "cifar10-half.zip")
    if arguments.faces:
        shutil.copyfile(arguments.faces, arguments.out / arguments.faces.name)
    parts = {"checkout": checkout(), **{path.name: size(path) for path in sorted(arguments.out.iterdir())}}
    parts["together"] = sum(parts.values())
    for name, count in parts.items():
        print(f"{name:28} {count / 2**20:6.1f} MiB")
    if parts["together"] > LIMIT:
        print(f"More than {LIMIT // 2**20} MiB: bring each stage's data in a call of its own, see GPU.md.")


if __name__ == "__main__":
    main()
