"""The run folder: reading, finding, creating and locking runs."""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ganvas import user_code
from ganvas.config import CODE_KNOBS, RuntimeConfig, TrainConfig, differences, from_json, to_json
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.errors import GanvasError
from ganvas.files import explain_os_error, make_folder, to_path, write_json
from ganvas.reading import describe_reason, is_count, is_number
from ganvas.runs.card import find_damage, read_card, read_weight_shapes
from ganvas.runs.lock import is_being_trained, lock_run
from ganvas.runs.log import read_events, read_last
from ganvas.runs.metadata import FORMAT, read_metadata
from ganvas.runs.names import numbered

_MAY_CHANGE = frozenset(f.name for f in dataclasses.fields(RuntimeConfig)) | {"data", "max_bad"}
"""Knobs that may change when a run is resumed: they do not decide what is trained."""


@dataclass(frozen=True, repr=False)
class Run(Displayed):
    """A run on disk. Everything after training takes its path."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", to_path(self.path, "a run, or its folder"))

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """config.json: format, recipe, config, data, versions, threads, device; of own code sources, critic and d_norm.

        Raises:
            GanvasError: this is not a run folder, or one of another format.
        """
        return read_metadata(self.path)

    @property
    def config(self) -> TrainConfig:
        """The configuration it was started with.

        Raises:
            GanvasError: as `metadata`, or a knob in it is unknown or out of bounds.
        """
        metadata = self.metadata
        try:
            return from_json(TrainConfig, metadata["config"])
        except GanvasError as error:
            file = self.path / "config.json"
            raise GanvasError(f"{file} is damaged: {error.what}", expected=error.expected, fix=error.fix) from error

    @property
    def threads(self) -> int | None:
        """CPU threads of its training: another number may change the last bit of a sum. None if unknown."""
        return self.metadata.get("threads")

    @property
    def state_file(self) -> Path:
        """The state file from which training is resumed."""
        return self.path / "state" / "latest.safetensors"

    def kept_state(self, name: str) -> Path:
        """The file of a state that --on-failure rollback may restore: start, good, or candidate."""
        return self.path / "state" / f"{name}.safetensors"

    @property
    def snapshots(self) -> list[Path]:
        """Its snapshot folders, oldest first."""
        found = numbered((self.path / "snapshots").glob("[0-9]*"))
        return [path for _, path in found if (path / "card.json").exists()]

    @property
    def latest_snapshot(self) -> Path:
        """The newest snapshot.

        Raises:
            GanvasError: there is none yet, or this is not a run folder.
        """
        if not self.snapshots:
            _ = self.metadata  # which another program's config.json has not
            raise GanvasError(f"{self.path} has no snapshot yet.", fix="train it a little longer.")
        return self.snapshots[-1]

    @property
    def best_snapshot(self) -> Path | None:
        """The snapshot with the best quality during training; None if none was chosen by it."""
        path = self.path / "snapshots" / "best"
        return path if (path / "card.json").exists() else None

    @property
    def grids(self) -> list[Path]:
        """Its grids of generated images, oldest first."""
        return [path for _, path in numbered(self.path.glob("fakes*.png"))]

    @property
    def film(self) -> Path | None:
        """The film of its training, an animated image; None if there is none yet."""
        files = (self.path / f"training{suffix}" for suffix in (".webp", ".gif"))
        return next((file for file in files if file.is_file()), None)

    @property
    def best_quality(self) -> tuple[float, int] | None:
        """The best quality during training, and the images shown to D until then; None if there is no such snapshot."""
        if self.best_snapshot is None or find_damage(self.best_snapshot):
            return None
        card = read_card(self.best_snapshot)
        return (card["quality"]["value"], card["nimg"]) if card["quality"] else None

    def find_damage(self) -> list[str]:
        """What is damaged beside its newest snapshot, which `progress` checks: a sentence for each other one."""
        others = self.snapshots[:-1] + ([self.best_snapshot] if self.best_snapshot else [])
        return [damage for path in others if (damage := find_damage(path))]

    def progress(self) -> dict[str, Any]:
        """How far it is: state, problem, nimg, total, seconds, images_per_s, peak_bytes.

        The state is complete, unfinished, training (by another process, now), or failed: by numbers that are not
        finite, or stopped by --on-failure where it is now. `nimg` is that of the newest snapshot, from which the run
        is used and resumed; of a run that is being trained, or has no snapshot, it is that of the log. `total` is its
        length in images; of a run by time as it was planned last, 0 before that. `seconds` are those of training; of a
        run by time all that count for it.

        Raises:
            GanvasError: the run cannot be used: it is not there any more, damaged, or of another format.
        """
        config = Run(self.path).config  # as it is on the disk now
        try:
            last, events = read_last(self.path / "stats.jsonl"), read_events(self.path)
        except OSError as error:
            raise GanvasError(f"{error.filename} cannot be read ({describe_reason(error)}).") from error
        logged, seconds, elapsed = (
            value if is_number(value := last.get(k)) and value > 0 else 0 for k in ("nimg", "seconds", "elapsed")
        )
        total = planned_images(self.path) if config.kimg is None else config.total_images
        nimg, trained_now = logged, is_being_trained(self.path)
        if not trained_now and self.snapshots:
            nimg = read_card(self.latest_snapshot)["nimg"]
            read_weight_shapes(self.latest_snapshot)
        ends: list[Mapping[str, Any]] = []
        for event in events:
            if event["event"] == "resume":  # after --on-failure stopped it
                ends = [end for end in ends if end["event"] != "stopped"]
            elif event["event"] == "non-finite" or (event["event"] == "stopped" and event["nimg"] >= nimg):
                ends.append(event)
        peaks = [peak for event in events if event["event"] == "done" and is_count(peak := event.get("peak_bytes"))]
        state, problem = "complete", ""
        unfinished = nimg < total or not total
        if trained_now:
            state, problem = "training", f"{nimg / 1e3:g} of {total / 1e3:g} kimg so far"
        elif unfinished and ends:
            state, problem = "failed", describe_failure(ends[-1])
        elif unfinished:
            state, problem = "unfinished", f"{nimg / 1e3:g} of {total / 1e3:g} kimg"
        return {
            "state": state, "problem": problem, "nimg": nimg, "total": total, "seconds": elapsed or seconds,
            "images_per_s": logged / seconds if seconds else None, "peak_bytes": peaks[-1] if peaks else None,
        }  # fmt: skip

    @property
    def origin(self) -> str:
        """The run or generator whose networks it started with (--from), and at how many kimg; else empty."""
        lineage = self.metadata.get("lineage")
        if not lineage:
            return ""
        from ganvas.runs import lookup  # with urllib, which few commands need

        return f"{lookup.origin_name(lineage)} at {lineage['kimg']:g} kimg"

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def _line(self) -> str:
        return f"Run({self.path}: {', '.join(f'{name} {text}' for name, text in self._facts().items())})"

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(str(self.path), "bold")
        yield Table(list(self._facts().items()))
        if self.grids:
            yield InlineImage(self.grids[-1], self.grids[-1].name, width=400)
        if (curves := self.path / "losses.png").exists():
            yield InlineImage(curves, curves.name, width=900)

    def _facts(self) -> dict[str, str]:
        """What is known of it, also of a damaged one."""
        try:
            progress, data, config = self.progress(), self.metadata["data"], self.config
            origin = f", from {self.origin}" if self.origin else ""
            size = "×".join(str(data["shape"][side]) for side in ("height", "width", "channels"))
            facts = {
                "recipe": f"{self.metadata['recipe']} ({config.network.family}){origin}",
                "data": f"{data['name']} ({data['images']:,} images of {size})",
                "kimg": f"{progress['nimg'] / 1000:g} of {progress['total'] / 1000:g}",
                "state": ": ".join(filter(None, (progress["state"], progress["problem"]))),
            }
            if self.best_quality is not None:
                value, nimg = self.best_quality
                facts["quality"] = f"{value:.3g} at {nimg / 1000:g} kimg"
            return facts
        except GanvasError as error:  # the path is shown beside it
            return {"state": error.what.replace(f"{self.path}{os.sep}", "").removeprefix(f"{self.path} ")}


def describe_failure(event: Mapping[str, Any]) -> str:
    """Why a training failed, in words: from its event "non-finite" or "stopped"."""
    at = f"at {event['nimg'] / 1e3:g} kimg"
    if event["event"] == "stopped":
        return f"stopped by --on-failure {at}"
    return f"{', '.join(event['quantities'])} no longer finite {at}"


def planned_images(path: Path) -> int:
    """The length of a run by time, in images, as it was planned last; 0 if it is not planned yet."""
    with suppress(OSError, GanvasError):
        if is_count(logged := read_last(path / "stats.jsonl").get("planned")):
            return logged
        first = [event.get("kimg") for event in read_events(path) if event["event"] == "planned"]
        return round(1000 * first[-1]) if first and is_number(first[-1]) else 0
    return 0


def create_run(
    out: Path,
    name: str | None,
    recipe_name: str,
    config: TrainConfig,
    data: Mapping[str, Any],
    versions: Any,
    threads: int | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> Run:
    """Creates the folder of a new run in `out`: `name`, or the next number of 00000-recipe-data, 00001- …

    If another process creates the same `name` at the same time, the run is that of the other one.

    Raises:
        GanvasError: it cannot be written, or is a file or a folder with other content.
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
            raise explain_os_error(error, path) from error
    with lock_run(path):
        if (path / "config.json").exists():  # another process was faster
            return Run(path)
        if any(not p.name.startswith(".") for p in path.iterdir()):
            raise GanvasError(
                f"{path} is not a run, and is not empty.", expected="a run, or a new name", fix="choose another --name."
            )
        metadata = {
            "format": FORMAT, "recipe": recipe_name, "config": to_json(config), "data": dict(data),
            "versions": versions,
        }  # fmt: skip
        if specs := config.user_specs():
            metadata |= {"sources": user_code.sources(specs), **config.known_of_code()}
        origin = {"lineage": dict(lineage)} if lineage else {}
        return write_metadata(Run(path), metadata | origin | {"threads": threads})


