"""Generators on the web: https://…/NAME.safetensors#sha256=DIGEST is a file in the cache, downloaded once.

One .safetensors file with its card inside, as tools/pretrain.py writes it; nothing in it is executed. The digest is
what the user names, so that neither a server nor a network can put another file in its place.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from filelock import FileLock

from ganvas.data.cached import cache_files
from ganvas.data.downloads import fetch_by_digest
from ganvas.errors import GanvasError
from ganvas.files import clean_leftovers, make_folder
from ganvas.runs.card import read_card, read_weight_shapes

FORM = "https://…/NAME.safetensors#sha256=DIGEST"

MAX_BYTES = 2**30
"""Most bytes of such a file."""

_NAME = re.compile(r"(?P<scheme>https?):/+(?P<rest>[^#]*)(?:#(?P<fragment>.*))?", re.IGNORECASE | re.DOTALL)
_FRAGMENT = re.compile(r"sha256=([0-9a-f]{64})", re.IGNORECASE)


class Address(NamedTuple):
    """The address of a file, and its SHA-256."""

    url: str
    sha256: str


def is_name(path: Path) -> bool:
    """Whether a path is an address, right or wrong."""
    return _NAME.fullmatch(str(path)) is not None and not os.path.exists(path)


def parse_name(path: Path) -> Address:
    """The address and the digest; a path has one slash where the address had two.

    Raises:
        GanvasError: it is no address of a file, or has no digest.
    """
    match = _NAME.fullmatch(str(path))
    url = "" if match is None else f"{match['scheme'].lower()}://{match['rest']}"
    if match is None or not _is_address(url):
        raise GanvasError(f"'{path}' is no address of a generator.", expected=FORM)
    digest = _FRAGMENT.fullmatch(match["fragment"] or "")
    if digest is None:
        raise GanvasError(
            f"{url} has no SHA-256 of 64 hexadecimal digits{'' if match['fragment'] is None else ' after its #'}.",
            expected=f"{FORM}: only a file that has this digest is used",
            fix="ask whoever offers the file for its digest, or download it, look it over (sha256sum FILE) and name "
            "the file.",
        )
    return Address(url, digest[1].lower())


def find_local(path: Path) -> Path:
    """The file in the cache, downloaded if it is not there.

    Raises:
        GanvasError: it is no address, cannot be downloaded, is not what the digest says, or no generator of Ganvas.
    """
    url, sha256 = parse_name(path)
    root = cache_files.root() / cache_files.GENERATORS
    make_folder(root)
    file = root / f"{sha256}.safetensors"
    with FileLock(root / ".lock"):
        clean_leftovers(root)
        if not file.is_file() or cache_files.hash_file(file) != sha256:
            fetch_by_digest(url, sha256, file, most=MAX_BYTES)
    read_card(file)
    read_weight_shapes(file)
    return file


def _is_address(url: str) -> bool:
    """Whether an address has a host, and a file that ends in .safetensors."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.path.endswith(".safetensors") and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        return False
