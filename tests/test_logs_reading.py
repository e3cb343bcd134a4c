"""Numbers, tables, names and packed files of other people's logs, and what is said of what cannot be read."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ganvas.diagnosis.diagnosis import describe_columns
from ganvas.diagnosis.history import History
from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.reader import read, read_trainings
from ganvas.errors import GanvasError

Log = Callable[..., History]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Writes a log and reads it."""

    def write_and_read(text: str | bytes, name: str = "log.txt", columns: Mapping[str, str] | None = None) -> History:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (history,) = read_trainings([path], columns).values()
        return history

    return write_and_read


def refusal(log: Log, text: str | bytes, name: str = "log.txt") -> str:
    with pytest.raises(GanvasError) as raised:
        log(text, name)
    assert raised.value.expected
    assert raised.value.fix
    return str(raised.value)


# Decimal commas


@pytest.mark.parametrize(
    ("text", "d", "g"),
    [
        ("Epoch 0: d_loss: 0,7175, g_loss: 2,228\nEpoch 1: d_loss: 1,26, g_loss: 0,5\n", [0.7175, 1.26], [2.228, 0.5]),
        ("Epoch 0; d_loss=1,200; g_loss=-2,000\nEpoch 1; d_loss=0,982; g_loss=nan\n", [1.2, 0.982], [-2, float("nan")]),
        ("Epoch 0: d_loss: 1,200 g_loss: 2,000\n" * 3, [1.2] * 3, [2] * 3),
        ("Epoche 0: Verlust D 1,475 Verlust G 3,9\nEpoche 1: Verlust D 1,2e-2 Verlust G 4\n", [1.475, 0.012], [3.9, 4]),
        ("Schritt 1.234: D loss 0,5 G loss 1.234,5\nSchritt 2.234: D loss 1,5 G loss 1,5\n", [0.5, 1.5], [1234.5, 1.5]),
    ],
    ids=["four decimals", "three decimals", "only three decimals", "German", "thousands with points"],
)  # fmt: skip
def test_decimals_behind_a_comma(text: str, d: list[float], g: list[float], log: Log) -> None:
    history = log(text)
    assert history["D/loss"].value.tolist() == d
    assert history["G/loss"].value.tolist() == pytest.approx(g, nan_ok=True)
    assert "its decimals stand behind a comma" in describe_columns(history.facts)
    assert history["D/loss"].value[0] != 0


@pytest.mark.parametrize(
    ("text", "at", "d"),
    [
        ("Step 1,200 | D: 0.75 | G: 1,250.5\nStep 2,400 | D: 0.5 | G: 1.5\n", [1200, 2400], [0.75, 0.5]),
        ("Step 1,200 | D: 0,75 | G: 1,5\nStep 2,400 | D: 0,5 | G: 1,5\n", [1200, 2400], [0.75, 0.5]),
        ("Iter 1,000 D_loss 51,348.77\nIter 2,000 D_loss 9,470.5\n", [1000, 2000], [51348.77, 9470.5]),
        ("gpus: 0,1\niter: 107,200, D loss: 1.5\niter: 107,300, D loss: 1.25\n", [107_200, 107_300], [1.5, 1.25]),
    ],
)
def test_thousands_are_still_read(text: str, at: list[float], d: list[float], log: Log) -> None:
    history = log(text)
    assert history["D/loss"].at.tolist() == at
    assert history["D/loss"].value.tolist() == d


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("step\td_loss\tg_loss\n{0}\t0,750\t1,250\n{1}\t0,500\t1,500\n", "a.tsv"),
        ('"step","d_loss","g_loss"\n"{0}","0,750","1,250"\n"{1}","0,500","1,500"\n', "a.csv"),
        ("step d_loss g_loss\n{0} 0,750 1,250\n{1} 0,500 1,500\n", "a.txt"),
    ],
    ids=["tabs", "quoted", "blanks"],
)
@pytest.mark.parametrize("steps", [("0", "1"), ("1,000", "2,000")])
def test_decimals_behind_a_comma_in_tables(text: str, name: str, steps: tuple[str, str], log: Log) -> None:
    history = log(text.format(*steps), name)
    assert history["D/loss"].value.tolist() == [0.75, 0.5]
    assert history["G/loss"].value.tolist() == [1.25, 1.5]
    assert history["D/loss"].at.tolist() == [float(step.replace(",", "")) for step in steps]
    assert history.facts.resolution["D/loss"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("lines", "at", "d"),
    [
        ("9,800;1.0173;1.5\n9,900;1.0574;1.5\n", [9800, 9900], [1.0173, 1.0574]),
        ("9.800;1,0173;1,5\n9.900;1,0574;1,5\n", [9800, 9900], [1.0173, 1.0574]),
        ("9.800;1.234,56;1,5\n9.900;0,5;1,5\n", [9800, 9900], [1234.56, 0.5]),
        ("9,800;1,200.5;1.5\n9,900;0.5;1.5\n", [9800, 9900], [1200.5, 0.5]),
        ("0;1.200;1.5\n1;0.982;1.5\n", [0, 1], [1.2, 0.982]),
        ("0;0,5;1.5\n1;0,25;1.5\n", [0, 1], [0.5, 0.25]),
    ],
)
def test_thousands_and_decimals_where_semicolons_separate(
    lines: str, at: list[float], d: list[float], log: Log
) -> None:
    history = log("step;d_loss;g_loss\n" + lines, "a.csv")
    assert history["D/loss"].at.tolist() == at
    assert history["D/loss"].value.tolist() == d


