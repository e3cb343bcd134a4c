"""Signals of health on networks and images with known answers."""

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
def add_to(weight: Tensor, step: Tensor | float) -> None:
    weight += step


# Weight updates


def test_update_is_relative_to_the_weights() -> None:
    network = nn.Linear(3, 4, bias=False)
    nn.init.constant_(network.weight, 2.0)
    update = signals.WeightUpdate(network)
    add_to(network.weight, -0.1)
    assert update.measure("D") == pytest.approx({"D/update": 0.05, "D/unchanged": 0})


def test_unchanged_tensors_are_counted() -> None:
    first = nn.Linear(2, 2)
    update = signals.WeightUpdate(nn.Sequential(first, nn.Linear(2, 2)))
    add_to(first.weight[0, 0], 1e-3)
    assert update.measure("G")["G/unchanged"] == 0.75


def test_frozen_tensors_do_not_count() -> None:
    first, last = nn.Linear(2, 2), nn.Linear(2, 2)
    network = nn.Sequential(first.requires_grad_(False), last)
    nn.init.constant_(last.weight, 2.0)
    nn.init.zeros_(last.bias)
    for before, after in ((True, True), (True, False), (False, True)):  # pix2pix freezes all of D while G is updated
        last.requires_grad_(before)
        update = signals.WeightUpdate(network)
        size = last.weight.detach().norm()
        add_to(last.weight, 0.1)
        last.requires_grad_(after)
        assert update.measure("D") == pytest.approx({"D/update": float(0.2 / size), "D/unchanged": 0.5}, rel=1e-4)


def test_a_network_that_is_frozen_as_a_whole_counts() -> None:
    network = nn.Linear(2, 2).requires_grad_(False)
    assert signals.WeightUpdate(network).measure("D") == {"D/update": 0, "D/unchanged": 1}


def test_unchanged_network_has_update_0() -> None:
    assert signals.WeightUpdate(nn.Linear(2, 2)).measure("D") == {"D/update": 0, "D/unchanged": 1}


def test_zero_weights_and_networks_without_weights() -> None:
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    assert signals.WeightUpdate(network).measure("D") == {"D/update": 0, "D/unchanged": 1}
    assert signals.WeightUpdate(nn.Flatten()).measure("D") == {}
    network.weight = nn.Parameter(torch.empty(1, 0))
    assert signals.WeightUpdate(network).measure("D") == {}


def test_update_to_nan_is_not_unchanged() -> None:
    network = nn.Linear(2, 1, bias=False)
    update = signals.WeightUpdate(network)
    add_to(network.weight, float("nan"))
    taken = update.measure("D")
    assert taken["D/update"] != taken["D/update"]
    assert taken["D/unchanged"] == 0


def test_gradient_norm_is_over_all_gradients() -> None:
    network = nn.Linear(2, 1)
    assert signals.gradient_norm(network) is None
    network.weight.grad = torch.tensor([[3.0, 0.0]])
    assert signals.gradient_norm(network) == 3
    network.bias.grad = torch.tensor([4.0])
    assert signals.gradient_norm(network) == pytest.approx(5)


# Outputs


@pytest.mark.parametrize("rounded", [False, True], ids=["no ties", "ties"])
def test_auc_equals_the_area_under_the_roc_curve(rounded: bool) -> None:
    first, second = noise(40) + 0.5, noise(60, seed=1)
    if rounded:
        first, second = first.round(), second.round()
    truth = torch.cat([torch.ones(40), torch.zeros(60)])
    assert signals.auc(first, second) == pytest.approx(roc_auc_score(truth, torch.cat([first, second])), abs=1e-6)


def test_auc_of_several_heads_is_the_mean_of_theirs_whatever_their_levels() -> None:
    """A mean over the heads, or one area of all logits, would be another number."""
    reals, fakes = noise(40, 3) + torch.tensor([0.0, 0.5, 2.0]), noise(60, 3, seed=1)
    truth = torch.cat([torch.ones(40), torch.zeros(60)])
    each = [roc_auc_score(truth, torch.cat([reals[:, k], fakes[:, k]])) for k in range(3)]
    levels = torch.tensor([-50.0, 3.0, 400.0])
    found = signals.auc(reals + levels, fakes + levels)
    assert found == pytest.approx(sum(each) / 3, abs=1e-6)
    assert abs(signals.auc((reals + levels).mean(1), (fakes + levels).mean(1)) - found) > 0.05
    assert abs(signals.auc((reals + levels).flatten(), (fakes + levels).flatten()) - found) > 0.05
    assert signals.output_signals(reals + levels, fakes + levels)["D/auc"] == found