def write_metadata(run: Run, metadata: Mapping[str, Any]) -> Run:
    """Writes config.json atomically, and returns the run with the new content."""
    write_json(run.path / "config.json", metadata)
    written = Run(run.path)
    written.metadata  # noqa: B018 - it is read here: the processes of other machines do not have the folder
    return written


def _next_numbered(out: Path, title: str) -> Path:
    taken = [int(match[1]) for p in out.glob("*") if (match := re.match(r"(\d{5})-", p.name))]
    return out / f"{max(taken, default=-1) + 1:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', title)}"


def list_runs(out: Path) -> Iterator[Run]:
    """The readable runs in a folder, newest first."""
    for path in sorted(out.glob("*/config.json"), reverse=True):
        run = Run(path.parent)
        try:
            run.config  # noqa: B018 - raises if the run cannot be read
        except GanvasError:
            continue
        yield run


def is_same_run(run: Run, config: TrainConfig, fingerprint: str) -> bool:
    """Whether a run is the one that this configuration and data would train, and the user's own code."""
    return is_same_but_code(run, config, fingerprint) and not changed_sources(run)


def is_same_but_code(run: Run, config: TrainConfig, fingerprint: str) -> bool:
    """Whether the configuration and the data are those of the run; the user's own code may have changed."""
    return not differing_knobs(run.config, config) and run.metadata["data"]["fingerprint"] == fingerprint


