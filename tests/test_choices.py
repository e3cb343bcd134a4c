"""What is chosen for the projected family: the size of large images, and knobs by size, time and device."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny

import ganvas
from ganvas.config import TrainConfig, leaves, replace
from ganvas.data import limits, open_images, prepare
from ganvas.data.limits import choose_limited_size
from ganvas.data.options import DataOptions
from ganvas.errors import GanvasError
from ganvas.features import frozen
from ganvas.networks import Shape
from ganvas.recipes import RECIPES, default_recipe
from ganvas.training import choices, start
from ganvas.training.choices import G_WIDTHS, Width, choose_networks, choose_resolution

CPU, GPU = torch.device("cpu"), torch.device("meta")  # any that is no CPU


def fast(data: Path | str = "digits", **knobs: Any) -> TrainConfig:
    return replace(RECIPES["fast"].config, data=str(data), **knobs)


@pytest.fixture
def write_files(tmp_path: Path) -> Callable[..., Path]:
    """Writes images of these (height, width) into a folder."""

    def write(*sizes: tuple[int, int]) -> Path:
        folder = tmp_path / f"photos{len(list(tmp_path.glob('photos*')))}"
        folder.mkdir()
        for i, (height, width) in enumerate(sizes):
            pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        return folder

    return write


@pytest.mark.parametrize(
    ("sizes", "on_cpu", "on_gpu"),
    [
        ([(64, 64)] * 2, None, None),
        ([(40, 30)] * 2, None, None),
        ([(128, 128)] * 2, "64x64", None),
        ([(218, 178)] * 2, "78x64", None),
        ([(100, 300)] * 2, "52x157", "100x300"),
        ([(60, 600)] * 2, "29x286", "60x600"),
        ([(28, 28)] * 2, None, None),
        ([(600, 800)] * 2, "64x85", "256x341"),
        ([(70, 90), (90, 120)], None, "70x70"),
        ([(50, 90), (90, 120)], "50x50", "50x50"),
        ([(500, 300), (400, 900)], None, "256x256"),
        ([(32, 300), (400, 900)], None, None),
    ],
)
def test_size_of_large_images_is_limited(
    write_files: Callable[..., Path], sizes: list[tuple[int, int]], on_cpu: str | None, on_gpu: str | None
) -> None:
    data = write_files(*sizes)
    for device, kind, expected in ((CPU, "CPU", on_cpu), (GPU, "GPU", on_gpu)):
        config, notes = choose_resolution(fast(data), device, progress=False)
        assert config.dataset.resolution == expected
        assert len(notes) == (expected is not None)
        for note in notes:
            assert str(expected) in note
            assert kind in note
            assert "--resolution" in note


def test_size_that_is_not_limited_is_the_default_one(write_files: Callable[..., Path]) -> None:
    assert open_images(fast(write_files((70, 90), (90, 120))).dataset.options()).resolution == (64, 64)


def test_a_few_small_images_do_not_decide_the_size_and_are_named(write_files: Callable[..., Path]) -> None:
    data = write_files(*[(70, 90)] * 20, (40, 30))
    for _ in range(2):  # the second time from the cache
        config, notes = choose_resolution(fast(data), CPU, progress=False)
        assert config.dataset.resolution == "64x64"
        assert notes == [
            "Images are trained at 64x64 pixels, at most 64 on the shorter side on a CPU; 1 smaller one is enlarged "
            "(20.png); --resolution changes this."
        ]
    default = open_images(tiny(data).dataset.options())
    assert default.resolution == (16, 16), "saved runs without a resolution have this one"
    assert "and 1 of 21 fewer than 32 pixels on the shorter side: cropped to 16x16" in default.notes[-1]


def test_images_that_get_bars_are_not_called_enlarged(write_files: Callable[..., Path]) -> None:
    config = replace(fast(write_files((20, 90), *[(70, 90)] * 20)), fit="pad")
    [note] = choose_resolution(config, CPU, progress=False)[1]
    assert "at most 64 on the shorter side on a CPU; --resolution changes this." in note


def test_what_decides_the_size_is_said() -> None:
    sizes = {(64, 85, 0, ""): "at most 64 on the shorter side", (29, 286, 0, ""): "at most 8,192 in all and 64 on"}
    sizes |= {(50, 50, 0, ""): "the shorter side of the smallest", (50, 50, 2, "a"): "the shorter side of nearly all"}
    for size, reason in sizes.items():
        assert limits.LimitedSize(*size).describe(64).startswith(reason)
    assert limits.LimitedSize(50, 50, 2, "a").remark == "; 2 smaller ones are enlarged (such as a)"


def test_default_size_is_found_without_decoding(
    write_files: Callable[..., Path], write_images: Callable[..., Path]
) -> None:
    for data in (write_files((40, 30)), write_files((70, 90), (90, 120)), write_images(4, 120, 90), "digits"):
        options = DataOptions(str(data))
        assert limits.find_default_size(options) == open_images(options).resolution


def test_resolution_of_the_user_and_other_families_are_left_alone(write_files: Callable[..., Path]) -> None:
    data = write_files((128, 128), (128, 128))
    for config in (fast(data, resolution="100"), tiny(data)):
        assert choose_resolution(config, CPU, progress=False) == (config, [])


def test_every_family_is_limited_in_a_run_by_time_on_a_cpu(write_files: Callable[..., Path]) -> None:
    config = replace(tiny(write_files((128, 128), (128, 128))), minutes=3.0)
    limited, notes = choose_resolution(config, CPU, progress=False)
    assert limited == replace(config, resolution="64x64")
    assert len(notes) == 1
    assert choose_resolution(config, GPU, progress=False) == (config, [])


def test_arrays_are_limited_too(write_images: Callable[..., Path]) -> None:
    assert choose_limited_size(DataOptions(str(write_images(4, 120, 90))), 64) == (85, 64, 0, "")
    assert choose_limited_size(DataOptions("digits"), 64) is None


def test_data_are_decoded_once_and_their_headers_read_once_for_the_size(
    write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, calls = write_files(*[(128, 128)] * 4), []
    for module, name in ((limits, "scan_headers"), (prepare, "decode_files")):
        function = getattr(module, name)

        def counted(*arguments: Any, name: str = name, function: Any = function, **options: Any) -> Any:
            calls.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counted)
    completed = [start.complete(fast(data, device="cpu")) for _ in range(2)]
    assert calls == ["scan_headers", "decode_files"]
    assert completed[0] == completed[1]
    open_images(completed[0].dataset.options())
    assert calls == ["scan_headers", "decode_files"], "evaluations use the same decoded images"
    Image.new("RGB", (40, 30)).save(data / "new.png")
    assert start.complete(fast(data, device="cpu")).dataset.resolution == "30x30"


def test_mistakes_in_the_data_are_those_of_every_family(tmp_path: Path, write_files: Callable[..., Path]) -> None:
    (tmp_path / "empty").mkdir()
    for data, message in (
        (tmp_path / "empty", "no images"),
        ("nowhere", "no data set"),
        (write_files((4, 4)), "pixel"),
    ):
        with pytest.raises(GanvasError) as other:
            start.complete(tiny(data))
        with pytest.raises(GanvasError) as ours:
            start.complete(fast(data))
        assert str(ours.value) == str(other.value)
        assert message in str(ours.value)


def test_width_is_chosen_by_pixels_and_minutes_where_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (Width(32 * 32, 5, 2), Width(32 * 32, math.inf, 3), Width(math.inf, math.inf, 4))
    monkeypatch.setattr(choices, "G_WIDTHS", {"CPU": rows, "GPU": (Width(math.inf, math.inf, 5),)})

    def chosen(side: int, device: torch.device = CPU, **knobs: Any) -> tuple[int | None, str]:
        config, notes = choose_networks(fast(**{"features_net": "eye", **knobs}), Shape(3, side, side), device)
        return dict(leaves(config))["g_width"], " ".join(notes)

    assert chosen(28, minutes=5) == (2, "For 28x28 pixels and 5 minutes on a CPU, --g-width 2 is chosen.")
    assert chosen(32, minutes=6)[0] == 3
    assert chosen(32, kimg=1) == (3, "For 32x32 pixels on a CPU, --g-width 3 is chosen.")
    assert chosen(33, minutes=1)[0] == 4
    assert chosen(33, GPU, minutes=1)[0] == 5
    assert chosen(28, g_width=8) == (8, ""), "what the user sets stays"


@pytest.mark.parametrize("device", [CPU, GPU])
def test_width_of_the_user_replaces_that_of_the_table(device: torch.device) -> None:
    for side, minutes in ((28, 10), (64, 10), (64, 30)):
        config, notes = choose_networks(
            fast(g_width=20, features_net="eye", minutes=minutes), Shape(3, side, side), device
        )
        assert dict(leaves(config))["g_width"] == 20
        assert not notes
        config, (note,) = choose_networks(fast(features_net="eye", minutes=minutes), Shape(3, side, side), device)
        assert f"--g-width {dict(leaves(config))['g_width']} is chosen" in note


def test_the_last_width_fits_all() -> None:
    for rows in G_WIDTHS.values():
        assert rows[-1][:2] == (math.inf, math.inf)


def test_missing_package_of_the_frozen_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "resolve_frozen", lambda name: ("eye", f"{name} is missing."))
    config, notes = choose_networks(fast(), Shape(3, 32, 32), CPU)
    assert config.network.features_net == "eye"  # type: ignore[union-attr]
    assert notes[-1] == "lite0 is missing."


def test_batch_that_is_too_small_for_moments_of_each_class_is_said() -> None:
    few, many = (Shape(3, 32, 32, classes) for classes in (16, 20))
    config = fast(features_net="eye", g_width=8, conditional=True)
    assert choose_networks(config, few, CPU)[1] == []
    assert choose_networks(config, many, CPU)[1] == [
        "With a batch of 32, moments are matched over all 20 classes together: --batch 40 gives each of them its own."
    ]
    pair = replace(RECIPES["custom"].config, d="projected(features_net='eye')", batch=8, moments=0.1)
    assert "--batch 40" in choose_networks(pair, many, CPU)[1][-1]
    for other in (replace(config, batch=40), replace(config, moments=0.0)):
        assert choose_networks(other, many, CPU)[1] == []


def test_other_families_are_complete() -> None:
    assert choose_networks(tiny(), Shape(1, 8, 8), CPU) == (tiny(), [])


def test_default_recipe_follows_the_data() -> None:
    assert default_recipe() == default_recipe("digits28") == "digits28"
    assert default_recipe("digits") == "digits"
    assert default_recipe("photos") == default_recipe(Path("photos")) == "fast"
    assert RECIPES["fast"].config.minutes == 10


@pytest.mark.slow
def test_train_without_a_recipe_writes_what_was_chosen_and_finds_the_run_again(
    write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    data = write_files(*[(70, 90)] * 40)
    knobs: dict[str, Any] = {
        "data": data,
        "kimg": 0.008,
        "batch": 8,
        "plot": False,
        "watch": False,
        "device": "cpu",
        "moments": 0.0,
        "g_width": 4,
        "pixel_width": 4,
    }
    run = ganvas.train(**knobs, features_net="eye", quiet=True)
    assert run.path.name == "00000-fast-photos0"
    assert run.config.dataset.resolution == "64x82"
    assert run.config.minutes is None
    assert run.metadata["data"]["shape"] == {"channels": 3, "height": 64, "width": 82, "classes": 0}
    assert ganvas.train(**knobs, features_net="eye", quiet=True).path == run.path
    assert "trained at 64x82 pixels" in (run.path / "log.txt").read_text()


def test_a_pair_of_networks_takes_the_eye_where_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(RECIPES["custom"].config, data="digits", g="mlp", d="projected(d_width=8)")
    assert choose_networks(config, Shape(1, 8, 8), CPU) == (config, [])
    monkeypatch.setattr(frozen, "is_installed", lambda: False)
    found, notes = choose_networks(config, Shape(1, 8, 8), CPU)
    assert dict(leaves(found))["d"] == "projected(d_width=8, features_net='eye')"
    assert "the eye instead of lite0" in notes[0]
    plain = replace(config, d="dcgan")
    assert choose_networks(plain, Shape(1, 8, 8), CPU) == (plain, [])


def test_large_images_of_a_pair_are_limited_as_those_of_fast(write_files: Callable[..., Path]) -> None:
    config = replace(RECIPES["custom"].config, data=str(write_files((128, 128), (128, 128))))
    for d, expected in (("projected", "64x64"), ("dcgan", None)):
        assert choose_resolution(replace(config, d=d), CPU, progress=False)[0].dataset.resolution == expected
