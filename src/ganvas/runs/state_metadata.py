"""The metadata in the header of a state file, which are read without PyTorch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from ganvas.errors import GanvasError
from ganvas.runs.formats import check_format

FORMAT = 2
"""The format of a state file: 1 had factors of learning rates where 2 has changes of the configuration."""


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata that `checkpoint.save` wrote, without reading the tensors.

    Raises:
        GanvasError: the file is damaged, or not there.
    """
    with open_state(path, "numpy") as file:
        return parse_metadata(file, path)


def parse_metadata(file: Any, path: Path) -> dict[str, Any]:
    """The metadata of an open state file.

    Raises:
        GanvasError: another version of Ganvas wrote it.
    """
    metadata = json.loads(file.metadata()["metadata"])
    check_format("state", path, metadata.pop("format", 1), FORMAT)
    return metadata


@contextmanager
def open_state(path: Path, framework: Literal["numpy", "pt"]) -> Iterator[Any]:
    """Opens a state file, whose tensors are read as arrays of the framework.

    Raises:
        GanvasError: the file is damaged or missing; also when the block finds that.
    """
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise GanvasError(
            f"The saved state {path} cannot be read ({error}).",
            expected="a state file written by ganvas train",
            fix="start a new run with another --name; the snapshots of this run can still be sampled.",
        ) from error
