"""The latent space: styles of every family, latents in files, the place of a photo, directions, walks, films."""

import dataclasses
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import FAMILY_CASES, NARROW, call_cli, tiny

import ganvas
from ganvas.animation import save_animation
from ganvas.data import to_unit
from ganvas.drawing import sample_latents
from ganvas.errors import GanvasError
from ganvas.features.perceptual import PerceptualDistance
from ganvas.image_io import make_grid
from ganvas.latent_space import axes as module
from ganvas.latent_space.axis_names import as_direction, parse_direction, parse_moves
from ganvas.latent_space.layers import parse_layers
from ganvas.latent_space.noise import change_noise
from ganvas.latent_space.pictures import Request, parse_amounts, truncated_rows
from ganvas.latent_space.search import SearchStep
from ganvas.latents import Latents, Origin, load_latents, walk
from ganvas.networks import Shape, build_generator
from ganvas.runs import snapshot
from ganvas.runs.folder import Run
from ganvas.runs.snapshot import Card
from ganvas.training.start import train

pytestmark = pytest.mark.usefixtures("few_pictures_for_pca")


def make_snapshot(path: Path, family: str, shape: Shape) -> Path:
    """An untrained generator of a family."""
    network = NARROW[family]
    torch.manual_seed(0)
    generator = build_generator(network, shape)
    with torch.no_grad():
        for weight in generator.parameters():
            weight.mul_(5 if family == "dcgan" and weight.dim() > 1 else 1)  # its pictures are nearly grey at first
    for _ in range(3):  # averages and batch statistics move
        labels = torch.arange(8) % shape.classes if shape.classes else None
        generator.train()(torch.randn(8, network.latent), labels)
    data = {"name": "none", "fingerprint": "0"}
    card = Card(network, shape, tuple(map(str, range(shape.classes))), 1000, "ema", data, family, {})
    snapshot.save(path, generator, card)
    return path


@pytest.fixture(scope="module", params=FAMILY_CASES)
def of_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ganvas.Sampler:
    shape = Shape(3, 16, 20, 0 if request.param == "projected" else 3)
    return ganvas.load(make_snapshot(tmp_path_factory.mktemp(request.param) / "s", request.param, shape))


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_drawing_the_latents_of_seeds_gives_their_images(of_family: ganvas.Sampler, truncation: float) -> None:
    latents = of_family.latents([3, 4, 5], truncation=truncation)
    assert np.array_equal(of_family.draw(latents), of_family.sample([3, 4, 5], truncation=truncation))


def test_directions_are_orthogonal_in_units_of_deviation_and_change_images(of_family: ganvas.Sampler) -> None:
    for method in module.METHODS:
        if method == "sefa" and of_family.generator.style_space == "features":
            with pytest.raises(GanvasError, match="no weights for sefa"):
                ganvas.directions(of_family, method=method)
            continue
        found = ganvas.directions(of_family, method=method, n=4)
        assert len(found) == 4
        assert (found.shares.diff() <= 1e-6).all()
        rows = torch.nn.functional.normalize(found.vectors[:, 0], dim=1)
        assert torch.allclose(rows @ rows.T, torch.eye(4), atol=1e-3)
        random = of_family.latents(range(1998))  # a third of each class
        along = (random.styles[:, 0] @ rows.T).unflatten(0, (-1, 3))
        along = (along - along.mean(0) * bool(of_family.card.shape.classes)).flatten(0, 1).std(0)
        assert torch.allclose(found.vectors[:, 0].norm(dim=1), along, rtol=0.3)
        again = ganvas.directions(of_family, method=method, n=4)
        assert torch.allclose(found.vectors, again.vectors, atol=1e-3)
        start = of_family.latents([1], label=None if not of_family.card.shape.classes else 0)
        moved = of_family.draw(found.move(start, 0, (-3.0, 0.0, 3.0)))
        assert np.array_equal(moved[1], of_family.draw(start)[0])
        assert not np.array_equal(moved[0], moved[2])


def test_pca_of_a_large_z_has_more_samples_than_dimensions(tmp_path: Path) -> None:
    network = dataclasses.replace(NARROW["mlp"], latent=160)
    generator = build_generator(network, Shape(1, 8, 8, 0))
    card = Card(network, Shape(1, 8, 8, 0), (), 1000, "ema", {"name": "none", "fingerprint": "0"}, "mlp", {})
    snapshot.save(tmp_path / "s", generator, card)
    found = ganvas.directions(tmp_path / "s", n=1000)
    assert len(found) == 80
    unit = torch.nn.functional.normalize(found.vectors[:, 0], dim=1)
    assert torch.allclose(unit @ unit.T, torch.eye(80), atol=1e-3)
    strongest = ganvas.directions(tmp_path / "s", seed=10_000, n=1).vectors[0, 0]
    assert abs(float(torch.nn.functional.cosine_similarity(strongest, found.vectors[0, 0], dim=0))) > 0.5


@pytest.mark.parametrize("family", ["mlp", "stylegan"])
def test_directions_of_very_many_classes_are_those_within_a_class(family: str, tmp_path: Path) -> None:
    shape = Shape(1, 16, 16, 3000)
    for method in module.METHODS:
        found = ganvas.directions(make_snapshot(tmp_path / method, family, shape), method=method, n=3)
        assert found.shares.isfinite().all()
        assert (found.vectors.norm(dim=2) > 1e-3).all()


def test_directions_of_few_classes_are_of_all_of_them() -> None:
    labels = module._random_latents(ganvas.load("pretrained:digits"), range(5, 517)).labels
    assert labels is not None
    assert labels.tolist() == [seed % 10 for seed in range(5, 517)]


def test_another_network_than_usual_is_named_where_pictures_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 0)))
    usual = ganvas.directions(drawn).to_json()
    assert (usual["network"], usual["note"]) == ("lite0", "")
    monkeypatch.setattr("ganvas.features.frozen.is_installed", lambda: False)
    other = ganvas.directions(drawn)
    assert other.network == other.to_json()["network"] == "eye"
    notes = ganvas.project(drawn.path, np.asarray(drawn.sample([3])[0]), steps=1, references=0, quiet=True).notes
    assert other.note in notes
    assert "is not installed: pictures are compared in the maps of the eye" in other.note
    assert ganvas.directions(drawn, method="sefa").network is None


def test_sefa_finds_the_direction_that_the_weights_amplify(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 0)))
    first = next(m for m in sampler.generator.modules() if isinstance(m, torch.nn.Linear))
    with torch.no_grad():
        first.weight[:, 5] *= 50
    strongest = ganvas.directions(sampler, method="sefa").vectors[0, 0]
    assert strongest.abs().argmax() == 5
    assert strongest[5] > 0


