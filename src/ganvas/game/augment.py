"""Augmentation of everything D receives, real and generated, against overfitting of D on small data sets.

If reals and fakes are augmented alike, and not every sample is, the augmentation does not leak into the generated
images: up to p of about 0.8, G must still match the original distribution (Karras et al. 2020, "Training GANs with
limited data", section 2.2). G learns through the augmentation, so every function is differentiable in the images;
twice, for gradient penalties.

Images are float32 or float64 [n c h w] in [-1, 1], c 1, 3 or 4, of any size; the result may leave [-1, 1].
Colour transformations leave alpha unchanged; the others apply to all channels. The parameters of each sample are drawn
from the global random generator of the images' device, and nothing synchronises with the device.
"""

from collections.abc import Callable
from functools import partial, reduce
from math import log, pi
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas import user_code
from ganvas.errors import GanvasError

Probability = float | Tensor
"""A float, or a 0-dimensional tensor on the images' device, such as `Ada.p`."""


# Policies


def diffaugment(images: Tensor, p: Probability) -> Tensor:
    """Colour, translation and cutout (Zhao et al. 2020, section 3); the paper always applies them, p = 1."""
    if is_off(p):
        return images
    brightness = apply_randomly(p, uniform(images, -0.5, 0.5))
    saturation = apply_randomly(p, uniform(images, 0, 2), 1)
    contrast = apply_randomly(p, uniform(images, 0.5, 1.5), 1)
    mean = images[:, :3].mean(dim=(1, 2, 3))  # contrast is relative to the mean of the image
    images = recolour(images, contrast, contrast * saturation, shift=brightness + (1 - contrast) * mean)
    images = translate(images, *apply_randomly(p, random_translation(images)))
    return cutout(images, p)


def translation_only(images: Tensor, p: Probability) -> Tensor:
    """Random translation alone, by up to an eighth of each side (Zhao et al. 2020): it leaves colours as they are."""
    return images if is_off(p) else translate(images, *apply_randomly(p, random_translation(images)))


def ada(images: Tensor, p: Probability) -> Tensor:
    """The pipe of Karras et al. 2020 (appendix B): pixel blitting, geometry and colour ("bgc"), then cutout.

    The paper's final set has no cutout; R3GAN's has. Bilinear sampling replaces the paper's upsampling with a wavelet
    low-pass filter: simpler, faster, and slightly blurrier.
    """
    if is_off(p):
        return images
    images = warp(images, random_transform(images, p))
    brightness = apply_randomly(p, normal(images, 0.2))
    contrast = apply_randomly(p, lognormal(images, 0.5), 1)
    flip = apply_randomly(p, 1 - 2 * random_integers(images, 2), 1)
    hue = apply_randomly(p, uniform(images, -pi, pi))
    saturation = apply_randomly(p, lognormal(images, 1.0), 1)
    luma = contrast * flip
    images = recolour(images, luma, contrast * saturation, hue, shift=luma * brightness)
    return cutout(images, p)


def no_augmentation(images: Tensor, p: Probability) -> Tensor:
    """No augmentation."""
    return images


AUGMENTATIONS = {
    "none": no_augmentation,
    "translation": translation_only,
    "diffaugment": diffaugment,
    "ada": ada,
}