@pytest.mark.parametrize("decimal", ".,")
@pytest.mark.parametrize("time", ["kimg", "epoch"])
def test_three_decimals_of_a_time_that_is_no_whole_number_are_no_thousands(time: str, decimal: str, log: Log) -> None:
    lines = "0.750;0.5;1.5\n1.000;0.5;1.5\n1.250;0.5;1.5\n".replace(".", decimal)
    assert log(f"{time};d_loss;g_loss\n" + lines, "a.csv")["D/loss"].at.tolist() == [0.75, 1, 1.25]
    lines = "".join(f"{n}.250;d_loss;0.5\n" for n in range(3)).replace(".", decimal)
    assert log(f"{time};name;value\n" + lines, "b.csv")["D/loss"].at.tolist() == [0.25, 1.25, 2.25]


@pytest.mark.parametrize(
    "lines", ["9.800;d_loss;0,75\n9.900;d_loss;1.000,5\n", "9,800;d_loss;0.75\n9,900;d_loss;1000.5\n"]
)
def test_thousands_and_decimals_in_long_form(lines: str, log: Log) -> None:
    history = log("step;name;value\n" + lines, "a.csv")
    assert history["D/loss"].at.tolist() == [9800, 9900]
    assert history["D/loss"].value.tolist() == [0.75, 1000.5]


# Tables, and prose that is none


MMCV = (
    "2021-05-08 15:21:00,083 - mmgen - INFO - Environment info:\n" + "-" * 60 + "\nsys.platform: linux\n"
    + "".join(
        f"2021-05-08 15:00:39,083 - mmgen - INFO - Iter [{n}00/3000]\tlr_generator: 2.000e-04, eta: 1 day, 2:33:00, "
        f"loss_disc_fake: 0.5{n}, loss_disc_real: 0.25, loss: 2.25, loss_disc_fake_g: 2.{n}\n" for n in range(1, 4)
    )
)  # fmt: skip


def test_lines_with_a_comma_and_a_dash_are_no_chart_of_wandb(log: Log) -> None:
    history = log("".join(f"2024-01-01 10:00:00,12{n} - INFO - epoch {n} d_loss {n}.5\n" for n in range(9)), "a.log")
    assert history["D/loss"].value.tolist() == [n + 0.5 for n in range(9)]


def test_log_of_mmcv_is_no_table(log: Log) -> None:
    history = log(MMCV, "20210508_152100.log")
    assert history["D/loss_fake"].at.tolist() == [100, 200, 300]
    assert history["D/loss_real"].value.tolist() == [0.25] * 3
    assert history["G/loss"].value.tolist() == [2.1, 2.2, 2.3]


