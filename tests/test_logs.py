"""Logs of any program as a History: formats, known names, and the errors for files that are not logs."""

import json
import math
import re
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.reader import read, read_trainings
from ganvas.diagnosis.logs.rows import VALUE, Column, Rows
from ganvas.diagnosis.logs.timeline import find_time
from ganvas.errors import GanvasError

Log = Callable[..., History]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Writes a log and reads it."""

    def write_and_read(text: str | bytes, name: str = "log.txt") -> History:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path)

    return write_and_read


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def points(history: History, name: str) -> list[tuple[float, float]]:
    series = history[name]
    return list(zip(series.at.tolist(), series.value.tolist(), strict=True))


# Lines of JSON


def test_stats_of_ganvas_equal_history_from_stats(log: Log) -> None:
    rows = [{"nimg": n, "D/loss": {"num": 9, "mean": n / 1000, "std": 0.5}, "D/lr": 0.1} for n in (1000, 2500)]
    history = log(lines(*rows), "stats.jsonl")
    assert history.unit == "kimg"
    assert history.columns == History.from_stats(rows, Facts()).columns
    assert points(history, "D/loss") == [(1, 1), (2.5, 2.5)]


def test_stylegan_stats_are_read_by_kimg(log: Log) -> None:
    def row(kimg: float) -> dict[str, Any]:
        means = {"Loss/scores/real": 1.5, "Loss/scores/fake": -0.5, "Loss/signs/real": 0.8, "Loss/D/loss": kimg / 10}
        stats = {
            name: {"num": 4, "mean": mean, "std": 0.25} for name, mean in (means | {"Progress/kimg": kimg}).items()
        }
        return stats | {"timestamp": 1.7e9}

    history = log(lines(row(4), row(8)), "stats.jsonl")
    assert history.unit == "kimg"
    assert points(history, "D/loss") == [(4, 0.4), (8, 0.8)]
    assert points(history, "D/sign_real") == [(4, 0.8), (8, 0.8)]
    assert history["D/fake"].last == -0.5
    assert history["D/fake/std"].last == 0.25
    assert "timestamp" not in history
    assert "timestamp" in history.facts.unused
    assert history.facts.probabilities is False
    assert history.facts.columns["Loss/scores/real"] == "D/real"
    assert history.facts.columns["Progress/kimg"] == "kimg"


def test_nested_objects_keep_their_outer_names(log: Log) -> None:
    history = log(lines({"step": 5, "D": {"loss": 0.5}, "G": {"loss": 2}, "note": "x", "flag": True}))
    assert points(history, "D/loss") == [(5, 0.5)]
    assert points(history, "G/loss") == [(5, 2)]
    assert set(history.columns) == {"D/loss", "G/loss"}


@pytest.mark.parametrize(
    ("written", "check"),
    [
        ("NaN", math.isnan),
        ('"nan"', math.isnan),
        ("Infinity", math.isinf),
        ('"-inf"', math.isinf),
        ("null", math.isnan),
    ],
)
def test_value_that_is_not_finite_is_kept(log: Log, written: str, check: Callable[[float], bool]) -> None:
    history = log(lines({"step": 1, "d_loss": 0.5}) + f'{{"step": 2, "d_loss": {written}}}\n')
    assert history["D/loss"].at.tolist() == [1, 2]
    assert check(history["D/loss"].last)


def test_null_between_numbers_is_a_gap(log: Log) -> None:
    rows = [{"step": n, "g_loss": None if n % 2 else 1.0, "fid": None if n else 90.0, "d_loss": 0.5} for n in range(4)]
    history = log(lines(*rows))
    assert points(history, "G/loss") == [(0, 1), (2, 1)]
    assert points(history, "fid") == [(0, 90)]


@pytest.mark.parametrize("cell", ["", "None", "-"])
def test_cells_that_stay_empty_at_the_end_are_nan(log: Log, cell: str) -> None:
    """As pandas writes NaN; the evaluation at the end, and the one in between, are rows of their own."""
    trained = [f"{n},0.1,0.5,1.5,{cell}\n" for n in range(9)]
    evaluated = f"9,{cell},{cell},{cell},40\n"
    dead = "".join(f"{n},0.1,{cell},{cell},{cell}\n" for n in range(9, 12))
    header = "step,lr,d_loss,g_loss,fid\n"
    history = log(header + "".join(trained[:5]) + evaluated.replace("9", "4", 1) + "".join(trained[5:]) + dead)
    assert history["D/loss"].at.tolist() == history["G/loss"].at.tolist() == [float(n) for n in range(12)]
    assert [math.isnan(value) for value in history["D/loss"].value] == [False] * 9 + [True] * 3
    healthy = log(header + "".join(trained) + evaluated * 4)
    assert points(healthy, "D/loss") == [(n, 0.5) for n in range(9)]
    assert healthy["fid"].last == 40


def test_a_column_that_ends_before_another_loss_is_shorter_and_not_nan(log: Log) -> None:
    """As pandas writes columns of several lengths, of five updates of D to each of G."""
    rows = "".join(f"{n},0.5,{1.5 if n < 60 else ''}\n" for n in range(300))
    history = log(",d_loss,g_loss\n" + rows, "log.csv")
    assert (len(history["D/loss"]), len(history["G/loss"])) == (300, 60)
    live = log("step,d_loss,g_loss\n0,1,2\n1,0.9,\n2,0.8,\n3,0.7,\n", "live.csv")
    assert points(live, "G/loss") == [(0, 2)]


def test_losses_that_never_were_numbers_are_nan(log: Log) -> None:
    history = log("epoch,d_loss,g_loss,fid\n" + "".join(f"{n},nan,nan,{400 + n}\n" for n in range(10)), "log.csv")
    assert np.isnan(history["D/loss"].value).all()
    assert len(history["G/loss"]) == 10


def test_nan_in_rows_of_an_evaluation_is_a_gap(log: Log) -> None:
    trained = "".join(
        f"{n},0.5,1.5,nan\n{n},nan,nan,{40 - n}\n" if n % 3 == 2 else f"{n},0.5,1.5,nan\n" for n in range(9)
    )
    history = log("step,d_loss,g_loss,fid\n" + trained, "a.csv")
    assert points(history, "D/loss") == [(n, 0.5) for n in range(9)]
    assert points(history, "G/loss") == [(n, 1.5) for n in range(9)]
    assert [(at, value) for at, value in points(history, "fid") if math.isfinite(value)] == [(2, 38), (5, 35), (8, 32)]


def test_nan_beside_a_measure_that_is_in_all_rows_is_one_of_the_loss(log: Log) -> None:
    rows = [f"{n},0.5,1.5,40\n" if n < 6 else f"{n},nan,nan,400\n" for n in range(9)]
    assert math.isnan(log("step,d_loss,g_loss,fid\n" + "".join(rows), "a.csv")["D/loss"].last)


def test_one_null_at_the_end_of_many_rows_is_a_gap(log: Log) -> None:
    row = {"step": 0, "d_loss": 0.5, "g_loss": 1.5, "fid": 20}
    history = log(lines(*[row | {"step": n} for n in range(9)], row | {"step": 9, "d_loss": None, "g_loss": None}))
    assert history["D/loss"].at.tolist() == history["G/loss"].at.tolist() == [float(n) for n in range(9)]


def test_torn_lines_are_counted(log: Log) -> None:
    history = log(lines({"step": 1, "d_loss": 1.0}) + "[1, 2]\n\n" + '{"step": 2, "d_lo')
    assert points(history, "D/loss") == [(1, 1)]
    assert history.facts.unread == 2


def test_number_too_large_for_a_float_is_infinite(log: Log) -> None:
    assert log(f'{{"d_loss": 1{"0" * 400}}}\n')["D/loss"].last == math.inf


# One JSON document


def test_keras_history(log: Log) -> None:
    history = log(json.dumps({"d_loss": [0.7, 0.5, 0.4], "g_loss": [1, 2], "lr": [0.1, 0.1, 0.1]}), "history.json")
    assert history.unit == "row"
    assert points(history, "D/loss") == [(0, 0.7), (1, 0.5), (2, 0.4)]
    assert points(history, "G/loss") == [(0, 1), (1, 2)]
    assert history.facts.unused == ("lr",)


def test_list_of_objects(log: Log) -> None:
    history = log(json.dumps([{"iteration": 10, "lossD": 0.5}, {"iteration": 20, "lossD": "nan"}], indent=1))
    assert history.unit == "step"
    assert history["D/loss"].at.tolist() == [10, 20]
    assert math.isnan(history["D/loss"].last)


# Separated values


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("step,d_loss,g_loss\n0,0.5,1\n10,0.25,2\n", "log.csv"),
        ("step\td_loss\tg_loss\n0\t0.5\t1\n10\t0.25\t2\n", "log"),
        ("step;d_loss;g_loss\n0;0,5;1,0\n10;0,25;2\n", "log.csv"),
        ("# step d_loss   g_loss\n 0 0.5 1\n10  0.25 2 \n".replace("# ", ""), "log.dat"),
        ('"step","d_loss","g_loss"\r\n"0","0.5","1"\r\n"10","0.25","2"\r\n', "log.txt"),
        ("#step,d_loss,g_loss\n0,0.5,1\n10,0.25,2\n", "log.txt"),
    ],
    ids=["comma", "tab", "semicolon", "space", "quoted", "commented"],
)
def test_separated_values(log: Log, text: str, name: str) -> None:
    history = log(text, name)
    assert history.unit == "step"
    assert points(history, "D/loss") == [(0, 0.5), (10, 0.25)]
    assert points(history, "G/loss") == [(0, 1), (10, 2)]


def test_empty_cells_are_gaps_and_words_are_not_numbers(log: Log) -> None:
    history = log("step,d_loss,fid,note\n0,0.5,,fine\n1,nan,90,bad\n2,0.7,,\n", "metrics.csv")
    assert points(history, "fid") == [(1, 90)]
    assert math.isnan(history["D/loss"].value[1])
    assert "note" not in history


def test_lines_of_another_width_are_counted_and_a_repeated_header_is_skipped(log: Log) -> None:
    history = log("step,d_loss\n0,0.5\nstep,d_loss\n1,0.25\n2\n", "log.csv")
    assert points(history, "D/loss") == [(0, 0.5), (1, 0.25)]
    assert history.facts.unread == 1


@pytest.mark.parametrize("header", ["step,d_loss,g_loss,fid", "step,g_loss,d_loss"])
def test_a_resumed_log_may_have_other_columns(log: Log, header: str) -> None:
    row = {"step": "{n}", "d_loss": "0.25", "g_loss": "1.25", "fid": "30"}
    later = ",".join(row[name] for name in header.split(",")) + "\n"
    history = log(
        "step,d_loss,g_loss\n" + "".join(f"{n},0.5,1.5\n" for n in range(9))
        + f"{header}\n" + "".join(later.format(n=n) for n in range(9, 15)), "log.csv"
    )  # fmt: skip
    assert points(history, "D/loss") == [(n, 0.5 if n < 9 else 0.25) for n in range(15)]
    assert points(history, "G/loss") == [(n, 1.5 if n < 9 else 1.25) for n in range(15)]
    assert points(history, "fid") == ([(n, 30) for n in range(9, 15)] if "fid" in header else [])
    assert history.facts.unread == 0


@pytest.mark.parametrize("between", ["epoch,fid\n1,90.5\n", "saved, generator, discriminator, ok\n"])
def test_what_stands_between_the_rows_does_not_hide_those_after_it(log: Log, between: str) -> None:
    rows = [f"{n},0.5,1.5\n" for n in range(60)]
    history = log("step,d_loss,g_loss\n" + "".join(rows[:20]) + between + "".join(rows[20:]), "log.csv")
    assert points(history, "D/loss") == [(n, 0.5) for n in range(60)]
    assert history.facts.unread == 0


def test_single_column_and_duplicate_name(log: Log) -> None:
    assert points(log("d_loss\n0.5\n0.25\n", "a.csv"), "D/loss") == [(0, 0.5), (1, 0.25)]
    history = log("d_loss,d_loss\n0.5,3\n0.25,4\n", "b.csv")
    assert history["D/loss"].value.tolist() == [0.5, 0.25]
    assert history.facts.unused == ("d_loss (2)",)


def test_fifty_thousand_lines_take_under_two_seconds(log: Log) -> None:
    rows = "\n".join(f"{n},0.{n},1.5,{n % 7}" for n in range(50_000))
    start = time.process_time()
    history = log("step,d_loss,g_loss,other\n" + rows, "log.csv")
    assert time.process_time() - start < 2
    assert len(history["D/loss"]) == 50_000
    assert history["G/loss"].at[-1] == 49_999


def test_fifty_thousand_lines_that_end_in_nan_take_under_two_seconds(log: Log) -> None:
    rows = "\n".join(f"{n},0.{n},1.5,{50 if n % 100 == 0 else 'nan'}" for n in range(50_000))
    start = time.process_time()
    history = log("step,d_loss,g_loss,fid\n" + rows, "log.csv")
    assert time.process_time() - start < 2
    assert len(history["D/loss"]) == 50_000


# Printed lines


def test_pytorch_dcgan_example(log: Log) -> None:
    history = log(
        "Random Seed:  4242\nGenerator(\n  (main): Sequential(\n"
        "[0/25][0/1583] Loss_D: 1.5 Loss_G: 5.5 D(x): 0.5 D(G(z)): 0.625 / 0.0625\n"
        "[12/25][300/1583]\tLoss_D: 0.55\tLoss_G: 2.1\tD(x): 0.77\tD(G(z)): 0.16 / 0.12\n"
    )
    assert history.unit == "step"
    assert points(history, "D/loss") == [(0, 1.5), (12 * 1583 + 300, 0.55)]
    assert history["D/real"].value.tolist() == [0.5, 0.77]
    assert history["D/fake"].value.tolist() == [0.625, 0.16]
    assert history.facts.probabilities is True


def test_keras_gan(log: Log) -> None:
    history = log("0 [D loss: 0.69, acc.: 50.00%] [G loss: 0.72]\n100 [D loss: 0.01, acc.: 100%] [G loss: 7.3]\n")
    assert history.unit == "step"
    assert points(history, "D/accuracy") == [(0, 0.5), (100, 1)]
    assert points(history, "G/loss") == [(0, 0.72), (100, 7.3)]


def test_accuracy_belongs_to_the_network_before_it(log: Log) -> None:
    history = log("Epoch 3/50 [G loss: 7.3, acc: 10%] [D loss: 0.0012, acc.: 100%]\n")
    assert points(history, "D/accuracy") == [(3, 1)]
    assert history.facts.unused == ("G acc",)


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("[Epoch 2/200] [Batch 30/100] [D loss: 0.5] [G loss: 1.5]", 230),
        ("Epoch [2/50], Step [30/100], d_loss: 0.5, g_loss: 1.5, D(x): 0.6", 30),
        (">2, 30/100, d_loss=0.5 g=1.5", 230),
        ("Epoch 2:  30%|███   | 30/100 [00:10<00:12, 4.5it/s, d_loss=0.5, g_loss=1.5]", 230),
        ("2024-05-06 12:00:01,123 INFO step 30: train D loss = 0.5 | G loss = 1.5 | lr 0.1", 30),
        ("{'d_loss': 0.5, 'g_loss': 1.5, 'step': 30}", 30),
        ("(epoch: 2, iters: 30, time: 0.100) G_GAN: 1.5 G_L1: 9 D_loss: 0.5", 30),
        ("iter 30 d_loss: tensor(0.5, device='cuda:0') g_loss: tensor(1.5)", 30),
        ("\x1b[32mIteration 30\x1b[0m  D loss: [0.5, 0.75]  G loss: 15e-1", 30),
    ],
)
def test_other_formats_of_printed_lines(log: Log, line: str, at: float) -> None:
    history = log(f"Using cuda\n{line}\n")
    assert history.unit == "step"
    assert points(history, "D/loss") == [(at, 0.5)]
    assert points(history, "G/loss") == [(at, 1.5)]


def test_keras_progress_bars_follow_their_epoch(log: Log) -> None:
    bar = " [=====>...] - ETA: 3s - d_loss: 0.{0} - g_loss: 1.{0}"
    history = log(
        f"Epoch 1/2\n\r1/9{bar.format(1)}\b\b\b9/9{bar.format(2)}\nEpoch 2/2\n9/9 - 19ms/step{bar.format(3)}\n"
    )
    assert points(history, "D/loss") == [(10, 0.1), (18, 0.2), (27, 0.3)]


def test_printed_nan_is_read_and_time_of_day_is_not(log: Log) -> None:
    history = log("step 1 at: 12:30:01 d_loss: nan g_loss: -inf\nstep 2 d_loss: 1e-3 g_loss: .5\n")
    assert math.isnan(history["D/loss"].value[0])
    assert history["G/loss"].value.tolist() == [-math.inf, 0.5]
    assert set(history.columns) == {"D/loss", "G/loss"}


def test_settings_before_the_first_loss_and_seconds_per_step_are_not_the_time(log: Log) -> None:
    history = log("lr: 0.1\nepochs: 3\nEpoch [1/3] Loss D: 0.5\nsec per step: 0.3\nEpoch [2/3] Loss D: 0.25\n")
    assert history.unit == "epoch"
    assert points(history, "D/loss") == [(1, 0.5), (2, 0.25)]
    assert set(history.columns) == {"D/loss"}


def test_d_real_of_pix2pix_is_a_loss(log: Log) -> None:
    assert "D/real" in log("G_loss: 1 D_real: 0.5 D_fake: 0.25\n")
    history = log("(epoch: 1, iters: 1) G_GAN: 0.5 G_L1: 9.0 D_real: 0.75 D_fake: 0.25\n")
    assert history["D/loss_real"].last == 0.75
    assert history["D/loss_fake"].last == 0.25
    assert history.facts.unused == ("G_L1",)
    assert "D/real" not in history


def test_utf_16_file_of_powershell(log: Log) -> None:
    assert points(log("step 1 d_loss: 0.5\n".encode("utf-16")), "D/loss") == [(1, 0.5)]


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("gb18030", "训练　轮次 {0} 判别器损失: 0.5 生成器损失: 1.5\n"),
        ("shift_jis", "エポック {0} 識別器損失: 0.5 生成器損失: 1.5\n"),
    ],
)
def test_text_of_a_chinese_or_japanese_windows(log: Log, encoding: str, line: str) -> None:
    text = "".join(line.format(n) for n in range(9))
    expected, history = log(text), log(text.encode(encoding))
    assert points(history, "D/loss") == points(expected, "D/loss")
    assert history["G/loss"].value.tolist() == [1.5] * 9
    with pytest.raises(GanvasError, match="is not text"):
        log(np.random.default_rng(0).integers(128, 256, 4000).astype(np.uint8).tobytes())


# Names


@pytest.mark.parametrize(
    ("standard", "variants"),
    [
        (
            "D/loss",
            "d_loss|loss_d|D loss|discriminator_loss|lossD|critic_loss|dis_loss|Loss/D/loss|errD|D_losses|netD_loss",
        ),
        ("D/loss", "loss/discriminator|train/d_loss|d_loss_epoch|disc_loss|total_d_loss|D|loss_gan_d|loss_adv_D"),
        (
            "G/loss",
            "g_loss|loss_G|G loss|generator_loss|lossG|gen_total_loss|Loss/G/loss|errG|G_losses|loss/generator|G"
            "|loss_gan_g",
        ),
        ("D/real", "D(x)|D_x|real_score|Loss/scores/real|d_real|out_real|D_out_real|real_logits_mean"),
        ("D/fake", "D(G(z))|D_G_z1|fake_score|Loss/scores/fake|d_fake|out_fake|D_fake_out"),
        ("D/sign_real", "Loss/signs/real|sign_real"),
        ("D/sign_fake", "Loss/signs/fake"),
        ("D/loss_real", "d_loss_real|errD_real|loss_D_real|real_loss|D real loss|d1"),
        ("D/loss_fake", "d_loss_fake|errD_fake|lossD_fake|fake_loss|d_loss_gen"),
        ("D/accuracy", "d_acc|D accuracy|accuracy|acc.|disc_accuracy|d_binary_accuracy"),
        ("D/accuracy_real", "d_acc_real|real_acc|accuracy_real|D_real_acc"),
        ("D/accuracy_fake", "d_acc_fake|fake_accuracy"),
        ("D/gradient", "d_grad_norm|grad_norm_D|gradient_norm/discriminator"),
        ("G/gradient", "g_grad_norm|grad_norm/generator|G_grad"),
        ("D/gp", "gp|gradient_penalty|loss_gp|grad_penalty|d_gp|gp_loss"),
        ("fid", "FID|fid50k_full|FID_score|metrics/fid50k_full|val/fid|clean_fid"),
        ("kid", "kid|KID_score|kid50k_full"),
        ("inception score", "inception_score|is50k|IS|inception_score_mean"),
    ],
)
def test_known_names_are_translated(standard: str, variants: str) -> None:
    assert {name: names.translate(name) for name in variants.split("|")} == dict.fromkeys(variants.split("|"), standard)
    assert names.translate(standard) == standard
    assert names.translate(f"{standard}/std") == f"{standard}/std"


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "val_d_loss",
        "g_loss_l1",
        "D_G_z2",
        "lr",
        "D/lr",
        "D/r1",
        "d_steps",
        "real",
        "fake",
        "best_fid",
        "timestamp",
        "grad_norm",
        "D_A",
        "c_loss",
        "cycle_loss",
        "op_acc",
        "val_acc",
        "images",
        "kimg_per_s",
        "Loss/r1_penalty",
        "D/auc",
        "G/update",
    ],
)
def test_ambiguous_names_are_not_translated(name: str) -> None:
    assert names.translate(name) is None


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("c_loss,g_loss", True), ("loss_c,g_loss", True), ("c_loss,recon_loss", False),
        ("c_loss,g_loss,d_loss", False), ("c_loss,g_loss,d_loss_real,d_loss_fake", False),
    ],
)  # fmt: skip
def test_a_critic_s_loss_is_called_c_loss_where_no_other_is_of_d(log: Log, header: str, known: bool) -> None:
    values = ",".join(str(i / 4) for i in range(header.count(",") + 1))
    columns = names.Roles().translate_all(header.split(","))
    assert (columns.get(header.split(",")[0]) == "D/loss") == known
    if known:
        assert log(f"step,{header}\n1,{values}\n2,{values}\n", "log.csv")["D/loss"].value.tolist() == [0, 0]


def test_of_two_columns_for_one_quantity_the_fuller_is_translated(log: Log) -> None:
    history = log("step,d_loss_epoch,d_loss_step\n1,,0.5\n2,0.75,0.25\n", "metrics.csv")
    assert history["D/loss"].value.tolist() == [0.5, 0.25]
    assert history.facts.unused == ("d_loss_epoch",)
    assert history.facts.columns == {"step": "step", "d_loss_step": "D/loss"}


def test_percentages_become_fractions(log: Log) -> None:
    assert log("d_loss,d_acc\n1,50\n1,100\n", "a.csv")["D/accuracy"].value.tolist() == [0.5, 1]
    assert log("d_loss,d_acc\n1,0.5\n1,1\n", "b.csv")["D/accuracy"].value.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("D(x)", [0.5, 0.9], True),
        ("D(x)", [0.5, 1.9], False),
        ("real_score", [0.5, 0.9], None),
        ("real_score", [0.5, -3], False),
    ],
)
def test_probabilities_are_recognised(log: Log, header: str, values: list[float], expected: bool | None) -> None:
    history = log("\n".join([f"step,{header}", *(f"{n},{value}" for n, value in enumerate(values))]), "a.csv")
    assert history.facts.probabilities is expected


@pytest.mark.parametrize(
    ("names_", "expected"),
    [
        ("critic_loss,lr", True),
        ("d_loss,wasserstein_distance", True),
        ("d_loss,w_dist", True),
        ("d_loss,lr", None),
        ("d_loss,wd", None),
        ("d_loss,WassersteinD", True),
    ],
)
def test_critic_is_recognised_by_a_name(log: Log, names_: str, expected: bool | None) -> None:
    assert log(f"{names_}\n-0.5,1\n-0.25,1\n", "a.csv").facts.critic is expected


def test_wd_beside_a_gradient_penalty_is_a_wasserstein_distance(log: Log) -> None:
    assert log("d_loss,gp,wd\n0.5,0.1,3\n0.25,0.1,2\n", "a.csv").facts.critic is True


# Time


@pytest.mark.parametrize(
    ("header", "first", "unit", "at"),
    [
        ("kimg", "4,8", "kimg", [4, 8]),
        ("cur_nimg", "500,1500", "kimg", [0.5, 1.5]),
        ("global_step", "5,6", "step", [5, 6]),
        ("trainer/global_step", "5,6", "step", [5, 6]),
        ("batch", "5,6", "step", [5, 6]),
        ("i", "0,1", "step", [0, 1]),
        ("epoch", "1,2", "epoch", [1, 2]),
        ("step", "7,7", "row", [0, 1]),
        ("lr", "7,8", "row", [0, 1]),
        ("iter/s", "7,8", "row", [0, 1]),
    ],
)
def test_column_of_the_time(log: Log, header: str, first: str, unit: str, at: list[float]) -> None:
    history = log("\n".join([f"{header},d_loss", *(f"{value},1" for value in first.split(","))]), "a.csv")
    assert history.unit == unit
    assert history["D/loss"].at.tolist() == at
    assert header not in history


def test_most_precise_of_several_time_columns_is_used(log: Log) -> None:
    history = log("epoch,step,d_loss\n0,10,1\n0,20,1\n1,30,1\n", "a.csv")
    assert history["D/loss"].at.tolist() == [10, 20, 30]
    assert "epoch" not in history
    assert history.facts.unused == ()


def test_lines_of_one_epoch_are_spread_over_it(log: Log) -> None:
    history = log("epoch,d_loss\n1,1\n1,1\n2,1\n2,1\n3,1\n", "a.csv")
    assert history.unit == "epoch"
    assert history["D/loss"].at.tolist() == [1, 1.5, 2, 2.5, 3]


def test_batches_restarting_in_every_epoch_are_counted_on(log: Log) -> None:
    history = log("epoch,batch,d_loss\n0,0,1\n0,9,1\n1,0,1\n1,9,1\n", "a.csv")
    assert (history.unit, history["D/loss"].at.tolist()) == ("step", [0, 9, 10, 19])
    history = log("batch,d_loss\n" + "0,1\n9,1\n" * 4, "b.csv")
    assert history["D/loss"].at.tolist() == [0, 9, 10, 19, 20, 29, 30, 39]
    assert history.facts.restarts == 0


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_count_of_batches_restarts_in_every_epoch(log: Log, epochs: int) -> None:
    history = log("batch,d_loss\n" + "".join(f"{n},1\n" for n in range(20)) * epochs, "a.csv")
    assert history["D/loss"].at.tolist() == list(range(20 * epochs))
    assert history.facts.notes == (f"its batch begins anew {epochs - 1}x: read as the epochs of one training",)


def test_counts_that_end_differently_are_those_of_trainings(tmp_path: Path) -> None:
    for name, lengths in (("batch", (35, 100)), ("i", (30, 12)), ("i", (30, 30))):
        path = tmp_path / "log.csv"
        path.write_text(f"{name},d_loss\n" + "".join(f"{n},1\n" for length in lengths for n in range(length)))
        found = [len(history["D/loss"]) for history in read_trainings([path]).values()]
        assert found == list(lengths), name


def test_a_count_of_batches_that_goes_back_to_its_middle_is_resumed(log: Log) -> None:
    history = log("batch,d_loss\n" + "".join(f"{n},1\n" for n in [*range(40), *range(20, 60)]), "a.csv")
    assert history["D/loss"].at.tolist() == list(range(60))
    assert history.facts.restarts == 1


def test_epochs_of_a_log_of_which_rows_are_dropped_are_counted() -> None:
    rows, step = Rows(2048), np.arange(1001.0)
    for _ in range(8):
        rows.add_block({"step": Column(step, np.full(1001, VALUE, np.uint8))})
    time_ = find_time(rows.table(), names.time_kind)
    assert len(time_.at) <= 4096
    assert (np.diff(time_.at) > 0).all()
    assert time_.at[-1] == 8 * 1001 - 1


def test_row_without_a_time_has_the_time_of_the_row_before(log: Log) -> None:
    history = log(lines({"d_loss": 1}, {"step": 5, "d_loss": 2}, {"d_loss": 3}, {"step": 7, "d_loss": 4}))
    assert points(history, "D/loss") == [(5, 1), (5, 2), (5, 3), (7, 4)]


def test_resumed_session_overwrites_what_it_repeats(log: Log) -> None:
    history = log(lines(*({"step": s, "d_loss": v} for v, s in enumerate([10, 20, 30, 40, 20, 30, 25]))))
    assert points(history, "D/loss") == [(10, 0), (20, 4), (25, 6)]
    assert history.facts.restarts == 2


def test_column_written_only_by_an_overwritten_session_is_gone(log: Log) -> None:
    history = log(lines({"step": 5, "d_loss": 1, "fid": 9}, {"step": 1, "d_loss": 2}))
    assert "fid" not in history
    assert history.now == 1


def test_facts_of_a_plain_log_are_its_source_and_columns(log: Log) -> None:
    assert log("step,d_loss\n0,0.50\n1,0.5\n", "a.csv").facts == Facts(
        source="a.csv",
        format="separated values",
        columns={"step": "step", "d_loss": "D/loss"},
        resolution={"D/loss": 0.01},
    )


# TensorBoard


def write_events(
    folder: Path, *steps: tuple[int, Mapping[str, float]], name: str = "", as_tensors: bool = False
) -> Path:
    """An event file as TensorBoard writes it, made without its package: records of protobuf messages."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.1700000000.host{name}"
    messages = [b"\x1a\x0dbrain.Event:2"]
    for step, values in steps:
        scalars = ((tag, struct.pack("<f", value)) for tag, value in values.items())
        summary = b"".join(
            _field(1, _field(1, tag.encode()) + (_tensor(value) if as_tensors else b"\x15" + value))
            for tag, value in scalars
        )
        messages.append(b"\x09" + struct.pack("<d", 1.7e9 + step) + b"\x10" + _varint(step) + _field(5, summary))
    path.write_bytes(b"".join(map(_record, messages)))
    return path


