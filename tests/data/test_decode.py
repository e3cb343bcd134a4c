"""Images of every format are decoded upright, with the right channels and size."""

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from helpers import encode, noise, open_data, write_folder
from PIL import Image

from ganvas.data.decoding import Fit, decode, read_header
from ganvas.data.source_types import Unreadable
from ganvas.errors import GanvasError


def save(image: Image.Image, form: str, **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


def read(image: Image.Image, form="PNG", channels=3, size=None, fit: Fit = "crop", **options) -> np.ndarray:
    return decode(save(image, form, **options), channels, size or (image.height, image.width), fit)


def gradient(height=16, width=24) -> np.ndarray:
    """A colour gradient that survives JPEG."""
    down, across = np.mgrid[:height, :width]
    return np.stack([down * 8, across * 8, (down + across) * 4], axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG", "GIF", "AVIF", "JPEG2000"])
def test_every_format_is_decoded(form):
    exact = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(form, {})
    found = read(Image.fromarray(gradient()), form, **exact).transpose(1, 2, 0)
    tolerance = {"JPEG": 6, "GIF": 24, "AVIF": 24}.get(form, 0)
    assert np.abs(found.astype(int) - gradient()).max() <= tolerance


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(form, orientation):
    """The eight EXIF orientations, undone with numpy instead of Pillow."""
    upright = gradient()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright[::-1].transpose(1, 0, 2)[::-1, ::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[::-1][::-1, ::-1],
    }[orientation]
    if orientation in (6, 8):  # 6: shown after a clockwise quarter turn, so stored a quarter turn the other way
        stored = np.rot90(upright, 1 if orientation == 6 else -1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    file = save(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **options)
    info = read_header(file, "x")
    file.seek(0)
    found = decode(file, 3, (16, 24), "crop").transpose(1, 2, 0)
    assert np.abs(found.astype(int) - upright).max() <= 6
    assert (info.height, info.width) == (16, 24)


def test_broken_exif_block_is_ignored(tmp_path):
    broken = save(Image.fromarray(gradient()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(30))
    found = open_data(write_folder(tmp_path / "s", {"a.jpg": broken.getvalue()}))
    assert found.images.shape == (1, 3, 16, 24)


def test_alpha_is_composited_over_white_unless_it_is_kept():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0], pixels[:4, :, 3], pixels[4:, :, 3] = 200, 255, 51
    image = Image.fromarray(pixels)
    flat = read(image)
    assert flat[:, 0, 0].tolist() == [200, 0, 0]
    assert flat[:, 7, 0].tolist() == [244, 204, 204]  # a fifth of (200, 0, 0), four fifths of white
    assert np.array_equal(read(image, channels=4).transpose(1, 2, 0), pixels)
    grey = Image.merge("LA", [Image.new("L", (8, 8), 100), Image.new("L", (8, 8), 51)])
    assert read(grey, channels=1)[0, 0, 0] == 224


def test_palettes_are_decoded_with_and_without_transparency():
    image = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 32).reshape(8, 8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert read(image)[:, 7, 7].tolist() == [200, 100, 50]
    assert read(image, transparency=1)[:, 7, 7].tolist() == [255, 255, 255]
    assert read(image, transparency=b"\xff\x33")[:, 7, 7].tolist() == [244, 224, 214]
    assert read_header(save(image, "PNG"), "x").grey is False
    image.putpalette([10, 10, 10, 200, 200, 200])
    assert read_header(save(image, "PNG"), "x").grey is True


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_is_converted_to_rgb(adobe):
    """Adobe's programs store CMYK inverted and record that in a marker, which Pillow writes too."""
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 0], ink[..., 3] = 255, 51  # full cyan, a fifth of black
    image = Image.fromarray(ink, "CMYK")
    found = read(image, "JPEG", quality=98) if adobe else read(image, "TIFF")
    assert np.abs(found[:, 4, 4].astype(int) - [0, 204, 204]).max() <= 3


@pytest.mark.parametrize(("form", "order"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2")])
def test_16_bit_grey_is_scaled_not_clipped(form, order):
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(order)
    found = read(Image.fromarray(values), form, channels=1)[0]
    assert np.array_equal(found, np.rint(values.astype(float) / 257).astype(np.uint8))
    assert read_header(save(Image.fromarray(values), form), "x").grey


def test_32_bit_integers_and_floats_are_scaled():
    whole = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.int32)
    assert np.array_equal(read(Image.fromarray(whole), "TIFF", channels=1)[0], np.rint(whole / 257))
    ramp = np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32)
    for scale, shift in ((1, 0), (255, 0), (7000, -300)):
        found = read(Image.fromarray(ramp * np.float32(scale) + np.float32(shift)), "TIFF", channels=1)[0]
        assert np.abs(found - ramp * 255).max() <= 0.51
    ramp[3, 3] = np.nan
    with pytest.raises(Unreadable, match="not finite"):
        read(Image.fromarray(ramp), "TIFF", channels=1)


def test_bilevel_and_colour_images_are_converted_to_grey():
    checks = np.indices((8, 8)).sum(axis=0) % 2 == 0
    assert np.array_equal(read(Image.fromarray(checks), channels=1)[0], checks * 255)
    assert read(Image.new("RGB", (8, 8), (255, 0, 0)), channels=1)[0, 0, 0] == 76


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation_is_decoded(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    lossless = {"lossless": True} if form == "WEBP" else {}
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], **lossless}
    found = read(frames[0], form, **options)
    assert found[:, 4, 4].tolist() == [255, 0, 0]


# --- fitting -----------------------------------------------------------------------------------------------


def three_squares() -> Image.Image:
    """16 high, 48 wide: a red, a green, and a blue square."""
    pixels = np.zeros((16, 48, 3), np.uint8)
    for third in range(3):
        pixels[:, 16 * third : 16 * third + 16, third] = 255
    return Image.fromarray(pixels)


def test_crop_takes_the_middle():
    found = read(three_squares(), size=(16, 16))
    assert found[:, 8, 8].tolist() == [0, 255, 0]
    assert (found[1] == 255).all()


def test_pad_adds_bars():
    found = read(three_squares(), size=(16, 16), fit="pad")
    assert found[:, 0, 8].tolist() == [0, 0, 0]
    assert found[1, 8, 8] > 250
    clear = read(three_squares(), channels=4, size=(16, 16), fit="pad")
    assert clear[3, 0, 8] == 0
    assert clear[3, 8, 8] == 255


def test_stretch_distorts():
    found = read(three_squares(), size=(16, 15), fit="stretch")
    assert [found[:, 8, x].argmax() for x in (2, 7, 12)] == [0, 1, 2]


def test_shrinking_does_not_alias():
    """A fine checkerboard must become uniform grey, not a moiré pattern."""
    checks = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = read(Image.fromarray(checks), channels=1, size=(8, 8))
    assert np.abs(found.astype(int) - 127).max() <= 3


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_large_photo_decoded_in_draft_mode_equals_one_decoded_in_full(fit):
    image = Image.fromarray(gradient(800, 1600) // 8)
    drafted = read(image, "JPEG", size=(40, 32), fit=fit, quality=95)
    whole = read(image, "PNG", size=(40, 32), fit=fit)
    assert np.abs(drafted.astype(int) - whole).mean() < 2


def test_invisible_colours_do_not_bleed():
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, 16:] = (255, 255, 255, 255)
    pixels[:, :16] = (255, 0, 0, 0)
    found = read(Image.fromarray(pixels), channels=4, size=(8, 8))
    assert found[1][found[3] > 0].min() > 250


# --- what cannot be read -----------------------------------------------------------------------------------


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that declare an image of the given size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


GOOD = Image.fromarray(noise(64, 64, 3))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html><body>Not found", "not an image: it begins with '<html><body>Not '"),
        (save(GOOD, "JPEG").getvalue()[:900], "truncated JPEG"),
        (save(GOOD, "PNG").getvalue()[:900], "truncated PNG"),
        (save(GOOD, "JPEG").getvalue()[:20], "damaged JPEG: its header cannot be read|truncated JPEG"),
        (save(GOOD, "WEBP").getvalue()[:300], "WebP"),
        (save(GOOD, "GIF").getvalue()[:1200], "truncated GIF"),
        (save(GOOD, "TIFF").getvalue()[:500], "TIFF"),
        (save(GOOD, "BMP").getvalue()[:500], "truncated BMP"),
        (png_of_size(12000, 30000), "360 megapixels, over the limit of 178"),
        (png_of_size(12000, 12000), "truncated PNG|damaged PNG"),
        (encode(noise(7, 90)), "90 x 7 pixels, under the minimum of 8"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
    ],
)
def test_bad_files_are_listed_with_their_reason(tmp_path, content, reason):
    files = {f"{index}.png": encode(noise(9, 9, seed=index)) for index in range(3)}
    found = open_data(write_folder(tmp_path / "s", {**files, "bad.png": content}), max_bad=0.25, resolution="9")
    assert len(found) == 3
    [(name, message)] = found.skipped
    assert name == "bad.png"
    assert re.search(reason, message), message


