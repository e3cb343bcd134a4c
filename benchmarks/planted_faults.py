"""Planted faults and healthy trainings: what does the diagnosis name, when, and is it right?

    python benchmarks/planted_faults.py train --mnist DIR [--seeds 2-4] [--only d-frozen …] [--out planted_faults]
    python benchmarks/planted_faults.py knobs --mnist DIR [--seeds 2-4] [--out planted_faults]
    python benchmarks/planted_faults.py recipes --mnist DIR --cifar ZIP --faces ZIP [--only cnn …] [--out DIR]
    python benchmarks/planted_faults.py report [--out planted_faults]

`train` trains the loop of examples/own_loop.py with each of its faults, on two data sets with two families of networks,
and keeps all measurements, one JSON file a training. `report` applies the rules to these again, probe by probe: so the
rules can be changed without training again. Their thresholds were tuned on the seeds 0 and 1. `knobs` plants what a
configuration and the data can plant in runs of Ganvas, and `recipes` trains the recipes as they are.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganvas import Run
from ganvas.data import DataOptions, open_images, to_unit
from ganvas.diagnosis.diagnosis import apply_rules
from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.sources import read_run
from ganvas.runs.log import read_jsonl
from ganvas.seeds import parse_seeds

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import own_loop  # pyright: ignore[reportMissingImports]

PROBES = 60

STEPS = {("digits", "mlp"): 1200, ("digits", "cnn"): 900, ("mnist", "mlp"): 900, ("mnist", "cnn"): 600}

RIGHT: dict[str, tuple[str, ...]] = {
    "d-frozen": ("D frozen",),
    "g-frozen": ("G frozen",),
    "d-too-strong": ("D too strong",),
    "d-too-weak": ("D too weak",),
    "same-latent": ("mode collapse", "mode cycling"),
    "cycling": ("mode cycling",),
    "missing-classes": ("missing modes",),
    "few-images": ("memorisation", "D overfits"),
    "overfit": ("D overfits", "memorisation"),
    "explosion": ("divergence", "learning rate too high"),
    "nan": ("non-finite",),
    "range": ("range mismatch",),
    "normalisation": ("normalisation mismatch",),
    "g-labels": ("labels ignored by G",),
    "d-labels": ("labels ignored by D",),
    "imbalanced": ("imbalanced classes",),
    "checkerboard": ("checkerboard artefacts",),
    "leak": ("batch-norm leak",),
    "lr-low": ("learning rate too low",),
    "lr-high": ("learning rate too high",),
    "unclipped": ("critic unconstrained",),
}
"""Fault -> the names that are right for it; the healthy ones have none."""

KNOBS: dict[str, tuple[str, str]] = {
    "d-frozen": ("whole", "--d-lr 0"),
    "g-frozen": ("whole", "--g-lr 0"),
    "lr-low": ("whole", "--g-lr 1e-8 --d-lr 1e-8"),
    "lr-high": ("whole", "--g-lr 0.2"),
    "explosion": ("whole", "--g-lr 0.5 --d-lr 0.5"),
    "d-too-weak": ("whole", "--g-lr 1e-3 --d-lr 1e-6"),
    "unclipped": ("whole", "--objective wasserstein --g-lr 1e-3 --d-lr 1e-3"),
    "imbalanced": ("uneven", ""),
}
"""Fault -> (which images, flags) that plant it in a run of Ganvas."""

RECIPES: dict[str, str] = {
    "digits": "--data digits --kimg 100",
    "mlp": "--data MNIST --kimg 200",
    "mlp-stable": "--data MNIST --kimg 150",
    "cnn": "--data MNIST --kimg 20 --g-width 32 --d-width 32",
    "cnn-stable": "--data MNIST --kimg 20 --g-width 32 --d-width 32",
    "cnn-sigmoid": "--data MNIST --kimg 20 --g-width 32 --d-width 32",
    "transformer-stable": "--data MNIST --kimg 12",
    "dcgan": "--data FACES --resolution 32 --kimg 20 --g-width 16 --d-width 16 --batch 16 --ema 5",
    "wgan": "--data CIFAR --kimg 25 --g-width 16 --d-width 16 --batch 16",
    "wgan-gp": "--data CIFAR --kimg 8 --g-width 16 --d-width 16 --batch 16",
    "wgan-conditional": "--data CIFAR --kimg 10 --g-width 16 --d-width 16 --batch 16",
    "sngan": "--data CIFAR --kimg 10 --g-width 16 --d-width 16 --batch 16",
    "stylegan": "--data FACES --resolution 16 --kimg 10 --width 32 --batch 8",
    "msg": "--data FACES --resolution 32 --kimg 6 --width 32 --batch 16",
    "r3gan-short": "--data CIFAR --kimg 6 --width 16 --blocks 1 --batch 16 --r1 0.5 --r2 0.5",
}
"""The recipes, narrowed so that each takes about a minute on a CPU core."""


def load_images(name: str, mnist: Path | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images in [-1, 1], labels, and held-out images."""
    if name == "digits":
        return own_loop.digits()
    train, test = (open_images(DataOptions(str(mnist), split)) for split in ("train", "test"))
    assert train.labels is not None
    images, held = (to_unit(torch.from_numpy(np.array(of.images[:n]))) for of, n in ((train, 6000), (test, 1000)))
    return images, torch.from_numpy(np.array(train.labels[:6000])), held


