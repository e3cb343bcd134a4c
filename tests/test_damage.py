"""A run folder in any state: every command that takes a run ends with an answer or an error in words, and in time."""

import contextlib
import io
import json
import os
import random
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import time_limit, tiny

import ganvas
from ganvas.cli import main
from ganvas.config import replace
from ganvas.errors import GanvasError
from ganvas.runs import card
from ganvas.runs.folder import Run
from ganvas.training.start import train

SECONDS = 20
"""After which a command hangs."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of three kimg that has every kind of file, and another one beside it."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(folder / "cache"))
        config = replace(
            tiny(kimg=3), on_failure="rollback", snapshot_kimg=1.0, keep_kimg=1.0, tick_kimg=1.0, g_lr=1e-3
        )
        path = train(config, recipe="small", out=folder, name="run", quiet=True).path
        train(tiny(family="cnn", kimg=0.1), recipe="other", out=folder, name="other", quiet=True)
        shutil.copytree(path / "snapshots/000002", path / "snapshots/best")
        edit_json(path / "snapshots/best/card.json", quality={"value": 1.5, "count": 250, "extractor": "eye"})
        for name in ("good", "candidate"):
            shutil.copy(path / "state/start.safetensors", path / f"state/{name}.safetensors")
        for arguments in (["plot", path], ["evaluate", path, "--quick", "--count", 20]):
            assert call(*arguments)[0] == 0
    return folder


@pytest.fixture
def run(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, and the cache of the first one."""
    monkeypatch.setenv("GANVAS_CACHE", str(whole / "cache"))
    shutil.copytree(whole / "other", "other")
    return Path(shutil.copytree(whole / "run", "runs/run"))


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def call(*arguments: object) -> tuple[int, str, str]:
    """(status, stdout, stderr) of a command in this process; an error that would be a traceback is raised."""
    command, out, err = ["ganvas", *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
        time_limit(SECONDS),
    ):
        main()
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def flip(file: Path, bits: int, within: int) -> None:
    content, draw = bytearray(file.read_bytes()), random.Random(f"{file.name}{bits}{within}")
    for place in (draw.randrange(min(len(content), within)) for _ in range(bits if content else 0)):
        content[place] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def make_socket(file: Path) -> None:
    with contextlib.chdir(file.parent), socket.socket(socket.AF_UNIX) as made:  # its path may be too long
        made.bind(file.name)


def instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        file.unlink()
        make(file)

    return damage


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "one bit": lambda file: flip(file, 1, 10**9),
    "one bit near its start": lambda file: flip(file, 1, 400),
    "three bits near its start": lambda file: flip(file, 3, 400),
    "fifty bits": lambda file: flip(file, 50, 10**9),
    "folder": instead(Path.mkdir),
    "dangling link": instead(lambda file: file.symlink_to("nowhere")),
    "link to itself": instead(lambda file: file.symlink_to(file.name)),
    "pipe": instead(os.mkfifo),
    "socket": instead(make_socket),
    "/dev/zero": instead(lambda file: file.symlink_to("/dev/zero")),
    "{}": lambda file: file.write_text("{}"),
    "list": lambda file: file.write_text("[1]"),
    "deep list": lambda file: file.write_text("[" * 200_000),
    "deep object": lambda file: file.write_text('{"format":' * 100_000),
    "long number": lambda file: file.write_text(f'{{"format": {"9" * 5000}, "nimg": {"9" * 5000}}}'),
    "NaN": lambda file: file.write_text('{"format": NaN, "nimg": Infinity}'),
    "1e999": lambda file: file.write_text('{"format": 1e999, "nimg": -1e999}'),
    "half a character": lambda file: file.write_text('{"format": 2, "recipe": "\\ud800", "config": {}, "data": {}}'),
    "binary": lambda file: file.write_bytes(bytes(range(256)) * 50),
}

COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "sample": lambda run: ["sample", run, "--seeds", "0-3", "--out", "grid.png"],
    "diagnose": lambda run: ["diagnose", run],
    "runs": lambda run: ["runs", run.parent],
    "clean": lambda run: ["runs", run.parent, "--clean", "--dry-run", "--json"],
    "remove": lambda run: ["runs", "--remove", run, "--dry-run"],
    "resume": lambda run: ["train", run, "--kimg", "3.02", "--no-plot", "--quiet"],
}
"""Those that take a tenth of a second."""

