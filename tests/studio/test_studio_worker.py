"""The studio's child process, seen from within: what it does between two requests."""

import queue
import threading

import pytest

from ganvas.studio import worker


def test_memory_of_gpus_is_given_back_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = threading.Event()
    monkeypatch.setattr("ganvas.devices.empty_caches", given_back.set)
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.01)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    requests.put("first")
    assert worker.wait_for_request(requests) == "first"
    assert not given_back.is_set(), "there was no pause"
    late = threading.Thread(target=lambda: given_back.wait(10) and requests.put("second"))
    late.start()
    assert worker.wait_for_request(requests) == "second"
    late.join()
