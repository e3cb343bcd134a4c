"""Names that a user gives to directions, such as "slant" for pca:2: a file among what is kept of a generator."""

import threading
from pathlib import Path

from ganvas.latent_space.axis_names import as_direction
from ganvas.studio.answers import Refusal
from ganvas.studio.kept_files import read_kept, write_kept

FILE = "directions.json"
MAX_NAME, MAX_NAMES, MAX_BYTES = 40, 1000, 2**20

_lock = threading.Lock()


def read(folder: Path) -> dict[str, str]:
    """{direction: its name}.

    Raises:
        GanvasError: the file is damaged: it is not written over.
    """
    return read_kept(folder / FILE, "names of directions", MAX_BYTES, _are_names) or {}


def rename(folder: Path, direction: str, name: str) -> dict[str, str]:
    """All names, after one was given to a direction; an empty one takes it away.

    Raises:
        Refusal: it is no direction, the name is too long, or there are too many.
        GanvasError: as `read`, or the file cannot be written.
    """
    name, found = name.strip(), as_direction(direction)
    if found is None:
        raise Refusal(400, f"{direction[:40]!r} is no direction.", expected="pca:0, sefa:3 …", field="direction")
    direction = f"{found[0]}:{found[1]}"
    if name and not _is_name(direction, name):
        raise Refusal(400, "The name is too long.", expected=f"at most {MAX_NAME} characters", field="name")
    with _lock:
        names = read(folder)
        names.pop(direction, None)
        if name:
            names[direction] = name
        if len(names) > MAX_NAMES:
            raise Refusal(409, f"There are {MAX_NAMES} names already.", fix="remove some.")
        write_kept(folder / FILE, names)
    return names


def _are_names(found: object) -> bool:
    return isinstance(found, dict) and all(_is_name(*pair) for pair in found.items())


def _is_name(direction: object, name: object) -> bool:
    return (
        isinstance(direction, str)
        and as_direction(direction) is not None
        and isinstance(name, str)
        and 0 < len(name) <= MAX_NAME
    )
