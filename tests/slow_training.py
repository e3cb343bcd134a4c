"""Trains a configuration slowly, for tests that interrupt or kill.

Usage: python slow_training.py CONFIG_JSON NAME [LAYER_SECONDS]

LAYER_SECONDS: seconds added to each forward pass of each layer of D instead; the training then logs to stderr.
"""

import json
import sys
import time
from typing import Any

from ganvas.config import TrainConfig, from_json
from ganvas.training import start
from ganvas.training.loop import Session
from ganvas.training.state import TrainState

ROUND_SECONDS = 0.003
"""Seconds added to each round, without LAYER_SECONDS."""


def train(config: str, name: str) -> None:
    train_round = TrainState.train_round

    def train_slowly(*arguments: Any) -> Any:
        time.sleep(ROUND_SECONDS)
        return train_round(*arguments)

    TrainState.train_round = train_slowly  # type: ignore[method-assign]
    start.train(from_json(TrainConfig, json.loads(config)), name=name, quiet=True)


def train_by_slow_layers(config: str, name: str, layer_seconds: float) -> None:
    train_session = Session.train

    def train_slowly(session: Session, *arguments: Any) -> None:
        for module in session.state.game.D.modules():
            module.register_forward_hook(lambda *_: time.sleep(layer_seconds))
        train_session(session, *arguments)

    Session.train = train_slowly  # type: ignore[method-assign]
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
