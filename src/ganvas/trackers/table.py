"""The table of trackers: for each the module that writes to it, and the package that this needs."""

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from ganvas import user_code
from ganvas.config.trackers import TrackerName
from ganvas.errors import GanvasError, describe_value
from ganvas.trackers.tracker import Tracker


class Row(NamedTuple):
    """A tracker.

    Attributes:
        module: in this package; its class is `Log`.
        package: that must be installed; its extra has the same name.
    """

    module: str
    package: str


TRACKERS: dict[TrackerName, Row] = {
    "tensorboard": Row("tensorboard_log", "tensorboard"),
    "wandb": Row("wandb_log", "wandb"),
    "trackio": Row("trackio_log", "trackio"),
    "mlflow": Row("mlflow_log", "mlflow"),
}

_METHODS = ("open", "log_numbers", "log_image", "log_notes", "log_evaluation", "save", "close")


def check_installed(name: str) -> None:
    """Refuses a tracker whose package is missing; one of the user's own is looked at later.

    Raises:
        GanvasError: it is not installed.
    """
    row = TRACKERS.get(name)  # type: ignore[call-overload]
    if row is not None and find_spec(row.package) is None:
        raise GanvasError(
            f"The package {row.package} is not installed.", fix=f"pip install 'ganvas[{name}]' installs it."
        )


def make_tracker(name: str) -> Tracker:
    """A tracker by its name, or by a spec of the user's own.

    Raises:
        GanvasError: its package is missing, or it is no tracker.
    """
    check_installed(name)
    if not user_code.is_spec(name):
        return import_module(f"ganvas.trackers.{TRACKERS[name].module}").Log()  # type: ignore[index]
    made = user_code.call(name, user_code.load(name), expected="a class of a tracker, called without arguments")
    if missing := [method for method in (*_METHODS, "rewinds") if not hasattr(made, method)]:
        raise GanvasError(
            f"{name} is {describe_value(made)}, without {', '.join(missing)}.",
            expected="what `ganvas.trackers.tracker.Tracker` has",
        )
    return made