def train_faults(arguments: argparse.Namespace) -> None:
    """Trains with every fault that was asked for, and keeps the histories."""
    torch.set_num_threads(1)
    for data in arguments.data:
        images = load_images(data, arguments.mnist)
        for seed in parse_seeds(arguments.seeds):
            for family in ("mlp", "cnn"):
                steps = STEPS[data, family]
                for fault in arguments.only or own_loop.FAULTS:
                    probe = own_loop.train(
                        *images, fault=fault, family=family, steps=steps, seed=seed, every=steps // PROBES, report=None
                    )
                    history = probe.history
                    saved = {"fault": fault, "family": family, "data": data, "seed": seed, "steps": steps}
                    saved |= {"facts": history.facts.to_json(), "columns": history.columns}
                    (arguments.out / f"{data}-{family}-{fault}-{seed}.json").write_text(json.dumps(saved))
                    print(data, family, fault, seed, flush=True)


def data_file(data: str, which: str, arguments: argparse.Namespace) -> Path:
    """A file of a set's first 6,000 images, or of a subset of which nine tenths are threes."""
    file = arguments.out / f"{data}-{which}.npz"
    if not file.exists():
        images, labels, _ = load_images(data, arguments.mnist)
        kept = torch.arange(len(images))
        if which == "uneven":
            kept = kept[(labels == 3) | (torch.rand(len(labels), generator=torch.Generator().manual_seed(0)) < 0.01)]
        pixels = ((images[kept] + 1) * 127.5).round().to(torch.uint8)
        np.savez(file, images=pixels.permute(0, 2, 3, 1).numpy(), labels=labels[kept].numpy())
    return file


def knobs(arguments: argparse.Namespace) -> None:
    """Trains runs of Ganvas with faults planted by the configuration, and counts the right names."""
    right = within = total = 0
    for data in arguments.data:
        for seed in parse_seeds(arguments.seeds):
            for recipe, narrow in (("mlp", ""), ("cnn", "--g-width 16 --d-width 16")):
                for fault in arguments.only or KNOBS:
                    which, planted = KNOBS[fault]
                    name = f"{data}-{recipe}-{fault}-{seed}"
                    kimg = 20
                    words = (
                        f"--kimg {kimg} --tick-kimg {kimg / 40} --seed {seed} --threads 1 {narrow} {planted}".split()
                    )
                    command = [
                        sys.executable,
                        "-m",
                        "ganvas",
                        "train",
                        recipe,
                        *words,
                        "--out",
                        str(arguments.out / "knobs"),
                    ]
                    place = ["--name", name, "--no-plot", "--quiet", "--evaluate-every", "0"]
                    subprocess.run(
                        [*command, *place, "--data", str(data_file(data, which, arguments))], capture_output=True
                    )
                    run = Run(arguments.out / "knobs" / name)
                    named = [f.name for f in apply_rules(read_run(run)).findings if f.severity != "note"]
                    saved = [e for e in read_jsonl(run.path / "events.jsonl") if e.get("name") in RIGHT[fault]]
                    first = saved[0]["nimg"] / 1000 / kimg if saved else float("nan")
                    total, right, within = (
                        total + 1,
                        right + bool(set(named[:2]) & set(RIGHT[fault])),
                        within + (first <= 0.2),
                    )
                    print(name, named, f"first at {100 * first:.0f} %", flush=True)
    print(f"{right} of {total} named first or second at the end, {within} within 20 % of the training.")


