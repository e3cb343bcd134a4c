"""Writes data sets as people really have them: each must be read with exactly its pixels and labels, or be refused."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from data_formats import (
    Valid,
    by_class,
    cifar_batches,
    classes,
    encoded,
    form,
    idx,
    noise,
    npz,
    smooth,
    tarred,
    write_files,
)
from PIL import Image


@form
def odd_tables(folder: Path, random: np.random.Generator) -> Valid:
    """Labels as floats, words or one-hot vectors; names with another slash."""
    pixels, labels = noise(random), classes(12, random)
    way = int(random.integers(5))
    written: list[Any] = [
        [float(k) for k in labels], [f"class {k}" for k in labels], np.eye(3, dtype=int)[labels].tolist(), labels,
        labels,
    ][way]  # fmt: skip
    names = [f"a/{i}.png" for i in range(12)]
    shown = [{3: name.replace("/", "\\"), 4: f"./{name}"}.get(way, name) for name in names]
    table = {"labels": [[name, label] for name, label in zip(shown, written, strict=True)]}
    write_files(
        folder,
        {"dataset.json": json.dumps(table).encode(), **{n: encoded(p) for n, p in zip(names, pixels, strict=True)}},
    )
    return Valid(f"a folder with an unusual dataset.json ({way})", folder, pixels, labels)


@form
def idx_labels_from_one(folder: Path, random: np.random.Generator) -> Valid:
    """As EMNIST's letters: no class is 0. As QMNIST's: integers of four bytes, eight a row."""
    pixels, labels = noise(random, c=1), [1 + k for k in classes(12, random)]
    wide = random.random() < 0.5
    table = np.zeros((12, 8), np.int32)
    table[:, 0] = labels
    write_files(folder, {
        "train-images-idx3-ubyte": idx(pixels[:, 0]),
        "train-labels-idx2-int" if wide else "train-labels-idx1-ubyte": idx(table, 12,
        "i4") if wide else idx(np.array(labels)),
    })  # fmt: skip
    return Valid(f"IDX with {'wide' if wide else 'counted from 1'} labels", folder, pixels, labels)


@form
def cifar_hundred(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = noise(random, c=3, size=(32, 32)), classes(12, random)
    (folder / "cifar-100-python.tar.gz").write_bytes(tarred(cifar_batches(pixels, labels, fine=True), "w:gz"))
    return Valid("CIFAR-100's tar.gz", folder / "cifar-100-python.tar.gz", pixels, labels, checked=True)


@form
def arrays_with_splits(folder: Path, random: np.random.Generator) -> Valid:
    """Train is read, whatever stands beside it."""
    folder.mkdir()
    pixels, labels = noise(random), classes(12, random)
    last, other = (
        pixels.transpose(0, 2, 3, 1),
        random.integers(0, 256, (5, *pixels.shape[2:], pixels.shape[1]), np.uint8),
    )
    keras = random.random() < 0.5
    parts = {"x_train": last, "y_train": np.array(labels), "x_test": other, "y_test": np.zeros(5, int)} if keras else {
        "train_images": last, "train_labels": np.array(labels)[:, None], "val_images": other,
        "val_labels": np.ones((5, 1), int),
        "test_images": other[::-1], "test_labels": np.ones((5, 1), int),
    }  # fmt: skip
    npz(folder / "set.npz", **parts)
    return Valid(f"an .npz of {', '.join(parts)}", folder / "set.npz", pixels, labels, checked=True)


@form
def arrays_with_odd_labels(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = noise(random), classes(12, random)
    kind, written = [
        ("one-hot", np.eye(3)[labels]), ("one-hot of integers", np.eye(3, dtype=np.uint8)[labels]),
        ("words", np.array(["cat", "dog", "mouse"])[labels]), ("whole floats", np.array(labels, np.float32)),
        ("booleans", np.array(labels) > 0), ("from 5 on", np.array(labels) + 5), ("negative", np.array(labels) - 1),
        ("a column", np.array(labels)[:, None]), ("huge", np.array(labels, np.int64) * 10**15),
    ][random.integers(9)]  # fmt: skip
    npz(folder / "set.npz", values=pixels.transpose(0, 2, 3, 1), labels=written)
    own = [int(k > 0) for k in labels] if kind == "booleans" else labels
    known = kind != "negative"  # -1 says that there is no label
    return Valid(f"an .npz with labels: {kind}", folder / "set.npz", pixels, own, known=known, checked=True)


@form
def arrays_of_other_numbers(folder: Path, random: np.random.Generator) -> Valid:
    """0…255 as integers or floats, 0…1, -1…1: the same pixels, or refused."""
    folder.mkdir()
    pixels = noise(random)
    pixels[0, 0, 0, :2] = 0, 255
    last = pixels.transpose(0, 2, 3, 1)
    kind, written = [
        ("int64", last.astype(np.int64)), ("float32 in 0…255", last.astype(np.float32)),
        ("0…1", (last / 255).astype(np.float32)),
        ("-1…1", (last / 127.5 - 1).astype(np.float64)), ("big-endian", last.astype(">i4")),
        ("uint16", last.astype(np.uint16)),
    ][random.integers(6)]  # fmt: skip
    np.save(folder / "images.npy", written)
    return Valid(f"a .npy of {kind}", folder / "images.npy", pixels)


@form
def flat_arrays(folder: Path, random: np.random.Generator) -> Valid:
    """[n 784], [n 3072] with channels first, [32 32 3 n] as SVHN's: the same pixels, or refused."""
    folder.mkdir()
    way = int(random.integers(3))
    pixels = smooth(random, 40, 1, 28) if way == 0 else smooth(random, 40, 3, 32)
    array = pixels.transpose(2, 3, 1, 0) if way == 2 else pixels.reshape(40, -1)
    np.save(folder / "images.npy", np.ascontiguousarray(array))
    return Valid(f"a .npy of {array.shape}", folder / "images.npy", pixels)


