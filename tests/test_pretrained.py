"""The generators of the package: every command uses them offline, and nothing but what was released is used."""

import dataclasses
import hashlib
import json
import shutil
import socket
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import call_cli, tiny

import ganvas
from ganvas.config import replace
from ganvas.data import DataOptions, open_images
from ganvas.data.digits import NAMES
from ganvas.errors import GanvasError
from ganvas.features.classifier import classifier_extractor
from ganvas.latent_space.projection import _references
from ganvas.runs import pretrained, snapshot
from ganvas.runs.card import read_card
from ganvas.runs.training_data import find_data
from ganvas.training.start import train

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection leaves this machine."""
    connect = socket.socket.connect

    def refuse(own: socket.socket, address: Any) -> None:
        assert isinstance(address, str | bytes) or address[0] in ("127.0.0.1", "localhost"), address
        connect(own, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the package's generators, as a copy that a test may change."""
    folder = tmp_path / "package"
    shutil.copytree(pretrained.FOLDER, folder)
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder


@pytest.fixture(scope="module")
def pretrain() -> ModuleType:
    """tools/pretrain.py."""
    spec = spec_from_file_location("pretrain", ROOT / "tools" / "pretrain.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_those_that_were_released_with_their_cards_and_licences() -> None:
    assert set(pretrained.GENERATORS) <= set(NAMES), "each is named like the data of its training"
    total = 0
    for name, facts in pretrained.GENERATORS.items():
        content = (pretrained.FOLDER / f"{name}.safetensors").read_bytes()
        assert hashlib.sha256(content).hexdigest() == facts.sha256
        text = (pretrained.FOLDER / f"{name.upper()}.md").read_text()
        assert facts.sha256 in text
        for words in ("Trained on", "Licence", "seed 0", "minutes", "Half precision"):
            assert words in text
        assert (pretrained.FOLDER / f"{name.upper()}-LICENSE.txt").is_file()
        total += len(content)
    assert total < 3e6
    named = (ROOT / "pyproject.toml").read_text()
    assert all(f"src/ganvas/pretrained/{name.upper()}-LICENSE.txt" in named for name in pretrained.GENERATORS)


@pytest.mark.parametrize("name", pretrained.GENERATORS)
def test_half_precision_in_the_file_and_float32_in_use(name: str) -> None:
    file = pretrained.FOLDER / f"{name}.safetensors"
    stored = snapshot.load_file(file)
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    sampler = ganvas.load(f"pretrained:{name}")
    used = sampler.generator.state_dict()
    assert {tensor.dtype for tensor in used.values() if tensor.is_floating_point()} == {torch.float32}
    assert all(torch.equal(tensor.float(), used[key].float()) for key, tensor in stored.items())
    assert sampler.card.data["fingerprint"] == open_images(DataOptions(name)).fingerprint


@pytest.mark.parametrize("name", pretrained.GENERATORS)
def test_every_class_is_drawn_as_asked_and_varied(name: str) -> None:
    images = open_images(DataOptions("digits"))
    sampler, asked = ganvas.load(f"pretrained:{name}"), np.repeat(np.arange(10), 30)
    drawn = np.asarray(sampler.sample(range(len(asked)), label=asked.tolist()))
    assert len(np.unique(drawn.reshape(len(asked), -1), axis=0)) == len(asked)
    if name == "digits":  # the package has its classifier; that of digits28 takes seconds: tools/pretrain.py asks it
        judge = classifier_extractor(images)
        assert judge.predict_probabilities is not None
        said = judge.predict_probabilities(judge.extract(torch.from_numpy(drawn)).numpy()).argmax(1)
        assert (said == asked).mean() > 0.95


def test_sample_draws_a_grid_and_a_class(tmp_path: Path) -> None:
    assert "60 images" in call_cli("sample", "pretrained:digits", check=0).stdout
    call_cli("sample", "pretrained:digits", "--class", "3", "--seeds", "0-3", "--each", "threes", check=0)
    assert len(list(Path("threes").glob("*.png"))) == 4
    call_cli("sample", "pretrained:digits", "--seeds", "0,1", "--video", "walk.webp", "--frames", 2, check=0)
    assert "pretrained:digits has no class" in call_cli("sample", "pretrained:digits", "--class", "x", check=1).stderr
    assert repr(ganvas.load("pretrained:digits")).startswith("Sampler(pretrained:digits: 8×8×1, 10 classes")


def test_evaluate_knows_its_data(tmp_path: Path) -> None:
    arguments = ["--quick", "--count", 60, "--quiet", "--json", "--device", "cpu"]
    found = json.loads(call_cli("evaluate", "pretrained:digits", *arguments, check=0).stdout)
    assert found["subject"] == "pretrained:digits"
    assert found["protocol"]["reference"]["data"] == "digits"
    assert found["protocol"]["reference"]["held_out_count"] == 60


@pytest.mark.usefixtures("few_pictures_for_pca")
def test_project_and_directions(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 90, np.uint8)).save("photo.png")
    arguments = ["--steps", 2, "--references", 0, "--json", "--out", "place"]
    found = json.loads(call_cli("project", "pretrained:digits", "photo.png", *arguments, check=0).stdout)
    assert len(found["photos"]) == 1
    sampler = ganvas.load("pretrained:digits")
    trained = find_data(sampler.path, sampler.card.data, (1, 8, 8))
    references, _ = _references(trained, sampler.card, 1, quiet=True)
    assert set(references) == {"training", "held-out", "other kinds"}
    call_cli("directions", "pretrained:digits", "--out", "sheet.png", check=0)
    moved = ["--direction", "pca:0", "--seeds", "0", "--out", "moved.png"]
    call_cli("sample", "pretrained:digits", *moved, check=0)
    assert all(Path(name).is_file() for name in ("place/latents.npz", "sheet.png", "moved.png"))