@pytest.mark.parametrize(
    "text",
    [
        "epoch     train_loss  gen_loss  crit_loss  time    \n"
        "0         3.25        1.25      0.75       00:12   \n1         2.5         1.5       0.5        00:12   \n",
        "┏━━━━━━━┳━━━━━━━━┳━━━━━━━━┓\n┃ epoch ┃ d_loss ┃ g_loss ┃\n┡━━━━━━━╇━━━━━━━━╇━━━━━━━━┩\n"
        "│     0 │  0.75  │  1.25  │\n│     1 │  0.50  │  1.50  │\n└───────┴────────┴────────┘\n",
        "+-------+--------+--------+\n| epoch | d_loss | g_loss |\n+=======+========+========+\n"
        "|     0 |  0.75  |  1.25  |\n+-------+--------+--------+\n|     1 |  0.50  |  1.50  |\n",
        "# epoch d_loss g_loss\n0 0.75 1.25\n1 0.5 1.5\n",
    ],
    ids=["fastai", "rich", "tabulate", "savetxt"],
)
def test_tables_are_read(text: str, log: Log) -> None:
    history = log(text)
    assert history.unit == "epoch"
    assert history["D/loss"].value.tolist() == [0.75, 0.5]
    assert history["G/loss"].value.tolist() == [1.25, 1.5]


@pytest.mark.parametrize(
    ("text", "name", "columns"),
    [
        ("0,0.75,1.25\n1,0.5,1.5\n", "a.csv", {"1": "step", "2": "D/loss", "3": "G/loss"}),
        ("0.75 1.25\n0.5 1.5\n", "a.txt", {"1": "D/loss", "2": "G/loss"}),
        ("(0, 0.75, 1.25)\n(1, 0.5, 1.5)\n", "a.txt", {"1": "step", "2": "D/loss", "3": "G/loss"}),
        ("0;0,75;1,25\n1;0,5;1,5\n", "a.csv", {"1": "step", "2": "D/loss", "3": "G/loss"}),
    ],
    ids=["CSV", "blanks", "tuples", "decimal commas"],
)
def test_columns_without_names_are_given_by_their_places(
    text: str, name: str, columns: dict[str, str], log: Log
) -> None:
    roles = [role for role in ("step", "d_loss", "g_loss") if role != "step" or "step" in columns.values()]
    given = ",".join(f"{role}={place}" for place, role in enumerate(roles, 1))
    assert f"--columns {given}." in refusal(log, text, name)
    history = log(text, name, columns)
    assert history["D/loss"].at.tolist() == [0, 1]
    assert history["D/loss"].value.tolist() == [0.75, 0.5]


# Names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("discriminator loss: 0.5\nadversarial loss: 1.5\n", {"D/loss": 0.5, "G/loss": 1.5}),
        (">1, c1=-8.5, c2=-9.5 g=3.25\n", {"D/loss_real": -8.5, "D/loss_fake": -9.5, "G/loss": 3.25}),
        (">1 Accuracy real: 92%, fake: 80%\n", {"D/accuracy_real": 0.92, "D/accuracy_fake": 0.8}),
        ("D loss 5 (acc real 98%, fake 75%)\n", {"D/loss": 5, "D/accuracy_real": 0.98, "D/accuracy_fake": 0.75}),
        ("D/loss_real: -9, D/loss_fake: 8, G/loss_fake: 7.5\n", {"D/loss_real": -9, "D/loss_fake": 8, "G/loss": 7.5}),
        ("第3轮 判别器损失: 0.5 生成器损失: 1.5\n", {"D/loss": 0.5, "G/loss": 1.5}),
        ("Época 1 - perte discriminateur: 0,5 - Verlust Generator: 1,5\n", {"D/loss": 0.5, "G/loss": 1.5}),
        ("epoch 1 d_hinge: 0.5 g_hinge: 1.5\n", {"D/loss": 0.5, "G/loss": 1.5}),
    ],
)  # fmt: skip
def test_names_of_single_programs(line: str, expected: dict[str, float], log: Log) -> None:
    history = log(line)
    assert {own: history[own].last for own in expected} == expected
    assert set(history.facts.columns.values()) - set(names.TIMES) - set(expected) <= {"G/loss"}


def test_critic_of_c1_and_c2_is_one(log: Log) -> None:
    assert log(">1, c1=0.5, c2=0.5 g=3.25\n").facts.critic is True
    assert "D/loss_real" not in log("c1: 0.5 g_loss: 1\n")


def test_adversarial_loss_beside_a_loss_of_g_is_no_role(log: Log) -> None:
    history = log("step 1 adv_loss: 9.5 g_loss: 1.5 d_loss: 0.5\n")
    assert history["G/loss"].last == 1.5
    assert history.facts.unused == ("adv_loss",)


