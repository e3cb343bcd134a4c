"""`watch` given the wrong networks, images or arguments: it says so, and nothing of it reaches the loop."""

import copy
from typing import Any

import pytest
import torch
from test_watch_loops import words
from torch import Tensor, nn
from torch.nn.functional import softplus
from watched_loops import LOOPS, Loop, N, discriminator, generator, points, run

import ganvas
from ganvas.diagnosis.loops import probe as probe_module


def train(probe: Any, G: nn.Module, D: nn.Module, steps: int = 12, each: int = 1, **given: Any) -> ganvas.Probe:
    """A right loop, which steps G in each `each`th round; `given` are functions: (real, fake, step) -> an argument."""
    d_adam, g_adam = (torch.optim.Adam(of.parameters(), 1e-3) for of in (D, G))
    for i in range(steps):
        real, fake = points(), G(torch.randn(N, 4))
        d_adam.zero_grad()
        d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
        d_loss.backward()
        d_adam.step()
        if i % each == each - 1:
            g_adam.zero_grad()
            softplus(-D(fake)).mean().backward()
            g_adam.step()
        told = {"real": real, "fake": fake, "d_loss": d_loss} | {k: of(real, fake, i) for k, of in given.items()}
        probe.step(**told)
    probe.close()
    return probe


def watch(G: Any, D: Any, **given: Any) -> ganvas.Probe:
    return ganvas.watch(G, D, **{"every": 2, "report": None, **given})


def headline(probe: ganvas.Probe) -> str:
    return " ".join(str(probe.diagnosis()).split("Could not be checked")[0].split())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "word": ({"every": "a"}, "every is 'a'"),
    "fraction": ({"every": 2.5}, "every is 2.5"),
    "critic": ({"critic": "yes"}, "critic is 'yes'"),
    "logits": ({"logits": "score"}, "logits is 'score'"),
    "list": ({"data": [torch.zeros(2)]}, r"torch.stack\("),
    "loader": ({"data": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(2)))}, r"torch.stack\("),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_argument_is_named_at_the_call(case: str) -> None:
    given, message = BAD[case]
    with pytest.raises(ganvas.GanvasError, match=message):
        watch(generator(), discriminator(), **given)


def test_one_network_twice_is_refused() -> None:
    G, D = generator(), discriminator()
    for given in ((G, G), (G, [D, D]), (D, {"a": D})):
        with pytest.raises(ganvas.GanvasError, match="given twice"):
            watch(*given)


def test_a_scripted_network_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="jit"):
        D = torch.jit.script(nn.Linear(2, 1))
    with pytest.raises(ganvas.GanvasError, match="D is a RecursiveScriptModule"):
        watch(generator(), D)


@pytest.mark.parametrize("scale", [128.0, 0.5])
def test_data_in_another_range_are_refused_in_the_first_step(scale: float) -> None:
    data = points(500) * scale + scale
    with pytest.raises(ganvas.GanvasError, match="`data` lies in"):
        train(watch(G := generator(), D := discriminator(), data=data), G, D, 1)


def test_swapped_networks_are_told() -> None:
    G, D = generator(), discriminator()
    probe = train(watch(D, G), G, D)
    assert "are G and D swapped in ganvas.watch(G, D)?" in headline(probe)
    assert probe.diagnosis().failures == ()


def test_copies_are_told_and_not_called_frozen() -> None:
    G, D = generator(), discriminator()
    probe = train(watch(copy.deepcopy(G), copy.deepcopy(D)), G, D, 100)
    assert "G and D are not called by your loop" in headline(probe)
    assert probe.diagnosis().failures == ()
    average = train(watch(copy.deepcopy(G), D), G, D, 40)
    assert "G is not called by your loop" in headline(average)


def test_reals_and_fakes_in_each_others_place_are_told() -> None:
    G, D = generator(), discriminator()
    probe = train(watch(G, D), G, D, real=lambda real, fake, i: fake, fake=lambda real, fake, i: real)
    assert "are real= and fake= swapped" in headline(probe)


@pytest.mark.parametrize("logits", [lambda out: out.mean(), lambda out: out["x"]], ids=["one number", "an error"])
def test_a_training_whose_outputs_are_not_measured_is_not_called_healthy(logits: Any) -> None:
    G, D = generator(), discriminator()
    probe = train(watch(G, D, logits=logits), G, D, 100)
    assert headline(probe).startswith("Nothing wrong was found, but the outputs could not be measured")


def test_images_in_half_precision_are_taken() -> None:
    G, D = generator(), discriminator()
    half: dict[str, Any] = {
        "real": lambda real, fake, i: real.half(),
        "fake": lambda real, fake, i: fake.detach().half(),
    }
    assert train(watch(G, D), G, D, **half).history.facts.probe_errors == {}


LATE: dict[str, dict[str, Any]] = {
    "none": {"fake": lambda real, fake, i: fake if i < 5 else None},
    "dict": {"d_loss": lambda real, fake, i: 0.5 if i < 5 else {"a": 1}},
    "word": {"g_loss": lambda real, fake, i: 0.5 if i < 5 else "n/a"},
    "sizes": {"fake": lambda real, fake, i: fake if i < 5 else torch.zeros(N, 3)},
}


