"""Spectrum and layout distance: each measures its own scale and not the other."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.evaluation import scales
from ganvas.evaluation.scales import fine_detail_errors, layout_distances, power_spectrum


@cache
def read_faces(path: Path) -> np.ndarray:
    """1,200 pictures: read once for all tests, which do not change them."""
    images: ImageSet = open_images(DataOptions(str(path), "train", "32"))
    return images.images[np.random.default_rng(0).permutation(len(images))[:1200]]


@pytest.fixture
def faces(real_data: Path) -> np.ndarray:
    return read_faces(real_data / "kaokore-faces-128.zip")


def test_wave_has_its_power_at_its_frequency() -> None:
    x = np.arange(24)
    wave = 100 + 50 * np.cos(2 * np.pi * 5 * x / 24)
    image = np.broadcast_to(wave.round().astype(np.uint8), (2, 1, 16, 24))
    power = power_spectrum(image)
    assert power.shape == (9,)
    # five waves along 24 pixels are 3.3 along the shorter side of 16
    assert power.argmax() == 3
    white = np.random.default_rng(0).integers(0, 256, (400, 1, 16, 16), dtype=np.uint8)
    assert power_spectrum(white)[1:] == pytest.approx(10 * np.log10(256**2 / 12), abs=0.3)


def test_images_are_transformed_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 24), np.uint8)
    whole, layout = power_spectrum(images), scales._shrink(images)
    sizes: list[int] = []
    transform = torch.fft.fft2

    def record(pixels: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels))
        return transform(pixels)

    monkeypatch.setattr(torch.fft, "fft2", record)
    for block, expected in ((3 * 3 * 16 * 24 + 5, [3] * 6 + [2]), (1, [1] * 20)):
        monkeypatch.setattr(scales, "BLOCK", block)
        assert power_spectrum(images) == pytest.approx(whole, rel=1e-12)
        assert np.array_equal(scales._shrink(images), layout)
        assert sizes == expected
        sizes.clear()


def test_blur_changes_the_fine_detail_and_not_the_layout(faces: np.ndarray) -> None:
    real, other = faces[:600], faces[600:]
    blurred = gaussian_filter(other.astype(np.float32), (0, 0, 1.2, 1.2)).round().astype(np.uint8)
    detail, layout = fine_detail_errors([blurred, other], real), layout_distances([blurred, other], real)
    assert detail[0] > 10 * detail[1]
    assert layout[0] < 2 * layout[1]


def test_shifted_images_change_the_layout_and_hardly_the_fine_detail(faces: np.ndarray) -> None:
    real, other = faces[:600], faces[600:]
    shifted = np.roll(other, (16, 16), axis=(2, 3))
    detail, layout = fine_detail_errors([shifted, other], real), layout_distances([shifted, other], real)
    assert layout[0] > 5 * layout[1]
    assert detail[0] < 3 * detail[1] + 1


def test_equal_sets_have_distance_0(faces: np.ndarray) -> None:
    assert fine_detail_errors([faces], faces) == [0]
    assert layout_distances([faces], faces) == pytest.approx([0], abs=1e-6)
