"""Signs of health by construction: networks and images of which the answer is known."""

import copy
from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, softplus

from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.samples import MAX_REALS, SIDE, ReferenceSet, downsample, pixel_signals


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def move(weight: Tensor, step: Tensor | float) -> None:
    weight += step


# Steps


def test_a_known_step_is_told_relative_to_the_weights() -> None:
    network = nn.Linear(3, 4, bias=False)
    nn.init.constant_(network.weight, 2.0)
    update = signals.WeightUpdate(network)
    move(network.weight, -0.1)
    assert update.measure("D") == pytest.approx({"D/update": 0.05, "D/unchanged": 0})


def test_tensors_that_stay_are_counted() -> None:
    first = nn.Linear(2, 2)
    update = signals.WeightUpdate(nn.Sequential(first, nn.Linear(2, 2)))
    move(first.weight[0, 0], 1e-3)
    assert update.measure("G")["G/unchanged"] == 0.75


def test_a_player_that_stays_has_made_no_step() -> None:
    assert signals.WeightUpdate(nn.Linear(2, 2)).measure("D") == {"D/update": 0, "D/unchanged": 1}


def test_weights_of_zero_and_players_without_weights_do_no_harm() -> None:
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    assert signals.WeightUpdate(network).measure("D") == {"D/update": 0, "D/unchanged": 1}
    assert signals.WeightUpdate(nn.Flatten()).measure("D") == {}
    network.weight = nn.Parameter(torch.empty(1, 0))
    assert signals.WeightUpdate(network).measure("D") == {}


def test_a_step_to_nan_is_no_standstill() -> None:
    network = nn.Linear(2, 1, bias=False)
    update = signals.WeightUpdate(network)
    move(network.weight, float("nan"))
    taken = update.measure("D")
    assert taken["D/update"] != taken["D/update"]
    assert taken["D/unchanged"] == 0


def test_the_gradient_is_the_norm_of_all_that_lie_there() -> None:
    network = nn.Linear(2, 1)
    assert signals.gradient_norm(network) is None
    network.weight.grad = torch.tensor([[3.0, 0.0]])
    assert signals.gradient_norm(network) == 3
    network.bias.grad = torch.tensor([4.0])
    assert signals.gradient_norm(network) == pytest.approx(5)


# Outputs


@pytest.mark.parametrize("rounded", [False, True], ids=["no ties", "ties"])
def test_above_is_the_area_under_roc(rounded: bool) -> None:
    first, second = noise(40) + 0.5, noise(60, seed=1)
    if rounded:
        first, second = first.round(), second.round()
    truth = torch.cat([torch.ones(40), torch.zeros(60)])
    assert signals.auc(first, second) == pytest.approx(roc_auc_score(truth, torch.cat([first, second])), abs=1e-6)


def test_ties_count_half_even_of_infinities() -> None:
    assert signals.auc(torch.zeros(3), torch.zeros(4)) == 0.5
    assert signals.auc(torch.tensor([torch.inf]), torch.tensor([torch.inf])) == 0.5
    assert signals.auc(torch.tensor([1.0, 3.0]), torch.tensor([2.0])) == 0.5
    assert signals.auc(torch.tensor([3.0]), torch.tensor([2.0, 1.0])) == 1


def test_outputs_tell_who_is_placed_above_whom_and_the_sign_of_the_reals() -> None:
    seen = signals.output_signals(torch.tensor([2.0, 1, -1, 3]), torch.tensor([-2.0, 0]))
    assert seen == {"D/auc": 7 / 8, "D/sign_real": 0.5}


def test_by_heart_measures_how_far_held_out_images_lie_towards_the_fakes() -> None:
    learnt, fake, held = noise(500) / 9 + 4, noise(500, seed=1) / 9, noise(500, seed=2) / 9 + 1
    seen = signals.overfitting_signals(learnt, fake, held)
    assert seen["D/held_auc"] == 1
    assert seen["D/overfit"] == pytest.approx(0.75, abs=0.02)


def test_a_d_that_knows_nothing_by_heart() -> None:
    seen = signals.overfitting_signals(noise(500) + 4, noise(500, seed=1), noise(500, seed=2) + 4)
    assert seen["D/held_auc"] == pytest.approx(0.5, abs=0.05)
    assert seen["D/overfit"] == pytest.approx(0, abs=0.05)


