"""`ganvas export` and `ganvas.export`: what a file holds, what fails, and that no file is left then."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from exported_networks import make_card, make_sampler
from PIL import Image
from support import call_cli, tiny
from torch import Tensor, nn

import ganvas
from ganvas.config import replace
from ganvas.drawing import sample_latents
from ganvas.errors import GanvasError
from ganvas.exporting import onnx_file, parity, parts, program, web_page
from ganvas.exporting.formats import FORMATS, Options
from ganvas.latents import Latents
from ganvas.networks import Generator, Shape
from ganvas.runs.folder import Run
from ganvas.sampling import Sampler, load
from ganvas.training.start import train

EXAMPLE = Path(__file__).parent.parent / "examples" / "exported_program.py"
SUFFIXES = {"web": "html"}
"""Of the formats whose files do not end in their name."""
PACKAGES = [(kind, package) for kind in ("onnx", "web") for package in FORMATS[kind].packages]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(replace(tiny(), conditional=True), out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    found = ganvas.export(run, to="onnx", out=file)
    assert found.files == (file,)
    assert found.parity[0].images == 64
    assert found.parity[0].largest < 0.01
    assert found.parity[0].share == 0
    return file


def test_onnx_draws_what_sample_draws_for_any_number_of_images(model: Path, run: Run) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    assert [one.name for one in session.get_inputs()] == ["z", "class", "truncation"]
    assert [one.shape for one in session.get_inputs()] == [["n", 6], ["n"], []]
    for seeds in ([7], [0, 3, 5], list(range(9))):
        inputs = {
            "z": sample_latents(seeds, 6).numpy(),
            "class": np.array([seed % 10 for seed in seeds]),
            "truncation": np.array(0.8, np.float32),
        }
        images, values = (np.asarray(one) for one in session.run(None, inputs))
        assert (images == load(run).sample(seeds, truncation=0.8)).all()
        assert (np.clip(np.round(127.5 * (values + 1)), 0, 255) == images).all()


def test_onnx_has_the_card_in_its_metadata(model: Path, run: Run) -> None:
    import onnx

    loaded = onnx.load(model)
    onnx.checker.check_model(loaded, full_check=True)
    properties = {one.key: one.value for one in loaded.metadata_props}
    card = json.loads(properties["ganvas_card"])
    assert card["shape"] == {"channels": 1, "height": 8, "width": 8, "classes": 10}
    assert card["data"]["fingerprint"] == run.metadata["data"]["fingerprint"]
    assert card["export"]["weights"] == "float32"
    assert card["export"]["parity"][0]["images"] == 64
    folders = (str(run.path), str(Path(ganvas.__file__).parent))
    assert not any(folder.encode() in model.read_bytes() for folder in folders), "no place on this machine is told"
    assert all(one.doc_string for one in [*loaded.graph.input, *loaded.graph.output])


def test_half_has_half_the_size_and_says_what_it_costs(model: Path, run: Run) -> None:
    import onnx

    found = ganvas.export(run, to="onnx", out="half.onnx", half=True)
    assert 0 < found.parity[0].mean < parity.HALF_LIMIT
    loaded = onnx.load("half.onnx")
    card = json.loads({one.key: one.value for one in loaded.metadata_props}["ganvas_card"])
    assert card["export"]["weights"] == "float16"
    assert card["export"]["parity"][0]["mean"] == found.parity[0].mean

    def weight_bytes(file: Path) -> int:
        return sum(len(one.raw_data) for one in onnx.load(file).graph.initializer)

    assert weight_bytes(Path("half.onnx")) < 0.6 * weight_bytes(model)


@pytest.mark.slow
def test_styles_are_mixed_between_mapping_and_synthesis_and_noise_is_an_input() -> None:
    import onnxruntime

    sampler = make_sampler("stylegan", Shape(1, 8, 8, 3))
    found = onnx_file.write(sampler, Path("faces.onnx"), Options())
    assert [file.name for file in found.files] == ["faces.onnx", "faces.mapping.onnx", "faces.synthesis.onnx"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    mapping, synthesis = (onnxruntime.InferenceSession(file, options) for file in found.files[1:])
    inputs = {"z": sample_latents([3, 4], 6).numpy(), "class": np.zeros(2, np.int64)}
    styles = np.asarray(mapping.run(["styles"], {**inputs, "truncation": np.array(1, np.float32)})[0])
    mixed = np.concatenate([styles[:1, : styles.shape[1] // 2], styles[1:, styles.shape[1] // 2 :]], 1)
    (images,) = synthesis.run(["images"], {"styles": mixed})
    np.testing.assert_array_equal(images, sampler.mix([3], [4]))
    noise = {f"noise{i}": np.random.default_rng(i).normal(size=(1, 1, s, s)) for i, s in enumerate([4, 4, 8, 8])}
    other = synthesis.run(["images"], {"styles": mixed, **{name: x.astype("f") for name, x in noise.items()}})[0]
    assert not np.array_equal(np.asarray(other), np.asarray(images))


def test_program_draws_without_ganvas(run: Run) -> None:
    file = Path("digits.pt2").resolve()
    assert ganvas.export(run, to="pt2", out=file).parity[0].share == 0
    code = (
        "import sys, runpy\nsys.modules['ganvas'] = None\n"
        "try:\n    import ganvas\nexcept ImportError:\n    pass\nelse:\n    sys.exit('ganvas is there')\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    code = code.replace("runpy.run_path(sys.argv[1]", "sys.argv.pop(0)\nrunpy.run_path(sys.argv[0]")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code, EXAMPLE, file, "row.png"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "row.png" not in done.stderr
    own = np.concatenate(list(load(run).sample(range(8))[:, 0]), 1)
    assert (np.asarray(Image.open("row.png")) == own).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_example_for_onnx_draws_without_ganvas(channels: int, model: Path, run: Run) -> None:
    sampler = load(run)
    if channels == 3:
        sampler, model = make_sampler("mlp", Shape(3, 8, 8)), Path("colour.onnx")
        onnx_file.write(sampler, model, Options())
    code = (
        "import sys; sys.modules['ganvas'] = sys.modules['torch'] = None; sys.argv.pop(0); import runpy; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, EXAMPLE.with_name("exported_onnx.py"), model, "onnx_row.png"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((8, sampler.card.network.latent), np.float32))
    labels = torch.arange(8) % sampler.card.shape.classes if sampler.card.shape.classes else None
    images = np.asarray(sampler.draw(Latents(z[:, None], labels, "z")))
    row = np.concatenate(list(images), 2).transpose(1, 2, 0).squeeze()
    difference = np.abs(np.asarray(Image.open("onnx_row.png"), int) - row)
    assert difference.max() <= 1


def test_example_has_ten_lines() -> None:
    lines = EXAMPLE.read_text().split('"""')[2].strip().splitlines()
    assert sum(bool(line) for line in lines) <= 12, "ten beside two imports of the standard library"


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
@pytest.mark.parametrize("kind", ["onnx", "pt2", "web"])
def test_failed_check_leaves_no_file(kind: str, wrong: float, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(parts.WithClasses):
        def forward(self, z: Any, label: Any, truncation: Any) -> Any:
            images, values = super().forward(z, label, truncation)
            return images, values * 0 + wrong

    monkeypatch.setattr(parts, "WithClasses", Wrong)
    result = call_cli("export", run.path, "--to", kind, "--out", f"made/wrong.{SUFFIXES.get(kind, kind)}", check=1)
    assert "draws other images than the run" in result.stderr
    assert "no file was written" in result.stderr
    assert not Path("made").exists()


def test_network_that_cannot_be_traced_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Branching(parts.WithClasses):
        def forward(self, z: Any, label: Any, truncation: Any) -> Any:
            return super().forward(z if z.sum() > 0 else -z, label, truncation)

    monkeypatch.setattr(parts, "WithClasses", Branching)
    for kind in ("onnx", "pt2", "web"):
        file = f"wrong.{SUFFIXES.get(kind, kind)}"
        result = call_cli("export", run.path, "--to", kind, "--out", file, check=1)
        assert "cannot be traced" in result.stderr
        assert "torch.where" in result.stderr
        assert not Path(file).exists()


@pytest.mark.parametrize(("kind", "package"), PACKAGES)
def test_missing_extra_is_one_sentence_with_the_command(
    kind: str, package: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = call_cli("export", run.path, "--to", kind, "--out", "x.onnx", check=1)
    assert f"--to {kind} needs the package {package}, which is not installed." in result.stderr
    assert "pip install 'ganvas[export]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["RUN", "--to", "onnx"], 2, "--out"),
        (["RUN", "--out", "x.onnx"], 2, "--to"),
        (["RUN", "--to", "tflite", "--out", "x"], 2, "tflite"),
        (["RUN", "--to", "onnx", "--out", "x.pt2"], 1, "ends in .onnx"),
        (["RUN", "--to", "pt2", "--out", "x.onnx"], 1, "--out x.pt2"),
        (["RUN", "--to", "onnx", "--out", ""], 1, "--out"),
        (["RUN", "--to", "pt2", "--out", "x.pt2", "--half"], 2, "--to onnx"),
        (["RUN", "--to", "onnx", "--out", "x.onnx", "--licence", "mit"], 2, "--to hub"),
        (["RUN", "--to", "onnx", "--out", "x.onnx", "--upload", "a/b"], 2, "--to hub"),
        (["RUN", "--to", "web", "--out", "page"], 1, "--out page.html"),
        (["RUN", "--to", "web", "--out", "x.html", "--licence", "mit"], 2, "--to hub"),
        (["RUN", "--to", "web", "--out", "folder.html"], 1, "is a folder: it is not replaced"),
        (["nosuch", "--to", "pt2", "--out", "x.pt2"], 1, "nosuch does not exist"),
        (["RUN", "--to", "pt2", "--out", "folder.pt2"], 1, "is a folder: it is not replaced"),
        (["RUN", "--to", "pt2", "--out", "pipe.pt2"], 1, "is a pipe: it is not replaced"),
        (["RUN", "--to", "pt2", "--out", "file/x.pt2"], 1, "could not be written"),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, list) else None,
)
def test_mistake_is_explained(arguments: list[str], status: int, said: str, run: Run) -> None:
    Path("folder.pt2").mkdir()
    Path("folder.html").mkdir()
    os.mkfifo("pipe.pt2")
    Path("file").touch()
    before = sorted(Path().iterdir())
    result = call_cli("export", *(str(run.path) if one == "RUN" else one for one in arguments), check=status)
    assert said in result.stderr.replace("│", " ") + result.stdout
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("name", ["file/x.onnx", "x.onnx", "file/x.pt2", "file/x.html"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(part: parts.Part) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(parts.Part, "trace", refuse)
    Path("file").touch()
    Path("x.synthesis.onnx").mkdir()
    write = {".onnx": onnx_file.write, ".pt2": program.write, ".html": web_page.write}[Path(name).suffix]
    with pytest.raises(GanvasError, match=r"could not be written|x\.synthesis\.onnx is a folder"):
        write(make_sampler("stylegan", Shape(1, 8, 8)), Path(name), Options())
    assert sorted(path.name for path in Path().iterdir()) == ["file", "x.synthesis.onnx"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"to": "tflite"}, "--to"), ({"to": None}, "--to"), ({"half": 1}, "--half"), ({"out": 3}, "not a path"),
     ({"licence": 3}, "--licence"), ({"upload": object()}, "--upload"), ({"to": "hub", "half": True}, "--half")],
)  # fmt: skip
def test_arguments_are_checked(wrong: dict[str, Any], named: str, run: Run) -> None:
    arguments: dict[str, Any] = {"to": "pt2", "out": "x.pt2"} | wrong
    with pytest.raises(GanvasError, match=named):
        ganvas.export(run, **arguments)


