"""The knobs of each network family; `ganvas.networks` has a module of the same name for each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ganvas import user_code
from ganvas.config.bounds import BelowOne, Count, Counts, Fraction, Layers, NonNegative, ScheduledFraction
from ganvas.config.conflicts import Group, equalised_weights_conflicts
from ganvas.errors import GanvasError

if TYPE_CHECKING:
    from ganvas.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class MLP(Group):
    """Fully connected networks; see `ganvas.networks.mlp`."""

    family: Literal["mlp"] = field(default="mlp", init=False)
    latent: Count = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_widths: Counts = (128, 256, 512)
    """Hidden units of each layer of the generator."""
    d_widths: Counts = (512, 256)
    """Hidden units of each layer of the discriminator."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation after each hidden layer of the generator."""
    output: Literal["tanh", "linear"] = "tanh"
    """Output activation of the generator."""
    dropout: BelowOne = 0.0
    """Dropout probability after each hidden layer of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class CNN(Group):
    """The classic convolutional networks; see `ganvas.networks.cnn`."""

    family: Literal["cnn"] = field(default="cnn", init=False)
    latent: Count = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: Count = 64
    """Channels of the largest feature map of the generator; doubled each time the size is halved."""
    d_width: Count = 64
    """Channels of the first layer of the discriminator; doubled each time the size is halved."""
    output: Literal["tanh", "sigmoid", "linear"] = "tanh"
    """Output activation of the generator; with sigmoid both networks use pixels in [0, 1]."""
    dropout: BelowOne = 0.0
    """Dropout probability after each layer of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class DCGAN(Group):
    """Strided convolutions and batch norm; see `ganvas.networks.dcgan`."""

    family: Literal["dcgan"] = field(default="dcgan", init=False)
    latent: Count = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: Count = 128
    """Channels of the largest feature map of the generator; doubled each time the size is halved."""
    d_width: Count = 128
    """Channels of the first layer of the discriminator; doubled each time the size is halved."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator."""
    d_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the discriminator; gradient penalties need 'none'."""
    dropout: BelowOne = 0.0
    """Dropout probability after each layer of the discriminator."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.d_norm == "batch" and config.loss.penalised:
            yield GanvasError(
                "A gradient penalty with batch norm in D.",
                expected="a D whose logits are independent: with batch norm, the gradient of one logit reaches all "
                "images of the batch",
                fix="--d-norm none, or no --r1, --r2, --gp, --dragan.",
            )


@dataclass(frozen=True, kw_only=True)
class Transformer(Group):
    """The classic self-attention networks; see `ganvas.networks.transformer`."""

    family: Literal["transformer"] = field(default="transformer", init=False)
    latent: Count = 100
    """Dimension of the latent vector z ~ N(0, 1)."""
    token_width: Count = 128
    """Width of a token."""
    heads: Count = 4
    """Attention heads."""
    head_width: Count = 128
    """Width of the queries, keys and values of each head."""
    position_init: NonNegative = 0.05
    """Positional embeddings are initialised uniformly in ± this. Larger ones make the tokens differ from the start."""
    output: Literal["tanh", "linear"] = "tanh"
    """Output activation of the generator."""
    dropout: BelowOne = 0.0
    """Dropout probability before the last layers of the discriminator."""


@dataclass(frozen=True, kw_only=True)
class ViT(Group):
    """Pre-norm transformer generator with modulation, residual convolutional D; see `ganvas.networks.vit`."""

    family: Literal["vit"] = field(default="vit", init=False)
    latent: Count = 64
    """Dimension of the latent vector z ~ N(0, 1)."""
    token_width: Count = 256
    """Width of a token."""
    depth: Layers = 4
    """Transformer blocks in the generator."""
    heads: Count = 4
    """Attention heads, which divide the token width among them."""
    d_width: Count = 64
    """Channels of the discriminator at full size; doubled each time the size is halved, up to four times."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.token_width % self.heads != 0:
            yield GanvasError(
                f"--token-width with --heads {self.heads}.",
                expected="a token width that is divisible by the number of heads",
                fix="a --token-width that is a multiple of --heads.",
            )


@dataclass(frozen=True, kw_only=True)
class ResNet(Group):
    """Upsampling generator and critic, plain or residual; see `ganvas.networks.resnet`."""

    family: Literal["resnet"] = field(default="resnet", init=False)
    blocks: Literal["plain", "residual"] = "plain"
    """Plain convolutions, or the residual networks of WGAN-GP and SNGAN."""
    latent: Count = 128
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: Count = 128
    """Channels of the generator: of every block (residual), or of the largest feature map (plain)."""
    d_width: Count = 128
    """Channels of the discriminator: of every block (residual), or of the first layer (plain)."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator; class-conditional where there are classes."""
    dropout: BelowOne = 0.0
    """Dropout probability before the last layer of the discriminator."""


