"""Style transfer as a whole: its results, what it preserves, refused input, and interruption."""

import errno
import itertools
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from support import run_cli, start_cli

import ganvas as package
from ganvas.errors import GanvasError
from ganvas.networks.layers import pool_by_matrices
from ganvas.style import images
from ganvas.style.colours import palette_statistics
from ganvas.style.files import stylize_files
from ganvas.style.options import StyleOptions, resolve_options
from ganvas.style.plan import TransferPlan, plan_transfer
from ganvas.style.scales import OVERHEAD, scale_sizes
from ganvas.style.transfer import Iterate, _Timer, stylize

QUICK: dict[str, Any] = {"size": 64, "iterations": 6, "min_scale": 45, "device": "cpu"}
TINY = ["--size", "48", "--iterations", "3", "--min-scale", "48", "--device", "cpu"]


def photo(height: int = 60, width: int = 80) -> np.ndarray:
    """A green hill under a grey sky: uint8 [3 h w]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    hill = y > 0.45 - 0.1 * np.sin(6 * x)
    return np.stack([np.where(hill, low + 40 * x, high) for low, high in ((30, 150), (90, 160), (30, 170))]).astype(
        np.uint8
    )


def painting(height: int = 64, width: int = 64, phase: float = 0.0) -> np.ndarray:
    """Slanting stripes of blue and yellow: uint8 [3 h w]."""
    y, x = np.mgrid[:height, :width]
    wave = (np.sin((x + y) / 2.5 + phase) + 1) / 2
    return np.stack([40 + 180 * wave, 60 + 130 * wave, 200 - 150 * wave]).astype(np.uint8)


def read_image(path: Path | str) -> Image.Image:
    """An image file, read and closed."""
    with Image.open(path) as image:
        image.load()
        return image


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "photo.png", tmp_path / "painting.png"
    for path, pixels in zip(paths, (photo(), painting()), strict=True):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path)
    return paths


def test_result_approaches_the_style_and_keeps_its_shape() -> None:
    iterates: list[Iterate] = []
    done = stylize(photo(), painting(), callback=iterates.append, **{**QUICK, "iterations": 8})
    assert done.pixels.shape == (3, 48, 64)
    assert done.pixels.dtype == np.uint8
    assert [it.iteration for it in iterates] == list(range(1, 25))
    assert {it.iterations for it in iterates} == {24}
    assert [(it.height, it.width) for it in iterates[:1] + iterates[-1:]] == [(34, 45), (48, 64)]
    assert iterates[-1].loss < 0.9 * iterates[16].loss, "the last scale"
    assert iterates[-1].loss == pytest.approx(iterates[-1].style + iterates[-1].content + iterates[-1].tv)
    assert (iterates[-1].image().pixels == done.pixels).all()
    assert iterates[0].seconds_left > iterates[-1].seconds_left == 0
    distances = [abs(x.mean((1, 2)) - painting().mean((1, 2))).max() for x in (photo().astype(float), done.pixels)]
    assert distances[1] < distances[0] / 3, "the palette is the painting's"


def test_stylize_is_a_public_function(files: tuple[Path, Path]) -> None:
    assert package.stylize is stylize
    assert stylize(*map(str, files), **QUICK).pixels.shape == (3, 48, 64)


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [{}, {"optimiser": "adam", "statistic": "gram"}, {"init": "noise", "seed": 3}])
def test_same_options_give_the_same_image(knobs: dict[str, Any]) -> None:
    first, second = (stylize(photo(), painting(), **QUICK, **knobs).pixels for _ in range(2))
    assert (first == second).all()
    if "seed" in knobs:
        other = stylize(photo(), painting(), **{**QUICK, **knobs, "seed": 4}).pixels
        assert (first != other).any()


def test_tiles_give_the_same_image_as_the_whole() -> None:
    """Adam turns rounding errors of a gradient near 0 into a step: single pixels may differ, but no row of them."""
    knobs = {**QUICK, "size": 96, "min_scale": 96, "iterations": 3}
    whole, tiles = (stylize(photo(96, 96), painting(), tile=tile, **knobs).pixels.astype(int) for tile in (None, 48))
    difference = abs(whole - tiles)
    assert difference.mean() < 0.2
    assert max(difference[:, 46:50].mean(), difference[..., 46:50].mean()) < 0.4, "where the tiles meet"


def test_large_image_is_cut_into_tiles_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    options = resolve_options(None, {"size": 640, "device": "cpu"})
    free = plan_transfer(photo(), [painting()], (), (), options)
    assert free.layers.tile_size is None
    monkeypatch.setattr("ganvas.devices.free_bytes", lambda device: free.memory)
    short = plan_transfer(photo(), [painting()], (), (), options)
    assert short.layers.tile_size is not None
    assert short.memory <= 0.8 * free.memory
    monkeypatch.setattr("ganvas.devices.free_bytes", lambda device: 10_000_000)
    for tile in (None, 32):
        with pytest.raises(GanvasError, match="even in tiles of 32"):
            plan_transfer(photo(), [painting()], (), (), resolve_options(options, {"tile": tile}))


def test_a_large_painting_is_cut_into_tiles_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    options = resolve_options(None, {"size": 64, "style_scale": 10, "device": "cpu"})
    small = plan_transfer(photo(), [painting()], (), (), options)
    free = plan_transfer(photo(), [painting(), painting(640, 640)], (), (), options)
    assert free.memory > 10 * small.memory
    monkeypatch.setattr("ganvas.devices.free_bytes", lambda device: free.memory)
    short = plan_transfer(photo(), [painting(), painting(640, 640)], (), (), options)
    assert short.layers.tile_size is not None
    assert short.memory <= 0.8 * free.memory


def test_scales_grow_by_the_root_of_two() -> None:
    assert scale_sizes((192, 256), 64) == [(48, 64), (68, 91), (96, 128), (136, 181), (192, 256)]
    assert scale_sizes((192, 256), 300) == [(192, 256)]
    assert scale_sizes((40, 1000), 64) == [(40, 1000)], "no shorter side below 32 at any scale"


def test_time_left_counts_what_iterations_take_beside_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    costs = [(24 * 32 + OVERHEAD) / 1e6] * 4 + [(48 * 64 + OVERHEAD) / 1e6] * 2
    timer = _Timer([((24, 32), 4), ((48, 64), 2)])
    for i, cost in enumerate(costs, 1):
        now += cost
        assert timer.read(i) == pytest.approx((sum(costs[:i]), sum(costs[i:])), abs=1e-9)


def test_strength_0_gives_the_photo_and_half_lies_between() -> None:
    results = [stylize(photo(), painting(), strength=s, **QUICK).pixels.astype(float) for s in (0.0, 0.5, 1.0)]
    own = images.load_image(photo(), 64).pixels
    distances = [abs(x - own).mean() for x in results]
    assert distances[0] == 0
    assert 0 < distances[1] < distances[2]


def test_keep_colours_keeps_the_colours_of_the_photo() -> None:
    own = images.load_image(photo(), 64).pixels.astype(float)
    kept = stylize(photo(), painting(), keep_colours="luminance", **QUICK).pixels.astype(float)
    inside = ((kept > 2) & (kept < 253)).all(0)  # where nothing was clipped
    assert inside.mean() > 0.5
    for a, b in ((0, 1), (1, 2)):
        assert abs((kept[a] - kept[b]) - (own[a] - own[b]))[inside].max() < 3, "colour differences are the photo's"
    matched = stylize(photo(), painting(), keep_colours="match", **QUICK).pixels.astype(float)
    free = stylize(photo(), painting(), **QUICK).pixels.astype(float)
    cast = [abs(x.mean((1, 2)) - own.mean((1, 2))).max() for x in (matched, free)]
    assert cast[0] < cast[1] / 3


def test_masks_limit_each_style_to_its_region() -> None:
    left = np.zeros((1, 60, 80), np.uint8)
    left[..., :40] = 255
    own = images.load_image(photo(), 64).pixels.astype(int)
    half = stylize(photo(), painting(), masks=[left], **QUICK).pixels.astype(int)
    assert abs(half - own)[..., 34:].max() <= 1
    assert abs(half - own)[..., :30].mean() > 10
    red = np.zeros((3, 64, 64), np.uint8)
    red[0] = 200 + painting()[0] // 5
    both = stylize(photo(), [red, painting()], masks=[left, 255 - left], **QUICK).pixels.astype(float)
    warmth = both[0] - both[2]
    assert warmth[:, :26].mean() > warmth[:, 38:].mean() + 50


def test_where_masks_overlap_their_palettes_are_mixed() -> None:
    options, size = resolve_options(None, QUICK), (34, 45)
    paintings, white = [painting() // 4, 255 - painting() // 4], np.full((1, 60, 80), 255, np.uint8)
    alone = [plan_transfer(photo(), [one], (), (), options).initial_image(size) for one in paintings]
    both = plan_transfer(photo(), paintings, [white, white], (), options).initial_image(size)
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2, atol=1e-4, rtol=0)


def test_colours_are_matched_to_the_part_of_the_painting_that_is_used() -> None:
    half = np.concatenate([painting(64, 32), np.full((3, 64, 32), 250, np.uint8)], axis=2)
    chosen = np.zeros((1, 64, 64), np.uint8)
    chosen[..., :32] = 255
    clear, options = np.concatenate([half, chosen]), resolve_options(None, {**QUICK, "keep_colours": "match"})
    for style, masks in ((half, [chosen]), (clear, [])):
        plan = plan_transfer(photo(), [style], (), masks, options)
        ((_, ((small, part, _),)),) = plan._styles_by_mask((48, 64))
        matched, own = palette_statistics(small, part)[:, -1], palette_statistics(plan.content)[:, -1]
        assert (matched - own).abs().max() < 0.1


def test_half_the_strength_with_luminance_mixes_in_no_colour() -> None:
    knobs = {**QUICK, "strength": 0.5, "keep_colours": "luminance"}
    (target,) = plan_transfer(photo(), [painting()], (), (), resolve_options(None, knobs)).objective((34, 45)).targets
    means = target.statistics["rgb"][:, -1]
    assert means.max() - means.min() < 1e-3


def test_masks_need_no_pooling_that_mps_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = np.concatenate([photo(), np.full((1, 60, 80), 200, np.uint8)])
    white = np.full((1, 60, 80), 255, np.uint8)
    plan = plan_transfer(clear, [clear], [white], [white], resolve_options(None, QUICK))
    monkeypatch.setattr("ganvas.style.plan.average_pool", pool_by_matrices)
    monkeypatch.setattr(torch.nn.functional, "adaptive_avg_pool2d", lambda *_: pytest.fail("it is not on MPS"))
    coverage = plan.coverage((34, 45))
    assert coverage is not None
    torch.testing.assert_close(coverage, torch.ones(1, 1, 34, 45))
    ((mask, ((_, part, _),)),) = plan._styles_by_mask((34, 45))
    assert mask is not None
    assert part is not None
    torch.testing.assert_close(mask, torch.full((1, 1, 34, 45), 200 / 255))


def test_style_mask_selects_the_region_of_the_style() -> None:
    half = np.concatenate([painting(64, 32), np.full((3, 64, 32), 250, np.uint8)], axis=2)
    chosen = np.zeros((1, 64, 64), np.uint8)
    chosen[..., :32] = 255
    masked = stylize(photo(), half, style_masks=[chosen], **QUICK).pixels.astype(float)
    whole = stylize(photo(), half, **QUICK).pixels.astype(float)
    distances = [abs(x.mean((1, 2)) - painting(64, 32).mean((1, 2))).max() for x in (masked, whole)]
    assert distances[0] < distances[1] / 2


def test_transparent_parts_of_a_mask_are_black() -> None:
    strokes = np.full((4, 40, 40), 255, np.uint8)
    strokes[3, :, 20:] = 0
    mask = images.load_mask(strokes, (40, 40))
    assert mask[..., :18].min() > 0.99
    assert mask[..., 22:].max() < 0.01


def test_masks_may_be_dark_and_small() -> None:
    assert images.load_mask(np.full((1, 9, 12), 51, np.uint8), (40, 40)).sub(0.2).abs().max() < 0.01
    with pytest.raises(GanvasError, match="A mask is black everywhere"):
        images.load_mask(np.full((1, 9, 12), 3, np.uint8), (40, 40))


def test_a_mask_of_what_is_transparent_is_refused() -> None:
    clear = np.concatenate([photo(), np.full((1, 60, 80), 255, np.uint8)])
    clear[3, :, 40:] = 0
    right = np.zeros((1, 60, 80), np.uint8)
    right[..., 48:] = 255
    options = resolve_options(None, QUICK)
    with pytest.raises(GanvasError, match="A mask covers nothing visible"):
        plan_transfer(clear, [painting()], [right], (), options)
    with pytest.raises(GanvasError, match="A mask covers nothing visible"):
        plan_transfer(photo(), [clear], (), [right], options)
    (part,) = plan_transfer(photo(), [clear], (), [255 - right], options).style_masks
    assert part is not None
    assert not part[..., 36:].any(), "neither the black part of the mask nor what is transparent"


def test_styles_are_mixed_by_their_weights() -> None:
    dark, light = painting() // 4, 255 - painting() // 4
    results = [
        stylize(photo(), [dark, light], style_weights=w, **QUICK).pixels.mean() for w in ((9.0, 1.0), (1.0, 9.0))
    ]
    assert results[0] + 50 < results[1]


def test_all_image_modes_and_profiles_are_read(tmp_path: Path) -> None:
    rgb = Image.fromarray(photo().transpose(1, 2, 0))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = (np.asarray(rgb.convert("L")).astype(np.uint16)) * 257
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 2**21, zip=True)
    kinds = {
        "profile.jpg": lambda p: rgb.save(p, icc_profile=profile, quality=95),
        "turned.jpg": lambda p: rgb.save(p, exif=turned),
        "grey.png": lambda p: rgb.convert("L").save(p),
        "cmyk.jpg": lambda p: rgb.convert("CMYK").save(p),
        "deep.png": lambda p: Image.fromarray(deep).save(p),
        "palette.gif": lambda p: rgb.convert("P").save(p),
        "long_text.png": lambda p: rgb.save(p, pnginfo=texts),
        "long_profile.png": lambda p: rgb.save(p, icc_profile=bytes(2**21)),
    }
    knobs = {**QUICK, "iterations": 1, "min_scale": 64}
    for name, write in kinds.items():
        write(tmp_path / name)
        done = stylize(tmp_path / name, painting(), **knobs)
        assert done.pixels.shape == ((3, 64, 48) if name == "turned.jpg" else (3, 48, 64)), name
        assert (done.profile == profile) == (name == "profile.jpg")
        done.save(tmp_path / "again.png")
        assert read_image(tmp_path / "again.png").info.get("icc_profile") == done.profile
    deep_one = images.load_image(tmp_path / "deep.png", None).pixels[0]
    assert abs(deep_one.astype(int) - np.asarray(rgb.convert("L"))).max() <= 1, "16 bits are scaled, not truncated"
    done = stylize(tmp_path / "profile.jpg", painting(), **knobs)
    for extension in (".jpg", ".webp", ".tif"):
        done.save(tmp_path / f"again{extension}")
        assert read_image(tmp_path / f"again{extension}").info.get("icc_profile") == profile, extension


def test_transparency_is_kept_and_hidden_colours_have_no_effect(tmp_path: Path) -> None:
    clear = np.concatenate([photo(), np.full((1, 60, 80), 255, np.uint8)])
    clear[3, :, 40:] = 0
    other = clear.copy()
    other[:3, :, 40:] = 255 - other[:3, :, 40:]  # invisible pixels
    first, second = (stylize(pixels, painting(), **QUICK) for pixels in (clear, other))
    assert first.opacity is not None
    assert first.opacity.shape == (48, 64)
    assert (first.opacity[:, :30] > 250).all()
    assert (first.opacity[:, 34:] < 5).all()
    assert (first.pixels == second.pixels).all()
    first.save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png").mode == "RGBA"
    first.save(tmp_path / "clear.jpg")
    assert np.asarray(read_image(tmp_path / "clear.jpg"))[:, 36:].min() > 250, "JPEG shows white"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.png", "painting.png"], "missing.png cannot be read"),
        (["text.png", "painting.png"], "text.png cannot be used: not an image"),
        (["photo.png", "text.png"], "text.png cannot be used"),
        (["photo.png"], "No style image was given"),
        (["one.png", "painting.png"], "1 x 1 pixels"),
        (["long.png", "painting.png"], "30,000×10 pixels"),
        (["long.png", "painting.png"], "ask for a larger --size"),
        (["photo.png", "flat.png", "--size", "32"], "ask for a larger --size"),
        (["photo.png", "small.png"], "Fix: enlarge it first"),
        (["photo.png", "painting.png", "--init", "small.png"], "Fix: enlarge it first"),
        (["nan.tif", "painting.png"], "some of its values are not finite"),
        (["photo.png", "painting.png", "--out", "out.xyz"], "No image format"),
        (["photo.png", "painting.png", "--out", "text.png/out.png"], "could not be written"),
        (["photo.png", "painting.png", "--tv-weight", "nan"], "--tv-weight is nan"),
        (["photo.png", "painting.png", "--size", "8"], "--size is 8"),
        (["photo.png", "painting.png", "--lr", "-1"], "--lr is -1"),
        (["photo.png", "painting.png", "--style-layers", "relu9_9"], "no layer relu9_9"),
        (["photo.png", "painting.png", "--style-layers", "relu1_1:-2"], "--style-layers has"),
        (["photo.png", "painting.png", "--style-weights", "1", "2"], "2 values for 1 styles"),
        (["photo.png", "painting.png", "--masks", "black.png"], "black everywhere"),
        (["photo.png", "painting.png", "--weights", "text.png"], "The eye comes with its own"),
        (["photo.png", "painting.png", "--network", "vgg19", "--weights", "no.pth"], "no.pth cannot be read"),
        (["photo.png", "painting.png", "--device", "cuda:9"], "cuda:9"),
        (["photo.png", "painting.png", "--init", "missing.png"], "missing.png cannot be read"),
        (["empty", "painting.png", "--out", "outs"], "no image in"),
        ([".", "painting.png", "--out", "one.png"], "is a file's name"),
        (["photo.png", "painting.png", "--gif", "animation.mkv"], "cannot write an animation"),
    ],
)
def test_bad_input_is_refused(files: tuple[Path, Path], arguments: list[str], words: str) -> None:
    from ganvas.cli.style_transfer import stylize

    here = files[0].parent
    (here / "text.png").write_text("This is a text.")
    (here / "empty").mkdir()
    Image.new("RGB", (1, 1)).save(here / "one.png")
    Image.new("L", (30_000, 10)).save(here / "long.png")
    Image.new("L", (90, 20)).save(here / "flat.png")
    Image.new("L", (16, 16)).save(here / "small.png")
    Image.new("L", (20, 20)).save(here / "black.png")
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save(here / "nan.tif")
    import tyro

    given = [*arguments] if "--size" in arguments else [*arguments, "--size", "48"]
    with pytest.raises(GanvasError, match=words):
        tyro.cli(stylize, args=[*given, "--iterations", "1", "--quiet"])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((3, 20, 20)), "not an image"),
        (np.zeros((2, 20, 20), np.uint8), "not an image"),
        (np.zeros((20, 20), np.uint8), "not an image"),
    ],
)
def test_arrays_that_are_not_images_are_refused(source: np.ndarray, words: str) -> None:
    with pytest.raises(GanvasError, match=words):
        stylize(source, painting(), **QUICK)


def test_unknown_knob_is_refused() -> None:
    with pytest.raises(GanvasError, match="no knob 'stile'"):
        stylize(photo(), painting(), stile=3)
    with pytest.raises(GanvasError, match="--preset is 'finest'"):
        stylize(photo(), painting(), preset="finest")
    assert resolve_options(StyleOptions(preset="fine"), {"iterations": 5}).size == 1024


def test_loss_that_is_nan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.style.objective.total_variation", lambda x: (x * float("nan")).sum())
    with pytest.raises(GanvasError, match="The loss is nan in iteration 1"):
        stylize(photo(), painting(), **QUICK)


@pytest.mark.slow
def test_command_processes_a_folder_and_prints_json(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(photo().transpose(1, 2, 0)).save(tmp_path / "photos" / name)
    done = run_cli("style", "photos", "painting.png", "-o", "drawn", "--json", *TINY)
    assert done.returncode == 0, done.stderr
    outputs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(one["out"]).name for one in outputs] == ["a.png", "b.png"]
    assert all(read_image(one["out"]).size == (48, 36) for one in outputs)


def run_files(
    content: str, *styles: str, out: str = "drawn", preview: str | None = None, gif: str | None = None,
    masks: Sequence[str] = (), **knobs: Any,
) -> list[str]:  # fmt: skip
    """The results of `stylize_files`, by name; its error is raised after them."""
    given = [[Path(one) for one in many] for many in (styles, masks)]
    preview_file, gif_file = (None if one is None else Path(one) for one in (preview, gif))
    options = StyleOptions(**{**QUICK, **knobs})
    done = stylize_files(Path(content), given[0], Path(out), given[1], (), preview_file, gif_file, options, quiet=True)
    return [Path(one["out"]).name for one in done]


@pytest.fixture
def album(files: tuple[Path, Path]) -> Path:
    """A folder `photos` with two photos of one stem, a hidden file, a damaged one, a text, and a folder."""
    folder = Path("photos")
    folder.mkdir()
    for name in ("a.png", "a.jpg", "z.png"):
        Image.fromarray(photo().transpose(1, 2, 0)).save(folder / name)
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("")
    (folder / "more.png").mkdir()
    return folder


def test_a_bad_photo_does_not_end_the_rest(album: Path) -> None:
    (album / "b.png").write_bytes(b"no image")
    (album / "c.png").symlink_to("nowhere.png")
    os.mkfifo(album / "d.png")
    with pytest.raises(GanvasError) as caught:
        run_files("photos", "painting.png")
    assert "3 of 6 photos in photos could not be drawn" in caught.value.what
    assert all(name in caught.value.what for name in ("b.png: ", "c.png: ", "d.png: "))
    assert sorted(p.name for p in Path("drawn").iterdir()) == ["a.jpg.png", "a.png.png", "z.png"]
    assert all(read_image(path).size == (64, 48) for path in Path("drawn").iterdir())


def test_hidden_files_are_no_photos(album: Path) -> None:
    assert run_files("photos", "painting.png") == ["a.jpg.png", "a.png.png", "z.png"]


def test_a_mistake_in_the_command_ends_at_once(album: Path) -> None:
    with pytest.raises(GanvasError, match=r"missing\.png cannot be read"):
        run_files("photos", "missing.png")
    assert not Path("drawn").exists()


def test_a_result_of_a_folder_that_cannot_be_written_ends_the_command(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[str] = []

    def plan(content: Path, *rest: Any) -> TransferPlan:
        planned.append(content.name)
        return plan_transfer(content, *rest)

    def fill_disk(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ganvas.style.files.plan_transfer", plan)
    with pytest.raises(GanvasError, match=r"a\.jpg\.png could not be written"):
        run_files("photos", "painting.png", out="photos/notes.txt/drawn")
    (album / "a.jpg").write_bytes(b"no image")
    monkeypatch.setattr("ganvas.files.fsync", fill_disk)
    with pytest.raises(GanvasError, match=r"The disk is full: drawn/a\.png\.png"):
        run_files("photos", "painting.png", strength=0.0)
    assert planned == ["a.jpg", "a.jpg", "a.png"]


def test_an_error_leaves_an_earlier_result_and_no_half_one(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    monkeypatch.setattr(
        "ganvas.style.objective.total_variation", lambda x: (x * (float("nan") if next(calls) % 2 else 0)).sum()
    )
    Path("drawn").mkdir()
    for name in ("out.png", "film.gif", "drawn/z.png"):
        Path(name).write_bytes(b"earlier")
    with pytest.raises(GanvasError, match="The loss is nan in iteration 2"):
        run_files("photo.png", "painting.png", out="out.png", preview="now.png", gif="film.gif")
    assert Path("now.png").exists()
    assert Path("out.png").read_bytes() == Path("film.gif").read_bytes() == b"earlier"
    with pytest.raises(GanvasError, match="3 of 3 photos"):
        run_files("photos", "painting.png")
    assert [path.name for path in Path("drawn").iterdir()] == ["z.png"]


def test_ctrl_c_keeps_the_image_and_the_animation(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.style import files as module

    describe = module._describe_progress

    def interrupt(now: Iterate) -> tuple[str, ...]:
        if now.iteration == 4:
            raise KeyboardInterrupt
        return describe(now)

    monkeypatch.setattr(module, "_describe_progress", interrupt)
    with pytest.raises(KeyboardInterrupt, match="iteration 4 of 18"):
        run_files("photo.png", "painting.png", out="out.png", gif="film.gif")
    assert read_image("out.png").size == (45, 34)
    with Image.open("film.gif") as film:
        assert getattr(film, "n_frames", 1) > 1


def test_a_folder_for_results_may_have_a_dot_in_its_name(album: Path) -> None:
    run_files("photos", "painting.png", out="results-v1.2", strength=0.0)
    assert sorted(path.name for path in Path("results-v1.2").iterdir()) == ["a.jpg.png", "a.png.png", "z.png"]


@pytest.mark.parametrize(("content", "out"), [("photos", "photos"), ("photo.png", "photo.png"), ("photo.png", "l.png")])
def test_the_photo_is_never_replaced(album: Path, content: str, out: str) -> None:
    Path("l.png").symlink_to("photo.png")
    before = Path("photo.png").read_bytes(), (album / "z.png").read_bytes()
    with pytest.raises(GanvasError, match="itself"):
        run_files(content, "painting.png", out=out)
    assert (Path("photo.png").read_bytes(), (album / "z.png").read_bytes()) == before


@pytest.mark.parametrize(
    ("content", "written", "words"),
    [
        ("photo.png", {"out": "painting.png"}, "--out would replace"),
        ("photo.png", {"out": "mask.png"}, "--out would replace"),
        ("photo.png", {"out": "out.png", "preview": "painting.png"}, "--preview would replace"),
        ("photo.png", {"out": "out.png", "gif": "mask.png"}, "--gif would replace"),
        ("photos", {"out": "."}, r"^z\.png is an input itself: --out would replace"),
        ("photos", {"out": "done", "init": "done/z.png"}, "--out would replace"),
    ],
)
def test_paintings_and_masks_are_never_replaced(album: Path, content: str, written: dict[str, str], words: str) -> None:
    Path("done").mkdir()
    for name in ("mask.png", "z.png", "done/z.png"):
        Image.new("L", (20, 20), 255).save(name)
    before = {path: path.read_bytes() for path in Path().rglob("*.png") if path.is_file()}
    with pytest.raises(GanvasError, match=words):
        run_files(content, "painting.png", "z.png", masks=["mask.png"] * 2, **written)
    assert {path: path.read_bytes() for path in Path().rglob("*.png") if path.is_file()} == before


@pytest.mark.parametrize("preview", [None, "now.png"])
def test_the_animation_never_replaces_an_image(files: tuple[Path, Path], preview: str | None) -> None:
    Path("l.png").symlink_to(preview or "out.png")
    for gif in (preview or "out.png", "l.png"):
        with pytest.raises(GanvasError, match=f"{gif} is the file of an image and of the animation"):
            run_files("photo.png", "painting.png", out="out.png", preview=preview, gif=gif, strength=0.0)
    assert run_files("photo.png", "painting.png", out="out.png", preview="out.png", strength=0.0) == ["out.png"]


def test_init_may_be_the_file_of_the_result(files: tuple[Path, Path]) -> None:
    """It is read before anything is written there."""
    Image.new("RGB", (64, 48), "red").save("out.png")
    plan = plan_transfer("photo.png", ["painting.png"], (), (), resolve_options(None, {**QUICK, "init": "out.png"}))
    plan.source.save("out.png")
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(1, 3, 24, 32)
    torch.testing.assert_close(plan.initial_image((24, 32)), red)


def test_photos_of_every_image_format_are_found(album: Path) -> None:
    Path("photos/a.png").rename("photos/b.jfif")
    assert run_files("photos", "painting.png", strength=0.0) == ["a.png", "b.png", "z.png"]


def test_no_two_photos_of_a_folder_have_one_result(album: Path) -> None:
    for name in ("a.jpg.webp", "a.jpg.webp.gif", "Z.JPG"):
        Image.fromarray(photo().transpose(1, 2, 0)).save(album / name)
    names = ["Z.JPG.png", "a.jpg.png", "a.jpg.webp.png", "a.jpg.webp.gif.png", "a.png.png", "z.png.png"]
    assert run_files("photos", "painting.png", strength=0.0) == names
    assert len(list(Path("drawn").iterdir())) == 6


def test_an_invisible_photo_is_copied_and_an_invisible_style_refused(files: tuple[Path, Path]) -> None:
    clear = np.concatenate([photo(), np.zeros((1, 60, 80), np.uint8)])
    result = stylize(clear, painting(), **QUICK)
    assert result.pixels.shape == (3, 48, 64)
    assert result.opacity is not None
    assert result.opacity.max() == 0
    Image.fromarray(clear.transpose(1, 2, 0)).save("clear.png")
    assert run_files("clear.png", "painting.png", out="out.png") == ["out.png"]
    assert np.asarray(read_image("out.png"))[..., 3].max() == 0
    with pytest.raises(GanvasError, match=r"clear\.png is transparent everywhere"):
        run_files("photo.png", "clear.png", out="out.png")
    with pytest.raises(GanvasError, match="The style is transparent everywhere"):
        stylize(photo(), clear, **QUICK)


@pytest.mark.slow
def test_command_prints_its_cost_and_writes_an_animation(files: tuple[Path, Path]) -> None:
    done = run_cli(
        "style", "photo.png", "painting.png", "-o", "out.png", "--gif", "animation.gif", "--preview", "now.png", *TINY
    )
    assert done.returncode == 0, done.stderr
    assert "MB of memory" in done.stderr
    with Image.open("animation.gif") as animation:
        assert animation.size == (96, 72), "tiny ones are enlarged"
        assert getattr(animation, "n_frames", 1) > 5
    assert Path("now.png").read_bytes() == Path("out.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_the_current_image(files: tuple[Path, Path], number: int) -> None:
    command = ["style", "photo.png", "painting.png", "-o", "out.png", "--size", "64"]
    running = start_cli(*command, "--iterations", "100000", "--min-scale", "64", "--device", "cpu")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not Path("out.png").exists():  # the first preview
        time.sleep(0.05)
    running.send_signal(number)
    done = running.wait(60)
    printed = done.stderr
    assert done.returncode == 130
    assert "the current image" in printed
    assert read_image("out.png").size == (64, 48)


@pytest.mark.parametrize(
    ("arguments", "words"), [({"masks": None}, "masks is None"), ({"callback": "print"}, "callback is 'print'")]
)
def test_arguments_of_other_types_are_refused_by_name(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(GanvasError, match=words):
        stylize(photo(), painting(), **arguments)


@pytest.mark.parametrize("source", [None, 3, torch.zeros(3, 20, 20), [photo()]])
def test_photos_that_are_no_image_are_refused(source: Any) -> None:
    with pytest.raises(GanvasError, match="is not a path"):
        stylize(source, painting(), **QUICK)
