"""Training loops as people write them, on points of a ring: how they differ from the usual one, and what is wrong."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, softplus
from torch.utils.checkpoint import checkpoint

import ganvas
from ganvas import Probe

N = 48


def points(n: int = N) -> Tensor:
    """Points on a ring of eight modes, float32 [n 2]."""
    angle = torch.randint(8, (n,)) * torch.pi / 4
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


def generator() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 2))


def discriminator(inputs: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 24), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(24, 1))


def probabilities() -> nn.Sequential:
    return discriminator().append(nn.Sigmoid())


DLoss = Callable[[Tensor, Tensor], Tensor]
GLoss = Callable[[Tensor], Tensor]


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def to_be_real(fake: Tensor) -> Tensor:
    return softplus(-fake).mean()


def of_labels(loss: Callable[[Tensor, Tensor], Tensor], smoothed: float = 1.0) -> tuple[DLoss, GLoss]:
    """A cross-entropy that is given labels."""
    return (
        lambda real, fake: loss(real, torch.full_like(real, smoothed)) + loss(fake, torch.zeros_like(fake)),
        lambda fake: loss(fake, torch.ones_like(fake)),
    )


@dataclass(frozen=True)
class Loop:
    """One loop: networks, losses, the order of its lines, and what must be said of it.

    Attributes:
        says: the condition that is planted; "" in a healthy loop.
        about: the network it is about.
        order: what happens in a round, in words: "d" and "g" are backward passes, "D" and "G" steps, "0" zeroes
            both gradients, "x" only D's and "y" only G's; "s" is one pass of the sum of both losses, "a" assigns the
            gradients of each, and "i" is a step of a third optimiser, for a loss of D's features on fakes.
        d_sees, g_sees: the fakes that D's and G's losses see.
        holds: which weights the optimisers of D and G hold.
        precision: None, or the dtype of autocast; with float16 gradients are scaled.
        wrap, read: what is done to each network, and to D's output.
        options: of `watch`.
        penalty: (D, reals, fakes) -> a term of D's loss.
        freeze_d: whether D's weights need no gradient in G's update, as in pix2pix.
        accumulate: rounds in which gradients are added up before a step.
        together: whether D receives fakes and reals in one batch.
        one_optimiser: whether there is only one, which holds both networks.
    """

    says: str = ""
    about: str = ""
    d: Callable[[], nn.Module] = discriminator
    d_loss: DLoss = cross_entropy
    g_loss: GLoss = to_be_real
    order: str = "xdDygG"
    d_sees: Callable[[Tensor], Tensor] = Tensor.detach
    g_sees: Callable[[Tensor], Tensor] = lambda fake: fake
    holds: tuple[str, str] = ("D", "G")
    precision: torch.dtype | None = None
    wrap: Callable[[nn.Module], Any] = lambda network: network
    read: Callable[[Any], Tensor] = lambda output: output
    options: dict[str, Any] = field(default_factory=dict)
    eval_g: bool = False
    penalty: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    freeze_d: bool = False
    accumulate: int = 1
    together: bool = False
    one_optimiser: bool = False


def run(
    loop: Loop, steps: int = 16, *, watched: bool = True, every: int = 2
) -> tuple[nn.Module, nn.Module, Probe | None]:
    """Trains for some rounds: G, D, and the probe."""
    torch.manual_seed(0)
    G, D = generator(), loop.d()
    weights = {"G": list(G.parameters()), "D": list(D.parameters())}
    held = [[weight for name in holds for weight in weights[name]] for holds in loop.holds]
    d_adam, g_adam = (torch.optim.Adam(of, 1e-3, (0.5, 0.9)) for of in held)
    both = torch.optim.Adam([*weights["G"], *weights["D"]], 1e-3)
    d_adam, g_adam = (both, both) if loop.one_optimiser else (d_adam, g_adam)
    g, d = loop.wrap(G), loop.wrap(D)
    scaler = torch.amp.GradScaler("cpu", enabled=loop.precision == torch.float16)
    probe = ganvas.watch(g, d, **{"every": every, "report": None, **loop.options}) if watched else None
    G.train(not loop.eval_g)
    for i in range(steps):
        real, z = points(), torch.randn(N, 4)
        fake: Tensor = torch.empty(0)
        losses: dict[str, Tensor] = {}
        for action in loop.order:
            D.requires_grad_(not (loop.freeze_d and action in "gG"))
            with torch.autocast("cpu", loop.precision) if loop.precision else nullcontext():
                if action in "dsa":
                    fake = g(z)
                    if loop.together:
                        on_fake, on_real = loop.read(d(torch.cat([loop.d_sees(fake), real]))).chunk(2)
                    else:
                        on_real, on_fake = loop.read(d(real)), loop.read(d(loop.d_sees(fake)))
                    losses["d"] = loop.d_loss(on_real, on_fake)
                    if loop.penalty is not None:
                        losses["d"] = losses["d"] + loop.penalty(d, real, fake.detach())
                if action in "gsa":
                    fake = fake if action != "g" or loop.d_sees is not Tensor.detach else g(z)
                    losses["g"] = loop.g_loss(loop.read(d(loop.g_sees(fake))))
            if action == "s":
                (losses["d"] + losses["g"]).backward()
            if action == "a":
                for name in "dg":
                    of = weights[name.upper()]
                    for weight, gradient in zip(
                        of, torch.autograd.grad(losses[name], of, retain_graph=True), strict=True
                    ):
                        weight.grad = gradient
            if action == "i":
                both.zero_grad()
                d(g(z))["features"].square().mean().backward()
                both.step()
            if action in "dg":
                scaler.scale(losses[action]).backward(retain_graph=action == "d" and loop.d_sees is not Tensor.detach)
            if action in "DG" and i % loop.accumulate == loop.accumulate - 1:
                scaler.step(d_adam if action == "D" else g_adam)
            if action in "0x" and i % loop.accumulate == 0:
                D.zero_grad()
            if action in "0y" and i % loop.accumulate == 0:
                G.zero_grad()
        scaler.update()
        if probe is not None:
            probe.step(real=real, fake=fake, d_loss=losses["d"], g_loss=losses.get("g", losses["d"]))
    if probe is not None:
        probe.close()
    return G, D, probe


class Returning(nn.Module):
    """A D that returns its logits in another form."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head, self.form = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(0.2)), nn.Linear(24, 1), form

    def forward(self, x: Tensor) -> Any:
        features = self.body(x)
        return self.form(self.head(features), features)


