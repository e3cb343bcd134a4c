"""Several files and several trainings: what belongs together is one training, what does not is never mixed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from test_logs import write_events

from ganvas.diagnosis.history import History
from ganvas.diagnosis.logs import folder as folders
from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.reader import read_trainings
from ganvas.diagnosis.logs.rows import VALUE, Column, Rows
from ganvas.diagnosis.sources import diagnose
from ganvas.errors import GanvasError

Files = Callable[[Mapping[str, str]], Path]

LOSSES = "".join(f"{n},0.{n + 1},1.{n}\n" for n in range(9))
BOTH = "epoch,d_loss,g_loss\n" + LOSSES
CYCLE = "".join(f"(epoch: 1, iters: {n}) D_A: 0.5 G_A: 0.7 cycle_A: 1 D_B: 0.25 G_B: 1 cycle_B: 1\n" for n in range(9))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Writes files, and returns their folder."""

    def write(texts: Mapping[str, str]) -> Path:
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def only(folder: Path) -> History:
    (history,) = read_trainings([folder]).values()
    return history


def refusal(*paths: Path) -> str:
    with pytest.raises(GanvasError) as raised:
        read_trainings(paths)
    assert raised.value.fix
    return str(raised.value)


# A file a quantity


def test_folder_of_biggan(files: Files) -> None:
    folder = files({
        "run/D_loss_real.log": "50: 3.5e-01\n100: 3.0e-01\n", "run/D_loss_fake.log": "50: 4.5e-01\n100: 4.0e-01\n",
        "run/G_loss.log": "50: -1.5e-01\n100: 2.5e-01\n", "run/metalog.txt": "datetime: 2024-05-01\nconfig: {}\n",
        "run_log.jsonl": json.dumps({"itr": 100, "IS_mean": 4.0, "FID": 99.5}) + "\n",
    })  # fmt: skip
    history = only(folder)
    assert history["D/loss_real"].at.tolist() == [50, 100]
    assert history["G/loss"].value.tolist() == [-0.15, 0.25]
    assert history["fid"].value.tolist() == [99.5]
    assert set(only(folder / "run").columns) == {"D/loss_real", "D/loss_fake", "G/loss"}
    assert history.facts.resolution["G/loss"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d_loss.txt", "1.5e+00\n1.25e+00\n1.0e+00\n"),
        ("savetxt_d_loss.txt", "1.500000000000000000e+00\n1.25\n1.0\n"),
        ("errD.csv", "0,1.5\n1,1.25\n2,1.0\n"),
        ("D_loss.csv", "step,value\n0,1.5\n1,1.25\n2,1.0\n"),
        ("d_loss.log", "# d_loss\n0 1.5\n1 1.25\n2 1.0\n"),
    ],
)
def test_file_is_named_after_its_quantity(name: str, text: str, files: Files) -> None:
    history = only(files({name: text}) / name)
    assert list(zip(history["D/loss"].at, history["D/loss"].value, strict=True)) == [(0, 1.5), (1, 1.25), (2, 1)]


# Folders


def test_folder_of_cyclegan(files: Files) -> None:
    folder = files({"loss_log.txt": f"=== Training Loss (now) ===\n{CYCLE}", "train_opt.txt": "batch_size: 1\n"})
    assert list(read_trainings([folder])) == ["A", "B"]


def test_charts_of_one_metric_each_are_one_training(files: Files) -> None:
    header = '"Step","run - train/{0}_loss","run - train/{0}_loss__MIN"\n'
    charts = {f"wandb {net}.csv": header.format(net) + '"0","0.5","0"\n"9","1","0"\n' for net in "dg"}
    history = only(files(charts))
    assert {"D/loss", "G/loss"} == set(history.columns)
    assert history.facts.format == "CSV of Weights & Biases, 2 files"


def test_only_log_further_inside_is_found(files: Files) -> None:
    folder = files({"version_0/metrics.csv": BOTH, "version_0/hparams.yaml": "lr: 0.1\n"})
    assert len(only(folder)["D/loss"]) == 9


