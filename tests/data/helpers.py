"""Builds images, folders, zips and IDX files for the tests of data loading."""

import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

import ganvas
from ganvas.data import DataOptions, ImageSet, open_images


def open_data(source, **options) -> ImageSet:
    return open_images(DataOptions(str(source), **options), progress=False)


def labels_of(images: ImageSet) -> np.ndarray:
    """The labels of a set that has some."""
    assert images.labels is not None
    return images.labels


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encode(pixels: np.ndarray, form="PNG", **options) -> bytes:
    """uint8 [h w] or [h w c] -> the bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, images, labels=None, *, split="train", packed=True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    compress, suffix = (gzip.compress, ".gz") if packed else (bytes, "")
    (folder / f"{split}-images-idx3-ubyte{suffix}").write_bytes(compress(idx_bytes(images)))
    if labels is not None:
        (folder / f"{split}-labels-idx1-ubyte{suffix}").write_bytes(compress(idx_bytes(labels)))
    return folder


def start_python(code: str, *args: str) -> subprocess.Popen[str]:
    """Starts a Python process with the same Ganvas and the same cache, which reacts to SIGINT.

    (A shell that starts the tests in the background makes them and their children ignore SIGINT.)
    """
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + code
    environment = {**os.environ, "PYTHONPATH": str(Path(ganvas.__path__[0]).parent.resolve())}
    command = [sys.executable, "-c", code, *args]
    return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)
