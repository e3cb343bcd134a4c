"""The exception for users: what happened, what was expected, the fix."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_SHOWN = 60
"""Most characters of a value in a message."""


class GanvasError(Exception):
    """A user's mistake, or a problem of the environment such as a full disk, with the fix.

    The command line (`ganvas.cli`) prints it without a traceback and exits with status 1. Bugs of Ganvas raise
    other exceptions.

    Args:
        what: what happened, with the name of the file or knob concerned.
        expected: what would have been right.
        fix: what to do about it.
    """

    def __init__(self, what: str, *, expected: str = "", fix: str = "") -> None:
        self.what, self.expected, self.fix = what, expected, fix
        lines = [what, expected and f"Expected: {expected}", fix and f"Fix: {fix}"]
        super().__init__("\n".join(line for line in lines if line))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A fix for a misspelt name: the nearest known one. Empty where none is near."""
    names = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.72)
    return f"did you mean '{names[near[0]]}'?" if near else ""


def describe_value(value: object) -> str:
    """A value in a message: as Python writes it, or its type if that is long."""
    shape = getattr(value, "shape", None)
    kind = f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"
    try:
        text = "an array" if shape else repr(value)
    except ValueError:  # Python does not write whole numbers of more than 4,300 digits
        return f"{kind} of very many digits"
    return f"{text} {list(shape)}" if shape else text if len(text) <= MAX_SHOWN and "\n" not in text else kind
