"""The recipes: complete, named configurations after papers and classics."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.config import BalanceConfig, DatasetConfig, LossConfig, OptimisationConfig, RuntimeConfig, TrainConfig
from ganvas.config.custom import Custom
from ganvas.config.families import CNN, DCGAN, MLP, MSG, R3GAN, Projected, ResNet, StyleGAN, Transformer, ViT
from ganvas.config.forms import leaves
from ganvas.display import Displayed, Part, Table
from ganvas.errors import GanvasError, did_you_mean
from ganvas.reading import near_paths
from ganvas.schedule import ScheduleSpec


@dataclass(frozen=True, repr=False)
class Recipe(Displayed):
    """A configuration and its description.

    Attributes:
        summary: a description in one line.
        source: the paper or program it follows.
        cost: images/s measured on two CPU cores (docs/results.md), at the size of its own data.
        config: the value of every knob.
    """

    summary: str
    source: str
    cost: str
    config: TrainConfig

    def _line(self) -> str:
        return f"Recipe({self.summary}; {self.source})"

    def _parts(self) -> Iterator[Part]:
        yield Table([("recipe", self.summary), ("source", self.source), ("images/s, two CPU cores", self.cost)])
        yield from self.config._parts()


def _rpgan(gamma: ScheduleSpec, **others: Any) -> LossConfig:
    """The relativistic loss with R1 and R2 of the same weight."""
    return LossConfig(objective="rpgan", r1=gamma, r2=gamma, **others)


def _adam(lr: ScheduleSpec, batch: int = 64, **others: Any) -> OptimisationConfig:
    """The same learning rate for G and D."""
    return OptimisationConfig(batch=batch, g_lr=lr, d_lr=lr, **others)


_MNIST, _CIFAR = DatasetConfig(data="mnist"), DatasetConfig(data="cifar10")
_MIRRORED_CIFAR = DatasetConfig(data="cifar10", mirror=True)
_NON_SATURATING = LossConfig(objective="non-saturating")
_CLASSIC = _adam(2e-4, batch=128, beta1=0.5, beta2=0.999)
_FIVE_D_STEPS = BalanceConfig(d_steps=5)

RECIPES = {
    "digits28": Recipe(
        summary="a first run of a minute: narrow CNNs on the included 28×28 digits, each of the class asked for",
        source="RpGAN + R1 + R2: Huang et al. 2024",
        cost="1,600 at 28×28",
        config=TrainConfig(
            kimg=60,
            dataset=DatasetConfig(data="digits28", conditional=True),
            network=CNN(latent=32, g_width=8, d_width=16),
            loss=_rpgan(1.0, penalty_every=4),
            optimisation=OptimisationConfig(
                batch=32, g_lr="4e-3..1e-4:linear@0.3-1", d_lr="3e-3..1e-4:linear@0.3-1", ema=2.0
            ),
        ),
    ),
    "digits": Recipe(
        summary="small MLPs on the included 8×8 digits, in a minute",
        source="RpGAN + R1 + R2: Huang et al. 2024",
        cost="6,100 at 8×8",
        config=TrainConfig(
            kimg=400,
            network=MLP(latent=32, g_widths=(256, 256, 256), d_widths=(256, 256), g_norm="none"),
            loss=_rpgan(0.2, shared_fakes=False),
            optimisation=_adam("2e-3..0:cosine@0.2-1", ema=10.0),
        ),
    ),
    "fast": Recipe(
        summary="pictures worth looking at after ten minutes on a laptop: D looks through a frozen network",
        source="Sauer et al. 2021 (Projected GAN); dos Santos et al. 2019 for the moments",
        cost="160 at 64×64",
        config=TrainConfig(
            kimg=None,
            minutes=10,
            network=Projected(),
            loss=LossConfig(objective="hinge", spectral_norm=True, augment="translation", moments=0.025),
            optimisation=OptimisationConfig(
                batch=32, g_lr="1e-3..2e-5:linear@0.5-1", d_lr="2e-3..4e-5:linear@0.5-1", ema=4.0
            ),
        ),
    ),
    "mlp": Recipe(
        summary="the classic teaching GAN: fully connected",
        source="Goodfellow et al. 2014; the classic Keras GAN",
        cost="5,600 at 28×28",
        config=TrainConfig(kimg=2000, dataset=_MNIST, network=MLP(), loss=_NON_SATURATING, optimisation=_CLASSIC),
    ),
    "mlp-stable": Recipe(
        summary="stable variant of mlp: RpGAN + R1 + R2, G without batch norm and tanh",
        source="Huang et al. 2024 for the loss",
        cost="4,300 at 28×28",
        config=TrainConfig(
            kimg=1000,
            dataset=_MNIST,
            network=MLP(g_norm="none", output="linear"),
            loss=_rpgan(1.0),
            optimisation=_adam("1e-3..1e-4:cosine", batch=128, ema=20.0),
        ),
    ),
    "cnn": Recipe(
        summary="the classic convolutional teaching GAN, any size",
        source="the Keras tutorials; rates of Radford et al. 2015",
        cost="270 at 28×28",
        config=TrainConfig(kimg=600, dataset=_MNIST, network=CNN(), loss=_NON_SATURATING, optimisation=_CLASSIC),
    ),
    "cnn-sigmoid": Recipe(
        summary="variant of cnn with pixels in [0, 1] and dropout in D",
        source="the Keras tutorials",
        cost="230 at 28×28",
        config=TrainConfig(
            kimg=600,
            dataset=_MNIST,
            network=CNN(output="sigmoid", dropout=0.3),
            loss=_NON_SATURATING,
            optimisation=_CLASSIC,
        ),
    ),
    "cnn-stable": Recipe(
        summary="stable variant of cnn: RpGAN + R1 + R2; for images of any size",
        source="Huang et al. 2024 for the loss",
        cost="230 at 28×28",
        config=TrainConfig(kimg=600, dataset=_MNIST, network=CNN(), loss=_rpgan(10.0), optimisation=_adam(5e-4)),
    ),
    "transformer": Recipe(
        summary="the classic self-attention teaching GAN; for images up to 32×32",
        source="classic teaching networks, after Vaswani et al. 2017",
        cost="170 at 28×28",
        config=TrainConfig(
            kimg=600, dataset=_MNIST, network=Transformer(), loss=_NON_SATURATING, optimisation=_CLASSIC
        ),
    ),
    "transformer-stable": Recipe(
        summary="stable variant of transformer: RpGAN + R1 + R2, larger positional embeddings at the start",
        source="Huang et al. 2024 for the loss",
        cost="150 at 28×28",
        config=TrainConfig(
            kimg=600,
            dataset=_MNIST,
            network=Transformer(position_init=1.0),
            loss=_rpgan(10.0, penalty_every=4),
            optimisation=_adam(5e-4),
        ),
    ),
    "transformer-modern": Recipe(
        summary="pre-norm transformer with modulation as G, residual CNN as D, also beyond 32×32",
        source="after Lee et al. 2022 (ViTGAN) and Huang et al. 2024",
        cost="14 at 32×32",
        config=TrainConfig(
            kimg=2000, dataset=_MIRRORED_CIFAR, network=ViT(), loss=_rpgan(0.5), optimisation=_adam(2e-4, ema=50.0)
        ),
    ),
    "dcgan": Recipe(
        summary="strided convolutions and batch norm; faces at 64×64",
        source="Radford et al. 2015",
        cost="11 at 64×64",
        config=TrainConfig(
            kimg=5000,
            dataset=DatasetConfig(data="hf:flwrlabs/celeba", resolution="64"),
            network=DCGAN(),
            loss=_NON_SATURATING,
            optimisation=_CLASSIC,
        ),
    ),
    "wgan": Recipe(
        summary="Wasserstein critic with clipped weights, five updates of D for one of G",
        source="Arjovsky et al. 2017 for the game, with other networks",
        cost="180 at 32×32",
        config=TrainConfig(
            kimg=5000,
            dataset=_CIFAR,
            network=ResNet(g_width=64, d_width=64),
            loss=LossConfig(objective="wasserstein", clip=0.01),
            balance=_FIVE_D_STEPS,
            optimisation=OptimisationConfig(batch=64, optimiser="rmsprop", g_lr=5e-5, d_lr=5e-5),
        ),
    ),
    "wgan-gp": Recipe(
        summary="Wasserstein critic with gradient penalty, residual networks",
        source="Gulrajani et al. 2017",
        cost="19 at 32×32",
        config=TrainConfig(
            kimg=10000,
            dataset=_CIFAR,
            network=ResNet(blocks="residual"),
            loss=LossConfig(objective="wasserstein", gp=10.0),
            balance=_FIVE_D_STEPS,
            optimisation=_adam(1e-4, beta2=0.9),
        ),
    ),
    "wgan-conditional": Recipe(
        summary="class-conditional WGAN-GP",
        source="Gulrajani et al. 2017; Miyato & Koyama 2018 for the classes",
        cost="110 at 32×32",
        config=TrainConfig(
            kimg=5000,
            dataset=DatasetConfig(data="cifar10", conditional=True, balanced=True),
            network=ResNet(g_width=64, d_width=64),
            loss=LossConfig(objective="wasserstein", gp=10.0),
            balance=_FIVE_D_STEPS,
            optimisation=_adam(1e-4, beta2=0.9),
        ),
    ),
    "sngan": Recipe(
        summary="hinge loss and spectral norm, residual networks",
        source="Miyato et al. 2018; widths of Gulrajani et al. 2017",
        cost="29 at 32×32",
        config=TrainConfig(
            kimg=10000,
            dataset=_CIFAR,
            network=ResNet(blocks="residual"),
            loss=LossConfig(objective="hinge", spectral_norm=True),
            balance=_FIVE_D_STEPS,
            optimisation=_adam(2e-4, beta2=0.9),
        ),
    ),
    "stylegan": Recipe(
        summary="a small StyleGAN, grown progressively from 4×4",
        source="Karras et al. 2018 and 2019",
        cost="4 at 32×32, fully grown",
        config=TrainConfig(
            kimg=3000,
            dataset=_MIRRORED_CIFAR,
            network=StyleGAN(),
            loss=LossConfig(objective="non-saturating", r1=1.0, shared_fakes=False),
            optimisation=_adam(1e-3),
        ),
    ),
    "msg": Recipe(
        summary="multi-scale gradients: D receives each image at every size",
        source="Karnewar & Wang 2020; loss and rates of the author's BMSG-GAN",
        cost="5 at 32×32",
        config=TrainConfig(
            kimg=3000,
            dataset=_MIRRORED_CIFAR,
            network=MSG(),
            loss=LossConfig(objective="rahinge", shared_fakes=False),
            optimisation=_adam(3e-3, batch=32),
        ),
    ),
    # The authors' preset "CIFAR10" with the command of their README (github.com/brownvc/R3GAN, train.py), which are the
    # values of Table 9 in the paper, checked in tests/test_r3gan.py and tests/test_site.py. Remaining differences:
    # - ADA applies its colour transformations with probability p, where the authors use p / 2, and samples bilinearly
    #   instead of with a wavelet filter (`ganvas.game.augment`).
    # - G's update uses the real images of D's update; the authors draw new ones.
    # - All maps are bfloat16 on GPUs that compute in it, else float32; theirs are bfloat16 at the three largest sizes.
    # - The microbatch only saves memory, and snapshots are every 1,000 kimg instead of 200.
    # The networks are the preset's at 32×32. Other resolutions, read from the data, have other presets there.
    "r3gan": Recipe(
        summary="R3GAN with the authors' CIFAR-10 settings: class-conditional, 250 million images; needs GPUs",
        source="Huang et al. 2024",
        cost="under 0.5 at 32×32",
        config=TrainConfig(
            kimg=250_000,
            dataset=DatasetConfig(data="cifar10", mirror=True, conditional=True),
            network=R3GAN(),
            loss=_rpgan(
                "0.05..0.005:cosine@0k-20000k", augment="ada", augment_p="0..0.55:cosine@0k-20000k", shared_fakes=False
            ),
            optimisation=_adam(
                "2e-4..5e-5:cosine@0k-20000k",
                batch=512,
                microbatch=32,
                beta2="0.9..0.99:cosine@0k-20000k",
                ema="0..5000:cosine@0k-20000k",
                ema_warmup=0.0,
            ),
            runtime=RuntimeConfig(snapshot_kimg=1000.0),
        ),
    ),
    "r3gan-short": Recipe(
        summary="R3GAN with our own shorter schedule: 20 Mimg, burn-in of 4 Mimg, no augmentation or classes",
        source="after Huang et al. 2024, whose burn-in is 20 million and EMA half-life 5 million images",
        cost="0.5 at 32×32",
        config=TrainConfig(
            kimg=20000,
            dataset=_MIRRORED_CIFAR,
            network=R3GAN(),
            loss=_rpgan("0.05..0.005:cosine@0-0.2"),
            optimisation=_adam(
                "2e-4..5e-5:cosine@0-0.2",
                batch=512,
                microbatch=32,
                beta2="0.9..0.99:cosine@0-0.2",
                ema="0..500:cosine@0-0.2",
            ),
        ),
    ),
    "custom": Recipe(
        summary="networks of your own: --g FILE.py:NAME --d FILE.py:NAME, or one of them against our DCGAN",
        source="settings of the Torch code of Radford et al. 2015",
        cost="that of your networks",
        config=TrainConfig(
            network=Custom(g="dcgan(g_width=64)", d="dcgan(d_width=64)"),
            loss=LossConfig(objective="non-saturating"),
            optimisation=OptimisationConfig(batch=64, beta1=0.5, beta2=0.999),
        ),
    ),
}


def default_recipe(data: object = None) -> str:
    """The recipe when none is named: that of the included digits, or for other data the one that suits any images."""
    name = "digits28" if data is None else str(data)
    return name if name in ("digits", "digits28") else "fast"


def own_knobs(config: TrainConfig) -> dict[str, Any]:
    """The knobs of a configuration that differ from the defaults of its groups: {name: value}."""
    usual = dict(leaves(TrainConfig())) | dict(leaves(type(config.network)()))
    return {name: value for name, value in leaves(config) if name != "family" and value != usual[name]}


def get_recipe(name: str) -> Recipe:
    """Returns the recipe of that name.

    Raises:
        GanvasError: the name is unknown.
    """
    if name not in RECIPES:
        path = Path(name)
        if len(path.parts) > 1 and not path.exists() and (near := near_paths(path)):
            raise GanvasError(f"{name} does not exist.", expected="a recipe, or the folder of a run", fix=near)
        raise GanvasError(
            f"'{name}' is neither a recipe nor a run folder.",
            expected="one of " + ", ".join(RECIPES) + ", or the path of a run",
            fix=did_you_mean(name, RECIPES) or "ganvas recipes describes them.",
        )
    return RECIPES[name]