def test_steps_beside_a_loss_are_the_time(log: Log) -> None:
    history = log("Steps : 5, Gen Loss Total : 54.5\nSteps : 10, Gen Loss Total : 50.5\n")
    assert history["G/loss"].at.tolist() == [5, 10]
    assert log("steps: 100\nstep 1 d_loss: 0.5\n")["D/loss"].at.tolist() == [1]


def test_losses_of_several_ds_are_their_mean(log: Log) -> None:
    history = log("step,loss_D1,loss_D2,loss_G\n0,0.5,1.5,1\n1,0.25,0.75,1\n", "a.csv")
    assert history["D/loss"].value.tolist() == [1, 0.5]
    assert history.facts.columns["mean of loss_D1, loss_D2"] == "D/loss"
    assert "D/loss" in log("step,loss_D1,loss_D2,loss_D\n0,1,1,2\n1,1,1,2\n", "b.csv").facts.columns["loss_D"]


def test_accuracy_of_a_classifier_is_not_that_of_d(log: Log) -> None:
    assert "no name that is recognised" in refusal(
        log, "epoch,train_loss,val_loss,accuracy\n0,2,2,0\n1,1,1,1\n", "a.csv"
    )
    assert "no name that is recognised" in refusal(log, "epoch 1 loss: 0.5 accuracy: 0.75\n" * 3)
    assert "D/accuracy" in log("epoch,d_loss,accuracy\n0,2,0.5\n1,1,1\n", "b.csv")


def test_fid_on_validation_is_preferred(log: Log) -> None:
    history = log("epoch,fid_train,fid_val,d_loss\n0,9,99,1\n1,8,88,1\n", "a.csv")
    assert history["fid"].value.tolist() == [99, 88]
    assert history.facts.unused == ("fid_train",)


def test_latin_1_names_are_read(log: Log) -> None:
    history = log("époque;perte D;perte G\n0;0,5;1\n1;0,25;1\n".encode("latin-1"), "a.csv")
    assert history.facts.columns == {"époque": "epoch", "perte D": "D/loss", "perte G": "G/loss"}
    assert refusal(log, b"step,perte_\xe9\n1,2\n2,3\n", "b.csv").count("perte_é") == 1


def test_what_was_dropped_is_shown_with_the_option(log: Log) -> None:
    shown = describe_columns(log("step 1\ndiscriminator loss: 0.5\nfooling: 1.5\n" * 4).facts)
    assert "not used: fooling" in shown
    assert "no g_loss in it; if one of these is, say so: --columns g_loss=NAME" in shown
    assert log("discriminator loss: 0.5\nfooling: 1.5\n" * 4, columns={"fooling": "G/loss"})["G/loss"].last == 1.5


@pytest.mark.parametrize(
    ("text", "lists", "fix"),
    [
        ("12:10:10\t44k\tINFO\tLosses: [2.3, 2.2], lr: 0.1, ref_loss: 3.5\n", "Losses, lr, ref_loss", "d_loss=NAME"),
        ("one loss: 0.5, one more loss: 1.5\n", "one loss, one more loss", "'d_loss=one loss,g_loss=one more loss'"),
        ("epoch 1 train_loss: 0.5 val_loss: 1.5\n", "train_loss, val_loss", "d_loss=NAME,g_loss=NAME"),
    ],
)  # fmt: skip
def test_proposals_make_sense_and_can_be_pasted(text: str, lists: str, fix: str, log: Log) -> None:
    said = refusal(log, text)
    assert f"recognised: {lists}" in said
    assert f"--columns {fix}" in said
    assert "INFO" not in said


def test_level_alone_is_no_name(log: Log) -> None:
    assert "contains no numbers with known names" in refusal(log, "ljs\tINFO\t[2.5, 1.5, 1.25, 200]\n" * 5)


def test_settings_above_printed_lines_are_no_lines_of_json(log: Log) -> None:
    lines = "[0/25][0/1583] Loss_D: 1.5 Loss_G: 2.5\n" * 30
    assert len(log('{"lr": 0.0002}\n' + lines)["G/loss"]) == 30
    history = log('{"lr": 0.0002, "model": "dcgan"}\n' + "Epoch 1: d_loss: 0.5, g_loss: 1.5\n" * 30)
    assert history.facts.format == "printed lines"
    assert len(history["D/loss"]) == 30