def test_projection_finds_a_picture_of_the_generator_itself(of_family: ganvas.Sampler) -> None:
    label = 1 if of_family.card.shape.classes else None
    own = of_family.draw(of_family.latents([4321], label=label))[0]
    found = ganvas.project(of_family.path, np.asarray(own), steps=60, references=0, quiet=True)
    others = of_family.draw(of_family.latents(range(40), label=label))
    distance = PerceptualDistance(torch.device("cpu"))
    seen = [distance.describe(to_unit(torch.from_numpy(np.asarray(images)))) for images in (others, own[None])]
    assert found.distances[0] < 0.5 * float(distance.between(*seen).median())
    assert np.array_equal(of_family.draw(found.latents), found.found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(), out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.mark.slow
def test_projection_of_photos_by_the_command_line(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(photo)
    out = tmp_path / "place"
    call_cli("project", run.path, photo, photo, "--steps", 6, "--references", 2, "-o", out, check=0)
    with Image.open(out / "projection.png") as sheet, Image.open(out / "search.webp") as film:
        assert sheet.width > 2 * 64
        assert getattr(film, "n_frames", 1) > 2
    latents = load_latents(out / "latents.npz")
    assert torch.allclose(latents.styles[0], latents.styles[1], atol=0.05)
    call_cli("sample", run.path, "--latents", out / "latents.npz", "-o", tmp_path / "again.png", check=0)
    walked = tmp_path / "walk.webp"
    call_cli("sample", run.path, "--latents", out / "latents.npz", "--video", walked, "--frames", 3, check=0)
    found = ganvas.project(run, [photo], steps=6, references=2, quiet=True)
    assert set(found.context) == {"training", "held-out", "other kinds"}
    assert all(len(distances) == 2 for distances in found.context.values())
    assert "distance" in found.verdict()


def test_a_photo_of_which_most_is_cut_off_is_named(run: Run, tmp_path: Path) -> None:
    shapes = {"wide.png": (20, 120, 3), "upright.png": (90, 60, 3)}
    for name, shape in shapes.items():
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / name)
    photos = [tmp_path / name for name in shapes]
    notes = ganvas.project(run, photos, steps=1, references=0, quiet=True).notes
    assert [note for note in notes if "pixels" in note] == [
        "wide.png has 120×20 pixels: only the middle 20×20 is used, the shape of what is drawn."
    ]


@pytest.mark.parametrize("shape", [(40, 16, 16, 1), (40, 24, 24, 1), (40, 16, 16, 3)])
def test_pictures_that_were_not_trained_on_are_not_called_training_pictures(
    shape: tuple[int, ...], write_images: Callable[..., Path]
) -> None:
    changed = train(tiny(data := write_images()), quiet=True)
    np.savez(data, images=np.random.default_rng(1).integers(0, 256, shape, np.uint8))
    found = ganvas.project(changed, np.zeros((1, 16, 16), np.uint8), steps=1, references=1, quiet=True)
    assert set(found.context) == {"other kinds"}
    assert [note for note in found.notes if "has other pictures now than this generator was trained on" in note]


@pytest.mark.parametrize(("kind", "form"), [(np.uint16, "png"), (np.float32, "tif")])
def test_grey_of_16_bits_and_floats_is_read_as_in_training(tmp_path: Path, kind: type, form: str) -> None:
    """As 12 bits where the brightest picture has so many; from the least to the largest of all floats."""
    folder = tmp_path / "scans"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        pixels = random.integers(0, 205 * i + 200, (16, 16))
        pixels[0, :2] = 0, 205 * i + 200
        Image.fromarray(pixels.astype(kind)).save(folder / f"{i:02d}.{form}")
    trained = train(tiny(folder), quiet=True)
    photo = folder / f"03.{form}"
    found = ganvas.project(trained, [photo], steps=1, references=0, quiet=True)
    with Image.open(photo) as image:
        assert np.array_equal(
            found.targets[0, 0], np.rint(np.asarray(image, np.float64) * (255 / 4095)).astype(np.uint8)
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN", "missing.jpg"], "missing.jpg does not exist"),
        (["RUN", "."], "is no file"),
        (["RUN", "text.jpg"], "cannot be used"),
        (["nothing", "photo.png"], "does not exist"),
        (["RUN", "photo.png", "--steps", "0"], "--steps is 0"),
        (["RUN", "photo.png", "--references", "-1"], "--references is -1"),
        (["RUN", "photo.png", "--label", "cat"], "trained without classes"),
        (["RUN", "photo.png", "--steps", "2", "--references", "0", "--out", "text.jpg"], "text.jpg"),
    ],
)
def test_what_cannot_be_projected_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.jpg").write_text("no picture")
    Image.new("L", (20, 20)).save("photo.png")
    done = call_cli("project", *[str(run.path) if a == "RUN" else a for a in arguments], check=1)
    assert words in done.stderr


def test_latents_of_other_programs_and_other_generators(run: Run, tmp_path: Path) -> None:
    sampler = ganvas.load(run)
    z = np.random.default_rng(0).normal(size=(3, sampler.generator.latent))
    np.save(tmp_path / "z.npy", z)
    np.savez(tmp_path / "z.npz", z=z.astype(np.float32), other=np.zeros(2))
    one, other = (sampler.draw(load_latents(tmp_path / name)) for name in ("z.npy", "z.npz"))
    assert np.array_equal(one, other)
    np.save(tmp_path / "other.npy", z[:, :5])
    with pytest.raises(GanvasError, match=r"not of .*"):
        sampler.draw(load_latents(tmp_path / "other.npy"))
    np.save(tmp_path / "w.npy", z.reshape(1, 3, -1))
    assert load_latents(tmp_path / "w.npy").space == "w"
    np.savez(tmp_path / "named.npz", z=z.reshape(1, 3, -1))
    assert load_latents(tmp_path / "named.npz").space == "z"
    for name, value in {
        "nan": z * math.nan,
        "words": np.array(["a"]),
        "4d": np.zeros((1, 1, 1, 1)),
        "none": z[:0],
    }.items():
        np.save(tmp_path / f"{name}.npy", value)
        with pytest.raises(GanvasError, match="has no latents"):
            load_latents(tmp_path / f"{name}.npy")
    (tmp_path / "text.npz").write_text("text")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for name in ("text.npz", "objects.npy", "missing.npz"):
        with pytest.raises(GanvasError, match="has no latents"):
            load_latents(tmp_path / name)
    with pytest.raises(GanvasError, match=r"neither \.npy nor \.npz inside"):
        load_latents(tmp_path / "text.npz")
    np.savez(tmp_path / "one.npz", z=z[0], labels=np.array([2]))
    labels = load_latents(tmp_path / "one.npz").labels
    assert labels is not None
    assert labels.tolist() == [2]
    np.save(tmp_path / "large.npy", z * 1e300)
    with pytest.raises(GanvasError, match="not finite in float32"):
        load_latents(tmp_path / "large.npy")
    with pytest.raises(GanvasError, match="ends in"):
        sampler.latents([0]).save(tmp_path / "x.txt")


