"""Copies of training images are found in pixels: blurred, noisy or mirrored; other images are not called copies."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from support import run_cli

from ganvas.data import DataOptions, open_images
from ganvas.evaluation.evaluation import evaluate
from ganvas.evaluation.near_copies import COPYING, NearCopies, TrainingPixels

rng = np.random.default_rng(0)
DIGITS = open_images(DataOptions("digits")).images
TRAIN, OTHERS = DIGITS[:200], DIGITS[200:600]
COPIES = TRAIN[rng.integers(200, size=400)]


def training_pixels(images: np.ndarray = TRAIN) -> TrainingPixels:
    found = TrainingPixels.from_images(images)
    assert found is not None
    return found


def blur(images: np.ndarray) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(image[0]).filter(ImageFilter.GaussianBlur(0.5)))[None] for image in images]
    )


DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "noise": lambda x: np.clip(x + rng.normal(0, 15, x.shape), 0, 255).astype(np.uint8),
    "contrast": lambda x: (x * 0.6 + 50).astype(np.uint8),
    "mirrored": lambda x: x[..., ::-1],
    "blurred": blur,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_copies_are_found(damage: Callable[[np.ndarray], np.ndarray]) -> None:
    found = training_pixels().find(damage(COPIES), 8)
    assert found.share > 0.75
    assert found.copying


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_other_images_are_no_copies(damage: Callable[[np.ndarray], np.ndarray]) -> None:
    found = training_pixels().find(damage(OTHERS), 8)
    assert found.share < 0.03
    assert found.expected < 0.03
    assert not found.copying


def test_a_tenth_of_copies_is_called_copying_and_shown_first() -> None:
    images = np.concatenate([OTHERS[:360], TRAIN[40:80]])
    found = training_pixels().find(images, 8)
    assert found.share == pytest.approx(0.1, abs=0.02)
    assert found.copying
    assert found.pairs.tolist() == [[360 + i, 40 + i] for i in range(8)]
    assert not training_pixels().find(images[:370], 8).copying


def test_repeated_training_images_hide_no_copies() -> None:
    found = training_pixels(np.concatenate([TRAIN, TRAIN])).find(COPIES, 8)
    assert found.share > 0.95
    assert found.expected < 0.03
    assert TrainingPixels.from_images(np.repeat(TRAIN[:2], 9, axis=0)) is None


def test_sets_full_of_near_copies_have_a_higher_bar() -> None:
    assert NearCopies(COPYING, 0.0, np.empty((0, 2))).copying
    assert not NearCopies(COPYING, 0.03, np.empty((0, 2))).copying


def save(name: str, images: np.ndarray) -> str:
    np.savez(name, images=images.transpose(0, 2, 3, 1))
    return name


def test_copies_of_a_set_without_held_out_images_are_called_so() -> None:
    real = save("real.npz", TRAIN)
    copied = evaluate(save("copied.npz", DAMAGE["noise"](COPIES)), against=real, device="cpu", quiet=True)
    assert copied.memorisation is not None
    assert copied.memorisation.left_out
    assert copied.memorisation.copying
    assert "Training images are copied: " in " ".join(str(copied).split())
    assert copied.panel is not None
    assert np.abs(copied.panel[::2].astype(int) - copied.panel[1::2]).mean() < 30
    line = json.loads(json.dumps(copied.to_json(), allow_nan=False))["memorisation"]
    assert line["copying"]
    assert line["near_copies"] > 0.75
    assert line["independent"]
    other = evaluate(save("other.npz", OTHERS), against=real, device="cpu", quiet=True)
    assert other.memorisation is not None
    assert not other.memorisation.copying
    assert "No copying found" in str(other)


@pytest.mark.slow
def test_copying_is_printed_by_the_command_line() -> None:
    real, copied = save("real.npz", TRAIN), save("copied.npz", COPIES)
    text = run_cli("evaluate", copied, "--against", real, "--panel", "pairs.png", "--device", "cpu", "--quiet").stdout
    assert "Training images are copied: 100.0 %" in " ".join(text.split())
    assert Path("pairs.png").stat().st_size > 0


def test_nearest_training_images_of_one_also_mirrored() -> None:
    train = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    train[7] = train[3]
    pixels = TrainingPixels.from_images(train)
    assert pixels is not None
    for image in (train[5], train[5][..., ::-1]):
        rows, distances, ratio = pixels.nearest(image, 4)
        assert len(rows) == len(set(rows)) == 4
        assert rows[0] == 5
        assert distances[0] == pytest.approx(0, abs=1e-6)
        assert list(distances) == sorted(distances)
        assert distances[1] > 0.5
        assert ratio == pytest.approx(0, abs=1e-5)
    assert len(pixels.nearest(train[3], 99)[0]) == 19  # of equal ones one


def test_an_image_is_a_copy_also_where_the_set_holds_its_mirror_image() -> None:
    train = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    train[8] = train[5][..., ::-1]
    pixels = training_pixels(train)
    for image in (train[5], train[8]):
        rows, distances, ratio = pixels.nearest(image, 4)
        assert set(rows[:2]) == {5, 8}
        assert list(distances[:2]) == pytest.approx([0, 0], abs=1e-6)
        assert ratio <= 0.5
        assert ratio == pixels.nearest(image, 1)[2]
    assert pixels.find(train[[5, 8]], 2).share == 1
    assert pixels.nearest(np.random.default_rng(1).integers(0, 256, (1, 8, 8), np.uint8), 4)[2] > 0.5
