"""Kills Ganvas at random times, gives the same command again until it ends, and compares the end with that of no kill.

    python tests/fuzz/kills.py --kills 200 --seed 0
    python tests/fuzz/kills.py --kills 6 --only ada style

A third of the kills come at any time, a third soon after a state was saved, a third while one is being saved.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil
from kill_subjects import Digest, Subject, act, prepare, subjects

MOST_KILLS_OF_ONE = 5
"""After so many kills a training may end; then another begins."""

PATIENCE, WAITING = 240.0, 1800.0
"""Seconds of the processor's, and of a clock's, after which a command hangs: the machine may be busy."""


@dataclass
class Count:
    """What became of one subject."""

    kills: int = 0
    saved: int = 0
    """Kills when a state was there."""
    saving: int = 0
    """Kills when something was being written."""
    ends: int = 0
    lost: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    def row(self) -> tuple[int, ...]:
        """Its numbers, in the order of the table."""
        return self.kills, self.saved, self.saving, self.ends, len(self.lost), len(self.differing)


class Lost(Exception):
    """After a kill the same command does not go on."""


class Killer:
    """Runs one subject in a folder, again and again, killed or not."""

    def __init__(self, name: str, subject: Subject, folder: Path, random: Random, count: Count) -> None:
        self.name, self.subject, self.folder, self.random, self.count = name, subject, folder, random, count
        self.context = multiprocessing.get_context("forkserver")
        self.seconds = 1.0

    def run(self, kill: bool) -> bool:
        """Gives the command once; returns whether it was killed.

        Raises:
            Lost: it failed, or hangs.
        """
        process = self.context.Process(target=_act, args=(self.subject.argv, self.folder))
        began = time.monotonic()
        process.start()
        moment = self._wait(process) if kill else None
        if kill and process.is_alive():
            pids = self._kill(process)
            if process.exitcode == -signal.SIGKILL:
                self._count_kill(moment or "")
                for pid in pids:  # of the ranks: killed by our hand, or ended with their launcher
                    with contextlib.suppress(psutil.NoSuchProcess):
                        psutil.Process(pid).wait(60)
                self._check()
                return True
        if not self._ends(process):
            self._kill(process)
            raise Lost(f"it hangs: {self._said()}")
        if process.exitcode != 0:
            raise Lost(f"exit status {process.exitcode}: {self._said()}")
        self.seconds = max(0.5, time.monotonic() - began)
        return False

    def _ends(self, process: Any) -> bool:
        """Whether the process ends before it hangs."""
        began = time.monotonic()
        while process.is_alive():
            process.join(2.0)
            with contextlib.suppress(psutil.Error):
                one = psutil.Process(process.pid)
                used = [each.cpu_times() for each in (one, *one.children(recursive=True))]
                if sum(times.user + times.system for times in used) > PATIENCE:
                    return False
            if time.monotonic() - began > WAITING:
                return False
        return True

    def digest(self) -> Digest:
        """What it ended in, read by another process: its working folder is that of the subject."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_digest, args=(self.name, self.folder, theirs))
        process.start()
        theirs.close()
        try:
            found = ours.recv()
        except EOFError as error:
            raise Lost("what it ended in cannot be read") from error
        process.join()
        if isinstance(found, str):
            raise Lost(found)
        return found

    def _wait(self, process: Any) -> str:
        """Waits for a random time; returns "saving" if something is being written then."""
        way = self.random.choice(["any", "saved", "saving"])
        limit = time.monotonic() + self.seconds * 2
        if way == "any" or (way == "saved" and not self.subject.saved) or (way == "saving" and not self.subject.saving):
            process.join(self.random.uniform(0, self.seconds * 0.9))
            return self._moment()
        before = self._saved_at()
        while process.is_alive() and time.monotonic() < limit:
            if (way == "saving" and self._moment()) or (way == "saved" and self._saved_at() != before):
                break
            time.sleep(0.0005)
        process.join(self.random.uniform(0, 0.004 if way == "saving" else 0.4))
        return self._moment()

    def _moment(self) -> str:
        found = (path for pattern in self.subject.saving for path in self.folder.glob(pattern))
        return "saving" if any(".tmp-" in path.name or ".old-" in path.name for path in found) else ""

    def _saved_at(self) -> int:
        """When a state was saved last; 0 if none is there."""
        if not self.subject.saved:
            return 0
        times = [0]
        for path in self.folder.glob(self.subject.saved):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
        return max(times)

    def _kill(self, process: Any) -> list[int]:
        """Kills the process, and mostly what it has started: at once, or one of the ranks alone."""
        try:
            children = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.join()
        return [child.pid for child in children]

    def _count_kill(self, moment: str) -> None:
        self.count.kills += 1
        self.count.saved += bool(self._saved_at())
        self.count.saving += moment == "saving"

    def _check(self) -> None:
        process = self.context.Process(target=_check, args=(self.name, self.folder))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise Lost(f"after a kill something is not whole: {self._said()}")

    def _said(self) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")[-1500:]