def test_what_sample_cannot_use_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("foreign").mkdir()
    Path("foreign/card.json").write_text('{"model": "of another program"}')
    assert "card.json is damaged" in call_cli("sample", "foreign", check=1).stderr
    np.save("small.npy", np.zeros((3, 5), np.float32))
    assert "not of" in call_cli("sample", run.path, "--latents", "small.npy", check=1).stderr


@pytest.fixture
def newer(tmp_path: Path) -> tuple[ganvas.Sampler, ganvas.Sampler]:
    """Two snapshots of a run, the older one first."""
    older = ganvas.load(make_snapshot(tmp_path / "run" / "snapshots" / "000001", "mlp", Shape(1, 8, 8, 0)))
    generator = ganvas.load(older.path).generator
    with torch.no_grad():
        for weight in generator.parameters():
            weight.mul_(1.5)
    snapshot.save(tmp_path / "run" / "snapshots" / "000002", generator, dataclasses.replace(older.card, nimg=2000))
    return older, ganvas.load(tmp_path / "run" / "snapshots" / "000002")


def test_latents_say_whose_they_are(
    newer: tuple[ganvas.Sampler, ganvas.Sampler], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older, drawn = newer
    found = load_latents(older.latents([0, 1]).save(tmp_path / "a.npz"))
    assert found.origin == older.origin == Origin(older.origin.weights, "run/snapshots/000001", 1.0)
    assert str(tmp_path).encode() not in (tmp_path / "a.npz").read_bytes()
    older.draw(found)
    ganvas.load(older.path).draw(found)
    np.savez(tmp_path / "other.npz", z=found.styles.numpy(), generator=np.zeros(3))
    for bare in (load_latents(tmp_path / "other.npz"), Latents(found.styles, None, "z")):
        assert bare.origin is None
        drawn.draw(bare)
    assert not capsys.readouterr().err
    assert drawn.check_latents(found).origin == drawn.origin
    said = capsys.readouterr().err
    assert "Note: these latents are of run/snapshots/000001 (1 kimg), and run/snapshots/000002 (2 kimg)" in said
    assert f"{older.path} draws those that they are of" in said
    drawn.draw(found)
    assert not capsys.readouterr().err  # said once
    photo = np.asarray(older.sample([3])[0])
    assert ganvas.project(older, photo, steps=1, references=0, quiet=True).latents.origin == older.origin


def test_other_noise_does_not_change_whose_latents_are(tmp_path: Path) -> None:
    drawn = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0)))
    assert change_noise(drawn, "7").origin == drawn.origin


def test_latents_are_written_as_a_bare_array(tmp_path: Path) -> None:
    """[n k] of z, [n layers k] of w."""
    for family, dimensions in (("mlp", 2), ("stylegan", 3)):
        drawn = ganvas.load(make_snapshot(tmp_path / family, family, Shape(1, 16, 16, 0)))
        latents = drawn.latents([4, 5])
        path = latents.save(tmp_path / f"{family}.npy")
        assert np.load(path).ndim == dimensions
        again = load_latents(path)
        assert again.space == latents.space
        assert torch.equal(again.styles, latents.styles)


def test_a_bare_array_of_features_is_read_again(tmp_path: Path) -> None:
    """Both are [n k]; the generator knows its own by their number of values."""
    drawn = ganvas.load(make_snapshot(tmp_path / "s", "msg", Shape(1, 16, 16, 0)))
    latents = drawn.latents([4, 5])
    again = load_latents(latents.save(tmp_path / "features.npy"))
    assert np.array_equal(drawn.draw(again), drawn.draw(latents))
    np.save(tmp_path / "z.npy", sample_latents([4, 5], drawn.generator.latent).numpy())
    assert np.array_equal(drawn.draw(load_latents(tmp_path / "z.npy")), drawn.draw(latents))


def test_files_of_latents_are_joined(tmp_path: Path) -> None:
    drawn = ganvas.load("pretrained:digits")
    files = [drawn.latents(seeds, label=3).save(tmp_path / f"{seeds[0]}.npz") for seeds in ([4], [7, 8])]
    images = drawn.sample([4, 7, 8], label=3)
    request = Request(latents=files)
    assert request.names == ["latent00000", "latent00001", "latent00002"]
    assert np.array_equal(request.grid(drawn, None)[0], images)
    film = request.film(drawn, frames=4, easing="linear", loop=True)
    assert sum(map(len, film)) == request.film_length(frames=4, loop=True) == 12
    call_cli("sample", "pretrained:digits", "--latents", *files, "--each", tmp_path / "each", check=0)
    with Image.open(tmp_path / "each" / "latent00002.png") as image:
        assert np.array_equal(np.asarray(image), images[2, 0])
    assert "--latents has no value" in call_cli("sample", "pretrained:digits", "--latents", check=2).stderr
    with pytest.raises(GanvasError, match="have their own"):
        Request(latents=files, label="1").latents_of(drawn)
    with pytest.raises(GanvasError, match="fewer latents, or a smaller --scale, or a file for each image: --each"):
        Request(latents=files * 40).check_grid(drawn, None, 256)


def test_latents_of_different_kinds_are_not_joined() -> None:
    one = Latents(torch.zeros(2, 1, 6), None, "z")
    assert len(Latents.concatenate([one, one])) == 4
    for other in (
        Latents(torch.zeros(2, 1, 5), None, "z"),
        Latents(torch.zeros(2, 1, 6), None, "w"),
        Latents(torch.zeros(2, 1, 6), torch.zeros(2, dtype=torch.long), "z"),
    ):
        with pytest.raises(GanvasError, match="different kinds cannot be joined"):
            Latents.concatenate([one, other])
    for none in ([], [1], None):
        with pytest.raises(GanvasError, match="no latents to join"):
            Latents.concatenate(none)  # type: ignore[arg-type]


def test_z_is_mapped_and_one_style_is_taken_for_all_layers(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 2)))
    own = sampler.latents([7], label=1)
    z = Latents(sample_latents([7], sampler.generator.latent)[:, None], own.labels, "z")
    assert torch.equal(sampler.check_latents(z).styles, own.styles)
    one = Latents(own.styles[:, :1], own.labels, "w")
    assert torch.equal(sampler.check_latents(one).styles, own.styles)
    with pytest.raises(GanvasError, match="class 5"):
        sampler.draw(Latents(own.styles, torch.tensor([5]), "w"))


def test_style_mixing_takes_coarse_layers_of_rows_and_fine_ones_of_columns(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0)))
    mixed = sampler.mix([0, 1], [0, 5, 6])
    assert len(mixed) == 6
    assert np.array_equal(mixed[0], sampler.sample([0])[0])
    assert not np.array_equal(mixed[1], mixed[0])
    for layers in (99, 10**12):
        with pytest.raises(GanvasError, match=f"{layers} of .* cannot be coarse"):
            sampler.mix([0], [1], layers=layers)