def unconnected(fake: Tensor) -> Tensor:
    return fake.detach().requires_grad_()


def r1(D: Any, real: Tensor, fake: Tensor) -> Tensor:
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(real).sum(), real, create_graph=True)
    return 5 * slope.square().sum(1).mean()


def wgan_gp(D: Any, real: Tensor, fake: Tensor) -> Tensor:
    between = real.lerp(fake, torch.rand(N, 1)).requires_grad_()
    (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
    return 10 * (slope.norm(dim=1) - 1).square().mean()


def bounded() -> nn.Sequential:
    first, last = nn.Linear(2, 24), nn.Linear(24, 1)
    return nn.Sequential(
        nn.utils.spectral_norm(first), nn.LeakyReLU(0.2), nn.utils.parametrizations.weight_norm(last)
    )  # fmt: skip


class Checkpointed(nn.Module):
    """A D whose activations are computed again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(0.2)), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=False))


class Reverse(torch.autograd.Function):
    """The identity, whose gradient is that of the opposite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return -gradients[0]


def noisy(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(fake, real) if float(torch.rand(())) < 0.1 else cross_entropy(real, fake)


logits = of_labels(binary_cross_entropy_with_logits)
probability = of_labels(binary_cross_entropy)
smoothed = of_labels(binary_cross_entropy, 0.9)

LOOPS = {
    "usual": Loop(),
    "both zeroed at first": Loop(order="0dDygG"),
    "D twice": Loop(order="xdDxdDygG"),
    "G twice": Loop(order="xdDygGygG"),
    "steps at the end": Loop(order="0dxdDygG"),
    "least squares": Loop(
        d_loss=lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
        g_loss=lambda fake: (fake - 1).square().mean(),
    ),
    "hinge": Loop(
        d_loss=lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(), g_loss=lambda fake: -fake.mean()
    ),
    "Wasserstein": Loop(d_loss=lambda real, fake: fake.mean() - real.mean(), g_loss=lambda fake: -fake.mean()),
    "relativistic": Loop(d_loss=lambda real, fake: softplus(fake - real).mean()),
    "labels inverted": Loop(
        d_loss=lambda real, fake: cross_entropy(fake, real), g_loss=lambda fake: softplus(fake).mean()
    ),
    "probabilities": Loop(d=probabilities, d_loss=probability[0], g_loss=probability[1]),
    "smoothed labels": Loop(d=probabilities, d_loss=smoothed[0], g_loss=smoothed[1]),
    "squares of probabilities": Loop(
        d=probabilities,
        d_loss=lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
        g_loss=lambda fake: (fake - 1).square().mean(),
    ),
    "harmless missing detach": Loop(d_sees=lambda fake: fake, order="xdDygG"),
    "R1": Loop(penalty=r1),
    "WGAN-GP": Loop(
        d_loss=lambda real, fake: fake.mean() - real.mean(), g_loss=lambda fake: -fake.mean(), penalty=wgan_gp
    ),
    "D frozen for G": Loop(freeze_d=True),
    "gradients of three rounds": Loop(accumulate=3, freeze_d=True, order="xydDgG"),
    "spectral and weight norm": Loop(d=bounded),
    "checkpointed": Loop(d=Checkpointed),
    "bfloat16": Loop(precision=torch.bfloat16),
    "float16": Loop(precision=torch.float16),
    "parallel": Loop(wrap=nn.DataParallel),
    "dict": Loop(d=lambda: Returning(lambda y, f: {"features": f, "score": y}), read=lambda out: out["score"]),
    "features first": Loop(d=lambda: Returning(lambda y, f: (f, y)), read=lambda out: out[1]),
    "nested lists": Loop(
        d=lambda: Returning(lambda y, f: [[f, y], [f, 2 * y]]), read=lambda out: torch.cat([out[0][-1], out[1][-1]])
    ),
    "own logits": Loop(
        d=lambda: Returning(lambda y, f: {"a": f, "b": y.expand(-1, 3)}), read=lambda out: out["b"],
        options={"logits": lambda out: out["b"]},
    ),
    "noisy labels": Loop(d_loss=noisy),
    "one batch": Loop(together=True),
    "one batch, labels inverted": Loop(
        d_loss=lambda real, fake: cross_entropy(fake, real), g_loss=lambda fake: softplus(fake).mean(), together=True
    ),
    "assigned gradients": Loop(order="aDG"),
    "reversed gradient": Loop(d_sees=Reverse.apply, order="0dD", one_optimiser=True),
    "InfoGAN": Loop(
        d=lambda: Returning(lambda y, f: {"features": f, "score": y}), read=lambda out: out["score"], order="xdDygGi"
    ),
    "sigmoid twice": Loop("sigmoid twice", d=probabilities, d_loss=logits[0], g_loss=logits[1]),
    "sigmoid twice, bfloat16": Loop(
        "sigmoid twice", d=probabilities, d_loss=logits[0], g_loss=logits[1], precision=torch.bfloat16
    ),
    "G asks for fakes": Loop("labels swapped", g_loss=lambda fake: softplus(fake).mean()),
    "D's loss halved, G asks for fakes": Loop(
        "labels swapped", d_loss=lambda real, fake: cross_entropy(real, fake) / 2,
        g_loss=lambda fake: softplus(fake).mean(),
    ),
    "D twice, G asks for fakes": Loop("labels swapped", order="xdDxdDygG", g_loss=lambda fake: softplus(fake).mean()),
    "one batch, G asks for fakes": Loop("labels swapped", together=True, g_loss=lambda fake: softplus(fake).mean()),
    "least squares, G asks for fakes": Loop(
        "labels swapped", d_loss=lambda real, fake: (real - 1).square().mean() + fake.square().mean(),
        g_loss=lambda fake: fake.square().mean() / 2,
    ),
    "Wasserstein, G asks for fakes": Loop(
        "labels swapped", d_loss=lambda real, fake: fake.mean() - real.mean(), g_loss=lambda fake: 2 * fake.mean()
    ),
    "D asks for reals twice": Loop("labels swapped", d_loss=lambda real, fake: to_be_real(real) + to_be_real(fake)),
    "nothing is zeroed": Loop("missing zero_grad", "D", order="dDgG"),
    "D is not zeroed": Loop("missing zero_grad", "D", order="dDygG"),
    "G is not zeroed": Loop("missing zero_grad", "G", order="xdDgG"),
    "zeroed after the step": Loop("missing zero_grad", "D", order="dDxgGy"),
    "both passes, then both steps": Loop("missing zero_grad", "D", order="0dgDG"),
    "one optimiser": Loop("wrong optimiser", order="0dD0gG", one_optimiser=True),
    "both losses in one pass": Loop("losses not separated", order="0sDG"),
    "both losses in one pass, one optimiser": Loop("losses not separated", order="0sD", one_optimiser=True),
    "missing detach": Loop("missing detach", d_sees=lambda fake: fake, order="0dDgG"),
    "fakes detached for G": Loop("loss not connected", g_sees=unconnected),
    "both optimisers hold D": Loop("wrong optimiser", "G", holds=("D", "D")),
    "both optimisers hold G": Loop("wrong optimiser", "D", holds=("G", "G")),
    "G's optimiser holds both": Loop("wrong optimiser", holds=("D", "DG")),
    "eval left on": Loop("eval mode", eval_g=True),
}  # fmt: skip
