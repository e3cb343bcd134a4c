"""Sampling: one image per seed, classes, truncation, interpolation, grids and files."""

import dataclasses
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import call_cli, run_cli, tiny

import ganvas as package
from ganvas import image_io
from ganvas.config import replace
from ganvas.drawing import sample_latents
from ganvas.errors import GanvasError
from ganvas.latent_space.pictures import Request, truncated_rows
from ganvas.latents import slerp
from ganvas.runs.folder import Run
from ganvas.sampling import load
from ganvas.seeds import parse_seeds
from ganvas.training.start import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run without classes, and one with them."""
    configs = {"plain": tiny(), "conditional": replace(tiny(), conditional=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("runs")
        return {name: train(config, out=out, name=name, quiet=True) for name, config in configs.items()}


@pytest.fixture
def run(trained: dict[str, Run], tmp_path: Path) -> Run:
    """A copy, to be changed."""
    return Run(shutil.copytree(trained["plain"].path, tmp_path / "plain"))


@pytest.fixture
def conditional(trained: dict[str, Run], tmp_path: Path) -> Run:
    """A copy, to be changed."""
    return Run(shutil.copytree(trained["conditional"].path, tmp_path / "conditional"))


@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_image_of_a_seed_does_not_depend_on_the_batch(family: str) -> None:
    sampler = load(train(tiny(family=family), quiet=True))
    together = sampler.sample(seeds=range(150))
    for seeds in ([3], [149, 0, 3], range(60, 130), [7] * 65):
        assert np.array_equal(sampler.sample(seeds=seeds), together[list(seeds)])
    assert len(np.unique(together.reshape(150, -1), axis=0)) == 150


@pytest.mark.parametrize("seed", [1.5, "1", None, float("nan"), True])
def test_seeds_and_classes_must_be_integers(seed: object, conditional: Run) -> None:
    sampler = load(conditional)
    with pytest.raises(GanvasError, match="is not a seed"):
        sampler.sample([seed])  # type: ignore[list-item]
    if not isinstance(seed, str | None):
        with pytest.raises(GanvasError, match="is not a class"):
            sampler.sample([1], label=[seed])  # type: ignore[list-item]
    assert np.array_equal(sampler.sample([1], label=np.int64(1)), sampler.sample([1], label=1))  # type: ignore[arg-type]


def test_values_that_are_no_seeds_and_no_truncation_are_refused(run: Run) -> None:
    sampler = load(run)
    for wrong in (3, None, 1.5):
        with pytest.raises(GanvasError, match="is not a list of seeds"):
            sampler.sample(wrong)  # type: ignore[arg-type]
    for truncation in ("a", None):
        with pytest.raises(GanvasError, match="--truncation is"):
            sampler.sample([1], truncation=truncation)  # type: ignore[arg-type]


def test_grid_that_no_file_holds_is_refused_before_anything_is_computed(run: Run) -> None:
    with pytest.raises(GanvasError, match="A grid of 1,000,000 images"):
        load(run).sample_grid(range(1_000_000))
    with pytest.raises(GanvasError, match="A grid of 2,000 images"):
        load(run).sample_grid(range(2_000), columns=1)


def test_a_smaller_scale_helps_where_a_grid_is_too_large(run: Run) -> None:
    sampler, request = load(run), Request(seeds="0-1999")
    with pytest.raises(GanvasError, match=r"(?s)2,000 images would have 72×136,004 pixels.*a smaller --scale"):
        request.check_grid(sampler, 1)
    images, columns, names = request.grid(sampler, 1, 1)
    assert image_io.make_grid(images, columns, row_names=names, scale=1).size == (12, 2 + 2000 * 10)
    with pytest.raises(GanvasError) as refused:
        Request(seeds="0-9999").check_grid(sampler, 1, 1)
    assert "--scale" not in refused.value.fix
    assert refused.value.fix == "fewer seeds, or a file for each image: --each FOLDER."
    with pytest.raises(GanvasError) as refused:
        truncated_rows(sampler, [0.5, 1], "0-999", scale=256)
    assert refused.value.fix == "fewer seeds, or a smaller --scale."
    with pytest.raises(GanvasError) as refused:
        sampler.sample_grid(range(2_000), columns=1)
    assert "--each" not in refused.value.fix


def test_one_class_alone_helps_where_rows_are_classes(conditional: Run) -> None:
    with pytest.raises(GanvasError, match=r"one class alone \(--class\)"):
        Request(seeds="0-99").check_grid(load(conditional), None, 256)


def test_a_grid_that_its_format_cannot_store_is_refused_before_it_is_drawn(run: Run, tmp_path: Path) -> None:
    """Margins count: without them 6,550 rows of 8 pixels would fit."""
    sampler, request = load(run), Request(seeds="0-6549")
    with pytest.raises(GanvasError, match=r"(?s)would have 12×65,502 pixels.*at most .* 65,500 on a side"):
        request.check_grid(sampler, 1, 1, tmp_path / "grid.jpg")
    request = Request(seeds="0-1999")
    request.check_grid(sampler, 1, 1, tmp_path / "grid.jpg")
    refused = call_cli(
        "sample", run.path, "--seeds", "0-1999", "--columns", 1, "--scale", 1, "--out", "g.webp", check=1
    )
    assert "16,383 on a side" in refused.stderr
    assert "a .png file" in refused.stderr
    image = Image.new("L", (1, 65_501))
    for name in ("a.jpg", "a.webp"):
        with pytest.raises(GanvasError, match=r"would have 1×65,501 pixels"):
            image_io.save_image(image, tmp_path / name)
    assert not list(tmp_path.glob("a.*"))


def test_names_at_the_left_count(tmp_path: Path) -> None:
    image_io.check_grid(1638, 1638, 8, 8, 1, path=tmp_path / "a.webp")
    with pytest.raises(GanvasError, match="would have"):
        image_io.check_grid(1638, 1638, 8, 8, 1, row_names=["cat"], path=tmp_path / "a.webp")


def test_classes_have_names_and_seeds_have_ranges(conditional: Run) -> None:
    card = conditional.latest_snapshot / "card.json"
    card.write_text(card.read_text().replace('"4"', '"four"').replace('"5"', '"4"'))  # a name that looks like a number
    sampler = load(conditional)
    images = sampler.sample("0-3", label=4)
    assert np.array_equal(images, sampler.sample(range(4), label="four"))
    assert np.array_equal(images, sampler.sample("0,1,2,3", label=["four", 4, "four", 4]))
    assert np.array_equal(sampler.sample([1], label="4"), sampler.sample([1], label=5)), "a name goes before a number"
    assert np.array_equal(sampler.sample_grid("0-3", label="four")[0], images)
    first = next(iter(sampler.interpolate("0,7", frames=1, label="four")))
    assert np.array_equal(first[0], images[0])
    assert [sampler.find_class(one) for one in (4, "4", 5)] == [4, 5, 5], "a number is no name"
    for number in (10, -1):
        with pytest.raises(GanvasError, match=f"no class '{number}'"):
            sampler.find_class(number)
    for wrong in ("forty", "11"):
        with pytest.raises(GanvasError, match="no class"):
            sampler.sample("0-3", label=wrong)
    with pytest.raises(GanvasError, match="differ in number: 4 and 1"):
        sampler.sample("0-3", label=["four"])
    with pytest.raises(GanvasError) as refused:
        sampler.sample(range(1000), label=[3, 17] * 500)
    assert refused.value.what == "Class 17 does not exist."


def test_run_accepts_a_path_as_text(run: Run) -> None:
    assert Run(str(run.path)).latest_snapshot == run.latest_snapshot  # type: ignore[arg-type]


def test_no_seeds_give_no_images(run: Run) -> None:
    assert load(run).sample(seeds=[]).shape == (0, 1, 8, 8)


def test_load_accepts_a_run_a_snapshot_or_its_weights(run: Run) -> None:
    first = load(run).sample(seeds=[5])
    for where in (run, run.path, str(run.path), run.latest_snapshot, run.latest_snapshot / "G.safetensors"):
        assert np.array_equal(package.load(where).sample(seeds=[5]), first)


def test_classes_by_number_by_name_and_by_seed(conditional: Run) -> None:
    sampler = load(conditional)
    threes = sampler.sample(seeds=range(4), label=3)
    assert np.array_equal(threes, sampler.sample(seeds=range(4), label=[3, 3, 3, 3]))
    assert np.array_equal(sampler.sample(seeds=range(4))[3:], threes[3:])
    assert np.array_equal(sampler.sample(seeds=[13, 3])[1:], threes[3:]), "a seed determines its class"
    assert sampler.find_class("7") == 7
    with pytest.raises(GanvasError, match="no class 'seven'"):
        sampler.find_class("seven")
    with pytest.raises(GanvasError, match="Class 10 does not exist"):
        sampler.sample(seeds=[0], label=10)
    images, columns, names = sampler.sample_grid(range(20))
    assert (len(images), columns, len(names)) == (20, 2, 10)
    assert np.array_equal(images[6:8], sampler.sample(seeds=[0, 1], label=3))
    images, columns, names = sampler.sample_grid(range(64), columns=4)
    assert (len(images), columns, len(names)) == (40, 4, 10)
    apart = unicodedata.normalize("NFD", "Größe")  # as macOS names a folder
    sampler.card = dataclasses.replace(sampler.card, class_names=("cat", apart))
    assert sampler.find_class(apart) == sampler.find_class(unicodedata.normalize("NFC", apart)) == 1


def test_class_for_an_unconditional_generator_is_refused(run: Run) -> None:
    with pytest.raises(GanvasError, match="without classes"):
        load(run).sample(seeds=[0], label=1)


def test_truncation_0_gives_the_mean_image(run: Run) -> None:
    sampler = load(run)
    assert len(np.unique(sampler.sample(seeds=range(5), truncation=0.0), axis=0)) == 1
    diversity = [sampler.sample(seeds=range(50), truncation=t).std(axis=0).mean() for t in (0.3, 0.7, 1.0)]
    assert diversity == sorted(diversity)
    for wrong in (-0.5, float("nan"), float("inf")):
        with pytest.raises(GanvasError, match="--truncation"):
            sampler.sample(truncation=wrong)


def test_slerp_has_its_end_points_constant_norm_and_equal_steps() -> None:
    a, b = sample_latents([1, 2], 50)
    b = b * a.norm() / b.norm()
    path = slerp(a, b, torch.linspace(0, 1, 11))
    assert torch.allclose(path[0], a, atol=1e-5)
    assert torch.allclose(path[-1], b, atol=1e-5)
    assert torch.allclose(path.norm(dim=1), a.norm().expand(11), rtol=1e-5)
    steps = path.diff(dim=0).norm(dim=1)
    assert torch.allclose(steps, steps[0].expand(10), rtol=1e-3)
    assert torch.isfinite(slerp(a, -a, torch.tensor([0.0, 0.5, 1.0]))).all()
    assert torch.allclose(slerp(a, a, torch.tensor([0.5]))[0], a)


def test_slerp_from_or_to_a_latent_of_length_0_is_straight() -> None:
    a, t = sample_latents([1], 50)[0], torch.tensor([0.0, 0.5, 1.0])
    nothing = torch.zeros(50)
    assert torch.equal(slerp(nothing, a, t), t[:, None] * a)
    assert torch.equal(slerp(a, nothing, t), (1 - t)[:, None] * a)
    assert torch.equal(slerp(nothing, nothing, t), torch.zeros(3, 50))


def test_interpolation_passes_through_its_seeds_and_returns(run: Run) -> None:
    sampler = load(run)
    frames = torch.cat(list(sampler.interpolate([0, 7], frames=4))).numpy()
    assert len(frames) == 8
    assert np.array_equal(frames[[0, 4]], sampler.sample(seeds=[0, 7]))
    with pytest.raises(GanvasError, match="at least two"):
        sampler.interpolate([1], frames=4)


@pytest.mark.parametrize(("text", "seeds"), [("0-3,12", [0, 1, 2, 3, 12]), ("5", [5]), (" 1 , 2", [1, 2])])
def test_seed_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-4", "5-3,7", "0,9-8", "1-"])
def test_bad_seed_range_is_refused(text: str) -> None:
    with pytest.raises(GanvasError, match="not a list of seeds"):
        parse_seeds(text)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grid_contains_every_image_enlarged_without_smoothing(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, channels, 10, 12), np.uint8)
    grid = np.asarray(image_io.make_grid(images, 3))
    scale = image_io.choose_scale(10, 12)
    assert scale * 12 >= image_io.MIN_CELL_SIZE > (scale - 1) * 12
    gap = (grid.shape[1] - 3 * 12 * scale) // 4
    assert gap >= 2
    grid = grid.reshape(*grid.shape[:2], channels)
    for i, image in enumerate(images):
        row, column = divmod(i, 3)
        y, x = gap + row * (10 * scale + gap), gap + column * (12 * scale + gap)
        cell = grid[y : y + 10 * scale, x : x + 12 * scale]
        assert np.array_equal(cell, image.transpose(1, 2, 0).repeat(scale, 0).repeat(scale, 1))
    assert (grid[:gap] == 255).all()


def test_row_names_are_drawn_beside_their_rows() -> None:
    images = np.zeros((4, 1, 8, 8), np.uint8)
    plain, named = image_io.make_grid(images, 2), image_io.make_grid(images, 2, row_names=("cat", "<dog>"))
    assert named.width > plain.width
    assert named.height == plain.height
    beside = np.asarray(named)[:, : named.width - plain.width]
    assert (beside < 128).any()


@pytest.mark.slow
def test_bad_requests_are_refused(run: Run) -> None:
    Path("config.txt").write_text("not a folder")
    for arguments, words in [
        (["--out", "x.xyz"], "No image format has the extension '.xyz'"),
        (["--seeds", "0,1", "--video", "w.mkv"], "cannot write an animation"),
        (["--label", "3"], "trained without classes"),
        (["--video", "w.gif", "--seeds", "5"], "at least two seeds"),
        (["--seeds", "x"], "not a list of seeds"),
        (["--seeds", "99999999999999999999"], "is not a seed"),
        (["--columns", "-2"], "--columns is -2"),
        (["--scale", "0"], "--scale is 0"),
        (["--device", "abacus"], "not a device"),
        (["--video", "w.gif", "--frames", "0"], "--frames is 0"),
        (["--out", "config.txt/grid.png"], "could not be written"),
        (["--seeds", "0-99999999"], "too many seeds"),
        (["--seeds", "0-999999"], "A grid of 1,000,000 images would have 68,004×68,004 pixels"),
        (["--label", "1", "--class", "2"], "given together"),
        (["--video", "w.gif", "--each", "folder"], "--video and --each were given together"),
        (["--video", "w.gif", "--out", "w.png"], "--video and --out were given together"),
        (["--each", "folder", "--columns", "2"], "--each and --columns were given together"),
    ]:
        done = call_cli("sample", run.path, *arguments, check=2 if "together" in words else 1)
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_command_line_writes_grids_single_files_and_interpolations(conditional: Run) -> None:
    run_cli("sample", conditional.path, "--seeds", "0-19", "--out", "deep/grid.png")
    run_cli("sample", conditional.path, "--seeds", "3,9", "--label", "4", "--each", "single")
    run_cli(
        "sample",
        conditional.path,
        "--seeds",
        "0,7,12",
        "--video",
        "interpolation.gif",
        "--frames",
        "3",
        "--class",
        "1",  # another name of --label
    )
    with Image.open("deep/grid.png") as grid:
        assert grid.width > 128
    names = sorted(p.name for p in Path("single").iterdir())
    assert names == ["seed00003.png", "seed00009.png"]
    with Image.open("single/seed00009.png") as nine:
        assert np.array_equal(np.asarray(nine), load(conditional).sample(seeds=[9], label=4)[0, 0])
    with Image.open("interpolation.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 9


def test_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="does not exist"):
        load(tmp_path / "nothing")
    with pytest.raises(GanvasError, match="is no run and no snapshot"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("value", "kind"), [(float("nan"), torch.float32), (float("inf"), torch.float32), (1, torch.int32)]
)
def test_weights_that_draw_nothing_are_refused(run: Run, value: float, kind: torch.dtype) -> None:
    file = run.latest_snapshot / "G.safetensors"
    weights = load_file(file)
    name = next(iter(weights))
    weights[name] = torch.full_like(weights[name], value, dtype=kind)
    save_file(weights, file)
    with pytest.raises(GanvasError, match=r"not finite|torch\.int32"):
        load(run)


def test_damaged_or_later_snapshot_is_refused(run: Run) -> None:
    weights = run.latest_snapshot / "G.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GanvasError, match="not a usable snapshot"):
        load(run)
    weights.write_bytes(whole)
    card = run.latest_snapshot / "card.json"
    card.write_text(card.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(GanvasError, match="later version"):
        load(run)


def test_how_many_seeds_are_drawn_of_each_class_is_said(tmp_path: Path) -> None:
    for seeds, which in (
        ("0-15", "10 images in {}: the first seed in each"),
        ("0-29", "30 images in {}: the first 3 seeds in each"),
    ):
        out = tmp_path / "grid.png"
        said = call_cli("sample", "pretrained:digits28", "--seeds", seeds, "--out", out, check=0).stdout
        assert said.strip() == f"{which.format(out)} of 10 classes"
