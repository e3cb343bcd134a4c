"""The run folder: where a run is, and how the same command finds it again."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ganvas.config import Habits, TrainConfig, differences, from_json, to_json
from ganvas.errors import GanvasError
from ganvas.files import explain, make_folder, remove_folder, write_json
from ganvas.recipes import recipe

FORMAT = 1
_MAY_CHANGE = frozenset(f.name for f in dataclasses.fields(Habits)) | {"data", "max_bad"}
"""Knobs that may change when a run goes on: they decide when and where, not what."""


@dataclass(frozen=True)
class Run:
    """A run on disk. Everything after training takes its path."""

    path: Path

    @cached_property
    def card(self) -> dict[str, Any]:
        """config.json: format, recipe, config, data, versions, threads.

        Raises:
            GanvasError: this is no run folder, or one of a later version.
        """
        try:
            card = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            known = card["format"] <= FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GanvasError(
                f"{self.path} is not a run folder ({error}).",
                expected="a folder with a config.json, as ganvas train makes it",
                fix="ls runs shows the runs; ganvas train makes one.",
            ) from error
        if not known:
            raise GanvasError(f"{self.path} was written by a later version of Ganvas.", fix="upgrade Ganvas.")
        return card

    @property
    def config(self) -> TrainConfig:
        """The configuration it was started with."""
        return from_json(TrainConfig, self.card["config"])

    @property
    def threads(self) -> int | None:
        """The CPU threads that it is trained on: another number may change the last bit of a sum. None if not known."""
        return self.card.get("threads")

    @property
    def state(self) -> Path:
        """The file to go on from."""
        return self.path / "state" / "latest.safetensors"

    def kept(self, name: str) -> Path:
        """A state that a run may go back to (--on-failure rollback): start, good, or candidate."""
        return self.path / "state" / f"{name}.safetensors"

    @property
    def snapshots(self) -> list[Path]:
        """Its snapshot folders, oldest first."""
        return sorted(p for p in (self.path / "snapshots").glob("[0-9]*") if (p / "card.json").exists())

    @property
    def snapshot(self) -> Path:
        """The newest snapshot.

        Raises:
            GanvasError: there is none yet.
        """
        if not self.snapshots:
            raise GanvasError(f"{self.path} has no snapshot yet.", fix="train it a little longer.")
        return self.snapshots[-1]

    @property
    def best(self) -> Path | None:
        """The snapshot of the best quality seen while training; None where none was measured."""
        path = self.path / "snapshots" / "best"
        return path if (path / "card.json").exists() else None

    def sample(self, **knobs: Any) -> Any:
        """Pictures of the newest snapshot; the arguments of `ganvas.sampling.Sampler.sample`."""
        from ganvas.sampling import load

        return load(self).sample(**knobs)

    def __str__(self) -> str:
        return str(self.path)


def resolve(what: "str | TrainConfig | Run | Path") -> tuple[str, TrainConfig, Run | None]:
    """(what to call it, its configuration, the run if it is one) of a recipe's name, a configuration, or a run.

    Raises:
        GanvasError: it is neither.
    """
    if isinstance(what, TrainConfig):
        return "custom", what, None
    if isinstance(what, str) and not (Path(what) / "config.json").exists():
        return what, recipe(what).config, None
    run = what if isinstance(what, Run) else Run(Path(what))
    return run.card["recipe"], run.config, run


def create(
    out: Path,
    name: str | None,
    recipe_name: str,
    config: TrainConfig,
    data: Mapping[str, Any],
    versions: Any,
    threads: int | None = None,
) -> Run:
    """Makes the folder of a new run of the recipe `called`: `name`, or the next of 00000-recipe-data, 00001- …

    Raises:
        GanvasError: it cannot be written, or holds something else.
    """
    make_folder(out)
    while True:
        path = out / name if name else _next_numbered(out, f"{recipe_name}-{data['name']}")
        try:
            path.mkdir(exist_ok=name is not None)
            break
        except FileExistsError:
            if name is not None:
                raise GanvasError(f"{path} is a file.", fix="choose another --name.") from None
        except OSError as error:
            raise explain(error, path) from error
    if any(not p.name.startswith(".") for p in path.iterdir()):
        raise GanvasError(
            f"{path} is no run, and is not empty.", expected="a run, or a new name", fix="choose another --name."
        )
    card = {
        "format": FORMAT,
        "recipe": recipe_name,
        "config": to_json(config),
        "data": dict(data),
        "versions": versions,
    }
    return write_metadata(Run(path), card | {"threads": threads})


def write_metadata(run: Run, card: Mapping[str, Any]) -> Run:
    """Writes config.json, atomically, and returns the run as it now is."""
    write_json(run.path / "config.json", card)
    return Run(run.path)


def _next_numbered(out: Path, title: str) -> Path:
    taken = [int(match[1]) for p in out.glob("*") if (match := re.match(r"(\d{5})-", p.name))]
    return out / f"{max(taken, default=-1) + 1:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', title)}"


def list_runs(out: Path) -> Iterator[Run]:
    """The readable runs in a folder, newest first."""
    for path in sorted(out.glob("*/config.json"), reverse=True):
        run = Run(path.parent)
        try:
            run.config  # noqa: B018 - one that cannot be read is not ours to go on with
        except GanvasError:
            continue
        yield run


def is_same_run(run: Run, config: TrainConfig, fingerprint: str) -> bool:
    """Whether a run is what this configuration and data would train."""
    return not changed(run.config, config) and run.card["data"]["fingerprint"] == fingerprint


def changed(old: TrainConfig, new: TrainConfig) -> list[tuple[str, Any, Any]]:
    """The knobs that would make it another run: all but habits, and where the pictures lie."""
    return [d for d in differences(old, new) if d[0] not in _MAY_CHANGE]


def find_unfinished(run: Run) -> tuple[Run, str] | None:
    """The newest unfinished run beside `run`, of its recipe and pictures, and in words how they differ; or None."""
    own = run.card
    for other in list_runs(run.path.parent):
        alike = all(other.card[key] == own[key] for key in ("recipe", "data"))
        if other.path == run.path or not alike or not other.snapshots:
            continue
        card = json.loads((other.snapshot / "card.json").read_text(encoding="utf-8"))
        if card["nimg"] < other.config.total:
            return other, _format_differences(changed(other.config, run.config)) or "the same configuration"
    return None


def _format_differences(differing: list[tuple[str, Any, Any]]) -> str:
    return "; ".join(f"{name} is {old} there and {new} here" for name, old, new in differing)


def check_same_run(run: Run, config: TrainConfig, fingerprint: str) -> None:
    """Refuses to go on with a run under another configuration.

    A longer `kimg` is no other run where no schedule depends on the length.

    Raises:
        GanvasError: naming each knob that differs.
    """
    differing = changed(run.config, config)
    longer = [d for d in differing if d[0] == "kimg" and d[2] > d[1]]
    if longer and not _relative_schedules(config):
        differing = [d for d in differing if d[0] != "kimg"]
    if differing:
        hint = f" (kimg may grow only where no schedule depends on it: {', '.join(_relative_schedules(config))} does)"
        raise GanvasError(
            f"{run} is another run: {_format_differences(differing)}{hint if longer else ''}.",
            expected="the configuration it was started with",
            fix="leave those knobs as they were to go on, or give the new run a folder of its own.",
        )
    if run.card["data"]["fingerprint"] != fingerprint:
        raise GanvasError(
            f"The pictures of {run} have changed since it was started.",
            expected=f"the {run.card['data']['images']} pictures it was started with",
            fix="restore them, or start a new run.",
        )


@contextmanager
def lock_run(run: Run) -> Iterator[None]:
    """Holds the run for this process.

    Raises:
        GanvasError: another process is training it.
    """
    lock = FileLock(run.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise GanvasError(
            f"Another process is training {run} right now.",
            fix="wait for it, stop it, or add --new to train beside it.",
        ) from None
    except OSError as error:
        raise explain(error, run.path) from error
    try:
        yield
    finally:
        lock.release()


def prune_snapshots(run: Run, nimg: int, *, keep: int | None) -> None:
    """Deletes all snapshots but the newest and those kept for good, one for each `keep` images.

    Args:
        nimg: where the run is; snapshots beyond it are of a sitting that was killed before its state was saved.
        keep: images between two that are kept for good, or None. The first one after each multiple stays.
    """
    kept_until = -1
    for path in run.snapshots:
        own = json.loads((path / "card.json").read_text(encoding="utf-8"))["nimg"]
        if own == nimg:
            continue
        if own > nimg or keep is None or own // keep <= kept_until:
            remove_folder(path)
        else:
            kept_until = own // keep


def _relative_schedules(config: TrainConfig) -> list[str]:
    return [name for name, schedule in config.schedules().items() if schedule.relative]
