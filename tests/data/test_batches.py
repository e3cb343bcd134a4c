"""Batches are a pure function of (seed, position)."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import labels_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas.data import Batches, ImageSet, to_uint8, to_unit
from ganvas.data import batches as module
from ganvas.errors import GanvasError

few_examples = settings(max_examples=40, deadline=None)


def numbered_images(count: int, classes: int = 0, sizes: list[int] | None = None) -> ImageSet:
    """Image i encodes the number i; a mark in the left column shows whether it was flipped."""
    images = np.zeros((count, 1, 8, 8), np.uint8)
    images[:, 0, 0, 1], images[:, 0, 1, 1], images[:, 0, 2, 0] = np.arange(count) % 256, np.arange(count) // 256, 1
    labels = np.arange(count) % classes if classes else None
    if sizes is not None:
        labels = np.repeat(np.arange(len(sizes)), sizes)
        classes = len(sizes)
    names = tuple(map(str, range(classes)))
    return ImageSet("numbers", images, labels, names, "0")


def read_numbers(pixels: torch.Tensor) -> list[int]:
    upright = torch.where(pixels[:, :, 2:3, :1] == 1, pixels, pixels.flip(3))
    return (upright[:, 0, 0, 1].int() + 256 * upright[:, 0, 1, 1].int()).tolist()


def draw(images: ImageSet, count: int, **options) -> list[int]:
    batches = Batches(images, **{"batch": 1, "seed": 0, **options})
    found: list[int] = []
    while len(found) < count:
        found += read_numbers(next(batches)[0])
    return found[:count]


def equal(one, other) -> bool:
    labels = one[1] is None or torch.equal(one[1], other[1])
    return torch.equal(one[0], other[0]) and labels


@few_examples
@given(st.integers(1, 60), st.integers(1, 100), st.integers(0, 2**40))
def test_every_epoch_contains_each_image_once(count, batch, seed):
    found = draw(numbered_images(count), 3 * count, batch=batch, seed=seed)
    for first in range(0, 3 * count, count):
        assert sorted(found[first : first + count]) == list(range(count))


@few_examples
@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 300), st.booleans(), st.booleans())
def test_batches_resume_from_any_position(count, batch, rounds, mirror, balanced):
    images = numbered_images(count, classes=3)
    options = {"batch": batch, "seed": 5, "mirror": mirror, "balanced": balanced}
    whole = Batches(images, **options)
    rounds %= 20
    for _ in range(rounds):
        next(whole)
    resumed = Batches(images, **options, start=rounds * batch)
    assert resumed.nimg == whole.nimg
    for _ in range(3):
        assert equal(next(whole), next(resumed))


@few_examples
@given(st.integers(1, 50), st.integers(1, 10), st.sampled_from([1, 2, 3, 4]), st.booleans(), st.booleans())
def test_ranks_together_draw_what_one_process_draws(count, share, world, mirror, balanced):
    images = numbered_images(count, classes=4)
    options = {"batch": share * world, "seed": 1, "mirror": mirror, "balanced": balanced}
    alone = Batches(images, **options)
    ranks = [Batches(images, **options, rank=rank, world=world) for rank in range(world)]
    for _ in range(4):
        pixels, labels = zip(*(next(rank) for rank in ranks), strict=True)
        joined = torch.cat(pixels), torch.cat(labels)
        assert equal(next(alone), joined)


def test_order_does_not_depend_on_the_batch_size():
    images = numbered_images(70)
    assert draw(images, 200, batch=7) == draw(images, 200, batch=64) == draw(images, 200, batch=500)


def test_seeds_and_epochs_differ():
    images = numbered_images(100)
    first = draw(images, 200)
    assert first[:100] != first[100:]
    assert first != draw(images, 200, seed=1)
    assert first == draw(images, 200)


@few_examples
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 9))
def test_balanced_batches_have_all_classes_equally_often(sizes, seed):
    images = numbered_images(sum(sizes), sizes=sizes)
    length = len(sizes) * max(sizes)
    found = np.array(draw(images, length, seed=seed, balanced=True, batch=len(sizes)))
    labels = labels_of(images)[found]
    assert (np.bincount(labels) == max(sizes)).all()
    assert all(sorted(row) == list(range(len(sizes))) for row in labels.reshape(-1, len(sizes)))
    for number, size in enumerate(sizes):
        members = found[labels == number]
        for first in range(0, len(members), size):  # each repetition of a class is a permutation of it
            part = members[first : first + size]
            assert len(set(part)) == len(part)


def test_balanced_batches_skip_empty_classes():
    images = numbered_images(5, sizes=[2, 0, 3])
    assert set(draw(images, 6, balanced=True)) <= set(range(5))


def test_mirroring_flips_half_and_nothing_else():
    images = numbered_images(2000)
    batches = Batches(images, batch=2000, seed=3, mirror=True)
    first, second = next(batches)[0], next(batches)[0]
    for pixels in (first, second):
        flipped = pixels[:, 0, 2, 7] == 1
        assert 0.45 < flipped.float().mean() < 0.55
        assert sorted(read_numbers(pixels)) == list(range(2000))
    assert not torch.equal(first[:, 0, 2, 7], second[:, 0, 2, 7])
    assert images.images[:, 0, 2, 0].all(), "the data set itself is unchanged"


def test_labels_belong_to_their_images():
    images = numbered_images(30, classes=7)
    pixels, labels = next(Batches(images, batch=64, seed=0, mirror=True))
    assert labels is not None
    assert labels.tolist() == [number % 7 for number in read_numbers(pixels)]
    assert labels.dtype == torch.int64
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (64, 1, 8, 8)
    assert next(Batches(numbered_images(5), batch=2, seed=0))[1] is None


def test_impossible_batches_are_refused():
    images = numbered_images(5)
    with pytest.raises(GanvasError, match="batch of 10 cannot be shared equally by 4"):
        Batches(images, batch=10, seed=0, world=4)
    with pytest.raises(GanvasError, match="no labels"):
        Batches(images, batch=4, seed=0, balanced=True)
    with pytest.raises(GanvasError, match="at least one"):
        Batches(images, batch=0, seed=0)


@given(st.integers(0, 255))
def test_pixels_survive_conversion_to_floats_and_back(value):
    pixels = torch.full((1, 1, 1, 1), value, dtype=torch.uint8)
    assert to_uint8(to_unit(pixels)).item() == value
    assert -1 <= to_unit(pixels).item() <= 1


def test_a_rounded_float_is_not_truncated():
    assert to_uint8(torch.tensor([-2.0, -1.0, 0.0, 0.9999, 1.0, 7.0]).reshape(1, 1, 1, 6)).flatten().tolist() == [
        0, 0, 128, 255, 255, 255
    ]  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("share", [0.5, 0.0], ids=["on the device", "streamed"])
def test_a_gpu_gets_the_same_batches(monkeypatch, share):
    monkeypatch.setattr(module, "_MAX_DEVICE_FRACTION", share)
    images = numbered_images(300, classes=3)
    options = {"batch": 64, "seed": 2, "mirror": True}
    host, device = Batches(images, **options), Batches(images, **options, device=torch.device("cuda"))
    for _ in range(12):
        pixels, labels = next(device)
        assert pixels.is_cuda
        assert labels is not None
        assert equal(next(host), (pixels.cpu(), labels.cpu()))


@pytest.mark.parametrize("reserved", [0, 6, 16], ids=["resumed", "networks built", "after the trial"])
def test_images_lie_on_a_gpu_only_beside_what_the_networks_need(monkeypatch, reserved):
    """A resumed run, in which nothing is reserved yet, decides as the new one did after its trial."""
    images, gib = numbered_images(300), 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((24 - reserved) * gib, 24 * gib))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved * gib)
    for loader in ("_DeviceLoader", "_StreamingLoader"):
        monkeypatch.setattr(module, loader, lambda images, device, name=loader: name)
    for size, expected in ((3.9, "_DeviceLoader"), (4.1, "_StreamingLoader")):  # half of the 8 that are left
        large: Any = SimpleNamespace(images=SimpleNamespace(nbytes=size * gib))
        assert module._choose_loader(large, torch.device("cuda"), 16 * gib) == expected
    assert Batches(images, batch=8, seed=0, device="cuda", needed_bytes=16 * gib)._loader == "_DeviceLoader"


def test_streaming_ahead_gives_the_same_batches(monkeypatch):
    """The prefetching thread, tested without a GPU."""
    monkeypatch.setattr(module, "_choose_loader", lambda images, device, _: module._StreamingLoader(images, device))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    images = numbered_images(50, classes=3)
    options = {"batch": 24, "seed": 2, "mirror": True, "rank": 1, "world": 2}
    ahead = Batches(images, **options)
    monkeypatch.undo()
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    host = Batches(images, **options)
    for _ in range(12):
        assert equal(next(host), next(ahead))
