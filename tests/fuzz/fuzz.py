"""Gives Ganvas thousands of odd inputs and counts what it may never do.

    python tests/fuzz/fuzz.py --cases 2000 --seed 0                 # a table: per kind the inputs and the faults
    python tests/fuzz/fuzz.py --seed 0 --only data --case 17        # one of them again, with what it printed

A fault is a traceback, a hang, memory above a bound, a wrong exit status, or an answer that is known to be wrong.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import api_calls
import command_lines
import data_files
import latent_files
import log_files
import run_folders
from isolation import FAULTS, Kind, Outcome, restrict, run_case, run_cases
from prepared import prepare

KINDS: dict[str, Kind] = {
    "commands": Kind(command_lines.make, 0.25),
    "data": Kind(data_files.make, 0.26),
    "runs": Kind(run_folders.make, 0.2),
    "logs": Kind(log_files.make, 0.1),
    "latents": Kind(latent_files.make, 0.05),
    "api": Kind(api_calls.make, 0.14),
}


def choose_tasks(cases: int, seed: int, only: Sequence[str] = ()) -> list[tuple[str, int]]:
    """So many (kind, number), the kinds by their weights, in a random order."""
    chosen = {name: KINDS[name].weight for name in only or KINDS}
    total = sum(chosen.values())
    tasks = [(name, number) for name, weight in chosen.items() for number in range(round(cases * weight / total))]
    Random(seed).shuffle(tasks)
    return tasks


def fuzz(cases: int, seed: int, *, only: Sequence[str] = (), workers: int = 2, folder: Path) -> list[Outcome]:
    """Runs so many cases; prints each fault as it is found."""
    prepared = folder / "prepared"
    prepare(prepared)
    outcomes = []
    for outcome in run_cases(
        KINDS, choose_tasks(cases, seed, only), seed=seed, workers=workers, folder=folder, prepared=prepared
    ):
        outcomes.append(outcome)
        if outcome.fault:
            print(describe(outcome, seed), file=sys.stderr, flush=True)
    return outcomes


def describe(outcome: Outcome, seed: int) -> str:
    """A fault in words, with the command that shows it again."""
    again = f"python tests/fuzz/fuzz.py --seed {seed} --only {outcome.kind} --case {outcome.number}"
    return f"\n{outcome.fault.upper()}: {outcome.what}\n{outcome.detail.strip()}\nAgain: {again}"


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Inputs, exit statuses and faults of each kind."""
    head = f"{'kind':10} {'inputs':>7} {'exit 0':>7} {'other':>7} " + " ".join(f"{fault:>12}" for fault in FAULTS)
    lines = [head]
    for name in (*KINDS, "all"):
        own = [outcome for outcome in outcomes if name in ("all", outcome.kind)]
        if own:
            faults = Counter(outcome.fault for outcome in own)
            good = sum(outcome.status == 0 for outcome in own)
            counts = " ".join(f"{faults[fault]:12}" for fault in FAULTS)
            lines.append(f"{name:10} {len(own):7} {good:7} {len(own) - good:7} {counts}")
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.bytes)
    lines.append(f"{seconds:.0f} s; slowest: {slowest.kind} {slowest.number} with {slowest.seconds:.1f} s")
    lines.append(f"most memory: {largest.kind} {largest.number} with {largest.bytes / 1e6:.0f} MB more than before")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[*KINDS], default=[])
    parser.add_argument("--case", type=int, help="run this one of --only in this process, and show what it prints")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ganvas-fuzz-") as name:
        folder = Path(name)
        if arguments.case is not None:
            (kind,) = arguments.only
            return reproduce(kind, arguments.case, arguments.seed, folder)
        began = time.monotonic()
        outcomes = fuzz(arguments.cases, arguments.seed, only=arguments.only, workers=arguments.workers, folder=folder)
        print("\n" + table(outcomes, time.monotonic() - began))
        return int(any(outcome.fault for outcome in outcomes))


def reproduce(kind: str, number: int, seed: int, folder: Path) -> int:
    """Runs one case in this process."""
    prepare(folder / "prepared")
    restrict()
    made = KINDS[kind].make

    def make(number: int, random: Random, prepared: Path):
        case = made(number, random, prepared)
        act = case.act

        def shown():
            answer = act()
            print(answer.out, answer.err, sep="\n")
            return answer

        case.act = shown
        return case

    outcome = run_case(Kind(make, 1.0), kind, number, seed, folder / "prepared", folder / "a" / "b", print)
    print(f"exit status {outcome.status}, {outcome.seconds:.2f} s, {outcome.bytes / 1e6:.0f} MB")
    if outcome.fault:
        print(describe(outcome, seed))
    return int(bool(outcome.fault))


if __name__ == "__main__":
    sys.exit(main())
