"""The facts in the header of a state file, which are read without PyTorch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from ganvas.errors import GanvasError


def facts(path: Path) -> dict[str, Any]:
    """The facts that `checkpoint.save` wrote, without reading the tensors.

    Raises:
        GanvasError: the file is damaged, or not there.
    """
    with open_state(path, "numpy") as file:
        return parse_metadata(file)


def parse_metadata(file: Any) -> dict[str, Any]:
    """The facts of an open state file."""
    return json.loads(file.metadata()["facts"])


@contextmanager
def open_state(path: Path, framework: Literal["numpy", "pt"]) -> Iterator[Any]:
    """A state file, whose tensors are read as arrays of the framework.

    Raises:
        GanvasError: the file is damaged, or not there; also if what the block reads in it is.
    """
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise GanvasError(
            f"The saved state {path} cannot be read ({error}).",
            expected="a state file written by ganvas train",
            fix="train anew with --new; the snapshots of this run can still be sampled.",
        ) from error
