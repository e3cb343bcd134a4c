"""One small log of every format, as its tool writes it: which columns are understood, and which numbers are read."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ganvas.diagnosis.history import History
from ganvas.diagnosis.logs.reader import read_trainings
from ganvas.diagnosis.sources import diagnose
from ganvas.errors import GanvasError

D, G = [0.75, 0.5, 0.625], [1.25, 1.5, 1.75]
STEPS = [0, 10, 20]
ROWS = [{"step": step, "d_loss": d, "g_loss": g} for step, d, g in zip(STEPS, D, G, strict=True)]


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


class Case(NamedTuple):
    """A log, the unit of its time, and points of each quantity."""

    name: str
    text: str | dict[str, str]
    unit: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    training: str = ""


BOTH = {"D/loss": list(zip(STEPS, D, strict=True)), "G/loss": list(zip(STEPS, G, strict=True))}
BY_ROW = {"D/loss": list(enumerate(D)), "G/loss": list(enumerate(G))}


def each_line(template: str, start: str = "") -> str:
    """A line for each step, with {n} for its number."""
    return start + "".join(
        template.format(step=step, d=d, g=g, n=n) for n, (step, d, g) in enumerate(zip(STEPS, D, G, strict=True))
    )


def stylegan_means(n: int, **values: float) -> dict[str, Any]:
    return {name.replace("__", "/"): {"num": 9, "mean": value, "std": 0.5} for name, value in values.items()} | {
        "Progress/kimg": {"num": 1, "mean": 4.0 * n, "std": 0.0}
    }


TICK = "tick {n}     kimg {kimg:<8.1f} time 1h 38m 21s   sec/tick 366.1   sec/kimg 73.10   augment 0.052\n"
WANDB_A = '"Step","run-a - d_loss","run-a - d_loss__MIN","run-a - d_loss__MAX"'
FRAME = {"columns": ["step", "d_loss", "g_loss"], "data": [list(row.values()) for row in ROWS]}

CASES = {
    "wandb": Case(
        "chart.csv",
        f'{WANDB_A},"run-a - g_loss","run-a - g_loss__MIN","run-a - g_loss__MAX"\n'
        + each_line('"{step}","{d}","0","9","{g}","0","9"\n'),
        "step", BOTH,
    ),
    "wandb, several runs": Case(
        "chart.csv",
        f'{WANDB_A},"run-b - d_loss","run-b - d_loss__MIN","run-b - d_loss__MAX"\n'
        + each_line('"{step}","{g}","0","9","{d}","0","9"\n') + '"30","7","7","7","","",""\n',
        "step", {"D/loss": BOTH["D/loss"]}, "run-b",
    ),
    "TensorBoard's CSV, a file a scalar": Case(
        "scalars",
        {
            "run-1-tag-Loss_D.csv": each_line("1700000000.{n},{step},{d}\n", "Wall time,Step,Value\n"),
            "run-1-tag-Loss_G.csv": each_line("1700000000.{n},{step},{g}\n", "Wall time,Step,Value\n"),
        },
        "step", BOTH,
    ),
    "pandas columns": Case(
        "a.json", json.dumps({key: {str(i): row[key] for i, row in enumerate(ROWS)} for key in ROWS[0]}), "step", BOTH
    ),
    "pandas index": Case("a.json", json.dumps({str(i): row for i, row in enumerate(ROWS)}), "step", BOTH),
    "pandas split": Case("a.json", json.dumps(FRAME | {"index": [0, 1, 2]}), "step", BOTH),
    "pandas records": Case("a.json", json.dumps(ROWS), "step", BOTH),
    "pandas table": Case(
        "a.json", json.dumps({"schema": {"fields": [{"name": "step", "type": "integer"}]}, "data": ROWS}), "step", BOTH
    ),
    "pandas lines": Case("a.json", json_lines(*ROWS), "step", BOTH),
    "pandas csv with index": Case("a.csv", each_line("{n},{step},{d},{g}\n", ",step,d_loss,g_loss\n"), "step", BOTH),
    "long form": Case(
        "a.csv", each_line("d_loss,{step},{d}\ng_loss,{step},{g}\n", "name,step,value\n"), "step", BOTH
    ),
    "long form, objects": Case(
        "a.json",
        json.dumps({"metrics": [{"key": key, "step": row["step"], "timestamp": 9, "value": row[key]}
                                for key in ("d_loss", "g_loss") for row in ROWS]}),
        "step", BOTH,
    ),
    "CSV below other lines": Case(
        "log.txt", each_line("{step},{d},{g}\n", "Using cuda\n# run 7, lr 0.1\nstep,d_loss,g_loss\n"), "step", BOTH
    ),
    "a table of Chainer": Case(
        "log.txt",
        each_line("\x1b[J0       {step:<10d}  {g:<10}  {d:<10}\n", "epoch   iteration   gen/loss    dis/loss  \n"),
        "step", BOTH,
    ),
    "Markdown": Case(
        "a.md", each_line("| {step} | {d} | {g} |\n", "| step | d_loss | g_loss |\n|---|:---|---:|\n"), "step", BOTH
    ),
    "nested JSON": Case("a.json", json.dumps({"losses": {"d": D, "g": G}, "betas": [0.5, 0.999]}), "row", BY_ROW),
    "nested lines of JSON": Case(
        "a.jsonl",
        json_lines(*({"step": row["step"], "losses": {"D": row["d_loss"], "G": row["g_loss"]}} for row in ROWS)),
        "step", BOTH,
    ),
    "trainer_state.json": Case(
        "trainer_state.json",
        json.dumps({
            "best_metric": None, "epoch": 3.0, "global_step": 20, "max_steps": 20,
            "log_history": [{"epoch": 0.1 * i, "learning_rate": 5e-5, **row} for i, row in enumerate(ROWS)]
            + [{"epoch": 0.2, "eval_fid": 40.5, "step": 20}],
        }, indent=2),
        "step", BOTH | {"fid": [(20, 40.5)]},
    ),
    "Lightning": Case(
        "metrics.csv",
        each_line("0,{d},,{step},\n0,,{g},{step},\n", "epoch,d_loss,g_loss,step,val_fid\n") + "0,,,20,40.5\n",
        "step", BOTH | {"fid": [(20, 40.5)]},
    ),
    "MLflow": Case(
        "run",
        {
            "meta.yaml": "run_id: abc\n",
            "metrics/d_loss": each_line("170000000000{n} {d} {step}\n"),
            "metrics/train/g_loss": each_line("170000000000{n} {g} {step}\n"),
            "params/lr": "0.0002",
        },
        "step", BOTH,
    ),
    "lists beside settings": Case(
        "a.json",
        json.dumps({"d_loss": D, "g_loss": G, **{f"setting {n}": n for n in range(20)}, "name": "run"}),
        "row", BY_ROW,
    ),
    "a list after every epoch beside one of every step": Case(
        "a.json", json.dumps({"d_loss": D * 2, "fid": [50, 40], "epoch": [1, 2]}), "row",
        {"D/loss": list(enumerate(D * 2)), "fid": [(2, 50), (5, 40)]},
    ),
    "lists of steps and values": Case(
        "a.json",
        json.dumps({"d_loss": [[s, d] for s, d in zip(STEPS, D, strict=True)],
                    "g_loss": [[s, g] for s, g in zip(STEPS, G, strict=True)]}),
        "step", BOTH,
    ),
    "StyleGAN's folder": Case(
        "run",
        {
            "stats.jsonl": json_lines(*(
                stylegan_means(n, Loss__D__loss=D[n], Loss__scores__real=G[n]) | {"timestamp": 1.7e9} for n in range(3)
            )),
            "metric-fid50k_full.jsonl": json_lines(*(
                {"results": {"fid50k_full": 90.5 - n}, "metric": "fid50k_full", "total_time": 120.5,
                 "snapshot_pkl": f"network-snapshot-{4 * n:06d}.pkl", "timestamp": 1.7e9} for n in (0, 2)
            )),
            "log.txt": "tick 0 kimg 0.0\n",
        },
        "kimg", {"D/loss": [(0, 0.75), (4, 0.5), (8, 0.625)], "D/real": [(0, 1.25), (4, 1.5), (8, 1.75)],
                 "fid": [(0, 90.5), (8, 88.5)]},
    ),
    "log.txt of StyleGAN 1": Case(
        "log.txt",
        "Generator  Parameters  Buffers\nmapping.fc0  262656  -  [4, 512]  float32\n"
        + TICK.format(n=0, kimg=0) + "network-snapshot-000000        time 4m 26s       fid50k_full 46.5633\n"
        + TICK.format(n=9, kimg=40) + "network-snapshot-000040        time 4m 26s       fid50k_full 40.5000\n",
        "kimg", {"fid": [(0, 46.5633), (40, 40.5)]},
    ),
    "log.txt of StyleGAN 3": Case(
        "log.txt",
        "Training for 25000 kimg...\n\n" + TICK.format(n=0, kimg=0) + "Evaluating metrics...\n"
        + json_lines({"results": {"fid50k_full": 46.5}, "snapshot_pkl": "network-snapshot-000000.pkl"})
        + TICK.format(n=9, kimg=40) + "Evaluating metrics...\n"
        + json_lines({"results": {"fid50k_full": 40.5}, "snapshot_pkl": "network-snapshot-000040.pkl"}),
        "kimg", {"fid": [(0, 46.5), (40, 40.5)]},
    ),
    "model print-outs, and quality apart": Case(
        "log.txt",
        "Discriminator(\n  (0): Conv2d(3, 64, kernel_size=(4, 4), stride=(2, 2))\n  (1): LeakyReLU(0.2)\n)\n"
        "Generator: 3576704 parameters\n"
        + each_line("Epoch {n}: step {step} D loss: {d} G loss: {g}\n")
        + "Generator(\n  (0): Linear(in_features=100, out_features=256, bias=True)\n)\n"
        "Epoch 1: FID = 40.5\nEpoch 2: FID = 30.5\n",
        "step", BOTH | {"fid": [(10, 40.5), (20, 30.5)]},
    ),
    "CycleGAN": Case(
        "loss_log.txt",
        "================ Training Loss (Tue Jul  7 10:00:00 2020) ================\n"
        + each_line("(epoch: 1, iters: {step}, time: 0.283, data: 0.161) D_A: 0.100 G_A: 0.200 cycle_A: 1.2 idt_A: 0.5 "
                    "D_B: {d:.3f} G_B: {g:.3f} cycle_B: 1.1 idt_B: 0.4 \n"),
        "step", BOTH, "B",
    ),
    "pix2pix": Case(
        "loss_log.txt",
        each_line("(epoch: 1, iters: {step}, time: 0.078, data: 3.1) G_GAN: {g} G_L1: 12.8 D_real: {d} D_fake: 0.5\n"),
        "step", {"D/loss_real": BOTH["D/loss"], "G/loss": BOTH["G/loss"]},
    ),
    "ESRGAN": Case(
        "train.log",
        "20-05-22 17:42:00.000 - INFO: Model [SRRaGANModel] is created.\n"
        + each_line("20-05-22 17:42:09.481 - INFO: <epoch: 86, iter: 107,{n}00, lr:2.500e-05> l_g_pix: 1.4819e-03 "
                    "l_g_gan: {g:.4e} l_d_real: {d:.4e} l_d_fake: 4.09e-06 D_real: -2.5625e+01 D_fake: -4.0036e+01 \n")
        + "20-05-22 17:42:10.000 - INFO: <epoch: 86, iter: 107,000> psnr: 2.3831e+01\n",
        "step",
        {"D/loss_real": [(107_000, 0.75), (107_100, 0.5), (107_200, 0.625)], "D/fake": [(107_000, -40.036)],
         "G/loss": [(107_000, 1.25), (107_100, 1.5), (107_200, 1.75)], "psnr": [(107_000, 23.831)]},
    ),
    "BasicSR": Case(
        "train.log",
        each_line("2020-05-22 17:42:09,481 INFO: [name][epoch:  0, iter:{step:8,d}, lr:(1.000e-04,1.000e-04,)] "
                  "[eta: 1 day, 3:14:15, time (data): 0.283 (0.161)] l_g_gan: {g:.4e} l_d_real: {d:.4e} "
                  "out_d_real: 1.0e+01 l_d_fake: 8.2644e-05 out_d_fake: -1.0e+01\n"),
        "step", {"D/loss_real": BOTH["D/loss"], "G/loss": BOTH["G/loss"]},
    ),
    "MMGeneration": Case(
        "train.log",
        each_line("04/21 21:03:53 - mmengine - INFO - Iter(train) [{step:6d}/60000]  lr: 1.0e-03  eta: 0:00:25  "
                  "time: 0.010  memory: 0  loss_disc_real: {d}  loss_gen: {g}\n"),
        "step", {"D/loss_real": BOTH["D/loss"], "G/loss": BOTH["G/loss"]},
    ),
    "StudioGAN": Case(
        "train.log",
        each_line("[INFO] 2021-02-21 01:23:05 > Step: {step:7d} Progress: 3.2% Elapsed: 4:07:35 ada_p: No "
                  "Discriminator_loss: {d:.5f} Generator_loss: {g:.5f} \n")
        + "[INFO] 2021-02-21 01:23:06 > FID score (Step: 20, Using train moments): 40.500\n",
        "step", BOTH | {"fid": [(20, 40.5)]},
    ),
    "BigGAN": Case(
        "log.txt",
        each_line("1/500 ( 0.28%) itr: {step}, G_loss : +{g:.3f}, D_loss_real : +{d:.3f}, D_loss_fake : +0.250\n"),
        "step", {"D/loss_real": BOTH["D/loss"], "G/loss": BOTH["G/loss"]},
    ),
    "two losses behind one name": Case(
        "log.txt", each_line("step {step} | Loss D/G: {d}/{g} | D(x): 0.5\n"), "step", BOTH
    ),
    "several lines a step": Case(
        "log.txt",
        each_line("INFO: [Epoch 1/127][Global Step: {step}/100000]\n| D(G(z)): 0.25\n| errD: {d}\n| errG: {g}\n"
                  "| lr_D: 0.0002\n(0.1 sec/iter)\n"),
        "step", BOTH,
    ),
    "no colon": Case("log.txt", each_line("step {step} d_loss {d} g_loss {g}\n"), "step", BOTH),
    "thousands": Case(
        "log.txt", "Step 1,200 | D: 0.75 | G: 1,250.5\nStep 2,400 | D: 0.5 | G: 1.5\n", "step",
        {"D/loss": [(1200, 0.75), (2400, 0.5)], "G/loss": [(1200, 1250.5), (2400, 1.5)]},
    ),
    "np.float32": Case(
        "log.txt",
        each_line("step {step}: D loss np.float32({d}), G loss = np.float32({g})\n"), "step", BOTH,
    ),
    "tensors": Case(
        "log.txt",
        each_line("iter {step} d_loss: tensor({d}, device='cuda:0', grad_fn=<AddBackward0>) g_loss: tensor([{g}])\n"),
        "step", BOTH,
    ),
    "a dict of Python on a line": Case(
        "log.txt",
        each_line("{{'step': {step}, 'd_loss': np.float32({d}), 'g_loss': tensor({g}, grad_fn=<Mean>), 'x': None}}\n"),
        "step", BOTH,
    ),
    "all lists on two lines": Case(
        "log.txt",
        f"done\nd_losses = {D * 2}\ng_losses = [tensor(1.25, grad_fn=<M>), 1.5, 1.75, np.float32(1.25), 1.5, 1.75]\n",
        "row", {"D/loss": list(enumerate(D * 2)), "G/loss": list(enumerate(G * 2))},
    ),
    "restart in the middle": Case(
        "log.txt",
        "step 0 d_loss: 0.75\nstep 10 d_loss: 9\nstep 20 d_loss: 9\nresuming\n"
        "step 10 d_loss: 0.5\nstep 20 d_loss: 0.625\n",
        "step", {"D/loss": BOTH["D/loss"]},
    ),
    "carriage returns and colours": Case(
        "log.txt", each_line("\r\x1b[32mstep {step}\x1b[0m \x1b[1md_loss: {d}\x1b[0m g_loss: {g}"), "step", BOTH
    ),
    "Keras 2": Case(
        "log.txt",
        "Epoch 1/2\n" + "".join(
            f"\r{n + 1}/3 [{'=' * n}>{'.' * (2 - n)}] - ETA: {3 - n}s - d_loss: {D[n]} - g_loss: {G[n]}"
            for n in range(3)
        ) + "\b" * 30,
        "step", {"D/loss": [(4, 0.75), (5, 0.5), (6, 0.625)], "G/loss": [(4, 1.25), (5, 1.5), (6, 1.75)]},
    ),
    "Keras 3": Case(
        "log.txt",
        "Epoch 1/2\n" + "".join(
            f"\r\x1b[1m{n + 1}/3\x1b[0m \x1b[32m{'━' * n}\x1b[0m\x1b[37m{'━' * (3 - n)}\x1b[0m \x1b[1m{n}s\x1b[0m "
            f"45ms/step - d_loss: {D[n]} - g_loss: {G[n]}" for n in range(3)
        ),
        "step", {"D/loss": [(4, 0.75), (5, 0.5), (6, 0.625)]},
    ),
    "tqdm": Case(
        "log.txt",
        "".join(
            f"\rEpoch 1:  {30 * n}%|{'█' * n}▌{' ' * (3 - n)}| {n}/100 [00:10<00:12,  4.5it/s, d_loss={D[n]}, g={G[n]}]"
            for n in range(3)
        ),
        "step", {"D/loss": [(100, 0.75), (101, 0.5), (102, 0.625)]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_columns_and_numbers_of_every_format(case: Case, tmp_path: Path) -> None:
    history = read_case(case, tmp_path)
    assert history.unit == case.unit
    assert history.facts.format
    for own, expected in case.points.items():
        series = history[own]
        assert list(zip(series.at.tolist(), series.value.tolist(), strict=True))[: len(expected)] == expected
        assert own in history.facts.columns.values()


@pytest.mark.parametrize(
    "when",
    ["2026-01-01T10:{n:02d}:00", "2026-01-01T10:{n:02d}:00Z", "2026-01-01T10:{n:02d}:00.123456+01:00", "{n}:00:00.25",
     "2026-01-01 10:00:00.00000{n}", "2026-01-01 10:{n:02d}:00+0100"],
)  # fmt: skip
def test_times_of_day_in_a_table_are_no_names(when: str, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(each_line(when + ",{step},{d},{g}\n", "# run 3\ntime,step,d_loss,g_loss\n"))
    history = read_trainings([tmp_path / "a.log"])[""]
    assert history.facts.format == "separated values"
    assert list(zip(history["D/loss"].at, history["D/loss"].value, strict=True)) == BOTH["D/loss"]


def test_table_without_rows_is_said_to_have_none_yet(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("step,d_loss,g_loss\n")
    with pytest.raises(GanvasError, match="numbers yet: below its header there are no rows") as raised:
        read_trainings([tmp_path / "a.csv"])
    assert "wait" in raised.value.fix


def read_case(case: Case, folder: Path) -> History:
    path = folder / case.name
    for name, text in ({"": case.text} if isinstance(case.text, str) else case.text).items():
        file = path / name if name else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return read_trainings([path])[case.training]


def test_every_training_of_a_log_is_read(tmp_path: Path) -> None:
    for name, trainings in (("CycleGAN", ["A", "B"]), ("wandb, several runs", ["run-a", "run-b"])):
        read_case(CASES[name], tmp_path / name)
        assert list(read_trainings([tmp_path / name / CASES[name].name])) == trainings


def test_columns_of_the_second_gan_have_their_names(tmp_path: Path) -> None:
    history = read_case(CASES["CycleGAN"], tmp_path)
    assert history.facts.columns == {"iters": "step", "D_B": "D/loss", "G_B": "G/loss"}


def test_several_files_are_one_training(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text(each_line("{step},{d}\n", "step,d_loss\n"))
    (tmp_path / "fid.jsonl").write_text(json_lines({"step": 10, "fid": 40.5}))
    (tmp_path / "later.csv").write_text("step,d_loss\n20,7\n30,0.25\n")
    history = read_trainings([tmp_path / "losses.csv", tmp_path / "fid.jsonl", tmp_path / "later.csv"])[""]
    assert history["D/loss"].value.tolist() == [0.75, 0.5, 7, 0.25]
    assert history["fid"].at.tolist() == [10]
    assert history.facts.restarts == 1
    assert history.facts.format == "separated values and JSON, 3 files"


def test_two_trainings_in_two_files_are_not_mixed(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("step,d_loss\n0,1\n1,1\n")
    with pytest.raises(GanvasError, match="several trainings: d_loss"):
        read_trainings([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(GanvasError, match=r"several logs: a\.csv, b\.csv"):
        read_trainings([tmp_path])


# Columns named by the user


@pytest.mark.parametrize(
    "text",
    [
        each_line("{n},{d},{g},{step}\n", "what,loss_1,loss_2,when\n"),
        json_lines(*({"loss_1": row["d_loss"], "loss_2": row["g_loss"], "when": row["step"]} for row in ROWS)),
        each_line("when: {step} loss_1 {d} and loss_2 {g}\n"),
    ],
    ids=["CSV", "JSON", "printed"],
)
def test_columns_that_the_user_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(GanvasError, match=r"--columns d_loss=loss_1,g_loss=loss_2"):
        read_trainings([tmp_path / "log"])
    columns = {"loss_1": "D/loss", "loss_2": "G/loss", "when": "step"}
    history = read_trainings([tmp_path / "log"], columns)[""]
    assert history["D/loss"].at.tolist() == STEPS
    assert history["G/loss"].value.tolist() == G
    assert history.facts.columns == {"when": "step", "loss_1": "D/loss", "loss_2": "G/loss"}


def test_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("step,loss_one,g_loss\n0,1,1\n1,1,1\n")
    with pytest.raises(GanvasError, match=r"no column loss_on[^e](?s:.*)did you mean 'loss_one'"):
        read_trainings([tmp_path / "a.csv"], {"loss_on": "D/loss"})


# Printed decimals


@pytest.mark.parametrize(
    ("values", "expected"),
    [("0.69 0.70", 0.01), ("0.6931 0.7", 1e-4), ("1.3e-05 2.1e-05", 1e-6), ("5 7", 1), ("0.5 nan", 0.1)],
)
def test_resolution_is_that_of_the_printed_numbers(values: str, expected: float, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("step,d_loss\n" + "".join(f"{n},{v}\n" for n, v in enumerate(values.split())))
    (tmp_path / "a.log").write_text("".join(f"step {n} d_loss: {v}\n" for n, v in enumerate(values.split())))
    for name in ("a.csv", "a.log"):
        assert read_trainings([tmp_path / name])[""].facts.resolution["D/loss"] == pytest.approx(expected)


# What is shown


def diagnose_text(text: str, folder: Path, *words: str) -> tuple[int, str, str]:
    """(exit status, output, errors) of `ganvas diagnose`."""
    (folder / "log.txt").write_text(text)
    command = [sys.executable, "-m", "ganvas", "diagnose", "log.txt", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | {"COLUMNS": "200"})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_command_shows_the_columns_it_understood(tmp_path: Path) -> None:
    status, shown, _ = diagnose_text(each_line("step {step} D loss: {d} mood: {n}\n"), tmp_path)
    assert status == 0
    assert "Read from log.txt (printed lines):\n  step = step\n  D loss = D/loss\n  not used: mood\n" in shown
    assert "no g_loss in it; if one of these is, say so: --columns g_loss=NAME" in shown
    text = each_line("step {step} D loss: {d} mood: {n}\n")
    _, shown, _ = diagnose_text(text, tmp_path, "--columns", "g_loss=mood", "--json")
    assert json.loads(shown)["facts"]["columns"] == {"step": "step", "D loss": "D/loss", "mood": "G/loss"}


@pytest.mark.slow
def test_command_shows_a_diagnosis_of_each_gan(tmp_path: Path) -> None:
    text = str(CASES["CycleGAN"].text)
    assert diagnose_text(text, tmp_path)[1].count("D/loss") == 2
    trainings = json.loads(diagnose_text(text, tmp_path, "--json")[1])["trainings"]
    assert trainings["B"]["facts"]["columns"]["D_B"] == "D/loss"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ("loss=a", "'loss=a'"),
        ("d_loss", "'d_loss='"),
        ("d_loss=nowhere", "has no column nowhere"),
        ("d_los=a", "did you mean 'd_loss'?"),
    ],
)
def test_mistake_in_columns_is_explained(columns: str, what: str, tmp_path: Path) -> None:
    status, _, errors = diagnose_text(each_line("step {step} D loss: {d}\n"), tmp_path, "--columns", columns)
    assert status == 1
    assert what in errors
    assert "Traceback" not in errors


def test_python_takes_files_and_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(each_line("{step},{d}\n", "step,one\n"))
    (tmp_path / "b.csv").write_text(each_line("{step},{g}\n", "step,two\n"))
    found = diagnose([tmp_path / "a.csv", str(tmp_path / "b.csv")], columns={"d_loss": "one", "g_loss": "two"})
    assert found.facts.columns == {"step": "step", "one": "D/loss", "two": "G/loss"}
    assert found.facts.source == "a.csv and 1 more"
