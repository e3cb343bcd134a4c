"""Real data sets, where they are available."""

import numpy as np
import pytest
from helpers import labels_of, open_data

from ganvas.data import inspect
from ganvas.errors import GanvasError


def test_mnist_is_read(real_data):
    train, test = open_data(real_data / "mnist"), open_data(real_data / "mnist", split="test")
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert np.bincount(labels_of(train)).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert round(train.images.mean() / 255, 4) == 0.1307  # the published mean
    report = inspect(real_data / "mnist", quiet=True)
    assert report.warnings == ()


def test_cifar_is_read_from_a_zip_with_dataset_json(real_data):
    found = open_data(real_data / "cifar10-test.zip")
    assert found.images.shape == (10000, 3, 32, 32)
    assert np.bincount(labels_of(found)).tolist() == [1000] * 10
    assert found.class_names[3] == "cat"
    assert found.skipped == ()
    with pytest.raises(GanvasError, match="no test split"):
        open_data(real_data / "cifar10-test.zip", split="test")


def test_faces_in_class_folders_are_read(real_data):
    found = open_data(real_data / "kaokore-faces-128.zip", resolution="32")
    assert found.images.shape == (2000, 3, 32, 32)
    assert np.bincount(labels_of(found)).tolist() == [53, 469, 19, 186, 441, 832]
    report = inspect(real_data / "kaokore-faces-128.zip", resolution="32", quiet=True)
    assert "male-warrior has 832 images, female-warrior has 19" in "\n".join(report.warnings)


def test_faces_that_are_not_square_are_cropped_or_padded(real_data):
    path = real_data / "celeba_aligned_first32.zip"
    assert open_data(path).resolution == (218, 178)
    cropped, padded = open_data(path, resolution="64"), open_data(path, resolution="64", fit="pad")
    assert cropped.images[:, :, :, 0].mean() > 20
    assert padded.images[:, :, :, 0].max() == 0


def test_photographs_of_all_sizes_are_read(real_data):
    found = open_data(real_data / "style")
    assert found.images.shape == (15, 3, 64, 64)
    assert "15 different sizes" in found.notes[-1]
