"""Image files of rarer kinds: HEIC, AVIF, animations, stacks, many bands, long texts, camera raw."""

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from helpers import encode, noise, open_data, write_folder
from PIL import Image, PngImagePlugin, TiffImagePlugin
from support import run_cli

from ganvas.data import decoding, inspect
from ganvas.data.chunks import count_bands, without_text
from ganvas.data.sniffing import detect_format
from ganvas.errors import GanvasError


def save(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes, pixels=None) -> bytes:
    """A PNG with these chunks after its header."""
    content = encode(noise(9, 9, 3) if pixels is None else pixels)
    return content[:33] + b"".join(chunks) + content[33:]


LONG = zlib.compress(bytes(3 * 2**20))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Comment\0\0" + LONG),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"profile\0\0" + LONG),
        chunk(b"iCCP", b"profile\0\0" + b"no zlib"),
        chunk(b"tEXt", b"Comment\0" + b"x" * 3 * 2**20),
        chunk(b"zTXt", b"a\0\0" + LONG) * 70,
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**19))) * 200,
    ],
    ids=["zTXt", "iTXt", "iCCP", "broken iCCP", "tEXt", "many long", "many short"],
)
def test_long_texts_and_profiles_are_no_damage(tmp_path, extra):
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    found = open_data(write_folder(tmp_path / "s", {"a.png": png_with(extra)}))
    assert np.array_equal(found.images[0].transpose(1, 2, 0), noise(9, 9, 3))
    after = encode(noise(9, 9, 3))
    late = open_data(write_folder(tmp_path / "t", {"a.png": after[:-12] + extra + after[-12:]}))
    assert np.array_equal(late.images, found.images)
    assert limit == PngImagePlugin.MAX_TEXT_CHUNK, "Pillow's settings are the program's own"


def test_damage_of_a_png_with_a_long_text_is_still_found(tmp_path):
    content = png_with(chunk(b"zTXt", b"a\0\0" + LONG), pixels=noise(90, 90, 3))
    files = {"a.png": content[:-3000], "b.png": encode(noise(9, 9, 3))}
    assert dict(open_data(write_folder(tmp_path / "s", files), max_bad=0.5).skipped) == {"a.png": "truncated PNG"}
    with pytest.raises(ValueError, match="too long"):
        without_text(io.BytesIO(b"GIF89a"))


@pytest.mark.parametrize(
    ("form", "suffix"), [("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif"), ("AVIF", "avif")]
)
def test_first_frame_is_used_and_said(tmp_path, form, suffix):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    several = save(frames[0], form, save_all=True, append_images=frames[1:])
    files = {f"a.{suffix}": several, f"b.{suffix}": save(frames[0], form)}
    found = open_data(write_folder(tmp_path / "s", files))
    assert len(found) == 2
    assert (np.abs(found.images[0, :, 4, 4].astype(int) - [255, 0, 0]) < 6).all()
    assert f"Files with several frames or pages: 1, as a.{suffix}; the first of each is used." in found.notes


