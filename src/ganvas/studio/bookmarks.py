"""Bookmarks of views: bookmarks.json among what is kept of a generator."""

import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganvas.studio.answers import Refusal
from ganvas.studio.kept_files import read_kept, write_kept
from ganvas.studio.views import FORMS

FILE = "bookmarks.json"
MAX_BOOKMARKS, MAX_NAME, MAX_BYTES = 200, 80, 2**21

_lock = threading.Lock()


def read(folder: Path) -> list[dict[str, Any]]:
    """The bookmarks of a generator, in their order: id, name, snapshot, view, made.

    Raises:
        GanvasError: the file is damaged: it is not written over.
    """
    return read_kept(folder / FILE, "bookmarks", MAX_BYTES, _are_bookmarks) or []


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
        write_kept(folder / FILE, [*kept, made])
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
        write_kept(folder / FILE, left)


def place(folder: Path, name: str, before: str) -> list[dict[str, Any]]:
    """Puts the bookmark of an id before that of another, or last where `before` is empty; returns all, as they are now.

    Raises:
        Refusal: there is none of one of these ids.
        GanvasError: the file cannot be written.
    """
    with _lock:
        kept = {one["id"]: one for one in read(folder)}
        if name not in kept or (before and before not in kept):
            raise Refusal(404, "There is no such bookmark any more.", field="bookmark")
        if before == name:
            return list(kept.values())
        moved = kept.pop(name)
        ordered = list(kept.values())
        ordered.insert(list(kept).index(before) if before else len(kept), moved)
        write_kept(folder / FILE, ordered)
        return ordered


def _are_bookmarks(found: Any) -> bool:
    return isinstance(found, list) and all(map(_is_bookmark, found))


def _is_bookmark(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in ("id", "name", "snapshot"))
        and isinstance(one.get("view"), dict)
        and all(name in FORMS and isinstance(value, str) for name, value in one["view"].items())
    )
