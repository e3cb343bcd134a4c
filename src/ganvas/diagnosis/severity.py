"""How severe a finding is; without imports, for what reads only the events of a run."""

from typing import Literal, get_args

Severity = Literal["failure", "warning", "note"]
"""A failure does not pass by itself; a warning may; a note is no fault."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The most severe first."""