def _enter(folder: Path) -> None:
    """The child's life: its folder, its cache, its output."""
    os.chdir(folder)
    os.environ.update(GANVAS_CACHE=str(folder / "cache"), OMP_NUM_THREADS="1")
    with open("said.txt", "w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)


def _act(argv: list[str], folder: Path) -> None:
    _enter(folder)
    sys.exit(act(argv, slow=True))


def _check(name: str, folder: Path) -> None:
    _enter(folder)
    subjects()[name].check()


def _digest(name: str, folder: Path, connection: Any) -> None:
    _enter(folder)
    try:
        connection.send(subjects()[name].digest())
    except Exception as error:
        connection.send(f"what it ended in cannot be read: {type(error).__name__}: {error}")


def kill_all(kills: int, seed: int, folder: Path, only: Sequence[str] = ()) -> dict[str, Count]:
    """Kills every subject equally often; prints what was lost or differs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "ganvas.cli", "ganvas.training.start", "ganvas.evaluation.evaluation", "sklearn.cluster"]
    )
    process = context.Process(target=prepare, args=(folder / "prepared",))
    process.start()
    process.join()
    assert process.exitcode == 0, "what the subjects start from could not be made"
    chosen = {name: subject for name, subject in subjects().items() if not only or name in only}
    counts = {}
    for number, (name, subject) in enumerate(chosen.items()):
        count, began = counts.setdefault(name, Count()), time.monotonic()
        share = (kills * (number + 1)) // len(chosen) - (kills * number) // len(chosen)
        _kill_one(name, subject, share, Random(f"{seed} {name}"), folder, count)
        print(table({name: count}, time.monotonic() - began) + "\n", file=sys.stderr, flush=True)
    return counts


def _kill_one(name: str, subject: Subject, kills: int, random: Random, folder: Path, count: Count) -> None:
    if not kills:
        return
    whole = Killer(name, subject, folder / "whole", random, count)
    shutil.copytree(folder / "prepared", whole.folder)
    whole.run(kill=False)
    expected, attempts = whole.digest(), 0
    shutil.rmtree(whole.folder)
    while count.kills < kills and attempts < 3 * kills + 3:
        killer = Killer(name, subject, folder / "killed", random, count)
        killer.seconds = whole.seconds
        shutil.copytree(folder / "prepared", killer.folder)
        try:
            of_this, killed = min(MOST_KILLS_OF_ONE, kills - count.kills), True
            while of_this and killed:
                killed = killer.run(kill=True)
                of_this, attempts = of_this - 1, attempts + 1
            killer.run(kill=False)  # of one that is complete, once more
            found = killer.digest()
            differing = [key for key in {*expected, *found} if expected.get(key) != found.get(key)]
            count.ends += 1
            if differing:
                count.differing.append(f"{len(differing)} of {len(expected)}: {sorted(differing)[:5]}")
                print(f"\nDIFFERS: {name}: {count.differing[-1]}", file=sys.stderr)
                for key in sorted(differing)[:3]:
                    print(f"  {key}\n    {expected.get(key)}\n    {found.get(key)}"[:1500], file=sys.stderr)
        except Lost as lost:
            count.lost.append(str(lost))
            print(f"\nLOST: {name}: {lost}", file=sys.stderr)
        shutil.rmtree(killer.folder, ignore_errors=True)


def table(counts: dict[str, Count], seconds: float) -> str:
    """A row for each subject, and how many of the kills came after a state was saved."""
    head = f"{'killed':15} {'kills':>6} {'saved':>6} {'while saving':>13} {'ends':>6} {'lost':>6} {'differing':>10}"
    rows = {name: count.row() for name, count in counts.items()}
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = [
        f"{name:15} {row[0]:6} {row[1]:6} {row[2]:13} {row[3]:6} {row[4]:6} {row[5]:10}"
        for name, row in (*rows.items(), ("all", total))
    ]
    stateful = sum(count.kills for name, count in counts.items() if subjects()[name].saved)
    share = total[1] / stateful if stateful else 0.0
    return (
        "\n".join([head, *lines])
        + f"\n{seconds:.0f} s; {share:.0%} of the kills of what saves a state came after one was saved"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[*subjects()], default=[])
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ganvas-kills-") as folder:
        counts = kill_all(arguments.kills, arguments.seed, Path(folder), arguments.only)
    print("\n" + table(counts, time.monotonic() - began))
    return int(any(count.lost or count.differing for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
