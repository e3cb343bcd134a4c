"""The knobs of each family of networks. What they do is in `ganvas.networks`, one file a family."""

from dataclasses import dataclass, field
from typing import Literal

from ganvas.schedule import Knob


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected pair; see `ganvas.networks.mlp`."""

    family: Literal["mlp"] = field(default="mlp", init=False)
    latent: int = 100
    """Numbers in the latent vector z ~ N(0, 1)."""
    g_widths: tuple[int, ...] = (128, 256, 512)
    """Hidden units of the generator, layer by layer."""
    d_widths: tuple[int, ...] = (512, 256)
    """Hidden units of the discriminator, layer by layer."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation after each hidden layer of the generator."""
    output: Literal["tanh", "linear"] = "tanh"
    """How G's last layer is bounded, or not."""
    dropout: float = 0.0
    """Fraction of the discriminator's hidden units silenced in each pass."""


@dataclass(frozen=True, kw_only=True)
class CNN:
    """Convolutional pair of the courses; see `ganvas.networks.cnn`."""

    family: Literal["cnn"] = field(default="cnn", init=False)
    latent: int = 100
    """Numbers in the latent vector z ~ N(0, 1)."""
    g_width: int = 64
    """Channels of the generator at the largest feature map; doubled at each halving of the size."""
    d_width: int = 64
    """Channels of the discriminator's first layer; doubled at each halving of the size."""
    output: Literal["tanh", "sigmoid", "linear"] = "tanh"
    """How G's last layer is bounded, or not; with sigmoid both networks speak of pixels in [0, 1]."""
    dropout: float = 0.0
    """Fraction of the discriminator's features silenced after each layer."""


@dataclass(frozen=True, kw_only=True)
class DCGAN:
    """Strided convolutions and batch norm; see `ganvas.networks.dcgan`."""

    family: Literal["dcgan"] = field(default="dcgan", init=False)
    latent: int = 100
    """Numbers in the latent vector z ~ N(0, 1)."""
    g_width: int = 128
    """Channels of the generator at the largest feature map; doubled at each halving of the size."""
    d_width: int = 128
    """Channels of the discriminator's first layer; doubled at each halving of the size."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator."""
    d_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the discriminator; gradient penalties need none."""
    dropout: float = 0.0
    """Fraction of the discriminator's features silenced after each layer."""


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """Self-attention pair of the courses; see `ganvas.networks.transformer`."""

    family: Literal["transformer"] = field(default="transformer", init=False)
    latent: int = 100
    """Numbers in the latent vector z ~ N(0, 1)."""
    tokens_width: int = 128
    """Numbers in a token."""
    heads: int = 4
    """Attention heads."""
    head_width: int = 128
    """Numbers in a head's queries, keys and values."""
    positions: float = 0.05
    """The learnt positions start uniform between ± this. Larger ones tell the tokens apart from the first step on."""
    output: Literal["tanh", "linear"] = "tanh"
    """How G's last layer is bounded, or not."""
    dropout: float = 0.0
    """Fraction of the discriminator's features silenced in front of its last layers."""


@dataclass(frozen=True, kw_only=True)
class ViT:
    """Modulated pre-norm transformer generator, residual convolutional discriminator; see `ganvas.networks.vit`."""

    family: Literal["vit"] = field(default="vit", init=False)
    latent: int = 64
    """Numbers in the latent vector z ~ N(0, 1)."""
    tokens_width: int = 256
    """Numbers in a token."""
    depth: int = 4
    """Transformer blocks in the generator."""
    heads: int = 4
    """Attention heads; they share the token's width."""
    d_width: int = 64
    """Channels of the discriminator at full size; doubled at each halving, to four times at most."""


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """Upsampling generator and critic, plain or residual; see `ganvas.networks.resnet`."""

    family: Literal["resnet"] = field(default="resnet", init=False)
    blocks: Literal["plain", "residual"] = "plain"
    """Plain convolutions, or the residual pair of WGAN-GP and SNGAN."""
    latent: int = 128
    """Numbers in the latent vector z ~ N(0, 1)."""
    g_width: int = 128
    """Channels of the generator: in every block (residual), or at the largest feature map (plain)."""
    d_width: int = 128
    """Channels of the discriminator: in every block (residual), or in its first layer (plain)."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation in the generator; with classes, each class has its own scale and shift."""
    dropout: float = 0.0
    """Fraction of the discriminator's features silenced in front of its last layer."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN:
    """Style-based generator, grown from 4×4; see `ganvas.networks.stylegan`."""

    family: Literal["stylegan"] = field(default="stylegan", init=False)
    latent: int = 128
    """Numbers in the latent vector z ~ N(0, 1), and in the style w."""
    mapping: int = 4
    """Layers of the mapping network from z to w."""
    width: int = 256
    """Channels up to 16×16; halved at each doubling of the size beyond."""
    growth: Knob = "0..1@0.1-0.6"
    """How far the networks have grown, from 0 (4×4) to 1 (full size); of each doubling the first half fades it in."""
    mixing: float = 0.9
    """How often two latents share a training picture, the second from a random layer on."""


@dataclass(frozen=True, kw_only=True)
class MSG:
    """Multi-scale gradients; see `ganvas.networks.msg`."""

    family: Literal["msg"] = field(default="msg", init=False)
    latent: int = 128
    """Numbers in the latent vector z ~ N(0, 1)."""
    width: int = 256
    """Channels up to 16×16; halved at each doubling of the size beyond."""


@dataclass(frozen=True, kw_only=True)
class R3GAN:
    """The modern baseline, residual and without normalisation; see `ganvas.networks.r3gan`."""

    family: Literal["r3gan"] = field(default="r3gan", init=False)
    latent: int = 64
    """Numbers in the latent vector z ~ N(0, 1)."""
    width: int = 768
    """Channels up to 32×32; halved at each doubling of the size beyond. A multiple of 8."""
    blocks: int = 2
    """Residual blocks at each size."""
    group: int = 16
    """Channels in a group of the 3×3 convolutions."""


Network = MLP | CNN | DCGAN | Transformer | ViT | ResNet | StyleGAN | MSG | R3GAN
"""One dataclass a family; the generator and discriminator of that family are built from it."""