def test_json_and_a_failing_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call_cli("export", run.path, "--to", "pt2", "--out", "x.pt2", "--json", check=0)
    told = json.loads(result.stdout)
    assert told["files"] == ["x.pt2"]
    assert told["parity"][0]["largest"] == 0
    before = Path("x.pt2").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ganvas.files.fsync", full)
        assert "The disk is full" in call_cli("export", run.path, "--to", "pt2", "--out", "x.pt2", check=1).stderr
    assert Path("x.pt2").read_bytes() == before


def test_every_format_has_a_module() -> None:
    from importlib import import_module

    for chosen in FORMATS.values():
        assert callable(import_module(f"ganvas.exporting.{chosen.module}").write)
    assert program.write


def test_own_network_is_exported(tmp_path: Path) -> None:
    Path("nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "class Generator(nn.Module):\n"
        "    def __init__(self, latent, shape):\n        super().__init__()\n"
        "        self.shape, self.dense = shape, nn.Linear(latent, shape.channels * shape.height * shape.width)\n\n"
        "    def forward(self, z):\n        return self.dense(z).tanh().view(-1, *self.shape[:3])\n"
    )
    run = ganvas.train("custom", g="nets.py:Generator", d="mlp(d_widths=(8,))", data="digits", kimg=0.1, latent=6,
                       batch=20, plot=False, quiet=True, device="cpu")  # fmt: skip
    found = ganvas.export(run, to="pt2", out="own.pt2")
    assert found.parity[0].share == 0
    with ZipFile("own.pt2") as packed:
        content = b"".join(packed.read(entry) for entry in packed.namelist())
    folders = (str(tmp_path), str(Path(ganvas.__file__).parent))
    assert not any(folder.encode() in content for folder in folders), "no place on this machine is told"
    with pytest.raises(GanvasError, match="its code is not in the weights"):
        ganvas.export(run, to="hub", out="own", licence="mit")
    assert not Path("own").exists()


