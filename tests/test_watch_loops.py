"""`watch` in loops of every kind: what is wrong is named, and a watched loop trains as if it were not watched."""

import copy
import random
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]
from watched_loops import LOOPS, Loop, N, discriminator, generator, points, run

import ganvas
from ganvas.diagnosis.loops.probe import tell
from ganvas.diagnosis.rules import wiring

CONDITIONS = {
    condition.name
    for condition in (
        wiring.NOT_CONNECTED, wiring.WRONG_OPTIMISER, wiring.NOT_ZEROED, wiring.NOT_SEPARATED, wiring.NOT_DETACHED,
        wiring.SWAPPED, wiring.SIGMOID_TWICE, wiring.EVAL_MODE,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_what_is_wrong_in_a_loop_is_named(name: str) -> None:
    loop = LOOPS[name]
    _, _, probe = run(loop)
    assert probe is not None
    found = [finding for finding in probe.diagnosis().findings if finding.name in CONDITIONS]
    assert [finding.name for finding in found] == ([loop.says] if loop.says else [])
    assert all(finding.about == loop.about and finding.fixes and finding.since == 2 for finding in found)
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/auc"]) == (8 if loop.accumulate == 1 else 6), "a probe waits for a step"


@pytest.mark.parametrize("name", LOOPS)
def test_a_watched_loop_trains_as_if_it_were_not_watched(name: str) -> None:
    alone = run(LOOPS[name], 8, watched=False)[:2]
    after = torch.get_rng_state()
    watched = run(LOOPS[name], 8, every=1)[:2]
    assert torch.equal(after, torch.get_rng_state())
    for one, other in zip(alone, watched, strict=True):
        assert equal(one, other)
        assert hooks(one) == hooks(other)


def hooks(network: nn.Module) -> int:
    """How many hooks are on its modules and weights."""
    of_modules = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    return of_modules + sum(len(weight._backward_hooks or ()) for weight in network.parameters())


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Whether weights, buffers and gradients are the same to the last bit."""
    values = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    gradients = [(a.grad, b.grad) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    return all(torch.equal(a, b) for a, b in values) and all(
        (a is None) == (b is None) and (a is None or b is None or torch.equal(a, b)) for a, b in gradients
    )


def auc(loop: Loop) -> float:
    probe = run(loop, 120, every=10)[2]
    assert probe is not None
    return probe.history["D/auc"].recent()


def test_probabilities_of_being_fake_are_read_the_right_way_round() -> None:
    assert auc(LOOPS["labels inverted"]) > 0.55
    assert auc(LOOPS["usual"]) > 0.55


def test_a_wasserstein_loss_is_recognised_while_it_is_positive() -> None:
    def d_loss(real: Tensor, fake: Tensor) -> Tensor:
        return 20 * (fake.mean() - real.mean()) + 10

    loop = Loop(d_loss=d_loss, g_loss=lambda fake: -20 * fake.mean(), d=lambda: nn.Linear(2, 1, bias=False))
    probe = ganvas.watch(nn.Linear(4, 2), D := nn.Linear(2, 1), every=1, report=None)
    with torch.no_grad():
        D.weight.fill_(9.0)
    for _ in range(4):
        D.zero_grad()
        real, fake = points(), torch.randn(N, 2) - 3
        loss = loop.d_loss(D(real), D(fake)) + 400
        loss.backward()
        probe.step(real=real, fake=fake, d_loss=loss)
    assert probe.history.facts.critic is True


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_g_that_is_stepped_in_each_fifth_round_is_not_called_frozen(every: int) -> None:
    """Also where the probed rounds are always others."""
    G, D = generator(), nn.Linear(2, 1)
    adam = [torch.optim.Adam(network.parameters(), 1e-3) for network in (D, G)]
    probe = ganvas.watch(G, D, every=every, report=None)
    for i in range(60):
        real, fake = points(), G(torch.randn(N, 4))
        d_loss = D(fake.detach()).mean() - D(real).mean()
        adam[0].zero_grad()
        d_loss.backward()
        adam[0].step()
        if i % 5 == 4:
            adam[1].zero_grad()
            (-D(fake).mean()).backward()
            adam[1].step()
        probe.step(real=real, fake=fake, d_loss=d_loss)
    found = {finding.name for finding in probe.diagnosis().findings}
    assert not found & (CONDITIONS | {"G frozen", "D frozen"})


@pytest.mark.parametrize(("first", "every"), [(5, 1), (100, 10)])
def test_a_g_that_begins_after_the_critic_is_never_called_frozen(first: int, every: int) -> None:
    """Nothing is reported on the way either."""
    said: list[str] = []
    G, D = generator(), nn.Linear(2, 1)
    adam = [torch.optim.Adam(network.parameters(), 1e-3) for network in (D, G)]
    probe = ganvas.watch(G, D, every=every, report=said.append)
    for i in range(first + 12):
        real, fake = points(), G(torch.randn(N, 4))
        adam[0].zero_grad()
        (D(fake.detach()).mean() - D(real).mean()).backward()
        adam[0].step()
        if i >= first and i % 5 == 0:
            adam[1].zero_grad()
            (-D(fake).mean()).backward()
            adam[1].step()
        probe.step(real=real, fake=fake)
    assert not [line for line in said if "frozen" in line]


def test_several_steps_of_a_round_are_not_one_update() -> None:
    """And gradients that are zeroed after their step were not zero in it."""
    G, D = generator(), discriminator()
    sgd = [torch.optim.SGD(network.parameters(), 0.1) for network in (D, G)]
    probe = ganvas.watch(G, D, every=1, report=None)
    for _ in range(4):
        before = torch.cat([weight.detach().flatten() for weight in D.parameters()])
        for _ in range(5):
            real, fake = points(), G(torch.randn(N, 4))
            (D(fake.detach()).mean() - D(real).mean()).backward()
            sgd[0].step()
            D.zero_grad(set_to_none=False)
        change = torch.cat([weight.detach().flatten() for weight in D.parameters()]) - before
        (-D(fake).mean()).backward()
        sgd[1].step()
        for network in (G, D):
            network.zero_grad(set_to_none=False)
        probe.step(real=real, fake=fake)
    assert probe.history["D/update"].last == pytest.approx(float(change.norm() / before.norm()) / 5, rel=1e-3)
    assert probe.history["G/gradient"].value.min() > 0


def test_optimisers_of_different_layers_make_one_update() -> None:
    G, D = generator(), discriminator()
    sgd = [torch.optim.SGD(layer.parameters(), 0.1) for layer in (D[0], D[3])]
    probe = ganvas.watch(G, D, every=1, report=None)
    before = change = torch.zeros(0)
    for _ in range(3):
        before = torch.cat([weight.detach().flatten() for weight in D.parameters()])
        D.zero_grad()
        real, fake = points(), G(torch.randn(N, 4)).detach()
        (D(fake).mean() - D(real).mean()).backward()
        for one in sgd:
            one.step()
        change = torch.cat([weight.detach().flatten() for weight in D.parameters()]) - before
        probe.step(real=real, fake=fake)
    assert probe.history["D/update"].last == pytest.approx(float(change.norm() / before.norm()), rel=1e-3)


class Cut(nn.Module):
    """Passes on its input, and no gradient to it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def test_layers_behind_which_the_gradient_is_cut_off_are_frozen() -> None:
    G = nn.Sequential(nn.Linear(4, 24), Cut(), nn.Linear(24, 2))
    D = nn.Sequential(nn.Linear(2, 24), Cut(), nn.Linear(24, 1))
    for g, d, name in ((G, discriminator(), "G"), (generator(), D, "D")):
        adam = [torch.optim.Adam(network.parameters(), 1e-3) for network in (d, g)]
        probe = ganvas.watch(g, d, every=1, report=None)
        for _ in range(8):
            real, fake = points(), g(torch.randn(N, 4))
            d.zero_grad()
            (d(fake.detach()).mean() - d(real).mean()).backward()
            adam[0].step()
            g.zero_grad()
            if name == "G":
                (-d(fake).mean()).backward()
                adam[1].step()
            probe.step(real=real, fake=fake)
        assert probe.history[f"{name}/unchanged"].value.min() >= 0.5
        assert "layers frozen" in {finding.name for finding in probe.diagnosis().findings}


def test_blocks_that_networks_grow_later_are_not_frozen() -> None:
    """Nor are they after the images have grown, and the growth is known."""
    G, D = generator(), discriminator()
    later = nn.ModuleList([discriminator() for _ in range(3)])
    D.add_module("later", Beside(later))
    adam = torch.optim.Adam(D.parameters(), 1e-3)
    probe = ganvas.watch(G, D, every=1, report=None)
    for size in (2, 2, 2, 2, 2, 2, 4, 4, 4):
        real, fake = points().repeat(1, size // 2), G(torch.randn(N, 4)).detach().repeat(1, size // 2)
        adam.zero_grad()
        (D(fake[:, :2]).mean() - D(real[:, :2]).mean()).backward()
        adam.step()
        probe.step(real=real, fake=fake)
    assert probe.history["D/unchanged"].value.max() < 0.25
    assert probe.history["growth"].value.tolist() == [1]


class Beside(nn.Module):
    """Passes on its input; what it holds is not used."""

    def __init__(self, held: nn.Module) -> None:
        super().__init__()
        self.held = held

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("classes", [2, 5])
def test_logits_of_classes_are_not_averaged(classes: int) -> None:
    """Of a D that classifies: real is class 1, or one of several, and fake class 0."""
    torch.manual_seed(0)
    G, D = generator(), nn.Sequential(nn.Linear(4, 24), nn.LeakyReLU(0.2), nn.Linear(24, classes))
    adam = torch.optim.Adam(D.parameters(), 1e-2)
    probe = ganvas.watch(G, D, every=5, report=None)
    for _ in range(60):
        real, fake = points().repeat(1, 2), points().repeat(1, 2) + 2
        adam.zero_grad()
        kinds = torch.ones(N).long() if classes == 2 else torch.randint(1, classes, (N,))
        loss = nn.functional.cross_entropy(D(real), kinds)
        (loss + nn.functional.cross_entropy(D(fake), torch.zeros(N).long())).backward()
        adam.step()
        probe.step(real=real, fake=fake)
    if classes == 2:
        assert probe.history["D/auc"].last > 0.9
        assert probe.history["targets/direction"].last == 1
    else:
        assert "D/auc" not in probe.history
        assert "the logits of 5 classes" in words(probe)


def test_fakes_of_a_g_batch_twice_as_large_are_no_leak() -> None:
    """SNGAN: D receives n reals, and n fakes, and G's update draws 2 n."""
    G, D = generator(), nn.Sequential(nn.Linear(2, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 1))
    for told in (slice(None), slice(N)):
        probe = ganvas.watch(G, D, every=1, report=None)
        for _ in range(4):
            real = points()
            D(real)
            D(G(torch.randn(N, 4)).detach())
            fake = G(torch.randn(2 * N, 4))
            D(fake)
            probe.step(real=real, fake=fake[told])
        assert probe.history["D/mixed_batch"].value.tolist() == [0, 0, 0]
        probe.close()


class OfPairs(nn.Module):
    """A D of a condition, and an image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = discriminator(4)

    def forward(self, condition: Tensor, x: Tensor) -> Tensor:
        return self.network(torch.cat([condition, x], 1))


def test_a_condition_before_the_image_hides_no_swapped_label() -> None:
    found = []
    for sign in (-1, 1):
        G, D = nn.Linear(2, 2), OfPairs()
        adam = [torch.optim.Adam(network.parameters(), 1e-3) for network in (D, G)]
        probe = ganvas.watch(G, D, every=1, report=None)
        for _ in range(6):
            condition, real = points(), points()
            fake = G(condition)
            adam[0].zero_grad()
            loss = nn.functional.softplus(-D(condition, real)) + nn.functional.softplus(D(condition, fake.detach()))
            loss.mean().backward()
            adam[0].step()
            adam[1].zero_grad()
            nn.functional.softplus(sign * D(condition, fake)).mean().backward()
            adam[1].step()
            probe.step(real=real, fake=fake)
        found.append({finding.name for finding in probe.diagnosis().findings} & CONDITIONS)
    assert found == [set(), {"labels swapped"}]


def test_a_negative_loss_is_no_critic_s_where_its_gradients_are_others() -> None:
    G, D = generator(), discriminator()
    probe = ganvas.watch(G, D, every=1, report=None)
    for _ in range(5):
        real, fake = points(), G(torch.randn(N, 4)).detach()
        D.zero_grad()
        loss = nn.functional.softplus(-3 * D(real)).mean() + nn.functional.softplus(3 * D(fake)).mean() - 5
        loss.backward()
        with torch.no_grad():
            list(D.parameters())[-2].mul_(4)  # then the pushes differ
        probe.step(real=real, fake=fake, d_loss=loss)
    assert probe.history["targets/linear"].value.max() == 0
    assert probe.history.facts.critic is False


def test_one_image_a_round_says_nothing_of_d_until_there_are_enough() -> None:
    D = discriminator()
    probe = ganvas.watch(generator(), D, every=1, report=None)
    for _ in range(66):
        step(probe, D, points(1), points(1))
    assert probe.history["D/auc"].at.tolist() == [33, 65]
    assert len(probe.history["D/real"]) == 65


def test_gradients_that_reach_no_weight_of_g_but_are_assigned_are_not_missing() -> None:
    """Of a copy (torch.func), as those of weights in shards."""
    G, D = generator(), discriminator()
    adam = [torch.optim.Adam(network.parameters(), 1e-3) for network in (D, G)]
    probe = ganvas.watch(G, D, every=2, report=None)
    for _ in range(16):
        real, z = points(), torch.randn(N, 4)
        copies = {name: weight.detach().requires_grad_() for name, weight in G.named_parameters()}
        fake = torch.func.functional_call(G, copies, z)
        adam[0].zero_grad()
        (-D(real).mean() + D(fake.detach()).mean()).backward()
        adam[0].step()
        (-D(fake).mean()).backward()
        for name, weight in G.named_parameters():
            weight.grad = copies[name].grad
        adam[1].step()
        probe.step(real=real, fake=fake)
    diagnosis = probe.diagnosis()
    assert not CONDITIONS & {finding.name for finding in diagnosis.findings}
    assert "reach G's own weights" in str(diagnosis)


def test_all_steps_count_before_the_end_too() -> None:
    G, D = generator(), discriminator()
    probe = ganvas.watch(G, D, every=100, report=None)
    for i in range(30):
        probe.step(real=points(), fake=G(torch.randn(N, 4)), d_loss=i, g_loss=i)
    assert f"{30 * N:,} images" in str(probe.diagnosis())
    assert probe.history["D/loss"].at[-1] == 30


class Bookkeeping(nn.Module):
    """A D that counts its calls, keeps its last output, and draws from three generators of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.calls = discriminator(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        noise = 0.01 * (random.random() + float(np.random.rand()))
        self.newest = self.network(x + noise * torch.randn_like(x) * (1 + 1 / self.calls))
        return self.newest


def test_counters_and_all_random_numbers_stay_the_same() -> None:
    def trained(*, watched: bool) -> tuple[nn.Module, Any]:
        random.seed(1)
        np.random.seed(2)
        D = run(Loop(d=Bookkeeping), 8, watched=watched, every=1)[1]
        return D, (D.calls, random.random(), float(np.random.rand()))  # type: ignore[attr-defined]

    (alone, drawn), (watched, drawn_watched) = trained(watched=False), trained(watched=True)
    assert drawn == drawn_watched
    assert equal(alone, watched)


# Networks of every kind


def words(probe: ganvas.Probe) -> str:
    """The diagnosis in one line."""
    return " ".join(str(probe.diagnosis()).split())


def step(probe: ganvas.Probe, D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> None:
    """A round without updates."""
    D(real)
    D(fake)
    probe.step(real=real, fake=fake)


def test_several_discriminators_are_measured_together() -> None:
    torch.manual_seed(0)
    G, first, second = generator(), discriminator(), discriminator()
    for given in ([first, second], {"a": first, "b": second}, nn.ModuleList([first, second])):
        probe = ganvas.watch(G, given, every=1, report=None)
        for _ in range(4):
            real, fake = points(), G(torch.randn(N, 4)).detach()
            first.zero_grad()
            for D in (first, second):
                D(real)
                D(fake)
            with torch.no_grad():
                next(second.parameters()).add_(0.1)
            probe.step(real=real, fake=fake)
        assert probe.history.facts.probe_errors == {}
        assert 0 < probe.history["D/auc"].last < 1
        assert probe.history["D/unchanged"].last == pytest.approx(7 / 8, abs=0.15)


def test_layers_that_the_loop_froze_are_not_said_to_be_unchanged() -> None:
    torch.manual_seed(0)
    G, D = generator(), discriminator()
    D[0].requires_grad_(False)
    probe = ganvas.watch(G, D, every=1, report=None)
    for _ in range(6):
        real, fake = points(), G(torch.randn(N, 4)).detach()
        D.zero_grad()
        D(real)
        D(fake)
        with torch.no_grad():
            list(D.parameters())[-2].add_(0.1)
        probe.step(real=real, fake=fake)
    assert probe.history["D/update"].last > 0
    assert probe.history["D/unchanged"].last == 0


def test_a_d_of_concatenated_images_is_called_with_both() -> None:
    """pix2pix: D sees the input and the output."""
    D = nn.Sequential(nn.Conv2d(6, 8, 3), nn.LeakyReLU(), nn.Conv2d(8, 1, 3))
    probe = ganvas.watch(nn.Conv2d(3, 3, 1), D, every=1, report=None)
    for _ in range(3):
        shown, real, fake = (torch.randn(4, 3, 8, 8) for _ in range(3))
        for images in (real, fake):
            D(torch.cat([shown, images], 1))
        probe.step(real=real, fake=fake)
    assert probe.history.facts.probe_errors == {}
    expected = D(torch.cat([shown, real], 1)).mean().detach()
    assert probe.history["D/real"].last == pytest.approx(float(expected), abs=1e-6)


def test_a_d_of_pairs_is_called_with_both() -> None:
    """BiGAN, or labels beside flat images: D sees points and what belongs to them in one tensor."""
    D = discriminator(5)
    probe = ganvas.watch(generator(), D.eval(), every=1, report=None)
    for _ in range(3):
        real, fake, beside = points(), points() + 1, torch.randn(N, 3)
        for images in (real, fake):
            D(torch.cat([beside, images], 1))
        probe.step(real=real, fake=fake)
    assert probe.history.facts.probe_errors == {}
    expected = D(torch.cat([beside, fake], 1)).mean().detach()
    assert probe.history["D/fake"].last == pytest.approx(float(expected), abs=1e-6)


def test_images_that_d_never_saw_are_told_in_one_sentence() -> None:
    D = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Flatten(), nn.LazyLinear(1))
    probe = ganvas.watch(nn.Conv2d(3, 3, 1), D, every=1, report=None)
    for _ in range(3):
        D(torch.randn(4, 6, 8, 8))
        probe.step(real=torch.randn(4, 3, 8, 8), fake=torch.randn(4, 3, 8, 8))
    assert "D receives (6, 8, 8) and `real` is (3, 8, 8): pass real= and fake= to probe.step" in words(probe)


def test_an_output_that_could_mean_anything_is_asked_about() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return {"a": x.repeat(1, 3), "b": x.repeat(1, 2)}

    probe = ganvas.watch(generator(), D := Odd(), every=1, report=None)
    for _ in range(3):
        step(probe, D, points(), points())
    assert "D returns [48, 6], [48, 4]" in words(probe)
    assert "logits=lambda output" in words(probe)


@pytest.mark.parametrize("shape", [(), (3,), (2, 40), (1, 6, 7), (2, 3, 8, 8)], ids=str)
def test_data_of_one_to_five_dimensions(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    D = nn.Sequential(nn.Unflatten(0, (-1, 1)) if shape == () else nn.Flatten(), nn.Linear(size, 1))
    probe = ganvas.watch(nn.Identity(), D, every=1, report=None, data=torch.randn(60, *shape))
    for n in (16, 16, 5, 1, 16):
        step(probe, D, torch.randn(n, *shape), torch.randn(n, *shape) + 1)
    probe.step(real=torch.empty(0, *shape), fake=torch.empty(0, *shape))
    probe.close()
    assert probe.history.facts.probe_errors == {}
    assert probe.history.facts.shown == 54
    assert {"distance", "D/auc", "diversity"} <= set(probe.history.columns)


def test_modules_that_are_built_at_their_first_call() -> None:
    D = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(1))
    probe = ganvas.watch(nn.Linear(4, 2), D, every=1, report=None)
    for _ in range(4):
        step(probe, D, points(), points())
    assert probe.history.facts.probe_errors == {}
    assert probe.history["D/update"].last == 0


def test_whole_numbers_among_the_weights() -> None:
    D = discriminator()
    D.register_parameter("steps", nn.Parameter(torch.tensor([3]), requires_grad=False))
    probe = ganvas.watch(generator(), D, every=1, report=None)
    for _ in range(3):
        step(probe, D, points(), points())
    assert probe.history.facts.probe_errors == {}
    assert "D/update" in probe.history


@pytest.mark.slow
@pytest.mark.parametrize("how", ["module", "in place", "step"])
def test_compiled_networks(how: str) -> None:
    def d_loss(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return nn.functional.softplus(-D(real)).mean() + nn.functional.softplus(D(fake)).mean()

    def train(watched: bool) -> tuple[nn.Module, ganvas.Probe | None]:
        torch.manual_seed(0)
        torch.compiler.reset()
        D, G = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1)), nn.Linear(4, 2)
        d: Any = torch.compile(D, backend="aot_eager") if how == "module" else D
        if how == "in place":
            D.compile(backend="aot_eager")
        loss: Any = torch.compile(d_loss, backend="aot_eager", fullgraph=True) if how == "step" else d_loss
        adam = torch.optim.Adam(D.parameters(), 1e-3)
        probe = ganvas.watch(G, d, every=2, report=None) if watched else None
        for _ in range(8):
            real, fake = points(), G(torch.randn(N, 4)).detach()
            value = loss(d, real, fake)
            adam.zero_grad()
            value.backward()
            adam.step()
            if probe is not None:
                probe.step(real=real, fake=fake, d_loss=value)
        return D, probe

    alone, (watched, probe) = train(False)[0], train(True)
    assert equal(alone, watched)
    assert probe is not None
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/auc"]) == 4


@pytest.fixture
def process_group() -> Iterator[None]:
    """A group of one process."""
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_networks_trained_by_several_processes() -> None:
    """A repetition through DistributedDataParallel would wait for gradients that never come."""
    loop = Loop(wrap=nn.parallel.DistributedDataParallel)
    alone, (G, D, probe) = run(loop, 8, watched=False), run(loop, 8, every=1)
    assert equal(alone[0], G)
    assert equal(alone[1], D)
    assert probe is not None
    assert probe.history.facts.probe_errors == {}
    assert len(probe.history["D/input_gradient"]) == 7


# Arguments


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "G": ({"G": 3}, "G is a int"),
    "class": ({"D": nn.Linear}, "D is Linear, a class"),
    "no D": ({"D": []}, "D is empty"),
    "data": ({"data": "photos/"}, "`data` is a str"),
    "held out": ({"held_out": torch.tensor(1.0)}, "`held_out` is a single number"),
    "no data": ({"data": torch.empty(0, 2)}, "`data` holds no image"),
    "shapes": ({"data": points(), "held_out": torch.randn(9, 3)}, r"in `held_out` \(3,\)"),
    "labels": ({"data": points(), "labels": torch.randn(N)}, "`labels` are torch.float32"),
    "sparse": ({"data": points().to_sparse()}, "`data` is a tensor of torch.sparse"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_argument_is_named_at_the_call(case: str) -> None:
    given, message = BAD[case]
    with pytest.raises(ganvas.GanvasError, match=message):
        ganvas.watch(**{"G": generator(), "D": discriminator(), "report": None, **given})


BAD_STEPS: dict[str, tuple[dict[str, Any], str]] = {
    "list": ({"real": [[1.0, 2.0]]}, "`real` is a list"),
    "none": ({"fake": None}, "`fake` is a NoneType"),
    "complex": ({"fake": points().to(torch.complex64)}, "`fake` is a tensor of torch.complex64"),
    "loss": ({"d_loss": {"adv": 1.0}}, "`d_loss` is a dict"),
    "word": ({"g_loss": "low"}, "`g_loss` is a str"),
    "empty": ({"g_loss": torch.empty(0)}, "`g_loss` is a Tensor without values"),
    "data": ({"real": torch.randn(4, 3), "fake": torch.randn(4, 3)}, r"`data` are \(2,\), in `real` \(3,\)"),
}


@pytest.mark.parametrize("case", BAD_STEPS)
def test_a_wrong_argument_of_a_step_is_named(case: str) -> None:
    given, message = BAD_STEPS[case]
    probe = ganvas.watch(generator(), discriminator(), data=points(), report=None)
    with pytest.raises(ganvas.GanvasError, match=message):
        probe.step(**{"real": points(), "fake": points(), **given})


def test_numpy_arrays_are_taken() -> None:
    D = discriminator()
    probe = ganvas.watch(generator(), D, data=points().numpy(), every=1, report=None)  # type: ignore[arg-type]
    for _ in range(3):
        real, fake = points(), points()
        D(real)
        D(fake)
        probe.step(real=real.numpy(), fake=fake.numpy(), d_loss=np.float32(0.7))  # type: ignore[arg-type]
    assert probe.history.facts.probe_errors == {}
    assert "D/auc" in probe.history


def test_own_trouble_is_one_line_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    probe = ganvas.watch(generator(), D := discriminator(), every=1, report=messages.append)
    monkeypatch.setattr(probe._observed, "add_batch", lambda *_: 1 / 0)
    alone = copy.deepcopy(D)
    for _ in range(9):
        step(probe, D, points(), points())
    probe.__exit__(None)
    assert len(messages) == 1
    assert messages[0].count("ZeroDivisionError") == 1
    assert messages[0].startswith("Nothing wrong was found, but the later rounds could not be measured: ZeroDivision")
    assert equal(alone, D)
    assert not D._forward_hooks


def test_all_images_count_and_losses_witness_where_probes_are_few() -> None:
    D = discriminator()
    probe = ganvas.watch(generator(), D, every=400, report=None)
    for _ in range(700):
        probe.step(real=points(64), fake=points(64), d_loss=1e-4 * (1 + float(torch.rand(()))), g_loss=9.0)
    probe.close()
    assert probe.history.facts.shown == 700 * 64
    assert "D too strong" in [finding.name for finding in probe.diagnosis().findings]


class Handle:
    """What IPython's display returns: a place in the page."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, shown: Any) -> None:
        self.shown.append(shown._repr_html_())


def test_a_notebook_shows_the_diagnosis_in_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handle, page = Handle(), list[str]()

    def display(shown: Any, *, display_id: bool) -> Handle:
        page.append(shown._repr_html_())
        return handle

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr("ganvas.diagnosis.loops.live.PAUSE", 0.0)
    run(Loop(options={"report": tell}), 8)
    assert len(page) == 1, "one place, updated"
    assert "too early to judge" in page[0]
    assert len(handle.shown) == 3
    with ganvas.watch(generator(), discriminator()):
        pass
    assert "too early to judge" in page[-1], "the end is always shown"
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_lines_and_no_display(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = SimpleNamespace()  # a terminal's IPython has no kernel
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with ganvas.watch(generator(), discriminator()):
        pass
    assert "too early to judge" in capsys.readouterr().err


def main() -> None:
    """Prints the matrix: loop, what is named in it, whether it trained as if it were not watched."""
    print(f"{'loop':<32} {'named':<20} identical")
    for name, loop in LOOPS.items():
        probe = run(loop)[2]
        assert probe is not None
        named = [finding.name for finding in probe.diagnosis().findings if finding.name in CONDITIONS]
        pairs = zip(run(loop, 8, watched=False)[:2], run(loop, 8, every=1)[:2], strict=True)
        print(f"{name:<32} {', '.join(named) or '-':<20} {'yes' if all(equal(*pair) for pair in pairs) else 'NO'}")


if __name__ == "__main__":
    main()
