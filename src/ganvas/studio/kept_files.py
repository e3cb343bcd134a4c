"""Small JSON files that the studio keeps beside a generator, and that a user may have damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.files import make_folder, write_json
from ganvas.reading import describe_reason, parse_json, read_bytes


def read_kept(file: Path, what: str, most: int, is_right: Callable[[Any], bool]) -> Any:
    """What a file has; None where there is no such file.

    Args:
        what: is in it, in words.
        most: bytes.

    Raises:
        GanvasError: it is damaged: it is not written over.
    """
    try:
        found = parse_json(read_bytes(file, most))
        if not is_right(found):
            raise ValueError("it has other values")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GanvasError(
            f"{file} cannot be used: {describe_reason(error)}.",
            expected=f"{what} as the studio writes them",
            fix="move the file away, and begin with none.",
        ) from error
    return found


def write_kept(file: Path, value: Any) -> None:
    """Writes it, and makes its folder.

    Raises:
        GanvasError: it cannot be written.
    """
    make_folder(file.parent)
    write_json(file, value)
