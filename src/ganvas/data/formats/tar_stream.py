"""Reads the members of a tar one after the other, packed or not; nothing is unpacked to the disk."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from ganvas.data.formats.archive import is_bomb
from ganvas.data.source_types import refuse_failing_disk
from ganvas.errors import GanvasError

_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
_DRAINED = 2**20  # bytes read at a time after the last member


@dataclass(frozen=True)
class Member:
    """A regular file in a tar. It can be read until the next one is asked for."""

    name: str
    size: int
    _path: Path
    _file: IO[bytes]

    def read(self, count: int = -1) -> bytes:
        """The next bytes; raises GanvasError if the tar is damaged."""
        with _report_damage(self._path):
            return self._file.read(count)


def read_members(path: Path) -> Generator[Member, None, None]:
    """Yields the regular files; at the end the checksum of the packed stream is verified, which tarfile leaves out.

    Raises:
        GanvasError: the tar is damaged, or a decompression bomb.
    """
    packed = path.stat().st_size
    with _report_damage(path), closing(_open_unpacked(path)) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                _refuse_bomb(path, packed, member.offset_data + member.size)
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield Member(member.name, member.size, path, file)
        while stream.read(_DRAINED):
            _refuse_bomb(path, packed, stream.tell())


def _open_unpacked(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        head = file.read(6)
    opener = next((opener for magic, opener in _OPENERS if head.startswith(magic)), open)
    return cast(BinaryIO, opener(path, "rb"))


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        refuse_failing_disk(str(path), error)
        reason = str(error).rstrip(".")
        raise GanvasError(
            f"{path} is damaged: {reason}.", expected="a complete tar", fix="download it again."
        ) from error


def _refuse_bomb(path: Path, packed: int, unpacked: int) -> None:
    if is_bomb(packed, unpacked):
        raise GanvasError(
            f"{path} is a decompression bomb: it unpacks to over {unpacked / 2**30:.1f} GiB.",
            expected="at most 200 times its packed size",
            fix="do not use this file.",
        )
