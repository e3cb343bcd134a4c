"""What is done about a failure: nothing, an end, other knobs, or the way back to the best state with other knobs."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ganvas.config import TrainConfig
from ganvas.diagnosis.diagnosis import Finding
from ganvas.diagnosis.rules.optimisation import poor
from ganvas.diagnosis.rules.remedies import Corrections, remedy
from ganvas.runs import checkpoint, log
from ganvas.runs.folder import Run
from ganvas.training.monitor.health import Doctor
from ganvas.training.state import Players

FAR = 1e9
"""The distance of a state of which nothing is known."""


@dataclass(frozen=True)
class Act:
    """What is done about a failure.

    Attributes:
        said: in a sentence.
        nimg: when.
        corrections: the new ones; None where the run is stopped.
        tensors: the state to go back to; None where it goes on from where it is.
    """

    said: str
    nimg: int
    corrections: Corrections | None = None
    tensors: dict[str, Tensor] | None = None


class Rescue:
    """Acts on what the doctor finds, as --on-failure says; every act is an event with its evidence.

    It depends on nothing but the lines of stats.jsonl and what is saved with the state, so a resumed run acts as the
    uninterrupted one would have.

    Attributes:
        done: how often it went back or corrected.
        since: images shown at the last act; the doctor judges what came after.
        best: the smallest distance of a state that is kept.
    """

    def __init__(self, run: Run, config: TrainConfig, players: Players, doctor: Doctor | None) -> None:
        self._run, self._config, self._players, self._doctor = run, config, players, doctor
        self.done, self.since, self.best = 0, 0, FAR

    def facts(self) -> dict[str, Any]:
        """What must survive, for the saved state."""
        return {
            "done": self.done,
            "since": self.since,
            "best": self.best,
            "corrections": asdict(self._players.corrections),
        }

    def resume(self, facts: dict[str, Any]) -> None:
        """Goes on where `facts` were saved."""
        self.done, self.since, self.best = facts["done"], facts["since"], facts["best"]
        self._players.correct(Corrections(**facts["corrections"]))

    def keep(self, nimg: int) -> None:
        """Keeps the state of now, if the run may go back to it.

        The first one is kept for good; a later one if it is fair, and stayed healthy for one snapshot more.
        """
        if self._config.habits.on_failure != "rollback":
            return
        assert self._doctor is not None
        distance = self._doctor.history["distance"]
        facts = {"nimg": nimg, "distance": distance.recent() if distance else FAR}
        start, good, candidate = (self._run.kept(name) for name in ("start", "good", "candidate"))
        if not start.exists():
            checkpoint.save(start, self._players.parts, facts)
            return
        if self._doctor.diagnosis().failures or poor(self._doctor.history):
            candidate.unlink(missing_ok=True)
            return
        if candidate.exists() and (value := checkpoint.read(candidate)[1]["distance"]) <= self.best:
            candidate.replace(good)
            self.best = value
        checkpoint.save(candidate, self._players.parts, facts)

    def _state_before(self, kimg: float) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The best state kept of before that time, or else the first one of all."""
        good = self._run.kept("good")
        if good.exists():
            state = checkpoint.read(good)
            if state[1]["nimg"] <= 1000 * kimg:
                return state
        return checkpoint.read(self._run.kept("start"))

    def decide(self, failure: Finding, nimg: int) -> Act:
        """What is to be done; written down, and not yet done."""
        how, limit = self._config.habits.on_failure, self._config.habits.rescues
        update = self._doctor.history[f"{failure.about}/update"] if self._doctor else None
        step = update.recent() if update else None
        corrections = remedy(failure.name, failure.about, self._config, self._players.corrections, step)
        if how == "stop" or corrections is None or self.done >= limit:
            spent = f"after {limit} rescues" if self.done >= limit else "no knob would help"
            why = "as --on-failure stop asks" if how == "stop" else spent
            log.event(self._run.path, "stopped", nimg, why=why, because=failure.to_json())
            return Act(f"Stopped, {why}: {failure.says}", nimg)
        tensors, at = None, None
        if how == "rollback":
            tensors, facts = self._state_before(failure.since)
            at = facts["nimg"]
        changes = corrections.told()
        log.event(self._run.path, how, nimg, to=at, changes=changes, because=failure.to_json(), times=self.done + 1)
        listed = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in changes.items())
        back = "" if at is None else f"went back to the weights of {at / 1000:g} kimg, and "
        said = f"{failure.name}: {back}goes on with {listed} (rescue {self.done + 1} of {limit})."
        return Act(said, nimg, corrections, tensors)

    def apply(self, act: Act) -> None:
        """Does it, on every rank."""
        if act.corrections is None:
            return
        if act.tensors is not None:
            checkpoint.restore(self._players.parts, act.tensors)
        else:  # moments of the gradients that went wrong would hold the next thousand steps back
            self._players.g_optimiser.state.clear()
            self._players.d_optimiser.state.clear()
        self._players.correct(act.corrections)
        self.done, self.since = self.done + 1, act.nimg
        if self._doctor:
            self._doctor.begin(act.nimg)