@pytest.mark.parametrize(
    "pages",
    [
        noise(5, 9, 12),
        noise(5, 9, 12, 3),
        np.array([0, 65535, *noise(538).astype(np.uint16) * 257], np.uint16).reshape(5, 9, 12),
        noise(5, 9, 12).astype(np.float32),
    ],
    ids=["grey", "RGB", "16 bits", "floats"],
)
def test_pages_of_a_tiff_are_images(tmp_path, pages):
    images = [Image.fromarray(page) for page in pages]
    content = save(images[0], "TIFF", save_all=True, append_images=images[1:])
    (tmp_path / "stack.tif").write_bytes(content)
    found = open_data(tmp_path / "stack.tif")
    expected = pages // 257 if pages.dtype == np.uint16 else pages
    assert np.array_equal(found.images.transpose(0, 2, 3, 1).reshape(pages.shape), expected)
    assert "The 5 pages of stack.tif are read as 5 images." in found.notes
    with pytest.raises(GanvasError, match="no test split"):
        open_data(tmp_path / "stack.tif", split="test")
    for end in (len(content) - 60, len(content) // 2):
        (tmp_path / "cut.tif").write_bytes(content[:end])
        with pytest.raises(GanvasError, match=r"bad|single image|pages"):
            open_data(tmp_path / "cut.tif")


@pytest.mark.parametrize(
    "pages",
    [noise(5, 9, 12), noise(5, 9, 12, 3), noise(5, 9, 12).astype(np.uint16) * 257],
    ids=["grey", "RGB", "16 bits"],
)
def test_pages_of_imagej_with_one_header_are_images(tmp_path, pages):
    description = {270: f"ImageJ=1.54f\nimages={len(pages)}\nslices={len(pages)}\nloop=false\n"}
    content = save(Image.fromarray(pages[0]), "TIFF", tiffinfo=description) + pages[1:].tobytes()
    (tmp_path / "stack.tif").write_bytes(content)
    found = open_data(tmp_path / "stack.tif")
    expected = pages // 257 if pages.dtype == np.uint16 else pages
    assert np.array_equal(found.images.transpose(0, 2, 3, 1).reshape(pages.shape), expected)
    assert "The 5 pages of stack.tif are read as 5 images." in found.notes
    (tmp_path / "cut.tif").write_bytes(content[: -pages[0].nbytes - 3])
    with pytest.raises(GanvasError, match="it ends after 3 of its 5 pages"):
        open_data(tmp_path / "cut.tif")
    for each in ("a", "b"):
        write_folder(tmp_path / "folder", {f"{each}.tif": content})
    assert any("several frames or pages: 2" in note for note in open_data(tmp_path / "folder").notes)


def test_pages_of_different_sizes_are_no_images(tmp_path):
    pages = [Image.fromarray(noise(64 >> step, 48 >> step)) for step in range(3)]
    (tmp_path / "pyramid.tif").write_bytes(save(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    with pytest.raises(GanvasError, match="has 3 pages of different sizes: 64x48, 32x24, 16x12"):
        open_data(tmp_path / "pyramid.tif")
    (tmp_path / "one.tif").write_bytes(save(pages[0], "TIFF"))
    with pytest.raises(GanvasError, match="is a single image"):
        open_data(tmp_path / "one.tif")


def test_photo_with_a_second_picture_inside_is_no_animation(tmp_path):
    photo = save(Image.new("RGB", (16, 16), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    found = open_data(write_folder(tmp_path / "s", {"a.jpg": photo}))
    assert not any("frames" in note for note in found.notes)


def many_bands(count: int, order="<") -> bytes:
    """An uncompressed TIFF of 9 × 9 pixels with some bands."""
    pixels = noise(9, 9, count).tobytes()
    mark = b"II" if order == "<" else b"MM"
    tags = [
        (256, 3, 9),
        (257, 3, 9),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, count),
        (278, 3, 9),
        (279, 4, len(pixels)),
    ]
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1)
        + (struct.pack(f"{order}HH", v, 0) if kind == 3 else struct.pack(f"{order}I", v))
        for tag, kind, v in tags
    )
    where = 8 + len(pixels)
    return (
        mark + struct.pack(f"{order}HI", 42, where) + pixels + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    )


@pytest.mark.parametrize("order", "<>")
def test_tiff_of_many_bands_is_named_with_a_fix(tmp_path, order):
    files = {"a.tif": many_bands(13, order), "b.png": encode(noise(9, 9, 3))}
    [(name, reason)] = open_data(write_folder(tmp_path / "s", files), max_bad=0.5).skipped
    assert name == "a.tif"
    assert reason == "a TIFF with 13 bands, of which at most 4 can be read: save three of them as an RGB PNG"
    assert count_bands(io.BytesIO(many_bands(7, order))) == 7
    assert count_bands(io.BytesIO(b"II*\0\xff\xff\xff\xff")) == 0


def test_preview_of_a_camera_raw_file_is_not_taken_for_the_photo(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0xC612] = b"\1\4\0\0"
    raw = save(Image.fromarray(noise(9, 9, 3)), "TIFF", tiffinfo=tags)
    files = {"a": raw, "b.png": encode(noise(9, 9, 3))}
    [(name, reason)] = open_data(write_folder(tmp_path / "s", files), max_bad=0.5).skipped
    assert name == "a"
    assert "camera's raw file" in reason


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_heic_without_its_library_is_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(decoding.Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    files = {f"{index}.png": encode(noise(9, 9, seed=index)) for index in range(40)}
    path = write_folder(tmp_path / "s", {**files, "a.HEIC": HEIC, "b.heif": HEIC})
    report = inspect(path, quiet=True)
    assert [name for name, _ in report.bad_files] == ["a.HEIC", "b.heif"]
    assert {reason for _, reason in report.bad_files} == {"a HEIC image: pip install 'ganvas[heif]' reads it"}
    with pytest.raises(GanvasError) as caught:
        open_data(path, max_bad=0)
    assert "pip install 'ganvas[heif]'" in str(caught.value)


def test_heic_is_read_through_its_library(tmp_path):
    pillow_heif: Any = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    path = write_folder(tmp_path / "s", {"b.png": encode(noise(48, 64, 3))})
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 60))).save(path / "a.heic", quality=95)
    found = open_data(path)
    assert found.images.shape == (2, 3, 48, 64)
    assert (np.abs(found.images[0].mean(axis=(1, 2)) - [200, 30, 60]) < 8).all()
    assert open_data(path, resolution="16").resolution == (16, 16)