@pytest.mark.parametrize(
    ("values", "known"),
    [((0, 1, 1), False), ((1, 1, 1), False), ((1, 1.5, 2), True), ((0.9999999, 2, 3), True), ((0, -1, 2), True)],
)
def test_flag_is_no_inception_score(values: tuple[float, ...], known: bool, log: Log) -> None:
    history = log("step,d_loss,is_train\n" + "".join(f"{n},0.5,{value}\n" for n, value in enumerate(values)), "a.csv")
    assert ("inception score" in history) == known
    assert history.facts.unused == (() if known else ("is_train",))


# Columns that the user names


def test_roles_of_two_gans_are_named(log: Log, tmp_path: Path) -> None:
    columns = names.to_columns({"d_loss_A": "a", "g_loss_A": "b", "d_loss_B": "c", "g_loss_B": "d"})
    with pytest.raises(ValueError, match="too many values"):
        log("step,a,b,c,d\n0,1,2,3,4\n1,1,2,3,4\n", "a.csv", columns)
    trainings = read_trainings([tmp_path / "a.csv"], columns)
    assert trainings["B"]["G/loss"].value.tolist() == [4, 4]
    assert trainings["B"].facts.columns == {"step": "step", "c": "D/loss", "d": "G/loss"}
    with pytest.raises(GanvasError, match="both GANs"):
        read_trainings([tmp_path / "a.csv"], names.to_columns({"d_loss_A": "a"}))


def test_column_given_twice_is_refused() -> None:
    with pytest.raises(GanvasError, match="'a' twice"):
        names.to_columns({"d_loss": "a", "g_loss": "a"})
    with pytest.raises(GanvasError, match="kid, inception_score"):
        names.to_columns({"kidd": "a"})


# Lists in a document


def test_shorter_list_is_spread_and_that_is_said(log: Log) -> None:
    losses = {"D_losses": [0.5] * 20, "G_losses": [1.5] * 20}
    short = log(json.dumps(losses | {"fid": [40, 30, 20, 10]}), "a.json")
    assert short["fid"].at.tolist() == [4, 9, 14, 19]
    assert "fid: 4 values, spread evenly over the 20 rows" in describe_columns(short.facts)
    pairs = log(json.dumps(losses | {"fid_history": [[500, 40], [1000, 20]]}), "b.json")
    assert list(zip(pairs["fid"].at, pairs["fid"].value, strict=True)) == [(9, 40), (19, 20)]
    assert "fid_history: 2 values, spread evenly over the 20 rows" in describe_columns(pairs.facts)
    rows = log(json.dumps(losses | {"fid": [[0, 40], [15, 20]]}), "c.json")
    assert rows["fid"].at.tolist() == [0, 15]
    assert not rows.facts.notes


def test_list_of_texts_stretches_no_list_of_numbers(log: Log) -> None:
    history = log(json.dumps({"images": ["a.png"] * 9, "D_losses": [0.5, 0.25], "G_losses": [1, 2]}), "a.json")
    assert history["D/loss"].at.tolist() == [0, 1]
    assert not history.facts.notes


@pytest.mark.parametrize("key", ["epoch_{}", "Epoch {}", "step{}"])
def test_document_of_named_times_has_a_row_for_each(key: str, log: Log) -> None:
    history = log(json.dumps({key.format(n): {"d_loss": n / 8, "g": {"loss": 1}} for n in range(1, 12)}), "a.json")
    assert history["D/loss"].at.tolist() == [*range(1, 12)]
    assert history["D/loss"].value.tolist() == [n / 8 for n in range(1, 12)]


def test_printed_lists_go_on(log: Log) -> None:
    parts = [[0.5, 0.25, 0.5, 0.25, n] for n in range(3)]
    next_ = log("".join(f"d_losses: {part} g_losses: {part}\n" for part in parts))
    assert next_["D/loss"].value.tolist() == [value for part in parts for value in part]
    grown = log("".join(f"d_losses = {[float('nan'), *range(n)]}\n" for n in range(4, 9)), "b.txt")
    assert grown["D/loss"].value.tolist()[1:] == [*range(8)]


