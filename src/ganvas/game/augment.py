"""Augmentation of everything D sees, real and generated: a few pictures then last longer before D knows them by heart.

What is applied to both alike, and not to every sample, does not leak into what G draws: below p = 0.8 or so, G must
still get the plain pictures right (Karras et al. 2020, section 2.2 of "Training GANs with limited data"). G learns
through the augmentation, so every function is differentiable in its images; and twice, for penalties.

Images are float32 or float64 [n c h w] in [-1, 1], c 1, 3 or 4, h and w at least 2; what comes out may leave [-1, 1].
Colour leaves alpha alone; the rest moves and covers all channels alike. Each sample draws its own from the global
generator of the images' device (`torch.manual_seed` repeats it), and nothing waits for the device.
"""

from collections.abc import Callable
from functools import reduce
from math import log, pi

import torch
from torch import Tensor, nn

from ganvas.errors import GanvasError

Probability = float | Tensor
"""A float, or a 0-dimensional tensor on the images' device, such as `Ada.p`."""


# Policies


def diffaugment(images: Tensor, p: Probability) -> Tensor:
    """Colour, translation and cutout (Zhao et al. 2020, section 3); the paper applies them always, p = 1."""
    if never(p):
        return images
    brightness = sometimes(p, uniform(images, -0.5, 0.5))
    saturation = sometimes(p, uniform(images, 0, 2), 1)
    contrast = sometimes(p, uniform(images, 0.5, 1.5), 1)
    mean = images[:, :3].mean(dim=(1, 2, 3))  # the contrast is that with the picture's own mean
    images = recolour(images, contrast, contrast * saturation, shift=brightness + (1 - contrast) * mean)
    images = translate(images, *sometimes(p, whole_steps(images)))
    return cutout(images, p)


def ada(images: Tensor, p: Probability) -> Tensor:
    """The pipe of Karras et al. 2020 (appendix B): pixel blitting, geometry and colour ("bgc"), and after them cutout.

    Cutout is not in the paper's final set, but R3GAN's is with it. Bilinear sampling stands for the paper's up-sampling
    and low-pass with wavelets: simpler, faster, and a little softer.
    """
    if never(p):
        return images
    images = warp(images, motion(images, p))
    brightness = sometimes(p, normal(images, 0.2))
    contrast = sometimes(p, lognormal(images, 0.5), 1)
    flip = sometimes(p, 1 - 2 * whole(images, 2), 1)
    hue = sometimes(p, uniform(images, -pi, pi))
    saturation = sometimes(p, lognormal(images, 1.0), 1)
    luma = contrast * flip
    images = recolour(images, luma, contrast * saturation, hue, shift=luma * brightness)
    return cutout(images, p)


def untouched(images: Tensor, p: Probability) -> Tensor:
    """No augmentation."""
    return images


AUGMENTATIONS = {"none": untouched, "diffaugment": diffaugment, "ada": ada}


def augmentation(name: str) -> Callable[[Tensor, Probability], Tensor]:
    """(images, p) -> augmented images, each transformation applied to each sample with probability p.

    At a float p = 0 the result is the argument; at a tensor of 0 it is equal to it, bit for bit.

    Raises:
        GanvasError: there is no such augmentation.
    """
    if name not in AUGMENTATIONS:
        raise GanvasError(f"'{name}' is not an augmentation.", expected="one of " + ", ".join(AUGMENTATIONS))
    return AUGMENTATIONS[name]


# Draws, one for each sample


def never(p: Probability) -> bool:
    """Whether nothing can be applied, as far as that is known without asking the device."""
    return not isinstance(p, Tensor) and p == 0


def sometimes(p: Probability, drawn: Tensor, otherwise: float = 0.0) -> Tensor:
    """[… n] -> [… n]: what was drawn in a fraction p of the samples, what changes nothing in the others."""
    return torch.where(torch.rand(drawn.shape[-1], device=drawn.device) < p, drawn, otherwise)


def uniform(images: Tensor, low: float, high: float) -> Tensor:
    """U(low, high): [n]."""
    return images.new_empty(len(images)).uniform_(low, high)


def normal(images: Tensor, deviation: float) -> Tensor:
    """N(0, deviation²): [n]."""
    return images.new_empty(len(images)).normal_(0, deviation)


def lognormal(images: Tensor, octaves: float) -> Tensor:
    """A factor 2^N(0, octaves²): [n]. The paper writes Lognormal(0, (octaves · ln 2)²)."""
    return (normal(images, octaves) * log(2)).exp()