def test_ties_count_half_even_of_infinities() -> None:
    assert signals.auc(torch.zeros(3), torch.zeros(4)) == 0.5
    assert signals.auc(torch.tensor([torch.inf]), torch.tensor([torch.inf])) == 0.5
    assert signals.auc(torch.tensor([1.0, 3.0]), torch.tensor([2.0])) == 0.5
    assert signals.auc(torch.tensor([3.0]), torch.tensor([2.0, 1.0])) == 1


def test_output_signals_are_the_auc_and_the_mean_sign_of_reals() -> None:
    found = signals.output_signals(torch.tensor([2.0, 1, -1, 3]), torch.tensor([-2.0, 0]))
    assert found == {"D/auc": 7 / 8, "D/sign_real": 0.5}


def test_overfitting_is_how_far_held_out_outputs_lie_towards_the_fakes() -> None:
    train, fake, held = noise(500) / 9 + 4, noise(500, seed=1) / 9, noise(500, seed=2) / 9 + 1
    found = signals.overfitting_signals(train, fake, held)
    assert found["D/held_auc"] == 1
    assert found["D/overfit"] == pytest.approx(0.75, abs=0.02)


def test_overfitting_of_a_d_that_does_not_overfit_is_0() -> None:
    found = signals.overfitting_signals(noise(500) + 4, noise(500, seed=1), noise(500, seed=2) + 4)
    assert found["D/held_auc"] == pytest.approx(0.5, abs=0.05)
    assert found["D/overfit"] == pytest.approx(0, abs=0.05)


def test_without_a_gap_between_real_and_fake_there_is_no_overfit() -> None:
    assert set(signals.overfitting_signals(noise(99), noise(99, seed=1), noise(99, seed=2))) == {"D/held_auc"}


# Gradients with respect to the input


def test_input_gradient_of_a_linear_d_is_its_weight() -> None:
    weight = noise(1, 2, 3, 3)
    found = signals.input_gradients(lambda x: (x * weight).flatten(1).sum(1), noise(8, 2, 3, 3, seed=1))
    assert found == pytest.approx({"D/input_gradient": float(weight.norm())}, rel=1e-5)


def test_output_gradient_is_the_input_gradient_times_that_of_the_loss() -> None:
    weight, fake = noise(5), noise(16, 5, seed=1)
    logits = fake @ weight
    found = signals.input_gradients(lambda x: x @ weight, fake, lambda logits: softplus(-logits))
    assert found["G/output_gradient"] == pytest.approx(float(torch.sigmoid(-logits).mean() * weight.norm()), rel=1e-5)


def test_input_gradients_of_patches_are_those_of_their_mean() -> None:
    found = signals.input_gradients(lambda x: x.reshape(4, 1, 3, 3), noise(4, 9))
    assert found["D/input_gradient"] == pytest.approx(1 / 3, rel=1e-5)


def test_input_gradients_work_under_no_grad_and_leave_no_gradients() -> None:
    D, fake = nn.Linear(5, 1), noise(4, 5)
    with torch.no_grad():
        assert signals.input_gradients(D, fake)["D/input_gradient"] == pytest.approx(
            float(D.weight.detach().norm()), rel=1e-5
        )
    assert signals.gradient_norm(D) is None
    assert fake.grad is None
    assert not fake.requires_grad


def test_label_effect_is_a_ratio_of_mean_norms() -> None:
    by_label, by_chance = torch.tensor([[3.0, 4.0], [0, 0]]), torch.tensor([[0.0, 10], [10, 0]])
    assert signals.label_effect(by_label, by_chance) == 0.25
    assert signals.label_effect(torch.zeros(4), torch.ones(4)) == 0


# Activations


