"""Runs that fail, and the same runs with recovery: does --on-failure help?

    python benchmarks/recovery.py [--seeds 0-4] [--kimg 120] [--out FOLDER]

Two ways to make the MLP GAN fail on scikit-learn's digits, with every seed and each --on-failure, next to the stable
variant of the same length. The Fréchet distances in the eye's features are between 397 generated and the 397 held-out
digits.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import ganvas
from ganvas.runs.log import read_jsonl
from ganvas.seeds import parse_seeds

FAULTS = {
    "G 20 times too fast": "--g-lr 2e-2 --d-lr 1e-3",
    "both fast, with momentum": "--g-lr 5e-3 --d-lr 5e-3 --beta1 0.9",
}
MODES = ("warn", "correct", "rollback")


def frechet(recipe: str, knobs: str, seed: int, name: str, arguments: argparse.Namespace) -> tuple[float, list[str]]:
    """The distance at the end, and what --on-failure did."""
    command = [sys.executable, "-m", "ganvas", "train", recipe, "--data", "digits", "--kimg", str(arguments.kimg)]
    habits = ["--tick-kimg", "2", "--threads", "1", "--no-plot", "--quiet", "--evaluate-every", "0"]
    place = ["--seed", str(seed), "--out", str(arguments.out), "--name", name]
    done = subprocess.run([*command, *knobs.split(), *habits, *place], capture_output=True, text=True)
    run = ganvas.Run(arguments.out / name)
    if done.returncode and not run.snapshots:
        raise SystemExit(done.stderr)
    events = [e for e in read_jsonl(run.path / "events.jsonl") if e["event"] in ("correct", "rollback", "stopped")]
    acts = [f"{e['event']} at {e['nimg'] / 1000:g}: {e['finding']['name']}" for e in events]
    found = ganvas.evaluate(run, quick=True, count=397).to_json()
    return found["values"]["frechet"]["value"], acts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--kimg", type=float, default=120)
    parser.add_argument("--out", type=Path, default=Path("recovery"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = parse_seeds(arguments.seeds)
    stable = {seed: frechet("mlp-stable", "", seed, f"stable-{seed}", arguments)[0] for seed in seeds}
    rows: list[dict[str, Any]] = []
    for i, (fault, knobs) in enumerate(FAULTS.items()):
        for seed in seeds:
            row: dict[str, Any] = {"fault": fault, "seed": seed, "stable": stable[seed]}
            for mode in MODES:
                row[mode], acts = frechet("mlp", f"{knobs} --on-failure {mode}", seed, f"{i}-{seed}-{mode}", arguments)
                row[f"{mode} acts"] = acts
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    stable_mean = statistics.mean(stable.values())
    print(f"The stable variant: {stable_mean:.2f} (from {min(stable.values()):.2f} to {max(stable.values()):.2f}).\n")
    print("| fault | seed | warn | correct | rollback | what rollback did |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        numbers = " | ".join(f"{row[mode]:.2f}" for mode in MODES)
        print(f"| {row['fault']} | {row['seed']} | {numbers} | {'; '.join(row['rollback acts'])} |")
    for mode in MODES[1:]:
        recovered = sum(row[mode] <= 1.5 * stable_mean for row in rows)
        print(f"\n{mode}: {recovered} of {len(rows)} within 1.5 times the stable variant's.")


if __name__ == "__main__":
    main()
