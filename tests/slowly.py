"""Trains a configuration slowly, for tests that interrupt or kill: python slowly.py CONFIG_JSON NAME."""

import json
import sys
import time
from typing import Any

from ganvas.config import TrainConfig, from_json
from ganvas.training import start
from ganvas.training.players import Players

A_ROUND = 0.003
"""Seconds added to each round."""


def train(config: str, name: str) -> None:
    one_round = Players.round

    def slow(*arguments: Any) -> Any:
        time.sleep(A_ROUND)
        return one_round(*arguments)

    Players.round = slow  # type: ignore[method-assign]
    start.train(from_json(TrainConfig, json.loads(config)), name=name, quiet=True)


if __name__ == "__main__":
    try:
        train(sys.argv[1], sys.argv[2])
    except KeyboardInterrupt as interrupt:
        print(interrupt, file=sys.stderr)
        sys.exit(130)
