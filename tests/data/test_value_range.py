"""Numbers of any type become pixels by the range of all of them, or are refused with a fix that works."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from helpers import encode, noise, open_data, write_folder, write_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ganvas.data.arrays.value_range import levels_in
from ganvas.errors import GanvasError

PIXELS = noise(5, 9, 10)
PIXELS[0, 0, :2] = 0, 255

ENCODINGS = {
    "int16": lambda x: x.astype(np.int16),
    "int64": lambda x: x.astype(np.int64),
    "uint64": lambda x: x.astype(np.uint64),
    "big-endian": lambda x: x.astype(">i4"),
    "float32 in 0..255": lambda x: x.astype(np.float32),
    "float16 in 0..255": lambda x: x.astype(np.float16),
    "float64 in 0..255, not whole": lambda x: x + 0.3 * (x < 250),
    "float16 in 0..1": lambda x: (x / 255).astype(np.float16),
    "float32 in 0..1": lambda x: (x / 255).astype(np.float32),
    "float64 in 0..1": lambda x: x / 255,
    "float32 in -1..1": lambda x: (x / 127.5 - 1).astype(np.float32),
    "float64 in -1..1": lambda x: x / 127.5 - 1,
    "float64 in -0.5..0.5": lambda x: x / 255 - 0.5,
    "16 bits": lambda x: x.astype(np.uint16) * 257,
    "16 bits in float": lambda x: x.astype(np.float32) * 257,
}


def read(folder, images: np.ndarray):
    np.save(folder / "x.npy", images)
    return open_data(folder / "x.npy")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.uint8, (3, 8, 9)), st.sampled_from(sorted(ENCODINGS)))
def test_every_usual_encoding_reads_back(tmp_path, images, encoding):
    images[0, 0, :3] = 0, 130, 255  # 130: in float, so that not all are ends of the range
    found = read(tmp_path, ENCODINGS[encoding](images))
    assert np.array_equal(found.images[:, 0], images)
    assert len(found.notes) == 1


def test_the_last_image_counts_too(tmp_path, monkeypatch):
    """Numbers in 0..255 whose first block, dark, is in 0..1."""
    monkeypatch.setattr("ganvas.data.arrays.stored.BLOCK_BYTES", 500)
    images = np.concatenate([np.zeros((20, 9, 10)), np.ones((20, 9, 10)), PIXELS])
    assert np.array_equal(read(tmp_path, images.astype(np.float32)).images[:, 0], images)
    assert np.array_equal(read(tmp_path, images.astype(np.uint8)).images[:, 0], images)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_two_values_become_black_and_white(tmp_path, kind):
    found = read(tmp_path, (PIXELS > 99).astype(kind))
    assert np.array_equal(found.images[:, 0], np.where(PIXELS > 99, 255, 0))
    assert len(found.notes) == 1


def test_12_bits_in_16_are_scaled_by_one_factor_for_all(tmp_path):
    images = np.stack([PIXELS.astype(np.uint16) * 16, PIXELS.astype(np.uint16)]).reshape(10, 9, 10)
    found = read(tmp_path, images)
    assert np.array_equal(found.images[:, 0], np.rint(images * (255 / 4095)))
    assert found.notes == (f"{tmp_path / 'x.npy'}: uint16, at most 4080: read as 12 bits, all multiplied by 255/4095.",)


def test_both_splits_are_scaled_alike(tmp_path):
    """The test split, less bright, would be taken for 10 bits alone."""
    images = PIXELS.astype(np.uint16) * 16
    np.savez(tmp_path / "x.npz", x_train=images, x_test=images // 8)
    for split, expected in (("train", images), ("test", images // 8)):
        found = open_data(tmp_path / "x.npz", split=split)
        assert np.array_equal(found.images[:, 0], np.rint(expected * (255 / 4095)))
    np.savez(tmp_path / "y.npz", x_train=PIXELS / 255, x_test=PIXELS.astype(float))
    with pytest.raises(GanvasError, match="have different ranges: at most 1 and 255"):
        open_data(tmp_path / "y.npz")


def test_dark_images_are_kept_and_a_note_says_how_to_change_it(tmp_path):
    found = read(tmp_path, PIXELS // 16)
    assert found.images.max() == 15
    assert "save (x * (255 / 15)).round().astype('uint8')" in found.notes[0]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ((PIXELS // 16).astype(float), "may be dark pixels or a range of their own"),
        ((PIXELS / 255 - 0.1307) / 0.3081, "of no usual range"),
        (PIXELS / 255 * 1.06 - 0.03, "a little outside 0..1"),
        (PIXELS / 127.5 * 1.05 - 1.05, "a little outside -1..1"),
        (PIXELS * 1.02 - 3.5, "a little outside 0..255"),
        (PIXELS / 255 / 255, "nearly black in 0..1"),
        ((PIXELS.astype(int) - 128).astype(np.int8), "below zero"),
        (PIXELS.astype(int) - 300, "below zero"),
        (PIXELS.astype(int) * 70_000, "above 65535"),
        (np.where(PIXELS == 0, np.nan, PIXELS), "not finite"),
        (PIXELS.astype(float) * 1e300, "above 65535"),
        (PIXELS * 300.5 + 4000, "of no usual range"),
    ],
)
def test_any_other_range_is_refused_and_the_fix_works(tmp_path, images, reason):
    with pytest.raises(GanvasError, match=reason) as caught:
        read(tmp_path, images)
    formula = caught.value.fix.removeprefix("save ").partition(", or ")[0].rstrip(".").replace("numpy.", "np.")
    with warnings.catch_warnings(action="ignore"):
        converted = eval(formula, {"x": images, "np": np})
    found = read(tmp_path, converted).images[:, 0]
    assert found.std() > 60, "neither black nor white"
    order = np.argsort(np.nan_to_num(images).ravel())
    assert (np.diff(found.ravel()[order].astype(int)) >= 0).all(), "brighter stays brighter"


@pytest.mark.parametrize(("kind", "reason"), [(complex, "no array of images"), (object, "only unpickling could read")])
def test_what_are_no_numbers_is_refused(tmp_path, kind, reason):
    with pytest.raises(GanvasError, match=reason):
        read(tmp_path, PIXELS.astype(kind))


# --- image files of 16 bits --------------------------------------------------------------------------------


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """uint16 [h w 3] -> a PNG, which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_files_of_12_bits_are_scaled_by_one_factor_for_all(tmp_path, form):
    images = [PIXELS[0].astype(np.uint16) * 16, PIXELS[1].astype(np.uint16)]
    files = {f"{index}.{form.lower()}": encode(image, form) for index, image in enumerate(images)}
    found = open_data(write_folder(tmp_path / "s", files))
    assert np.array_equal(found.images[:, 0], np.rint(np.stack(images) * (255 / 4095)))
    note = "Grey images of more than 8 bits: 2, at most 4080: read as 12 bits, all multiplied by 255/4095."
    assert found.notes == (note,)


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_splits_of_12_bits_get_one_factor(tmp_path, form):
    dark, bright = (PIXELS[:2] // 8).astype(np.uint16), PIXELS[2:4].astype(np.uint16) * 16
    parts = {"train": dark * 16, "test": bright}
    files = {f"{split}/{i}.png": encode(image) for split, images in parts.items() for i, image in enumerate(images)}
    path = write_folder(tmp_path / "s", files) if form == "folder" else write_zip(tmp_path / "s.zip", files)
    for split, images in parts.items():
        found = open_data(path, split=split)
        assert np.array_equal(found.images[:, 0], np.rint(images * (255 / 4095))), split


def test_files_of_16_and_of_8_bits_are_scaled_too(tmp_path):
    for name, factor in (("full", 257), ("low", 1)):
        files = {"a.png": encode(PIXELS[0].astype(np.uint16) * factor), "b.png": encode(PIXELS[1])}
        found = open_data(write_folder(tmp_path / name, files))
        assert np.array_equal(found.images[:, 0], PIXELS[:2])
        assert found.notes == (
            () if name == "full" else ("Grey images of more than 8 bits: 1, at most 255: read as 8 bits.",)
        )


def test_32_bit_integers_above_16_bits_are_not_clipped(tmp_path):
    image = io.BytesIO()
    Image.fromarray(PIXELS[0].astype(np.int32) * 4000).save(image, "TIFF")
    found = open_data(write_folder(tmp_path / "s", {"a.tif": image.getvalue()}))
    assert np.array_equal(found.images[0, 0], np.rint(PIXELS[0] * 4000.0 * (255 / (2**20 - 1))))


@pytest.mark.parametrize(
    ("images", "read"),
    [
        (((0.5, 1000), (2, 4000)), "from 0.5 to 4000: this range becomes 0..255"),
        (((0, 200), (2, 4000)), "from 0 to 4000: this range becomes 0..255"),
        (((-100, 0.5), (0, 0.75)), "from -100 to 0.75: this range becomes 0..255"),
        (((0, 0.5), (0, 200)), "from 0 to 200: read as 0..255"),
        (((0, 0.5), (0, 0.75)), "from 0 to 0.75: read as 0..1"),
        (((0, 0.5), (0, 1.001)), "from 0 to 1.00100005: read as 0..1"),
        (((0, 0.5), (0, 1.25)), "from 0 to 1.25: this range becomes 0..255"),
    ],
)
def test_files_of_floats_are_read_by_the_range_of_all(tmp_path, images, read):
    ramps = np.stack([np.linspace(low, high, 90, dtype=np.float32).reshape(9, 10) for low, high in images])
    files = {f"{split}/0.tif": encode(ramp, "TIFF") for split, ramp in zip(("train", "test"), ramps, strict=True)}
    path = write_folder(tmp_path / "s", files)
    found = [open_data(path, split=split) for split in ("train", "test")]
    whole = [open_data(write_folder(tmp_path / "both", {f"{i}.tif": one for i, one in enumerate(files.values())}))]
    low, high = ramps.min(), ramps.max()
    black, white = (low, high) if "becomes" in read else (0, int(read[-3:].lstrip(".")))
    expected = np.minimum((ramps.astype(np.float64) - black) * (255 / (white - black)), 255)
    assert np.abs(np.concatenate([one.images[:, 0] for one in found]) - expected).max() <= 0.51
    assert np.abs(whole[0].images[:, 0] - expected).max() <= 0.51
    assert whole[0].notes == (f"Images of float numbers: 2, {read}.",)
    for one in (*found, *whole):
        span = levels_in(one.notes).floats
        assert span is not None
        assert np.allclose(span, (low, high), rtol=1e-6)


def test_float_file_that_is_not_finite_does_not_decide_the_range(tmp_path):
    good = np.linspace(0, 4000, 90, dtype=np.float32).reshape(9, 10)
    bad = np.full((9, 10), np.inf, np.float32)
    path = write_folder(tmp_path / "s", {"a.tif": encode(good, "TIFF"), "b.tif": encode(bad, "TIFF")})
    found = open_data(path, max_bad=0.5)
    assert found.skipped == (("b.tif", "some of its values are not finite"),)
    assert found.images[0, 0].max() == 255
    assert found.notes == ("Images of float numbers: 1, from 0 to 4000: this range becomes 0..255.",)


def test_colours_of_12_bits_in_16_are_refused(tmp_path):
    colours = noise(9, 10, 3).astype(np.uint16)
    good = open_data(write_folder(tmp_path / "full", {"a.png": png_of_16_bits(colours * 257)}))
    assert np.array_equal(good.images[0].transpose(1, 2, 0), colours)
    with pytest.raises(GanvasError, match="use only 12 of them: they are nearly black") as caught:
        open_data(write_folder(tmp_path / "low", {"a.png": png_of_16_bits(colours * 16)}))
    assert "multiply 16 -depth 8" in caught.value.fix