def test_latents_are_indexed_and_iterated(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 3)))
    latents = sampler.latents([4, 5, 6])
    images = sampler.draw(latents)
    for chosen, number in ((latents[1], 1), (latents[-1], 2), (latents[:1], 0), (latents[[2]], 2)):
        assert np.array_equal(sampler.draw(chosen), images[[number]])
    assert np.array_equal(np.concatenate([sampler.draw(one) for one in latents]), images)
    with pytest.raises(IndexError):
        latents[3]


def test_latents_that_are_none_are_refused(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "mlp", Shape(1, 8, 8, 3)))
    latents = sampler.latents([4, 5])
    for styles in (latents.styles[0], latents.styles[:, 0], latents.styles[:0]):
        with pytest.raises(GanvasError, match=r"These latents are \["):
            sampler.draw(Latents(styles, None, "z"))
    for label in (-1, 3):
        with pytest.raises(GanvasError, match=f"have class {label}"):
            sampler.draw(dataclasses.replace(latents, labels=torch.tensor([0, label])))


def test_style_mixing_takes_any_layers(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0)))
    one, other = (sampler.latents([seed]).styles[0] for seed in (0, 5))
    mixed = sampler.mix_latents([0], [5], layers=[1, 3], label=None, truncation=1.0).styles[0]
    expected = [one, other]
    assert all(torch.equal(mixed[layer], expected[layer not in (1, 3)][layer]) for layer in range(len(mixed)))
    two = sampler.mix([0], [5], layers=2)
    assert np.array_equal(two, sampler.mix([0], [5], layers=[0, 1]))
    for layers in ([], range(99), [99]):
        with pytest.raises(GanvasError, match=r"coarse|--layers"):
            sampler.mix([0], [5], layers=layers)
    assert [parse_layers(text) for text in (None, "4", "0-2,5", "5-5")] == [None, 4, [0, 1, 2, 5], [5]]
    for text in ("", "x", "-1", "2-", "3-1", "3-1,5", "0,,1", "²"):
        with pytest.raises(GanvasError, match="--layers is"):
            parse_layers(text)


def test_noise_is_changed_in_some_layers_or_all_and_only_in_a_copy(tmp_path: Path) -> None:
    sampler = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0)))
    with torch.no_grad():
        for layer in sampler.generator.layers:  # type: ignore[union-attr]
            layer.noise_strength.fill_(1.0)  # type: ignore[union-attr]
    before, own = sampler.sample([3]), [noise.clone() for noise in sampler.generator.noise]
    changed = change_noise(sampler, "7")
    assert np.array_equal(changed.sample([3]), change_noise(sampler, "7").sample([3]))
    assert not np.array_equal(changed.sample([3]), before)
    assert not np.array_equal(changed.sample([3]), change_noise(sampler, "8").sample([3]))
    assert all(not noise.any() for noise in change_noise(sampler, "none").generator.noise)
    some = change_noise(sampler, "7:1-2").generator.noise
    assert all(torch.equal(some[i], (changed.generator.noise if i in (1, 2) else own)[i]) for i in range(len(own)))
    assert np.array_equal(sampler.sample([3]), before)
    large = change_noise(sampler, str(2**63 - 1)).generator.noise
    assert not torch.equal(large[0], change_noise(sampler, str(2**32 - 1)).generator.noise[0])
    for noise in (str(2**63), "x", "-1", "", "7:", "7:99", "7:2-1", "7:2-1,3", "none:x"):
        with pytest.raises(GanvasError, match="--noise"):
            change_noise(sampler, noise)
    with pytest.raises(GanvasError, match="no noise"):
        change_noise(ganvas.load(make_snapshot(tmp_path / "m", "mlp", Shape(1, 8, 8, 0))), "7")


@pytest.mark.parametrize("size", [4, 12, 100])
def test_all_bits_of_a_seed_count(size: int) -> None:
    """PyTorch's generator keeps 32 of them."""
    small = [0, 7, 2**32 - 1]
    plain = torch.stack([torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in small])
    assert torch.equal(sample_latents(small, size), plain)
    large = [2**32, 2**32 + 1, 2**32 + 7, 2**33 + 7, 7 * 2**32 + 2, 2**63 - 1]
    z = sample_latents([*small, *large], size)
    assert len(z.unique(dim=0)) == len(z)


def test_large_seeds_are_independent() -> None:
    z = sample_latents(range(2**40, 2**40 + 500), 64).double()
    assert abs(float(z.mean())) < 0.02
    assert (torch.corrcoef(z) - torch.eye(500)).abs().max() < 0.7


def test_several_moves_add_up_and_one_is_that_of_direction(run: Run, tmp_path: Path) -> None:
    sampler = ganvas.load(run)
    found = ganvas.directions(sampler, n=3)
    request = Request("4", move="pca:0=1.5,pca:2=-1")
    expected = found.move(found.move(sampler.latents([4]), 0, [1.5]), 2, [-1.0])
    assert torch.equal(request.latents_of(sampler).styles, expected.styles)
    one = Request("4,5", move="pca:1=2").latents_of(sampler).styles
    assert torch.equal(one, Request("4,5", direction="pca:1", amount="2").latents_of(sampler).styles)
    arguments = ["--seeds", "4", "--move", "pca:0=1.5,pca:2=-1", "--each", tmp_path / "each"]
    call_cli("sample", run.path, *arguments, check=0)
    with Image.open(tmp_path / "each" / "seed00004.png") as image:
        assert np.array_equal(np.asarray(image), sampler.draw(expected)[0, 0])
    assert parse_moves("2=1,sefa:0=-1") == [("pca", 2, 1.0), ("sefa", 0, -1.0)]
    for text in ("pca:0", "pca:0=", "pca:0=nan", "tsne:0=1", "pca:x=1", ":0=1", "pca:0=1,", ",".join(["pca:0=1"] * 65)):
        with pytest.raises(GanvasError, match="--move has"):
            parse_moves(text)


def test_a_direction_is_followed_in_some_layers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0)))
    start, found = drawn.latents([4]), ganvas.directions(drawn, method="sefa", n=1)
    whole, some = (found.move(start, 0, [2.0], layers=layers).styles[0] for layers in (None, [1, 3]))
    for layer in range(len(some)):
        assert torch.equal(some[layer], (whole if layer in (1, 3) else start.styles[0])[layer])
    along = Request("4", layers="1,3-3", direction="sefa:0", amount="2")
    for request in (along, Request("4", layers="1,3-3", move="sefa:0=2")):
        assert torch.equal(request.latents_of(drawn).styles[0], some)
    assert torch.equal(found.move(start, 0, [2.0], layers=1).styles[0][1:], start.styles[0][1:])

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("directions are found")

    monkeypatch.setattr("ganvas.latent_space.pictures.directions", refuse)
    for layers, words in (("99", "cannot be moved"), ("0-99", "--layers is"), ("x", "--layers is 'x'")):
        with pytest.raises(GanvasError, match=words):
            Request("4", direction="pca:0", layers=layers).latents_of(drawn)
    along = ["sample", "pretrained:digits", "--direction", "pca:0", "--layers", "0-3", "--out", tmp_path / "a.png"]
    assert "it has no layers to move apart" in call_cli(*along, check=1).stderr