def _tensor(value: bytes) -> bytes:
    """A float as TensorFlow 2 writes it."""
    return _field(8, b"\x08\x01\x12\x00" + _field(4, value)) + _field(9, _field(1, _field(1, b"scalars")))


def _varint(n: int) -> bytes:
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + _varint(n >> 7)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked_crc(length) + message + _masked_crc(message)


def _masked_crc(content: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class TestTensorBoard:
    def test_event_file_and_its_folder(self, tmp_path: Path) -> None:
        path = write_events(tmp_path / "r", (1, {"Loss/D": 0.5, "Loss/G": 1.5}), (9, {"Loss/D": math.nan, "lr": 0.25}))
        for place in (path, path.parent):
            history = read(place)
            assert history.unit == "step"
            assert history["D/loss"].at.tolist() == [1, 9]
            assert math.isnan(history["D/loss"].last)
            assert points(history, "G/loss") == [(1, 1.5)]
            assert history.facts.unused == ("lr",)

    def test_stylegan_steps_are_kimg(self, tmp_path: Path) -> None:
        assert read(write_events(tmp_path, (4, {"Loss/D/loss": 1, "Progress/kimg": 4}))).unit == "kimg"

    def test_tensorflow_2_tensors_are_scalars(self, tmp_path: Path) -> None:
        history = read(write_events(tmp_path, (3, {"d_loss": 0.5}), (4, {"d_loss": 0.25}), as_tensors=True))
        assert points(history, "D/loss") == [(3, 0.5), (4, 0.25)]

    def test_more_than_ten_thousand_steps_are_all_read(self, tmp_path: Path) -> None:
        path = write_events(tmp_path, *((step, {"d_loss": 1}) for step in range(10_001)))
        assert len(read(path)["D/loss"]) == 10_001

    def test_folders_of_add_scalars_are_one_training(self, tmp_path: Path) -> None:
        for network, value in (("D", 0.5), ("G", 1.5)):
            write_events(tmp_path / f"loss_{network}", (1, {"loss": value}))
        write_events(tmp_path, (1, {"lr": 0.5}))
        history = read(tmp_path)
        assert points(history, "loss_D/loss") == [] == points(history, "loss_G/loss")
        assert (history["D/loss"].last, history["G/loss"].last) == (0.5, 1.5)

    def test_two_trainings_are_not_mixed(self, tmp_path: Path) -> None:
        for run in "ab":
            write_events(tmp_path / run, (1, {"d_loss": 0.5}))
        with pytest.raises(GanvasError, match="several trainings: d_loss was logged more than once"):
            read(tmp_path)

    def test_restart_overwrites_later_steps(self, tmp_path: Path) -> None:
        write_events(tmp_path, *((step, {"d_loss": step}) for step in (1, 2, 3)))
        write_events(tmp_path, *((step, {"d_loss": 10 * step}) for step in (2, 3)), name=".2")
        history = read(tmp_path)
        assert points(history, "D/loss") == [(1, 1), (2, 20), (3, 30)]
        assert history.facts.restarts == 1

    def test_damaged_event_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "events.out.tfevents.1.host"
        path.write_bytes(b"nothing of the kind" * 9)
        with pytest.raises(GanvasError, match=r"damaged|contains no|not text"):
            read(path)


# Files that are not logs


def test_missing_file_and_folder_without_a_log_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"There is no .*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(GanvasError, match="holds no log"):
        read(tmp_path)


def test_folder_with_stats_is_read(tmp_path: Path) -> None:
    (tmp_path / "stats.jsonl").write_text(lines({"step": 1, "d_loss": 0.5}))
    assert points(read(tmp_path), "D/loss") == [(1, 0.5)]


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (b"", "a.csv", "is empty"),
        (b" \n\n", "a.txt", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a.png", "is not text"),
        (b"\xfc\xfd\xfe" * 50, "a.txt", "is not text"),
        (b"hello world\nnothing here\n", "a.txt", "contains no numbers"),
        (b"step,d_loss\n", "a.csv", "contains no numbers"),
        (b"step,name\n1,a\n2,b\n", "a.csv", "contains no numbers"),
        (b",,\n,,\n", "a.csv", "has no header"),
        (b"1,0.5,2\n2,0.6,3\n", "a.csv", r"has no header: its first line is 1, 0\.5, 2"),
        (b"step,foo,bar\n1,2,3\n2,2,3\n", "a.csv", "no name that is recognised: foo, bar"),
        (b'{"foo": 1}\n{"foo": 2}\n', "a.jsonl", "no name that is recognised: foo"),
        (b"foo: 3 bar: 4\n", "a.txt", "no name that is recognised: foo, bar"),
        (b"[1, 2, 3]", "a.json", "JSON, but no log"),
        (b'"text"', "a.txt", "contains no numbers"),
        (b"[[1, 2, 3], [2, 3, 4]]", "a.json", "JSON, but no log"),
        (b'{"d_loss": [0.5, \n0.6', "a.json", "is no JSON"),
        (b"[" * 100_000, "a.json", "is no JSON"),
        (b'{"d_loss": ["a", "b"]}', "a.json", "contains no numbers"),
        (b'{"d_loss": []}', "a.json", "contains no numbers"),
        (b'step,d_loss\n1,"' + b"x" * 200_000, "a.csv", "is damaged: field larger"),
        (b'{"nimg": 5, "D/loss": {"mean": "high"}}\n', "stats.jsonl", "is damaged"),
    ],
)
def test_file_that_is_not_a_log_gives_an_error(log: Log, content: bytes, name: str, what: str) -> None:
    with pytest.raises(GanvasError, match=what) as raised:
        log(content, name)
    assert raised.value.expected
    assert raised.value.fix
    assert re.search(name, raised.value.what)


def test_error_for_unknown_names_lists_known_names(log: Log) -> None:
    with pytest.raises(GanvasError, match="d_loss, g_loss") as raised:
        log(json.dumps({f"foo{n}": [1, 2] for n in range(30)}), "a.json")
    assert raised.value.what.endswith("foo19 and 10 more.")
    assert all(names.translate(name) for name in names.EXAMPLES.split(", "))


def test_long_line_without_a_value_is_refused_quickly(log: Log) -> None:
    start = time.process_time()
    with pytest.raises(GanvasError):
        log("word " * 40_000)
    assert time.process_time() - start < 2
