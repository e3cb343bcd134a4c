"""Generators that come with Ganvas: pretrained:NAME is a file of the package, made by tools/pretrain.py.

Each is one .safetensors file with its card inside (`ganvas.runs.card`), whose SHA-256 is checked before it is used.
"""

import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from ganvas.errors import GanvasError, did_you_mean
from ganvas.reading import describe_reason, read_bytes

PREFIX = "pretrained:"

FOLDER = Path(str(resources.files("ganvas").joinpath("pretrained")))
"""Where the files, their cards and their licences are."""

MAX_BYTES = 2**24
"""Most bytes of a file of the package."""


class Pretrained(NamedTuple):
    """A generator of the package.

    Attributes:
        images: what it draws, for a list.
        sha256: of its file.
    """

    images: str
    sha256: str


GENERATORS = {
    "digits": Pretrained(
        "handwritten digits of 8×8 pixels", "f873dffbfac6500b7337c0a365880f81560204f9d228c467110513290520534b"
    ),
    "digits28": Pretrained(
        "handwritten digits of 28×28 pixels", "d0fe0d4d32b18677ecf76e62cb248eff6cd90f16faa7423fbddca0a75ca7eb73"
    ),
}
"""Those that there are, each named like the built-in data set of its training."""


def is_name(path: Path) -> bool:
    """Whether a path is a name of this kind, right or wrong."""
    return str(path).lower().startswith(PREFIX) and not os.path.exists(path)


def find_local(path: Path) -> Path:
    """The file of a generator of the package.

    Raises:
        GanvasError: there is none of this name, or its file is damaged.
    """
    name = str(path).removeprefix(PREFIX)
    if name not in GENERATORS:
        raise GanvasError(
            f"'{path}' names no pretrained generator.",
            expected="one of " + ", ".join(f"{PREFIX}{own} ({one.images})" for own, one in GENERATORS.items()),
            fix=did_you_mean(name.rpartition(":")[2].lower(), GENERATORS),
        )
    file = FOLDER / f"{name}.safetensors"
    try:
        damage = "" if _hash(file) == GENERATORS[name].sha256 else "its content is not what was released"
    except (OSError, ValueError) as error:
        damage = describe_reason(error)
    if damage:
        raise GanvasError(
            f"{path} cannot be used: its file in the package, {file}, is damaged ({damage}).",
            expected="the file that came with Ganvas",
            fix="install Ganvas again: pip install --force-reinstall --no-deps ganvas",
        )
    return file


def title(path: Path) -> str:
    """The name of a generator's file, pretrained:NAME; of any other path the path."""
    return f"{PREFIX}{path.stem}" if path.parent == FOLDER and path.stem in GENERATORS else str(path)


def card_text(path: Path) -> str:
    """The card of a generator of the package, Markdown without its title; of any other path nothing."""
    if not title(path).startswith(PREFIX):
        return ""
    return (FOLDER / f"{path.stem.upper()}.md").read_text(encoding="utf-8").partition("\n")[2].strip()


def _hash(file: Path) -> str:
    return hashlib.sha256(read_bytes(file, MAX_BYTES)).hexdigest()
