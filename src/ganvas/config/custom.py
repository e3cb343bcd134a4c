"""The knobs of two networks of which each may be your own or of another family, and what holds for any family."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from ganvas import user_code
from ganvas.config.bounds import Count, check_bounds
from ganvas.config.conflicts import Group
from ganvas.config.families import (
    CNN,
    DCGAN,
    MLP,
    MSG,
    R3GAN,
    STDDEV_GROUP,
    Projected,
    ResNet,
    StyleGAN,
    Transformer,
    ViT,
)
from ganvas.config.forms import from_json
from ganvas.errors import GanvasError, did_you_mean

if TYPE_CHECKING:
    from ganvas.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Custom(Group):
    """Networks of your own, or one of them against one of ours; see `ganvas.networks.custom`."""

    family: Literal["custom"] = field(default="custom", init=False)
    g: str = "dcgan"
    """The generator: your class, FILE.py:NAME or MODULE:NAME, with its keyword arguments if it has some
    (nets.py:Generator(width=64)); or one of our families, with its knobs if you like (dcgan(g_width=32))."""
    d: str = "dcgan"
    """The discriminator, named in the same way."""
    latent: Count = 128
    """Dimension of the latent vector z ~ N(0, 1)."""

    def __post_init__(self) -> None:
        self.part("g")
        self.part("d")

    def part(self, which: Literal["g", "d"]) -> Any:
        """The configuration of the family that `g` or `d` names, with this latent; None for the user's own class.

        Raises:
            GanvasError: there is no such family, or it cannot play against another one, or a wrong knob.
        """
        text = self.g if which == "g" else self.d
        if user_code.is_spec(text):
            user_code.parse(text)
            return None
        name = text.partition("(")[0].strip()
        if name not in _PARTS:
            what = f"--{which} is {text}: there is no family '{name}' for one network alone."
            raise user_code.unknown(what, name, _PARTS)
        arguments = user_code.parse(text).arguments
        if "latent" in arguments:
            raise GanvasError(f"--{which} is {text}.", expected="one latent for both networks", fix="--latent 64")
        knobs = [entry.name for entry in fields(_PARTS[name]) if entry.init]
        own = [knob for knob in knobs if _belongs(name, knob, which)]
        for knob in arguments:
            if knob not in own and (knob not in knobs or knob != "growth"):
                what = f"'{knob}' is not a knob of {name}."
                if knob in knobs:
                    what = f"'{knob}' is a knob of {'D' if which == 'g' else 'G'}."
                expected = f"one of {', '.join(own)}" if own else f"{name} alone: it has no knobs of its own"
                raise GanvasError(f"--{which} is {text}: {what}", expected=expected, fix=did_you_mean(knob, own))
        part = replace(from_json(_PARTS[name], arguments), latent=self.latent)
        if isinstance(part, Projected):
            _check_projected(part, which, text)
        return part

    @property
    def features_net(self) -> str:
        """The frozen network that D looks through; empty for a D that sees only pixels."""
        return features_net_of(self.part("d"))

    @property
    def d_norm(self) -> str:
        """Whether D has batch norm ("batch" or "none"), which forbids penalties; of a user's D, once built."""
        part = self.part("d")
        return user_code.known(self.d) or "none" if part is None else getattr(part, "d_norm", "none")

    def warnings(self, config: "TrainConfig") -> Iterator[str]:
        for flag, text in (("--g", self.g), ("--d", self.d)):
            if not user_code.is_spec(text) and "growth" in user_code.parse(text).arguments:
                yield f"growth has no effect in {flag} {text}: networks of two families have their full size at once."

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        """Those of the networks that are ours, each as if it were alone.

        Raises:
            GanvasError: a knob of theirs is out of bounds.
        """
        if (generator := self.part("g")) is not None:
            check_bounds(generator)
            yield from generator.conflicts(type(config)())
        if (discriminator := self.part("d")) is not None:
            check_bounds(discriminator)
            for conflict in discriminator.conflicts(config):
                fix = conflict.fix
                if hasattr(discriminator, "d_norm"):
                    fix = f"{fix} Knobs of this D are set in --d: \"{discriminator.family}(d_norm='none')\".".strip()
                yield GanvasError(conflict.what, expected=conflict.expected, fix=fix)


def _check_projected(part: Projected, which: Literal["g", "d"], text: str) -> None:
    """Raises GanvasError for what a network of the projected family needs from its own recipe."""
    if which == "g" and part.g_width is None:
        expected = "the width of this G: it is chosen for the recipe fast only"
        raise GanvasError(f"--g is {text}, without its width.", expected=expected, fix='--g "projected(g_width=24)"')
    if user_code.is_spec(part.features_net):
        raise GanvasError(
            f"--{which} is {text}: its frozen network is code of your own.",
            expected="lite0 or eye in a pair of networks",
            fix="train fast with --features-net, which takes code of your own.",
        )


def features_net_of(network: Any) -> str:
    """The frozen network that the D of a configuration looks through; empty for a D that sees only pixels."""
    return network.features_net if isinstance(network, Projected | Custom) else ""


def is_batch_normed(network: Any) -> bool:
    """Whether G or D of a configuration has batch norm; the user's own classes are known once they are built."""
    if not isinstance(network, Custom):
        norms = getattr(network, "g_norm", "none"), getattr(network, "d_norm", "none")
        return isinstance(network, Projected) or "batch" in norms
    g, d = network.part("g"), network.part("d")
    return isinstance(g, Projected) or isinstance(d, Projected) or "batch" in (getattr(g, "g_norm", ""), network.d_norm)


def images_per_group(network: Any) -> int:
    """Images of which D needs a multiple at a time, for its minibatch standard deviation; 1 where it has none."""
    discriminator = network.part("d") if isinstance(network, Custom) else network
    return STDDEV_GROUP if isinstance(discriminator, StyleGAN | MSG) else 1


def describe_incomplete_groups(what: str, group: int) -> str:
    """What follows where `what` ("--batch 31 is") gives D no whole groups (`images_per_group`), as a sentence."""
    return (
        f"{what} no multiple of {group}: the minibatch standard deviation, by which D recognises mode collapse, is "
        "over fewer images, or 0."
    )


def _belongs(family: str, knob: str, which: Literal["g", "d"]) -> bool:
    """Whether a knob of one of our families has an effect on this one of its networks."""
    of_g = knob.startswith("g_") or knob in _OF_G_ALONE.get(family, ())
    of_d = knob.startswith("d_") or knob in ("dropout", *_OF_D_ALONE.get(family, ()))
    return knob not in ("latent", "growth") and not (of_d if which == "g" else of_g)


_OF_G_ALONE = {
    "mlp": ("output",),
    "transformer": ("output",),
    "vit": ("token_width", "depth", "heads"),
    "stylegan": ("mapping_layers", "mixing_prob"),
}
"""Knobs without an effect on D whose names do not say so."""

_OF_D_ALONE = {"projected": ("features_net", "pixel_width")}
"""Knobs without an effect on G whose names do not say so."""


Network = MLP | CNN | DCGAN | Transformer | ViT | ResNet | StyleGAN | MSG | R3GAN | Projected | Custom
"""The configuration of any network family."""

_PARTS: dict[str, Any] = {kind().family: kind for kind in get_args(Network) if kind not in (MSG, Custom)}
"""The families of which one network can play against any other; the D of msg needs each image at several sizes."""