def test_dead_channel_is_counted() -> None:
    convolution = nn.Conv2d(1, 4, 1)
    add_to(convolution.bias, torch.tensor([1e3, 1e3, -1e3, 1e3]))  # type: ignore[arg-type]
    network = nn.Sequential(convolution, nn.ReLU(inplace=True))
    with signals.ActivationMonitor(network, "D") as activations:
        network(noise(8, 1, 5, 5))
    assert activations.measure() == {"D/dead": 0.25}


def test_channel_active_in_one_image_is_not_dead() -> None:
    network = nn.ReLU()
    with signals.ActivationMonitor(network, "G") as activations:
        network(torch.tensor([[-1.0, -1], [-1, 2], [-1, -3]]))
    assert activations.measure() == {"G/dead": 0.5}


def test_largest_share_of_dead_channels_is_reported() -> None:
    network = nn.Sequential(nn.ReLU(), nn.ReLU())
    with signals.ActivationMonitor(network, "D") as activations:
        network(torch.ones(3, 2))
        network(torch.tensor([[-1.0, 1.0]]))
        network(torch.ones(3, 2))
    assert activations.measure() == {"D/dead": 0.5}


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_batch_norm_drift_is_in_standard_deviations(shift: float) -> None:
    norm = nn.BatchNorm2d(2)
    with signals.ActivationMonitor(norm, "G") as activations:
        norm(noise(64, 2, 8, 8) + shift)
    assert activations.measure()["G/drift"] == pytest.approx(shift, abs=0.05)


def test_networks_without_running_statistics_and_relus_give_no_signals() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.Tanh())
    with signals.ActivationMonitor(network, "D") as activations:
        network(noise(4, 2))
    assert activations.measure() == {}


def test_activation_monitor_removes_its_hooks_after_an_error() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())
    with pytest.raises(RuntimeError), signals.ActivationMonitor(network, "D"):
        network(noise(4, 3))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


# State is preserved


class Averaging(nn.Module):
    """Replaces its buffer instead of changing it in place."""

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
def test_preserve_state_restores_buffers_and_random_numbers(make: Callable[[], nn.Module]) -> None:
    network = make()
    network(noise(4, 2))
    before, random = copy.deepcopy(list(network.buffers())), torch.get_rng_state()
    ids = [id(buffer) for buffer in network.buffers()]
    with signals.preserve_state(network), torch.no_grad():
        network(noise(4, 2, seed=1))
    assert [id(buffer) for buffer in network.buffers()] == ids
    for now, then in zip(network.buffers(), before, strict=True):
        assert torch.equal(now, then)
    assert torch.equal(torch.get_rng_state(), random)


def test_preserve_state_restores_them_after_an_error() -> None:
    norm, random = nn.BatchNorm1d(2), torch.get_rng_state()
    before = copy.deepcopy(norm.state_dict())
    with pytest.raises(RuntimeError), signals.preserve_state(norm):
        nn.Sequential(norm, nn.Dropout(), nn.Linear(3, 1))(noise(4, 2))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_forward_pass_without_preserve_state_changes_them() -> None:
    network, random = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), torch.get_rng_state()
    network(noise(4, 2))
    assert network.state_dict()["0.running_mean"].any()
    assert not torch.equal(torch.get_rng_state(), random)


# Reference sets


def make_images(n: int, seed: int = 0, classes: int = 4, size: int = 8) -> tuple[Tensor, Tensor]:
    """Noisy images with one bright quarter for each class, in random order of classes."""
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
    found = REFERENCES.compare(OTHERS)
    assert found["distance"] == pytest.approx(0, abs=0.01)
    for name in ("diversity", "diversity/batch", "nearest_fake", "coverage", "precision", "nearest_real"):
        assert found[name] == pytest.approx(1, abs=0.1), name
    assert found["classes"] == found["classes/counted"] == 4
    assert found["classes/missing"] == 0
    assert found["classes/rarest"] > 0.7
    assert found["classes/imbalance"] == pytest.approx(1, abs=0.2)
    assert found["classes/labelled"] == 1


def test_one_repeated_image_has_diversity_0_and_only_duplicates() -> None:
    found = REFERENCES.compare(OTHERS[:1].expand(200, -1, -1, -1))
    assert found["diversity"] == pytest.approx(0, abs=1e-3)
    assert found["nearest_fake"] == pytest.approx(0, abs=1e-3)
    assert found["distance"] > 0.2
    assert found["coverage"] < 0.1
    assert found["classes/missing"] == 3
    assert found["classes/rarest"] == 0


