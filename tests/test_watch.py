"""`watch` in another training loop: it does not change the training, and its diagnosis names the faults."""

import copy
import io
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

import ganvas
from ganvas import GanvasError, Probe
from ganvas.diagnosis.diagnosis import Diagnosis
from ganvas.diagnosis.loops.batches import RecentBatches, reduce
from ganvas.diagnosis.loops.calls import Call as LoopCall
from ganvas.diagnosis.loops.labels import label_changes, label_mismatch
from ganvas.diagnosis.loops.outputs import read_classes
from ganvas.diagnosis.loops.problems import find_problems
from ganvas.diagnosis.signals.samples import downsample

Call = Callable[[nn.Module, Tensor, Tensor], Tensor]


def toy(n: int = 600, f: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points on a ring of eight modes, and the mode of each."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(8, (n,), generator=random)
    angle = labels * torch.pi / 4
    points = torch.stack([angle.cos(), angle.sin()], 1).repeat(1, f // 2)
    return points + 0.05 * torch.randn(n, f, generator=random), labels


def generator(f: int = 2, classes: int = 0) -> nn.Module:
    return nn.Sequential(nn.Linear(4 + classes, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, f))


def discriminator(f: int = 2, classes: int = 0) -> nn.Module:
    return nn.Sequential(nn.Linear(f + classes, 16), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(16, 1))


def logits(D: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return D(images)


def train_on_ring(
    G: nn.Module,
    D: nn.Module,
    *,
    steps: int = 20,
    watching: bool = True,
    call_g: Call = logits,
    call_d: Call = logits,
    other_labels_for_g: bool = False,
    dtype: torch.dtype = torch.float32,
    batch: int = 32,
    after_step: Callable[[Tensor, Tensor], None] = lambda d_loss, fake: None,
    **watch: Any,
) -> Probe | None:
    """A short training on the ring; G gets other labels than D if `other_labels_for_g`."""
    torch.manual_seed(0)
    data, labels = toy()
    data = data.to(dtype)
    probe = ganvas.watch(G, D, **{"every": 2, "report": None, **watch}) if watching else None
    optimisers = [torch.optim.Adam(network.parameters(), 1e-3) for network in (D, G)]
    for _ in range(steps):
        rows = torch.randint(len(data), (batch,))
        real, kinds = data[rows], labels[rows]
        g_labels = torch.randint(8, (batch,)) if other_labels_for_g else kinds
        on_fake = call_d(D, call_g(G, torch.randn(batch, 4, dtype=dtype), g_labels).detach(), kinds)
        d_loss = (softplus(-call_d(D, real, kinds)) + softplus(on_fake)).mean()
        optimisers[0].zero_grad()
        d_loss.backward()
        optimisers[0].step()
        fake = call_g(G, torch.randn(batch, 4, dtype=dtype), g_labels)
        g_loss = softplus(-call_d(D, fake, kinds)).mean()
        optimisers[1].zero_grad()
        g_loss.backward()
        optimisers[1].step()
        after_step(d_loss, fake)
        if probe is not None:
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    if probe is not None:
        probe.close()
    return probe


def train_watched(G: nn.Module, D: nn.Module, **arguments: Any) -> Probe:
    probe = train_on_ring(G, D, **arguments)
    assert probe is not None
    return probe


def finding_names(found: Diagnosis) -> list[str]:
    return [finding.name for finding in found.findings if finding.severity != "note"]


# It does not change the training


class Counting(nn.Module):
    """Counts its images in a buffer that it replaces, and adds noise to them."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count = self.count + len(x)
        return x + 0.01 * torch.randn_like(x)


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    bound = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 16))
    norm = nn.BatchNorm1d(16)
    D = nn.Sequential(bound, norm, nn.LeakyReLU(0.2), nn.Dropout(0.3), Counting(), nn.Linear(16, 1))
    return generator(), D


@pytest.mark.parametrize("held_out", [None, toy(100, seed=1)[0]], ids=["", "held out"])
def test_training_is_bit_for_bit_the_same(held_out: Tensor | None) -> None:
    alone, observed = networks(), networks()
    train_on_ring(*alone, steps=30, watching=False)
    random = torch.get_rng_state()
    probe = train_watched(*observed, steps=30, every=1, data=toy()[0], labels=toy()[1], held_out=held_out)
    assert torch.equal(torch.get_rng_state(), random)
    assert len(probe.history["D/auc"]) == 29
    assert ("D/overfit" in probe.history or "D/held_auc" in probe.history) == (held_out is not None)
    assert probe.history.facts.probe_errors == {}
    for one, other in zip(alone, observed, strict=True):
        for (name, value), now in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(value, now), name
        for weight, now in zip(one.parameters(), other.parameters(), strict=True):
            assert weight.grad is not None
            assert now.grad is not None
            assert torch.equal(weight.grad, now.grad)


class Token:
    """Deleted with its node of a graph."""


class Marked(torch.autograd.Function):
    """The identity, which leaves a token in the graph."""

    tokens: ClassVar[list[weakref.ref[Token]]] = []

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.token = Token()
        Marked.tokens.append(weakref.ref(ctx.token))
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0]


def test_no_graph_is_kept_alive() -> None:
    def marked(network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        return Marked.apply(network(x))  # type: ignore[return-value]

    def after_step(d_loss: Tensor, fake: Tensor) -> None:
        alive.append(sum(token() is not None for token in Marked.tokens))

    alive: list[int] = []
    Marked.tokens.clear()
    G, D = generator(), discriminator()
    probe = train_watched(G, D, steps=9, every=1, call_g=marked, call_d=marked, after_step=after_step)
    assert len(Marked.tokens) == 9 * 5
    assert alive[0] > 0, "otherwise this test checks nothing"
    assert max(alive) <= 10, "only graphs that the loop's own variables keep"
    assert not any(token() for token in Marked.tokens)
    assert len(probe.history["D/auc"]) == 8


def test_kept_images_are_few_and_downsampled() -> None:
    G, D = nn.Identity(), nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 1))
    probe = ganvas.watch(G, D, every=2, report=None)
    for _ in range(60):
        real = torch.randn(10, 1, 64, 64)
        D(real)
        probe.step(real=real, fake=torch.randn(10, 1, 64, 64))
    assert sum(map(len, probe._observed.reals)) <= 600
    assert all(part.shape[1] == 256 for part in probe._observed.reals)
    assert sum(len(real) for real, _ in probe._observed.recent) <= 260


def test_large_images_are_kept_by_their_bytes_and_compared_reduced() -> None:
    G, D = nn.Identity(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    probe = ganvas.watch(G, D, every=1, report=None, data=torch.rand(80, 3, 32, 32), held_out=torch.rand(40, 3, 32, 32))
    probe._observed._batches.max_bytes = 2**17
    sizes = list[int]()
    D.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    for _ in range(9):
        real, fake = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
        D(real)
        D(fake)
        probe.step(real=real, fake=fake)
    batches = probe._observed._batches
    assert sum(real.nbytes + fake.nbytes for real, fake in batches.full) <= 2**17
    assert len(batches) == 9
    assert batches.compared("fake").shape == (36, 3 * 16 * 16)
    assert max(sizes) == 4, "held-out images in pieces of the loop's batch"
    assert probe.history.facts.probe_errors == {}
    assert {"distance", "real/missing"} <= set(probe.history.columns)
    assert "D/held_auc" not in probe.history, "32 training images are too few"
    assert all(not update._before for update in probe._probe._earlier.values())


def test_held_out_images_are_compared_with_enough_training_images() -> None:
    data, D = toy()[0], discriminator()
    probe = ganvas.watch(generator(), D, every=1, report=None, data=data, held_out=toy(100, seed=1)[0])
    probe._observed._batches.max_bytes = 1
    for first in range(0, 12 * 32, 32):
        real, fake = data[first : first + 32], torch.randn(32, 2)
        D(real)
        D(fake)
        probe.step(real=real, fake=fake)
    assert probe.history["D/held_auc"].at.tolist() == [5, 9], "of 128 each"
    assert probe.history.facts.probe_errors == {}


def test_data_that_cannot_be_reduced_are_forgotten() -> None:
    batches = RecentBatches(lambda images: images)
    batches.max_bytes = 1000
    for _ in range(5):
        batches.add(torch.rand(4, 50), torch.rand(4, 50))
    assert not batches.reduced
    assert batches.compared("real").shape == (4, 50)


def test_reals_are_reduced_a_few_at_a_time() -> None:
    sizes = list[int]()

    def pixels(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images

    images, rows = torch.rand(300, 1, 20, 20), torch.randperm(300)[:200]
    assert torch.equal(reduce(images, pixels, rows), downsample(images[rows]))
    assert max(sizes) == 64


def test_hooks_are_removed_after_the_block() -> None:
    G, D = generator(), discriminator()
    with ganvas.watch(G, D, report=None):
        assert G._forward_hooks
        assert D._forward_hooks
    assert not G._forward_hooks
    assert not D._forward_hooks


def test_hooks_are_removed_after_an_error_and_the_diagnosis_is_reported() -> None:
    G, D, messages = generator(), discriminator(), list[str]()
    with pytest.raises(ZeroDivisionError), ganvas.watch(G, D, report=messages.append):
        raise ZeroDivisionError
    assert not any(module._forward_pre_hooks or module._forward_hooks for m in (G, D) for module in m.modules())
    assert len(messages) == 1
    assert "too early to judge" in messages[0]


def test_networks_can_be_saved_and_copied_while_watched() -> None:
    G, D, z = generator().eval(), discriminator(), torch.randn(3, 4)
    with ganvas.watch(G, D, every=1, report=None) as probe:
        probe.step(real=toy(32)[0], fake=toy(32)[0])
        file = io.BytesIO()
        torch.save(G, file)
        file.seek(0)
        saved, average = torch.load(file, weights_only=False), copy.deepcopy(G)
        assert torch.equal(saved(z), average(z))
        assert probe._observed.calls["G"] == [], "only calls of G itself are recorded"
        assert torch.equal(G(z), saved(z))
        assert len(probe._observed.calls["G"]) == 1


# Findings


FAULTS = {
    "d-frozen": ["D frozen"],
    "g-frozen": ["G frozen"],
    "same-latent": ["mode collapse", "mode cycling"],
    "range": ["range mismatch"],
    "normalisation": ["normalisation mismatch"],
    "nan": ["non-finite"],
    "g-labels": ["labels ignored by G"],
    "leak": ["batch-norm leak"],
    "lr-low": ["learning rate too low"],
    "missing-classes": ["missing modes"],
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_the_first_finding(own_loop: Any, fault: str) -> None:
    probe = own_loop.train(*own_loop.digits(), fault=fault, steps=90, every=5, report=None)
    assert finding_names(probe.diagnosis())[0] in FAULTS[fault]
    assert probe.history.facts.probe_errors == {}


@pytest.mark.parametrize("fault", ["healthy", "healthy-conditional"])
def test_healthy_loop_is_reported_as_healthy(own_loop: Any, fault: str) -> None:
    messages: list[str] = []
    probe = own_loop.train(*own_loop.digits(), fault=fault, steps=110, every=5, report=messages.append)
    assert probe.diagnosis().healthy
    assert messages[-1] == str(probe.diagnosis())
    assert messages[-1].startswith("This training is healthy")


def test_finding_is_reported_once_when_it_is_detected(own_loop: Any) -> None:
    messages: list[str] = []
    probe = own_loop.train(*own_loop.digits(), fault="range", steps=60, every=5, report=messages.append)
    early = [line for line in messages if line.startswith("ganvas: step")]
    assert early[0].startswith("ganvas: step 2: The images and G's output lie in different ranges")
    assert len(early) == len({line.split(": ")[2] for line in early})
    assert len(early) >= len(finding_names(probe.diagnosis()))
    assert len(messages) == len(early) + 1
    assert messages[-1].startswith("This training has failed or is failing: range mismatch.")


# How D and G are called


def call_g_with_labels(G: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
    return G(torch.cat([z, one_hot(labels, 8).to(z)], 1))


class Conditional(nn.Module):
    """A network whose input is concatenated with one-hot labels, given as numbers or as one-hot rows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        rows = one_hot(labels, 8) if labels.dim() == 1 else labels
        return self.network(torch.cat([x, rows.to(x)], 1))


CONVENTIONS: dict[str, Call] = {
    "by position": lambda network, x, labels: network(x, labels),
    "by name": lambda network, x, labels: network(x, labels=labels),
    "one-hot": lambda network, x, labels: network(x, one_hot(labels, 8)),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_labels_are_read_in_every_convention(convention: str) -> None:
    call = CONVENTIONS[convention]
    G, D = Conditional(generator(classes=8)), Conditional(discriminator(classes=8))
    history = train_watched(G, D, call_g=call, call_d=call).history
    assert history.facts.probe_errors == {}
    assert history["labels/mismatch"].value.max() == 0
    assert 0.05 < history["D/label_effect"].last < 20
    assert 0.05 < history["G/label_effect"].last < 20


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_differing_labels_are_counted_in_every_convention(convention: str) -> None:
    call = CONVENTIONS[convention]
    G, D = Conditional(generator(classes=8)), Conditional(discriminator(classes=8))
    probe = train_watched(G, D, call_g=call, call_d=call, other_labels_for_g=True)
    assert probe.history["labels/mismatch"].recent() == pytest.approx(7 / 8, abs=0.15)
    assert "labels ignored by G" in finding_names(probe.diagnosis())


class TwoInputs(nn.Module):
    """The first input, changed by the second one, or not."""

    def __init__(self, strength: float = 0.0) -> None:
        super().__init__()
        self.strength, self.scale = strength, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.scale * (x + self.strength * other.float().reshape(len(x), *[1] * (x.dim() - 1)))


@pytest.mark.parametrize(
    ("x", "other", "known"),
    [
        (torch.randn(8, 1, 4, 4), torch.randn(8, 1), False),
        (torch.randn(8, 1, 4, 4), torch.arange(8), False),
        (torch.randn(8, 5), torch.randn(8, 1), False),
        (torch.randn(8, 5), torch.arange(8), True),
        (torch.randn(8, 5, 1, 1), torch.arange(8.0)[:, None, None, None].expand(8, 1, 2, 2)[:, :, :1, :1], True),
    ],
    ids=["pix2pix with noise", "StarGAN", "two noises", "labels", "planes of labels"],
)
def test_noise_and_conditions_are_no_labels(x: Tensor, other: Tensor, known: bool) -> None:
    G = TwoInputs()
    calls: dict[str, list[Any]] = {"D": [], "G": [LoopCall((x, other), {}, G)]}
    changes = list(label_changes(calls, lambda name, call: call.repeat()))
    assert bool(changes) == known
    assert not known or changes[0][1].count_nonzero() == 0


def test_a_d_whose_classes_are_not_known_does_not_hide_the_labels_of_g() -> None:
    calls = {name: [LoopCall((torch.randn(8, 5), torch.arange(8)), {}, TwoInputs(0.5))] for name in ("D", "G")}

    def output(name: str, call: LoopCall) -> Tensor:
        return read_classes(call.repeat(), 5) if name == "D" else call.repeat()

    assert [name for name, *_ in label_changes(calls, output)] == ["G"]


def test_classes_are_those_of_the_head_that_has_so_many() -> None:
    for one in (torch.randn(8), torch.randn(8, 1), torch.randn(8, 2, 3)):
        assert read_classes(one, 5) is one
    assert read_classes(torch.tensor([[1.0, 3.0]]), 2).tolist() == [2]
    with pytest.raises(LookupError, match="the logits of 5 classes"):
        read_classes(torch.randn(8, 5), 5)


def test_an_embedding_that_both_networks_receive_is_a_label() -> None:
    z, embedding, fake = torch.randn(8, 4), torch.randn(8, 3), torch.randn(8, 2)
    given, other = (LoopCall((fake, of), {}, TwoInputs()) for of in (embedding, torch.randn(8, 3)))
    call = LoopCall((z, embedding), {}, TwoInputs())
    assert label_mismatch({"D": [given], "G": [call]}, fake) == {"labels/mismatch": 0}
    assert label_mismatch({"D": [other], "G": [call]}, fake) == {}


class IgnoreLabels(nn.Module):
    """Removes the labels from its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :-8]


def test_networks_that_ignore_labels_are_detected() -> None:
    """Although dropout changes D's output in every pass."""
    G, D = (Conditional(nn.Sequential(IgnoreLabels(), network)) for network in (generator(), discriminator()))
    call = CONVENTIONS["by position"]
    history = train_watched(G, D, call_g=call, call_d=call).history
    assert history["G/label_effect"].value.max() == 0
    assert history["D/label_effect"].value.max() == 0
    assert "labels ignored by D" in finding_names(train_watched(G, D, call_g=call, call_d=call).diagnosis())


def test_unconditional_networks_give_no_label_signals() -> None:
    history = train_watched(generator(), discriminator()).history
    assert not {"D/label_effect", "G/label_effect", "labels/mismatch"} & set(history.columns)
    assert history.facts.probe_errors == {}


def test_batch_of_one_gives_no_label_effect() -> None:
    call = CONVENTIONS["by position"]
    G = Conditional(nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2)))
    probe = train_watched(G, Conditional(discriminator(classes=8)), call_g=call, call_d=call, batch=1, steps=60)
    assert not {"D/label_effect", "G/label_effect"} & set(probe.history.columns)
    assert not {"mode cycling", "mode collapse"} & set(finding_names(probe.diagnosis()))


def test_labels_are_compared_with_those_of_the_same_fakes() -> None:
    """The fakes of D's update are generated last, with other classes than those of G's update."""
    torch.manual_seed(0)
    G, D = Conditional(generator(classes=8)), Conditional(discriminator(classes=8))
    probe = ganvas.watch(G, D, every=1, report=None)
    real = fake = torch.zeros(0)
    for _ in range(6):
        (real, kinds), g_labels, others = toy(32), torch.randint(8, (32,)), torch.randint(8, (32,))
        fake = G(torch.randn(32, 4), g_labels)
        D(fake, g_labels)
        D(G(torch.randn(32, 4), others).detach(), others)
        D(real, kinds)
        probe.step(real=real, fake=fake)
    assert probe.history["labels/mismatch"].value.tolist() == [0] * 5
    probe.step(real=real, fake=fake + 0)
    assert len(probe.history["labels/mismatch"]) == 5, "D's labels of these fakes are unknown"


SHAPES: dict[str, Callable[[Tensor], Any]] = {
    "[n, 1]": lambda out: out,
    "[n]": lambda out: out.squeeze(1),
    "tuple": lambda out: (out, out.detach() * 0),
    "patches": lambda out: out[:, :, None, None].expand(-1, -1, 3, 3),
}


class Shaped(nn.Module):
    """A D with another shape of output."""

    def __init__(self, network: nn.Module, shape: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, x: Tensor) -> Any:
        return self.shape(self.network(x))


def call_first_output(D: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    out = D(images)
    return (out if isinstance(out, Tensor) else out[0]).flatten(1 if out[0].dim() else 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_of_every_shape_give_the_same_signals(shape: str) -> None:
    torch.manual_seed(2)
    plain = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    D = Shaped(plain, SHAPES[shape])
    G = generator()
    real, fake = toy(64)[0], G(torch.randn(64, 4))
    probe = ganvas.watch(G, D, every=1, report=None)
    for _ in range(2):
        for images in (fake, real):
            D(images)
        probe.step(real=real, fake=fake)
    expected = plain(real).mean().detach()
    assert probe.history["D/real"].last == pytest.approx(float(expected), rel=1e-5)
    assert probe.history.facts.probe_errors == {}
    gradient_norm = torch.autograd.grad(plain(fake).sum(), fake)[0].norm(dim=1).mean()
    assert probe.history["D/input_gradient"].last == pytest.approx(float(gradient_norm), rel=1e-4)


def test_probabilities_are_read_as_logits() -> None:
    torch.manual_seed(3)
    plain = nn.Linear(2, 1)
    D = nn.Sequential(plain, nn.Sigmoid())
    real, fake = toy(64)[0], toy(64, seed=1)[0] + 2
    probe = ganvas.watch(generator(), D, every=1, report=None)
    for _ in range(2):
        for images in (real, fake):
            D(images)
        probe.step(real=real, fake=fake)
    expected = [float(plain(images).mean().detach()) for images in (real, fake)]
    assert [probe.history[name].last for name in ("D/real", "D/fake")] == pytest.approx(expected, rel=1e-3)
    assert probe.history["D/input_gradient"].last == pytest.approx(float(plain.weight.detach().norm()), rel=1e-2)


@pytest.mark.parametrize("together", [True, False])
def test_real_and_fake_in_one_batch_are_separated(together: bool) -> None:
    torch.manual_seed(4)
    G, norm = generator(classes=8), nn.BatchNorm1d(16)
    D = Conditional(nn.Sequential(nn.Linear(10, 16), norm, nn.ReLU(), nn.Linear(16, 1)))
    probe = ganvas.watch(G, D, every=1, report=None)
    for seed in range(6):
        real, kinds = toy(32, seed=seed)
        g_labels = torch.randint(8, (32,))
        fake = G(torch.cat([torch.randn(32, 4), one_hot(g_labels, 8)], 1)) + 3
        if together:
            D(torch.cat([real, fake]), torch.cat([kinds, g_labels]))
        else:
            for images, labels in ((real, kinds), (fake, g_labels)):
                D(images, labels)
        probe.step(real=real, fake=fake)
    assert probe.history["D/mixed_batch"].last == together
    assert probe.history["D/batch_effect"].last > 0.3
    assert ("batch-norm leak" in finding_names(probe.diagnosis())) == together
    with torch.no_grad():
        expected = [float(D(x, k).mean()) for x, k in ((real, kinds), (fake, g_labels))]
    assert [probe.history[name].last for name in ("D/real", "D/fake")] == pytest.approx(expected, abs=1e-5)


# Failing probes and bad input


class Picky(nn.Module):
    """A D that refuses images it was not trained on: held-out ones are brighter than 50 here."""

    def __init__(self) -> None:
        super().__init__()
        self.network = discriminator()

    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 50:
            raise RuntimeError("no such image")
        return self.network(x)


def test_failing_probe_is_reported_and_the_other_probes_continue() -> None:
    messages: list[str] = []
    probe = train_watched(generator(), Picky(), data=toy()[0], held_out=toy(50)[0] + 99, report=messages.append)
    assert probe.history.facts.probe_errors == {"held-out images": "RuntimeError: no such image"}
    assert "D/held_auc" not in probe.history
    for name in ("distance", "D/update", "G/gradient", "D/loss", "real/high", "D/auc", "D/input_gradient"):
        assert len(probe.history[name]) >= 9, name
    said = " ".join(str(probe.diagnosis()).split())
    assert "the held-out images could not be measured: RuntimeError: no such image" in said


def test_d_whose_calls_are_not_seen_is_called_on_the_images_alone() -> None:
    """As in a round that is compiled as a whole; a D that needs labels too cannot be measured then."""
    alone = ganvas.watch(generator(), D := discriminator().eval(), every=1, report=None)
    labelled = ganvas.watch(generator(), Conditional(discriminator(classes=8)), every=1, report=None)
    real, fake = toy(32)[0], toy(32, seed=1)[0]
    for probe in (alone, labelled):
        for _ in range(3):
            probe.step(real=real, fake=fake)
        assert len(probe.history["D/update"]) == 2
    assert alone.history["D/real"].last == pytest.approx(float(D(real).mean().detach()), abs=1e-6)
    assert "TypeError" in labelled.history.facts.probe_errors["outputs"]


def test_failing_probe_does_not_change_the_training() -> None:
    torch.manual_seed(5)
    G, D = generator(), Picky()
    alone = copy.deepcopy(G), copy.deepcopy(D)
    train_watched(G, D, data=toy()[0], held_out=toy(50)[0] + 99)
    train_on_ring(*alone, watching=False)
    for one, other in zip(alone, (G, D), strict=True):
        for value, now in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(value, now)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"every": 0}, "every is 0"),
        ({"every": -3}, "every is -3"),
        ({"data": toy(9)[0], "labels": toy(8)[1]}, "9 images in `data` and 8 labels"),
        ({"labels": toy(8)[1]}, "labels without images"),
        ({"data": toy(9)[0], "labels": one_hot(toy(9)[1], 8)}, r"`labels` are \(9, 8\)"),
    ],
    ids=["none", "negative", "too few labels", "no images", "one-hot"],
)
def test_bad_arguments_are_refused_at_once(arguments: dict[str, Any], what: str) -> None:
    G, D = generator(), discriminator()
    with pytest.raises(GanvasError, match=what):
        ganvas.watch(G, D, report=None, **arguments)
    assert not G._forward_hooks


