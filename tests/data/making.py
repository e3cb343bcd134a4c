"""What the tests of the data room build their pictures with."""

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
from ganvas.data import ImageSet, PictureOptions, open_images


def opened(source, **options) -> ImageSet:
    return open_images(PictureOptions(str(source), **options), progress=False)


def noise(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(pixels: np.ndarray, form="PNG", **options) -> bytes:
    """uint8 [h w] or [h w c] -> the bytes of a picture file."""
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


def write_idx(folder: Path, images, labels=None, *, half="train", packed=True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    squeeze, end = (gzip.compress, ".gz") if packed else (bytes, "")
    (folder / f"{half}-images-idx3-ubyte{end}").write_bytes(squeeze(idx_bytes(images)))
    if labels is not None:
        (folder / f"{half}-labels-idx1-ubyte{end}").write_bytes(squeeze(idx_bytes(labels)))
    return folder


def start_python(code: str, *args: str) -> subprocess.Popen[str]:
    """Another Python process that finds the same Ganvas and the same cache, and listens to Ctrl-C.

    (A shell that starts us in the background has made us deaf to it, and our children with us.)
    """
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + code
    environment = {**os.environ, "PYTHONPATH": str(Path(ganvas.__path__[0]).parent.resolve())}
    command = [sys.executable, "-c", code, *args]
    return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)
