"""StackedMNIST: three digits, one in each of red, green and blue, make 1,000 classes of known frequency.

The test for dropped modes (Metz et al. 2017, Unrolled GANs). As VEEGAN (Srivastava et al. 2017) and PacGAN (Lin et
al. 2018) we train on a fixed set of 128,000 triplets, each digit drawn independently and with replacement. PacGAN's
code draws anew for each run, and from all 70,000 digits; ours are the same everywhere, and of the training digits only.
The test split, as many triplets of the test digits as the protocol judges, is ours. The size is MNIST's own, 28x28; at
R3GAN's, --resolution 32, we resample where DDGAN pads.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ganvas.data.forms import Arrays, Source
from ganvas.data.imageset import ImageSet
from ganvas.data.options import PictureOptions
from ganvas.errors import GanvasError

NAME = "stacked-mnist"
"""What users call it, and its `form` among the facts of an ImageSet."""

_DRAWS = {"train": (128_000, 1000), "test": (100_000, 1001)}
"""How many triplets, and the seed: fixed for good. The larger of the two protocols tests with a hundred thousand."""
_DIGITS = tuple(map(str, range(10)))
_PLACES = np.array([100, 10, 1])
_BLOCK = 2**23  # bytes made at once


def source(
    options: PictureOptions, find: Callable[[PictureOptions], Source], opened: Callable[[PictureOptions], ImageSet]
) -> Source:
    """`stacked-mnist`, of the hub's MNIST, or `stacked-mnist:SOURCE`, of any grey pictures in ten classes.

    Reads as uint8 [n 3 H W] in 0..255 with labels 100 r + 10 g + b, 0..999, named 000 to 999; n is 128,000, for the
    test split 100,000. The facts tell of the digits, under `digits` also their name, form, count and fingerprint.

    Args:
        find, opened: recognise and open the digits. They are opened, at the asked resolution, when this is read.

    Raises:
        GanvasError: one or four channels are asked for, or there are no such digits. When it is read: the digits
            are not grey, have no labels or not ten classes, or some cannot be read.
    """
    if options.channels not in (None, 3):
        raise GanvasError(
            f"--channels {options.channels} does not go with {NAME}.",
            expected="3: one digit in each of red, green and blue",
            fix="leave --channels out, or name the digits themselves.",
        )
    asked = options.source.removeprefix(NAME).removeprefix(":")
    if options.source != NAME and not asked:
        raise GanvasError(f"{options.source} names no digits.", expected=f"{NAME}, or {NAME}:PATH")
    digits = replace(options, source=asked or "mnist", channels=None, max_bad=1.0)  # any bad one is refused below
    found = find(digits)
    stamp = [NAME, _DRAWS[options.split], found.stamp]
    return Source(f"stacked-{found.name}", NAME, stamp, lambda: _read(opened(digits), digits.source, options.split))


def _read(digits: ImageSet, asked: str, split: str) -> Arrays:
    classes = _checked(digits, asked)
    count, seed = _DRAWS[split]
    random = np.random.RandomState(seed)  # a generator that numpy keeps frozen
    triplets = random.randint(0, len(digits), (count, 3), np.int64)
    shape = (3, *digits.resolution)

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, _BLOCK // int(np.prod(shape)))
        for first in range(0, count, step):
            yield digits.images[triplets[first : first + step], 0]

    notes = [f"{count:,} fixed triplets of the {len(digits):,} digits of {digits.name}."]
    if digits.class_names != _DIGITS:
        notes.append(f"The classes that stand for the digits 0 to 9: {', '.join(digits.class_names)}.")
    known = {"name": digits.name, "form": digits.facts["form"], "count": len(digits), "fingerprint": digits.fingerprint}
    return Arrays(
        count,
        shape,
        blocks,
        classes[triplets] @ _PLACES,
        tuple(f"{number:03}" for number in range(1000)),
        (*digits.notes, *notes),
        {**digits.facts, "form": NAME, "digits": known},
    )


def _checked(digits: ImageSet, asked: str) -> np.ndarray:
    """The labels of digits that can be stacked, int64 [n] in 0..9."""
    expected = "grey pictures of digits in ten classes, such as MNIST's"
    if digits.skipped:
        name, reason = digits.skipped[0]
        raise GanvasError(
            f"{asked}: {len(digits.skipped)} files are bad, such as {name}: {reason}.",
            expected=f"digits that can all be read, for {NAME} is a fixed set",
            fix=f"repair or remove them; `ganvas data {asked}` lists them all.",
        )
    if digits.channels != 1:
        raise GanvasError(
            f"The pictures of {asked} have {digits.channels} channels, and each is to become one.",
            expected=expected,
            fix="save them as grey first.",
        )
    if digits.labels is None:
        raise GanvasError(
            f"{asked} has no labels, and the classes of {NAME} are made of them.",
            expected=expected,
            fix="sort the pictures into ten folders, 0 to 9, or put the file of labels beside them.",
        )
    if digits.classes != len(_DIGITS):
        raise GanvasError(f"{asked} has {digits.classes} classes, not ten.", expected=expected)
    return digits.labels
