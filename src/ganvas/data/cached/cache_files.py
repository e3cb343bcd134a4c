"""Where the cache is, and what concerns any file in it; without NumPy, so that helps are printed at once."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from ganvas.values import expand_user

GENERATORS = "generators"
"""The folder in the cache, with a folder for each generator of the hub and commit (`ganvas.runs.hub`), and a file for
each of the web (`ganvas.runs.web_file`)."""


def root() -> Path:
    """The cache folder: $GANVAS_CACHE, or the platform's usual place."""
    if chosen := os.environ.get("GANVAS_CACHE"):
        return expand_user(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ganvas"


def mark_used(path: Path) -> None:
    """Records that a file of the cache is used now; a cache that cannot be written stays as it is."""
    with contextlib.suppress(OSError):
        os.utime(path)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