def test_without_a_gap_between_real_and_fake_there_is_no_overfit() -> None:
    assert set(signals.overfitting_signals(noise(99), noise(99, seed=1), noise(99, seed=2))) == {"D/held_auc"}


# Slopes


def test_the_slope_of_a_linear_d_is_its_weight() -> None:
    weight = noise(1, 2, 3, 3)
    seen = signals.input_gradients(lambda x: (x * weight).flatten(1).sum(1), noise(8, 2, 3, 3, seed=1))
    assert seen == pytest.approx({"D/input_gradient": float(weight.norm())}, rel=1e-5)


def test_the_pull_is_the_slope_times_that_of_the_loss() -> None:
    weight, fake = noise(5), noise(16, 5, seed=1)
    logits = fake @ weight
    seen = signals.input_gradients(lambda x: x @ weight, fake, lambda logits: softplus(-logits))
    assert seen["G/output_gradient"] == pytest.approx(float(torch.sigmoid(-logits).mean() * weight.norm()), rel=1e-5)


def test_slopes_of_patches_are_those_of_their_mean() -> None:
    seen = signals.input_gradients(lambda x: x.reshape(4, 1, 3, 3), noise(4, 9))
    assert seen["D/input_gradient"] == pytest.approx(1 / 3, rel=1e-5)


def test_slopes_work_where_gradients_are_off_and_leave_none() -> None:
    D, fake = nn.Linear(5, 1), noise(4, 5)
    with torch.no_grad():
        assert signals.input_gradients(D, fake)["D/input_gradient"] == pytest.approx(
            float(D.weight.detach().norm()), rel=1e-5
        )
    assert signals.gradient_norm(D) is None
    assert fake.grad is None
    assert not fake.requires_grad


def test_obedience_is_a_ratio_of_mean_norms() -> None:
    by_label, by_chance = torch.tensor([[3.0, 4.0], [0, 0]]), torch.tensor([[0.0, 10], [10, 0]])
    assert signals.label_effect(by_label, by_chance) == 0.25
    assert signals.label_effect(torch.zeros(4), torch.ones(4)) == 0


# Inside


def test_a_dead_channel_is_counted() -> None:
    convolution = nn.Conv2d(1, 4, 1)
    move(convolution.bias, torch.tensor([1e3, 1e3, -1e3, 1e3]))  # type: ignore[arg-type]
    network = nn.Sequential(convolution, nn.ReLU(inplace=True))
    with signals.ActivationMonitor(network, "D") as activations:
        network(noise(8, 1, 5, 5))
    assert activations.measure() == {"D/dead": 0.25}


def test_a_channel_that_is_alive_in_one_image_is_not_dead() -> None:
    network = nn.ReLU()
    with signals.ActivationMonitor(network, "G") as activations:
        network(torch.tensor([[-1.0, -1], [-1, 2], [-1, -3]]))
    assert activations.measure() == {"G/dead": 0.5}


def test_the_worst_rectifier_is_told() -> None:
    network = nn.Sequential(nn.ReLU(), nn.ReLU())
    with signals.ActivationMonitor(network, "D") as activations:
        network(torch.ones(3, 2))
        network(torch.tensor([[-1.0, 1.0]]))
        network(torch.ones(3, 2))
    assert activations.measure() == {"D/dead": 0.5}


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_batch_norm_drifts_by_so_many_deviations(shift: float) -> None:
    norm = nn.BatchNorm2d(2)
    with signals.ActivationMonitor(norm, "G") as activations:
        norm(noise(64, 2, 8, 8) + shift)
    assert activations.measure()["G/drift"] == pytest.approx(shift, abs=0.05)


def test_norms_without_statistics_and_players_without_rectifiers_tell_nothing() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.Tanh())
    with signals.ActivationMonitor(network, "D") as activations:
        network(noise(4, 2))
    assert activations.measure() == {}


def test_inside_takes_its_hooks_off_even_after_an_error() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())
    with pytest.raises(RuntimeError), signals.ActivationMonitor(network, "D"):
        network(noise(4, 3))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