def test_export_keeps_card_licence_and_attribution(tmp_path: Path) -> None:
    text = call_cli("export", "pretrained:digits", "--to", "hub", "--out", "folder", check=0).stdout
    assert "folder" in text
    again = ganvas.load("folder")
    own = ganvas.load("pretrained:digits")
    assert (again.sample(range(4)) == own.sample(range(4))).all()
    assert again.card.attribution == own.card.attribution != ""
    assert own.card.attribution.split(",")[0] in Path("folder/README.md").read_text()
    assert f"license: {own.card.licence}" in Path("folder/README.md").read_text()
    refused = call_cli("export", "pretrained:digits", "--to", "hub", "--out", "b", "--licence", "cc0-1.0", check=1)
    assert f"given under {own.card.licence}" in refused.stderr
    call_cli("export", "pretrained:digits", "--to", "pt2", "--out", "digits.pt2", check=0)
    assert Path("digits.pt2").stat().st_size > 1e5


def test_training_starts_from_it_with_its_recipe_data_and_networks(tmp_path: Path) -> None:
    quick = {"kimg": 0.2, "plot": False, "device": "cpu", "quiet": True, "batch": 20}
    run = ganvas.train(init_from="pretrained:digits", **quick)  # type: ignore[arg-type]
    card = read_card(pretrained.FOLDER / "digits.safetensors")
    assert run.metadata["recipe"] == card["recipe"]
    assert run.config.dataset.conditional
    assert run.metadata["lineage"] == {
        "from": "pretrained:digits", "kimg": card["nimg"] / 1000, "sha256": pretrained.GENERATORS["digits"].sha256,
        "licence": card["licence"], "attribution": card["attribution"],
    }  # fmt: skip
    log = (run.path / "log.txt").read_text()
    assert "without D: D is untrained" in log
    first = ganvas.load("pretrained:digits").sample(range(8))
    after = ganvas.load(run).sample(range(8))
    assert np.abs(np.asarray(first, int) - np.asarray(after, int)).mean() < 40, "not random weights"
    plan = call_cli("train", "--from", "pretrained:digits28", "--dry-run", "--json", "--device", "cpu", check=0).stdout
    assert json.loads(plan)["config"]["dataset"]["data"] == "digits28"
    other = call_cli("train", "digits", "--from", "pretrained:digits28", "--dry-run", check=1)
    assert "family" in other.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pretrained:", "pretrained:digits28 (handwritten digits of 28×28 pixels)"),
        ("pretrained:faces", "pretrained:digits28 (handwritten digits of 28×28 pixels)"),
        ("pretrained:digit", "digits"),
        ("pretrained:DIGITS", "did you mean 'digits'?"),
        ("Pretrained:digits", "did you mean 'digits'?"),
        ("pretrained:../digits", "names no pretrained generator"),
        ("pretrained:digits/x", "names no pretrained generator"),
        ("pretrained:digits.safetensors", "names no pretrained generator"),
        ("pretrained:/etc/passwd", "names no pretrained generator"),
        ("pretrained:digits@main", "names no pretrained generator"),
        ("pretrained: digits", "names no pretrained generator"),
        ("digits28", "pretrained:digits28 comes with Ganvas"),
    ],
)
def test_unknown_name_lists_what_there_is(name: str, words: str) -> None:
    with pytest.raises(GanvasError) as caught:
        ganvas.load(name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "NAME"], ["project", "NAME", "photo.png"], ["directions", "NAME"], ["evaluate", "NAME"],
        ["export", "NAME", "--to", "pt2", "--out", "x.pt2"], ["train", "NAME"], ["train", "--from", "NAME"],
        ["train", "digits", "--from", "NAME"], ["plot", "NAME"], ["diagnose", "NAME"], ["compare", "NAME", "mlp"],
        ["log", "NAME", "--to", "tensorboard"], ["runs", "--remove", "NAME"],
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("name", ["pretrained:", "pretrained:../x", "pretrained:digits/x", "pretrained:DIGITS"])
def test_wrong_name_ends_every_command_with_words(command: list[str], name: str) -> None:
    result = call_cli(*(name if word == "NAME" else word for word in command), check=None)
    assert result.returncode in (1, 2)
    assert name.rstrip("/") in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(
    "command", [["train"], ["plot"], ["diagnose"], ["compare", "mlp"], ["log", "--to", "tensorboard"]], ids=" ".join
)
def test_what_needs_a_run_says_that_it_is_none(command: list[str]) -> None:
    result = call_cli(command[0], "pretrained:digits", *command[1:], check=None)
    assert result.returncode in (1, 2)
    assert "pretrained:digits" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "folder", "huge"])
