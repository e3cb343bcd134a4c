"""The command line: help, clear errors, JSON, and exit statuses."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from support import Fork, call_cli, planned_config, run_cli

from ganvas.cli import COMMANDS, main
from ganvas.config.flags import format_flags
from ganvas.recipes import RECIPES
from ganvas.recipes.cpu import PRESETS
from ganvas.runs.folder import Run
from ganvas.training import launch

TINY = ["--kimg", "0.2", "--no-plot", "--device", "cpu"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_in_plain_notation(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = call_cli(command, "--help", check=0).stdout
    assert "usage: ganvas " + command in text
    assert command == "style" or "(default: )" not in text  # its options are a dataclass without hints for the help
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"\{None|\{True|FLOAT\|STR|\[\[", text)
    assert "--no-json" not in text


def test_optional_values_and_schedules_are_parsed() -> None:
    words = ["--snapshot-kimg", "None", "--channels", "None", "--threads", "2", "--g-lr", "1e-3..0", "--d-lr", "3e-4"]
    config = json.loads(run_cli("train", "digits", *words, "--dry-run", "--json").stdout)["config"]
    assert (config["runtime"]["snapshot_kimg"], config["dataset"]["channels"], config["runtime"]["threads"]) == (
        None,
        None,
        2,
    )
    assert (config["optimisation"]["g_lr"], config["optimisation"]["d_lr"]) == ("1e-3..0", 3e-4)


def test_all_recipes_are_listed_as_text_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = call_cli("recipes", check=0).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 4 * len(RECIPES) + 9, "few lines are broken"
    assert json.loads(call_cli("recipes", "--json", check=0).stdout).keys() == RECIPES.keys()
    assert all(name in text for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_shown_with_what_it_sets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = call_cli("recipes", name, check=0).stdout
    assert max(map(len, text.splitlines())) <= 80
    own, *presets = re.findall(r"sets\n((?:  --.+\n)+)", text)
    assert f"ganvas train {name} --help" in text
    config = RECIPES[name].config
    for group in (config, *filter(dataclasses.is_dataclass, vars(config).values())):
        for field in filter(lambda field: field.init, dataclasses.fields(group)):
            value = getattr(group, field.name)
            flag = f"--{'no-' * (value is False)}{field.name.replace('_', '-')}"
            if not dataclasses.is_dataclass(value) and value is not None:
                assert (flag in own.split()) == (value != field.default), field.name
    assert [preset.split() for preset in presets] == [format_flags(one.knobs).split() for one in PRESETS.get(name, ())]
    assert json.loads(call_cli("recipes", name, "--json", check=0).stdout).keys() == {name}


def test_an_unknown_recipe_is_refused_with_its_neighbour() -> None:
    assert "'runs/x' is no recipe" in call_cli("recipes", "runs/x", check=1).stderr
    assert "did you mean 'dcgan'" in call_cli("recipes", "dcgn", check=1).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, ""),
        (["fly"], 2, "not a command"),
        (["train", "stylegan9"], 1, "neither a recipe nor a run"),
        (["train", "--bacth", "3"], 2, "--batch"),
        (["train", "--batch", "many"], 2, "batch"),
        (["train", "--batch", "9" * 5000], 2, "a number of 5,000 digits"),
        (["train", "--threads", "9" * 5000], 2, "a number of 5,000 digits"),
        (["train", "--batch", "0"], 1, "--batch is 0"),
        (["train", "--objective", "wgan9"], 1, "wasserstein"),
        (["train", "--g-lr", "fast"], 1, "not a schedule"),
        (["train", "--data", "nowhere.zip"], 1, "nowhere.zip"),
        (["train", "--device", "cuda:7"], 1, "cuda:7"),
        (["train", "--device", "abacus"], 1, "abacus"),
        (["train", "--gpus", "64"], 1, "CUDA GPUs"),
        (["train", "--gpus", "0", "--device", "cpu"], 1, "--gpus is 0"),
        (["train", "--seed", "-1"], 1, "--seed is -1"),
        (["train", "--kimg", "inf"], 1, "--kimg is inf"),
        (["train", "--tick-kimg", "0.0001"], 1, "--tick-kimg is"),
        (["train", "mlp", "--data", "digits", "--batch", "1"], 1, "batch norm"),
        (["sample", "nowhere"], 1, "does not exist"),
        (["sample", "."], 1, "is no run and no snapshot"),
        (["evaluate", "nowhere"], 1, "There is no run and no snapshot nowhere"),
        (["plot", "nowhere"], 1, "not a run folder"),
        (["plot"], 1, "No run was named"),
        (["data", "nowhere"], 1, "nowhere"),
        (["data", "digits", "--fit", "bend"], 2, "stretch"),
        (["train", "--channels", "2"], 2, "--channels"),
        (["compare", "mlp", "--knobs", "batch"], 1, "'batch' does not set a knob"),
        (["compare", "mlp", "--knobs", "batch=3", "bacth=4", "--vary", "d_lr=1e-4,1e-3"], 1, "did you mean 'batch'"),
    ],
)
def test_bad_usage_gives_a_message_without_a_traceback(arguments: list[str], status: int, message: str) -> None:
    result = call_cli(*arguments, check=status)
    assert message in result.stderr + (result.stdout if status == 2 else "")
    assert "Traceback" not in result.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_folder_of_another_program_is_not_said_to_be_a_run_without_a_snapshot(command: str) -> None:
    Path("theirs").mkdir()
    Path("theirs/config.json").write_text('{"model_type": "bert"}')
    told = call_cli(command, "theirs", check=1).stderr
    assert "is damaged (it has no 'format')" in told
    assert "as ganvas train writes it" in told


@pytest.mark.parametrize(
    ("command", "fix"),
    [
        ("train --minuts 10", "did you mean --minutes?"),
        ("train digits --resolutoin=32", "did you mean --resolution?"),
        ("train digits --batch-size 32", "did you mean --batch?"),
        ("train digits --lr 0.1", "did you mean --d-lr or --g-lr?"),
        ("evaluate --agianst photos run", "did you mean --against?"),
        ("style --presset best a.png b.png", "did you mean --preset?"),
        ("train digits --abracadabra 1", ""),
    ],
)
def test_an_option_that_is_unknown_is_refused_with_the_nearest_one(command: str, fix: str) -> None:
    refused = call_cli(*command.split(), check=2).stderr
    assert f"There is no option {re.findall('--[a-z-]+', command)[0]}." in refused
    assert refused.partition("Fix: ")[2].strip() == fix
    assert "default" not in refused


def test_a_length_that_is_no_number_is_refused_with_the_default_of_the_recipe() -> None:
    assert "(default: 1.0)" not in call_cli("train", "fast", "--minutes", "ten", check=2).stdout
    help_text = call_cli("train", "fast", "--minutes", "30", "--help", check=0).stdout
    assert "(default: 1.0)" not in help_text.partition("--minutes")[2].partition("--seed")[0]


def test_names_print_without_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("o\x1b]0;title\x07\nx")
    (folder / "bad\x1b[2J").mkdir(parents=True)
    (folder / "bad\x1b[2J" / "config.json").write_text('{"format": 2, "recipe": "", "config": {}, "data": {}}')
    (folder / "a.png").write_bytes(b"junk")
    for arguments, status in [(["runs", folder], 0), (["data", folder], 1), (["sample", folder / "no"], 1)]:
        monkeypatch.setattr(sys, "argv", ["ganvas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = "".join(capsys.readouterr())
        assert ended.value.code == status
        assert "\x1b" not in printed
        assert "\x07" not in printed
        assert r"\x07\nx" in printed


@pytest.mark.slow
def test_train_resume_and_plot_from_the_command_line(write_images: Callable[..., Path]) -> None:
    data = write_images(classes=2)
    first = run_cli("train", "cnn", "--data", data, "--conditional", "--batch", 20, *TINY, "--json")
    result = json.loads(first.stdout)
    run = Run(Path(result["run"]))
    assert run.path.name.startswith("00000-cnn-pictures")
    assert Path(result["snapshot"]).exists()
    assert result["config"]["network"]["family"] == "cnn"
    assert "kimg 0.2/0.2" in first.stderr, "one plain line a tick without a terminal"
    assert "is complete" in run_cli("train", run.path).stderr
    assert "batch is 20 there and 10 here" in run_cli("train", run.path, "--batch", 10, check=1).stderr
    copied = Path("elsewhere") / run.path.name  # has the same name: both must be drawn
    shutil.copytree(run.path, copied)
    run_cli("plot", run.path, copied, "--out", "both.svg")
    drawn = Path("both.svg").read_text()
    assert drawn.count(f"<!-- {run.path}: on real -->") == drawn.count(f"<!-- {copied}: on real -->") == 1
    assert "nothing.xyz" in run_cli("plot", run.path, "--out", "nothing.xyz", check=1).stderr


def test_dry_run_prints_a_plan_and_writes_nothing() -> None:
    plan = json.loads(run_cli("train", "digits", "--dry-run", "--json", "--g-widths", 10, 12).stdout)
    assert plan["config"]["network"]["g_widths"] == [10, 12]
    assert plan["parameters"]["G"] == 32 * 10 + 10 + 10 * 12 + 12 + 12 * 64 + 64
    assert not Path("runs").exists()


def test_default_recipe_of_data_other_than_digits_is_fast_for_ten_minutes(
    write_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_images(channels=3)
    for flags, minutes in ((["--data", str(data)], 10), ([f"--data={data}", "--kimg", "1"], None)):
        config = planned_config([*flags, "--g-width", "4"], monkeypatch)
        assert config.network.family == "projected"
        assert config.loss == RECIPES["fast"].config.loss
        assert config.minutes == minutes
    assert planned_config(["--data", "digits"], monkeypatch).network.family == "mlp"


def test_data_prints_json(write_images: Callable[..., Path]) -> None:
    report = json.loads(run_cli("data", write_images(classes=2), "--json").stdout)
    assert report["count"] == 40


@pytest.mark.parametrize(
    "command", [["sample", "RUN"], ["plot", "RUN"], ["project", "RUN", "a.png"], ["directions", "RUN"],
                ["export", "RUN", "--to", "web"], ["style", "a.png", "b.png"]], ids=lambda command: command[0]
)  # fmt: skip
def test_o_is_out(command: list[str]) -> None:
    refused = call_cli(*command, "-o", "out.html", check=None).stderr  # nothing is there, but the usage is right
    assert refused
    assert "nrecognized" not in refused


def test_unwritable_output_folder_is_reported() -> None:
    Path("file").write_text("in the way")
    result = run_cli("train", "digits", *TINY, "--out", "file", check=1)
    assert "could not be written" in result.stderr
    assert "Traceback" not in result.stderr


def run_without_exec(command: list[str]) -> None:
    """Runs the command line; torchrun starts in this process, which has imported it."""
    with mock.patch.object(os, "execv", lambda _, words: sys.exit(launch.main(words[3:]))):
        main()


@pytest.mark.slow
def test_gpus_option_starts_processes_and_errors_have_no_traceback(write_images: Callable[..., Path]) -> None:
    flags = ["train", "digits", "--data", write_images(), "--gpus", 2, *TINY, "--no-plot", "--name", "two"]
    result = run_cli(*flags, "--batch", 20, "--json")
    assert json.loads(result.stdout)["run"] == "runs/two"
    assert "2 processes" in result.stderr
    refused = Fork(["ganvas", *map(str, flags), "--batch", "33"], run_without_exec).wait()
    assert refused.returncode == 1, refused.stderr
    assert "33 cannot be shared equally by 2" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.exhaustive
def test_interrupt_with_gpus_saves_and_exits_130(write_images: Callable[..., Path]) -> None:
    flags = [
        "train",
        "digits",
        "--data",
        str(write_images()),
        "--gpus",
        "2",
        "--kimg",
        "2000",
        "--device",
        "cpu",
        "--name",
        "x",
    ]
    process = subprocess.Popen([sys.executable, "-m", "ganvas", *flags], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not (Path("runs/x/stats.jsonl").exists() or time.monotonic() > deadline):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command resumes from there" in errors
    assert Run(Path("runs/x")).snapshots


def test_names_of_files_that_are_not_utf_8_are_escaped(write_images: Callable[..., Path]) -> None:
    """`ganvas` prints and writes them all the same; in JSON the escape is the name itself."""
    path = write_images(40, 8, 8).rename("images\udcff.npz")
    flags = ["--kimg", "0.04", "--batch", "10", "--latent", "6", "--g-widths", "8", "--d-widths", "8", "--no-plot"]
    result = run_cli("train", "mlp", "--data", path, "--out", "runs\udcff", *flags, "--json")
    run = json.loads(result.stdout)["run"]
    assert Run(Path(run)).config.dataset.data == str(path)
    assert "runs\\udcff" in run_cli("runs", "runs\udcff").stdout
    assert (Path(run) / "log.txt").read_text()


def run_in_ascii(command: list[str]) -> None:
    """Runs the command line as under PYTHONIOENCODING=ascii."""
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    main()


def test_output_in_another_encoding_is_escaped() -> None:
    assert run_cli("recipes", PYTHONIOENCODING="ascii").stdout.isascii()
    for command in (["recipes", "--json"], ["info"]):
        result = Fork(["ganvas", *command], run_in_ascii).wait()
        assert result.returncode == 0, result.stderr
        assert result.stdout.isascii()
        assert "--json" not in command or json.loads(result.stdout)["fast"]
