"""The folders that the studio was given: keys of runs to paths and back; nothing outside them is reached."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ganvas.files import MAX_NAME
from ganvas.studio.answers import Refusal

UPLOADS = "uploads"
"""The name of the folder, in the first one, for what pages send."""

LINKABLE = (
    "config.json", "stats.jsonl", "events.jsonl", "metrics.jsonl", "log.txt", "snapshots", "snapshots/best", "state"
)  # fmt: skip
"""What of a run is read without a look at each place."""

_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


class Folders:
    """The folders with runs.

    Attributes:
        paths: absolute, without links, in the order given; one that is missing has no runs yet.
        uploads: where what a page uploads is kept; runs in it are not listed.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.paths = tuple(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))
        self.uploads = self.paths[0] / UPLOADS
        self._starts = tuple(os.path.join(path, "") for path in self.paths)

    def key(self, path: Path) -> str | None:
        """The key of a run: the number of its folder, and its path in that; None outside, also through a link."""
        if not self._is_inside(os.path.realpath(path)):
            return None
        for number, folder in enumerate(self.paths):
            if path.is_relative_to(folder):
                name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")
                return f"{number}/{name}"
        return None

    def folder(self, number: int) -> Path:
        """One of the folders.

        Raises:
            Refusal: there is no such folder.
        """
        if not 0 <= number < len(self.paths):
            raise Refusal(404, f"There is no folder {number} here.", expected=f"0 to {len(self.paths) - 1}")
        return self.paths[number]

    def find(self, key: str) -> Path:
        """The path of a key, which exists.

        Raises:
            Refusal: nothing has this key, or what has it lies outside the folders.
        """
        number, _, name = key.partition("/")
        parts = [] if name == "." else name.split("/")
        if not re.fullmatch(r"0|[1-9][0-9]{0,3}", number) or not _are_names(parts):
            raise Refusal(404, f"No run has the key {key[:200]!r}.", field="run")
        folder = self.folder(int(number))
        for spelled in (name, _BYTE.sub(lambda found: os.fsdecode(bytes.fromhex(found[1])), name)):
            path = folder / spelled
            if os.path.lexists(path):
                return self.check_inside(path)
        raise Refusal(404, f"No run has the key {key[:200]!r}.", fix="it may have been removed.", field="run")

    def check_inside(self, path: Path) -> Path:
        """The path, if it leads to a place in the folders.

        Raises:
            Refusal: a link on the way leads out of them.
        """
        real = os.path.realpath(path)
        if not self._is_inside(real):
            raise Refusal(
                403,
                f"{path.name} is a link to a place outside the folders of the studio.",
                fix=f"ganvas studio with that folder too: {os.path.dirname(real)}",
            )
        return path

    def holds(self, run: Path) -> bool:
        """Whether what is read of a run lies in the folders, too."""
        places = (f"{run}{os.sep}{name}" for name in LINKABLE)
        return all(self._is_inside(os.path.realpath(place)) for place in places if os.path.islink(place))

    def is_uploaded(self, path: Path) -> bool:
        """Whether it lies where pages send files: those of this studio, or of one on another of the folders.

        A disk may take UPLOADS for uploads, and a path keeps what was typed: the folders are compared, not their names.
        """
        real = os.path.realpath(path) + os.sep
        if os.path.islink(self.uploads) and real.startswith(os.path.realpath(self.uploads) + os.sep):
            return True
        return any(_meets_uploads(start, real[len(start) :]) for start in self._starts if real.startswith(start))

    def _is_inside(self, real: str) -> bool:
        return (real + os.sep).startswith(self._starts)


def _meets_uploads(place: str, way: str) -> bool:
    """Whether a folder on the way from a place is the one for uploads beside it, by this name or by another."""
    for name in filter(None, way.split(os.sep)):
        uploads, place = os.path.join(place, UPLOADS), os.path.join(place, name)
        if name == UPLOADS:
            return True
        with suppress(OSError):  # there is no folder for uploads
            if os.path.samefile(uploads, place):
                return True
    return False


def _are_names(parts: Sequence[str]) -> bool:
    """Whether each part is the name of one file or folder, and none leads up."""
    return all(
        part not in ("", ".", "..")
        and not set(part) & set("\0" + os.sep + (os.altsep or ""))
        and len(part.encode(errors="surrogatepass")) <= MAX_NAME
        for part in parts
    )