# Undisturbed


class Averaging(nn.Module):
    """Replaces its buffer instead of changing it."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - self.mean


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm1d(2),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)),
        lambda: nn.Dropout(),
        Averaging,
    ],
    ids=["batch norm", "spectral norm", "dropout", "own average"],
)
def test_a_look_leaves_buffers_and_random_numbers_as_they_were(make: Callable[[], nn.Module]) -> None:
    network = make()
    network(noise(4, 2))
    before, random = copy.deepcopy(list(network.buffers())), torch.get_rng_state()
    homes = [id(buffer) for buffer in network.buffers()]
    with signals.preserve_state(network), torch.no_grad():
        network(noise(4, 2, seed=1))
    assert [id(buffer) for buffer in network.buffers()] == homes
    for now, then in zip(network.buffers(), before, strict=True):
        assert torch.equal(now, then)
    assert torch.equal(torch.get_rng_state(), random)


def test_an_error_in_a_look_leaves_them_too() -> None:
    norm, random = nn.BatchNorm1d(2), torch.get_rng_state()
    before = copy.deepcopy(norm.state_dict())
    with pytest.raises(RuntimeError), signals.preserve_state(norm):
        nn.Sequential(norm, nn.Dropout(), nn.Linear(3, 1))(noise(4, 2))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_is_disturbed_without_it_is_seen_by_these_tests() -> None:
    network, random = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), torch.get_rng_state()
    network(noise(4, 2))
    assert network.state_dict()["0.running_mean"].any()
    assert not torch.equal(torch.get_rng_state(), random)


# The references


def make_images(n: int, seed: int = 0, classes: int = 4, size: int = 8) -> tuple[Tensor, Tensor]:
    """Bright quarters, one for each class, with noise on them; in no order of classes."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=random)
    images = 0.3 * torch.randn(n, 1, size, size, generator=random)
    half = size // 2
    for c in range(classes):
        images[labels == c, :, c // 2 * half : (c // 2 + 1) * half, c % 2 * half : (c % 2 + 1) * half] += 1
    return images, labels


REAL, LABELS = make_images(600)
OTHERS, OTHER_LABELS = make_images(300, seed=1)
HELD, _ = make_images(300, seed=2)
REFERENCES = ReferenceSet.from_images(REAL, LABELS, HELD, complete=True)


def test_equal_distributions_score_one() -> None:
    seen = REFERENCES.compare(OTHERS)
    assert seen["distance"] == pytest.approx(0, abs=0.01)
    for name in ("diversity", "diversity/batch", "nearest_fake", "coverage", "precision", "nearest_real"):
        assert seen[name] == pytest.approx(1, abs=0.1), name
    assert seen["classes"] == 4
    assert seen["classes/missing"] == 0
    assert seen["classes/rarest"] > 0.7
    assert seen["classes/imbalance"] == pytest.approx(1, abs=0.2)
    assert seen["classes/labelled"] == 1


def test_one_image_repeated_has_no_variety_and_only_twins() -> None:
    seen = REFERENCES.compare(OTHERS[:1].expand(200, -1, -1, -1))
    assert seen["diversity"] == pytest.approx(0, abs=1e-3)
    assert seen["nearest_fake"] == pytest.approx(0, abs=1e-3)
    assert seen["distance"] > 0.2
    assert seen["coverage"] < 0.1
    assert seen["classes/missing"] == 3
    assert seen["classes/rarest"] == 0


def test_a_class_that_is_not_drawn_is_missing() -> None:
    kept = OTHERS[OTHER_LABELS != 2]
    seen = REFERENCES.compare(kept)
    assert seen["classes/missing"] == 1
    assert seen["classes/rarest"] < 0.05
    assert seen["precision"] == pytest.approx(1, abs=0.1)
    assert seen["distance"] > 0.01


def test_too_few_fakes_miss_no_class() -> None:
    assert REFERENCES.compare(OTHERS[OTHER_LABELS != 2][:20])["classes/missing"] == 0


def test_copies_of_training_images_are_near_and_others_are_not() -> None:
    assert REFERENCES.compare(REAL[:200])["nearest_real"] == pytest.approx(0, abs=0.01)
    assert REFERENCES.compare(OTHERS)["nearest_real"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("images", [OTHERS, noise(256, 1, 8, 8, seed=3), 3 * REAL[:99]], ids=["like", "noise", "loud"])
def test_the_nearest_is_told_only_of_all_images_and_with_held_out_ones(images: Tensor) -> None:
    assert "nearest_real" in REFERENCES.compare(images)
    assert "nearest_real" not in ReferenceSet.from_images(REAL, LABELS, HELD).compare(images)
    assert "nearest_real" not in ReferenceSet.from_images(REAL, LABELS, complete=True).compare(images)


def test_more_images_than_are_kept_are_not_complete() -> None:
    images = noise(MAX_REALS + 1, 2)
    assert ReferenceSet.from_images(images[:MAX_REALS], held_out=images[:50], complete=True).complete
    assert not ReferenceSet.from_images(images, held_out=images[:50], complete=True).complete


def test_the_distance_is_the_energy_distance_without_bias() -> None:
    normal = noise(1000, 6)
    references = ReferenceSet.from_images(normal)
    equal = [references.compare(noise(100, 6, seed=seed))["distance"] for seed in range(1, 41)]
    assert abs(sum(equal) / 40) < 0.004
    assert min(equal) < 0 < max(equal)
    distances = [references.compare(noise(500, 6, seed=9) + shift)["distance"] for shift in (0.0, 0.5, 1.0, 2.0)]
    assert distances == sorted(distances)
    far = torch.cdist(noise(500, 6, seed=9) + 2, normal).mean()
    own = [torch.pdist(of).mean() for of in (noise(500, 6, seed=9), normal)]
    assert distances[3] == pytest.approx(float((2 * far - own[0] - own[1]) / own[1]), rel=1e-3)


def test_fakes_that_change_only_from_round_to_round_vary_less_in_a_batch() -> None:
    rounds = OTHERS[:8].repeat_interleave(32, 0)
    seen = REFERENCES.compare(rounds, 32)
    assert seen["diversity/batch"] == pytest.approx(0, abs=1e-3)
    assert seen["diversity"] > 0.5
    alone = REFERENCES.compare(OTHERS[:64], 1)
    assert alone["diversity/batch"] == alone["diversity"], "a batch of one has no variety of its own"


def test_the_order_of_the_reals_changes_nothing() -> None:
    order = LABELS.argsort()
    seen, expected = ReferenceSet.from_images(REAL[order], LABELS[order]).compare(OTHERS), REFERENCES.compare(OTHERS)
    for name in ("precision", "coverage", "nearest_fake"):
        assert seen[name] == pytest.approx(expected[name], abs=0.15), name


def test_without_labels_cells_are_counted() -> None:
    references = ReferenceSet.from_images(REAL)
    assert not references.labelled
    seen = references.compare(OTHERS)
    assert seen["classes"] == 20
    assert seen["classes/labelled"] == 0
    assert seen["classes/missing"] == 0
    more, kinds = make_images(1600, seed=3)
    assert references.compare(more[kinds == 0])["classes/missing"] > 10


def test_of_many_classes_cells_are_counted_too() -> None:
    many = torch.arange(600) % 21
    assert not ReferenceSet.from_images(REAL, many).labelled
    assert ReferenceSet.from_images(REAL, many.clamp(max=19)).labelled


def test_few_images_are_compared_as_far_as_they_go() -> None:
    seen = ReferenceSet.from_images(REAL[:16], held_out=HELD, complete=True).compare(OTHERS)
    assert {"diversity", "nearest_fake", "distance", "nearest_real"} <= set(seen)
    assert not {"precision", "classes"} & set(seen)
    one = ReferenceSet.from_images(REAL[:1], complete=True).compare(OTHERS[:1])
    assert one["diversity"] == 0


def test_an_uneven_class_is_told_over_its_even_share() -> None:
    rest = torch.cat([REAL[LABELS == 0], REAL[LABELS == 1][:10], REAL[LABELS == 2][:10], REAL[LABELS == 3][:10]])
    zeros = int((LABELS == 0).sum())
    labels = torch.tensor([0] * zeros + [1] * 10 + [2] * 10 + [3] * 10)
    assert ReferenceSet.from_images(rest, labels).compare(OTHERS)["classes/imbalance"] == pytest.approx(
        4 * zeros / (zeros + 30)
    )


def test_reals_that_are_never_shown_are_absent() -> None:
    assert REFERENCES.missing_from(OTHERS) == {"real/missing": 0}
    assert REFERENCES.missing_from(OTHERS[OTHER_LABELS < 2]) == {"real/missing": 2}
    assert REFERENCES.missing_from(OTHERS[OTHER_LABELS < 2][:16]) == {"real/missing": 0}, "only 4 of each were expected"


def test_images_are_shrunk_by_averaging() -> None:
    images = noise(3, 2, 32, 64)
    expected = avg_pool2d(images, (2, 4)).flatten(1)
    assert torch.allclose(downsample(images), expected, atol=1e-6)
    assert downsample(noise(3, 1, 25, 40)).shape == (3, SIDE * SIDE)
    assert torch.equal(downsample(images[..., :8, :8]), images[..., :8, :8].flatten(1))
    assert torch.equal(downsample(noise(5, 2).double()), noise(5, 2))


# Pixels


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 25, 40), (4, 7, 5), (2,)], ids=str)
def test_ranges_of_images_of_every_shape(shape: tuple[int, ...]) -> None:
    real = torch.rand(300, *shape, generator=torch.Generator().manual_seed(0))
    fake = 2 * torch.rand(300, *shape, generator=torch.Generator().manual_seed(1)) - 1
    seen = pixel_signals(real, fake)
    ends = {"real/low": 0, "real/high": 1, "fake/low": -1, "fake/high": 1}
    assert {name: seen[name] for name in ends} == pytest.approx(ends, abs=0.02)
    assert seen["real/std"] == pytest.approx(12**-0.5, rel=0.05)
    assert seen["fake/std"] == pytest.approx(2 * 12**-0.5, rel=0.05)
    assert seen["fake/saturated"] == pytest.approx(0.02, abs=0.01)
    assert ("checkerboard" in seen) == (len(shape) == 3)


