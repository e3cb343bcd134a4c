"""Data files: valid ones must be read with exactly their pixels and labels, damaged ones refused or read as such."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import damage
import data_packages  # noqa: F401 - they add to the table
import data_variants  # noqa: F401
import numpy as np
from command_lines import run_command
from data_formats import FORMATS, Valid
from data_traps import TRAPS
from isolation import Answer, Case

SUFFIXES = [
    ".zip", ".npz", ".npy", ".gz", ".tar", ".tar.gz", ".png", ".txt", ".csv", ".mat", ".bin", ".parquet", ".idx", "",
]  # fmt: skip


def make(number: int, random: Random, prepared: Path) -> Case:
    """Case `number`: each format in turn, every fifth time whole; traps in between."""
    if number % 6 == 5:
        trap = TRAPS[number // 6 % len(TRAPS)]
        Path("data").mkdir()
        source = trap(Path("data"), random)
        return inspection(f"trap: {(trap.__doc__ or '').strip()}", source, lambda: "")
    index, turn = number % len(FORMATS), number // len(FORMATS)
    write = FORMATS[index]
    valid = write(Path("data"), np.random.default_rng(random.randrange(2**32)))
    if turn % 5 == 0:
        return Case(f"{valid.what}, whole", whole_data(valid), frozenset({0} if valid.known else {0, 1}))
    path, how = damaged(valid, random)
    check = (lambda: compare(valid, part=True)) if valid.checked and how == "with flipped bits" else lambda: ""
    return inspection(f"{valid.what}: {path.name} is {how}", path if valid.source.is_file() else valid.source, check)


def inspection(what: str, source: Path, check: Callable[[], str]) -> Case:
    """A source that is read or refused; where it is read, `check` finds nothing wrong with what was read."""

    def check_answer(answer: Answer) -> str:
        if answer.status:
            return "" if answer.err.strip() else "it was refused without a word"
        json.loads(answer.out)
        return check()

    argv = ["data", str(source), "--json", "--quiet"]
    return Case(f"{what} ({source!r})", run_command(argv), frozenset({0, 1}), check_answer)


def whole_data(valid: Valid) -> Callable[[], Answer]:
    """Opens a valid source, and compares what was read."""
    from isolation import WrongAnswer

    from ganvas.errors import GanvasError

    def read() -> Answer:
        try:
            wrong = compare(valid, part=False)
        except GanvasError as error:
            return Answer(1, err=str(error))
        if wrong:
            raise WrongAnswer(wrong)
        return Answer(0)

    return read


def compare(valid: Valid, *, part: bool) -> str:
    """What is wrong with the images that were read, in words.

    Args:
        part: whether some may be left out, and all have another size; such as of a damaged file.
    """
    from ganvas.data import DataOptions, open_images

    found = open_images(DataOptions(str(valid.source), max_bad=1.0 if part else 0.0), progress=False)
    if found.images.shape[1:] != valid.pixels.shape[1:]:
        return "" if part else f"images of {found.images.shape[1:]}, not of {valid.pixels.shape[1:]}"
    index = {image.tobytes(): place for place, image in enumerate(valid.pixels)}
    places = [index.get(image.tobytes(), -1) for image in np.asarray(found.images)]
    if unknown := places.count(-1):
        return f"{unknown} of {len(places)} images have other pixels"
    if not part and sorted(places) != list(range(len(valid.pixels))):
        return f"{len(places)} images instead of {len(valid.pixels)}"
    if (found.labels is None) != (valid.labels is None):
        return f"labels were {'lost' if found.labels is None else 'invented'}"
    if found.labels is None or valid.labels is None:
        return ""
    pairs = {
        (str(valid.labels[place]), found.class_names[label]) for place, label in zip(places, found.labels, strict=True)
    }
    own, read = ({pair[side] for pair in pairs} for side in range(2))
    if not len(pairs) == len(own) == len(read):
        return f"classes were mixed up: {sorted(pairs)}"
    return f"classes have other names: {sorted(pairs)}" if valid.named and own != read else ""


def damaged(valid: Valid, random: Random) -> tuple[Path, str]:
    """Damages the source or a file in it; returns the file and what happened to it."""
    files = (
        [valid.source] if valid.source.is_file() else sorted(path for path in valid.source.rglob("*") if path.is_file())
    )
    path = random.choice(files)
    if random.random() < 0.12:
        renamed = path.with_name((path.name.split(".")[0] or "hidden") + random.choice(SUFFIXES))
        path.rename(renamed)
        return renamed, "renamed"
    ways = damage.JSON_BYTES if path.suffix == ".json" else damage.BYTES
    how = random.choice([*ways, *ways, *damage.FILES])
    damage.damage(path, how, random)
    return path, how
