"""Each data format reads back exactly what was written."""

import hashlib
import io
import json
import os
import pickle
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from helpers import encode, labels_of, noise, open_data, write_folder, write_idx, write_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ganvas.data.digits import DIGITS28, DIGITS28_PER_CLASS
from ganvas.errors import GanvasError

few_examples = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
sides = st.integers(8, 12)

DIGITS28_SHA256 = "ceff00d75c7eb1d13636bf77b4787f5e474e0c8720711f5a7d05c8fbf49e79a7"


def bright(shape) -> st.SearchStrategy[np.ndarray]:
    """Images whose numbers are certainly in 0..255: one pixel is white."""
    white = np.zeros(shape, np.uint8)
    white.flat[0] = 255
    return arrays(np.uint8, shape).map(lambda images: np.maximum(images, white))


grey = st.tuples(st.integers(1, 5), sides, sides).flatmap(bright)
colour = st.tuples(st.integers(1, 5), sides, sides, st.just(3)).flatmap(bright)


@contextmanager
def temporary_folder():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


# --- one test per file format --------------------------------------------------------------------------


@few_examples
@given(grey, st.booleans(), st.data())
def test_idx_reads_back(images, packed, data):
    labels = data.draw(arrays(np.uint8, len(images), elements=st.integers(0, 9)))
    with temporary_folder() as folder:
        found = open_data(write_idx(folder / "digits set", images, labels, packed=packed))
        assert np.array_equal(found.images[:, 0], images)
        assert [int(found.class_names[label]) for label in labels_of(found)] == labels.tolist()
        assert labels_of(found).dtype == np.int64
        assert found.name == "digits-set"


@few_examples
@given(st.one_of(grey, colour), st.sampled_from(["npy", "npz", "planes", "fortran"]))
def test_numpy_reads_back(images, form):
    expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    with temporary_folder() as folder:
        path = folder / ("x.npz" if form == "npz" else "x.npy")
        if form == "npz":
            np.savez_compressed(path, pictures=images, labels=np.arange(len(images)))
        elif form == "planes":
            np.save(path, np.ascontiguousarray(expected if expected.shape[1] == 3 else images))
        else:
            np.save(path, np.asfortranarray(images) if form == "fortran" else images)
        found = open_data(path)
        assert np.array_equal(found.images, expected)
        assert (found.labels is None) == (form != "npz")


@few_examples
@given(st.one_of(grey, colour), st.booleans())
def test_png_folder_and_zip_read_back(images, zipped):
    files = {f"p{index}.png": encode(image) for index, image in enumerate(images)}
    with temporary_folder() as folder:
        path = write_zip(folder / "x.zip", files) if zipped else write_folder(folder / "x", files)
        found = open_data(path)
        expected = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        assert np.array_equal(found.images, expected)
        assert found.labels is None
        assert found.class_names == ()


def test_equal_data_have_equal_fingerprints_in_every_format(tmp_path):
    images, labels = noise(30, 9, 10), np.arange(30) % 3
    files = {f"{index:03}.png": encode(image) for index, image in enumerate(images)}
    table = {"labels": [[name, int(label)] for name, label in zip(files, labels, strict=True)]}
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels[:, None])
    found = [
        open_data(write_idx(tmp_path / "idx", images, labels)),
        open_data(tmp_path / "a.npz"),
        open_data(write_zip(tmp_path / "b.zip", {**files, "dataset.json": json.dumps(table).encode()})),
    ]
    assert len({one.fingerprint for one in found}) == 1
    other = labels.copy()
    other[0] = 1
    assert open_data(write_idx(tmp_path / "other", images, other)).fingerprint != found[0].fingerprint


def test_digits_is_built_in_and_has_a_test_split():
    train, test = open_data("digits"), open_data("digits", split="test")
    assert train.images.shape == (1400, 1, 8, 8)
    assert test.images.shape == (397, 1, 8, 8)
    assert train.classes == 10
    assert train.images.max() == 255
    both = np.concatenate([train.images, test.images]).reshape(1797, -1)
    from sklearn.datasets import load_digits

    original = np.rint(load_digits(return_X_y=True)[0] * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, both)) == sorted(map(bytes, original))
    assert open_data("digits", resolution="16x12", channels=3).images.shape == (1400, 3, 16, 12)