def test_avif_of_a_pillow_without_it_is_named(tmp_path, monkeypatch):
    content = save(Image.fromarray(noise(16, 16, 3)), "AVIF")
    monkeypatch.setattr(decoding, "_FORMATS", tuple(f for f in decoding._FORMATS if f != "AVIF"))
    [(_, reason)] = open_data(
        write_folder(tmp_path / "s", {"a.avif": content, "b.png": encode(noise(9, 9))}), max_bad=0.5
    ).skipped
    assert "built without AVIF: pip install --upgrade pillow" in reason


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("PNG", "PNG"),
        ("JPEG", "JPEG"),
        ("GIF", "GIF"),
        ("WEBP", "WebP"),
        ("BMP", "BMP"),
        ("DIB", ""),
        ("TIFF", "TIFF"),
        ("PPM", "PNM"),
        ("AVIF", "AVIF"),
        ("JPEG2000", "JPEG 2000"),
        ("PDF", "PDF"),
        ("ICO", ""),
    ],
)
def test_formats_are_told_by_their_first_bytes(form, name):
    for image in (Image.new("RGB", (16, 16)), Image.new("L", (16, 16))):
        assert detect_format(save(image, form)[:512]) == name


@pytest.mark.parametrize(
    "text",
    [b"BM", b"BMW is a maker of cars, and here are its", b"P1 is a title\n", b"II", b"RIFFxxxxWAVE", b""],
)
def test_other_files_are_not_taken_for_images(text):
    assert detect_format(text) == ""


def test_what_is_decided_is_in_the_dry_run_of_training(tmp_path):
    files: dict[str, Any] = {
        f"{c}/{i}.png": encode(noise(9, 9, seed=i)) for c in ("train/a", "train/b", "test/a") for i in range(9)
    }
    path = write_folder(tmp_path / "s", {**files, "train/a/x.dcm": bytes(128) + b"DICM", "train/a/e.png": b""})
    done = run_cli("train", "mlp", "--data", path, "--dry-run")
    text = " ".join((done.stdout + done.stderr).split())
    for part in (
        "train is used as the train split",
        "Not read: 1 .dcm (DICOM)",
        "Empty files, of zero bytes, are not used: 1",
    ):
        assert part in text, text