def test_damaged_file_of_the_package_is_refused(damage: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = elsewhere / "digits.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage != "missing":
        file.write_bytes(content[:-100] if damage == "cut" else content)
    if damage == "huge":
        monkeypatch.setattr(pretrained, "MAX_BYTES", 1000)
    result = call_cli("sample", "pretrained:digits", check=1)
    assert "pretrained:digits cannot be used" in result.stderr
    assert "install Ganvas again" in result.stderr


def test_file_or_folder_of_the_same_name_is_what_a_path_means(tmp_path: Path) -> None:
    Path("pretrained:digits").mkdir()
    with pytest.raises(GanvasError, match="is no run and no snapshot"):
        ganvas.load("pretrained:digits")


def test_data_of_the_same_name_is_not_taken_for_the_built_in_set(tmp_path: Path) -> None:
    own = ganvas.load("pretrained:digits")
    card = dataclasses.replace(own.card, data={"name": "digits", "fingerprint": "0" * 64})
    snapshot.save_single_file(Path("other.safetensors"), own.generator, card)
    result = call_cli("evaluate", "other.safetensors", "--quick", check=1)
    assert "--against" in result.stderr


def test_tool_refuses_what_misses_the_bar_and_writes_the_same_file_twice(
    pretrain: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretrain, "IMAGES_PER_CLASS", 5)
    monkeypatch.setattr(pretrain, "HALF_SEEDS", 8)
    monkeypatch.setattr(pretrain, "evaluate", lambda *_, **__: ganvas.evaluate("m.safetensors", quick=True, count=30))
    arguments = ["--out", "m.safetensors", "--licence", "cc-by-4.0", "--attribution", "Digits by A. Writer"]

    def make(seed: int) -> str:
        run = train(replace(tiny(), conditional=True, seed=seed), out=Path("runs"), name=f"run{seed}", quiet=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["pretrain.py", "--run", str(run.path), *arguments])
            pretrain.main()
        return hashlib.sha256(Path("m.safetensors").read_bytes()).hexdigest()

    with pytest.raises(GanvasError, match="are of the class that was asked for"):
        make(0)
    assert not Path("m.safetensors").exists()
    monkeypatch.setattr(pretrain, "LEAST_ACCURACY", 0.0)
    monkeypatch.setattr(pretrain, "LEAST_SHARE", 0.0)
    first = make(0)
    assert first in capsys.readouterr().out
    shutil.rmtree("runs")
    assert make(0) == first
    assert make(1) != first
    text = Path("M.md").read_text()
    for words in ("cc-by-4.0", "Digits by A. Writer", "Half precision", "ganvas evaluate m.safetensors"):
        assert words in text
    assert ganvas.load("m.safetensors").card.licence == "cc-by-4.0"
    assert str(tmp_path).encode() not in Path("m.safetensors").read_bytes()
