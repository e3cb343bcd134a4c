"""Latents are a function of the seed and the images shown, on every device, with any number of processes."""

import pytest
import torch
from support import tiny

from ganvas import devices
from ganvas.config import replace
from ganvas.training import distributed
from ganvas.training.randomness import MAX_BYTES, LatentStream, round_seed

CPU, GPU = torch.device("cpu"), torch.device("meta")
CONFIG = replace(tiny(), d_steps=2, tick_kimg=0.2, shared_fakes=False)


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of each copy; it stays where it is."""
    rounds: list[int] = []
    monkeypatch.setattr(devices, "upload", lambda tensor, device: (rounds.append(len(tensor)), tensor)[1])
    return rounds


def test_latents_are_equal_however_many_are_drawn_in_advance(uploaded: list[int]) -> None:
    single, chunked = LatentStream(CONFIG, CPU), LatentStream(CONFIG, GPU)
    times = [0, 40, 80, 120, 160, 200, 240, 80, 80, 1000, 1010, 960]  # a rollback, a run that is resumed
    for nimg in times:
        assert torch.equal(chunked.of_round(nimg), single.of_round(nimg)), nimg
    assert uploaded.count(5) == 6, "the ticks from 0, 200, 80, 1000, 1010 and 960 on"
    assert single.of_round(0).shape == (3, 20, 6)
    assert not torch.equal(single.of_round(0), single.of_round(40))


def test_large_latents_are_bounded(uploaded: list[int]) -> None:
    config = replace(CONFIG, latent=2048, batch=200, tick_kimg=1000)
    z = LatentStream(config, GPU).of_round(0)
    assert uploaded[0] * z.nbytes <= MAX_BYTES < (uploaded[0] + 1) * z.nbytes


def test_processes_have_parts_of_the_same_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LatentStream(CONFIG, CPU).of_round(0)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(LatentStream(CONFIG, CPU).of_round(0))
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_latents_are_those_of_earlier_versions() -> None:
    """A run that was begun by one goes on with the same numbers."""
    assert (round_seed(0, 0, 0), round_seed(3, 1000, 1)) == (2968811710, 2388347952)
