"""The metadata in the header of a state file, which are read without PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from ganvas.errors import GanvasError
from ganvas.reading import (
    Fields,
    check_fields,
    check_regular,
    describe_reason,
    is_count,
    is_number,
    is_object,
    is_text,
    parse_json,
)
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


def saved_kimg(run: Path) -> float | None:
    """How far the state is from which a run is resumed; None if there is none that can be read."""
    try:
        return read_metadata(run / "state" / "latest.safetensors")["nimg"] / 1000
    except GanvasError:
        return None


def parse_metadata(file: Any, path: Path) -> dict[str, Any]:
    """The metadata of an open state file.

    Raises:
        GanvasError: another version of Ganvas wrote it.
        KeyError, ValueError: it is damaged.
    """
    metadata = parse_json((file.metadata() or {})["metadata"])
    check_fields(metadata, {"nimg": is_count})
    check_format("state", path, metadata.pop("format", 1), FORMAT)
    check_d_networks(metadata.get("d_networks"))
    if "distance" in metadata:  # kept for --on-failure rollback
        check_fields(metadata, {"distance": is_number})
        return metadata
    check_fields(metadata, {"seconds": is_number, "recovery": is_object})
    check_fields(metadata["recovery"], _RECOVERY, "'recovery'")
    if "ema_warmup" in metadata:  # not in those of earlier versions
        check_fields(metadata, {"ema_warmup": _is_duration})
    if "plan" in metadata:
        check_fields(metadata["plan"], _PLANNER, "'plan'")
        check_fields(metadata["plan"]["plan"], _PLAN, "'plan'")
        if metadata["plan"]["plan"]["nimg"] > metadata["nimg"]:
            raise ValueError("it was planned after it was saved")
    return metadata


def check_d_networks(networks: Any) -> None:
    """Checks the frozen networks that a state or a card names: [{"network": its name or spec, "weights": digest}, …].

    None is of an older version; so is a digest that is None, of the networks of such an origin.

    Raises:
        ValueError: they are something else.
    """
    if networks is None:
        return
    if not isinstance(networks, list):
        raise ValueError("'d_networks' is no list")
    for network in networks:
        check_fields(network, _D_NETWORK, "an entry of 'd_networks'")


def _is_duration(value: Any) -> bool:
    return is_number(value) and value >= 0


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


_D_NETWORK: Fields = {"network": is_text, "weights": lambda value: value is None or is_text(value)}
_RECOVERY: Fields = {"done": is_count, "since": is_number, "best": is_number, "changes": is_object}
_PLAN: Fields = {"total": is_count, "nimg": is_count, "fraction": lambda value: is_number(value) and 0 <= value <= 1}
_PLANNER: Fields = {
    "plan": is_object, "elapsed": _is_duration, "images": _is_positive, "seconds": _is_positive,
    "marked_nimg": is_count, "pending": is_number, "tick": _is_positive, "snapshot": _is_positive,
    "saves": lambda pair: isinstance(pair, list) and len(pair) == 2 and _is_duration(pair[0]) and is_count(pair[1]),
}  # fmt: skip


@contextmanager
def open_state(path: Path, framework: Literal["numpy", "pt"]) -> Iterator[Any]:
    """Opens a state file, whose tensors are read as arrays of the framework.

    Raises:
        GanvasError: the file is damaged or missing; also when the block finds that.
    """
    try:
        check_regular(path)
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise GanvasError(
            f"The saved state {path} is damaged ({describe_reason(error)}): the run cannot be resumed.",
            expected="a state file written by ganvas train",
            fix="start a new run with --new; the snapshots of this run can still be used.",
        ) from error