def whole(images: Tensor, choices: int) -> Tensor:
    """0, 1 … choices - 1, equally often, as floats: [n]."""
    return images.new_empty(len(images)).random_(choices)


def whole_steps(images: Tensor) -> Tensor:
    """Whole pixels to the right and down, within an eighth of each side: [2 n]."""
    height, width = images.shape[2:]
    return torch.stack([uniform(images, -1 / 8, 1 / 8) * width, uniform(images, -1 / 8, 1 / 8) * height]).round()


# Colour


def recolour(images: Tensor, luma: Tensor, chroma: Tensor, hue: Tensor | None = None, *, shift: Tensor) -> Tensor:
    """Every transformation of both policies, as one matrix [3 3] and one shift of each sample.

    All of them keep the grey axis v = (1, 1, 1)/√3 where it is. They stretch along it, stretch and turn about it, and
    shift along it; so they compose by multiplying factors, and a grey picture only knows the first and the last.

    Args:
        luma, chroma: [n] factors along the grey axis and across it.
        hue: [n] angle about the grey axis (Rodrigues' formula), or None for no turn.
        shift: [n], added to each colour in the end.
    """
    luma, chroma, shift = luma[:, None, None], chroma[:, None, None], shift[:, None, None]
    if images.shape[1] == 1:
        return luma[..., None] * images + shift[..., None]
    eye = torch.eye(3, dtype=images.dtype, device=images.device)
    cross = (eye.roll(1, 0) - eye.roll(-1, 0)) / 3**0.5  # cross @ x = v × x
    angle = torch.zeros_like(luma) if hue is None else hue[:, None, None]
    straight, across = chroma * angle.cos(), chroma * angle.sin()
    matrix = straight * eye + (luma - straight) / 3 + across * cross  # v vᵀ is 1/3 everywhere
    colours = images[:, :3]
    colours = torch.baddbmm(shift, matrix, colours.flatten(2)).view_as(colours)
    return colours if images.shape[1] == 3 else torch.cat([colours, images[:, 3:]], dim=1)


# Place


