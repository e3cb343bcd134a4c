"""How a loop connects losses, gradients and optimisers: what each backward pass reached, and what each step applied.

In a round that is probed, hooks on the weights number the backward passes that reach each network, and those of all
optimisers say whose weights a step changes. From both follows which losses a step has followed: exactly, whatever the
losses are.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from ganvas.diagnosis.loops.calls import CallHook
from ganvas.diagnosis.signals.networks import gradient_norm

EARLIER = -1
"""The number of all backward passes before the round."""


def backward_pass() -> int:
    """The number of the backward pass that is running."""
    return torch._C._current_graph_task_id()


@dataclass(frozen=True)
class Step:
    """A step of an optimiser.

    Attributes:
        optimiser: its id.
        passes: {network of which it has weights: the backward passes whose gradients it applied to it}.
    """

    optimiser: int
    passes: Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Round:
    """What was seen of a round.

    Attributes:
        steps: in their order.
        reached: {network: the backward passes that reached its weights}.
        counted: {network: its steps in all rounds since the last probe}.
        stepped_before: the networks that were stepped in the round before.
        unseen: the networks whose optimiser applied gradients that no hook saw, as those of weights in shards, or that
            were assigned, as those of `torch.autograd.grad`.
        weights: {network: the ids of its weights that a backward pass reached}.
        gradients: {network: the norm of what its last step applied}: afterwards it may be zeroed.
    """

    steps: list[Step] = field(default_factory=list)
    reached: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    counted: dict[str, int] = field(default_factory=lambda: {"D": 0, "G": 0})
    stepped_before: frozenset[str] = frozenset()
    unseen: set[str] = field(default_factory=set)
    weights: dict[str, set[int]] = field(default_factory=dict)
    gradients: dict[str, float] = field(default_factory=dict)

    def of_losses(self) -> tuple[set[int], set[int]]:
        """The backward passes of D's loss and those of G's: by the steps that applied them, or else by their reach."""
        of_d, of_g = (set().union(*self.applied(name)) for name in ("D", "G"))
        if of_g - of_d:
            return of_d, of_g - of_d
        return self.reached["D"] - self.reached["G"] or set(self.reached["D"]), set(self.reached["G"])

    def signals(self, of_g: Collection[int] = (), of_both: Collection[int] = ()) -> dict[str, float]:
        """What the steps applied, as counts.

        Args:
            of_g: the backward passes of G's adversarial loss.
            of_both: those of the sum of both losses.

        Returns:
            wiring/optimisers: optimisers that were stepped.
            wiring/shared: those of them that hold weights of both networks, and move D by G's loss, or leave one of
                the networks without an optimiser of its own; where G was stepped.
            wiring/D/both: steps of D that follow the sum of both losses.
            wiring/G/steps, wiring/D/steps: steps of each network, in all rounds since the last probe.
            wiring/G/passes: backward passes of the round that G's steps applied, where it was stepped in it.
            wiring/G/old, wiring/D/old: steps that also applied gradients from before the network's last step.
            wiring/G/mixed, wiring/D/mixed: steps that also applied gradients of the other network's loss.
        """
        if not self.steps:
            return {}
        held = {step.optimiser: set(step.passes) for step in self.steps}
        moves_d = {step.optimiser for step in self.steps if len(step.passes) == 2 and step.passes["D"] & {*of_g}}
        values = optimiser_signals(held.values())
        values["wiring/shared"] = max(values["wiring/shared"], float(len(moves_d)))
        apart = values["wiring/shared"] == 0 and values["wiring/optimisers"] > 1
        if not self.applied("G"):
            del values["wiring/shared"]
        elif "G" not in self.unseen:
            values["wiring/G/passes"] = len(set[int]().union(*self.applied("G")) - {EARLIER})
        if self.applied("D") and "D" not in self.unseen:
            values["wiring/D/both"] = sum(bool(passes & {*of_both}) for passes in self.applied("D"))
        for name, other in (("D", "G"), ("G", "D")):
            steps, others = self.applied(name), set[int]().union(*self.applied(other)) - {EARLIER}
            old = sum(bool(passes & {EARLIER, *set().union(*steps[:i])}) for i, passes in enumerate(steps))
            mixed = sum(bool(passes & others) and bool(passes - others - {EARLIER}) for passes in steps)
            values[f"wiring/{name}/steps"] = self.counted[name]
            if name not in self.unseen and steps:
                values[f"wiring/{name}/old"] = old if name in self.stepped_before else 0
                values[f"wiring/{name}/mixed"] = mixed if apart else 0
        return {name: float(value) for name, value in values.items()}

    def own_losses(self, of_g: Collection[int]) -> dict[str, float]:
        """wiring/D/losses, wiring/G/losses: the backward passes of the round that carry a network's own loss.

        D's loss may reach G too, where fakes are not detached.

        Args:
            of_g: the backward passes of G's adversarial loss.
        """
        of_d = self.reached["D"] - self.reached["G"]
        others = set[int]().union(*self.applied("D")) - {*of_g}
        return {"wiring/D/losses": float(len(of_d)), "wiring/G/losses": float(len(self.reached["G"] - others))}

    def applied(self, name: str) -> list[frozenset[int]]:
        """The passes that each step of a network applied to it."""
        return [step.passes[name] for step in self.steps if name in step.passes]

    def most_steps(self, name: str) -> int:
        """The most steps of any one optimiser of a network: several may each move weights of their own."""
        return max(Counter(step.optimiser for step in self.steps if name in step.passes).values(), default=1)


def optimiser_signals(held: Collection[Collection[str]]) -> dict[str, float]:
    """wiring/optimisers and wiring/shared, from the networks of which each optimiser has weights.

    One that holds both beside one for each of them may be right: that of InfoGAN's codes is.
    """
    own = {name for networks in held if len(networks) == 1 for name in networks}
    shared = sum(len(networks) == 2 for networks in held) if len(held) > 1 and len(own) < 2 else 0
    return {"wiring/optimisers": float(len(held)), "wiring/shared": float(shared)}


@dataclass
class Stepping:
    """In which rounds a network is stepped.

    Attributes:
        last: the number of the last such round; 0 before the first.
        period: the rounds between the last two.
    """

    last: int = 0
    period: int = 1

    def next(self, now: int) -> int:
        """The first round after `now` in which it will be stepped, as far as can be known."""
        return now + 1 if not self.last else now + 1 + (self.last - now - 1) % self.period


class Stored:
    """The backward passes that reached a network in a round, and what they left in its weights.

    Attributes:
        counts: (number of the pass, values other than zero in a weight's gradient before it), as they arrived; None
            where there was no gradient.
    """

    def __init__(self) -> None:
        self.counts: list[tuple[int, Tensor | None]] = []
        self._added = set[int]()
        self._at: dict[int, tuple[Tensor, int | None]] = {}

    def reach(self, weight: Tensor) -> int:
        """A pass computes the gradient of a weight."""
        number, gradient = backward_pass(), weight.grad
        count = None if gradient is None else gradient.count_nonzero()  # read at the step: no wait here
        self.counts.append((number, count))
        self._at.setdefault(id(weight), (weight, None))
        return number

    def add(self, weight: Tensor) -> None:
        """A pass has added its gradient to that of a weight: `torch.autograd.grad` adds none."""
        self._added.add(backward_pass())
        if weight.grad is not None:
            self._at[id(weight)] = weight, weight.grad.data_ptr()

    @property
    def weights(self) -> set[int]:
        """The ids of the weights that were reached."""
        return set(self._at)

    @property
    def assigned(self) -> bool:
        """Whether the weights hold other gradients than those that were added to theirs."""
        of = ((weight.grad, known) for weight, known in self._at.values())
        return any(gradient is not None and gradient.data_ptr() != known for gradient, known in of)

    def passes(self) -> frozenset[int]:
        """The passes whose gradients are in the weights: those since all of them were empty."""
        if self.assigned:
            return frozenset(number for number, _ in self.counts)
        if all(weight.grad is None for weight, _ in self._at.values()):  # zeroed since
            return frozenset()
        counts: dict[int, list[Tensor]] = {}
        for number, count in self.counts:
            if number in self._added:
                counts.setdefault(number, []).extend([] if count is None else [count])
        passes = {EARLIER} if counts else set[int]()
        for number, stored in counts.items():
            if not stored or not bool(torch.stack(stored).any()):
                passes = set()
            passes.add(number)
        return frozenset(passes)


class WiringMonitor:
    """Observes the rounds of a loop; its hooks read and never change what passes through them.

    Args:
        networks: {"D": D, "G": G}.

    Attributes:
        stepping: {network: the rounds in which it is stepped}.
        steps: {network: its steps so far}.
        trains: whether any optimiser has been stepped, also one of other networks.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self.stepping = {name: Stepping() for name in networks}
        self.trains, self.steps = False, Counter[str]()
        self._networks, self._rounds = networks, 1
        self._held: WeakKeyDictionary[torch.optim.Optimizer, tuple[int, frozenset[str]]] = WeakKeyDictionary()
        self._seen: Round | None = None
        self._stored: dict[str, Stored] = {}
        self._stepped, self._stepped_before = frozenset[str](), frozenset[str]()
        self._counted = {"D": 0, "G": 0}
        self._hooks: list[RemovableHandle] = []
        before_step = WeakMethod(self.before_step)
        self._steps = register_optimizer_step_pre_hook(CallHook(lambda *of: (own := before_step()) and own(*of)))

    def begin(self) -> None:
        """Observes the round that begins now."""
        self.end()
        self._seen = Round(counted=self._counted, stepped_before=self._stepped_before)
        self._counted, self._stored = {"D": 0, "G": 0}, {name: Stored() for name in self._networks}
        for name, network in self._networks.items():
            for weight in network.parameters():
                if weight.is_leaf and weight.is_floating_point():
                    self._hooks += _hooks(weight, *self._receivers(name, weight))

    def end(self) -> Round | None:
        """What was seen since `begin`; None if nothing was begun."""
        for hook in self._hooks:
            hook.remove()
        seen, self._seen, self._hooks = self._seen, None, []
        if seen is not None:
            for name, steps in self._counted.items():
                seen.counted[name] += steps
            seen.weights.update((name, stored.weights) for name, stored in self._stored.items())
            self._counted = {"D": 0, "G": 0}
        return seen

    def end_round(self) -> None:
        """The next step belongs to another round."""
        for name in self._stepped:
            of = self.stepping[name]
            self.stepping[name] = Stepping(self._rounds, self._rounds - of.last if of.last else 1)
        self._rounds += 1
        self._stepped_before, self._stepped = self._stepped, frozenset()

    def close(self) -> None:
        """Removes all hooks."""
        self.end()
        self._steps.remove()

    def _receivers(self, name: str, weight: Tensor) -> tuple[CallHook, CallHook]:
        def reach(_: Tensor) -> None:
            if self._seen is not None:
                self._seen.reached[name].add(self._stored[name].reach(weight))

        def add(_: Tensor) -> None:
            if self._seen is not None:
                self._stored[name].add(weight)

        return CallHook(reach), CallHook(add)

    def before_step(self, optimiser: Any, *_: Any) -> None:
        """An optimiser, or something with `param_groups` like one, applies gradients now."""
        with suppress(Exception):  # it must not end the training
            self.trains = True
            held = self._held_by(optimiser)
            self._stepped |= held
            for name in held:
                self._counted[name] += 1
                self.steps[name] += 1
            if self._seen is not None and held:
                for name in held:
                    stored = self._stored[name]
                    if stored.assigned or (not stored.counts and self._has_gradient(name)):
                        self._seen.unseen.add(name)
                passes = {name: self._stored[name].passes() for name in held}
                self._seen.steps.append(Step(id(optimiser), passes))
                norms = {name: gradient_norm(self._networks[name]) for name in held}
                self._seen.gradients.update((name, norm) for name, norm in norms.items() if norm is not None)

    def _held_by(self, optimiser: torch.optim.Optimizer) -> frozenset[str]:
        """The networks of which an optimiser has weights; looked up again where its groups have grown."""
        size = sum(len(group["params"]) for group in optimiser.param_groups)
        known = self._held.get(optimiser)
        if known is None or known[0] != size:
            owner = {id(weight): name for name, network in self._networks.items() for weight in network.parameters()}
            weights = (weight for group in optimiser.param_groups for weight in group["params"])
            held = frozenset(owner[id(weight)] for weight in weights if id(weight) in owner)
            known = self._held[optimiser] = size, held
        return known[1]

    def _has_gradient(self, name: str) -> bool:
        """Whether a network's weights hold a gradient other than zero; waits for the device."""
        gradients = (weight.grad for weight in self._networks[name].parameters())
        return any(bool(gradient.any()) for gradient in gradients if gradient is not None)


def _hooks(weight: Tensor, reach: CallHook, add: CallHook) -> list[RemovableHandle]:
    """Hooks on the gradients of a weight, and on their addition, also where they are not needed just now."""
    needed = weight.requires_grad
    weight.requires_grad_(True)
    try:
        return [weight.register_hook(reach), weight.register_post_accumulate_grad_hook(add)]
    finally:
        weight.requires_grad_(needed)