def get_augmentation(name: str) -> Callable[[Tensor, Probability], Tensor]:
    """(images, p) -> augmented images, each transformation applied to each sample with probability p.

    For a float p = 0 the result is the argument itself; for a tensor 0 it is equal, bit for bit.

    Args:
        name: one of `AUGMENTATIONS`, or the spec (`ganvas.user_code`) of the user's own: a function, or a class derived
            from nn.Module, from images [n c h w] to images of this shape; applied to each image with probability p.

    Raises:
        GanvasError: the name is unknown, or names no function.
    """
    if user_code.is_spec(name):
        return partial(apply_to_some, load_transform(name))
    if name not in AUGMENTATIONS:
        raise user_code.unknown(f"'{name}' is not an augmentation.", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def load_transform(spec: str) -> Callable[[Tensor], Tensor]:
    """The user's own augmentation, without its probability.

    Raises:
        GanvasError: it cannot be loaded, or is no function and no module.
    """
    value = user_code.load(spec)
    expected = "a class derived from torch.nn.Module, or a function: images [n c h w] in [-1, 1] -> the same shape"
    if isinstance(value, type) and issubclass(value, nn.Module):
        called = f"{user_code.parse(spec).name}(), with keyword arguments if it has some"
        return user_code.call(spec, value, expected=called).requires_grad_(False)
    if isinstance(value, type) or not callable(value):
        raise GanvasError(f"{user_code.title(spec)} is of type {type(value).__name__}.", expected=expected)
    return partial(cast(Callable[..., Tensor], value), **user_code.parse(spec).arguments)


def apply_to_some(transform: Callable[[Tensor], Tensor], images: Tensor, p: Probability) -> Tensor:
    """Transforms each image with probability p."""
    if is_off(p):
        return images
    if isinstance(transform, nn.Module):
        transform.to(images.device)
    chosen = torch.rand(len(images), device=images.device) < p
    return torch.where(chosen[:, None, None, None], transform(images), images)


class AugmentPipe:
    """Augmentation, then Gaussian noise, for everything that D receives; differentiable.

    Attributes:
        p: the probability of each transformation, in [0, 1]; a float, or a 0-dimensional tensor on the device.
        noise: the standard deviation of the Gaussian noise (instance noise: Sønderby et al. 2017, section 3.2); as `p`.
    """

    def __init__(self, augment: str) -> None:
        self._transform = get_augmentation(augment)
        self.p: Probability = 1.0
        self.noise: Probability = 0.0

    def set_augmentation(self, augment: str) -> None:
        """Replaces the augmentation.

        Raises:
            GanvasError: the name is unknown.
        """
        self._transform = get_augmentation(augment)

    def __call__(self, images: Tensor) -> Tensor:
        """float [n …] -> the same shape."""
        images = self._transform(images, self.p)
        return images if is_off(self.noise) else images + self.noise * torch.randn_like(images)


# Random parameters, one for each sample


def is_off(p: Probability) -> bool:
    """Whether p is the float 0; a tensor is not read, since that would synchronise with the device."""
    return not isinstance(p, Tensor) and p == 0


def apply_randomly(p: Probability, values: Tensor, identity: float = 0.0) -> Tensor:
    """[… n] -> [… n]: keeps `values` with probability p for each sample, else `identity`."""
    return torch.where(torch.rand(values.shape[-1], device=values.device) < p, values, identity)


def uniform(images: Tensor, low: float, high: float) -> Tensor:
    """U(low, high): [n]."""
    return images.new_empty(len(images)).uniform_(low, high)


def normal(images: Tensor, deviation: float) -> Tensor:
    """N(0, deviation²): [n]."""
    return images.new_empty(len(images)).normal_(0, deviation)


def lognormal(images: Tensor, octaves: float) -> Tensor:
    """A factor 2^N(0, octaves²): [n]. The paper writes Lognormal(0, (octaves · ln 2)²)."""
    return (normal(images, octaves) * log(2)).exp()


def random_integers(images: Tensor, choices: int) -> Tensor:
    """Uniform over 0, 1 … choices - 1, as floats: [n]."""
    return torch.randint(choices, images.shape[:1], dtype=images.dtype, device=images.device)


def random_translation(images: Tensor) -> Tensor:
    """Random shifts to the right and down in whole pixels, up to an eighth of each side: [2 n]."""
    height, width = images.shape[2:]
    return torch.stack([uniform(images, -1 / 8, 1 / 8) * width, uniform(images, -1 / 8, 1 / 8) * height]).round()


# Colour


def recolour(images: Tensor, luma: Tensor, chroma: Tensor, hue: Tensor | None = None, *, shift: Tensor) -> Tensor:
    """All colour transformations of both policies, as one matrix [3 3] and one shift for each sample.

    They map the grey axis v = (1, 1, 1)/√3 to itself: each scales along it, scales or rotates around it, or shifts
    along it. They therefore compose by multiplying factors, and a grey image needs only `luma` and `shift`.

    Args:
        luma, chroma: [n] factors along the grey axis and perpendicular to it.
        hue: [n] angle around the grey axis (Rodrigues' formula), or None for no rotation.
        shift: [n], added to each colour channel last.
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


# Geometry


def translate(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Shifts each sample by whole pixels, floats [n] and [n], with zero padding."""
    n, channels, height, width = images.shape
    x = torch.arange(width, device=images.device) - right[:, None].long()
    y = torch.arange(height, device=images.device) - down[:, None].long()
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    place = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
    changed = images.flatten(2).gather(2, place.view(n, 1, -1).expand(-1, channels, -1))
    return changed.view(images.shape) * inside[:, None]


def cutout(images: Tensor, p: Probability) -> Tensor:
    """Sets a rectangle with half of each side to 0; its centre is uniform, so it may extend beyond the edge."""
    (_, _, height, width), device = images.shape, images.device
    x = (torch.arange(width, device=device) + 0.5) / width - uniform(images, 0, 1)[:, None]
    y = (torch.arange(height, device=device) + 0.5) / height - uniform(images, 0, 1)[:, None]
    half = apply_randomly(p, torch.full_like(x[:, 0], 1 / 4), -1)[:, None]  # half the rectangle's sides; < 0: no cutout
    covered = (y.abs() < half)[:, :, None] & (x.abs() < half)[:, None, :]
    return images * ~covered[:, None]


def random_transform(images: Tensor, p: Probability) -> Tensor:
    """ADA's blitting and geometry: [n 3 3], from output to input coordinates, in pixels from the centre.

    The factors are in the order of the paper, from left to right. The map goes backwards, as sampling needs it; no
    matrix is inverted, since every inverse is as likely as the transformation itself.
    """
    height, width = images.shape[2:]
    p_turn = 1 - (1 - p) ** 0.5  # for each of two rotations: at least one with probability p
    mirror = apply_randomly(p, 1 - 2 * random_integers(images, 2), 1)
    quarter_turns = apply_randomly(p, pi / 2 * random_integers(images, 4))
    steps = apply_randomly(p, random_translation(images))
    size = apply_randomly(p, lognormal(images, 0.2), 1)
    turn_before = apply_randomly(p_turn, uniform(images, -pi, pi))
    stretch = apply_randomly(p, lognormal(images, 0.2), 1)
    turn_after = apply_randomly(p_turn, uniform(images, -pi, pi))
    drift = apply_randomly(p, torch.stack([normal(images, 1 / 8) * width, normal(images, 1 / 8) * height]))
    return reduce(
        torch.matmul,
        [
            scaling(mirror, torch.ones_like(mirror)),
            rotation(quarter_turns),
            translation(*steps),
            scaling(size, size),
            rotation(turn_before),
            scaling(stretch, 1 / stretch),
            rotation(turn_after),
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
    """Samples each output pixel at the position given by `maps` (see `random_transform`), with reflection padding.

    Coordinates are in pixels for both axes, so that an image that is not square keeps its proportions when rotated.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2
    y = torch.arange(height, dtype=images.dtype, device=images.device)[:, None] - (height - 1) / 2
    of_x, of_y, of_1 = maps[:, :2, :, None, None].unbind(dim=2)  # each [n 2 1 1]
    place = of_x * x + of_y * y + of_1
    grid = torch.stack([place[:, 0] * (2 / max(width - 1, 1)), place[:, 1] * (2 / max(height - 1, 1))], dim=-1)
    eye = torch.eye(3, dtype=maps.dtype, device=maps.device)
    changed = (maps != eye).flatten(1).any(dim=1)[:, None, None, None]
    return torch.where(changed, _sample(images, grid), images)  # unchanged samples stay exact


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    # a function with a backward of its own cannot be compiled and differentiated twice
    if torch.compiler.is_compiling():
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)
    return _GridSample.apply(images, grid)  # type: ignore[return-value]


class _GridSample(torch.autograd.Function):
    """grid_sample, bilinear with reflection, as a linear map of the images: its backward is its adjoint.

    PyTorch's own function has a second derivative only since pull request 177487 (2026), after the oldest supported
    release.
    """

    @staticmethod
    def forward(ctx, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return torch.ops.aten.grid_sampler_2d(images, grid, *_BILINEAR_MIRRORED)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _GridSampleAdjoint.apply(gradient, *ctx.saved_tensors, ctx.shape), None  # type: ignore[return-value]


class _GridSampleAdjoint(torch.autograd.Function):
    """The adjoint of `_GridSample`: adds each value to the pixels that it is sampled from."""

    @staticmethod
    def forward(ctx, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        like = gradient.new_zeros(()).expand(shape)  # its values matter only for the gradient of the grid
        return torch.ops.aten.grid_sampler_2d_backward(gradient, like, grid, *_BILINEAR_MIRRORED, [True, False])[0]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return _GridSample.apply(gradient, *ctx.saved_tensors), None, None  # type: ignore[return-value]


_BILINEAR_MIRRORED = (0, 2, True)  # interpolation, padding, align_corners: reflection at the centre of the edge pixel


# The controller

ADJUST_EVERY = 4
"""Updates of D from one `Ada.adjust` to the next (Karras et al. 2020, section 3)."""


class Ada(nn.Module):
    """Adaptive discriminator augmentation: raises p while D overfits, else lowers it (Karras et al. 2020, section 3).

    Overfitting is measured by r_t = E[sign D(real)] (equation 1): 0 without overfitting, 1 if D classifies every
    training image as real.

    Attributes:
        p: float32 [], the augmentation probability; starts at 0.
        signs: float32 [2], the sum and the number of the signs since the last `adjust`. With several processes, add
            those of all to each.

    Args:
        target: the target of r_t; 0.6 in the paper.
        kimg: thousands of images in which p can change by 1; 500 in the paper.
    """

    p: Tensor
    signs: Tensor

    def __init__(self, target: float, kimg: float) -> None:
        super().__init__()
        self.target, self.kimg = target, kimg
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(2))

    @torch.no_grad()
    def record_logits(self, on_real: Tensor) -> None:
        """Accumulates the signs of D's logits on reals, taken from the boundary of the objective.

        Args:
            on_real: float [n], or [n k] with k logits an image, each of which counts as one sign.
        """
        self.signs[0] += on_real.sign().sum()
        self.signs[1] += on_real.numel()

    @torch.no_grad()
    def adjust(self, images: int) -> None:
        """Changes p by at most the step for this number of images, those shown to D since the last call.

        The paper clamps p at 0 only; here also at 1. Without accumulated signs p does not change.
        """
        total, count = self.signs
        self.p += torch.sign(total - self.target * count) * (images / (self.kimg * 1000))  # r_t against the target
        self.p.clamp_(0, 1)
        self.signs.zero_()
