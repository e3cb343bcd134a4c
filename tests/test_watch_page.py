"""Every loop on the page about `watch` runs as it is printed, and what the page says of it is so."""

import re
from pathlib import Path
from typing import Any

import pytest

import ganvas

PAGE = (Path(__file__).parents[1] / "docs" / "watch.md").read_text()
SETUP, *LOOPS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TITLES = [part.splitlines()[0] for part in PAGE.split("\n## ")[1:] if "```python" in part]
[KERAS_LOOP] = [loop for loop in LOOPS if "import keras" in loop]
"""It runs in the process of test_watch_keras.py: Keras chooses what is behind it when it is imported."""
CASES = [(title, loop) for title, loop in zip(TITLES, LOOPS, strict=True) if loop != KERAS_LOOP]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of compiled networks, by PyTorch itself
@pytest.mark.parametrize(("title", "loop"), CASES, ids=[title for title, _ in CASES])
def test_loop_runs_and_nothing_is_wrong_in_it(title: str, loop: str) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(SETUP, "setup", "exec"), names)
    names["torch"].manual_seed(0)
    exec(compile(loop, title, "exec"), names)
    probe = names["probe"]
    assert isinstance(probe, ganvas.Probe)
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/auc"]) >= 1
    assert probe.diagnosis().failures == ()


def test_every_condition_of_a_loop_is_on_the_page() -> None:
    from ganvas.diagnosis.rules import wiring
    from ganvas.diagnosis.rules.conditions import Condition

    names = {row.name for row in vars(wiring).values() if isinstance(row, Condition)}
    assert names == set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE))