def test_saturated_values_lie_at_the_ends_of_their_own_range() -> None:
    seen = pixel_signals(noise(99, 1, 8, 8), noise(99, 1, 8, 8, seed=1).sign())
    assert seen["fake/saturated"] == 1
    assert seen["real/saturated"] < 0.05


def test_a_few_wild_values_do_not_move_the_ends() -> None:
    real = torch.rand(100, 1, 20, 20)
    real[0, 0, 0, :10] = 1e6
    assert pixel_signals(real, real)["real/high"] < 1.01


ROWS = (1 - 2 * (torch.arange(40) % 2)).float()


@pytest.mark.parametrize("size", [(8, 8), (25, 40), (32, 9)], ids=str)
@pytest.mark.parametrize("kind", ["rows", "columns", "squares"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_planted_checkerboard_is_measured(size: tuple[int, int], kind: str, channels: int) -> None:
    h, w = size
    patterns = {"rows": ROWS[:h, None], "columns": ROWS[None, :w], "squares": ROWS[:h, None] * ROWS[None, :w]}
    real, fake = noise(400, channels, h, w), noise(400, channels, h, w, seed=1)
    assert pixel_signals(real, fake)["checkerboard"] == pytest.approx(0, abs=0.02)
    fake[:, -1] += 0.4 * patterns[kind].expand(h, w)
    assert pixel_signals(real, fake)["checkerboard"] == pytest.approx(0.4, abs=0.04)
    assert pixel_signals(fake, real)["checkerboard"] < -0.3


def test_a_pattern_that_differs_from_fake_to_fake_is_no_checkerboard() -> None:
    fake = noise(400, 1, 8, 8) + ROWS[:8] * noise(400, 1, 1, 1, seed=1).sign()
    assert pixel_signals(noise(400, 1, 8, 8, seed=2), fake)["checkerboard"] < 0.1


def test_constant_images_do_no_harm() -> None:
    seen = pixel_signals(torch.zeros(9, 1, 8, 8), torch.ones(9, 1, 8, 8))
    assert seen["real/std"] == 0
    assert seen["checkerboard"] == 0
