"""PyTorch's optimisers without their wrappers: the same numbers, bit for bit."""

import pytest
import torch
from torch import nn, optim

from ganvas import optimisers


def trained(optimiser: type[optim.Optimizer], **knobs: object) -> tuple[list[torch.Tensor], dict]:
    """Weights and state after three steps, a state dict put back in between."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    stepper = optimiser(network.parameters(), lr=0.01, **knobs)  # type: ignore[call-arg]
    for _ in range(3):
        network(torch.randn(5, 4)).square().mean().backward()
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        assert all(weight.grad is None for weight in network.parameters())
        stepper.load_state_dict(stepper.state_dict())
    return [weight.detach() for weight in network.parameters()], stepper.state_dict()


@pytest.mark.parametrize(("name", "knobs"), [("Adam", {"fused": True}), ("Adam", {}), ("RMSprop", {"foreach": True})])
def test_optimiser_equals_that_of_pytorch(name: str, knobs: dict[str, object]) -> None:
    ours, own = trained(getattr(optimisers, name), **knobs)
    theirs, its = trained(getattr(optim, name), **knobs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert own["param_groups"] == its["param_groups"]
    for entry, other in zip(own["state"].values(), its["state"].values(), strict=True):
        assert all(torch.equal(entry[key], other[key]) for key in other)