def translate(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Shifts each sample by whole pixels, floats [n] and [n]; zeros come in."""
    n, channels, height, width = images.shape
    x = torch.arange(width, device=images.device) - right[:, None].long()
    y = torch.arange(height, device=images.device) - down[:, None].long()
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    place = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
    moved = images.flatten(2).gather(2, place.view(n, 1, -1).expand(-1, channels, -1))
    return moved.view(images.shape) * inside[:, None]


def cutout(images: Tensor, p: Probability) -> Tensor:
    """A rectangle of half of each side becomes 0; its centre is anywhere, so it may hang over the edge."""
    (_, _, height, width), device = images.shape, images.device
    x = (torch.arange(width, device=device) + 0.5) / width - uniform(images, 0, 1)[:, None]
    y = (torch.arange(height, device=device) + 0.5) / height - uniform(images, 0, 1)[:, None]
    half = sometimes(p, torch.full_like(x[:, 0], 1 / 4), -1)[:, None]  # of the rectangle's sides; < 0: none
    covered = (y.abs() < half)[:, :, None] & (x.abs() < half)[:, None, :]
    return images * ~covered[:, None]


def motion(images: Tensor, p: Probability) -> Tensor:
    """ADA's blitting and geometry: [n 3 3], from a place in the output to the place in the input it is read from.

    In pixels from the centre. Read from left to right it is the order of the paper. It maps backwards because sampling
    does; nothing is inverted, since every inverse is as likely as the transformation itself.
    """
    height, width = images.shape[2:]
    p_turn = 1 - (1 - p) ** 0.5  # of each of two turns: one of them or both with probability p
    mirror = sometimes(p, 1 - 2 * whole(images, 2), 1)
    quarters = sometimes(p, pi / 2 * whole(images, 4))
    steps = sometimes(p, whole_steps(images))
    size = sometimes(p, lognormal(images, 0.2), 1)
    before = sometimes(p_turn, uniform(images, -pi, pi))
    stretch = sometimes(p, lognormal(images, 0.2), 1)
    after = sometimes(p_turn, uniform(images, -pi, pi))
    drift = sometimes(p, torch.stack([normal(images, 1 / 8) * width, normal(images, 1 / 8) * height]))
    return reduce(
        torch.matmul,
        [
            scaling(mirror, torch.ones_like(mirror)),
            rotation(quarters),
            translation(*steps),
            scaling(size, size),
            rotation(before),
            scaling(stretch, 1 / stretch),
            rotation(after),
            translation(*drift),
        ],
    )


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Factors [n], [n] -> [n 3 3]."""
    return torch.stack([x, y, torch.ones_like(x)], dim=-1).diag_embed()


def rotation(angle: Tensor) -> Tensor:
    """[n] -> [n 3 3]: x towards y."""
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Pixels [n], [n] -> [n 3 3]."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([one, zero, x, zero, one, y, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Reads each output pixel at the place that `maps` (see `motion`) gives for it; beyond the edge is a mirror.

    Places are in pixels whatever the shape: a picture that is not square keeps its proportions in a quarter turn too.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2
    y = torch.arange(height, dtype=images.dtype, device=images.device)[:, None] - (height - 1) / 2
    of_x, of_y, of_1 = maps[:, :2, :, None, None].unbind(dim=2)  # each [n 2 1 1]
    place = of_x * x + of_y * y + of_1
    grid = torch.stack([place[:, 0] * (2 / (width - 1)), place[:, 1] * (2 / (height - 1))], dim=-1)
    eye = torch.eye(3, dtype=maps.dtype, device=maps.device)
    moved = (maps != eye).flatten(1).any(dim=1)[:, None, None, None]
    sampled: Tensor = _Sample.apply(images, grid)  # type: ignore[assignment]
    return torch.where(moved, sampled, images)  # interpolation is not exact where nothing moved


class _Sample(torch.autograd.Function):
    """grid_sample, bilinear and mirrored, as a linear map of the images: its backward is its adjoint.

    PyTorch's own has a second derivative only since its pull request 177487 (2026), after the oldest release we allow.
    """

    @staticmethod
    def forward(ctx, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return torch.ops.aten.grid_sampler_2d(images, grid, *_BILINEAR_MIRRORED)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Spread.apply(slope, *ctx.saved_tensors, ctx.shape), None  # type: ignore[return-value]


class _Spread(torch.autograd.Function):
    """The adjoint of `_Sample`: adds each value to the pixels it would have been read from."""

    @staticmethod
    def forward(ctx, slope: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        like = slope.new_zeros(()).expand(shape)  # its values only matter for the slope of the grid
        return torch.ops.aten.grid_sampler_2d_backward(slope, like, grid, *_BILINEAR_MIRRORED, [True, False])[0]

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _Sample.apply(slope, *ctx.saved_tensors), None, None  # type: ignore[return-value]


_BILINEAR_MIRRORED = (0, 2, True)  # interpolation, padding, align_corners: the mirror is the edge pixel's centre


# The controller

ADJUST_EVERY = 4
"""Moves of D from one `Ada.adjust` to the next (Karras et al. 2020, section 3)."""


class Ada(nn.Module):
    """Raises p while D overfits and lowers it otherwise (Karras et al. 2020, section 3).

    Overfitting is r_t = E[sign D(real)] (equation 1): 0 where D is at a loss, 1 where it knows every training picture.

    Attributes:
        p: float32 [], the probability to augment with; starts at 0.
        signs: float32 [2], the sum and the number of the signs seen since the last `adjust`. Over many processes,
            sum it before each `adjust`.

    Args:
        target: what r_t is held at; 0.6 in the paper.
        kimg: thousands of pictures in which p can go from 0 to 1; 500 in the paper.
    """

    p: Tensor
    signs: Tensor

    def __init__(self, target: float, kimg: float) -> None:
        super().__init__()
        self.target, self.kimg = target, kimg
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(2))

    @torch.no_grad()
    def saw(self, on_real: Tensor) -> None:
        """Takes note of D's logits on real pictures [n] or, where the objective pairs them, of D(x) - D(G(z))."""
        self.signs[0] += on_real.sign().sum()
        self.signs[1] += len(on_real)

    @torch.no_grad()
    def adjust(self, images: int) -> None:
        """Moves p by what may be moved in this many real pictures, those shown since the last time.

        The paper clamps p at 0 only; it is a probability, so here at 1 too. Without signs it stays as it is.
        """
        total, count = self.signs
        self.p += torch.sign(total - self.target * count) * (images / (self.kimg * 1000))  # r_t against the target
        self.p.clamp_(0, 1)
        self.signs.zero_()