STDDEV_GROUP = 4
"""The largest group of images over which D of stylegan and msg computes the minibatch standard deviation."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN(Group):
    """Style-based generator with progressive growing from 4×4; see `ganvas.networks.stylegan`."""

    family: Literal["stylegan"] = field(default="stylegan", init=False)
    latent: Count = 128
    """Dimension of the latent vector z ~ N(0, 1), and of the style w."""
    mapping_layers: Layers = 4
    """Layers of the mapping network from z to w."""
    width: Count = 256
    """Channels at the smallest sizes; beyond them halved each time the size doubles."""
    full_width_stages: Layers = 3
    """The number of sizes, from the smallest up, with the full width: 3 for 4×4 to 16×16."""
    growth: ScheduledFraction = "0..1@0.1-0.6"
    """Progressive growing, from 0 (4×4) to 1 (full size); each new size fades in during the first half of its share."""
    mixing_prob: Fraction = 0.9
    """Probability of style mixing: from a random layer on, a second latent determines the style."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        return equalised_weights_conflicts(self.family, config.loss)


@dataclass(frozen=True, kw_only=True)
class MSG(Group):
    """Multi-scale gradients; see `ganvas.networks.msg`."""

    family: Literal["msg"] = field(default="msg", init=False)
    latent: Count = 128
    """Dimension of the latent vector z ~ N(0, 1)."""
    width: Count = 256
    """Channels at the smallest sizes; beyond them halved each time the size doubles."""
    full_width_stages: Layers = 3
    """The number of sizes, from the smallest up, with the full width: 3 for 4×4 to 16×16."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        yield from equalised_weights_conflicts(self.family, config.loss)
        if config.loss.augment != "none":
            yield GanvasError(
                f"--augment {config.loss.augment} with the multi-scale family.",
                expected="a single image to transform; D of this family receives every image at several sizes",
                fix="leave --augment out, or use --noise.",
            )


@dataclass(frozen=True, kw_only=True)
class R3GAN(Group):
    """The networks of R3GAN, residual and without normalisation; see `ganvas.networks.r3gan`."""

    family: Literal["r3gan"] = field(default="r3gan", init=False)
    latent: Count = 64
    """Dimension of the latent vector z ~ N(0, 1)."""
    width: Count = 768
    """Channels at the smallest sizes; beyond them halved each time the size doubles. A multiple of 8."""
    full_width_stages: Layers = 4
    """The number of sizes, from the smallest up, with the full width: 4 for 4×4 to 32×32."""
    blocks: Layers = 2
    """Residual blocks at each size."""
    group_size: Count = 16
    """Channels in each group of the grouped 3×3 convolutions."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if config.loss.spectral_norm:
            yield GanvasError(
                "--spectral-norm with the r3gan family.",
                expected="weights that do not start at 0, as the last ones of each block do; they cannot be divided by "
                "a norm of 0",
                fix="--r1 and --r2, as its paper has them.",
            )


@dataclass(frozen=True, kw_only=True)
class Projected(Group):
    """A small G, and a D that looks through a frozen feature network; see `ganvas.networks.projected`."""

    family: Literal["projected"] = field(default="projected", init=False)
    features_net: str = "lite0"
    """The frozen network: lite0 (EfficientNet-Lite0, ImageNet), eye (the included one), or your own, MODULE:NAME or
    FILE.py:NAME, from images [n 3 h w] in [-1, 1] to a list of feature maps [n c h w], finest first."""
    latent: Count = 64
    """Dimension of the latent vector z ~ N(0, 1)."""
    g_width: Count | None = None
    """Channels of the largest feature map of the generator; doubled each time the size is halved, up to four times. By
    default chosen for the size of the images and the time (`ganvas.training.choices`)."""
    d_width: Count = 64
    """Channels of the heads of the discriminator, one for each scale of the features."""
    pixel_width: Count = 16
    """Channels of the head on the pixels."""

    def __post_init__(self) -> None:
        if user_code.is_spec(self.features_net):
            user_code.parse(self.features_net)

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if config.loss.penalised:
            yield GanvasError(
                "A gradient penalty with the projected family.",
                expected="a D whose logits are independent: its heads have batch norm, so the gradient of one logit "
                "reaches all images of the batch",
                fix="leave --r1, --r2, --gp and --dragan out; --spectral-norm bounds this D.",
            )