SLOW: dict[str, Callable[[Path], list[object]]] = {
    "plot": lambda run: ["plot", run],
    "evaluate": lambda run: ["evaluate", run, "--quick", "--count", "20", "--quiet"],
    "compare": lambda run: ["compare", run, "other", "--count", "20", "--quiet", "--out", "comparison"],
}

CORE = ["config.json", "snapshots/000003/G.safetensors"]
FILES = [
    *CORE, "stats.jsonl", "events.jsonl", "snapshots/000001/card.json", "snapshots/000003/card.json",
    "snapshots/best/card.json", "snapshots/best/G.safetensors", "state/latest.safetensors",
    "state/candidate.safetensors", "fakes000003.png", "metrics.jsonl", "log.txt",
]  # fmt: skip


def use(run: Path, arguments: list[object]) -> None:
    status, out, err = call(*arguments)
    assert status in (0, 1), err
    assert out or err or "--quiet" in arguments
    if status:
        assert err.startswith("ganvas: ")
        assert "Traceback" not in err


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "file", [*CORE, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in FILES[len(CORE) :])]
)
def test_every_command_answers_of_a_damaged_run(file: str, damage: str, run: Path) -> None:
    DAMAGE[damage](run / file)
    with time_limit(SECONDS):
        repr(Run(run))
        Run(run)._repr_html_()
    for arguments in COMMANDS.values():
        use(run, arguments(run))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "damage", ["missing", "half", "one bit near its start", "folder", "link to itself", "pipe", "{}", "deep list"]
)
@pytest.mark.parametrize("file", CORE)
@pytest.mark.parametrize("command", SLOW)
def test_every_slow_command_answers_of_a_damaged_run(command: str, file: str, damage: str, run: Path) -> None:
    DAMAGE[damage](run / file)
    use(run, SLOW[command](run))


def test_every_file_of_a_run_is_damaged_in_this_test(run: Path) -> None:
    """A kind of file that a training writes is in FILES, by its name without numbers."""

    def kind(name: str) -> str:
        return "".join(character for character in name if not character.isdigit())

    written = {kind(path.relative_to(run).as_posix()) for path in run.rglob("*") if path.is_file()}
    never_read = {".lock", "losses.png", "reals.png", "closest.png", "training.webp"}
    same = {"state/good.safetensors", "state/start.safetensors"}
    assert written - never_read - same == {kind(name) for name in FILES}


WRONG: list[Any] = [None, True, -1, 0, 1.5, 1e300, 10**18, "x", [], [1], {}, {"x": 1}]


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves_of(value[key], (*path, key))
    if path:
        yield path


@pytest.mark.parametrize("file", ["config.json", "snapshots/000003/card.json", "snapshots/best/card.json"])
def test_every_value_of_another_type_is_refused_or_used(file: str, run: Path) -> None:
    original, draw = json.loads((run / file).read_text()), random.Random(file)
    for path in leaves_of(original):
        for wrong in draw.sample(WRONG, 3):
            changed = json.loads(json.dumps(original))
            *outer, last = path
            inner = changed
            for key in outer:
                inner = inner[key]
            inner[last] = wrong
            (run / file).write_text(json.dumps(changed))
            with time_limit(SECONDS):
                repr(Run(run))
                for read in (ganvas.load, ganvas.diagnose):
                    with contextlib.suppress(GanvasError):
                        read(run)


def test_another_usable_snapshot_is_named(run: Path) -> None:
    (run / "snapshots/000003/card.json").write_text("{")
    (run / "snapshots/000002/G.safetensors").write_bytes(b"")
    status, _, err = call("sample", run)
    assert status == 1
    assert "snapshots/000003/card.json is damaged" in err
    named = err.split("another snapshot: ")[1].split(" can be used")[0]
    assert named.endswith("000001")
    assert call("sample", named, "--seeds", "0-3")[0] == 0