class ByClassTwice(Generator):
    """Two styles, of which it draws another image for each class."""

    style_space = "w"

    def __init__(self, default: int | None) -> None:
        super().__init__()
        self.latent, self.shape, self.default = 4, Shape(1, 8, 8, 3), default
        self.bias = nn.Embedding(3, 64)

    def styles(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z[:, None].expand(-1, 2, -1)

    def draw(self, styles: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None and self.default is not None:
            labels = torch.full((len(styles),), self.default)
        return (styles.mean((1, 2))[:, None] + self.bias(labels)).tanh().view(-1, 1, 8, 8)


@pytest.mark.parametrize("default", [None, 0])
def test_generator_that_draws_styles_by_the_class_is_exported_as_a_whole(default: int | None) -> None:
    generator = ByClassTwice(default).eval().requires_grad_(False)
    sampler = Sampler(Path("x"), generator, make_card(tiny().network, generator.shape), torch.device("cpu"))
    assert not parts.halves(generator)
    with pytest.raises(GanvasError, match="takes the class again") as caught:
        web_page.write(sampler, Path("page.html"), Options())
    assert "--to onnx" in caught.value.fix
    assert program.write(sampler, Path("own.pt2"), Options()).parity[0].share == 0
    assert [part.name for part in parts.halves(make_sampler("stylegan", generator.shape).generator)] == [
        "mapping", "synthesis",
    ]  # fmt: skip
