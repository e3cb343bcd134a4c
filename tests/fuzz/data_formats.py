"""Writes small valid data sets in every format, with the pixels and labels that must be read from them."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray


@dataclass
class Valid:
    """A data set on the disk.

    Attributes:
        what: its format in words.
        source: the file or folder.
        pixels: uint8 [n c h w], all different.
        labels: one for each image, or None.
        known: whether it must be read; another one may be refused, but never be read wrongly.
        checked: whether the format has checksums of all pixels.
        named: whether the labels are the names of the classes.
    """

    what: str
    source: Path
    pixels: Pixels
    labels: list[Any] | None = None
    known: bool = True
    checked: bool = False
    named: bool = False


Writer = Callable[[Path, np.random.Generator], Valid]
FORMATS: list[Writer] = []


def form(write: Writer) -> Writer:
    """Puts the format that a function writes into the table."""
    FORMATS.append(write)
    return write


def noise(
    random: np.random.Generator, n: int = 12, c: int | None = None, size: tuple[int, int] | None = None
) -> Pixels:
    """uint8 [n c h w] of random size and channels."""
    c = int(random.choice([1, 3])) if c is None else c
    height, width = size or random.integers(8, 20, 2)
    return random.integers(0, 256, (n, c, int(height), int(width)), np.uint8)


def smooth(random: np.random.Generator, n: int, c: int, size: int) -> Pixels:
    """uint8 [n c size size] whose neighbouring pixels are alike, as in pictures: tables show by it what they hold."""
    coarse = random.integers(0, 256, (n, c, 5, 5), np.uint8)
    large = [[Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC) for plane in one] for one in coarse]
    return np.array([[np.asarray(plane) for plane in one] for one in large])


def picture(pixels: Pixels) -> Image.Image:
    """One image [c h w] as Pillow's."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def encoded(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture(pixels).save(file, kind, **options)
    return file.getvalue()


def classes(n: int, random: np.random.Generator, k: int = 3) -> list[int]:
    """Labels in which every class occurs."""
    return [int(label) for label in random.permutation(np.arange(n) % k)]


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def idx(array: np.ndarray, kind: int = 8, dtype: str = "u1") -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(f">{dtype}").tobytes()


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def by_class(
    pixels: Pixels, labels: list[int], names: list[str], kind: str = "PNG", suffix: str = ".png"
) -> dict[str, bytes]:
    return {
        f"{names[k]}/{i:03d}{suffix}": encoded(one, kind) for i, (one, k) in enumerate(zip(pixels, labels, strict=True))
    }


@form
def folder_of_classes(folder: Path, random: np.random.Generator) -> Valid:
    pixels = noise(random)
    labels, names = classes(12, random), ["cat", "dog's", "ünïcode 🎨"]
    write_files(folder, by_class(pixels, labels, names))
    return Valid("a folder of classes", folder, pixels, [names[k] for k in labels], named=True)


@form
def folder_of_one_kind(folder: Path, random: np.random.Generator) -> Valid:
    kind, suffix, options = [
        ("PNG", ".png", {}), ("BMP", ".BMP", {}), ("TIFF", ".tif", {}), ("TIFF", ".tiff", {"compression": "tiff_lzw"}),
        ("PPM", ".ppm", {}), ("WEBP", ".webp", {"lossless": True}),
    ][random.integers(6)]  # fmt: skip
    pixels = noise(random, c=3)
    write_files(folder, {f"img{i}{suffix}": encoded(one, kind, **options) for i, one in enumerate(pixels)})
    return Valid(f"a folder of {suffix} files", folder, pixels)


@form
def folder_of_gifs_and_greys(folder: Path, random: np.random.Generator) -> Valid:
    pixels = noise(random, c=1)
    write_files(
        folder,
        {f"{i}.{'gif' if i % 2 else 'png'}": encoded(one, "GIF" if i % 2 else "PNG") for i, one in enumerate(pixels)},
    )
    return Valid("a folder of grey GIF and PNG files", folder, pixels)