@pytest.mark.parametrize("file", ["card.json", "G.safetensors"])
def test_with_no_usable_snapshot_the_training_goes_on_from_its_state(file: str, run: Path) -> None:
    for path in (run / "snapshots").iterdir():
        if path.name != "000003":
            shutil.rmtree(path)
    (run / "snapshots/000003" / file).write_bytes((run / "snapshots/000003" / file).read_bytes()[:100])
    status, _, err = call("sample", run, "--seeds", "0-3")
    assert status == 1
    assert f"ganvas train {run}, or the command that trained it, goes on from its state of 3 kimg" in err
    assert call("diagnose", run)[0] == 0
    assert call("train", run, "--kimg", "3.02", "--no-plot")[0] == 0
    assert Run(run).progress()["nimg"] == 3020
    assert call("sample", run, "--seeds", "0-3")[0] == 0
    for path in Run(run).snapshots:
        (path / file).write_bytes(b"")
    shutil.rmtree(run / "state")
    assert "Fix: train it again." in call("sample", run)[2]


@pytest.mark.parametrize(
    "command",
    [
        ["sample"], ["plot"], ["evaluate"], ["diagnose"], ["runs"], ["runs", "--remove"], ["train"], ["directions"],
        ["log", "--to", "tensorboard"], ["train", "small", "--from"],
    ],
)  # fmt: skip
def test_name_of_a_run_that_is_gone_gives_those_that_are_near(command: list[str], run: Path) -> None:
    gone = run.parent / "rum"
    arguments = [command[0], gone, *command[1:]] if command[0] == "log" else [*command, gone]
    arguments = ["digits" if word == "small" else word for word in arguments]
    status, _, err = call(*arguments)
    assert status == 1
    assert "rum" in err.splitlines()[0]
    assert f"Fix: did you mean {run}?" in err


def test_lock_that_is_no_file_is_named(run: Path) -> None:
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").mkdir()
    status, _, err = call("train", run, "--kimg", "3.02")
    assert status == 1
    assert f"{run}/.lock is a folder" in err
    assert call("sample", run, "--seeds", "0-3")[0] == 0


def test_runs_says_what_still_works_beside_a_damaged_newest_snapshot(run: Path) -> None:
    def problem() -> str:
        (found,) = json.loads(call("runs", run, "--json")[1])["runs"]
        return found["problem"]

    (run / "snapshots/000003/card.json").write_text("{")
    assert "snapshots/000002 can be used. ganvas train runs/run goes on from its state of 3 kimg." in problem()
    (run / "snapshots/000002/card.json").write_text("{")
    (run / "state/latest.safetensors").write_bytes(b"")
    assert problem().endswith("snapshots/000001 can be used.")
    (run / "config.json").write_text("{}")
    assert "ganvas train" not in problem()


def test_training_goes_on_beside_a_damaged_old_snapshot_and_best(run: Path) -> None:
    for name in ("000001", "best"):
        (run / f"snapshots/{name}/card.json").write_text("{}")
    with (run / "stats.jsonl").open("a") as file:
        file.write('{"nimg": 2500, "D/loss": "high"}\n{"nimg":\n')
    status, _, err = call("train", run, "--kimg", "3.02", "--no-plot")
    assert status == 0
    assert "2 damaged lines" in err
    assert "snapshots/000001/card.json is damaged" in err
    assert "snapshots/best/card.json is damaged" in err
    assert Run(run).progress()["nimg"] == 3020
    assert (run / "snapshots/000001").exists()
    assert "000001/card.json is damaged" in call("runs", run.parent)[1]


@pytest.mark.parametrize("file", ["card.json", "G.safetensors"])
def test_complete_run_writes_its_last_snapshot_again(file: str, run: Path) -> None:
    path = run / "snapshots/000003"
    before = {name: (path / name).read_bytes() for name in ("card.json", "G.safetensors")}
    (path / file).unlink()
    status, _, err = call("train", run)
    assert status == 0
    assert f"snapshots/000003/{file} is damaged" in err
    assert {name: (path / name).read_bytes() for name in before} == before


def test_complete_run_says_what_else_is_damaged(run: Path) -> None:
    (run / "snapshots/000001/card.json").write_text("{}")
    with (run / "events.jsonl").open("a") as file:
        file.write("{\n")
    status, _, err = call("train", run)
    assert status == 0
    assert "1 damaged line" in err
    assert "snapshots/000001/card.json is damaged" in err
    (run / "stats.jsonl").unlink()
    (run / "stats.jsonl").mkdir()
    status, _, err = call("train", run)
    assert status == 1
    assert "stats.jsonl cannot be read (it is a folder" in err


