"""What a run's folder keeps of each tracker, trackers/NAME.json: by it a resumed run continues the same tracker run."""

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ganvas.errors import GanvasError
from ganvas.files import explain_os_error, make_folder, write_json
from ganvas.reading import check_fields, describe_reason, is_count, is_text, read_json
from ganvas.runs.listeners import END_SECONDS

WAIT_SECONDS = END_SECONDS + 5.0
"""Seconds to wait for the process of an earlier session, which may write the rest for END_SECONDS."""


@dataclass
class Record:
    """How far a run is logged to a tracker.

    Attributes:
        tracker: its name, or a spec.
        id: of the tracker's run; empty before it is opened.
        where, look: see `ganvas.trackers.tracker.Opened`.
        nimg, grid: images shown at the last line of stats.jsonl and the last grid; -1 before the first.
        reals: whether the grid of training images is logged.
        events, evaluations: lines of events.jsonl and of metrics.jsonl.
    """

    tracker: str
    id: str = ""
    where: str = ""
    look: str = ""
    nimg: int = -1
    grid: int = -1
    reals: bool = False
    events: int = 0
    evaluations: int = 0


def _file(run: Path, tracker: str) -> Path:
    return run / "trackers" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', tracker).strip('.-')[:100] or 'own'}.json"


def read_record(run: Path, tracker: str) -> Record:
    """The record of a run's tracker; a new one if there is none.

    Raises:
        GanvasError: the file is damaged.
    """
    file = _file(run, tracker)
    if not file.exists():
        return Record(tracker)
    counts = dict.fromkeys(("events", "evaluations"), is_count)
    last = dict.fromkeys(("nimg", "grid"), lambda value: value == -1 or is_count(value))
    texts = dict.fromkeys(("tracker", "id", "where", "look"), is_text)
    try:
        found = read_json(file)
        check_fields(found, {**counts, **last, **texts, "reals": lambda value: isinstance(value, bool)})
        return Record(**{field.name: found[field.name] for field in dataclasses.fields(Record)})
    except (OSError, ValueError) as error:
        raise GanvasError(
            f"{file} is damaged ({describe_reason(error)}).",
            expected="how far the run is logged",
            fix=f"remove it; ganvas log {run} --to {tracker} then writes all of it anew.",
        ) from error


def write_record(run: Path, record: Record) -> None:
    """Writes a record, atomically.

    Raises:
        GanvasError: the disk is full, or the folder cannot be written.
    """
    file = _file(run, record.tracker)
    make_folder(file.parent)
    write_json(file, dataclasses.asdict(record))


@contextmanager
def locked(run: Path, tracker: str) -> Iterator[None]:
    """Lets one process at a time log a run to a tracker, within the block.

    Raises:
        GanvasError: another process is doing so.
    """
    file = _file(run, tracker).with_suffix(".lock")
    make_folder(file.parent)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise GanvasError(f"Another process is logging {run} to {tracker} right now.", fix="wait for it.") from None
    except OSError as error:
        raise explain_os_error(error, file) from error
    try:
        yield
    finally:
        lock.release()
