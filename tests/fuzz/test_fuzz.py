"""A hundred odd inputs, each with its bounds; `make fuzz` gives thousands."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from fuzz import KINDS, choose_tasks, describe, fuzz
from isolation import Answer, Case, Kind, run_cases

SEED = 0


@pytest.mark.slow
def test_no_input_is_answered_by_a_traceback_a_hang_or_nonsense(tmp_path: Path) -> None:
    outcomes = fuzz(100, SEED, folder=tmp_path)
    assert len(outcomes) >= 100
    assert {outcome.kind for outcome in outcomes} == set(KINDS)
    assert not (faults := [describe(outcome, SEED) for outcome in outcomes if outcome.fault]), "\n".join(faults)


def test_same_seed_makes_the_same_cases_and_another_seed_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_files import make

    def texts(seed: int) -> list[str]:
        found = []
        for number in range(12):
            folder = tmp_path / f"{seed}-{number}-{len(found)}-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            monkeypatch.chdir(folder)
            found.append(make(number, Random(f"{seed} {number}"), tmp_path).what)
        return found

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    assert choose_tasks(100, 1) == choose_tasks(100, 1)
    assert Counter(name for name, _ in choose_tasks(100, 1)) == {
        name: round(100 * kind.weight) for name, kind in KINDS.items()
    }


def make_fault(number: int, random: Random, prepared: Path) -> Case:
    """A case for each kind of fault."""
    return [
        lambda: Case("raises", lambda: 1 / 0),  # type: ignore[arg-type, return-value]
        lambda: Case("takes memory", take_memory),
        lambda: Case("ends with 7", lambda: Answer(7)),
        lambda: Case("answers wrongly", lambda: Answer(0), check=lambda answer: "wrong"),
        lambda: Case("ends the process", die),
        lambda: Case("sleeps", sleep),
        lambda: Case("is right", lambda: Answer(0)),
    ][number]()


def take_memory() -> Answer:
    return Answer(0 if bytearray(900 * 2**20) else 1)


def die() -> Answer:
    import os

    os._exit(9)


def sleep() -> Answer:
    import time

    time.sleep(60)
    return Answer(0)


def test_every_kind_of_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isolation.SECONDS_BOUND", 4.0)
    kinds = {"faults": Kind(make_fault, 1.0)}
    # the sleeper comes to a worker that has begun another case: one that still imports is not idle, and gets more time
    tasks = [("faults", number) for number in (0, 2, 3, 5, 1, 4, 6)]
    outcomes = run_cases(kinds, tasks, seed=0, workers=2, folder=tmp_path, prepared=tmp_path)
    found = {outcome.what: outcome.fault for outcome in outcomes}
    assert found == {
        "raises": "traceback", "takes memory": "memory", "ends with 7": "exit code", "answers wrongly": "wrong answer",
        "ends the process": "traceback", "sleeps": "hang", "is right": "",
    }  # fmt: skip