@pytest.mark.parametrize("case", LATE)
def test_nothing_is_raised_after_the_first_step(case: str) -> None:
    G, D = generator(), discriminator()
    assert "step 6: " in words(train(watch(G, D), G, D, **LATE[case]))


class Grown(nn.Module):
    """A D for images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


@pytest.mark.parametrize("data", [None, torch.randn(300, 1, 8, 8)], ids=["", "data"])
def test_networks_that_grow(data: Tensor | None) -> None:
    G, D = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8))), Grown()
    probe = watch(G, D, data=data)
    for i in range(40):
        size = 8 if i < 20 else 4
        real, fake = (
            nn.functional.adaptive_avg_pool2d(x, size) for x in (torch.randn(N, 1, 8, 8), G(torch.randn(N, 4)))
        )
        D(real)
        D(fake)
        probe.step(real=real, fake=fake)
    assert probe.history.facts.probe_errors == {}
    assert probe.history["distance"].at[0] > 20, "what is compared has one size"
    assert len(probe.history["D/auc"]) == 20


def test_an_autoencoder_as_d_is_asked_about_and_read() -> None:
    D, G = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)), generator()
    asked, told = (watch(G, D, logits=of) for of in (None, lambda out, images: -(out - images).abs().mean(1)))
    for probe in (asked, told):
        for _ in range(4):
            real, fake = points(), G(torch.randn(N, 4)).detach()
            D(real)
            D(fake)
            probe.step(real=real, fake=fake)
    assert "as an autoencoder does" in words(asked)
    assert told.history.facts.probe_errors == {}
    assert "D/auc" in told.history


@pytest.mark.parametrize("every", [None, 5, 10])
def test_a_g_that_is_stepped_in_each_fifth_round_is_seen(every: int | None) -> None:
    """Probes at even distances would always fall on rounds without it."""
    G, D = generator(), discriminator()
    probe = watch(G, D, every=every)
    g_adam = torch.optim.Adam(G.parameters(), 1e-3)
    for i in range(60):
        real, fake = points(), G(torch.randn(N, 4))
        (softplus(-D(real)).mean() + softplus(D(fake)).mean()).backward()  # it reaches G, whose gradients are zeroed
        if i % 5 == 0:
            g_adam.zero_grad()
            softplus(-D(fake.detach())).mean().backward()
            g_adam.step()
        probe.step(real=real, fake=fake)
    assert "loss not connected" in [finding.name for finding in probe.diagnosis().findings]


@pytest.mark.parametrize("name", ["sigmoid twice", "nothing is zeroed", "G's optimiser holds both", "eval left on"])
def test_short_runs_are_checked_at_the_default_interval(name: str) -> None:
    probe = run(Loop(**{**vars(LOOPS[name]), "options": {"every": None}}), 8)[2]
    assert probe is not None
    assert LOOPS[name].says in [finding.name for finding in probe.diagnosis().findings]


def test_one_round_with_inverted_labels_does_not_turn_the_reading() -> None:
    probe = run(LOOPS["noisy labels"], 150, every=5)[2]
    assert probe is not None
    assert -1 in probe.history["targets/direction"].value
    assert probe.history["D/auc"].recent() > 0.5


def test_a_d_that_cannot_be_read_is_not_called_weak() -> None:
    """Neither the images nor their gradients tell what its loss asks for."""
    D = nn.Linear(2, 1)
    probe = watch(generator(), D, every=1)
    with torch.no_grad():
        D.weight.fill_(1.0)
    for _ in range(80):
        probe.step(real=points(), fake=points() + 9)
    assert probe.history["D/auc"].recent() < 0.1
    assert "D too weak" not in [finding.name for finding in probe.diagnosis().findings]


@pytest.mark.parametrize(("value", "said"), [(1.0, "all real images are equal"), (torch.nan, "NaN or infinity")])
def test_reals_that_compare_with_nothing_are_told(value: float, said: str) -> None:
    G, D = generator(), discriminator()
    probe = train(watch(G, D, data=torch.full((600, 2), value)), G, D, real=lambda *_: torch.full((N, 2), value))
    assert said in words(probe)


def test_a_g_that_has_hardly_been_stepped_has_not_collapsed() -> None:
    G, D = nn.Linear(4, 2), discriminator()
    with torch.no_grad():
        G.weight.mul_(1e-2)
    probe = train(watch(G, D, every=5), G, D, 300, each=100)
    assert probe.history["diversity/batch"].recent() < 0.02
    assert "mode collapse" not in [finding.name for finding in probe.diagnosis().findings]


def test_after_three_errors_nothing_is_observed_and_losses_are_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe_module, "KEPT_LOSSES", 8)
    G, D = generator(), discriminator()
    probe = watch(G, D, every=1)
    monkeypatch.setattr(probe._observed, "add_batch", lambda *_: 1 / 0)
    for i in range(30):
        fake = G(torch.randn(N, 4))
        D(fake.detach())
        probe.step(real=points(), fake=fake, d_loss=torch.tensor(float(i)))
    assert "the later rounds could not be measured: ZeroDivision" in headline(probe)
    assert not D._forward_hooks
    assert not probe._observed.recording
    assert len(probe.history["D/loss"]) == 30
    for i in range(20):
        probe.step(real=points(), fake=fake, d_loss=torch.tensor(float(i)))
        assert max(map(len, probe._losses.values()), default=0) < 8
    probe.close()