# --- defaults from a whole set -----------------------------------------------------------------------------

GREY = encode(noise(9, 9))
RGB = encode(noise(9, 9, 3))
OPAQUE = encode(np.concatenate([noise(9, 9, 3), np.full((9, 9, 1), 255, np.uint8)], axis=2))
CLEAR = encode(noise(9, 9, 4))


@pytest.mark.parametrize(
    ("files", "channels"),
    [
        ([GREY, GREY], 1),
        ([GREY, RGB], 3),
        ([OPAQUE, OPAQUE], 3),
        ([CLEAR, OPAQUE], 4),
        ([CLEAR, RGB], 3),
        ([encode(noise(9, 9, 2)), GREY], 1),
    ],
)
def test_channels_come_from_the_data(tmp_path, files, channels):
    folder = write_folder(tmp_path / "s", {f"{index}.png": file for index, file in enumerate(files)})
    assert open_data(folder).channels == channels
    for channels in (1, 3, 4):
        assert open_data(folder, channels=channels).images.shape == (2, channels, 9, 9)


@pytest.mark.parametrize(
    ("sizes", "resolution"),
    [
        ([(10, 13)], (10, 13)),
        ([(256, 8)], (256, 8)),
        ([(257, 300)], (64, 64)),
        ([(100, 90), (70, 70)], (64, 64)),
        ([(100, 90), (63, 200)], (32, 32)),
        ([(9, 200), (8, 8)], (8, 8)),
    ],
)
def test_resolution_comes_from_the_data(tmp_path, sizes, resolution):
    files = {f"{index}.png": encode(noise(*size)) for index, size in enumerate(sizes)}
    found = open_data(write_folder(tmp_path / "s", files))
    assert found.resolution == resolution
    resized = resolution not in sizes or len(sizes) > 1
    assert any("--resolution changes this" in note for note in found.notes) == resized
    assert open_data(tmp_path / "s", resolution="12x17", fit="pad").resolution == (12, 17)


@pytest.mark.parametrize("resolution", ["7", "0", "8x7", "x", "64,64", "-8", "9000", ""])
def test_impossible_resolutions_are_refused(resolution):
    with pytest.raises(GanvasError, match="--resolution"):
        open_data("digits", resolution=resolution)