def test_reals_and_fakes_of_different_sizes_are_refused() -> None:
    probe = ganvas.watch(generator(), discriminator(), report=None)
    with pytest.raises(GanvasError, match=r"\(1, 28, 28\) and fakes \(784,\)"):
        probe.step(real=torch.zeros(4, 1, 28, 28), fake=torch.zeros(4, 784))


def test_reals_and_fakes_on_different_devices_are_refused() -> None:
    probe = ganvas.watch(generator(), discriminator(), report=None)
    with pytest.raises(GanvasError, match="`real` is on meta and `fake` on cpu"):
        probe.step(real=torch.zeros(4, 2, device="meta"), fake=torch.zeros(4, 2))
    assert find_problems("DG", {"D": [], "G": []}, torch.zeros(4, 2), [torch.zeros(4, 2, device="meta")]) == ({}, ())


# Intervals and data


@pytest.mark.parametrize(("every", "at"), [(1, list(range(2, 21))), (2, list(range(2, 21, 2))), (7, [2, 9, 16])])
def test_probes_run_at_the_given_interval(every: int, at: list[int]) -> None:
    probe = train_watched(generator(), discriminator(), every=every)
    assert probe.history["D/update"].at.tolist() == at
    assert probe.seconds > 0


def test_default_interval_probes_early_and_then_rarely() -> None:
    probe = train_watched(generator(), discriminator(), every=None, steps=40)
    assert probe.history["D/update"].at.tolist()[:2] == [2, 9]
    assert len(probe.history["D/update"]) < 20