def test_config_of_another_program_makes_no_run(files: Files) -> None:
    found = diagnose(files({"config.json": '{"lr": 0.1}', "losses.csv": BOTH}))
    assert found.facts.columns["d_loss"] == "D/loss"


def test_several_logs_further_inside_are_named(files: Files) -> None:
    said = refusal(files({"version_0/metrics.csv": BOTH, "version_1/metrics.csv": BOTH}))
    assert "several logs: version_0/metrics.csv, version_1/metrics.csv." in said
    assert "name one, such as" in said


def test_halves_of_two_trainings_are_not_one(files: Files) -> None:
    said = refusal(files({"a/d.csv": "step,d_loss\n0,1\n1,1\n", "b/g.csv": "step,g_loss\n0,1\n1,1\n"}))
    assert "several logs: a/d.csv, b/g.csv" in said


def test_folder_of_wandb(files: Files) -> None:
    folder = files({
        "run-1/files/output.log": "".join(f"Epoch {n}: loss_D 0.{n + 1}, loss_G 1.{n}\n" for n in range(9)),
        "run-1/files/wandb-summary.json": json.dumps({"_step": 9, "loss_D": 0.5, "loss_G": 1.5}),
        "run-1/logs/debug.log": "2024-05-03 10:11:12,123 INFO MainThread:1 [a.py:f():76] SDK version is 0.16\n" * 5,
    })  # fmt: skip
    for inner in ("", "run-1", "run-1/files"):
        assert len(only(folder / inner)["D/loss"]) == 9
    assert "no name that is recognised" in refusal(folder / "run-1/logs/debug.log")


def test_log_that_is_there_twice_is_read_once(files: Files) -> None:
    plain = "2021-05-08 15:21:00,083 - mmgen - INFO - Iter [{n}/9] loss_disc: 0.5, loss_gen: 1.5\n"
    folder = files({
        "a.log": "".join(plain.format(n=n) for n in range(1, 9)),
        "a.log.json": "".join(json.dumps({"iter": n, "loss_disc": 0.5, "loss_gen": 1.5}) + "\n" for n in range(1, 9)),
    })  # fmt: skip
    assert len(only(folder)["D/loss"]) == 8


