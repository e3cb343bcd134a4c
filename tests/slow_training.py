"""Trains a configuration slowly, for tests that interrupt or kill: python slowly.py CONFIG_JSON NAME [A_LAYER].

A_LAYER: seconds added to each forward pass of each layer of D; then it is not quiet.
"""

import json
import sys
import time
from typing import Any

from ganvas.config import TrainConfig, from_json
from ganvas.training import start
from ganvas.training.state import TrainState

ROUND_SECONDS = 0.003
"""Seconds added to each round."""


def train(config: str, name: str) -> None:
    one_round = TrainState.train_round

    def slow(*arguments: Any) -> Any:
        time.sleep(ROUND_SECONDS)
        return one_round(*arguments)

    TrainState.train_round = slow  # type: ignore[method-assign]
    start.train(from_json(TrainConfig, json.loads(config)), name=name, quiet=True)


def train_by_slow_layers(config: str, name: str, a_layer: float) -> None:
    seat = TrainState.build

    def seated(*arguments: Any) -> TrainState:
        players = seat(*arguments)
        for module in players.game.D.modules():
            module.register_forward_hook(lambda *_: time.sleep(a_layer))
        return players

    TrainState.build = seated  # type: ignore[method-assign]
    start.measure_speed = lambda *_: 1.0
    start.train(from_json(TrainConfig, json.loads(config)), name=name)


if __name__ == "__main__":
    try:
        if len(sys.argv) > 3:
            train_by_slow_layers(sys.argv[1], sys.argv[2], float(sys.argv[3]))
        else:
            train(sys.argv[1], sys.argv[2])
    except KeyboardInterrupt as interrupt:
        print(interrupt, file=sys.stderr)
        sys.exit(130)