def test_losses_between_probes_are_recorded() -> None:
    probe = ganvas.watch(generator(), discriminator(), every=10, report=None)
    for i in range(1, 24):
        probe.step(
            real=toy(32)[0], fake=toy(32)[0], d_loss=torch.tensor(float(i)), g_loss=float("nan") if i == 5 else i
        )
    probe.close()
    loss = probe.history["D/loss"]
    assert (loss.at[1:] > loss.at[:-1]).all()
    assert loss.at[-1] == 23
    assert loss.value.max() == pytest.approx(22, abs=2)
    assert probe.history["G/loss/bad"].value.tolist() == [0, 1, 0, 0]
    assert finding_names(probe.diagnosis())[0] == "non-finite"


def test_negative_losses_identify_a_critic() -> None:
    probe = ganvas.watch(generator(), discriminator(), every=1, report=None)
    for _ in range(3):
        probe.step(real=toy(32)[0], fake=toy(32)[0], d_loss=-3.0)
    assert probe.history.facts.critic is True
    sure = ganvas.watch(generator(), discriminator(), every=1, report=None, critic=False)
    for _ in range(3):
        sure.step(real=toy(32)[0], fake=toy(32)[0], d_loss=-3.0)
    assert sure.history.facts.critic is False


@pytest.mark.parametrize("data", [True, False], ids=["given", "collected"])
def test_points_without_image_shape_are_compared(data: bool) -> None:
    points, labels = toy()
    of = {"data": points, "labels": labels, "held_out": toy(100, seed=1)[0]} if data else {}
    probe = train_watched(generator(), discriminator(), steps=30, **of)
    history = probe.history
    assert history.facts.probe_errors == {}
    assert history["real/high"].last == pytest.approx(1.1, abs=0.1)
    assert 0 < history["distance"].last < 3
    assert "checkerboard" not in history
    assert ("nearest_real" in history) == data
    assert history["classes/labelled"].last == data
    assert history.facts.shown == 30 * 32


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_float_types_are_accepted(dtype: torch.dtype) -> None:
    G = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)).to(dtype)
    D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)).to(dtype)
    probe = train_watched(G, D, dtype=dtype, data=toy()[0], held_out=toy(50, seed=1)[0])
    assert probe.history.facts.probe_errors == {}
    assert {"D/auc", "distance", "nearest_real", "D/input_gradient", "real/high"} <= set(probe.history.columns)
    assert probe.diagnosis().healthy


def test_data_of_other_types_are_converted() -> None:
    points, labels = toy()
    probe = train_watched(generator(), discriminator(), data=points.double(), labels=labels.int())
    assert probe.history.facts.probe_errors == {}
    assert probe.history["classes"].last == 8


def test_missing_gradients_give_no_gradient_signal() -> None:
    probe = ganvas.watch(generator(), discriminator(), every=1, report=None)
    for _ in range(3):
        probe.step(real=toy(32)[0], fake=toy(32)[0])
    assert "D/gradient" not in probe.history


def test_networks_in_eval_mode_give_an_empty_diagnosis() -> None:
    with ganvas.watch(generator().eval(), discriminator().eval(), report=None) as probe:
        pass
    assert finding_names(probe.diagnosis()) == []


@pytest.mark.parametrize(
    ("argument", "value"), [("every", 0), ("every", 1.5), ("every", "2"), ("report", "print"), ("logits", [1])]
)
def test_watch_names_an_argument_of_another_kind(argument: str, value: object) -> None:
    with pytest.raises(GanvasError, match=f"{argument} is"):
        ganvas.watch(nn.Linear(2, 2), nn.Linear(2, 1), **{argument: value})  # type: ignore[arg-type]