def recipes(arguments: argparse.Namespace) -> None:
    """Trains the recipes, as the command line does, and prints the findings."""
    places = {"MNIST": arguments.mnist, "CIFAR": arguments.cifar, "FACES": arguments.faces}
    for name in arguments.only or RECIPES:
        words = [str(places.get(word, word)) for word in RECIPES[name].split()]
        kimg = float(words[words.index("--kimg") + 1])
        command = [sys.executable, "-m", "ganvas", "train", name, *words, "--tick-kimg", str(kimg / 30)]
        habits = ["--out", str(arguments.out / "recipes"), "--name", name, "--no-plot", "--quiet", "--threads", "1"]
        subprocess.run([*command, *habits], check=True)
        found = apply_rules(read_run(Run(arguments.out / "recipes" / name)))
        print(name, [f"{finding.severity}: {finding.name}" for finding in found.findings], flush=True)


def named_at_probes(saved: dict[str, Any]) -> tuple[list[list[str]], list[str]]:
    """The names of failures and warnings at every probe, in order; and the failures of the last one."""
    probes = saved["columns"].get("D/update", ([], []))[0]
    names: list[list[str]] = []
    failures: list[str] = []
    batch = saved["facts"].get("shown", 0) / max(probes[-1], 1)
    for now in probes:
        columns = {
            name: ([t for t in at if t <= now], [v for t, v in zip(at, values, strict=True) if t <= now])
            for name, (at, values) in saved["columns"].items()
            if at[0] <= now
        }
        found = apply_rules(History("step", Facts(**{**saved["facts"], "shown": round(now * batch)}), columns))
        names.append([finding.name for finding in found.findings if finding.severity != "note"])
        failures = [finding.name for finding in found.failures]
    return names, failures


def report(arguments: argparse.Namespace) -> None:
    """The tables of docs/results.md."""
    rows: dict[str, list[tuple[bool, float, list[str], bool]]] = defaultdict(list)
    for file in sorted(arguments.out.glob("*.json")):
        saved = json.loads(file.read_text())
        names, failures = named_at_probes(saved)
        right = RIGHT.get(saved["fault"], ())
        probes = saved["columns"]["D/update"][0]
        first = next((at for at, own in zip(probes, names, strict=True) if set(own[:2]) & set(right)), float("nan"))
        named = bool(set(names[-1][:2]) & set(right)) if right else not failures
        ever = any(set(own) - set(_warnings()) for own in names)
        rows[saved["fault"]].append((named, first / saved["steps"], names[-1], ever))
        if not named:
            print("not right:", file.name, names[-1], file=sys.stderr)
    print("| planted | trainings | first or second | named after (median, worst) | others named with it |")
    print("|---|---|---|---|---|")
    for fault, own in rows.items():
        if fault not in RIGHT:
            continue
        times = np.array([time for _, time, _, _ in own])
        beside = defaultdict(int)
        for _, _, names, _ in own:
            for name in names:
                if name not in RIGHT[fault]:
                    beside[name] += 1
        others = ", ".join(f"{name} {n}" for name, n in sorted(beside.items(), key=lambda item: -item[1]))
        when = (
            f"{100 * np.nanmedian(times):.0f} %, {100 * np.nanmax(times):.0f} %" if not np.isnan(times).all() else "–"
        )
        print(f"| {fault} | {len(own)} | {sum(row[0] for row in own)} | {when} | {others} |")
    planted = [row for fault, own in rows.items() if fault in RIGHT for row in own]
    healthy = [row for fault, own in rows.items() if fault not in RIGHT for row in own]
    within = sum(time <= 0.2 for _, time, _, _ in planted)
    print(
        f"\nOf {len(planted)} planted faults {sum(row[0] for row in planted)} were named first or second at the end, "
        f"{within} within 20 % of the training. Of {len(healthy)} healthy trainings {sum(row[0] for row in healthy)} "
        f"were given no failure at the end, {sum(not row[3] for row in healthy)} at no time."
    )


def _warnings() -> set[str]:
    from ganvas.diagnosis.rules.table import CONDITIONS

    return {row.name for row in CONDITIONS if row.severity != "failure"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["train", "knobs", "recipes", "report"])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--data", nargs="+", default=["digits", "mnist"])
    parser.add_argument("--seeds", default="2-4")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("planted_faults"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    {"train": train_faults, "knobs": knobs, "recipes": recipes, "report": report}[arguments.what](arguments)


if __name__ == "__main__":
    main()