@form
def zip_of_images(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels, names = noise(random), classes(12, random), ["a", "b", "c"]
    method = int(random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    (folder / "images.zip").write_bytes(
        zipped({f"top/{name}": c for name, c in by_class(pixels, labels, names).items()}, method)
    )
    return Valid(
        "a zip of classes", folder / "images.zip", pixels, [names[k] for k in labels], checked=True, named=True
    )


@form
def zip_with_table(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = noise(random), classes(12, random)
    names = [f"00000/img{i:08d}.png" for i in range(12)]
    table = {"labels": [[name, label] for name, label in zip(names, labels, strict=True)]}
    files = {
        "dataset.json": json.dumps(table).encode(),
        **{n: encoded(one) for n, one in zip(names, pixels, strict=True)},
    }
    (folder / "set.zip").write_bytes(zipped(files))
    return Valid("a zip with dataset.json", folder / "set.zip", pixels, labels, checked=True)


@form
def folder_with_table(folder: Path, random: np.random.Generator) -> Valid:
    pixels, labels = noise(random), classes(12, random)
    names, words = [f"{i}.png" for i in range(12)], ["red", "green", "blue"]
    table: dict[str, Any] = {"labels": [[name, label] for name, label in zip(names, labels, strict=True)]}
    form = int(random.integers(3))
    table |= {"class_names": words} if form == 1 else {}
    table |= {"labels": dict(table["labels"])} if form == 2 else {}
    write_files(
        folder,
        {"dataset.json": json.dumps(table).encode(), **{n: encoded(p) for n, p in zip(names, pixels, strict=True)}},
    )
    return Valid(
        "a folder with dataset.json",
        folder,
        pixels,
        [words[k] for k in labels] if form == 1 else labels,
        named=form == 1,
    )


@form
def idx_folder(folder: Path, random: np.random.Generator) -> Valid:
    pixels, labels = noise(random, c=1), classes(12, random)
    pack, end = (gzip.compress, ".gz") if random.random() < 0.5 else (bytes, "")
    write_files(folder, {
        f"train-images-idx3-ubyte{end}": pack(idx(pixels[:, 0])),
        f"train-labels-idx1-ubyte{end}": pack(idx(np.array(labels))),
        f"t10k-images-idx3-ubyte{end}": pack(idx(pixels[::-1, 0])),
        f"t10k-labels-idx1-ubyte{end}": pack(idx(np.array(labels))),
    })  # fmt: skip
    return Valid(f"a folder of IDX files{end}", folder, pixels, labels, checked=bool(end))


@form
def idx_file(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels = noise(random, c=3)
    (folder / "some-images.idx4").write_bytes(idx(pixels.transpose(0, 2, 3, 1)))
    return Valid("an IDX file", folder / "some-images.idx4", pixels)


def cifar_batches(pixels: Pixels, labels: list[int], *, fine: bool = False) -> dict[str, bytes]:
    flat = pixels.reshape(len(pixels), -1)
    if fine:
        table = {b"data": flat, b"fine_labels": labels, b"coarse_labels": [0] * len(labels), b"filenames": []}
        return {
            "cifar-100-python/train": pickle.dumps(table, protocol=4),
            "cifar-100-python/test": pickle.dumps(table, protocol=4),
        }
    half = len(pixels) // 2
    tables = [{b"data": flat[part], b"labels": labels[part]} for part in (slice(half), slice(half, None))]
    return {
        f"cifar-10-batches-py/data_batch_{i + 1}": pickle.dumps(table, protocol=4) for i, table in enumerate(tables)
    }


@form
def cifar_python(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = noise(random, c=3, size=(32, 32)), classes(12, random)
    (folder / "cifar-10-python.tar.gz").write_bytes(tarred(cifar_batches(pixels, labels), "w:gz"))
    return Valid("CIFAR-10's tar.gz", folder / "cifar-10-python.tar.gz", pixels, labels, checked=True)


@form
def cifar_binary(folder: Path, random: np.random.Generator) -> Valid:
    pixels, labels = noise(random, c=3, size=(32, 32)), classes(12, random)
    rows = np.concatenate([np.array(labels, np.uint8)[:, None], pixels.reshape(12, -1)], 1)
    write_files(
        folder,
        {
            "data_batch_1.bin": rows[:5].tobytes(),
            "data_batch_2.bin": rows[5:].tobytes(),
            "batches.meta.txt": b"x\ny\nz\n",
        },
    )
    return Valid("CIFAR-10's binary folder", folder, pixels, ["xyz"[k] for k in labels], named=True)


@form
def one_array(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels = noise(random, n=9)
    way = int(random.integers(4))
    array = pixels[:, 0] if pixels.shape[1] == 1 and way < 2 else pixels if way % 2 else pixels.transpose(0, 2, 3, 1)
    np.save(folder / "images.npy", np.asfortranarray(array) if way == 3 else np.ascontiguousarray(array))
    return Valid(f"a .npy of {array.shape}", folder / "images.npy", pixels)


@form
def arrays(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = noise(random), classes(12, random)
    last = pixels.transpose(0, 2, 3, 1)
    images, names = [("images", "labels"), ("x_train", "y_train"), ("arr_0", "arr_1"), ("data", "targets")][
        random.integers(4)
    ]
    npz(folder / "set.npz", **{images: last, names: np.array(labels, str(random.choice(["uint8", "int64", "int32"])))})
    return Valid(f"an .npz of {images} and {names}", folder / "set.npz", pixels, labels, checked=True)