def test_class_without_fakes_is_missing() -> None:
    kept = OTHERS[OTHER_LABELS != 2]
    found = REFERENCES.compare(kept)
    assert found["classes/missing"] == 1
    assert found["classes/rarest"] < 0.05
    assert found["precision"] == pytest.approx(1, abs=0.1)
    assert found["distance"] > 0.01


def test_with_too_few_fakes_no_class_is_missing() -> None:
    found = REFERENCES.compare(OTHERS[OTHER_LABELS != 2][:20])
    assert found["classes/missing"] == found["classes/counted"] == 0


def test_nearest_real_is_0_for_copies_and_1_for_other_images() -> None:
    assert REFERENCES.compare(REAL[:200])["nearest_real"] == pytest.approx(0, abs=0.01)
    assert REFERENCES.compare(OTHERS)["nearest_real"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("images", [OTHERS, noise(256, 1, 8, 8, seed=3), 3 * REAL[:99]], ids=["like", "noise", "loud"])
def test_nearest_real_needs_all_images_and_held_out_images(images: Tensor) -> None:
    assert "nearest_real" in REFERENCES.compare(images)
    assert "nearest_real" not in ReferenceSet.from_images(REAL, LABELS, HELD).compare(images)
    assert "nearest_real" not in ReferenceSet.from_images(REAL, LABELS, complete=True).compare(images)


def test_reference_set_of_more_images_than_are_kept_is_not_complete() -> None:
    images = noise(MAX_REALS + 1, 2)
    assert ReferenceSet.from_images(images[:MAX_REALS], held_out=images[:50], complete=True).complete
    assert not ReferenceSet.from_images(images, held_out=images[:50], complete=True).complete


def test_distance_is_the_unbiased_energy_distance() -> None:
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


def test_fakes_that_change_only_between_rounds_have_batch_diversity_0() -> None:
    rounds = OTHERS[:8].repeat_interleave(32, 0)
    found = REFERENCES.compare(rounds, 32)
    assert found["diversity/batch"] == pytest.approx(0, abs=1e-3)
    assert found["diversity"] > 0.5
    alone = REFERENCES.compare(OTHERS[:64], 1)
    assert alone["diversity/batch"] == alone["diversity"], "a batch of one has no diversity of its own"


def test_signals_do_not_depend_on_the_order_of_the_reals() -> None:
    order = LABELS.argsort()
    found, expected = ReferenceSet.from_images(REAL[order], LABELS[order]).compare(OTHERS), REFERENCES.compare(OTHERS)
    for name in ("precision", "coverage", "nearest_fake"):
        assert found[name] == pytest.approx(expected[name], abs=0.15), name


def test_without_labels_clusters_are_counted() -> None:
    references = ReferenceSet.from_images(REAL)
    assert not references.labelled
    found = references.compare(OTHERS)
    assert found["classes"] == 20
    assert found["classes/labelled"] == 0
    assert found["classes/missing"] == 0
    more, kinds = make_images(1600, seed=3)
    assert references.compare(more[kinds == 0])["classes/missing"] > 10


def test_with_many_classes_clusters_are_counted() -> None:
    many = torch.arange(600) % 21
    assert not ReferenceSet.from_images(REAL, many).labelled
    assert ReferenceSet.from_images(REAL, many.clamp(max=19)).labelled


def test_few_images_give_only_some_signals() -> None:
    found = ReferenceSet.from_images(REAL[:16], held_out=HELD, complete=True).compare(OTHERS)
    assert {"diversity", "nearest_fake", "distance", "nearest_real"} <= set(found)
    assert not {"precision", "classes"} & set(found)
    one = ReferenceSet.from_images(REAL[:1], complete=True).compare(OTHERS[:1])
    assert one["diversity"] == 0


def test_class_imbalance_is_relative_to_an_equal_share() -> None:
    rest = torch.cat([REAL[LABELS == 0], REAL[LABELS == 1][:10], REAL[LABELS == 2][:10], REAL[LABELS == 3][:10]])
    zeros = int((LABELS == 0).sum())
    labels = torch.tensor([0] * zeros + [1] * 10 + [2] * 10 + [3] * 10)
    assert ReferenceSet.from_images(rest, labels).compare(OTHERS)["classes/imbalance"] == pytest.approx(
        4 * zeros / (zeros + 30)
    )


def test_real_classes_that_never_occur_are_missing() -> None:
    assert REFERENCES.missing_from(OTHERS) == {"real/missing": 0}
    assert REFERENCES.missing_from(OTHERS[OTHER_LABELS < 2]) == {"real/missing": 2}
    assert REFERENCES.missing_from(OTHERS[OTHER_LABELS < 2][:16]) == {"real/missing": 0}, "only 4 of each were expected"


def test_downsampling_averages_pixels() -> None:
    images = noise(3, 2, 32, 64)
    expected = avg_pool2d(images, (2, 4)).flatten(1)
    assert torch.allclose(downsample(images), expected, atol=1e-6)
    assert downsample(noise(3, 1, 25, 40)).shape == (3, SIDE * SIDE)
    assert torch.equal(downsample(images[..., :8, :8]), images[..., :8, :8].flatten(1))
    assert torch.equal(downsample(noise(5, 2).double()), noise(5, 2))


# Pixels


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 25, 40), (4, 7, 5), (2,)], ids=str)
def test_pixel_ranges_of_images_of_every_shape(shape: tuple[int, ...]) -> None:
    real = torch.rand(300, *shape, generator=torch.Generator().manual_seed(0))
    fake = 2 * torch.rand(300, *shape, generator=torch.Generator().manual_seed(1)) - 1
    found = pixel_signals(real, fake)
    ends = {"real/low": 0, "real/high": 1, "fake/low": -1, "fake/high": 1}
    assert {name: found[name] for name in ends} == pytest.approx(ends, abs=0.02)
    assert found["real/std"] == pytest.approx(12**-0.5, rel=0.05)
    assert found["fake/std"] == pytest.approx(2 * 12**-0.5, rel=0.05)
    assert found["fake/saturated"] == pytest.approx(0.02, abs=0.01)
    assert ("checkerboard" in found) == (len(shape) == 3)