def test_a_direction_has_one_text_everywhere() -> None:
    assert [as_direction(text) for text in ("2", "pca:2", "sefa:0")] == [("pca", 2), ("pca", 2), ("sefa", 0)]
    for text in ("", "pca", "pca:", ":2", "tsne:2", "pca:-1", "pca:²", " 2", "pca:1234567", "pca:2\n"):
        assert as_direction(text) is None
        with pytest.raises(GanvasError, match="--direction is"):
            parse_direction(text)


def test_a_search_tells_how_far_it_is_and_ends_when_asked(run: Run) -> None:
    target = ganvas.load(run).sample([5])[0]
    steps: list[SearchStep] = []
    found = ganvas.project(run, target, steps=30, references=1, quiet=True, callback=steps.append)
    photos = [step for step in steps if step.stage == "photos"]
    assert [step.stage for step in steps] == ["photos"] * len(photos) + ["comparison"] * (len(steps) - len(photos))
    assert len(photos) < len(steps)
    assert photos[-1].step == photos[-1].steps == 30
    assert torch.equal(photos[-1].latents.styles, found.latents.styles)
    assert found.distances[0] == pytest.approx(float(photos[-1].distances[0]))
    assert all(step.images.shape == (1, 1, 8, 8) for step in photos)
    assert found.context

    def stop(step: SearchStep) -> bool:
        return step.step < 10

    stopped = ganvas.project(run, target, steps=5000, references=1, quiet=True, callback=stop)
    assert not stopped.context
    assert stopped.distances[0] >= found.distances[0]


def test_walks_end_where_they_begin_or_at_the_last() -> None:
    ends = Latents(torch.randn(3, 2, 4), None, "w")
    there = torch.cat([part.styles for part in walk(ends, 4, loop=False)])
    assert there.shape == (9, 2, 4)
    assert torch.equal(there[[0, 4, 8]], ends.styles)
    around = torch.cat([part.styles for part in walk(ends, 4, easing="linear")])
    assert around.shape == (12, 2, 4)
    assert torch.allclose(around[1], torch.lerp(ends.styles[0], ends.styles[1], 0.25))
    smooth = torch.cat([part.styles for part in walk(ends, 4)])
    assert (smooth[1] - smooth[0]).norm() < (around[1] - around[0]).norm()


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["--direction", "pca:0", "--amount", "x"], "--amount is 'x'", 1),
        (["--direction", "pca:0", "--amount", "0..inf"], "--amount is", 1),
        (["--direction", "pca:0", "--amount", "-1..1:99999"], "--amount is", 1),
        (["--direction", "tsne:0"], "--direction is 'tsne:0'", 1),
        (["--direction", "pca:²"], "--direction is", 1),
        (["--direction", "900"], "direction is 900", 1),
        (["--direction", "pca:900"], "The pca direction is 900.\nExpected: a whole number from 0 to ", 1),
        (["--truncation", "nan"], "Expected: a finite number from 0 to 1,000,000\n", 1),
        (["--amount", "-1..1"], "--amount is of --direction", 2),
        (["--mix", "1,2"], "no layers to mix", 1),
        (["--layers", "2"], "--layers is of --mix", 2),
        (["--move", "pca:0"], "--move has 'pca:0'", 1),
        (["--noise", "3"], "no noise", 1),
        (["--mix", "1", "--direction", "pca:0"], "given together", 2),
        (["--latents", "a.npz", "--seeds", "1"], "given together", 2),
        (["--latents", "a.npz"], "has no latents", 1),
        (["--video", "a.webp", "--fps", "0"], "--fps is 0", 1),
        (["--save-latents", "a.txt"], "ends in .npz", 1),
        (["--columns", "0", "--seeds", "1"], "--columns is 0", 1),
        (["--columns", "-3", "--move", "pca:0=1"], "--columns is -3", 1),
        (["--latents", "a.npz", "--truncation", "0.7"], "--latents and --truncation were given together", 2),
        (["--frames", "25"], "--frames is of --video, which is missing", 2),
        (["--easing", "smooth"], "--easing is of --video", 2),
        (["--no-loop"], "--no-loop is of --video", 2),
        (["--fps", "25"], "--fps is of --video", 2),
        (["--seeds", ""], "'' is not a list of seeds", 1),
        (["--direction", ""], "--direction is ''", 1),
        (["--direction", "0", "--amount", ""], "--amount is ''", 1),
        (["--move", ""], "--move has ''", 1),
        (["--mix", ""], "'' is not a list of seeds", 1),
        (["--video", "a.webp", "--seeds", ""], "'' is not a list of seeds", 1),
        (["--video", "a.webp", "--scale", "0"], "--scale is 0", 1),
        (["--video", "a.gif", "--fps", "60"], "at most 50 of a GIF", 1),
    ],
)
def test_bad_requests_are_refused(run: Run, arguments: list[str], words: str, status: int) -> None:
    assert words in call_cli("sample", run.path, *arguments, check=status).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "a.txt"], "extension '.txt'"),
        (["--out", "taken/a.png"], "could not be written"),
        (["--each", "taken"], "could not be written"),
        (["--video", "a.txt"], "cannot write an animation"),
        (["--video", "taken/a.webp"], "could not be written"),
        (["--save-latents", "taken/a.npz"], "could not be written"),
        (["--scale", "256", "--seeds", "0-99"], "A grid of 700 images would have"),
        (["--scale", "256", "--seeds", "0-99"], "fewer seeds, or fewer steps of --amount, or a smaller --scale.\n"),
        (["--scale", "256", "--seeds", "0-99", "--save-latents", "a.npz"], "A grid of 700 images would have"),
        (["--video", "w.webp", "--frames", "0", "--save-latents", "a.npz"], "--frames is 0"),
    ],
)
def test_an_unusable_output_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file")
    monkeypatch.setattr(module, "_by_components", refuse)
    along = ["--move" if "--each" in arguments else "--direction", "pca:0=1" if "--each" in arguments else "pca:0"]
    assert words in call_cli("sample", "pretrained:digits", *along, *arguments, check=1).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    "given",
    [{}, {"move": "pca:0=1"}, {"label": "2"}, {"direction": "pca:1"}, {"direction": "pca:1", "seeds": "4,5"}],
)
def test_latents_saved_with_a_film_are_its_ends(given: dict[str, str]) -> None:
    drawn = ganvas.load("pretrained:digits")
    request = Request(**given)  # type: ignore[arg-type]
    film = np.concatenate([part.numpy() for part in request.film(drawn, frames=3, easing="linear", loop=False)])
    ends = np.asarray(drawn.draw(request.film_ends(drawn)))
    if "direction" in given:  # from the first amount to the last, seed by seed
        assert np.array_equal(film[[at for i in range(0, len(film), 7) for at in (i, i + 6)]], ends)
    else:
        assert np.array_equal(film[::3], ends)


