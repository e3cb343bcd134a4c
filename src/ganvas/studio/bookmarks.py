"""Bookmarks of views: bookmarks.json among what is kept of a generator."""

import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.files import make_folder, write_json
from ganvas.reading import describe_reason, parse_json, read_bytes
from ganvas.studio.answers import Refusal
from ganvas.studio.views import FORMS

FILE = "bookmarks.json"
MAX_BOOKMARKS, MAX_NAME, MAX_BYTES = 200, 80, 2**21

_lock = threading.Lock()


def read(folder: Path) -> list[dict[str, Any]]:
    """The bookmarks of a generator, the oldest first: id, name, snapshot, view, made.

    Raises:
        GanvasError: the file is damaged: it is not written over.
    """
    try:
        found = parse_json(read_bytes(folder / FILE, MAX_BYTES))
        if not isinstance(found, list) or not all(map(_is_bookmark, found)):
            raise ValueError("it has other values")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise GanvasError(
            f"{folder / FILE} cannot be used: {describe_reason(error)}.",
            expected="bookmarks as the studio writes them",
            fix="move the file away, and begin with none.",
        ) from error
    return found


def add(folder: Path, name: str, snapshot: str, view: Mapping[str, str]) -> dict[str, Any]:
    """Keeps a view.

    Raises:
        Refusal: there are MAX_BOOKMARKS, or the name is too long.
        GanvasError: the file cannot be written.
    """
    if not name.strip() or len(name) > MAX_NAME:
        raise Refusal(400, "A bookmark needs a name.", expected=f"1 to {MAX_NAME} characters", field="name")
    made = {
        "id": secrets.token_hex(6), "name": name.strip(), "snapshot": snapshot, "view": dict(view), "made": time.time()
    }  # fmt: skip
    with _lock:
        kept = read(folder)
        if len(kept) >= MAX_BOOKMARKS:
            raise Refusal(409, f"There are {MAX_BOOKMARKS} bookmarks already.", fix="remove some.")
        _write(folder, [*kept, made])
    return made


def remove(folder: Path, name: str) -> None:
    """Forgets the bookmark of that id.

    Raises:
        Refusal: there is none.
    """
    with _lock:
        kept = read(folder)
        left = [one for one in kept if one["id"] != name]
        if len(left) == len(kept):
            raise Refusal(404, "There is no such bookmark any more.", field="bookmark")
        _write(folder, left)


def _write(folder: Path, bookmarks: list[dict[str, Any]]) -> None:
    make_folder(folder)
    write_json(folder / FILE, bookmarks)


def _is_bookmark(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in ("id", "name", "snapshot"))
        and isinstance(one.get("view"), dict)
        and all(name in FORMS and isinstance(value, str) for name, value in one["view"].items())
    )