@form
def svhn(folder: Path, random: np.random.Generator) -> Valid:
    from scipy.io import savemat

    folder.mkdir()
    pixels, labels = noise(random, c=3, size=(32, 32)), classes(12, random)
    numbers = [10 if k == 0 else k for k in labels]  # 10 stands for the digit 0
    savemat(folder / "train_32x32.mat", {"X": pixels.transpose(2, 3, 1, 0), "y": np.array(numbers, np.uint8)[:, None]})
    return Valid("SVHN's .mat", folder / "train_32x32.mat", pixels, labels)


@form
def stl(folder: Path, random: np.random.Generator) -> Valid:
    pixels, labels = noise(random, n=4, c=3, size=(96, 96)), classes(4, random, 2)
    write_files(folder, {
        "train_X.bin": pixels.transpose(0, 1, 3, 2).tobytes(), "train_y.bin": bytes(1 + k for k in labels),
        "class_names.txt": b"airplane\nbird\n",
    })  # fmt: skip
    return Valid("STL-10's binary folder", folder, pixels, labels)


@form
def table_of_digits(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = smooth(random, 40, 1, 28), classes(40, random)
    rows = np.concatenate([np.array(labels)[:, None], pixels.reshape(40, -1)], 1)
    head = "label," + ",".join(f"{y + 1}x{x + 1}" for y in range(28) for x in range(28)) + "\n"
    text = (head if random.random() < 0.7 else "") + "".join(",".join(map(str, row)) + "\n" for row in rows)
    (folder / "mnist_train.csv").write_text(text)
    return Valid("a CSV of digits", folder / "mnist_train.csv", pixels, labels)


@form
def tar_of_images(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels, names = noise(random), classes(12, random), ["a", "b", "c"]
    packed = random.random() < 0.5
    path = folder / ("images.tar.gz" if packed else "images.tar")
    path.write_bytes(tarred(by_class(pixels, labels, names), "w:gz" if packed else "w"))
    return Valid("a tar of classes", path, pixels, [names[k] for k in labels], checked=packed, named=True)


@form
def web_dataset(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels = noise(random), classes(12, random)
    files = {}
    for i, (one, k) in enumerate(zip(pixels, labels, strict=True)):
        files |= {f"{i:06d}.png": encoded(one), f"{i:06d}.cls": str(k).encode()}
    (folder / "shard-000000.tar").write_bytes(tarred(files))
    return Valid("a WebDataset tar", folder / "shard-000000.tar", pixels, labels)


@form
def table_of_labels(folder: Path, random: np.random.Generator) -> Valid:
    """Images in one folder, classes in a CSV."""
    pixels, labels = noise(random), classes(12, random)
    words = ["cat", "dog", "mouse"]
    rows = "".join(f"{i}.png,{words[k]}\n" for i, k in enumerate(labels))
    write_files(
        folder,
        {"labels.csv": f"file,label\n{rows}".encode(), **{f"{i}.png": encoded(one) for i, one in enumerate(pixels)}},
    )
    return Valid("a folder with labels.csv", folder, pixels, [words[k] for k in labels], named=True)


@form
def split_folders(folder: Path, random: np.random.Generator) -> Valid:
    """Two splits are not two classes: the first one is read."""
    train, test = [
        ("train", "test"), ("Training", "Testing"), ("train", "test1"), ("seg_train", "seg_test"), ("TRAIN", "val"),
    ][random.integers(5)]  # fmt: skip
    pixels, labels, names = noise(random), classes(12, random), ["a", "b", "c"]
    other = {f"{test}/x{i}.png": encoded(one[::-1]) for i, one in enumerate(pixels[:3])}
    write_files(folder, {**{f"{train}/{name}": c for name, c in by_class(pixels, labels, names).items()}, **other})
    return Valid(f"a folder of {train} and {test}", folder, pixels, [names[k] for k in labels], named=True)


@form
def deep_greys(folder: Path, random: np.random.Generator) -> Valid:
    """16 bits a pixel, or 12 in 16; the brightest pixel may be in the other split, whose factor is the same."""
    pixels, bits, several = noise(random, c=1), int(random.choice([12, 16])), random.random() < 0.5
    other = pixels[:1] * 0 + 255
    if several:
        pixels //= 8
    else:
        pixels[0, 0, 0, 0] = 255
    files = {}
    for name, part in {"train/": pixels, "test/": other}.items() if several else [("", pixels)]:
        for i, one in enumerate(part):
            file = io.BytesIO()
            deep = np.rint(one[0] * ((2**bits - 1) / 255)).astype(np.uint16)
            Image.fromarray(deep).save(file, "PNG")
            files[f"{name}{i}.png"] = file.getvalue()
    write_files(folder, files)
    return Valid(f"a folder of PNG files of {bits} bits{', two splits' * several}", folder, pixels)


@form
def with_debris(folder: Path, random: np.random.Generator) -> Valid:
    """What systems and people leave beside the images."""
    pixels, labels, names = noise(random), classes(12, random), ["a", "b", "c"]
    write_files(folder, {
        **by_class(pixels, labels, names), "README.txt": b"x", ".DS_Store": b"\0", "a/Thumbs.db": b"\0",
        "__MACOSX/a/._000.png": b"\0",
        "b/.hidden.png": b"\0", "notes.csv": b"x,y\n1,2\n",
    })  # fmt: skip
    return Valid("a folder of classes with debris", folder, pixels, [names[k] for k in labels], named=True)
