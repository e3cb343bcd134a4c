"""Format numbers of what a run writes: only the present format is read."""

from pathlib import Path

from ganvas.errors import GanvasError


def check_format(kind: str, path: Path, found: int, expected: int) -> None:
    """Refuses a run or a snapshot of another format.

    Raises:
        GanvasError: `found` is not `expected`.
    """
    if found == expected:
        return
    version, fix = ("an older", "train it again.") if found < expected else ("a later", "upgrade Ganvas.")
    raise GanvasError(
        f"{path} was written by {version} version of Ganvas, in {kind} format {found}.",
        expected=f"{kind} format {expected}",
        fix=fix,
    )