def test_digits28_is_built_in_and_balanced():
    card = resources.files("ganvas.data").joinpath("DIGITS28.md").read_text("utf-8")
    assert hashlib.sha256(DIGITS28.read_bytes()).hexdigest() == DIGITS28_SHA256
    assert DIGITS28_SHA256 in card
    train, test = open_data("digits28"), open_data("digits28", split="test")
    assert train.images.shape == (10_000, 1, 28, 28)
    assert test.images.shape == (2_000, 1, 28, 28)
    for images, count in ((train, 1000), (test, 200)):
        assert np.bincount(labels_of(images)).tolist() == [count] * 10
        assert images.class_names == tuple("0123456789")


def test_digits28_is_the_first_of_each_digit_in_mnist(real_data):
    for split, count in DIGITS28_PER_CLASS.items():
        ours, mnist = (open_data(name, split=split) for name in ("digits28", str(real_data / "mnist")))
        for digit in range(10):
            first = mnist.images[np.flatnonzero(mnist.labels == digit)[:count]]
            assert np.array_equal(ours.images[ours.labels == digit], first)


# --- IDX ---------------------------------------------------------------------------------------------------


def test_idx_splits_and_other_file_names_are_read(tmp_path):
    write_idx(tmp_path, noise(4, 8, 8), np.arange(4))
    write_idx(tmp_path, noise(3, 8, 8, seed=1), np.arange(3), split="t10k", packed=False)
    assert len(open_data(tmp_path)) == 4
    assert np.array_equal(open_data(tmp_path, split="test").images[:, 0], noise(3, 8, 8, seed=1))
    assert len(open_data(tmp_path / "train-images-idx3-ubyte.gz", split="test")) == 3
    one = tmp_path / "one"
    one.mkdir()
    os.link(tmp_path / "train-images-idx3-ubyte.gz", one / "train-images.idx3-ubyte.gz")
    os.link(tmp_path / "train-labels-idx1-ubyte.gz", one / "train-labels.idx1-ubyte.gz")
    assert open_data(one).classes == 4
    with pytest.raises(GanvasError, match="has no test split"):
        open_data(one, split="test")


def test_folders_with_names_of_idx_files_are_ignored(tmp_path):
    """One mirror of MNIST unpacks to a folder and a file of nearly the same name."""
    write_idx(tmp_path, noise(4, 8, 8), packed=False)
    (tmp_path / "train-images.idx3-ubyte").mkdir()
    assert len(open_data(tmp_path)) == 4


