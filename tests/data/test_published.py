"""Data sets in the forms in which their authors and Kaggle publish them."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import scipy.io
from helpers import idx_bytes, labels_of, noise, open_data, write_folder, write_zip
from test_arrays import smooth, smooth_colours

from ganvas.errors import GanvasError


def idx_of(array: np.ndarray, code: int, dtype: str) -> bytes:
    """The bytes of an IDX file of another type than unsigned bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.astype(dtype).tobytes()


def write_tar(path: Path, files: dict[str, bytes], mode: Literal["w:gz", "w"] = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


# --- IDX ---------------------------------------------------------------------------------------------------


def test_qmnist_has_its_digit_in_the_first_of_eight_numbers(tmp_path):
    digits = np.arange(20) % 10
    rows = np.stack([digits, *(noise(7, 20) * 9)])
    files = {
        "qmnist-train-images-idx3-ubyte.gz": gzip.compress(idx_bytes(noise(20, 28, 28))),
        "qmnist-train-labels-idx2-int.gz": gzip.compress(idx_of(rows.T, 0x0C, ">i4")),
    }
    folder = write_folder(tmp_path / "q", files)
    for path in (folder, folder / "qmnist-train-images-idx3-ubyte.gz"):
        assert labels_of(open_data(path)).tolist() == digits.tolist()


def test_emnist_letters_are_upright_and_have_no_empty_class(tmp_path):
    images, labels = noise(52, 28, 28), np.arange(52) % 26 + 1
    name = "emnist-letters-{}-{}-idx{}-ubyte.gz"
    files = {
        name.format("train", "images", 3): gzip.compress(idx_bytes(images[:26].transpose(0, 2, 1))),
        name.format("train", "labels", 1): gzip.compress(idx_bytes(labels[:26])),
        name.format("test", "images", 3): gzip.compress(idx_bytes(images[26:].transpose(0, 2, 1))),
        name.format("test", "labels", 1): gzip.compress(idx_bytes(labels[26:])),
    }
    train, test = (open_data(write_folder(tmp_path / "e", files), split=split) for split in ("train", "test"))
    assert np.array_equal(train.images[:, 0], images[:26])
    assert np.array_equal(test.images[:, 0], images[26:])
    assert train.class_names == test.class_names == tuple(map(str, range(1, 27)))
    assert labels_of(train).tolist() == list(range(26))
    assert any("turned upright" in note for note in train.notes)
    mapped = {"train": {"images": images.transpose(0, 2, 1).reshape(52, -1), "labels": labels[:, None]}}
    scipy.io.savemat(tmp_path / "emnist-letters.mat", {"dataset": mapped | {"mapping": np.arange(26)}})
    found = open_data(tmp_path / "emnist-letters.mat")
    assert np.array_equal(found.images[:, 0], images)
    assert found.classes == 26


def test_a_zip_of_idx_files_is_read_without_unpacking(tmp_path):
    images, labels = noise(12, 9, 9), np.arange(12) % 3
    files = {
        "archive/train-images.idx3-ubyte": idx_bytes(images[:8]),
        "archive/train-labels.idx1-ubyte": idx_bytes(labels[:8]),
        "archive/t10k-images-idx3-ubyte.gz": gzip.compress(idx_bytes(images[8:])),
        "archive/t10k-labels-idx1-ubyte.gz": gzip.compress(idx_bytes(labels[8:])),
    }
    path = write_zip(tmp_path / "mnist.zip", files)
    train, test = open_data(path), open_data(path, split="test")
    assert np.array_equal(train.images[:, 0], images[:8])
    assert np.array_equal(labels_of(train), labels[:8])
    assert np.array_equal(test.images[:, 0], images[8:])
    assert [item.name for item in tmp_path.iterdir()] == ["mnist.zip"]
    several = {f"emnist-{name}-train-images-idx3-ubyte": idx_bytes(images) for name in ("letters", "digits")}
    with pytest.raises(GanvasError, match="several data sets") as caught:
        open_data(write_zip(tmp_path / "e.zip", several))
    assert "unpack it" in caught.value.fix
    path = write_zip(tmp_path / "other.zip", {"train-images.idx3-ubyte": idx_bytes(noise(12, 9, 9, seed=1))})
    broken = bytearray(path.read_bytes())
    broken[200] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(GanvasError, match="is damaged"):
        open_data(path)


@pytest.mark.parametrize(("code", "dtype"), [(0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_of_other_numbers_is_read(tmp_path, code, dtype):
    images = smooth(5)
    (tmp_path / "x-images-idx3").write_bytes(idx_of(images, code, dtype))
    assert np.array_equal(open_data(tmp_path / "x-images-idx3").images[:, 0], images)


# --- CIFAR-100 and STL-10 ----------------------------------------------------------------------------------


def cifar100_files(form: str) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """The files, the images uint8 [12 3 32 32], and the fine labels; the coarse label is the fine one modulo 2."""
    images, fine = noise(12, 3, 32, 32), np.arange(12) % 4
    names = {"fine_label_names": ["apple", "bear", "can", "dish"], "coarse_label_names": ["plant", "animal"]}
    files = {}
    for split, part in (("train", slice(0, 8)), ("test", slice(8, 12))):
        rows = images[part].reshape(-1, 3072)
        if form == "binary":
            content = np.concatenate([fine[part, None] % 2, fine[part, None], rows], axis=1).astype(np.uint8)
            files[f"cifar-100-binary/{split}.bin"] = content.tobytes()
        else:
            table = {b"data": rows, b"fine_labels": fine[part].tolist(), b"coarse_labels": (fine[part] % 2).tolist()}
            files[f"cifar-100-python/{split}"] = pickle.dumps(table)
    if form == "python":
        files["cifar-100-python/meta"] = pickle.dumps(names)
    else:
        files |= {f"cifar-100-binary/{name}.txt": "\n".join(words).encode() for name, words in names.items()}
    return files, images, fine


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("packed", ["w:gz", "w", ""])
def test_cifar_100_reads_back(tmp_path, form, packed):
    files, images, fine = cifar100_files(form)
    path = write_tar(tmp_path / "c.tar.gz", files, packed) if packed else write_folder(tmp_path / "c", files)
    train, test = open_data(path), open_data(path, split="test")
    assert np.array_equal(train.images, images[:8])
    assert np.array_equal(test.images, images[8:])
    assert np.array_equal(labels_of(train), fine[:8])
    assert train.class_names == test.class_names == ("apple", "bear", "can", "dish")
    assert train.notes[0] == "The fine_labels of CIFAR-100 are used; --label-column coarse_labels takes the others."
    for name in ("coarse_labels", "coarse"):
        coarse = open_data(path, label_column=name)
        assert np.array_equal(labels_of(coarse), fine[:8] % 2)
        assert coarse.class_names == ("plant", "animal")
    with pytest.raises(GanvasError, match="CIFAR-100 has no labels called 'colour'"):
        open_data(path, label_column="colour")


def test_a_batch_of_cifar_100_names_its_folder(tmp_path):
    folder = write_folder(tmp_path, cifar100_files("python")[0]) / "cifar-100-python"
    with pytest.raises(GanvasError, match="is one batch of CIFAR") as caught:
        open_data(folder / "train")
    assert caught.value.expected == f"its folder, {folder}"
    assert len(open_data(folder)) == 8


def test_the_checksum_of_a_packed_tar_is_verified(tmp_path):
    path = write_tar(tmp_path / "c.tar.gz", cifar100_files("binary")[0])
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(GanvasError, match="is damaged: CRC check failed"):
        open_data(path)


@pytest.mark.parametrize("packed", [True, False])
def test_stl_10_reads_back(tmp_path, packed):
    images, labels = noise(6, 3, 96, 96), np.array([1, 10, 2, 2, 3, 1])
    names = [f"class{number}" for number in range(1, 11)]
    files = {"class_names.txt": "\n".join(names).encode()}
    for split, part in (("train", slice(0, 3)), ("test", slice(3, 5)), ("unlabeled", slice(5, 6))):
        files[f"{split}_X.bin"] = images[part].transpose(0, 1, 3, 2).tobytes()
        if split != "unlabeled":
            files[f"{split}_y.bin"] = labels[part].astype(np.uint8).tobytes()
    files = {f"stl10_binary/{name}": content for name, content in files.items()}
    path = write_tar(tmp_path / "stl10.tar.gz", files) if packed else write_folder(tmp_path / "stl", files)
    train, test = open_data(path), open_data(path, split="test")
    assert np.array_equal(train.images, images[:3])
    assert np.array_equal(test.images, images[3:5])
    assert labels_of(train).tolist() == [0, 9, 1]
    assert labels_of(test).tolist() == [1, 2]
    assert train.class_names == test.class_names == tuple(names)
    if not packed:
        rest = open_data(path / "stl10_binary" / "unlabeled_X.bin")
        assert np.array_equal(rest.images, images[5:])
        assert rest.labels is None
        (path / "stl10_binary" / "train_y.bin").unlink()
        os.mkfifo(path / "stl10_binary" / "train_y.bin")
        assert "There is no train_y.bin, so there are no classes." in open_data(path).notes
        (path / "stl10_binary" / "train_X.bin").write_bytes(b"x" * 100)
        with pytest.raises(GanvasError, match="has 100 bytes"):
            open_data(path)


# --- MATLAB ------------------------------------------------------------------------------------------------


def write_svhn(folder: Path, packed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    images, digits = smooth_colours(30, 32), np.arange(30) % 10
    for split, part in (("train", slice(0, 20)), ("test", slice(20, 30))):
        labels = np.where(digits[part] == 0, 10, digits[part]).astype(np.uint8)[:, None]
        table = {"X": images[part].transpose(1, 2, 3, 0), "y": labels}
        scipy.io.savemat(folder / f"{split}_32x32.mat", table, do_compression=packed)
    return images, digits


@pytest.mark.parametrize("packed", [True, False])
def test_svhn_reads_back_and_label_10_is_the_digit_0(tmp_path, packed):
    images, digits = write_svhn(tmp_path, packed)
    for split, part in (("train", slice(0, 20)), ("test", slice(20, 30))):
        found = open_data(tmp_path / "train_32x32.mat", split=split)
        assert np.array_equal(found.images.transpose(0, 2, 3, 1), images[part])
        assert labels_of(found).tolist() == digits[part].tolist()
        assert found.class_names == tuple("0123456789")
        assert any("label 10 is the digit 0" in note for note in found.notes)


def test_other_matlab_files_are_read(tmp_path):
    images, labels = smooth(70), np.arange(70.0) % 10
    scipy.io.savemat(tmp_path / "mnist-original.mat", {"data": images.reshape(70, -1).T, "label": labels[None]})
    found = open_data(tmp_path / "mnist-original.mat")
    assert np.array_equal(found.images[:, 0], images)
    assert np.array_equal(labels_of(found), labels)
    scipy.io.savemat(tmp_path / "faces.mat", {"faces": images.transpose(1, 2, 0) / 255.0})
    assert np.array_equal(open_data(tmp_path / "faces.mat").images[:, 0], images)
    scipy.io.savemat(tmp_path / "none.mat", {"a": np.arange(3), "b": "text"})
    with pytest.raises(GanvasError, match="no array of images"):
        open_data(tmp_path / "none.mat")


def test_matlab_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "new.mat").write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(400)
    )
    with pytest.raises(GanvasError, match=r"version 7\.3") as caught:
        open_data(tmp_path / "new.mat")
    assert "'-v7'" in caught.value.fix
    write_svhn(tmp_path, packed=True)
    whole = (tmp_path / "train_32x32.mat").read_bytes()
    for content in (whole[:5000], whole[:129], whole[:200] + b"\xff" * 40 + whole[240:], whole[:-9]):
        (tmp_path / "cut.mat").write_bytes(content)
        with pytest.raises(GanvasError, match=r"cannot be read|contains no array"):
            open_data(tmp_path / "cut.mat")


# --- tables of pixels --------------------------------------------------------------------------------------


def write_table(path: Path, rows: np.ndarray, header: str = "", packed: bool = False) -> Path:
    text = header + "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


PIXELS = smooth(30).reshape(30, -1)
COLUMN = np.arange(30)[:, None] % 10
NAMES = ",".join(f"pixel{number}" for number in range(256))


@pytest.mark.parametrize("form", ["label first", "label last", "no header", "no header, last", "CRLF", "gzip", "index"])
def test_a_table_of_pixels_reads_back(tmp_path, form):
    rows = np.concatenate([PIXELS, COLUMN] if "last" in form else [COLUMN, PIXELS], axis=1)
    header = f"{NAMES},class\n" if "last" in form else f"label,{NAMES}\n"
    if form == "index":
        rows, header = np.concatenate([np.arange(30)[:, None], rows], axis=1), f",{header}"
    if form == "CRLF":
        header = "\ufeff" + header.replace("\n", "\r\n")
    path = write_table(tmp_path / "train.csv", rows, "" if "no header" in form else header, form == "gzip")
    found = open_data(path)
    assert np.array_equal(found.images.reshape(30, -1), PIXELS)
    assert labels_of(found).tolist() == COLUMN[:, 0].tolist()


def test_the_tables_of_kaggle_are_two_splits(tmp_path):
    for split, part in (("train", slice(0, 20)), ("test", slice(20, 30))):
        rows = np.concatenate([COLUMN[part], PIXELS[part]], axis=1)
        write_table(tmp_path / f"fashion-mnist_{split}.csv", rows, f"label,{NAMES}\n")
    write_table(tmp_path / "other_test.csv", PIXELS)
    test = open_data(tmp_path / "fashion-mnist_train.csv", split="test")
    assert np.array_equal(test.images.reshape(10, -1), PIXELS[20:])
    assert labels_of(test).tolist() == COLUMN[20:, 0].tolist()
    write_table(tmp_path / "test.csv", PIXELS, f"{NAMES}\n")
    assert open_data(tmp_path / "test.csv").labels is None


def test_damaged_tables_are_refused_with_their_line(tmp_path):
    path = write_table(tmp_path / "x.csv", PIXELS)
    text = path.read_text()
    for broken in (text[:-300], text.replace(",", ",x", 9000), text + "1,2,3\n"):
        path.write_text(broken)
        with pytest.raises(GanvasError, match=r"x\.csv, line \d+: (column 2 \(x255\) is 'x|\d+ cells)"):
            open_data(path)
    packed = write_table(tmp_path / "y.csv.gz", PIXELS, packed=True)
    packed.write_bytes(packed.read_bytes()[:-3000])
    with pytest.raises(GanvasError, match="is damaged"):
        open_data(packed)


def test_a_column_of_labels_without_a_name_must_be_evident(tmp_path):
    ends = np.concatenate([COLUMN, PIXELS[:, 1:], COLUMN], axis=1)
    with pytest.raises(GanvasError, match="cannot be told which has the labels"):
        open_data(write_table(tmp_path / "x.csv", ends))


def test_ordinary_tables_are_no_pixels(tmp_path):
    (tmp_path / "x.csv").write_text("file,label\na.png,3\n")
    with pytest.raises(GanvasError, match="has no format that Ganvas reads"):
        open_data(tmp_path / "x.csv")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("train.csv", "label,pixel0\n")
    with pytest.raises(GanvasError, match="contains no images"):
        open_data(tmp_path / "x.zip")
