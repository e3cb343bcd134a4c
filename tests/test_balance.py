"""Which network is updated, measured by its weights instead of the log."""

import itertools
from itertools import pairwise
from typing import Any

import pytest
import torch
from support import tiny

from ganvas.config import BalanceConfig, replace
from ganvas.game.balance import UpdatePolicy
from ganvas.networks import Shape
from ganvas.runs.log import read_jsonl
from ganvas.training.start import train
from ganvas.training.state import TrainState

SHAPE = Shape(1, 8, 8)


def build_state(**knobs: Any) -> TrainState:
    return TrainState.build(replace(tiny(), **knobs), SHAPE, torch.device("cpu"))


def one_round(state: TrainState, i: int) -> tuple[bool, bool]:
    """Whether D's weights, and G's, changed in a round."""
    before = [[p.clone() for p in network.parameters()] for network in (state.game.D, state.game.G)]
    steps = state.config.balance.d_steps
    draw = torch.Generator().manual_seed(i)
    images = torch.randint(0, 256, (steps, 20, 1, 8, 8), dtype=torch.uint8, generator=draw)
    state.train_round([(own, None) for own in images], i * state.config.images_per_round)
    d, g = (
        any(not torch.equal(a, b) for a, b in zip(old, network.parameters(), strict=True))
        for old, network in zip(before, (state.game.D, state.game.G), strict=True)
    )
    return d, g


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop"])
def test_five_updates_of_d_to_two_of_g(optimiser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = build_state(d_steps=5, g_steps=2, optimiser=optimiser)
    steps = {"D": 0, "G": 0}
    for name, own in (("D", state.d_optimiser), ("G", state.g_optimiser)):
        step = own.step
        monkeypatch.setattr(
            own, "step", lambda name=name, step=step: (steps.__setitem__(name, steps[name] + 1), step())
        )
    for i in range(3):
        assert one_round(state, i) == (True, True)
    assert steps == {"D": 15, "G": 6}
    assert state.update_counts.tolist() == [15, 6, 0, 0]
    assert state.config.images_per_round == 100


def test_every_update_of_d_gets_its_own_images_and_latents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = build_state(d_steps=3, g_steps=2)
    drawn = []
    d_input = state.game.G.d_input
    monkeypatch.setattr(state.game.G, "d_input", lambda z, labels: (drawn.append(z), d_input(z, labels))[1])
    one_round(state, 0)
    assert len(drawn) == 4, "D's last fakes serve G's first update"
    assert len({tuple(z[0].tolist()) for z in drawn}) == 4


def test_d_skips_updates_while_its_loss_is_below_and_then_continues() -> None:
    state = build_state(skip_d_below=1.3, objective="non-saturating", r1=0.0, r2=0.0, d_lr=1e-2)
    history = []
    for i in range(60):
        updated = one_round(state, i)
        history.append((updated, state.update_policy.losses[1, 0].item()))
    assert history[0][0] == (True, True), "no loss is known yet"
    for (_, loss), ((d, g), _) in pairwise(history):
        assert g
        assert d == (loss >= 1.3)
    skipped = sum(not d for (d, _), _ in history)
    assert 0 < skipped < 59
    assert state.update_counts.tolist() == [60 - skipped, 60, skipped, 0]


@pytest.mark.parametrize("first", [0, 1])
def test_lazy_penalties_and_ada_count_the_updates_of_d_where_some_are_skipped(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = {"augment": "ada", "ada_target": 0.6, "objective": "non-saturating"}
    state = build_state(skip_d_below=0.0, penalty_every=4, r1=1.0, **ada)
    rounds = itertools.count(first)
    monkeypatch.setattr(state.update_policy, "decide", lambda: (next(rounds) % 2 == 0, True))
    weights, train_d = list[Any](), state.updates.train_d
    monkeypatch.setattr(
        state.updates,
        "train_d",
        lambda *args, **given: (weights.append(given["penalties"].r1), train_d(*args, **given))[1],
    )
    assert state.ada is not None
    adjusted = list[int]()
    monkeypatch.setattr(state.ada, "adjust", adjusted.append)
    for i in range(16):
        one_round(state, i)
    assert weights == [4.0, 0.0, 0.0, 0.0] * 2
    assert adjusted == [4 * 20] * 2
    resumed = build_state(skip_d_below=0.0, penalty_every=4, r1=1.0, **ada).update_policy
    resumed.load_state_dict(state.update_policy.state_dict())
    assert resumed.d_updates == 8
    resumed.load_state_dict({"losses": torch.zeros(2, 2)})
    assert resumed.losses.sum() == 0


def test_g_skips_updates_while_its_loss_is_below() -> None:
    state = build_state(skip_g_below=100.0)
    assert one_round(state, 0) == (True, True)
    assert one_round(state, 1) == (True, False)
    assert state.update_counts.tolist() == [2, 1, 0, 1]


def test_both_are_updated_where_both_would_skip() -> None:
    state = build_state(skip_g_below=100.0, skip_d_below=100.0)
    assert [one_round(state, i) for i in range(3)] == [(True, True)] * 3


def test_loss_change_updates_the_faster_one() -> None:
    policy = UpdatePolicy(BalanceConfig(loss_change=2.0))
    assert policy.decide() == (True, True)
    policy.record_losses(torch.tensor(1.0), torch.tensor(-1.0))
    assert policy.decide() == (True, True), "no change is known after one loss"
    policy.record_losses(torch.tensor(1.5), torch.tensor(-1.2))  # 0.5 against 2 · 0.2
    assert policy.decide() == (True, False)
    policy.record_losses(torch.tensor(1.6), torch.tensor(-1.0))  # 0.067 against 2 · 0.167
    assert policy.decide() == (False, True)


def test_loss_change_updates_one_network_a_round() -> None:
    state = build_state(loss_change=1.0)
    updated = [one_round(state, i) for i in range(30)]
    assert updated[:2] == [(True, True)] * 2
    assert all(d != g for d, g in updated[2:])
    assert {d for d, _ in updated[2:]} == {True, False}


def test_decisions_are_counted_and_written_with_their_evidence() -> None:
    run = train(replace(tiny(kimg=0.4), skip_g_below=0.8), quiet=True)
    ticks = list(read_jsonl(run.path / "stats.jsonl"))
    assert sum(line["D/updates"] for line in ticks) == 20
    assert sum(line["G/updates"] + line["G/skipped"] for line in ticks) == 20
    skipped = sum(line["G/skipped"] for line in ticks)
    assert skipped > 0
    events = [event for event in read_jsonl(run.path / "events.jsonl") if event["event"] == "balance"]
    assert sum(event["G/skipped"] for event in events) == skipped
    assert all(event["skip_g_below"] == 0.8 and event["since"] < event["nimg"] for event in events)


def test_clipping_bounds_every_weight_of_the_critic_only() -> None:
    state = build_state(objective="wasserstein", clip=0.01, r1=0.0, r2=0.0, optimiser="rmsprop")
    one_round(state, 0)
    assert max(p.abs().max().item() for p in state.game.D.parameters()) == pytest.approx(0.01)
    assert max(p.abs().max().item() for p in state.game.G.parameters()) > 0.1


def test_spectral_norm_is_the_largest_singular_value() -> None:
    state = build_state(spectral_norm=True, r1=0.0, r2=0.0)
    for i in range(30):
        one_round(state, i)
    hidden = state.game.D.get_submodule("hidden.0").eval()
    assert isinstance(hidden, torch.nn.Linear)
    assert torch.linalg.svdvals(hidden.weight)[0].item() == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("knobs", [{}, {"objective": "wasserstein", "gp": 10.0}], ids=["r1-r2", "gp"])
@pytest.mark.parametrize("shared", [True, False])
def test_microbatches_give_the_gradients_of_the_whole_batch(knobs: dict[str, Any], shared: bool) -> None:
    gradients = []
    for microbatch in (None, 7):
        state = build_state(**knobs, microbatch=microbatch, shared_fakes=shared)
        kept: dict[str, list[torch.Tensor]] = {}

        def keep(optimiser: Any, network: Any, lr: float, beta2: float, kept: Any = kept, state: Any = state) -> Any:
            kept["D" if network is state.game.D else "G"] = [p.grad.clone() for p in network.parameters()]
            optimiser.zero_grad()
            return torch.tensor(0.0)

        state._step = keep  # type: ignore[method-assign]
        one_round(state, 0)
        gradients.append(kept)
    whole, parts = gradients
    for name in ("G",) if "gp" in knobs else ("D", "G"):  # the points between real and fake are drawn part by part
        for a, b in zip(whole[name], parts[name], strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), name
