"""Among named arrays, the images, their labels and their splits are found by whole words and by shapes."""

import re

import numpy as np
import pytest
import scipy.io
from helpers import labels_of, noise, open_data
from hypothesis import given
from hypothesis import strategies as st

from ganvas.data.formats.npz import find_beside
from ganvas.data.labels.naming import role_of, split_of, stem, words
from ganvas.errors import GanvasError


def smooth(count: int, side: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 [count side side] in 0..255 whose neighbouring pixels are alike: waves of random phase and direction."""
    random = np.random.default_rng(seed)
    phase, down, across = random.uniform(0, 6.3, (3, count, 1, 1))
    rows, columns = np.mgrid[:side, :side]
    waves = np.sin(phase + np.sin(down) * rows * 0.4 + np.sin(across) * columns * 0.4)
    images = np.rint((waves + 1) * 127.5).astype(np.uint8)
    images[0, 0, :2] = 0, 255
    return images


def smooth_colours(count: int, side: int = 16) -> np.ndarray:
    """uint8 [count side side 3], as `smooth`."""
    return np.stack([smooth(count, side, seed) for seed in range(3)], axis=3)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


# --- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split", "role"),
    [
        ("x_train", "train", "images"),
        ("XTrain", "train", "images"),
        ("trainImages", "train", "images"),
        ("ytest", "test", "labels"),
        ("val_labels", "val", "labels"),
        ("t10k-images-idx3-ubyte.gz", "test", "images"),
        ("kmnist-test-imgs", "test", "images"),
        ("train_32x32.mat", "train", ""),
        ("values", "", ""),
        ("latest", "", ""),
        ("ids", "", "other"),
        ("image_ids", "", "other"),
        ("class_id", "", "labels"),
        ("class_names", "", "class names"),
        ("relative_paths", "", "other"),
    ],
)
def test_only_whole_words_count(name, split, role):
    assert (split_of(name), role_of(name)) == (split, role)


def test_files_of_one_set_have_one_stem():
    assert stem("kmnist-train-imgs") == stem("kmnist-test-labels") == ("kmnist",)
    assert stem("emnist-letters-train-images-idx3-ubyte.gz") == ("emnist", "letters")
    assert stem("train_32x32") != stem("train_64x64")


@given(st.text(max_size=30))
def test_any_name_has_words(name):
    assert all(word and word == word.lower() for word in words(name))


# --- which arrays ------------------------------------------------------------------------------------------


def test_values_are_no_validation_set_and_ids_no_labels(tmp_path):
    found = open_data(save(tmp_path / "x.npz", values=smooth(30), ids=np.arange(30)))
    assert len(found) == 30
    assert found.labels is None
    assert found.notes == ("Not used as labels, because their names do not say so: ids; --label-column takes one.",)
    with pytest.raises(GanvasError, match="no test split"):
        open_data(tmp_path / "x.npz", split="test")


def test_medmnist_trains_on_train_and_holds_test_out(tmp_path):
    parts = {"train": slice(0, 20), "val": slice(20, 25), "test": slice(25, 30)}
    images, labels = smooth(30), (np.arange(30) % 3).astype(np.uint8)[:, None]
    arrays = {f"{split}_images": images[part] for split, part in parts.items()}
    arrays |= {f"{split}_labels": labels[part] for split, part in parts.items()}
    path = save(tmp_path / "bloodmnist.npz", **arrays)
    train, test = open_data(path), open_data(path, split="test")
    assert np.array_equal(train.images[:, 0], images[:20])
    assert np.array_equal(test.images[:, 0], images[25:])
    assert np.array_equal(labels_of(test), labels[25:, 0])
    note = "train_images is for training, test_images is the held-out split, val_images is not used."
    assert train.notes == (note,)
    del arrays["test_images"]
    held_out = open_data(save(tmp_path / "two.npz", **arrays), split="test")
    assert np.array_equal(held_out.images[:, 0], images[20:25])
    assert "val_images.npy is the held-out split: there is no test." in held_out.notes[0]


def test_arrays_without_names_are_read_as_guided_diffusion_writes_them(tmp_path):
    np.savez(tmp_path / "samples_30x16x16x3.npz", smooth_colours(30), np.arange(30) % 3)
    found = open_data(tmp_path / "samples_30x16x16x3.npz")
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), smooth_colours(30))
    assert labels_of(found).tolist() == (np.arange(30) % 3).tolist()
    assert found.notes == ("arr_1 is used as the labels: it has one whole number for each image.",)


def test_labels_and_splits_in_files_beside_are_found(tmp_path):
    images, labels = smooth(30), np.arange(30) % 3
    for split, part in (("train", slice(0, 20)), ("test", slice(20, 30))):
        np.savez(tmp_path / f"kmnist-{split}-imgs.npz", images[part])
        np.savez(tmp_path / f"kmnist-{split}-labels.npz", labels[part])
    np.savez(tmp_path / "k49-train-labels.npz", labels[:20] * 0)
    train = open_data(tmp_path / "kmnist-train-imgs.npz")
    test = open_data(tmp_path / "kmnist-train-imgs.npz", split="test")
    assert np.array_equal(train.images[:, 0], images[:20])
    assert np.array_equal(labels_of(train), labels[:20])
    assert np.array_equal(test.images[:, 0], images[20:])
    assert np.array_equal(labels_of(test), labels[20:])
    given = open_data(tmp_path / "kmnist-test-imgs.npz")
    assert given.fingerprint == test.fingerprint
    assert "is used for training, though its name says test" in given.notes[0]
    with pytest.raises(GanvasError, match="contains labels, not images"):
        open_data(tmp_path / "kmnist-train-labels.npz")
    for name, array in (("x_train", images[:20]), ("y_train", labels[:20]), ("x_test", images[20:])):
        np.save(tmp_path / f"{name}.npy", array)
    alone = open_data(tmp_path / "x_train.npy")
    assert np.array_equal(labels_of(alone), labels[:20])
    assert len(open_data(tmp_path / "x_train.npy", split="test")) == 10


@pytest.mark.parametrize(
    ("images", "chosen", "other"),
    [("x", "y", "labels"), ("images", "labels", "y"), ("x_train", "y_train", "labels"), ("x", "y", "y_train")],
)
def test_of_several_files_of_labels_the_nearest_name_is_taken(tmp_path, images, chosen, other):
    labels = np.arange(6) % 2
    for name, values in ((images, smooth(6)), (chosen, labels), (other, 1 - labels)):
        np.save(tmp_path / f"{name}.npy", values)
    found = open_data(tmp_path / f"{images}.npy")
    assert labels_of(found).tolist() == labels.tolist()
    assert other == "y_train" or f"{chosen} has the labels; not used: {other}." in found.notes


def test_files_and_arrays_that_may_be_labels_are_never_dropped_without_a_note(tmp_path):
    np.save(tmp_path / "foo.npy", smooth(6))
    np.save(tmp_path / "labels.npy", np.arange(6) % 2)
    note = "labels.npy beside it is not used: for its labels, call it foo-labels.npy."
    assert open_data(tmp_path / "foo.npy").notes == (note,)
    (tmp_path / "labels.npy").rename(tmp_path / "foo-labels.npy")
    assert open_data(tmp_path / "foo.npy").classes == 2
    words = ["a", "b"] * 3
    for values in (words, [0.5] * 6, np.eye(2)[np.arange(6) % 2], np.array(words, object), [[name] for name in words]):
        np.savez(tmp_path / "x.npz", images=smooth(6), ids=np.array([f"n{i}" for i in range(6)]), kind=np.array(values))
        found = open_data(tmp_path / "x.npz")
        assert found.labels is None
        assert "because their names do not say so: ids, kind; --label-column takes one." in found.notes[-1]
    np.savez(tmp_path / "x.npz", images=smooth(6), kind=np.array(words))
    assert open_data(tmp_path / "x.npz", label_column="kind").class_names == ("a", "b")


def test_a_file_beside_never_replaces_the_file_that_was_given(tmp_path):
    np.save(tmp_path / "data.npy", smooth(30))
    np.save(tmp_path / "x_train.npy", smooth(40, seed=1))
    assert len(open_data(tmp_path / "data.npy")) == 30


def test_changing_a_file_beside_is_noticed(tmp_path):
    np.save(tmp_path / "x.npy", smooth(30))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    assert open_data(tmp_path / "x.npy").classes == 3
    np.save(tmp_path / "y.npy", np.arange(30) % 5)
    assert open_data(tmp_path / "x.npy").classes == 5


def test_of_several_arrays_the_one_called_images_is_taken_and_a_note_says_so(tmp_path):
    found = open_data(save(tmp_path / "x.npz", images=smooth(30), masks=smooth(30, seed=1)))
    assert np.array_equal(found.images[:, 0], smooth(30))
    assert found.notes == ("images has the images; not used: masks.",)
    with pytest.raises(GanvasError, match=r"several arrays of images: left, right\."):
        open_data(save(tmp_path / "y.npz", left=smooth(30), right=smooth(30)))


# --- labels ------------------------------------------------------------------------------------------------

DIGITS = np.arange(30) % 3


@pytest.mark.parametrize(
    ("labels", "names", "note"),
    [
        (DIGITS[:, None], "012", ""),
        (DIGITS[None], "012", ""),
        (DIGITS.astype(float), "012", ""),
        (np.eye(4)[DIGITS], "0123", "is one-hot: 4 classes"),
        (np.eye(3, dtype=bool)[DIGITS], "012", "is one-hot: 3 classes"),
        (DIGITS + 1, "123", "begins at 1: the classes are 1 to 3"),
        (np.array(["a", "b", "c"])[DIGITS], "abc", ""),
        (np.array([b"a", b"b", b"c"])[DIGITS], "abc", ""),
        (DIGITS.astype(str), "012", ""),
        (DIGITS == 1, "01", ""),
    ],
    ids=["column", "row", "floats", "one-hot", "bools", "from 1", "words", "bytes", "digits as words", "two"],
)
def test_labels_of_every_kind_become_classes(tmp_path, labels, names, note):
    found = open_data(save(tmp_path / "x.npz", x=smooth(30), y=labels))
    assert found.class_names == tuple(names)
    expected = (DIGITS == 1).astype(int) if len(names) == 2 else DIGITS
    assert labels_of(found).tolist() == expected.tolist()
    assert note in "".join(found.notes)
    assert bool(found.notes) == bool(note)


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (np.linspace(0, 1, 30), "contains fractions, not class numbers"),
        (noise(30, 5) / 7, r"has \[30, 5\] numbers, no one-hot vectors"),
        (np.ones((30, 3), int), "gives several labels to an image"),
        (np.array([f"{index}.png" for index in range(30)]), "30 different words for 30 images"),
        (np.array(["a", "b", None] * 10, object), "contains objects, which are never unpickled"),
        (DIGITS[:7], r"has \[7\] labels for 30 images: not used"),
    ],
    ids=["fractions", "vectors", "several", "file names", "objects", "too few"],
)
def test_labels_that_are_no_classes_are_left_out_and_a_note_says_so(tmp_path, labels, note):
    found = open_data(save(tmp_path / "x.npz", x=smooth(30), y=labels))
    assert found.labels is None
    assert len(found.notes) == 1
    assert re.search(note, found.notes[0])


def test_both_splits_count_the_same_classes(tmp_path):
    """Classes that begin at 1 in training are numbered alike in a test split without the first of them."""
    labels = DIGITS + 1
    path = save(tmp_path / "x.npz", x_train=smooth(30), y_train=labels, x_test=smooth(10), y_test=labels[1::3][:10])
    train, test = open_data(path), open_data(path, split="test")
    assert train.class_names == test.class_names == ("1", "2", "3")
    assert labels_of(test).tolist() == [1] * 10


def test_names_of_classes_are_read(tmp_path):
    names = np.array(["cat", "dog", "cow"])
    found = open_data(save(tmp_path / "x.npz", x=smooth(30), y=DIGITS + 1, class_names=names))
    assert found.class_names == ("cat", "dog", "cow")
    assert labels_of(found).tolist() == DIGITS.tolist()


def test_an_array_of_labels_is_chosen_by_its_name(tmp_path):
    arrays = {"x_train": smooth(30), "fine_train": DIGITS, "coarse_train": DIGITS // 2, "age_train": noise(30, 1) / 7}
    path = save(tmp_path / "x.npz", **arrays, x_test=smooth(9), coarse_test=DIGITS[:9] // 2)
    assert open_data(path).labels is None
    for name in ("coarse", "coarse_train"):
        assert np.array_equal(labels_of(open_data(path, label_column=name)), DIGITS // 2)
    assert np.array_equal(labels_of(open_data(path, split="test", label_column="coarse")), DIGITS[:9] // 2)
    with pytest.raises(GanvasError, match="no classes called 'hair'") as caught:
        open_data(path, label_column="hair")
    assert caught.value.expected == "one of fine_train, coarse_train, age_train"
    with pytest.raises(GanvasError, match=r"no classes called 'age' \(.*contains fractions"):
        open_data(path, label_column="age")
    scipy.io.savemat(tmp_path / "x.mat", {"X": smooth(30), "age": DIGITS, "sex": DIGITS // 2})
    assert np.array_equal(labels_of(open_data(tmp_path / "x.mat", label_column="sex")), DIGITS // 2)


# --- shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes", [(0, 1, 2, 3), (0, 3, 1, 2), (1, 2, 3, 0)], ids=["channels last", "channels first", "MATLAB's"]
)
@pytest.mark.parametrize("form", ["npy", "npz", "fortran", "fortran npz"])
def test_colours_are_found_on_any_axis(tmp_path, axes, form):
    array = np.asarray(smooth_colours(30).transpose(axes), order="F" if "fortran" in form else "C")
    path = tmp_path / ("x.npz" if "npz" in form else "x.npy")
    np.savez(path, x=array) if "npz" in form else np.save(path, array)
    assert np.array_equal(open_data(path).images.transpose(0, 2, 3, 1), smooth_colours(30))


def test_grey_images_are_found_on_the_last_axis(tmp_path):
    np.save(tmp_path / "x.npy", smooth(80).transpose(1, 2, 0))
    assert np.array_equal(open_data(tmp_path / "x.npy").images[:, 0], smooth(80))
    path = save(tmp_path / "x.npz", x=smooth(20).transpose(1, 2, 0), y=np.arange(20) % 2)
    assert np.array_equal(open_data(path).images[:, 0], smooth(20)), "the number of labels decides"


@pytest.mark.parametrize("order", ["planes", "pixels"])
def test_the_order_of_channels_in_a_row_is_found_by_evidence(tmp_path, order):
    images = smooth_colours(80)
    rows = images.transpose(0, 3, 1, 2) if order == "planes" else images
    np.save(tmp_path / "x.npy", rows.reshape(80, -1))
    found = open_data(tmp_path / "x.npy")
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), images)
    assert ("all of red first" in found.notes[0]) == (order == "planes")


def test_rows_and_columns_of_grey_pixels_are_images(tmp_path):
    np.save(tmp_path / "rows.npy", smooth(70).reshape(70, -1))
    np.save(tmp_path / "columns.npy", smooth(70).reshape(70, -1).T)
    for name in ("rows", "columns"):
        found = open_data(tmp_path / f"{name}.npy")
        assert np.array_equal(found.images[:, 0], smooth(70))
        assert "256 numbers is read as 16 x 16 pixels" in found.notes[0]


@pytest.mark.parametrize(
    ("array", "fix"),
    [
        (noise(80, 3 * 256), r"x.reshape(-1, 3, 16, 16) if each row is an image"),
        (noise(80, 256), r"x.reshape(-1, 16, 16) if each row is an image"),
        (smooth(1, 64)[0], r"x.reshape(-1, 8, 8) if each row is an image"),
        (smooth_colours(1, 32)[0], r"x[None] if it is a data set of one image"),
    ],
    ids=["noise in colours", "noise", "single grey image", "single image"],
)
def test_an_array_that_may_be_something_else_is_refused_and_the_fix_works(tmp_path, array, fix):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(GanvasError, match="perhaps a single image, or not of images") as caught:
        open_data(tmp_path / "x.npy")
    assert fix in caught.value.fix
    formula = caught.value.fix.removeprefix("save ").partition(" if ")[0]
    np.save(tmp_path / "x.npy", eval(formula, {"x": array}))
    open_data(tmp_path / "x.npy")


def test_features_are_no_images(tmp_path):
    with pytest.raises(GanvasError, match="no array of images"):
        open_data(save(tmp_path / "x.npz", features=np.random.default_rng(0).normal(size=(80, 500)), y=np.arange(80)))


def test_large_arrays_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("ganvas.data.arrays.stored.BLOCK_BYTES", 1000)
    images = smooth_colours(30)
    np.save(tmp_path / "last.npy", images)
    np.save(tmp_path / "first.npy", images.transpose(1, 2, 3, 0))
    for name in ("last", "first"):
        assert np.array_equal(open_data(tmp_path / f"{name}.npy").images.transpose(0, 2, 3, 1), images)


def test_transparency_is_looked_for_in_all_images(tmp_path, monkeypatch):
    monkeypatch.setattr("ganvas.data.arrays.stored.BLOCK_BYTES", 1000)
    images = np.concatenate([smooth_colours(30), np.full((30, 16, 16, 1), 255, np.uint8)], axis=3)
    np.save(tmp_path / "opaque.npy", images)
    assert open_data(tmp_path / "opaque.npy").channels == 3
    images[-1, 0, 0, 3] = 0
    np.save(tmp_path / "clear.npy", images)
    assert open_data(tmp_path / "clear.npy").channels == 4


@pytest.mark.parametrize("shape", ["(-3, -8, -8)", "(3, 8, 8", "(3, 8, 8\x00)", "(3, 8, True)", "('a',)"])
def test_damaged_headers_are_refused(tmp_path, shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(192))
    with pytest.raises(GanvasError, match=r"cannot be read|does not match its size|is damaged"):
        open_data(tmp_path / "x.npy")


def test_a_file_about_something_else_is_no_part_of_the_data_set(tmp_path):
    for name in ("x.npy", "faces.npy", "labels.npy", "faces_test.npy", "faces_labels.npy", "zebras_test.npy"):
        (tmp_path / name).touch()

    def beside(name):
        return [path.name for path in find_beside(tmp_path / name, (".npy",))]

    assert beside("x.npy") == ["labels.npy"]
    assert beside("faces.npy") == ["faces_labels.npy", "faces_test.npy", "labels.npy"]
    assert beside("zebras_test.npy") == []