def test_lists_of_each_step_do_not_replace_its_losses(log: Log) -> None:
    outputs = ", ".join(["0.5"] * 8)
    lines = (f"step {n} d_loss: 0.5 g_loss: 1.2\nD(x): [{outputs}] D(G(z)): [{outputs}]\n" for n in range(30))
    history = log("".join(lines))
    assert len(history["D/loss"]) == len(history["G/loss"]) == 30
    assert history.unit == "step"


def test_of_printed_lists_and_lines_those_with_more_quantities_are_read(log: Log) -> None:
    lists = "".join(f"{name}_losses = {[0.5] * 9}\n" for name in "DG")
    lines = log("".join(f"step {n} d_loss: 0.5, g_loss: 1, fid: 9\n" for n in range(4)) + lists, "a.txt")
    assert (lines.unit, len(lines["D/loss"])) == ("step", 4)
    assert "not used: D_losses, G_losses" in describe_columns(lines.facts)
    assert len(log(f"best d_loss: 0.25\n{lists}", "b.txt")["D/loss"]) == 9


# Packed files, and files that are no logs


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_packed_log_is_read(pack: Callable[[bytes], bytes], suffix: str, log: Log, tmp_path: Path) -> None:
    assert log(pack(b"step,d_loss\n0,0.5\n1,0.25\n"), f"a.csv.{suffix}")["D/loss"].value.tolist() == [0.5, 0.25]
    assert len(read(tmp_path)["D/loss"]) == 2
    history = log(pack(json.dumps({"d_loss": [0.5, 0.25]}).encode()), f"b.json.{suffix}")
    assert history["D/loss"].value.tolist() == [0.5, 0.25]


def test_packed_log_that_is_cut_off_is_read_so_far(log: Log) -> None:
    text = "".join(f"step {n} d_loss: 0.{n * 7919 % 1000:03d}\n" for n in range(9000))
    packed = gzip.compress(text.encode())
    assert len(log(packed[: len(packed) // 2], "a.log.gz")["D/loss"]) > 1000
    assert "could not be unpacked" in refusal(log, packed[:20] + b"\xff" * 500, "b.log.gz")


@pytest.mark.parametrize(
    ("content", "name", "what", "fix"),
    [
        (b"PK\x03\x04" + bytes(30) + b"archive/data.pkl", "a.pt", "is a checkpoint of PyTorch", "not its weights"),
        (b"PK\x03\x04" + bytes(30) + b"d_loss.npy", "a.npz", "is a NumPy archive", "as CSV"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "a.npy", "is a NumPy array", "as CSV"),
        (b'<?xml version="1.0"?>\n<log><row step="0"/></log>', "a.xml", "is XML", "as CSV"),
        (b"\x89PNG\r\n\x1a\n", "a.png", "an image", "the log of the training"),
        (b"\x80\x04\x95d_loss", "a.pkl", "a pickle", "as CSV"),
    ],
)
def test_file_that_is_no_log_is_called_what_it_is(content: bytes, name: str, what: str, fix: str, log: Log) -> None:
    said = refusal(log, content, name)
    assert what in said
    assert fix in said


def test_name_of_a_file_cannot_change_the_terminal(log: Log) -> None:
    said = refusal(log, "step,foo\n1,2\n2,3\n", "\x1b[31mred\n.csv")
    assert "\\x1b[31mred\\n.csv contains" in said
    assert "\x1b" not in said


@pytest.mark.slow
def test_help_says_what_the_exit_status_and_the_json_are() -> None:
    command = [sys.executable, "-m", "ganvas", "diagnose", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "300"}, check=True)
    assert "exit status is 0 whatever is found" in shown.stdout
    assert "--json prints one object" in shown.stdout


@pytest.mark.parametrize("measures", [["precision", "recall"], ["recall"]], ids=["both", "alone"])
def test_recall_is_a_measure_of_images_where_precision_is_there_too(measures: list[str], tmp_path: Path) -> None:
    rows = [",".join(["step", "d_loss", "g_loss", *measures])]
    rows += [",".join([str(i), f"{1 + i / 100}", "0.9", *[f"{0.5 + i / 100}"] * len(measures)]) for i in range(20)]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    assert ("recall" in read(tmp_path / "log.csv").columns) == (len(measures) == 2)
