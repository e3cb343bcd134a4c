"""A training loop of one's own, watched by Ganvas; and faults that such loops can have.

    python examples/own_loop.py                       # a healthy one, on scikit-learn's digits
    python examples/own_loop.py --fault d-frozen      # one of the faults in FAULTS: what does the diagnosis say?

Nothing of Ganvas is used to train: G and D are plain modules, the optimisers PyTorch's. Two lines watch them.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

import ganvas

LATENT = 32

FAULTS = {
    "healthy": "nothing is wrong",
    "healthy-conditional": "nothing is wrong, and the classes are learned",
    "d-frozen": "D's optimiser is never stepped",
    "g-frozen": "G's optimiser is never stepped",
    "d-too-strong": "the saturating loss and plain SGD for G, and a D that has learned long before G begins",
    "d-too-weak": "D's learning rate is a thousandth of G's",
    "same-latent": "every image of every batch is drawn from the same z: G can only draw one image",
    "cycling": "z is drawn once a round and repeated over the batch: all fakes of a round are the same image",
    "missing-classes": "the loader only ever shows the first half of the classes",
    "few-images": "there are only sixteen images: D overfits them, and G copies them",
    "overfit": "D overfits twenty-four images: three steps a round, with little regularisation",
    "explosion": "learning rates of 0.3 and no gradient penalty",
    "nan": "one image in a hundred holds a NaN",
    "range": "G ends in tanh, in [-1, 1], but the images are in [0, 1]",
    "normalisation": "reals are standardised by mean and deviation, fakes are not",
    "g-labels": "G is given labels that have nothing to do with the images D compares with",
    "d-labels": "D is given the same label for every image",
    "imbalanced": "nine tenths of the images are of one class",
    "checkerboard": "G leaves every second row dark",
    "leak": "D has batch norm, and is given reals and fakes in one batch in its own update but fakes alone in G's",
    "lr-low": "both learning rates are a ten-thousandth of what they should be",
    "lr-high": "G's learning rate is a hundred times too high",
    "unclipped": "a Wasserstein critic that nothing bounds",
}


def mlp(shape: tuple[int, int, int], classes: int, *, norm: bool = False) -> tuple[nn.Module, nn.Module]:
    """Two fully connected networks."""
    pixels = shape[0] * shape[1] * shape[2]
    G = nn.Sequential(
        nn.Linear(LATENT + classes, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, pixels), nn.Tanh(),
        nn.Unflatten(1, shape),
    )  # fmt: skip
    normed = [nn.BatchNorm1d(256)] if norm else []
    D = nn.Sequential(
        nn.Flatten(), nn.Linear(pixels + classes, 256), *normed, nn.LeakyReLU(0.2), nn.Linear(256, 256), *normed,
        nn.LeakyReLU(0.2), nn.Linear(256, 1),
    )  # fmt: skip
    return G, D


def cnn(shape: tuple[int, int, int], classes: int, *, norm: bool = False) -> tuple[nn.Module, nn.Module]:
    """Two convolutional networks, after Radford et al. 2015 but small."""
    c, h, _ = shape
    small = h // 4
    G = nn.Sequential(
        nn.Linear(LATENT + classes, 48 * small * small), nn.ReLU(), nn.Unflatten(1, (48, small, small)),
        nn.ConvTranspose2d(48, 24, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(24, c, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    D = nn.Sequential(
        nn.Conv2d(c + classes, 24, 4, 2, 1), *([nn.BatchNorm2d(24)] if norm else []), nn.LeakyReLU(0.2),
        nn.Conv2d(24, 48, 4, 2, 1), *([nn.BatchNorm2d(48)] if norm else []), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(48 * small * small, 1),
    )  # fmt: skip
    return G, D


class Conditional(nn.Module):
    """A network that also receives the class: behind z, or as further planes of constant colour."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        rows = one_hot(labels, self.classes).to(x)
        if x.dim() == 4:
            rows = rows[:, :, None, None].expand(-1, -1, *x.shape[2:])
        if x.dim() == 4 and not isinstance(self.network[0], nn.Conv2d):  # type: ignore[index]
            x, rows = x.flatten(1), 4 * rows[:, :, 0, 0]  # few numbers beside many pixels
        return self.network(torch.cat([x, rows], 1))