def test_local_folder_has_precedence_over_a_named_set(tmp_path, monkeypatch):
    write_idx(tmp_path / "mnist", noise(4, 8, 8), np.arange(4))
    monkeypatch.chdir(tmp_path)
    assert open_data("mnist").images.shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-5], "ends too early"),
        (lambda data: data + b"x", "longer than its header declares"),
        (lambda data: data[:3] + b"\x01" + data[4:], "contains labels"),
        (lambda data: data[:2] + b"\x0a" + data[3:], "unsupported data type"),
        (lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "decompression bomb"),
    ],
)
def test_damaged_idx_is_refused(tmp_path, damage, reason):
    write_idx(tmp_path, noise(4, 8, 8), packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(GanvasError, match=reason):
        open_data(tmp_path)


def test_truncated_gzip_and_unequal_labels_are_refused(tmp_path):
    write_idx(tmp_path / "a", noise(400, 8, 8))
    path = tmp_path / "a" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(GanvasError, match="damaged"):
        open_data(tmp_path / "a")
    write_idx(tmp_path / "b", noise(4, 8, 8), np.arange(3))
    with pytest.raises(GanvasError, match=r"4 images, but .* contains 3 labels"):
        open_data(tmp_path / "b")


# --- CIFAR-10 ----------------------------------------------------------------------------------------------

NAMES = [b"airplane", b"automobile", b"bird"]


def cifar_files(form: str) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    images, labels = noise(12, 3, 32, 32), np.arange(12) % 3
    files = {}
    for number, part in enumerate(np.split(np.arange(12), 6)):
        name = "test_batch" if number == 5 else f"data_batch_{number + 1}"
        rows = images[part].reshape(2, -1)
        if form == "binary":
            content = np.concatenate([labels[part, None].astype(np.uint8), rows], axis=1).tobytes()
            files[f"cifar-10-batches-bin/{name}.bin"] = content
        else:
            table = {b"data": rows, b"labels": labels[part].tolist()}
            files[f"cifar-10-batches-py/{name}"] = pickle.dumps(table, protocol=4 if number % 2 else 5)
    if form == "binary":
        files["cifar-10-batches-bin/batches.meta.txt"] = b"\n".join(NAMES) + b"\n\n"
    else:
        files["cifar-10-batches-py/batches.meta"] = pickle.dumps({b"label_names": NAMES})
    return files, images, labels


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in reversed(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar_reads_back(tmp_path, form, packed):
    files, images, labels = cifar_files(form)
    path = write_tar(tmp_path / "cifar.tar.gz", files) if packed else write_folder(tmp_path / "cifar", files)
    train, test = open_data(path), open_data(path, split="test")
    assert np.array_equal(train.images, images[:10])
    assert np.array_equal(labels_of(train), labels[:10])
    assert np.array_equal(test.images, images[10:])
    assert train.class_names == ("airplane", "automobile", "bird")
    assert train.name == "cifar"
    assert {item.name for item in tmp_path.iterdir()} == {path.name}, "nothing may be unpacked to disk"


def test_pickle_of_python_2_is_read(tmp_path):
    """As in the published archive: strings are bytes, and numpy.core.multiarray reconstructs the array."""
    pixels = noise(2, 3072)

    def text(value: bytes) -> bytes:
        return pickle.BINSTRING + len(value).to_bytes(4, "little") + value

    def number(value: int) -> bytes:
        return pickle.BININT + value.to_bytes(4, "little", signed=True)

    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + pickle.TUPLE3 + pickle.REDUCE
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + pickle.TUPLE1 + text(b"b")
    array += pickle.TUPLE3 + pickle.REDUCE + b"(" + number(1) + number(2) + number(3072) + pickle.TUPLE2
    array += kind + pickle.NEWFALSE + text(pixels.tobytes()) + b"tb"
    labels = b"](" + number(1) + number(0) + b"e"
    content = b"\x80\x02}(" + text(b"data") + array + text(b"labels") + labels + b"u."
    found = open_data(write_folder(tmp_path / "c", {"data_batch_1": content}))
    assert np.array_equal(found.images.reshape(2, -1), pixels)
    assert labels_of(found).tolist() == [1, 0]


class Attack:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "load",
    [
        Attack(os.system, ("touch pwned",)),
        Attack(eval, ("open('pwned', 'w')",)),
        np.array([Attack(os.system, ("touch pwned",))], dtype=object),
        np.array([None], dtype=object),
        np.zeros(3, dtype=[("a", "O")]),
        np.dtype("O"),
        np.load,
    ],
    ids=["system", "eval", "objects", "empty objects", "record", "dtype", "function"],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_is_more_than_arrays_is_refused(tmp_path, monkeypatch, load, protocol):
    monkeypatch.chdir(tmp_path)
    bad = {b"data": load, b"labels": [0, 1]}
    folder = write_folder(tmp_path / "c", {"data_batch_1": pickle.dumps(bad, protocol)})
    with pytest.raises(GanvasError, match=r"could run a program|cannot be read: an array of|cannot be read"):
        open_data(folder)
    assert not (tmp_path / "pwned").exists()


def test_a_damaged_cifar_batch_is_refused(tmp_path):
    files, _, _ = cifar_files("binary")
    files["cifar-10-batches-bin/data_batch_2.bin"] += b"x"
    with pytest.raises(GanvasError, match=r"data_batch_2\.bin is damaged"):
        open_data(write_folder(tmp_path / "c", files))
    cut = write_tar(tmp_path / "c.tar.gz", cifar_files("python")[0])
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(GanvasError, match="damaged"):
        open_data(cut)


# --- folders, zips and their labels ------------------------------------------------------------------------


def flat_images(count: int) -> list[bytes]:
    return [encode(np.full((8, 8), index, np.uint8)) for index in range(count)]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("root", ["", "faces/"])
def test_sub_folders_become_classes(tmp_path, zipped, root):
    a, b, c, d = flat_images(4)
    files = {"cat/x/2.png": b, "cat/x/10.png": c, "cat/1.png": a, "dog/1.png": d, ".hidden/1.png": a}
    files |= {"__MACOSX/cat/1.png": a, "cat/Thumbs.db": b"x", "readme.txt": b"x", "cat/.DS_Store": b"x"}
    files = {root + name: content for name, content in files.items()}
    found = open_data(write_zip(tmp_path / "s.zip", files) if zipped else write_folder(tmp_path / "s", files))
    assert found.class_names == ("cat", "dog")
    assert labels_of(found).tolist() == [0, 0, 0, 1]
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3], "natural order: 2 before 10"
    assert found.metadata["ignored"] == {".txt": 1, "(hidden or of the system)": 4}


@pytest.mark.parametrize("name", ["été", "Größe", "犬"])
def test_names_in_a_zip_are_utf8_without_its_mark_too(tmp_path, name):
    """macOS's Finder leaves the mark out."""
    path = write_zip(tmp_path / "s.zip", {f"{name}/1.png": flat_images(1)[0], "b/1.png": flat_images(2)[1]})
    content = path.read_bytes()
    for entry, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.index(entry) + place  # of the flags; the marked member is the first
        assert int.from_bytes(content[start : start + 2], "little") == 0x800
        content = content[:start] + b"\0\0" + content[start + 2 :]
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert f"{name}/1.png" not in archive.namelist()
    assert sorted(open_data(path).class_names) == sorted((name, "b"))
    old = name.encode("cp437", "replace").ljust(len(name.encode()), b"_")  # as old programs write it
    path.write_bytes(content.replace(name.encode(), old))
    assert sorted(open_data(path).class_names) == sorted((old.decode("cp437"), "b"))


def test_some_folders_are_not_classes(tmp_path):
    a, b, c = flat_images(3)
    chunks = {"00000/img00000000.png": a, "00001/img00001000.png": b}
    assert open_data(write_zip(tmp_path / "n.zip", chunks)).labels is None
    assert open_data(write_zip(tmp_path / "one.zip", {"cat/1.png": a, "cat/2.png": b})).labels is None
    mixed = open_data(write_zip(tmp_path / "m.zip", {"cat/1.png": a, "dog/2.png": b, "3.png": c, "4.png": c}))
    assert len(mixed) == 4
    assert mixed.labels is None
    assert "outside the sub-folders: 2" in mixed.notes[0]


def test_train_and_test_folders_are_splits(tmp_path):
    a, b, c, d = flat_images(4)
    files = {"train/cat/1.png": a, "train/dog/1.png": b, "test/cat/1.png": c, "test/dog/1.png": d}
    path = write_zip(tmp_path / "s.zip", files)
    assert open_data(path).images[:, 0, 0, 0].tolist() == [0, 1]
    held_out = open_data(path, split="test")
    assert held_out.images[:, 0, 0, 0].tolist() == [2, 3]
    assert held_out.class_names == ("cat", "dog")


@pytest.mark.parametrize("zipped", [True, False])
def test_dataset_json_gives_labels_and_names(tmp_path, zipped):
    table = {"labels": [["00000/img00000001.png", 0], ["00000/img00000000.png", 2]], "class_names": ["x", "y", "z"]}
    files = {f"00000/img{index:08}.png": content for index, content in enumerate(flat_images(3))}
    files = {"set/" + name: content for name, content in files.items()}
    files["set/dataset.json"] = json.dumps(table).encode()
    path = write_zip(tmp_path / "s.zip", files) if zipped else write_folder(tmp_path / "s", files)
    found = open_data(path, max_bad=0.5)
    assert labels_of(found).tolist() == [2, 0]
    assert found.class_names == ("x", "y", "z")
    assert found.skipped == (("set/00000/img00000002.png", "no label in dataset.json"),)


def test_dataset_json_may_have_no_labels(tmp_path):
    files = {"a/1.png": flat_images(1)[0], "b/2.png": flat_images(2)[1], "dataset.json": b'{"labels": null}'}
    assert open_data(write_zip(tmp_path / "s.zip", files)).labels is None


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"{nonsense", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"labels": 3}', "is not a list"),
        (b'{"labels": [["1.png"]]}', "is not a label"),
        (b'{"labels": [["1.png", [0.5, 0.2]]]}', "a vector as its label"),
        (b'{"labels": [["1.png", 0.5]]}', "0.5 as its label"),
        (b'{"labels": [["1.png", null]]}', "no label in dataset.json"),
        (b'{"labels": [["1.png", %d]]}' % 2**80, "1208925819614629174706176 as its label"),
        (b'{"labels": [["1.png", -1]]}', "the label -1"),
        (b'{"labels": [["1.png", 0], ["1.png", 1]]}', "two labels"),
        (b'{"labels": [["1.png", 0], ["2.png", 0]]}', "labels of 1 images that do not exist, such as 2.png"),
        (b'{"labels": [["1.png", 2]], "class_names": ["a", "b"]}', "only 2 class names"),
        (b'{"labels": [["1.png", 0]], "class_names": "ab"}', "not a list of strings"),
    ],
)
def test_invalid_dataset_json_is_refused(tmp_path, table, reason):
    with pytest.raises(GanvasError, match=reason.replace("[", r"\[")):
        open_data(write_zip(tmp_path / "s.zip", {"1.png": flat_images(1)[0], "dataset.json": table}))


