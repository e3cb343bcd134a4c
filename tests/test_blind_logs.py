"""What is said of logs that were written without a look at the rules."""

from pathlib import Path

import blind_failing
import blind_healthy
import blind_logs
import blind_third
import pytest
from blind_rows import BLIND_LOGS, BlindLog

import ganvas
from ganvas.diagnosis.diagnosis import Finding

assert len(BLIND_LOGS) == 84, (blind_logs, blind_healthy, blind_failing, blind_third)


def findings(log: BlindLog, folder: Path) -> list[Finding]:
    path = folder / "log.txt"
    path.write_text(log.text())
    return list(ganvas.diagnose(path).findings)


def of_verdict(*verdicts: str) -> pytest.MarkDecorator:
    logs = [log for log in BLIND_LOGS if log.verdict in verdicts]
    return pytest.mark.parametrize("log", logs, ids=lambda log: log.name)


@of_verdict("healthy", "ambiguous")
def test_nothing_is_called_a_failure(log: BlindLog, tmp_path: Path) -> None:
    assert [finding.describe() for finding in findings(log, tmp_path) if finding.severity == "failure"] == []


@of_verdict("failing")
def test_a_failure_is_named(log: BlindLog, tmp_path: Path) -> None:
    """As a failure or a warning: of losses alone, a trend proves no more than that."""
    said = [finding for finding in findings(log, tmp_path) if finding.severity != "note"]
    named = [finding for finding in said if finding.name in log.says]
    assert named, [finding.describe() for finding in said]
    if log.since is not None:
        first, last = log.since
        assert [finding.since for finding in named if first <= finding.since <= last], [str(f.since) for f in named]
