"""A snapshot's card.json in plain values, read without PyTorch."""

import json
import math
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.runs.formats import check_format

FORMAT = 2
"""The format of a snapshot folder."""


def read_card(snapshot: Path) -> dict[str, Any]:
    """The content of a snapshot's card.json (`ganvas.runs.snapshot.Card`).

    Raises:
        GanvasError: it is missing, damaged, or of another format.
    """
    file = snapshot / "card.json"
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        check_format("snapshot", snapshot, int(card["format"]), FORMAT)
        quality = card["quality"]
        if not isinstance(card["nimg"], int) or not (quality is None or math.isfinite(quality["value"])):
            raise ValueError("nimg or quality is no number")
        return card
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(file, error) from error


def check_weights(snapshot: Path) -> None:
    """Refuses a snapshot whose G.safetensors is missing or cut off; only its header is read.

    Raises:
        GanvasError: it cannot be used.
    """
    file = snapshot / "G.safetensors"
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(length, file.stat().st_size)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if 8 + length + max(ends, default=0) != file.stat().st_size:
            raise ValueError("it is cut off")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(file, error) from error


def _unusable(file: Path, error: Exception) -> GanvasError:
    reason = error.strerror if isinstance(error, OSError) else f"no {error}" if isinstance(error, KeyError) else error
    return GanvasError(
        f"{file} is damaged ({reason or error}): not a usable snapshot.",
        expected="a folder with G.safetensors and card.json, as ganvas train writes them",
        fix="remove that snapshot's folder, or name another one of the run.",
    )
