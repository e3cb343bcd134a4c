"""How far a comparison is, from the files of its trainings."""

import os
import time
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from ganvas.reading import is_number
from ganvas.recipes import RECIPES
from ganvas.runs.log import read_last
from ganvas.studio.runs import Card


def find_progress(words: Sequence[str], path: Path, cards: Sequence[Card]) -> dict[str, Any]:
    """What a running comparison does now.

    Args:
        words: of its command.
        path: of its folder.
        cards: those of its trainings that have begun.

    Returns:
        `stage`: reading the images, starting a training (its networks are built, its speed is measured), training, or
        measuring what was trained; `run` and `number`: which training, of `trainings`; `seconds` that it has taken;
        `part` of all that is done, from 0 to 1.
    """
    trainings = count_trainings(words)
    complete = sum(card["state"] in ("complete", "failed") for card in cards)
    now = next((card for card in cards if card["state"] == "training"), None)
    part = (complete + (find_part(now) if now else 0)) / trainings if trainings else 0
    found = {
        "run": None,
        "name": "",
        "number": complete,
        "trainings": trainings,
        "part": min(1.0, part),
        "seconds": 0.0,
    }
    if now is None:
        return found | {"stage": "measuring" if complete or not trainings else "reading"}
    folder = path / "runs" / now["name"]
    begun = (folder / "stats.jsonl").exists()
    return found | {
        "stage": "training" if begun else "starting", "run": now["run"], "name": now["name"], "number": complete + 1,
        "seconds": find_seconds(folder), "nimg": now["nimg"], "total": now["total"], "minutes": now["minutes"],
    }  # fmt: skip


def count_trainings(words: Sequence[str]) -> int:
    """How many trainings a command of the studio asks for: its recipes, each with every seed."""
    recipes = sum(word in RECIPES for word in takewhile(lambda word: not word.startswith("--"), words))
    return recipes * int(words[words.index("--seeds") + 1]) if "--seeds" in words else 0


def find_part(card: Card) -> float:
    """How much of a training is done, from 0 to 1; of one by time, whose length is planned anew, by time.

    Between two lines of its log it goes on as fast as before.
    """
    if card["state"] != "training":
        return min(1.0, card["nimg"] / card["total"]) if card["total"] else 0.0
    folder = Path(card["folder"]) / card["name"]
    if card["minutes"]:
        return min(1.0, find_seconds(folder) / (60 * card["minutes"]))
    if not card["total"]:
        return 0.0
    since = _age(folder / "stats.jsonl") if card["nimg"] else 0.0
    return min(1.0, (card["nimg"] + since * (card["images_per_s"] or 0)) / card["total"])


def find_seconds(folder: Path) -> float:
    """The time that a run has been trained for; before its first line, since its folder was made."""
    try:
        seconds = read_last(folder / "stats.jsonl").get("seconds")
    except OSError:
        return _age(folder / "config.json")
    return (seconds if is_number(seconds) else 0.0) + _age(folder / "stats.jsonl")


def _age(file: Path) -> float:
    """Seconds since a file was written; 0 where there is none."""
    try:
        return max(0.0, time.time() - os.stat(file).st_mtime)
    except OSError:
        return 0.0
