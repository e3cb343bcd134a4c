"""Data files that are traps: sizes that lie, names that point elsewhere, tables of the wrong kind."""

import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from damage import FILES, ODD_VALUES
from data_formats import encoded, idx, tarred, write_files, zipped
from PIL import Image

Trap = Callable[[Path, Random], Path]
TRAPS: list[Trap] = []


def trap(write: Trap) -> Trap:
    """Puts a trap into the table; its function returns the source."""
    TRAPS.append(write)
    return write


def image(seed: int = 0, size: int = 8) -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 256, (3, size, size), np.uint8))


def png(width: int, height: int, depth: int = 8, kind: int = 2, rows: bytes = b"\0" * 200) -> bytes:
    """A PNG with any header."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@trap
def npy_header(folder: Path, random: Random) -> Path:
    """a .npy whose header declares anything"""
    shape = random.choice(
        ["(10**9, 8, 8)", "(-1, 8, 8)", "(2, 8, 8.0)", "(True, 8, 8)", "(" * 200, "9" * 5000, "(0, 8, 8)", "()", "(8,)"]
    )
    shape = random.choice(
        [shape, "(999999999, 99999, 3)", "(18446744073709551616, 8, 8)", "(4294967296, 4294967296, 4)"]
    )
    dtype = random.choice(["|u1", "|O", "<f8", "|S9", "<U99999", "M8", "u1,u1", "", "|V2000000000", "<c16"])
    text = f"{{'descr': {dtype!r}, 'fortran_order': {random.choice(['False', 'True', '3'])}, 'shape': {shape}, }}"
    header = text.encode() + b" " * 20 + b"\n"
    (folder / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) % 65536) + header + bytes(2000))
    return folder / "x.npy"


@trap
def huge_idx(folder: Path, random: Random) -> Path:
    """an IDX file that declares more than it has"""
    sizes = random.choice(
        [(2**32 - 1,) * 3, (2**31, 8, 8), (10, 2**20, 2**20), (0, 8, 8), (5, 0, 0), (5, 1, 1), (1, 8, 30000)]
    )
    content = struct.pack(">HBB3I", 0, random.choice([8, 9, 11, 14, 8, 8]), 3, *sizes) + bytes(1000)
    name = random.choice(["train-images-idx3-ubyte", "x.idx", "train-images-idx3-ubyte.gz"])
    (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return random.choice([folder, folder / name])


@trap
def large_png(folder: Path, random: Random) -> Path:
    """a PNG of a hundred bytes that declares gigapixels"""
    sides = random.choice(
        [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 0), (1, 2**31 - 1), (16_000, 16_000), (13_000, 13_000)]
    )
    depth, kind = random.choice([(8, 2), (16, 6), (1, 0), (8, 3), (16, 0), (3, 9)])
    write_files(folder, {"big.png": png(*sides, depth, kind), "good.png": image()})
    return folder


@trap
def packed_zeros(folder: Path, random: Random) -> Path:
    """a zip or .npz that unpacks to a hundred times its size"""
    zeros = bytes(2 ** random.randint(20, 27))
    kind = random.choice(["zip", "npz", "gz", "tar.gz"])
    if kind == "zip":
        (folder / "x.zip").write_bytes(zipped({"a.png": zeros, "b.png": image()}))
    elif kind == "npz":
        np.savez_compressed(folder / "x.npz", images=np.zeros((len(zeros) // 64, 8, 8), np.uint8))
    elif kind == "gz":
        (folder / "x.gz").write_bytes(gzip.compress(idx(np.zeros((len(zeros) // 64, 8, 8), np.uint8))))
    else:
        (folder / "x.tar.gz").write_bytes(tarred({"a.png": zeros, "cifar-10-batches-py/data_batch_1": zeros}, "w:gz"))
    return folder / f"x.{kind}"


@trap
def lying_zip(folder: Path, random: Random) -> Path:
    """a zip whose directory lies about sizes and places"""
    content = bytearray(zipped({f"{i}.png": image(i) for i in range(4)}))
    place = content.rfind(b"PK\x01\x02")
    start = place + random.choice([16, 20, 24, 28, 30, 42])
    content[start : start + 4] = random.choice(
        [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", random.randbytes(4)]
    )
    (folder / "x.zip").write_bytes(content)
    return folder / "x.zip"


@trap
def odd_names_in_archives(folder: Path, random: Random) -> Path:
    """an archive with members that point outside, are twice there, or have odd names"""
    names = random.choice([
        ["../x.png", "a.png"], ["/etc/x.png"], ["C:\\x.png"], ["a.png", "A.PNG"], ["a//b.png", "a/./c.png"],
        ["a\nb.png", "\x1b[31m.png"],
        ["🎨/x.png", "<b>/y.png"], ["x" * 300 + ".png"], [".png", "a/.png"], ["con.png", "a/b/c/d/e/f/g/h.png"],
        ["a.png/", "a.png"],
    ])  # fmt: skip
    files = {name: image(i) for i, name in enumerate(names)}
    kind = random.choice(["zip", "tar"])
    (folder / f"x.{kind}").write_bytes(zipped(files) if kind == "zip" else tarred(files))
    return folder / f"x.{kind}"


@trap
def odd_table(folder: Path, random: Random) -> Path:
    """a dataset.json of any content"""
    names = [f"{i}.png" for i in range(4)]
    odd = random.choice(ODD_VALUES)
    table = random.choice([
        odd, {"labels": odd}, {"labels": [[name, odd] for name in names]}, {"labels": [[odd, 0]]},
        {"labels": [[n, 0] for n in names] + [odd]},
        {"labels": [[n, 0] for n in names], "class_names": odd}, {"labels": dict.fromkeys(names, odd)},
        {"labels": [[n, 2**80] for n in names]},
        {"labels": [["nosuch.png", 1]]}, {"labels": [[n, i] for i, n in enumerate(names)], "class_names": ["a", "a",
        "a", "a"]},
        {"labels": [[n, 10**9 * i] for i, n in enumerate(names)]}, {"labels": [[n, -i] for i, n in enumerate(names)]},
    ])  # fmt: skip
    content = random.choice(
        [json.dumps(table).encode()] * 9 + [b"[" * 100_000, b'{"labels": ' + b"9" * 5000 + b"}", b"\xff\xfe{}"]
    )
    write_files(folder, {"dataset.json": content, **{name: image(i) for i, name in enumerate(names)}})
    return folder


@trap
def odd_labels(folder: Path, random: Random) -> Path:
    """an .npz with labels of any kind"""
    labels = random.choice([
        np.array(["a", "b"] * 4), np.array([b"\xff", b"a"] * 4), np.full(8, np.nan), np.array([0.5, 1] * 4),
        np.zeros((8, 3)),
        np.arange(8, dtype=np.uint64) + 2**63, np.zeros(8, "M8[s]"), np.zeros(8, complex), np.array([None] * 8),
        np.zeros((8, 8, 8), np.uint8),
        np.zeros(7, int), np.zeros((8, 2, 2)), np.array([2**62, -(2**62)] * 4), np.zeros(8, [("a", int)]),
        np.array(3), np.array([]),
        np.array(["", "\x00x"] * 4), np.zeros((8, 0)),
    ], )  # fmt: skip
    np.savez(folder / "x.npz", images=np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8), labels=labels)
    return folder / "x.npz"


@trap
def odd_pixels(folder: Path, random: Random) -> Path:
    """an array of pixels of any kind or layout"""
    shape = random.choice(
        [
            (8, 8, 8),
            (8, 64),
            (8, 8, 8, 3),
            (8, 3, 8, 8),
            (8, 8, 8, 2),
            (8,),
            (8, 0, 8),
            (0, 8, 8),
            (8, 1, 1, 3),
            (1, 8, 8, 3, 1),
            (3, 7, 7),
        ]
    )
    noise = np.random.default_rng(random.randrange(99)).random(shape)
    array = random.choice([
        noise, noise * np.nan, noise * np.inf, noise * 1e30, noise - 5, noise.astype(complex),
        (noise * 255).astype(np.int8), noise > 0.5,
        (noise * 70000).astype(np.uint16), (noise * 4095).astype(np.uint16), noise.astype(np.float16),
        (noise * 255).astype(object), noise.astype("S3"),
        np.zeros(shape), np.ones(shape), (noise * 1e9).astype(np.int64), noise.astype("M8[s]"),
        (noise * 255).astype(np.uint8),
    ])  # fmt: skip
    name = random.choice(["x.npy", "x.npz"])
    np.save(folder / name, array) if name == "x.npy" else np.savez(folder / name, x=array)
    return folder / name


@trap
def odd_images(folder: Path, random: Random) -> Path:
    """images of unusual modes and sizes, in one folder"""
    size = random.choice([(9, 9), (1, 1), (1, 3000), (3000, 1), (7, 7), (8, 300), (17, 11)])
    mode, kind = random.choice([
        ("1", "png"), ("P", "png"), ("LA", "png"), ("RGBA", "png"), ("I;16", "png"), ("CMYK", "jpg"),
        ("YCbCr", "jpg"), ("F", "tiff"),
        ("I", "tiff"), ("LAB", "tiff"), ("RGB", "gif"), ("P", "gif"), ("CMYK", "tiff"), ("1", "tiff"),
        ("RGBA", "webp"), ("RGBa", "tiff"),
    ])  # fmt: skip
    one = Image.new(mode, size)
    options = random.choice(
        [
            {},
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
            {"icc_profile": bytes(3000)},
        ]
    )
    several = (
        {"save_all": True, "append_images": [one, Image.new(mode, size, 1 if mode in "1PLIF" else None)]}
        if random.random() < 0.4
        else {}
    )
    try:
        one.save(folder / f"a.{kind}", **options, **(several if kind in ("gif", "tiff", "webp", "png") else {}))
    except (OSError, KeyError, ValueError, TypeError):  # Pillow does not write it
        one.convert("RGB").save(folder / "a.png")
    if random.random() < 0.7:
        write_files(folder, {"b.png": image()})
    return folder


@trap
def odd_folder(folder: Path, random: Random) -> Path:
    """a folder with what is no image, or what no program expects"""
    for name, make_file in random.sample(sorted(FILES.items()), 3):
        make_file(folder / f"{name}.png")
    names = random.choice(
        [
            ["a/x.png", "b/y.png"],
            ["\udcff/x.png", "ok/y.png"],
            ["x" * 250 + ".png"],
            ["-1/a.png", "2/b.png"],
            ["a\nb/x.png", "c/y.png"],
            [],
        ]
    )
    write_files(folder, {name: image(i) for i, name in enumerate(names)})
    os.symlink("..", folder / "loop")
    return random.choice([folder, folder / "loop", folder.resolve()])


@trap
def odd_csv(folder: Path, random: Random) -> Path:
    """a CSV of pixels that has odd rows"""
    row = ",".join(map(str, range(785)))
    text = random.choice([
        "label," + row + "\n" + row, row + "\n" + row[:100], ",".join("9" * 5000 for _ in range(785)),
        "," * 1_000_000, row.replace("7", "nan"),
        row.replace(",", ";"), "1,2,3\n" * 9, '"' + row, row + "\n" + row.replace("255", "256"), "\0" * 1000,
        "label\n", row.replace("5", "-5"),
    ])  # fmt: skip
    (folder / "mnist_train.csv").write_text(text)
    return folder / "mnist_train.csv"


@trap
def special_file(folder: Path, random: Random) -> Path:
    """what is no regular file, under a usual name"""
    path = folder / random.choice(
        [
            "x.npz",
            "x.zip",
            "x.npy",
            "x.tar",
            "x.mat",
            "x.csv",
            "x",
            "train-images-idx3-ubyte",
            "x.parquet",
            "x.mp4",
            "x.png",
        ]
    )
    FILES[random.choice(list(FILES))](path)
    return random.choice([path, folder])


@trap
def pickled(folder: Path, random: Random) -> Path:
    """a pickle that would run a program, or never ends"""
    content = random.choice([
        b"cos\nsystem\n(S'touch pwned'\ntR.", b"\x80\x02}q\x00.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"(" * 10_000 + b".",
        b"\x80\x02]" + b"(" * 3000 + b"e.", b"\x80\x02r\xff\xff\xff\x7f.", b"\x80\x02B\xff\xff\xff\xff.",
        b"I" + b"9" * 5000 + b"\n.", b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".", b"\x80\x05\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",
    ])  # fmt: skip
    kind = random.choice(["folder", "tar", "npy"])
    if kind == "folder":
        write_files(folder, {"data_batch_1": content, "batches.meta": content})
        return folder
    if kind == "tar":
        (folder / "x.tar").write_bytes(tarred({"cifar-10-batches-py/data_batch_1": content}))
        return folder / "x.tar"
    (folder / "x.npy").write_bytes(
        b"\x93NUMPY\x01\x00\x46\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(69)
        + b"\n"
        + content
    )
    return folder / "x.npy"


@trap
def members_without_end(folder: Path, random: Random) -> Path:
    """an archive in an archive, an empty one, or one of ten thousand empty files"""
    files = random.choice(
        [
            {},
            {f"{i}.png": b"" for i in range(10_000)},
            {"a.zip": zipped({"b.png": image()})},
            {"a.npy": b"", "b.npy": b"x"},
        ]
    )
    kind = random.choice(["zip", "npz", "tar"])
    (folder / f"x.{kind}").write_bytes(tarred(files) if kind == "tar" else zipped(files, zipfile.ZIP_STORED))
    return folder / f"x.{kind}"


@trap
def stack_of_tiffs(folder: Path, random: Random) -> Path:
    """a TIFF of many bands or pages, or one whose directory points at itself"""
    file = io.BytesIO()
    pages = [Image.new(random.choice(["L", "RGB", "I;16"]), (9, 9), 3) for _ in range(random.choice([1, 2, 40]))]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    content = bytearray(file.getvalue())
    for _ in range(random.choice([0, 1, 3])):
        place = random.randrange(8, len(content))
        content[place] = random.choice([0, 8, 255])
    write_files(folder, {"a.tif": bytes(content), "b.png": image()})
    return folder
