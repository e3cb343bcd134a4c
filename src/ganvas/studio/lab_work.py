"""What the worker of one lab does: plays the game of one page. Imports PyTorch."""

from collections.abc import Mapping
from typing import Any

import torch

from ganvas.errors import GanvasError
from ganvas.plane.play import Play

_games: list[Play] = []
"""That of this process, or none."""


def begin(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Begins a game, instead of the one that is played.

    Raises:
        GanvasError: as `Play`.
    """
    torch.set_num_threads(1)
    _games[:] = [Play(knobs)]
    return _show(_games[0], -1) | {"real": _games[0].reals()}


def play(knobs: Mapping[str, Any], rounds: int, probed: int) -> dict[str, Any]:
    """Plays on, by these knobs.

    Args:
        probed: how many probes the page has the diagnosis of; a newer one is sent.

    Raises:
        GanvasError: no game was begun, or as `Play.change`.
    """
    if not _games:
        raise GanvasError("This game has ended.", fix="reset it.")
    game, before = _games[0], _games[0].settings
    game.change(knobs)
    game.advance(rounds)
    other = (before["data"], before["points"]) != (game.settings["data"], game.settings["points"])
    return _show(game, probed) | ({"real": game.reals()} if other else {})


def _show(game: Play, probed: int) -> dict[str, Any]:
    frame = game.frame()
    return frame if frame["probed"] == probed else frame | {"diagnosis": game.describe_diagnosis()}
