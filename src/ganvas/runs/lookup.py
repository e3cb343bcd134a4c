"""Where a generator is: here, in the package (pretrained:NAME), on the hub (hf:owner/name), or on the web (https:…)."""

from pathlib import Path

from ganvas.errors import GanvasError
from ganvas.runs import hub, pretrained, web_file

FORMS = f"{pretrained.PREFIX}NAME, hf:owner/name@revision, or {web_file.FORM}"
"""The names of generators that are not paths."""


def find_local(path: Path) -> Path:
    """The folder or the file of a generator; a name of one elsewhere becomes that of its copy on this machine.

    Raises:
        GanvasError: it is a wrong name, or cannot be had; see `pretrained`, `hub` and `web_file`.
    """
    for kind in (pretrained, hub, web_file):
        if kind.is_name(path):
            return kind.find_local(path)
    return path


def names_generator(path: Path) -> bool:
    """Whether a path is the name of a generator elsewhere; hf:owner/name without a revision may be a data set too."""
    return pretrained.is_name(path) or web_file.is_name(path) or hub.has_revision(path)


def check_no_generator(name: str, fix: str) -> None:
    """Refuses the name of a generator elsewhere where a training is needed.

    Raises:
        GanvasError: it is one, or is meant as one.
    """
    path = Path(name)
    if not names_generator(path):
        return
    if pretrained.is_name(path):
        pretrained.find_local(path)
    raise GanvasError(f"{name} is a generator without its training.", expected="the folder of a run", fix=fix)
