"""The search for a photo's place: where it starts, in what units, and how much of it fits into the time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_latent_space import make_snapshot

import ganvas
from ganvas.features.perceptual import PerceptualDistance
from ganvas.latent_space import budget
from ganvas.latent_space.search import Search
from ganvas.networks import Shape

CPU = torch.device("cpu")


def search_of(sampler: ganvas.Sampler) -> Search:
    return Search(sampler.generator, PerceptualDistance(CPU), CPU)


def test_one_step_starts_at_the_nearest_candidate(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "dcgan", Shape(1, 16, 16, 0)))
    found = ganvas.project(sampler.path, np.asarray(sampler.sample([3])[0]), steps=1, references=0, quiet=True)
    assert found.distances[0] < 0.05


def test_every_class_is_tried_also_of_more_than_there_are_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 300)))
    tried: set[int] = set()
    draw = sampler.generator.draw

    def note(styles: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        tried.update(labels.tolist())
        return draw(styles, labels)

    monkeypatch.setattr(sampler.generator, "draw", note)
    search_of(sampler).find(torch.zeros(1, 1, 8, 8), None, 1)
    assert tried == set(range(300))


def test_targets_are_described_in_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 0)))
    describe = PerceptualDistance.describe
    sizes: list[int] = []

    def note(distance: PerceptualDistance, images: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(images))
        return describe(distance, images)

    monkeypatch.setattr(PerceptualDistance, "describe", note)
    place = search_of(sampler).find(torch.zeros(70, 1, 8, 8), None, 1)
    assert len(place.distances) == 70
    assert max(sizes) == 64


def test_only_pictures_that_are_returned_are_kept(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 0)))
    search, targets = search_of(sampler), torch.zeros(3, 1, 8, 8)
    told: list[int] = []
    place = search.find(targets, None, 20, watch=lambda step: told.append(step.step))
    assert told == list(range(11)) + list(range(10, 21))  # from each start, then from the best one
    assert [frame.shape for frame in place.frames] == [(3, 1, 8, 8)] * 12
    again = search.find(targets, None, 20, keep_frames=False)
    assert not again.frames
    assert torch.equal(again.latents.styles, place.latents.styles)


def test_pictures_of_the_first_eight_targets_are_kept(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 0)))
    place = search_of(sampler).find(torch.zeros(10, 1, 8, 8), None, 2)
    assert [frame.shape for frame in place.frames] == [(8, 1, 8, 8)] * len(place.frames)
    assert all(frame.untyped_storage().nbytes() == frame.numel() for frame in place.frames)
    assert len(place.images) == 10


def test_a_search_starts_at_the_mean_of_its_class_in_the_units_of_its_class(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 3)))
    search, images = search_of(sampler), torch.zeros(2, 1, 16, 16)
    starts, labels = search._choose_starts(PerceptualDistance(CPU).describe(images), 2, 1)
    assert labels is not None
    assert (labels == 1).all()
    own = sampler.latents(range(256), label=1).styles
    mean, deviation = search._units(labels[:, 0])
    for of in (starts[0, 0], starts[1, 0], mean[0]):
        assert torch.allclose(of, own.mean(0), atol=1e-5)
    assert torch.allclose(deviation[1], own.std(0), atol=1e-5)


@pytest.mark.parametrize(
    ("seconds", "given", "steps", "references"),
    [
        (1e6, {}, 240, 4),
        (0.0, {}, 40, 1),
        (0.0, {"steps": 100}, 100, 1),
        (0.0, {"references": 3}, 40, 3),
        (0.0, {"references": 0}, 40, 0),
        (0.0, {"steps": 9, "references": 2}, 9, 2),
    ],
)
def test_a_large_generator_has_fewer_references_then_fewer_steps(
    seconds: float, given: dict[str, int], steps: int, references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SECONDS", seconds)
    sampler, distance = ganvas.load("pretrained:digits28"), PerceptualDistance(CPU)
    amount = budget.choose_amount(sampler, distance, given.get("steps"), given.get("references"))
    assert (amount.steps, amount.references) == (steps, references)
    usual = (given.get("steps", 240), given.get("references", 4))
    assert bool(amount.note) == ((steps, references) != usual)


def test_a_small_generator_is_searched_in_full_and_a_large_one_within_the_time(tmp_path: Path) -> None:
    distance = PerceptualDistance(CPU)
    assert budget.choose_amount(ganvas.load("pretrained:digits28"), distance, None, None) == (240, 4, "")
    large = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(3, 256, 256, 0)))
    amount = budget.choose_amount(large, distance, None, None)
    assert (amount.steps, amount.references) == (240, 1)
    assert "1 of each kind to compare with in place of 4" in amount.note


def test_a_projection_says_that_it_was_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 0.0)
    photo = np.asarray(ganvas.load("pretrained:digits").sample([5])[0])
    found = ganvas.project("pretrained:digits", photo, quiet=True)
    assert [note for note in found.notes if "40 steps in place of 240" in note]
    assert len(found.context["other kinds"]) == 1
