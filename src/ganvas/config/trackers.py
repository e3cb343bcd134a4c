"""The names of trackers (--log-to): ours, and specs of the user's own."""

import re
from typing import Literal, get_args

from ganvas import user_code

TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]


def parse_trackers(text: str, name: str = "--log-to") -> tuple[str, ...]:
    """The trackers of a text such as "tensorboard,wandb", each once.

    Args:
        text: names with commas between them; a comma in the arguments of a spec is none of these.
        name: of the argument, for an error.

    Raises:
        GanvasError: one of them is unknown, or there is none.
    """
    found = [part.strip() for part in re.split(r",(?![^()]*\))", text)]
    for tracker in found:
        if user_code.is_spec(tracker):
            user_code.parse(tracker)
        elif tracker not in get_args(TrackerName):
            raise user_code.unknown(f"{name} is {text!r}.", tracker, get_args(TrackerName))
    return tuple(dict.fromkeys(found))
