"""config.json of a run in plain values, checked where it is read."""

from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.reading import (
    Fields,
    check_fields,
    describe_reason,
    is_count,
    is_number,
    is_object,
    is_text,
    is_texts,
    near_paths,
    read_json,
)
from ganvas.runs.card import SHAPE, check_sources, is_hub_folder
from ganvas.runs.formats import check_format

FORMAT = 2
"""The format of a run folder: config.json, stats.jsonl, events.jsonl and the saved state."""

_RUN: Fields = {"recipe": is_text, "config": is_object, "data": is_object}
_DATA: Fields = {
    "name": is_text,
    "fingerprint": is_text,
    "images": is_count,
    "shape": is_object,
    "class_names": is_texts,
}


def read_metadata(run: Path) -> dict[str, Any]:
    """config.json: format, recipe, config, data, versions, threads, device; with own code sources and critic.

    Raises:
        GanvasError: this is not a run folder, or one of another format, or the file is damaged.
    """
    file = run / "config.json"
    if is_hub_folder(run):
        raise GanvasError(
            f"{run} is a generator for the Hugging Face hub, not a run: its training is not in it.",
            expected="a run folder, as ganvas train writes it",
            fix="use it with sample, evaluate, project, directions, export or train --from.",
        )
    try:
        metadata = read_json(file)
        check_fields(metadata, {"format": is_count})
        check_format("run", run, metadata["format"], FORMAT)
        check_fields(metadata, _RUN)
        check_fields(metadata["data"], _DATA, "'data'")
        check_fields(metadata["data"]["shape"], SHAPE, "'shape'")
        check_sources(metadata.get("sources", {}))
        if (lineage := metadata.get("lineage")) is not None:
            check_fields(lineage, {"from": is_text, "kimg": is_number}, "'lineage'")
        threads = metadata.get("threads")
        if threads is not None and not (is_count(threads) and 1 <= threads <= 1024):
            raise ValueError("'threads' is no number of threads")
        return metadata
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        snapshots = run / "snapshots"
        usable = not missing and snapshots.is_dir() and next(snapshots.glob("*/card.json"), None) is not None
        if not run.exists() and (near := near_paths(run)):
            raise GanvasError(f"{run} does not exist.", expected="the folder of a run", fix=near) from error
        raise GanvasError(
            f"{run} is not a run folder (no config.json)."
            if missing
            else f"{file} is damaged ({describe_reason(error)}).",
            expected="a folder with a config.json, as ganvas train writes it",
            fix=f"its snapshots can be used, by their own folders in {snapshots}; ganvas train trains another run."
            if usable
            else "ganvas runs lists the runs; ganvas train trains one.",
        ) from error