def test_ids_are_renumbered(tmp_path):
    np.savez(tmp_path / "x.npz", images=noise(3, 8, 8), labels=np.array([7_000_001, 12, 7_000_001]))
    found = open_data(tmp_path / "x.npz")
    assert labels_of(found).tolist() == [1, 0, 1]
    assert found.class_names == ("12", "7000001")


def test_cyclic_links_end_and_each_file_is_read_once(tmp_path):
    write_folder(tmp_path / "s", {"a/1.png": flat_images(1)[0], "b/2.png": flat_images(2)[1]})
    (tmp_path / "s" / "a" / "up").symlink_to(tmp_path / "s", target_is_directory=True)
    (tmp_path / "s" / "b" / "self").symlink_to(tmp_path / "s" / "b", target_is_directory=True)
    (tmp_path / "s" / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "s" / "b" / "pipe.png")
    found = open_data(tmp_path / "s", max_bad=0.5)
    assert len(found) == 2
    assert found.skipped == (("b/gone.png", "cannot be opened: No such file or directory"),)


def test_strange_file_names_are_read(tmp_path):
    folder = os.fsencode(tmp_path / "s")
    os.mkdir(folder)
    for name in (b"\xff\xfe.png", "日本.png".encode(), b"new\nline.png"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(flat_images(1)[0])
    (tmp_path / "s" / "bad.png").write_bytes(b"")
    found = open_data(tmp_path / "s", max_bad=0.5)
    assert len(found) == 3
    json.dumps(found.skipped).encode()


# --- .npz of several arrays --------------------------------------------------------------------------------


def test_npz_splits_of_keras_are_read(tmp_path):
    arrays = {
        "x_train": noise(6, 8, 8),
        "y_train": np.arange(6) % 2,
        "x_test": noise(2, 8, 8),
        "y_test": np.ones(2, int),
    }
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert len(open_data(tmp_path / "mnist.npz")) == 6
    test = open_data(tmp_path / "mnist.npz", split="test")
    assert labels_of(test).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.array([None] * 3).reshape(3, 1, 1)}, "objects, which only unpickling could read"),
        ({"x": np.zeros((3, 8, 8, 2), np.uint8)}, "no array of images"),
        ({"x": np.zeros(3, np.uint8)}, "no array of images"),
        ({"x": np.zeros((0, 8, 8), np.uint8)}, "no array of images"),
        ({"x": np.zeros((3, 4, 8), np.uint8)}, "4 x 8 pixels"),
        ({"a": np.zeros((3, 8, 8), np.uint8), "b": np.zeros((3, 9, 9), np.uint8)}, "several arrays"),
        ({"x": np.zeros((3, 8, 8), np.uint8), "y": np.array([0, -1, 2])}, "the label -1"),
    ],
)
def test_arrays_that_are_not_images_are_refused(tmp_path, arrays, reason):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(GanvasError, match=reason):
        open_data(tmp_path / "x.npz")


def test_damaged_numpy_files_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", noise(3, 8, 8))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-1])
    with pytest.raises(GanvasError, match="does not match its size"):
        open_data(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", x=noise(300, 8, 8))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[3000] ^= 0xFF
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(GanvasError, match="cannot be read"):
        open_data(tmp_path / "x.npz")