def changed_sources(run: Run) -> list[str]:
    """The files and modules of the user's own code that are no longer what the run was started with."""
    return user_code.changed_sources(run.metadata.get("sources", {}))


def differing_knobs(old: TrainConfig, new: TrainConfig) -> list[tuple[str, Any, Any]]:
    """(name, old, new) of the knobs that make it another run: all but the runtime settings and the data's path.

    The places that `init_from` and the user's own code mean are compared, however they are written.
    """
    return [d for d in differences(old, new) if d[0] not in _MAY_CHANGE and not _is_same_place(*d)]


def _is_same_place(knob: str, old: Any, new: Any) -> bool:
    if knob == "init_from":
        from ganvas.runs import lookup  # with urllib, which few commands need

        return lookup.is_same_place(old, new)
    is_code = knob in CODE_KNOBS and all(map(user_code.is_spec, (old, new)))
    return is_code and user_code.absolute(old) == user_code.absolute(new)


def find_unfinished(run: Run) -> tuple[Run, str] | None:
    """The newest unfinished run beside `run`, of the same recipe and data, and how to resume it as text; or None."""
    for other in list_runs(run.path.parent):
        alike = all(other.metadata[key] == run.metadata[key] for key in ("recipe", "data"))
        if other.path == run.path or not alike or not other.snapshots:
            continue
        try:
            state = other.progress()["state"]
        except GanvasError:  # damaged, which is no matter of this run
            continue
        if state in ("unfinished", "failed"):
            changed = " and ".join(changed_sources(other))
            if changed:
                return other, f"; restore {changed} to resume it."
            differences = _format_differences(differing_knobs(other.config, run.config)) or "the same configuration"
            return other, f": {differences}. ganvas train {other} resumes it."
    return None


def _format_differences(differing: list[tuple[str, Any, Any]]) -> str:
    def words(value: Any) -> Any:
        return user_code.title(value) if str(value).startswith(user_code.SESSION) else value

    return "; ".join(f"{name} is {words(old)} there and {words(new)} here" for name, old, new in differing)


def check_same_run(run: Run, config: TrainConfig, fingerprint: str) -> None:
    """Refuses to resume a run with another configuration or other data.

    A longer `kimg` is allowed where no schedule depends on the length.

    Raises:
        GanvasError: a knob differs, which is named, or the data, or the user's own code.
    """
    differing = differing_knobs(run.config, config)
    longer = [d for d in differing if d[0] == "kimg" and None not in d and d[2] > d[1]]
    relative = ", ".join(_relative_schedules(config))
    if longer and not relative:
        differing = [d for d in differing if d[0] != "kimg"]
    if differing:
        hint = f" (kimg may grow only where no schedule depends on it, as here: {relative})" if longer else ""
        raise GanvasError(
            f"{run} has another configuration: {_format_differences(differing)}{hint}.",
            expected="the configuration it was started with",
            fix="leave those knobs as they were to resume it, or choose another --name for a new run.",
        )
    if run.metadata["data"]["fingerprint"] != fingerprint:
        raise GanvasError(
            f"The images of {run} have changed since it was started.",
            expected=f"the {run.metadata['data']['images']} images it was started with",
            fix="restore them, or start a new run.",
        )
    if changed := changed_sources(run):
        raise GanvasError(
            f"{' and '.join(changed)} changed since {run} was started.",
            expected="the code it was started with: the rest of the run would be another training",
            fix="restore it to go on with this run, or start a new one: --new, or another --name.",
        )


def _relative_schedules(config: TrainConfig) -> list[str]:
    return [name for name, schedule in config.schedules().items() if schedule.relative]