def test_a_usable_snapshot_is_parsed_again_only_once_its_files_have_changed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, opened = run / "snapshots/000001", list[Path]()
    for name in ("open_regular", "read_json"):
        real = getattr(card, name)
        monkeypatch.setattr(card, name, lambda path, real=real: opened.append(path) or real(path))
    assert [card.find_damage(snapshot) for _ in range(3)] == ["", "", ""]
    assert sorted(path.name for path in opened) == ["G.safetensors", "card.json"]
    (snapshot / "card.json").write_text((snapshot / "card.json").read_text().replace('"nimg"', '"gimn"'))
    assert "it has no 'nimg'" in card.find_damage(snapshot)
    assert "it has no 'nimg'" in card.find_damage(snapshot)


def test_damaged_lines_are_counted_by_every_reader(run: Path) -> None:
    text = (run / "stats.jsonl").read_text().splitlines()
    text[1:1] = ["{", '{"nimg": "many"}', '{"nimg": 500, "D/loss": {"num": 3}}', "x" * 2**21]
    (run / "stats.jsonl").write_text("\n".join(text) + "\n")
    assert "4 damaged lines" in call("diagnose", run)[1]
    assert json.loads(call("diagnose", run, "--json")[1])["facts"]["unread"] == 4
    assert "4 damaged lines" in call("plot", run)[2]


def test_statistics_are_read_without_config_json(run: Path) -> None:
    (run / "config.json").write_text('{"format": 2')
    status, out, _ = call("diagnose", run)
    assert status == 0
    assert "config.json is damaged" in out
    status, _, err = call("plot", run)
    assert status == 1
    assert "its snapshots can be used" in err
    assert call("sample", run, "--seeds", "0-3")[0] == 0


def test_damaged_state_is_named_and_the_snapshots_stay_usable(run: Path) -> None:
    flip(run / "state/latest.safetensors", 3, 60)
    status, _, err = call("train", run, "--kimg", "3.02")
    assert status == 1
    assert "state/latest.safetensors" in err
    assert "--new" in err
    assert call("sample", run, "--seeds", "0-3")[0] == 0


@pytest.mark.parametrize("name", ["000003", "best"])
@pytest.mark.parametrize(
    "changes",
    [
        {"shape": {"channels": 3, "height": 8192, "width": 8192, "classes": 0}},
        {"shape": {"channels": 1, "height": 30_000, "width": 30_000, "classes": 0}},
        {"network": {"family": "mlp", "latent": 6, "g_widths": [30_000, 30_000, 30_000]}},
        {"network": {"family": "mlp", "latent": 6, "g_widths": [8] * 1000}},
        {"network": {"family": "mlp", "latent": 10**9, "g_widths": [10**9]}},
        {"network": {"family": "stylegan", "latent": 6, "mapping_layers": 10**9}},
        {"network": {"family": "r3gan", "latent": 6, "blocks": 1000, "width": 10**9}},
    ],
    ids=range(7),
)
def test_card_of_a_larger_network_takes_no_memory(name: str, changes: dict[str, Any], run: Path) -> None:
    edit_json(run / f"snapshots/{name}/card.json", **changes)
    largest: list[int] = []
    empty = torch.empty

    def measure(*arguments: Any, **options: Any) -> torch.Tensor:
        made = empty(*arguments, **options)
        largest.append(0 if made.is_meta else made.numel())
        return made

    with mock.patch("torch.empty", measure), time_limit(SECONDS), pytest.raises(GanvasError, match=r"usable|from 1 to"):
        ganvas.load(run / f"snapshots/{name}")
    assert max(largest, default=0) < 10**6


def test_weights_of_another_network_are_refused_by_name(run: Path) -> None:
    file = run / "snapshots/000003/G.safetensors"
    weights = load_file(file)
    first = next(iter(weights))
    save_file({**weights, first: torch.zeros(3, 3)}, file)
    with pytest.raises(GanvasError, match=rf"{first} is .* by card.json and \[3, 3\]"):
        ganvas.load(run)


def test_optimiser_moments_of_another_shape_are_refused(run: Path) -> None:
    from safetensors import safe_open

    file = run / "state/latest.safetensors"
    with safe_open(file, "pt") as opened:
        tensors, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118
    name = next(name for name in tensors if "exp_avg_sq" in name)
    for changed in ({**tensors, name: torch.zeros(2)}, {key: t for key, t in tensors.items() if key != name}):
        save_file(changed, file, metadata)
        status, _, err = call("train", run, "--kimg", "3.02", "--quiet")
        assert status == 1
        assert "does not fit" in err
