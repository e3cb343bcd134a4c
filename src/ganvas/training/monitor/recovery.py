"""What is done about a failure: stop, change the configuration, or go back to the best state and change it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ganvas.config import replace
from ganvas.config.flags import format_flags
from ganvas.diagnosis.diagnosis import Finding
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.diagnosis.rules.progress import is_poor
from ganvas.diagnosis.rules.quality import is_growing
from ganvas.diagnosis.rules.remedies import changes_of
from ganvas.diagnosis.rules.table import condition
from ganvas.errors import GanvasError
from ganvas.runs import checkpoint, log
from ganvas.runs.folder import Run
from ganvas.training.state import TrainState

UNKNOWN = 1e9
"""The distance of a state that was never measured."""


@dataclass(frozen=True)
class Decision:
    """What is done about a failure.

    Attributes:
        message: in a sentence.
        nimg: images shown so far.
        changes: {knob: value} of all changes to the run's configuration; None where the run is stopped.
        tensors: the state to go back to; None where the run continues from the present one.
    """

    message: str
    nimg: int
    changes: Mapping[str, Any] | None = None
    tensors: dict[str, Tensor] | None = None


class Recovery:
    """Acts on the failures of a run, as --on-failure says; every act is an event with its evidence.

    It depends on nothing but the lines of stats.jsonl and the saved state, so a resumed run acts as the uninterrupted
    one would have. config.json stays what the user wrote.

    Attributes:
        since_nimg: images shown at the last act; only what came after is diagnosed.
    """

    def __init__(self, run: Run, state: TrainState, probe: NetworkProbe | None) -> None:
        self._run, self._config, self._state, self._probe = run, state.config, state, probe
        self._done, self.since_nimg, self._best = 0, 0, UNKNOWN
        self._changes: dict[str, Any] = {}

    def saved_state(self) -> dict[str, Any]:
        """What is saved with the state."""
        return {"done": self._done, "since": self.since_nimg, "best": self._best, "changes": self._changes}

    def load_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what was saved."""
        self._done, self.since_nimg, self._best = saved["done"], saved["since"], saved["best"]
        self._reconfigure(saved["changes"])

    def _reconfigure(self, changes: Mapping[str, Any]) -> None:
        self._changes = dict(changes)
        if changes:
            self._state.reconfigure(replace(self._config, **changes))
        if self._probe:
            self._probe.history.update_facts(config=self._state.config)

    def keep_state(self, nimg: int) -> None:
        """Keeps the present state, if the run may go back to it.

        The first one is always kept; a later one if its samples are not poor, and the run stays healthy for one more
        snapshot.
        """
        if self._config.runtime.on_failure != "rollback" or self._probe is None:
            return
        history = self._probe.history
        distance = history["distance"]
        facts = {"nimg": nimg, "distance": UNKNOWN if not distance or is_growing(history) else distance.recent()}
        start, good, candidate = (self._run.kept_state(name) for name in ("start", "good", "candidate"))
        if not start.exists():
            checkpoint.save(start, self._state.parts, facts)
            return
        if self._probe.diagnosis().failures or is_poor(self._probe.history):
            with suppress(OSError):  # somebody's folder; what is saved there next says so
                candidate.unlink(missing_ok=True)
            return
        kept = self._read_kept(candidate, nimg)
        if kept is not None and (value := kept[1].get("distance", UNKNOWN)) <= self._best:
            candidate.replace(good)
            self._best = value
        checkpoint.save(candidate, self._state.parts, facts)

    def _state_before(self, kimg: float, nimg: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The best state kept from before that time, or the first one of all, or the last one that was saved.

        None where each is missing, damaged or later: a run that began without --on-failure rollback keeps no state.
        """
        for file in (self._run.kept_state("good"), self._run.kept_state("start"), self._run.state_file):
            kept = self._read_kept(file, nimg)
            if kept is not None and kept[1]["nimg"] <= 1000 * kimg:
                return kept
        return None

    def _read_kept(self, file: Path, nimg: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """A state that was kept; None if there is none, or a damaged one, which does not end the run."""
        if not file.exists():
            return None
        try:
            return checkpoint.load(file)
        except GanvasError as error:
            log.append_event(self._run.path, "damaged state", nimg, error=error.what)
            return None

    def decide(self, nimg: int) -> Decision | None:
        """What is to be done about the most severe failure, None without one; logged as an event, and not yet done.

        Where a rollback has no state to go back to, it is a correction.
        """
        failures = self._probe.diagnosis().failures if self._probe else ()
        if not failures:
            return None
        assert self._probe is not None
        failure, how, limit = failures[0], self._config.runtime.on_failure, self._config.runtime.max_recoveries
        updates = self._probe.history[f"{failure.about}/update"]
        remedy, update = condition(failure.name).remedy, updates.recent() if updates else None
        new = changes_of(remedy, self._state.config, failure.about, update)
        if how == "stop" or not new or self._done >= limit:
            return self._stop(failure, nimg)
        tensors, at, back = None, None, ""
        if how == "rollback":
            if (kept := self._state_before(failure.since, nimg)) is not None:
                tensors, at = kept[0], kept[1]["nimg"]
                back = f"went back to the weights of {at / 1000:g} kimg, and "
            else:
                how, back = "correct", "has no state from before it to go back to, and "
        changes, times = self._changes | new, self._done + 1
        log.append_event(self._run.path, how, nimg, to=at, changes=changes, finding=failure.to_json(), times=times)
        message = f"{failure.name}: {back}continues with {format_flags(changes)} (recovery {times} of {limit})."
        return Decision(message, nimg, changes, tensors)

    def _stop(self, failure: Finding, nimg: int) -> Decision:
        limit = self._config.runtime.max_recoveries
        reason = f"after {limit} recoveries" if self._done >= limit else "no correction would help"
        if self._config.runtime.on_failure == "stop":
            reason = "as --on-failure stop asks"
        log.append_event(self._run.path, "stopped", nimg, reason=reason, finding=failure.to_json())
        return Decision(f"Stopped, {reason}: {failure.summary}", nimg)

    def apply(self, decision: Decision) -> None:
        """Does it, in every process."""
        if decision.changes is None:
            return
        if decision.tensors is not None:
            checkpoint.restore(self._state.parts, decision.tensors)
        else:  # moments of the gradients that went wrong would hold the next thousand steps back
            self._state.g_optimiser.state.clear()
            self._state.d_optimiser.state.clear()
        self._reconfigure(decision.changes)
        self._done, self.since_nimg = self._done + 1, decision.nimg
