"""StackedMNIST: three digits, one in each of red, green and blue, make 1,000 classes of known frequency.

The benchmark for dropped modes (Metz et al. 2017, Unrolled GANs). As in VEEGAN (Srivastava et al. 2017) and PacGAN (Lin
et al. 2018), the training set is 128,000 fixed triplets, each digit drawn independently with replacement. PacGAN's code
draws new triplets for each run, from all 70,000 digits; ours are the same in every run, and of training digits only.
The test split, 100,000 triplets of the test digits, is our addition. The size is MNIST's own, 28x28; at R3GAN's 32x32
(--resolution 32) the digits are resampled, where DDGAN pads them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ganvas.data.imageset import ImageSet
from ganvas.data.options import DataOptions
from ganvas.data.source_types import ImageArrays, Source
from ganvas.errors import GanvasError

NAME = "stacked-mnist"
"""The name of the source, and the `form` in the metadata of its ImageSet."""

_DRAWS = {"train": (128_000, 1000), "test": (100_000, 1001)}
"""(number of triplets, seed); never change them. The larger of the two usual protocols evaluates 100,000."""
_DIGITS = tuple(map(str, range(10)))
_PLACE_VALUES = np.array([100, 10, 1])
_BLOCK = 2**23  # bytes generated at a time


def source(
    options: DataOptions,
    find_source: Callable[[DataOptions], Source],
    open_digits: Callable[[DataOptions], ImageSet],
) -> Source:
    """The source for `stacked-mnist`, of `mnist`, or `stacked-mnist:SOURCE`, of any grey images in ten classes.

    Reads as uint8 [n 3 H W] in 0..255 with labels 100 r + 10 g + b, 0..999, named 000 to 999; n is 128,000, for the
    test split 100,000. The metadata is that of the digits; `digits` has their name, form, count and fingerprint.

    Args:
        find_source, open_digits: recognise and open the digits. They are opened when the result is read.

    Raises:
        GanvasError: `channels` is 1 or 4, or there are no such digits. On reading: the digits are not grey, have no
            labels or not ten classes, or some cannot be read.
    """
    if options.channels not in (None, 3):
        raise GanvasError(
            f"--channels {options.channels} cannot be used with {NAME}.",
            expected="3 channels: one digit in each of red, green and blue",
            fix="leave --channels out, or use the digits themselves as --data.",
        )
    requested = options.source.removeprefix(NAME).removeprefix(":")
    if options.source != NAME and not requested:
        raise GanvasError(f"{options.source} has no path after the colon.", expected=f"{NAME}, or {NAME}:PATH")
    digits = replace(options, source=requested or "mnist", channels=None, max_bad=1.0)  # any bad file is refused below
    found = find_source(digits)
    stamp = [NAME, _DRAWS[options.split], found.stamp]
    return Source(
        f"stacked-{found.name}", NAME, stamp, lambda: _read(open_digits(digits), digits.source, options.split)
    )


def _read(digits: ImageSet, requested: str, split: str) -> ImageArrays:
    classes = _check_digits(digits, requested)
    count, seed = _DRAWS[split]
    random = np.random.RandomState(seed)  # a generator whose stream numpy guarantees
    triplets = random.randint(0, len(digits), (count, 3), np.int64)
    shape = (3, *digits.resolution)

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, _BLOCK // int(np.prod(shape)))
        for first in range(0, count, step):
            yield digits.images[triplets[first : first + step], 0]

    notes = [f"{count:,} fixed triplets of the {len(digits):,} digits of {digits.name}."]
    if digits.class_names != _DIGITS:
        notes.append(f"The classes used as the digits 0 to 9: {', '.join(digits.class_names)}.")
    origin = {
        "name": digits.name,
        "format": digits.metadata["format"],
        "count": len(digits),
        "fingerprint": digits.fingerprint,
    }
    return ImageArrays(
        count,
        shape,
        blocks,
        classes[triplets] @ _PLACE_VALUES,
        tuple(f"{number:03}" for number in range(1000)),
        (*digits.notes, *notes),
        {**digits.metadata, "format": NAME, "digits": origin},
    )


def _check_digits(digits: ImageSet, requested: str) -> np.ndarray:
    """The labels of the digits, int64 [n] in 0..9.

    Raises:
        GanvasError: the digits cannot be stacked.
    """
    expected = "grey images of digits in ten classes, such as MNIST's"
    if digits.skipped:
        name, reason = digits.skipped[0]
        raise GanvasError(
            f"{requested}: {len(digits.skipped)} files are bad, such as {name}: {reason}.",
            expected=f"only readable digits, because {NAME} is a fixed data set",
            fix=f"repair or remove them; `ganvas data {requested}` lists them all.",
        )
    if digits.channels != 1:
        raise GanvasError(
            f"The images of {requested} have {digits.channels} channels, but each becomes a single channel.",
            expected=expected,
            fix="convert them to grey first.",
        )
    if digits.labels is None:
        raise GanvasError(
            f"{requested} has no labels, which the classes of {NAME} are made of.",
            expected=expected,
            fix="sort the images into ten folders, 0 to 9, or put the file of labels beside them.",
        )
    if digits.classes != len(_DIGITS):
        raise GanvasError(f"{requested} has {digits.classes} classes, not ten.", expected=expected)
    return digits.labels