def test_films_are_of_the_first_class_whatever_it_is_called(tmp_path: Path) -> None:
    source = ganvas.load("pretrained:digits")
    card = dataclasses.replace(source.card, class_names=tuple("9876543210"))
    snapshot.save(tmp_path / "s", source.generator, card)
    ends = Request("1,2").film_ends(ganvas.load(tmp_path / "s"))
    assert ends.labels is not None
    assert ends.labels.tolist() == [0, 0]


def test_long_films_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = ganvas.load("pretrained:digits")
    sizes: list[int] = []
    draw, found = ganvas.Sampler.draw_batches, ganvas.directions(drawn)

    def note(sampler: ganvas.Sampler, latents: Latents, step: int | None = None) -> Iterator[torch.Tensor]:
        sizes.append(len(latents))
        return draw(sampler, latents, step)

    monkeypatch.setattr(ganvas.Sampler, "draw_batches", note)
    for request in (Request("0,1"), Request("0", direction="pca:0", find=lambda *of: found)):
        frames = sum(len(part) for part in request.film(drawn, frames=150, easing="smooth", loop=True))
        assert frames == sum(sizes)
        assert max(sizes) == 64
        sizes.clear()
    with pytest.raises(GanvasError, match="--frames is 25001"):
        request.film(drawn, frames=25_001, easing="smooth", loop=True)