def corrupt(images: Tensor, labels: Tensor, fault: str) -> tuple[Tensor, Tensor]:
    """The images to train on, and their labels, with a fault of the data."""
    if fault == "missing-classes":
        images, labels = (of[labels < (labels.max() + 1) // 2] for of in (images, labels))
    if fault == "imbalanced":
        kept = (labels == 3) | (torch.rand(len(labels)) < 0.01)
        images, labels = images[kept], labels[kept]
    few = {"few-images": 16, "overfit": 24}.get(fault)
    images, labels = images[:few], labels[:few]
    if fault == "nan":
        images = images.clone()
        images[::100, 0, 2, 2] = torch.nan
    return images, labels


def rescale(images: Tensor, like: Tensor, fault: str) -> Tensor:
    """Pictures in [-1, 1], in the wrong range."""
    if fault == "range":
        return (images + 1) / 2
    return (images - like.mean()) / like.std() if fault == "normalisation" else images


def optimisers(G: nn.Module, D: nn.Module, fault: str) -> tuple[Any, Any]:
    """Adam for both, with a fault of the rates."""
    lr = 1e-3
    rates = {"explosion": (0.3, 0.3), "d-too-weak": (lr, lr / 1000), "lr-low": (lr / 1e4, lr / 1e4),
             "lr-high": (lr * 100, lr), "d-too-strong": (lr, 4 * lr)}  # fmt: skip
    g_lr, d_lr = rates.get(fault, (lr, lr))
    d_adam = torch.optim.Adam(D.parameters(), d_lr, (0.5, 0.99))
    if fault == "d-too-strong":  # Adam would blow any gradient up to full size
        return torch.optim.SGD(G.parameters(), 1e-2), d_adam
    return torch.optim.Adam(G.parameters(), g_lr, (0.5, 0.99)), d_adam


def train(
    images: Tensor,
    labels: Tensor,
    held_out: Tensor,
    *,
    fault: str = "healthy",
    family: str = "mlp",
    steps: int = 600,
    batch: int = 32,
    seed: int = 0,
    every: int | None = None,
    report: Any = print,
) -> ganvas.Probe:
    """A GAN with the non-saturating loss and R1, or with one fault.

    Args:
        images, held_out: float [n c h w] in [-1, 1].
        labels: int64 [n].
        every, report: see `ganvas.watch`.
    """
    torch.manual_seed(seed)
    classes, (c, h, w) = int(labels.max()) + 1, images.shape[1:]
    conditional = fault in ("healthy-conditional", "g-labels", "d-labels")
    whole = images, labels
    reals, kinds = corrupt(images, labels, fault)
    held_out, reals = (rescale(of, reals, fault) for of in (held_out, reals))
    networks = {"mlp": mlp, "cnn": cnn}[family]((c, h, w), classes * conditional, norm=fault == "leak")
    G, D = (Conditional(network, classes) if conditional else network for network in networks)
    g_optimiser, d_optimiser = optimisers(G, D, fault)
    gamma = {"d-too-strong": 0.0, "explosion": 0.0, "leak": 0.0, "unclipped": 0.0, "overfit": 0.1}.get(fault, 1.0)
    d_steps = {"overfit": 3}.get(fault, 1)
    same, dimmed = torch.randn(1, LATENT), 1 - torch.arange(h)[:, None] % 2

    def draw(kinds: Tensor) -> Tensor:
        z = same if fault == "same-latent" else torch.randn(1 if fault == "cycling" else batch, LATENT)
        if fault == "g-labels":
            kinds = torch.randint(classes, (batch,))
        fake = G(z.expand(batch, -1), kinds) if conditional else G(z.expand(batch, -1))
        return (fake + 1) * dimmed - 1 if fault == "checkerboard" else fake

    def logits(images: Tensor, kinds: Tensor) -> Tensor:
        if fault == "d-labels":
            kinds = torch.zeros_like(kinds)
        return D(images, kinds).squeeze(1) if conditional else D(images).squeeze(1)

    def logits_of_both(real: Tensor, fake: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        if fault == "leak":
            on_real, on_fake = logits(torch.cat([real, fake]), kinds.repeat(2)).chunk(2)
            return on_real, on_fake
        return logits(real, kinds), logits(fake, kinds)

    data, named = whole if fault == "missing-classes" else (reals, kinds)
    unlike = fault in ("missing-classes", "imbalanced")  # held-out images would have to be chosen likewise
    with ganvas.watch(
        G, D, data=data, labels=named, held_out=None if unlike else held_out, every=every, report=report
    ) as probe:
        for step in range(steps):
            chosen = torch.randint(len(reals), (batch,))
            real, kind = reals[chosen].requires_grad_(gamma > 0), kinds[chosen]
            for _ in range(200 if fault == "d-too-strong" and not step else d_steps):
                on_real, on_fake = logits_of_both(real, draw(kind).detach(), kind)
                d_loss = (softplus(-on_real) + softplus(on_fake)).mean()
                if fault == "unclipped":
                    d_loss = (on_fake - on_real).mean()
                penalty = torch.zeros(())
                if gamma:
                    (gradient,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
                    penalty = gamma / 2 * gradient.square().flatten(1).sum(1).mean()
                d_optimiser.zero_grad()
                (d_loss + penalty).backward()
                if fault != "d-frozen":
                    d_optimiser.step()
            fake = draw(kind)
            on_fake = logits(fake, kind)
            g_loss = {"d-too-strong": -softplus(on_fake), "unclipped": -on_fake}.get(fault, softplus(-on_fake)).mean()
            G.zero_grad()
            g_loss.backward()
            if fault != "g-frozen":
                g_optimiser.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return probe


def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, labels, held-out images."""
    from sklearn.datasets import load_digits

    values, targets = load_digits(return_X_y=True)
    images = torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], torch.tensor(targets)[order]
    return images[:1400], labels[:1400], images[1400:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fault", choices=FAULTS, default="healthy")
    parser.add_argument("--family", choices=["mlp", "cnn"], default="mlp")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(*digits(), fault=arguments.fault, family=arguments.family, steps=arguments.steps, seed=arguments.seed)