def test_saturation_is_measured_at_the_ends_of_each_range() -> None:
    found = pixel_signals(noise(99, 1, 8, 8), noise(99, 1, 8, 8, seed=1).sign())
    assert found["fake/saturated"] == 1
    assert found["real/saturated"] < 0.05


def test_few_outliers_do_not_change_the_range() -> None:
    real = torch.rand(100, 1, 20, 20)
    real[0, 0, 0, :10] = 1e6
    assert pixel_signals(real, real)["real/high"] < 1.01


ROWS = (1 - 2 * (torch.arange(40) % 2)).float()


@pytest.mark.parametrize("size", [(8, 8), (25, 40), (32, 9)], ids=str)
@pytest.mark.parametrize("kind", ["rows", "columns", "squares"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_planted_checkerboard_is_measured(size: tuple[int, int], kind: str, channels: int) -> None:
    h, w = size
    patterns = {"rows": ROWS[:h, None], "columns": ROWS[None, :w], "squares": ROWS[:h, None] * ROWS[None, :w]}
    real, fake = noise(400, channels, h, w), noise(400, channels, h, w, seed=1)
    assert pixel_signals(real, fake)["checkerboard"] == pytest.approx(0, abs=0.02)
    fake[:, -1] += 0.4 * patterns[kind].expand(h, w)
    assert pixel_signals(real, fake)["checkerboard"] == pytest.approx(0.4, abs=0.04)
    assert pixel_signals(fake, real)["checkerboard"] < -0.3


def test_pattern_that_differs_between_fakes_is_not_a_checkerboard() -> None:
    fake = noise(400, 1, 8, 8) + ROWS[:8] * noise(400, 1, 1, 1, seed=1).sign()
    assert pixel_signals(noise(400, 1, 8, 8, seed=2), fake)["checkerboard"] < 0.1


def test_constant_images_give_finite_signals() -> None:
    found = pixel_signals(torch.zeros(9, 1, 8, 8), torch.ones(9, 1, 8, 8))
    assert found["real/std"] == 0
    assert found["checkerboard"] == 0