def test_sheets_and_films_fill_their_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are those of rows and segments drawn one by one."""
    drawn = ganvas.load("pretrained:digits")
    found, start = ganvas.directions(drawn, method="sefa"), drawn.latents([0], label=0, truncation=0.7)
    rows = np.concatenate([drawn.draw(found.move(start, i, module.AMOUNTS)) for i in range(8)])
    by_truncation = np.concatenate([drawn.sample([3, 5], truncation=at) for at in (0.5, 0.7, 1.0)])
    draw, passes = drawn.generator.draw, list[int]()

    def note(styles: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        passes.append(len(styles))
        return draw(styles, labels)

    monkeypatch.setattr(drawn.generator, "draw", note)
    names = [f"sefa:{i}" for i in range(8)]
    assert np.array_equal(np.asarray(found.sheet()), np.asarray(make_grid(rows, 7, row_names=names)))
    assert passes == [64]
    assert np.array_equal(truncated_rows(drawn, (0.5, 0.7, 1.0), "3,5")[0], by_truncation)
    assert passes == [64] * 2
    film = Request("0-7").film(drawn, frames=10, easing="smooth", loop=True)
    assert [len(part) for part in film] == [64, 16]
    request = Request("0-2", direction="sefa:0", find=lambda *of: found)
    along = request.film(drawn, frames=5, easing="smooth", loop=True)
    assert [len(part) for part in along] == [60]
    assert passes == [64] * 5


def test_directions_are_found_once_for_several_moves() -> None:
    drawn = ganvas.load("pretrained:digits")
    asked: list[tuple[str, int]] = []

    def find(sampler: ganvas.Sampler, method: str, number: int) -> module.Directions:
        asked.append((method, number))
        return ganvas.directions(sampler, method=method, n=number + 1)  # type: ignore[arg-type]

    Request("0", move="pca:0=1,sefa:1=2,pca:3=-1", direction="pca:1", find=find).latents_of(drawn)
    assert asked == [("pca", 3), ("sefa", 1)]


def test_style_mixing_says_what_rows_and_columns_give(tmp_path: Path) -> None:
    make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0))
    done = call_cli("sample", tmp_path / "s", "--mix", "10-12", "--out", tmp_path / "a.png", check=0)
    assert "18 images in" in done.stdout
    assert "rows give the coarse layers, columns (seeds 10, 11, 12) the others" in done.stdout
    mixed = ["--mix", "10", "--layers", "2-3", "--out", tmp_path / "b.png"]
    assert "rows give the layers 2-3, columns" in call_cli("sample", tmp_path / "s", *mixed, check=0).stdout


def test_a_sheet_of_mixing_shows_what_is_mixed_at_its_left_and_top(tmp_path: Path) -> None:
    drawn = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 0)))
    images, across, names = Request("3,4", mix="7-9").grid(drawn, None)
    sheet = np.asarray(images).reshape(3, 4, 1, 16, 16)
    assert (across, list(names)) == (4, ["", "3", "4"])
    assert (sheet[0, 0] == 255).all()
    assert np.array_equal(sheet[0, 1:], drawn.sample([7, 8, 9]))
    assert np.array_equal(sheet[1:, 0], drawn.sample([3, 4]))
    assert np.array_equal(sheet[1:, 1:].reshape(6, 1, 16, 16), drawn.mix([3, 4], [7, 8, 9]))


def test_photos_of_a_file_are_mixed_with_seeds_and_with_each_other(tmp_path: Path) -> None:
    """Where the file has no classes of its own, their class is that of --label."""
    drawn = ganvas.load(make_snapshot(tmp_path / "s", "stylegan", Shape(1, 16, 16, 3)))
    file = tmp_path / "photos.npz"
    photos = drawn.latents([3, 4], label=2)
    photos.save(file)
    expected = drawn.mix(photos, [7, 8, 9], label=2)
    assert expected.labels is not None
    assert (expected.labels == 2).all()
    request = Request(latents=file, mix="7-9")
    assert np.array_equal(drawn.draw(request.latents_of(drawn)), expected)
    assert request.names[:2] == ["latent00000-00007", "latent00000-00008"]
    both = Request(latents=file, mix=str(file))
    assert np.array_equal(drawn.draw(both.latents_of(drawn)), drawn.mix(photos, photos))
    assert both.names[1] == "latent00000-latent00001"
    assert both.check_grid(drawn, None) == (9, 3)
    files = ["--latents", file, "--mix", file, "--out", tmp_path / "a.png"]
    assert "photos.npz) the others" in call_cli("sample", tmp_path / "s", *files, check=0).stdout
    with pytest.raises(GanvasError, match="have their own"):
        Request(latents=file, mix=str(file), label="1").latents_of(drawn)


def test_an_array_of_any_name_may_have_labels_and_space_beside_it(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", codes=codes, labels=[1, 0], space="w")
    found = load_latents(tmp_path / "a.npz")
    assert np.array_equal(found.styles[:, 0], codes)
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0]
    assert found.space == "w"
    np.savez(tmp_path / "b.npz", labels=[1, 0])
    with pytest.raises(GanvasError, match="its arrays are labels"):
        load_latents(tmp_path / "b.npz")


@pytest.mark.parametrize("latents", [[1, 2], "walk.npz"])
def test_a_walk_between_what_is_no_latents_is_refused(latents: object) -> None:
    with pytest.raises(GanvasError, match="Latents"):
        ganvas.load("pretrained:digits").interpolate(latents=latents)  # type: ignore[arg-type]


def test_label_is_of_latents_without_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.latent_space import pictures

    read: list[object] = []
    monkeypatch.setattr(pictures, "load_latents", lambda path: read.append(path) or load_latents(path))
    drawn = ganvas.load("pretrained:digits")
    np.save(tmp_path / "z.npy", sample_latents([5, 6], drawn.generator.latent))
    request = Request(latents=tmp_path / "z.npy", label="3")
    assert request.names == ["latent00000", "latent00001"]
    assert np.array_equal(request.grid(drawn, None)[0], drawn.sample([5, 6], label=3))
    assert len(read) == 1
    drawn.latents([5]).save(tmp_path / "own.npz")
    with pytest.raises(GanvasError, match="have their own"):
        Request(latents=tmp_path / "own.npz", label="3").latents_of(drawn)


@pytest.mark.parametrize("command", [["sample"], ["directions"]])
def test_a_file_without_transparency_is_refused_before_the_work(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_snapshot(tmp_path / "s", "mlp", Shape(4, 8, 8, 0))
    monkeypatch.setattr(ganvas.Sampler, "sample", None)
    monkeypatch.setattr(module, "_by_components", None)
    assert "JPEG has no transparency" in call_cli(*command, tmp_path / "s", "--out", "a.jpg", check=1).stderr


def test_scale_enlarges_the_frames_of_a_film(tmp_path: Path) -> None:
    film = tmp_path / "a.png"
    call_cli("sample", "pretrained:digits", "--seeds", "0,1", "--video", film, "--frames", 2, "--scale", 3, check=0)
    with Image.open(film) as image:
        assert image.size == (24, 24)


@pytest.mark.slow
def test_sheets_films_and_grids_by_the_command_line(run: Run, tmp_path: Path) -> None:
    call_cli("directions", run.path, "-o", tmp_path / "d.png", check=0)
    call_cli("sample", run.path, "--direction", "2", "--amount=-2..2:5", "--out", tmp_path / "a.png", check=0)
    call_cli("sample", run.path, "--direction", "sefa:1", "--video", tmp_path / "a.webp", "--frames", 4, check=0)
    with Image.open(tmp_path / "a.webp") as film:
        assert getattr(film, "n_frames", 1) == 16
    call_cli(
        "sample", run.path, "--seeds", "0-2", "--save-latents", tmp_path / "l.npz", "--out", tmp_path / "b.png", check=0
    )
    call_cli("sample", run.path, "--latents", tmp_path / "l.npz", "--each", tmp_path / "each", check=0)
    assert len(list((tmp_path / "each").glob("latent*.png"))) == 3
    assert len(load_latents(tmp_path / "l.npz")) == 3
    directions = ganvas.directions(run)
    assert "pca" in repr(directions)
    assert directions._repr_html_()


@pytest.mark.parametrize("more", [[], ["--columns", 2], ["--class", "3"], ["--each", "first"]])
def test_saved_latents_are_those_of_the_images(tmp_path: Path, more: list[object]) -> None:
    """Of a grid with a row for each class too."""
    of = ["sample", "pretrained:digits", *(["--each", tmp_path / "first"] if "--each" in more else more)]
    saved = tmp_path / "l.npz"
    first = [] if "--each" in more else ["--out", tmp_path / "first.png"]
    call_cli(*of, "--seeds", "0-19", "--save-latents", saved, *first, check=0)
    call_cli("sample", "pretrained:digits", "--latents", saved, "--each", tmp_path / "again", check=0)
    again = np.concatenate([read(path) for path in sorted((tmp_path / "again").iterdir())])
    drawn = ganvas.load("pretrained:digits")
    if "--each" in more:
        wanted = np.concatenate([read(path) for path in sorted((tmp_path / "first").iterdir())])
    else:
        wanted, _, _ = drawn.sample_grid(
            "0-19", label="3" if "--class" in more else None, columns=2 if 2 in more else None
        )
    assert np.array_equal(again.squeeze(), wanted.squeeze())


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)[None]


def test_several_truncations_are_rows_of_the_same_seeds(run: Run, tmp_path: Path) -> None:
    call_cli("sample", run.path, "--truncation", 0.5, 1, "--seeds", "3,5", "--out", tmp_path / "rows.png", check=0)
    drawn = ganvas.load(run)
    rows = np.concatenate([drawn.sample([3, 5], truncation=truncation) for truncation in (0.5, 1.0)])
    with Image.open(tmp_path / "rows.png") as sheet:
        assert np.array_equal(np.asarray(sheet), np.asarray(make_grid(rows, 2, row_names=("0.5", "1"))))
    for more in (["--columns", 2], ["--mix", "1"], ["--each", "a"], ["--direction", "0"], ["--move", "0=1"]):
        refused = call_cli("sample", run.path, "--truncation", 0.5, 1, *more, check=2)
        assert "several values of --truncation" in refused.stderr


@pytest.mark.parametrize("more", [[], ["--direction", "pca:1"]], ids=["seeds", "direction"])
def test_a_film_shows_several_truncations_side_by_side(run: Run, tmp_path: Path, more: list[str]) -> None:
    film = tmp_path / "film.png"
    flags = ["--seeds", "3,5", "--frames", 2, "--no-loop", "--scale", 1, *more]
    told = call_cli("sample", run.path, "--truncation", 0.5, 1, *flags, "--video", film, check=0)
    assert "from left to right: truncation 0.5, 1" in told.stdout
    drawn = ganvas.load(run)
    alone = [
        torch.cat(list(request.film(drawn, frames=2, easing="smooth", loop=False)))
        for request in (Request("3,5", truncation=at, direction=more[-1] if more else None) for at in (0.5, 1.0))
    ]
    width = drawn.card.shape.width
    with Image.open(film) as shown:
        assert (getattr(shown, "n_frames", 1), shown.width) == (len(alone[0]), 2 * width + 1)
        for i, (left, right) in enumerate(zip(*alone, strict=True)):
            shown.seek(i)
            pixels = np.asarray(shown.convert("L"))
            assert np.array_equal(pixels[:, :width], left[0])
            assert np.array_equal(pixels[:, width + 1 :], right[0])
            assert (pixels[:, width] == 255).all()


def test_amounts_are_ranges_or_lists() -> None:
    assert parse_amounts("-3..3") == [-3, -2, -1, 0, 1, 2, 3]
    assert parse_amounts("-1..1:3") == [-1, 0, 1]
    assert parse_amounts("0,1.5") == [0, 1.5]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".mp4", ".webm"])
def test_films_of_every_kind_have_their_frames(tmp_path: Path, suffix: str) -> None:
    if suffix in (".mp4", ".webm"):
        pytest.importorskip("av")
    frames = [np.full((3, 9, 11), 25 * i, np.uint8) for i in range(8)]
    path = tmp_path / f"film{suffix}"
    assert save_animation(iter(frames), path, fps=10) == 8
    if suffix in (".mp4", ".webm"):
        import av

        with av.open(str(path)) as film:
            levels = [frame.to_ndarray(format="rgb24").mean() for frame in film.decode(video=0)]
    else:
        with Image.open(path) as film:
            levels = []
            for i in range(getattr(film, "n_frames", 1)):
                film.seek(i)
                levels.append(np.asarray(film.convert("RGB")).mean())
    assert np.allclose(levels, [25 * i for i in range(8)], atol=3)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_frames_do_not_show_through_transparent_parts_of_the_next(tmp_path: Path, suffix: str) -> None:
    frames = np.zeros((3, 4, 16, 20), np.uint8)
    for i, frame in enumerate(frames):
        frame[:, 4 * i : 4 * i + 8, 5 * i : 5 * i + 10] = np.array([200, 100, 20, 255]).reshape(4, 1, 1)
    path = tmp_path / f"film{suffix}"
    save_animation(frames, path, scale=1)
    with Image.open(path) as film:
        for i, frame in enumerate(frames):
            film.seek(i)
            assert np.array_equal(np.asarray(film.convert("RGBA"))[..., 3], frame[3])


def test_a_film_without_pyav_and_one_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas import animation

    def missing(name: str) -> None:
        raise ImportError(name)

    frames = [np.zeros((1, 8, 8), np.uint8)] * 5
    monkeypatch.setattr(animation, "import_module", missing)
    with pytest.raises(GanvasError, match="PyAV"):
        save_animation(frames, tmp_path / "a.mp4")
    monkeypatch.setattr(animation, "MAX_PIXELS", 3 * 64 * 64)
    for name in ("a.gif", "a.webp", "a.png"):
        with pytest.raises(GanvasError, match="too much memory"):
            save_animation(frames, tmp_path / name)
    with pytest.raises(GanvasError, match="at most 50 of a GIF"):
        save_animation(frames, tmp_path / "a.gif", fps=51)
    with pytest.raises(GanvasError, match="too large"):
        save_animation([np.zeros((1, 8, 100), np.uint8)], tmp_path / "a.webp", scale=200)
    for scale in (0, 257):
        with pytest.raises(GanvasError, match="--scale is"):
            save_animation(frames, tmp_path / "a.webp", scale=scale)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("direction", [None, "pca:0"])
def test_a_film_too_large_is_refused_before_it_is_drawn(
    loop: bool, direction: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvas import animation

    drawn = ganvas.load("pretrained:digits")
    request = Request(seeds="3,5,9", direction=direction)
    frames = torch.cat(list(request.film(drawn, frames=6, easing="linear", loop=loop)))
    length = request.film_length(frames=6, loop=loop)
    assert len(frames) == length
    monkeypatch.setattr(animation, "MAX_PIXELS", length * 64 * 64)
    animation.check_frames(tmp_path / "a.webp", length, 8, 8)
    animation.check_frames(tmp_path / "a.mp4", length + 1, 8, 8)
    with pytest.raises(GanvasError, match=f"{length + 1} frames of 64×64 pixels would take too much memory"):
        animation.check_frames(tmp_path / "a.webp", length + 1, 8, 8)
    monkeypatch.setattr(animation, "MAX_PIXELS", 7)
    monkeypatch.setattr(type(drawn), "draw_batches", None)
    files = ["--video", tmp_path / "a.gif", "--save-latents", tmp_path / "a.npz"]
    command = ["sample", "pretrained:digits", *files, "--frames", 6]
    done = call_cli(*command, *(["--direction", direction] if direction else []), check=1)
    assert "too much memory" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_film_too_large_is_refused_before_directions_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.animation.MAX_PIXELS", 7)
    monkeypatch.setattr(module, "_by_components", None)
    film = ["--move", "pca:0=1", "--video", tmp_path / "a.gif"]
    assert "too much memory" in call_cli("sample", "pretrained:digits", *film, check=1).stderr


@pytest.mark.parametrize("fps", [7, 24, 25, 30, 40, 50])
@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_a_film_takes_its_time(suffix: str, fps: int, tmp_path: Path) -> None:
    frames = [np.full((1, 8, 8), 60 * (i % 4), np.uint8) for i in range(2 * fps)]
    save_animation(frames, tmp_path / f"a{suffix}", fps=fps, scale=1)
    shown = []
    with Image.open(tmp_path / f"a{suffix}") as film:
        for i in range(getattr(film, "n_frames", 1)):
            film.seek(i)
            film.load()
            shown.append(film.info["duration"])
    assert len(shown) == 2 * fps
    assert sum(shown) == pytest.approx(2000, abs=10)
    assert min(shown) >= 20
    assert max(shown) - min(shown) <= (10 if suffix == ".gif" else 1) + 1e-6


def test_frames_of_a_film_are_enlarged(tmp_path: Path) -> None:
    sizes = {}
    for scale in (None, 1, 3):
        save_animation([np.zeros((1, 8, 16), np.uint8)], tmp_path / "a.png", scale=scale)
        with Image.open(tmp_path / "a.png") as film:
            sizes[scale] = film.size
    assert sizes == {None: (64, 32), 1: (16, 8), 3: (48, 24)}


def test_a_film_of_a_search_fits_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas import animation
    from ganvas.latent_space import projection

    monkeypatch.setattr(animation, "MAX_PIXELS", 10 * 512 * 128)
    monkeypatch.setattr(projection, "MAX_PIXELS", 10 * 512 * 128)
    n = 12
    pixels = [np.full((n, 1, 64, 64), 6 * i, np.uint8) for i in range(40)]
    latents = ganvas.load("pretrained:digits").latents(range(n))
    names = tuple(map(str, range(n)))
    found = projection.Projection(pixels[0], pixels[-1], latents, np.zeros(n), {}, pixels, names, "eye", (), 0.0)
    found.save(tmp_path)
    with Image.open(tmp_path / "search.webp") as film:
        assert film.size == (8 * 64, 2 * 64)
        film.seek(getattr(film, "n_frames", 1) - 1)
        assert np.asarray(film.convert("L"))[-1, -1] == 6 * 39


@pytest.mark.parametrize(("place", "value"), [(4, 99), (6, 1), (8, 99), (-5, 255)])
def test_archives_that_cannot_be_unpacked_have_no_latents(place: int, value: int, tmp_path: Path) -> None:
    """An entry for a later version, an encrypted one, one by an unknown compression, one of damaged bytes."""
    path = tmp_path / "z.npz"
    np.savez_compressed(path, z=np.random.default_rng(0).normal(size=(4, 6)))
    content = bytearray(path.read_bytes())
    listed = content.index(b"PK\x01\x02")
    if place < 0:
        content[100:listed] = bytes([value]) * (listed - 100)
    else:
        content[place] = content[listed + place + 2] = value
    path.write_bytes(content)
    with pytest.raises(GanvasError, match="has no latents"):
        load_latents(path)


@pytest.mark.parametrize("packed", [False, True])
def test_latents_that_declare_more_than_there_is_take_no_memory(packed: bool, tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (49999999995, 1, 6), }".ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(240)
    path = tmp_path / ("z.npz" if packed else "z.npy")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("z.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(GanvasError, match="its header declares"):
        load_latents(path)
