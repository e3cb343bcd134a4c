"""A few kills; `make kills` gives two hundred."""

from pathlib import Path

import pytest
from kill_subjects import of_json, subjects
from kills import kill_all, table


@pytest.mark.slow
def test_killed_commands_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    counts = kill_all(4, 0, tmp_path, ["rollback", "cache"])
    assert sum(count.kills for count in counts.values()) == 4, table(counts, 0.0)
    assert all(count.ends and not count.lost and not count.differing for count in counts.values()), table(counts, 0.0)


def test_ends_are_compared_without_their_times() -> None:
    assert of_json({"a": [{"seconds": 1, "b": 2}]}) == of_json({"a": [{"seconds": 3, "b": 2}]})
    assert of_json({"a": [{"seconds": 1, "b": 2}]}) != of_json({"a": [{"seconds": 1, "b": 3}]})


def test_six_trainings_and_four_other_commands_are_killed() -> None:
    assert sum(subject.argv[0] == "train" for subject in subjects().values()) == 6
    assert {subject.argv[0] for subject in subjects().values()} == {"train", "data", "evaluate", "compare", "style"}
