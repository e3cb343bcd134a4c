"""`ganvas directions` and `ganvas project`: what they write, and what they are given that is none."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import call_cli

import ganvas
from ganvas.image_io import cut_grid
from ganvas.latent_space import projection
from ganvas.latent_space.search import Search
from ganvas.runs import snapshot

DIGITS = "pretrained:digits"

pytestmark = pytest.mark.usefixtures("few_pictures_for_pca")


def cells_of(path: Path, row: int, rows: int) -> list[np.ndarray]:
    """The seven images in a row of a sheet of digits, 8×8."""
    with Image.open(path) as sheet:
        return [np.asarray(cell) for cell in cut_grid(sheet, [(row, i) for i in range(7)], (rows, 7), 8, 8)]


def test_a_row_of_the_sheet_is_what_sample_draws_along_that_direction(tmp_path: Path) -> None:
    call_cli("directions", DIGITS, "--seed", 5, "--out", tmp_path / "sheet.png", check=0)
    for number in (0, 3):
        drawn = tmp_path / f"{number}.png"
        more = ["--seeds", 5, "--truncation", 0.7, "--direction", f"pca:{number}", "--out", drawn]
        call_cli("sample", DIGITS, *more, check=0)
        assert np.array_equal(cells_of(tmp_path / "sheet.png", number, 8), cells_of(drawn, 0, 1))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["directions", "empty"], "empty"),
        (["directions", "nothing"], "nothing does not exist"),
        (["directions", "damaged"], "card.json is damaged"),
        (["directions", "foreign"], "card.json"),
        (["directions", DIGITS, "--label", "cat"], "has no class 'cat'"),
        (["directions", DIGITS, "--class", "cat"], "has no class 'cat'"),
        (["project", DIGITS, "photo.png", "--class", "cat"], "has no class 'cat'"),
        (["directions", DIGITS, "--seed", "-1"], "-1 is not a seed"),
        (["directions", DIGITS, "--out", "sheet.txt"], "extension '.txt'"),
        (["directions", DIGITS, "--out", "taken/sheet.png"], "could not be written"),
        (["directions", DIGITS, "--out", "empty"], "extension ''"),
        (["project", "empty", "photo.png"], "empty"),
        (["project", "damaged", "photo.png"], "card.json is damaged"),
        (["project", "foreign", "photo.png"], "card.json"),
        (["project", DIGITS, "photo.png", "--out", "taken"], "taken"),
    ],
)
def test_what_is_no_run_or_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], words: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.chdir(tmp_path)
    drawn = ganvas.load(DIGITS)
    Path("empty").mkdir()
    Path("taken").write_text("a file")
    Image.new("L", (20, 20)).save("photo.png")
    for name, card in {"damaged": "{", "foreign": json.dumps({"model": "another program's"})}.items():
        snapshot.save(Path(name), drawn.generator, drawn.card)
        Path(name, "card.json").write_text(card)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("ganvas.latent_space.axes._by_components", refuse)
    monkeypatch.setattr("ganvas.latent_space.search.Search.find", refuse)
    assert words in call_cli(*command, check=1).stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"other kinds": [2.0, 3.0]}, "distance 1.000: nearer than pictures of other kinds"),
        ({"other kinds": [0.5, 2.0]}, "distance 1.000: as far as pictures of other kinds: it cannot draw this"),
        (
            {"training": [0.5, 0.6], "other kinds": [2.0, 3.0]},
            "distance 1.000: farther than its own kind, nearer than pictures of other kinds",
        ),
        ({"training": [0.5, 1.5], "other kinds": [2.0, 3.0]}, "distance 1.000: as near as training pictures"),
        (
            {"training": [0.5, 1.5], "other kinds": [0.9, 3.0]},
            "distance 1.000: as near as training pictures, and as far as some of other kinds",
        ),
        (
            {"training": [1.5], "other kinds": [2.0]},
            "distance 1.000: as near as training pictures (one picture of a kind decides nothing)",
        ),
    ],
)
def test_a_verdict_names_only_what_was_measured(context: dict[str, list[float]], words: str) -> None:
    pixels = np.zeros((1, 1, 8, 8), np.uint8)
    latents = ganvas.load(DIGITS).latents([0])
    measured = {name: np.array(of) for name, of in context.items()}
    found = projection.Projection(pixels, pixels, latents, np.array([1.0]), measured, [pixels], ("a",), "eye", (), 0.0)
    assert found.verdict() == words


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image.Image:
    """An image, which is also photo.png in the working folder."""
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8))
    image.save("photo.png")
    return image


@pytest.mark.usefixtures("photo")
def test_ctrl_c_ends_a_search_and_writes_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = Search._tell

    def interrupt(search: Search, step: int, *more: object) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)
        tell(search, step, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Search, "_tell", interrupt)
    done = call_cli("project", DIGITS, "photo.png", "--steps", 90_000, "--references", 1, check=130)
    assert "The search was ended after 3 of 90000 steps." in done.stdout
    assert "in place of" not in done.stdout
    assert "ganvas: stopped; what was found until then is in projection/photo" in done.stderr
    assert len(ganvas.load_latents("projection/photo/latents.npz")) == 1
    again = call_cli("project", DIGITS, "photo.png", "--steps", 1, "--references", 0, check=0)
    assert "are in projection/photo, in place of earlier ones" in " ".join(again.stdout.split())


@pytest.mark.usefixtures("photo")
def test_ctrl_c_before_anything_is_found_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "find", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    done = call_cli("project", DIGITS, "photo.png", "--steps", 1, "--references", 0, check=130)
    assert done.stderr.strip() == "ganvas: interrupted"
    assert not Path("projection").exists()


@pytest.mark.usefixtures("photo")
def test_the_class_of_a_photo_is_named() -> None:
    arguments = ["photo.png", "--class", "7", "--steps", 1, "--references", 0, "--json"]
    (told,) = json.loads(call_cli("project", DIGITS, *arguments, check=0).stdout)["photos"]
    assert told["class"] == "7"
    assert told["verdict"] == f"distance {told['distance']:.3f}, class 7"


def test_a_sheet_too_large_is_refused_before_the_search(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.image_io.MAX_GRID_PIXELS", 2 * photo.width)
    monkeypatch.setattr(Search, "find", None)
    said = call_cli("project", DIGITS, "photo.png", check=1).stderr
    assert "A grid of 3 images would have" in said
    assert said.endswith("Fix: fewer photos at a time.\n")


def test_images_of_pillow_are_photos(photo: Image.Image) -> None:
    drawn = ganvas.load(DIGITS)
    images = [photo, photo.convert("RGB"), photo.convert("RGBA"), photo.convert("P"), "photo.png"]
    targets = ganvas.project(drawn, images, steps=1, references=0, quiet=True).targets
    assert all(np.array_equal(target, targets[-1]) for target in targets)
    for wrong in (photo.convert("I"), photo.convert("F")):
        with pytest.raises(ganvas.GanvasError, match="is no photo"):
            ganvas.project(drawn, wrong, steps=1, references=0, quiet=True)
