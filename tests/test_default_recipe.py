"""The default recipe: digits of the class asked for, long before its minute is over."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import ganvas
from ganvas.data import DataOptions, open_images
from ganvas.recipes import default_recipe


@pytest.mark.slow
def test_digits_are_of_the_class_asked_for_after_a_sixth_of_the_training() -> None:
    """Nearest neighbours in pixels see 92 % of held-out digits rightly, and 79 to 87 % of these (three seeds)."""
    data = open_images(DataOptions("digits28"))
    judge = KNeighborsClassifier(3).fit(data.images.reshape(len(data), -1) / 255, data.labels)
    run = ganvas.train(default_recipe(), kimg=10, quiet=True, plot=False)
    generator = ganvas.load(run)
    seen = [judge.predict(generator.sample(range(20), label=label).reshape(20, -1) / 255) for label in range(10)]
    assert np.mean(np.stack(seen) == np.arange(10)[:, None]) > 0.65
    assert len(np.unique(seen)) == 10
