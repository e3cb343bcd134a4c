"""MLflow: a local database mlflow.db beside the runs, unless MLFLOW_TRACKING_URI names another store."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganvas.trackers.tracker import PROJECT, Facts, Note, Opened, State

MAX_PARAM, MAX_TAG = 6000, 5000
"""Most characters of a parameter and of a tag in MLflow."""

MAX_BATCH = 100
"""Most parameters in one call."""

_STATUS: dict[State, str] = {
    "complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED", "unfinished": "KILLED",
}  # fmt: skip


class Log:
    """Logs through MLflow's client, which keeps no state in the process."""

    rewinds = False

    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient, entities, exceptions  # type: ignore[import-not-found]

        self._entities = entities
        folder = facts.path.parent.absolute()
        local = f"sqlite:///{folder / 'mlflow.db'}"
        uri = os.environ.get("MLFLOW_TRACKING_URI") or local
        self._client: Any = MlflowClient(tracking_uri=uri)
        if id is not None:
            try:
                self._client.update_run(id, status="RUNNING")
            except exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise _gone(id, uri, facts.path) from error
        self._id: str = id or self._create(facts, (folder / "mlartifacts").as_uri() if uri == local else None)
        self._log_config(facts)
        return Opened(self._id, f"{uri}, run {self._id}", f"mlflow ui --backend-store-uri {uri} shows it.")

    def _create(self, facts: Facts, artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._find_experiment(name) or self._create_experiment(name, artifacts)
        tags = {"mlflow.source.name": "ganvas", "run": str(facts.path)}
        return self._client.create_run(experiment, run_name=facts.path.name, tags=tags).info.run_id

    def _find_experiment(self, name: str) -> str | None:
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else None

    def _create_experiment(self, name: str, artifacts: str | None) -> str:
        try:
            return self._client.create_experiment(name, artifacts)
        except Exception:
            if experiment := self._find_experiment(name):  # a training that began at the same time has created it
                return experiment
            raise

    def _log_config(self, facts: Facts) -> None:
        """Logs the parameters that are new: MLflow refuses to change one."""
        known = self._client.get_run(self._id).data.params
        new = [(name, str(value)[:MAX_PARAM]) for name, value in facts.config.items() if name not in known]
        for i in range(0, len(new), MAX_BATCH):
            params = [self._entities.Param(name, value) for name, value in new[i : i + MAX_BATCH]]
            self._client.log_batch(self._id, params=params)

    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        metrics = [self._entities.Metric(name, value, round(1000 * time), nimg) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def log_image(self, nimg: int, name: str, file: Path, time: float) -> None:
        with Image.open(file) as image:
            self._client.log_image(self._id, image, key=name, step=nimg, timestamp=round(1000 * time))

    def log_notes(self, new: Sequence[Note], every: Sequence[Note]) -> None:
        text = "\n\n".join(note.text for note in every)
        self._client.log_text(self._id, text, "events.md")
        self._client.set_tag(self._id, "mlflow.note.content", text[-MAX_TAG:])

    def log_evaluation(self, nimg: int, numbers: Mapping[str, float], table: str, time: float) -> None:
        self.log_numbers(nimg, numbers, time)
        self._client.log_text(self._id, table, "evaluation.md")

    def save(self) -> None:
        """Nothing: each call has returned after MLflow's store has it."""

    def close(self, state: State) -> None:
        self._client.set_terminated(self._id, _STATUS[state], end_time=round(1000 * time.time()))


def _gone(id: str, uri: str, run: Path) -> Exception:
    from ganvas.errors import GanvasError

    return GanvasError(
        f"{uri} has no run {id}, which trackers/mlflow.json names.",
        fix=f"set MLFLOW_TRACKING_URI as before, or ganvas log {run} --to mlflow --new.",
    )