def test_log_among_very_many_other_files_is_found(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_FILES", 3)
    folder = files({**{f"{n}.png": "" for n in range(9)}, "logs/losses.csv": BOTH})
    assert len(only(folder)["D/loss"]) == 9


def test_long_document_in_a_folder_is_read_as_a_whole(files: Files) -> None:
    losses = {"settings": "x" * 100_000, "D_losses": [0.5] * 9999, "G_losses": [1.5] * 9999}
    folder = files({"history.json": json.dumps(losses), "config.json": '{"lr": 0.1}'})
    assert len(only(folder)["D/loss"]) == len(only(folder)["G/loss"]) == 9999


def test_text_that_names_its_losses_late_is_found(files: Files) -> None:
    model = "".join(f"(layer {n}): Conv2d(64, 64, bias=False)\n" for n in range(2000))
    assert len(only(files({"train.log": model + printed(range(9), 0.5)}))["D/loss"]) == 9


def test_events_without_losses_do_not_hide_the_log_beside_them(files: Files) -> None:
    folder = files({"losses.csv": BOTH})
    write_events(folder, *((n, {"lr": 0.1, "fid": 9.0}) for n in range(9)))
    assert only(folder).facts.format == "separated values"
    (folder / "losses.csv").unlink()
    assert only(folder).facts.format == "TensorBoard's events"
    write_events(folder, (0, {"lr": 0.1}), (1, {"lr": 0.2}))
    assert "no name that is recognised: lr" in refusal(folder)


# One training in several files


def rows(header: str, steps: range) -> str:
    return f"{header}\n" + "".join(",".join([str(n), *["0.5"] * header.count(",")]) + "\n" for n in steps)


def test_every_quantity_goes_on_in_the_second_file(files: Files) -> None:
    cycle = "step,D_A,G_A,D_B,G_B"
    folder = files({
        "a.csv": rows(cycle, range(9)), "b.csv": rows(cycle, range(9, 18)),
        "c.csv": rows("step,one,other", range(9)), "d.csv": rows("step,one,other", range(9, 18)),
        "e.csv": rows("step,loss_D1,loss_D2,g_loss", range(9)),
        "f.csv": rows("step,loss_D1,loss_D2,g_loss", range(9, 18)),
    })  # fmt: skip
    for name, files_, given in (("A", "ab", {}), ("", "cd", {"d_loss": "one", "g_loss": "other"}), ("", "ef", {})):
        history = read_trainings([folder / f"{file}.csv" for file in files_], names.to_columns(given))[name]
        assert len(history["D/loss"]) == len(history["G/loss"]) == 18
    scalars: dict[str, float] = dict.fromkeys(["D_A", "G_A", "D_B", "G_B"], 0.5)
    for name, steps in (("1", range(9)), ("2", range(9, 18))):
        write_events(folder / "events", *((n, scalars) for n in steps), name=name)
    assert len(read_trainings([folder / "events"])["B"]["G/loss"]) == 18


# Several trainings


def test_one_quantity_in_files_with_other_times_is_refused(files: Files) -> None:
    folder = files({"a.json": json.dumps({"d_loss": [1, 2, 3], "g_loss": [1, 2, 3]}), "b.csv": BOTH})
    assert "a.json counts by row, b.csv by epoch" in refusal(folder / "a.json", folder / "b.csv")


def test_one_quantity_under_two_names_in_two_files_is_refused(files: Files) -> None:
    folder = files({"a.csv": "epoch,errD,errG\n" + LOSSES, "b.csv": BOTH})
    assert "errD of a.csv and d_loss of b.csv are the same quantity" in refusal(folder / "a.csv", folder / "b.csv")


def test_file_that_would_be_left_out_is_refused(files: Files) -> None:
    folder = files({"a.csv": BOTH, "fid.csv": "step,fid\n100,9\n200,8\n"})
    assert "fid.csv counts by step, a.csv by epoch" in refusal(folder / "a.csv", folder / "fid.csv")


def printed(epochs: range, d_loss: float) -> str:
    return "".join(f"Epoch {n}: d_loss: {d_loss}, g_loss: 1.{n:02d}\n" for n in epochs)


def test_log_that_begins_anew_is_two_trainings(files: Files) -> None:
    path = files({"log.txt": printed(range(50), 0.75) + printed(range(30), 0.25)}) / "log.txt"
    trainings = read_trainings([path])
    assert {name: len(history["D/loss"]) for name, history in trainings.items()} == {"run 1": 50, "run 2": 30}
    assert set(trainings["run 2"]["D/loss"].value) == {0.25}
    found = diagnose(path)
    assert list(found.trainings) == ["run 1", "run 2"]
    assert "its time begins anew once: this is training 2 of 2" in str(found)


def test_many_trainings_of_different_lengths_are_told_apart(files: Files) -> None:
    lengths = [30, 28, 32, 12]
    path = files({"log.csv": "step,d_loss,g_loss\n" + "".join(f"{n},0.5,1.5\n" for k in lengths for n in range(k))})
    trainings = read_trainings([path / "log.csv"])
    assert {name: len(own["D/loss"]) for name, own in trainings.items()} == {
        f"run {i}": length for i, length in enumerate(lengths, 1)
    }


def test_steps_that_restart_after_equally_many_are_epochs_and_said_to_be(files: Files) -> None:
    history = only(files({"log.csv": "step,d_loss,g_loss\n" + "".join(f"{n},0.5,1.5\n" for n in range(30)) * 4}))
    assert history["D/loss"].at.tolist() == list(range(120))
    assert history.facts.notes == ("its step begins anew 3x: read as the epochs of one training",)


@pytest.mark.parametrize(("column", "values"), [("seed", (0, 1, 7)), ("run", ("a", "b b", "c")), ("run_id", (2, 4, 9))])
@pytest.mark.parametrize("blocks", [False, True], ids=["side by side", "one after the other"])
def test_trainings_that_a_column_names_are_told_apart(
    column: str, values: tuple[object, ...], blocks: bool, files: Files
) -> None:
    steps = range(30)
    pairs = [(i, n) for i in range(3) for n in steps] if blocks else [(i, n) for n in steps for i in range(3)]
    text = f"{column},step,d_loss,g_loss\n" + "".join(f"{values[i]},{n},0.{i + 1},1.5\n" for i, n in pairs)
    path = files({"log.csv": text}) / "log.csv"
    trainings = read_trainings([path])
    assert list(trainings) == [f"{column} {value}" for value in values]
    for i, history in enumerate(trainings.values()):
        assert history["D/loss"].at.tolist() == list(steps)
        assert set(history["D/loss"].value) == {(i + 1) / 10}
    assert f"3 trainings are side by side in it: this is {column} {values[1]}" in str(diagnose(path))


def test_of_trainings_side_by_side_all_are_thinned_alike() -> None:
    rows = Rows(2048)
    present = np.full(9000, VALUE, np.uint8)
    rows.add_block({"seed": Column(np.arange(9000) % 2.0, present), "d_loss": Column(np.ones(9000), present)})
    seeds = rows.table().columns["seed"].values
    assert len(seeds) < 6000
    assert 0.4 < seeds.mean() < 0.6


def test_trainings_in_lines_of_json_are_told_apart_by_their_seeds(files: Files) -> None:
    rows = [{"seed": seed, "step": n, "d_loss": 0.5, "g_loss": 1.5} for n in range(9) for seed in (3, 5)]
    assert list(read_trainings([files({"a.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}) / "a.jsonl"])) == [
        "seed 3", "seed 5"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rows",
    [
        [(i, n) for i in (1, 2) for n in range(30 * i - 30, 30 * i)],
        [(i, n) for i in (1, 2) for n in range(20 * i - 20, 20 * i + 10)],
        [(n, n) for n in range(30)],
        [(1, n) for n in range(30)],
    ],
    ids=["goes on", "resumed", "many", "one"],
)
def test_a_column_run_of_one_training_does_not_split_it(rows: list[tuple[int, int]], files: Files) -> None:
    history = only(files({"log.csv": "run,step,d_loss\n" + "".join(f"{i},{n},0.5\n" for i, n in rows)}))
    assert history["D/loss"].at.tolist() == sorted({n for _, n in rows})


@pytest.mark.parametrize("of", [("exp1", "exp1"), ("train", "eval")])
def test_a_name_of_the_training_beside_measures_makes_no_row_one_of_the_training(
    of: tuple[str, str], files: Files
) -> None:
    """Rows of FID have the step of the snapshot that is measured, which is earlier."""
    rows = "".join(
        f"{of[0]},{n},0.5,1.5,\n" + (f"{of[1]},{n - 4},,,{90 - n}\n" if n % 5 == 4 else "") for n in range(30)
    )
    history = only(files({"log.csv": "experiment,step,d_loss,g_loss,fid\n" + rows}))
    assert history["D/loss"].at.tolist() == list(range(30))
    assert len(history["fid"]) == 6
    assert history.facts.restarts == 0


def test_log_that_goes_back_to_its_middle_is_one_training(files: Files) -> None:
    history = only(files({"log.txt": printed(range(50), 0.75) + printed(range(25, 60), 0.25)}) / "log.txt")
    assert len(history["D/loss"]) == 60
    assert history.facts.restarts == 1


def test_first_try_of_a_few_lines_is_overwritten(files: Files) -> None:
    history = only(files({"log.txt": printed(range(3), 0.75) + printed(range(30), 0.25)}) / "log.txt")
    assert set(history["D/loss"].value) == {0.25}
    assert history.facts.restarts == 1
