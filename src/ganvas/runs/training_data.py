"""The data that a generator was trained on: of its run, or the built-in set that its card names."""

from pathlib import Path
from typing import Any

from ganvas.data import DataOptions, open_images
from ganvas.data.digits import NAMES
from ganvas.runs.card import is_from_others, is_run
from ganvas.runs.folder import Run


def find_run(snapshot: Path) -> Run | None:
    """The run that a snapshot folder belongs to, also seen from inside that run or by a link; None if it is in none."""
    if is_from_others(snapshot):
        return None
    folders = (place.parent.parent for place in (snapshot, snapshot.resolve()))
    return next((Run(folder) for folder in folders if is_run(folder)), None)


def find_data(snapshot: Path, data: dict[str, Any], shape: tuple[int, ...]) -> DataOptions | None:
    """How to open the training data; None where nothing on this machine says it.

    Args:
        snapshot: the generator.
        data: name and fingerprint of its data, from its card.
        shape: of its images, (c, h, w).

    Raises:
        GanvasError: the run's configuration cannot be read.
    """
    run = find_run(snapshot)
    if run is not None:
        return run.config.dataset.options()
    if data["name"] not in NAMES:
        return None
    channels, height, width = shape
    options = DataOptions(data["name"], "train", f"{height}x{width}", channels)  # type: ignore[arg-type]
    same = open_images(options, progress=False).fingerprint == data["fingerprint"]  # others may have used the name
    return options if same else None
