"""What a reader hands over: a Source, which opens as Arrays (pixels already) or as Pictures (files)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Arrays:
    """Pictures of one size that are numbers already."""

    count: int
    shape: tuple[int, int, int]
    """(channels, height, width)."""

    blocks: Callable[[], Iterator[np.ndarray]]
    """Yields uint8 [n c h w], `count` pictures in all; raises GanvasError where the file is damaged."""

    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able, for `ImageSet.facts`, where it adds to what the shape tells or replaces it."""


@dataclass(frozen=True)
class Pictures:
    """Encoded picture files, in their final order."""

    names: Sequence[str]
    open: Callable[[int], BinaryIO]
    """Opens file i for reading, seekable, from any thread. `Unreadable` tells why it cannot."""

    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, str], ...] = ()
    """(file, reason) of what is known to be unusable before any file is opened; these are not in `names`."""

    ignored: Mapping[str, int] = field(default_factory=dict)
    """How many files of each extension were passed over, because they are no pictures."""


@dataclass(frozen=True)
class Source:
    """Something that holds pictures: found and recognised, not yet read."""

    name: str
    form: str
    """For people: "a folder", "a zip", "IDX files"."""

    stamp: Any
    """JSON-able; changes whenever the content may have changed. The cache is keyed by it."""

    read: Callable[[], Arrays | Pictures]
    in_memory: bool = False
    """Small and quick enough that no cache is worth its files."""


class Unreadable(Exception):
    """One picture cannot be used; the message is the reason, in a person's words."""


class NoSplit(GanvasError):
    """The source has no part of that name."""


def no_split(what: str, *, fix: str = "leave --split out.") -> NoSplit:
    """The refusal of `--split test` for a source that has one part only."""
    return NoSplit(f"{what} has no test split.", expected="a set that comes in two parts", fix=fix)


def quoted(head: bytes) -> str:
    """The first bytes of a file, for a message."""
    if not head:
        return "is empty"
    shown = head[:16].decode("latin-1")
    return f"begins with {shown!r}"
