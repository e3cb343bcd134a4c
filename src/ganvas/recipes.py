"""Complete, named configurations that are known to work: a table in code."""

from dataclasses import dataclass

from ganvas.config import CNN, MLP, Optimisation, Pictures, Play, TrainConfig
from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Recipe:
    """A configuration, and what to expect of it."""

    what: str
    source: str
    config: TrainConfig


RECIPES = {
    "digits": Recipe(
        what="the first minute: small MLPs on the embedded 8×8 digits",
        source="RpGAN + R1 + R2: Huang et al. 2024",
        config=TrainConfig(
            kimg=400,
            network=MLP(latent=32, g_widths=(256, 256, 256), d_widths=(256, 256), g_norm="none"),
            play=Play(objective="rpgan", r1=0.2, r2=0.2, shared_fakes=False),
            optimisation=Optimisation(batch=64, g_lr="2e-3..0:cosine@0.2-1", d_lr="2e-3..0:cosine@0.2-1", ema=10.0),
        ),
    ),
    "mlp": Recipe(
        what="the course's first GAN: fully connected",
        source="Goodfellow et al. 2014; the classic Keras pair",
        config=TrainConfig(
            kimg=2000,
            pictures=Pictures(data="mnist"),
            network=MLP(),
            play=Play(objective="non-saturating"),
            optimisation=Optimisation(batch=128, beta1=0.5, beta2=0.999),
        ),
    ),
    "cnn": Recipe(
        what="the course's convolutional GAN, any size",
        source="the classic Keras pair, after Radford et al. 2015",
        config=TrainConfig(
            kimg=600,
            pictures=Pictures(data="mnist"),
            network=CNN(),
            play=Play(objective="non-saturating"),
            optimisation=Optimisation(batch=128, beta1=0.5, beta2=0.999),
        ),
    ),
    "cnn-stable": Recipe(
        what="the same networks under RpGAN + R1 + R2: the one to try on your own pictures",
        source="Huang et al. 2024 for the rules",
        config=TrainConfig(
            kimg=600,
            pictures=Pictures(data="mnist"),
            network=CNN(),
            play=Play(objective="rpgan", r1=1.0, r2=1.0),
            optimisation=Optimisation(batch=64, g_lr=5e-4, d_lr=5e-4),
        ),
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        GanvasError: there is none.
    """
    if name not in RECIPES:
        raise GanvasError(
            f"'{name}' is neither a recipe nor a run folder.",
            expected="one of " + ", ".join(RECIPES) + ", or the path of a run",
            mend="ganvas recipes describes them.",
        )
    return RECIPES[name]
