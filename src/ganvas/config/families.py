"""The knobs of each network family; `ganvas.networks` has a module of the same name for each."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ganvas import user_code
from ganvas.config.forms import from_json
from ganvas.errors import GanvasError
from ganvas.schedule import ScheduleSpec


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected networks; see `ganvas.networks.mlp`."""

    family: Literal["mlp"] = field(default="mlp", init=False)
    latent: int = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_widths: tuple[int, ...] = (128, 256, 512)
    """Hidden units of each layer of the generator."""
    d_widths: tuple[int, ...] = (512, 256)
    """Hidden units of each layer of the discriminator."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation after each hidden layer of the generator."""
    output: Literal["tanh", "linear"] = "tanh"
    """Output activation of the generator."""
    dropout: float = 0.0
    """Dropout probability after each hidden layer of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class CNN:
    """The classic convolutional networks; see `ganvas.networks.cnn`."""

    family: Literal["cnn"] = field(default="cnn", init=False)
    latent: int = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: int = 64
    """Channels of the largest feature map of the generator; doubled each time the size is halved."""
    d_width: int = 64
    """Channels of the first layer of the discriminator; doubled each time the size is halved."""
    output: Literal["tanh", "sigmoid", "linear"] = "tanh"
    """Output activation of the generator; with sigmoid both networks use pixels in [0, 1]."""
    dropout: float = 0.0
    """Dropout probability after each layer of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class DCGAN:
    """Strided convolutions and batch norm; see `ganvas.networks.dcgan`."""

    family: Literal["dcgan"] = field(default="dcgan", init=False)
    latent: int = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: int = 128
    """Channels of the largest feature map of the generator; doubled each time the size is halved."""
    d_width: int = 128
    """Channels of the first layer of the discriminator; doubled each time the size is halved."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator."""
    d_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the discriminator; gradient penalties need 'none'."""
    dropout: float = 0.0
    """Dropout probability after each layer of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """The classic self-attention networks; see `ganvas.networks.transformer`."""

    family: Literal["transformer"] = field(default="transformer", init=False)
    latent: int = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    token_width: int = 128
    """Width of a token."""
    heads: int = 4
    """Attention heads."""
    head_width: int = 128
    """Width of the queries, keys and values of each head."""
    position_init: float = 0.05
    """Positional embeddings are initialised uniformly in ± this. Larger ones make the tokens differ from the start."""
    output: Literal["tanh", "linear"] = "tanh"
    """Output activation of the generator."""
    dropout: float = 0.0
    """Dropout probability before the last layers of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class ViT:
    """Pre-norm transformer generator with modulation, residual convolutional D; see `ganvas.networks.vit`."""

    family: Literal["vit"] = field(default="vit", init=False)
    latent: int = 64
    """Dimension of the latent vector z ~ N(0, 1)."""
    token_width: int = 256
    """Width of a token."""
    depth: int = 4
    """Transformer blocks in the generator."""
    heads: int = 4
    """Attention heads, which divide the token width among them."""
    d_width: int = 64
    """Channels of the discriminator at full size; doubled each time the size is halved, up to four times."""


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """Upsampling generator and critic, plain or residual; see `ganvas.networks.resnet`."""

    family: Literal["resnet"] = field(default="resnet", init=False)
    blocks: Literal["plain", "residual"] = "plain"
    """Plain convolutions, or the residual networks of WGAN-GP and SNGAN."""
    latent: int = 128
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: int = 128
    """Channels of the generator: of every block (residual), or of the largest feature map (plain)."""
    d_width: int = 128
    """Channels of the discriminator: of every block (residual), or of the first layer (plain)."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator; class-conditional where there are classes."""
    dropout: float = 0.0
    """Dropout probability before the last layer of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN:
    """Style-based generator with progressive growing from 4×4; see `ganvas.networks.stylegan`."""

    family: Literal["stylegan"] = field(default="stylegan", init=False)
    latent: int = 128
    """Dimension of the latent vector z ~ N(0, 1), and of the style w."""
    mapping_layers: int = 4
    """Layers of the mapping network from z to w."""
    width: int = 256
    """Channels up to 16×16; beyond that halved each time the size doubles."""
    growth: ScheduleSpec = "0..1@0.1-0.6"
    """Progressive growing, from 0 (4×4) to 1 (full size); each new size fades in during the first half of its share."""
    mixing_prob: float = 0.9
    """Probability of style mixing: from a random layer on, a second latent determines the style."""


@dataclass(frozen=True, kw_only=True)
class MSG:
    """Multi-scale gradients; see `ganvas.networks.msg`."""

    family: Literal["msg"] = field(default="msg", init=False)
    latent: int = 128
    """Dimension of the latent vector z ~ N(0, 1)."""
    width: int = 256
    """Channels up to 16×16; beyond that halved each time the size doubles."""


@dataclass(frozen=True, kw_only=True)
class R3GAN:
    """The networks of R3GAN, residual and without normalisation; see `ganvas.networks.r3gan`."""

    family: Literal["r3gan"] = field(default="r3gan", init=False)
    latent: int = 64
    """Dimension of the latent vector z ~ N(0, 1)."""
    width: int = 768
    """Channels up to 32×32; beyond that halved each time the size doubles. A multiple of 8."""
    blocks: int = 2
    """Residual blocks at each size."""
    group_size: int = 16
    """Channels in each group of the grouped 3×3 convolutions."""


@dataclass(frozen=True, kw_only=True)
class Custom:
    """Networks of your own, or one of them against one of ours; see `ganvas.networks.custom`."""

    family: Literal["custom"] = field(default="custom", init=False)
    g: str = "dcgan"
    """The generator: your class, FILE.py:NAME or MODULE:NAME, with its keyword arguments if it has some
    (nets.py:Generator(width=64)); or one of our families, with its knobs if you like (dcgan(g_width=32))."""
    d: str = "dcgan"
    """The discriminator, named in the same way."""
    latent: int = 128
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
        spec = user_code.parse(text)
        if spec.name not in _PARTS:
            raise GanvasError(
                f"--{which} is {text}: there is no family '{spec.name}' for one network alone.",
                expected=f"one of {', '.join(_PARTS)}; or your own class, {user_code.FORM}",
            )
        if "latent" in spec.arguments:
            raise GanvasError(f"--{which} is {text}.", expected="one latent for both networks", fix="--latent 64")
        return replace(from_json(_PARTS[spec.name], spec.arguments), latent=self.latent)

    @property
    def d_norm(self) -> str:
        """Whether D has batch norm: "batch" or "none"; of the user's own D, that is known once it is built."""
        part = self.part("d")
        return user_code.known(self.d) or "none" if part is None else getattr(part, "d_norm", "none")

    def check_parts(self, config: Any) -> None:
        """Checks the networks that are ours as if each were alone in this `TrainConfig`.

        Raises:
            GanvasError: a knob of theirs is out of bounds, or another one excludes it.
        """
        if (generator := self.part("g")) is not None:
            type(config)(network=generator)
        if (discriminator := self.part("d")) is not None:
            normed = hasattr(discriminator, "g_norm")  # a knob of its generator, which does not play
            try:
                replace(config, network=replace(discriminator, g_norm="none") if normed else discriminator)
            except GanvasError as error:
                fix = f"{error.fix} Knobs of this D are set in --d: \"{discriminator.family}(d_norm='none')\"."
                raise GanvasError(error.what, expected=error.expected, fix=fix.strip()) from error


Network = MLP | CNN | DCGAN | Transformer | ViT | ResNet | StyleGAN | MSG | R3GAN | Custom
"""The configuration of any network family."""

_PARTS: dict[str, Any] = {kind().family: kind for kind in get_args(Network) if kind not in (MSG, Custom)}
"""The families of which one network can play against any other; the D of msg needs each image at several sizes."""
