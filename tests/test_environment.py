"""`ganvas info`: complete, without personal paths, and there even where a part is broken."""

import json
import os
from pathlib import Path

import pytest
from support import run_cli

import ganvas
from ganvas import environment


@pytest.mark.slow
def test_text_and_json_have_every_part() -> None:
    found = json.loads(run_cli("info", "--json", GANVAS_TEST="1").stdout)
    assert found["versions"]["ganvas"] == ganvas.__version__
    assert {"torch", "numpy", "rich"} <= found["versions"].keys()
    assert {"hub", "fid"} <= found["extras"].keys()
    assert "dev" not in found["extras"]
    assert found["devices"][-1]["device"] == "cpu"
    assert found["cpu"]["usable"] >= 1
    assert found["threads"] >= 1
    assert found["memory"]["total"] > found["memory"]["free"] > 0
    assert found["variables"]["GANVAS_TEST"] == "1"
    text = run_cli("info").stdout
    for name in found:
        assert f"\n{name}" in f"\n{text}"
    assert f"torch {found['versions']['torch']}" in text


def test_broken_part_is_described_and_the_others_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "home" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(f"raise OSError('{broken}/libcudart.so.12: cannot open')")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "home" / "cache"))
    text = run_cli(
        "info", PYTHONPATH=os.pathsep.join([str(broken.parent), str(Path(ganvas.__file__).parents[1])])
    ).stdout
    assert "devices    cannot be determined: OSError: ~/torch/libcudart.so.12: cannot open" in text
    assert "cache      ~/cache, 0 kB" in text
    assert "GANVAS_CACHE=~/cache" in text
    assert str(tmp_path) not in text


def test_any_failure_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no\nsuch thing")

    for part in ("_versions", "_extras", "_devices", "_cpu", "_threads", "_memory", "_cache"):
        monkeypatch.setattr(environment, part, fail)
    text = environment.render(environment.describe())
    assert text.count("cannot be determined: RuntimeError: no") == 7
    assert "platform" in text
