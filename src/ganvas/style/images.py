"""Image files of style transfer: reading to colours, opacity and ICC profile, and writing."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ganvas import image_io
from ganvas.data import decoding, to_uint8, to_unit
from ganvas.data.decoding import read_header
from ganvas.data.source_types import Unreadable
from ganvas.display import Displayed, InlineImage, Part
from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.reading import describe_reason, read_bytes
from ganvas.style.scales import fit_longer_side

MIN_SIDE = 17
"""Lower bound of the shorter side, in pixels: SqueezeNet has no position of fire6 in an image of 16."""

MIN_WHITE = 0.02
"""A mask whose lightest pixel is darker than this counts as black."""

IMAGE = "an image file, or pixels uint8 [1|3|4 height width]"


@dataclass(frozen=True, eq=False, repr=False)
class StyleImage(Displayed):
    """Colours uint8 [3 h w]; opacity uint8 [h w], or None if the image is opaque; the ICC profile of the file."""

    pixels: np.ndarray
    opacity: np.ndarray | None = None
    profile: bytes | None = None

    @property
    def is_visible(self) -> bool:
        """Whether any pixel is not wholly transparent."""
        return self.opacity is None or bool(self.opacity.any())

    def _line(self) -> str:
        height, width = self.pixels.shape[1:]
        return f"StyleImage({height}×{width}{', with opacity' if self.opacity is not None else ''})"

    def _parts(self) -> Iterator[Part]:
        yield InlineImage(self._to_pil(), self._line(), width=800)

    def _to_pil(self) -> Image.Image:
        planes = self.pixels if self.opacity is None else np.concatenate([self.pixels, self.opacity[None]])
        return image_io.to_pil(planes)

    def with_pixels(self, pixels: np.ndarray) -> "StyleImage":
        """An image of the colours uint8 [3 h' w'] with this opacity, resized, and this profile."""
        opacity = self.opacity
        if opacity is not None and opacity.shape != pixels.shape[1:]:
            height, width = pixels.shape[1:]
            opacity = np.asarray(Image.fromarray(opacity).resize((width, height), Image.Resampling.BOX))
        return StyleImage(pixels, opacity, self.profile)

    def save(self, path: Path | str) -> None:
        """Writes the image atomically, with its profile, in the format of the suffix; JPEG has a white background.

        Raises:
            GanvasError: no format has this suffix, or the file cannot be written.
        """
        path, image = Path(path), self._to_pil()
        if image.mode == "RGBA" and path.suffix.lower() in (".jpg", ".jpeg", ".bmp"):
            image = Image.alpha_composite(Image.new("RGBA", image.size, (255,) * 4), image).convert("RGB")
        image_io.save_image(image, path, icc_profile=self.profile, quality=95)


MAX_FILE = 2**31
"""Most bytes of an image file."""

ImageSource = Path | str | np.ndarray | StyleImage
"""What is accepted as an image; arrays are uint8 [1|3|4 h w]."""


def load_image(source: ImageSource, size: int | None, *, enlarge: bool = True, min_side: int = MIN_SIDE) -> StyleImage:
    """Loads an image, upright, in RGB, and resizes its longer side to `size` pixels.

    Args:
        source: a file of any kind that Ganvas reads (grey, CMYK, palettes, 16 bits, any orientation), or pixels.
        size: None: the size is kept.
        enlarge: whether a smaller one is enlarged.
        min_side: lower bound of the shorter side then, in pixels.

    Raises:
        GanvasError: not an image, a damaged one, or one that is too small or too elongated.
    """
    profile = source.profile if isinstance(source, StyleImage) else None
    if isinstance(source, StyleImage):
        source = source.pixels if source.opacity is None else np.concatenate([source.pixels, source.opacity[None]])
    name = "The array" if isinstance(source, np.ndarray) else str(source)
    file = _encode_png(source) if isinstance(source, np.ndarray) else _read_file(to_path(source, IMAGE))
    try:
        head = read_header(file, name)
        height, width = _target_size(head.height, head.width, size, enlarge)
        if min(height, width) < min_side:
            resized = size is not None and (enlarge or min(head.height, head.width) >= min_side)
            raise GanvasError(
                f"{name} has {head.width:,}×{head.height:,} pixels: its shorter side would be {min(height, width)}.",
                expected=f"a shorter side of at least {min_side} pixels",
                fix="crop it, or ask for a larger --size." if resized else "enlarge it first.",
            )
        planes = decoding.decode(file, 4 if head.alpha else 3, (height, width), "stretch")
    except Unreadable as reason:
        raise GanvasError(f"{name} cannot be used: {reason}.", expected="an image of at least 8×8 pixels") from reason
    opacity = planes[3] if head.alpha and planes[3].min() < 255 else None
    colours = planes[:3] if opacity is None else _fill_transparent(planes[:3], opacity)
    if head.mode in ("RGB", "RGBA"):  # another mode's profile would be wrong for RGB
        profile = profile or _icc_profile(file)
    return StyleImage(np.ascontiguousarray(colours), opacity, profile)


def load_mask(source: ImageSource, size: tuple[int, int]) -> Tensor:
    """Loads a grey image of any size -> float [1 1 h w] in [0, 1], opaque white being 1, transparent pixels 0.

    Raises:
        GanvasError: not an image, or black everywhere.
    """
    image = load_image(source, None, min_side=1)
    planes = to_tensor(image).mean(1, keepdim=True) / 2 + 0.5
    if (opacity := to_opacity(image)) is not None:
        planes = planes * opacity
    fitted = F.interpolate(planes, size, mode="bilinear", antialias=True).clamp(0, 1)
    if fitted.max() < MIN_WHITE:
        raise GanvasError(f"{name_mask(source)} is black everywhere.", expected="white where it applies")
    return fitted


def name_mask(source: ImageSource) -> str:
    """A mask in a message, at its beginning."""
    return f"The mask {source}" if isinstance(source, str | Path) else "A mask"


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images float [n c h w] in [-1, 1] -> [n c *size], bicubic, antialiased, clipped."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(-1, 1)


def to_tensor(image: StyleImage) -> Tensor:
    """The colours as float [1 3 h w] in [-1, 1]."""
    return to_unit(torch.from_numpy(image.pixels)[None])


def to_opacity(image: StyleImage) -> Tensor | None:
    """The opacity as float [1 1 h w] in [0, 1], or None if the image is opaque."""
    return None if image.opacity is None else torch.from_numpy(image.opacity)[None, None].float() / 255


def to_pixels(images: Tensor) -> np.ndarray:
    """Images float [1 3 h w] in [-1, 1] -> uint8 [3 h w]."""
    return to_uint8(images.detach())[0].contiguous().cpu().numpy()


def _target_size(height: int, width: int, size: int | None, enlarge: bool) -> tuple[int, int]:
    if size is None or (not enlarge and max(height, width) <= size):
        return height, width
    return fit_longer_side(height, width, size)


def _read_file(path: Path) -> io.BytesIO:
    try:
        return io.BytesIO(read_bytes(path, MAX_FILE))
    except (OSError, ValueError) as error:
        raise GanvasError(f"{path} cannot be read: {describe_reason(error)}.", expected="an image file") from error


def _encode_png(pixels: np.ndarray) -> io.BytesIO:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] not in (1, 3, 4) or not pixels.size:
        raise GanvasError(
            f"An array {pixels.dtype} {list(pixels.shape)} is not an image.", expected="uint8 [1|3|4 height width]"
        )
    file = io.BytesIO()
    image_io.to_pil(pixels).save(file, "PNG", compress_level=0)
    return file


def _fill_transparent(pixels: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Gives fully transparent pixels the mean colour of the others."""
    visible = opacity > 0
    mean = pixels[:, visible].mean(1) if visible.any() else np.full(3, 128.0)
    return np.where(visible, pixels, mean.round().astype(np.uint8)[:, None, None])


def _icc_profile(file: io.BytesIO) -> bytes | None:
    file.seek(0)
    try:
        with Image.open(file) as image:
            return image.info.get("icc_profile")
    except ValueError:  # Pillow refuses long texts and profiles, which `decoding` leaves out
        return None
