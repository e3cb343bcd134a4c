"""What a tracker is, and what it is told of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from ganvas.diagnosis.severity import Severity

State = Literal["complete", "interrupted", "failed", "unfinished"]
"""How a run stands at the end of a session, as its last event says."""

PROJECT = "ganvas"
"""The project or experiment of all runs, unless the tracker's own variable in the environment says otherwise."""


class Facts(NamedTuple):
    """What is known of a run at its start.

    Attributes:
        path: its folder.
        config: every knob by its name, and `recipe`, `data_name`, `data_images` …
        table: the same as a table in Markdown.
    """

    path: Path
    config: dict[str, Any]
    table: str


class Opened(NamedTuple):
    """A tracker's run.

    Attributes:
        id: by which it is continued.
        where: where it is, for the user.
        look: the command that shows it, or brings it online.
    """

    id: str
    where: str
    look: str


@dataclass(frozen=True)
class Note:
    """A finding, a decision or another event of a run, as text.

    Attributes:
        nimg: images shown to D.
        kind: diagnosis, rollback, resume …
        severity: that of a finding, or how grave the event is.
        title: in a few words.
        text: in Markdown.
    """

    nimg: int
    kind: str
    severity: Severity
    title: str
    text: str


class Tracker(Protocol):
    """Writes to one tracker. Steps are images shown to D; they only rise, except for notes.

    Any exception is a failure: the tracker gets nothing more in this session.

    Attributes:
        rewinds: whether `open` removes what was logged after `after`: lines that a killed session wrote after its last
            saved state. Else those are not logged again; on the CPU they are the same.
    """

    rewinds: bool

    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        """Begins a run, or continues the one with this id, after so many images (-1: from the start)."""
        ...

    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        """The numbers of a line of stats.jsonl, by its names; `time` in seconds since 1970."""

    def log_image(self, nimg: int, name: str, file: Path, time: float) -> None:
        """A PNG file: a grid of samples ("fakes"), or of training images ("reals")."""

    def log_notes(self, new: Sequence[Note], every: Sequence[Note]) -> None:
        """New notes, by their `nimg`; and all that the run has."""

    def log_evaluation(self, nimg: int, numbers: Mapping[str, float], table: str, time: float) -> None:
        """The values of an evaluation ("evaluation/frechet" …), and a table in Markdown."""

    def save(self) -> None:
        """Returns when everything so far is written."""

    def close(self, state: State) -> None:
        """The end of the session."""
