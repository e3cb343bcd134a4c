"""Every loop on the page about `watch` runs as it is printed, and what the page says of it is so."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ganvas

PAGE = (Path(__file__).parents[1] / "docs" / "watch.md").read_text()
SETUP, *LOOPS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TITLES = [part.splitlines()[0] for part in PAGE.split("\n## ")[1:] if "```python" in part]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of compiled networks, by PyTorch itself
@pytest.mark.parametrize(("title", "loop"), list(zip(TITLES, LOOPS, strict=True)), ids=TITLES)
def test_loop_runs_and_nothing_is_wrong_in_it(title: str, loop: str) -> None:
    if "import keras" in loop:
        run_apart(loop)
        return
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(SETUP, "setup", "exec"), names)
    names["torch"].manual_seed(0)
    exec(compile(loop, title, "exec"), names)
    probe = names["probe"]
    assert isinstance(probe, ganvas.Probe)
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/auc"]) >= 1
    assert probe.diagnosis().failures == ()


def run_apart(loop: str) -> None:
    """In a process of its own: Keras chooses what is behind it when it is imported."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    checks = "assert not probe.history.facts.probe_errors\nassert probe.history['D/auc']\nprint(probe.diagnosis())"
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    seed = "import keras\nkeras.utils.set_random_seed(0)"
    command = [sys.executable, "-c", f"{SETUP}\n{seed}\n{loop}\n{checks}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "has failed" not in done.stdout


def test_every_condition_of_a_loop_is_on_the_page() -> None:
    from ganvas.diagnosis.rules import wiring
    from ganvas.diagnosis.rules.conditions import Condition

    names = {row.name for row in vars(wiring).values() if isinstance(row, Condition)}
    assert names == set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE))
