"""StackedMNIST: fixed triplets of digits, one per channel, from any grey images in ten classes."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import tiny

from ganvas.config import replace
from ganvas.data import DataOptions, ImageSet, inspect, named, open_images, sources, stacked
from ganvas.data.source_types import NoSplit
from ganvas.errors import GanvasError
from ganvas.sampling import load
from ganvas.training.start import train

ALL_DRAWS = stacked._DRAWS


def open_stacked(source: Path | str, **options: object) -> ImageSet:
    return open_images(DataOptions(f"stacked-mnist:{source}", **options), progress=False)  # type: ignore[arg-type]


def make_pixels(n: int, channels: int = 1) -> np.ndarray:
    """Noise, uint8 [n 8 9 channels], whose first pixel is the image's index."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 9, channels), np.uint8)
    pixels[:, 0, 0] = np.arange(n)[:, None]
    return pixels


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """70 grey images of 8x9 in ten classes for training, and 20 for testing."""
    pixels = make_pixels(90)
    arrays = {
        "x_train": pixels[:70],
        "y_train": np.arange(70) % 10,
        "x_test": pixels[70:],
        "y_test": np.arange(20) % 10,
    }
    np.savez(tmp_path / "digits.npz", **arrays)
    return tmp_path / "digits.npz"


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer triplets, for tests that do not depend on their number."""
    monkeypatch.setattr(stacked, "_DRAWS", {"train": (600, 1000), "test": (200, 1001)})


@pytest.fixture
def all_triplets(fewer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """All triplets."""
    monkeypatch.setattr(stacked, "_DRAWS", ALL_DRAWS)


def write_folder(folder: Path, names: list[str], channels: int = 1) -> Path:
    """A folder with two PNGs in each class."""
    for index, pixels in enumerate(make_pixels(2 * len(names), channels)):
        place = folder / names[index // 2] / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.squeeze()).save(place)
    return folder


def check(found: ImageSet, digits: ImageSet) -> None:
    """Every channel is one of the digits, of the class that the label gives."""
    label_of = {image.tobytes(): label for image, label in zip(digits.images[:, 0], digits.labels, strict=True)}  # type: ignore[arg-type]
    read = [[label_of[channel.tobytes()] for channel in image] for image in found.images]
    assert found.labels is not None
    assert found.labels.dtype == np.int64
    assert (np.array(read) @ [100, 10, 1] == found.labels).all()


# --- contents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
def test_label_gives_the_digit_in_each_channel(digits, split):
    found = open_stacked(digits, split=split)
    singles = open_images(DataOptions(str(digits), split), progress=False)
    assert found.name == "stacked-digits"
    assert found.images.shape == ({"train": 600, "test": 200}[split], 3, 8, 9)
    assert found.class_names[0] == "000"
    assert found.class_names[907] == "907"
    assert found.classes == 1000
    check(found, singles)
    rows = found.images[:, :, 0, 0]
    assert set(rows.ravel()) == set(range(70) if split == "train" else range(70, 90))  # each is used
    assert (rows[:, 0] != rows[:, 1]).any()
    assert (rows[:, 1] != rows[:, 2]).any()


def test_metadata_and_notes(digits):
    singles = open_images(DataOptions(str(digits)), progress=False)
    for _ in range(2):  # decoded, and from the cache
        facts = open_stacked(digits, resolution="16").metadata
        assert facts["format"] == "stacked-mnist"
        assert facts["sizes"] == {"8x9": 70}
        assert facts["digits"]["name"] == "digits"
        assert facts["digits"]["count"] == 70
    assert open_stacked(digits).metadata["digits"]["fingerprint"] == singles.fingerprint
    splits = "x_train is for training, x_test is the held-out split."
    assert open_stacked(digits).notes == (splits, "600 fixed triplets of the 70 digits of digits.")


@pytest.mark.usefixtures("all_triplets")
def test_triplets_are_fixed(digits):
    train, test = open_stacked(digits), open_stacked(digits, split="test")
    assert (len(train), len(test)) == (128_000, 100_000)
    assert train.images[:4, :, 0, 0].tolist() == [[51, 64, 1], [61, 0, 45], [40, 36, 60], [42, 58, 41]]
    assert test.images[:4, :, 0, 0].tolist() == [[83, 79, 84], [73, 82, 78], [84, 73, 74], [83, 75, 82]]


def test_same_digits_in_other_formats_have_the_same_fingerprint(digits, tmp_path):
    names = list("0123456789")
    folder = open_stacked(write_folder(tmp_path / "folder", names))
    np.savez(tmp_path / "same.npz", x=make_pixels(20), y=np.arange(20) // 2)
    assert open_stacked(tmp_path / "same.npz").fingerprint == folder.fingerprint
    assert folder.metadata["colour_modes"] == {"L": 20}


def test_class_names_are_listed_in_a_note(tmp_path):
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    found = open_stacked(write_folder(tmp_path / "words", names))
    assert found.class_names[8] == "008"
    note = "The classes used as the digits 0 to 9: eight, five, four, nine, one, seven, six, three, two, zero."
    assert note in found.notes


def test_other_resolution_and_fit(digits):
    found = open_stacked(digits, resolution="16x12", fit="pad", channels=3)
    assert found.resolution == (16, 12)
    check(found, open_images(DataOptions(str(digits), "train", "16x12", fit="pad"), progress=False))


def test_result_does_not_depend_on_the_block_size(digits, monkeypatch, tmp_path):
    whole = open_stacked(digits)
    monkeypatch.setattr(stacked, "_BLOCK", 7 * 8 * 9 * 3)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "another"))
    assert open_stacked(digits).fingerprint == whole.fingerprint


def test_second_opening_reads_the_cache(digits, monkeypatch):
    first = open_stacked(digits)
    monkeypatch.setattr(sources, "_build", lambda *_, **__: pytest.fail("decoded again"))
    again = open_stacked(digits)
    assert again.fingerprint == first.fingerprint
    assert again.folder == first.folder
    assert isinstance(again.images, np.memmap)


def test_other_digits_have_another_fingerprint(digits):
    first = open_stacked(digits)
    np.savez(digits, x_train=make_pixels(70)[::-1], y_train=np.arange(70) % 10)
    assert open_stacked(digits).fingerprint != first.fingerprint


def test_embedded_digits():
    found = open_stacked("digits")
    assert found.images.shape == (600, 3, 8, 8)
    check(found, open_images(DataOptions("digits")))


def test_inspection(digits):
    report = inspect(f"stacked-mnist:{digits}", quiet=True)
    assert report.format == "stacked-mnist"
    assert report.count == 600
    assert report.channels == 3
    assert report.original_sizes == {"8x9": 70}
    assert len(report.class_counts) == 1000


def test_digits_of_mnist(digits, monkeypatch):
    """`stacked-mnist` alone is made of `mnist`, which is fetched (tests/data/test_named.py)."""
    opened = {"train": digits.name, "test": digits.name}
    monkeypatch.setitem(named.SETS, "mnist", dataclasses.replace(named.SETS["mnist"], opened=opened))
    monkeypatch.setattr(named, "fetch_files", lambda name, progress: digits.parent)
    found = open_images(DataOptions("stacked-mnist"), progress=False)
    assert found.name == "stacked-mnist"
    check(found, open_images(DataOptions("mnist"), progress=False))


@pytest.mark.parametrize("conditional", [False, True])
def test_training_on_stacked_digits(digits, conditional):
    config = tiny(f"stacked-mnist:{digits}", kimg=0.04)
    run = train(replace(config, conditional=conditional), quiet=True)
    assert run.metadata["data"]["images"] == 600
    sampler = load(run)
    assert sampler.sample(seeds=[1, 2]).shape == (2, 3, 8, 9)
    if conditional:
        assert sampler.find_class("907") == 907
        assert sampler.sample(seeds=[1], label=907).shape == (1, 3, 8, 9)


# --- refused input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_are_refused(digits, channels):
    with pytest.raises(GanvasError, match=f"--channels {channels} cannot be used with stacked-mnist") as caught:
        open_stacked(digits, channels=channels)
    assert "one digit in each of red, green and blue" in str(caught.value.expected)


def test_images_without_labels_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", make_pixels(20)[..., 0])
    with pytest.raises(GanvasError, match=r"x\.npy has no labels"):
        open_stacked(tmp_path / "x.npy")


@pytest.mark.parametrize("classes", [3, 11])
def test_other_numbers_of_classes_are_refused(write_images, classes):
    with pytest.raises(GanvasError, match=f"has {classes} classes, not ten"):
        open_stacked(write_images(classes=classes))


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_images_are_refused(write_images, channels):
    with pytest.raises(GanvasError, match=f"have {channels} channels, but each becomes a single channel"):
        open_stacked(write_images(channels=channels, classes=10))


def test_stacked_images_are_refused():
    with pytest.raises(GanvasError, match="have 3 channels"):
        open_stacked("stacked-mnist:digits")


def test_bad_files_are_refused_whatever_max_bad(tmp_path):
    folder = write_folder(tmp_path / "folder", list("0123456789"))
    (folder / "3" / "7.png").write_bytes(b"text")
    with pytest.raises(GanvasError, match=r"1 files are bad, such as 3/7\.png: not an image") as caught:
        open_stacked(folder, max_bad=0.5)
    assert f"`ganvas data {folder}`" in caught.value.fix


def test_missing_test_split_is_refused(write_images):
    with pytest.raises(NoSplit):
        open_stacked(write_images(classes=10), split="test")


@pytest.mark.parametrize("source", ["no/such/folder", "mnits", "stacked-mnist:"])
def test_unknown_digits_are_refused(source):
    with pytest.raises(GanvasError, match=r"There is no data set|has no path after the colon") as caught:
        open_stacked(source)
    if source == "mnits":
        assert caught.value.fix == "did you mean mnist?"


def test_empty_source_is_refused():
    with pytest.raises(GanvasError, match=r"stacked-mnist: has no path after the colon"):
        open_stacked("")


@pytest.mark.parametrize("source", ["stackedmnist", "stacked_mnist", "stacked-mnits", "stacked-mnits:some/folder"])
def test_error_for_a_misspelled_name_suggests_the_right_one(source):
    with pytest.raises(GanvasError) as caught:
        open_images(DataOptions(source))
    assert caught.value.fix == "did you mean stacked-mnist?"
    assert "stacked-mnist:PATH" in str(caught.value.expected)


def test_folder_of_that_name_takes_precedence(tmp_path):
    write_folder(tmp_path / "stacked-mnist", ["a", "b"])
    assert open_images(DataOptions("stacked-mnist")).metadata["format"] == "a folder"


# --- MNIST -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("all_triplets")
@pytest.mark.skipif(not os.environ.get("GANVAS_TEST_DATA"), reason="GANVAS_TEST_DATA is not set: no real data here")
@pytest.mark.parametrize(
    ("split", "count", "fingerprint"),
    [
        ("train", 128_000, "fcefe55aeec7d32815996aa7e74a0410e1976abc04224f31d1dad5caa7bd7b6a"),
        pytest.param(
            "test",
            100_000,
            "a97d9da9def6e97c66ca3e46a1a4209692cc38fcb3a0eea9a5298e4e7afed491",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_stacked_mnist_has_the_recorded_fingerprint(split, count, fingerprint):
    mnist = Path(os.environ["GANVAS_TEST_DATA"]) / "mnist"
    found = open_stacked(mnist, split=split)
    assert found.name == "stacked-mnist"
    assert found.images.shape == (count, 3, 28, 28)
    assert found.fingerprint == fingerprint  # the triplets, the digits and their labels must never change
    assert found.labels is not None
    assert (np.bincount(found.labels, minlength=1000) > 0).all()
    check(found, open_images(DataOptions(str(mnist), split), progress=False))
