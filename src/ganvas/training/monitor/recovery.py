"""What is done about a failure: nothing, stop, correct, or go back to the best state and correct."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ganvas.config import TrainConfig
from ganvas.diagnosis.diagnosis import Finding
from ganvas.diagnosis.rules.optimisation import is_poor
from ganvas.diagnosis.rules.remedies import Corrections, remedy
from ganvas.runs import checkpoint, log
from ganvas.runs.folder import Run
from ganvas.training.monitor.health import HealthMonitor
from ganvas.training.state import TrainState

UNKNOWN = 1e9
"""The distance of a state that was never measured."""

TITLES = {
    "g_lr_factor": "G's learning rate ×",
    "d_lr_factor": "D's learning rate ×",
    "r1_r2": "R1 and R2",
    "gp": "gradient penalty",
    "noise": "noise",
    "momentum": "momentum",
    "augment": "augmentation",
}
"""The corrections in words."""


@dataclass(frozen=True)
class Intervention:
    """What is done about a failure.

    Attributes:
        said: in a sentence.
        nimg: images shown so far.
        corrections: the new ones; None where the run is stopped.
        tensors: the state to go back to; None where the run continues from the present one.
    """

    message: str
    nimg: int
    corrections: Corrections | None = None
    tensors: dict[str, Tensor] | None = None


class Recovery:
    """Acts on the findings of the monitor, as --on-failure says; every act is an event with its evidence.

    It depends on nothing but the lines of stats.jsonl and the saved state, so a resumed run acts as the uninterrupted
    one would have.

    Attributes:
        done: how often it went back or corrected.
        since: images shown at the last act; only what came after is diagnosed.
        best: the smallest distance of a state that is kept.
    """

    def __init__(self, run: Run, config: TrainConfig, state: TrainState, monitor: HealthMonitor | None) -> None:
        self._run, self._config, self._state, self._monitor = run, config, state, monitor
        self.done, self.since_nimg, self.best = 0, 0, UNKNOWN

    def state(self) -> dict[str, Any]:
        """What is saved with the state."""
        return {
            "done": self.done,
            "since": self.since_nimg,
            "best": self.best,
            "corrections": asdict(self._state.corrections),
        }

    def load_state(self, facts: dict[str, Any]) -> None:
        """Restores what was saved."""
        self.done, self.since_nimg, self.best = facts["done"], facts["since"], facts["best"]
        self._state.apply_corrections(Corrections(**facts["corrections"]))

    def keep_state(self, nimg: int) -> None:
        """Keeps the present state, if the run may go back to it.

        The first one is always kept; a later one if its samples are not poor, and the run stays healthy for one more
        snapshot.
        """
        if self._config.runtime.on_failure != "rollback":
            return
        assert self._monitor is not None
        distance = self._monitor.history["distance"]
        facts = {"nimg": nimg, "distance": distance.recent() if distance else UNKNOWN}
        start, good, candidate = (self._run.kept_state(name) for name in ("start", "good", "candidate"))
        if not start.exists():
            checkpoint.save(start, self._state.parts, facts)
            return
        if self._monitor.diagnosis().failures or is_poor(self._monitor.history):
            candidate.unlink(missing_ok=True)
            return
        if candidate.exists() and (value := checkpoint.load(candidate)[1]["distance"]) <= self.best:
            candidate.replace(good)
            self.best = value
        checkpoint.save(candidate, self._state.parts, facts)

    def _state_before(self, kimg: float) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The best state kept from before that time, or else the first one of all."""
        good = self._run.kept_state("good")
        if good.exists():
            state = checkpoint.load(good)
            if state[1]["nimg"] <= 1000 * kimg:
                return state
        return checkpoint.load(self._run.kept_state("start"))

    def decide(self, failure: Finding, nimg: int) -> Intervention:
        """What is to be done; logged as an event, and not yet done."""
        how, limit = self._config.runtime.on_failure, self._config.runtime.max_recoveries
        updates = self._monitor.history[f"{failure.about}/update"] if self._monitor else None
        update = updates.recent() if updates else None
        corrections = remedy(failure.name, failure.about, self._config, self._state.corrections, update)
        if how == "stop" or corrections is None or self.done >= limit:
            spent = f"after {limit} recoveries" if self.done >= limit else "no correction would help"
            reason = "as --on-failure stop asks" if how == "stop" else spent
            log.append_event(self._run.path, "stopped", nimg, reason=reason, finding=failure.to_json())
            return Intervention(f"Stopped, {reason}: {failure.summary}", nimg)
        tensors, at = None, None
        if how == "rollback":
            tensors, facts = self._state_before(failure.since)
            at = facts["nimg"]
        changes = corrections.changes()
        log.append_event(
            self._run.path, how, nimg, to=at, changes=changes, finding=failure.to_json(), times=self.done + 1
        )
        listed = ", ".join(f"{TITLES[name]} {value:g}" for name, value in changes.items())
        back = "" if at is None else f"went back to the weights of {at / 1000:g} kimg, and "
        said = f"{failure.name}: {back}continues with {listed} (recovery {self.done + 1} of {limit})."
        return Intervention(said, nimg, corrections, tensors)

    def apply(self, act: Intervention) -> None:
        """Does it, in every process."""
        if act.corrections is None:
            return
        if act.tensors is not None:
            checkpoint.restore(self._state.parts, act.tensors)
        else:  # moments of the gradients that went wrong would hold the next thousand steps back
            self._state.g_optimiser.state.clear()
            self._state.d_optimiser.state.clear()
        self._state.apply_corrections(act.corrections)
        self.done, self.since_nimg = self.done + 1, act.nimg
        if self._monitor:
            self._monitor.start_at(act.nimg)
