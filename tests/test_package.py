"""The wheel: it has every file of the package, and works installed in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
MAX_WHEEL = 15_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    flags = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *flags, ROOT], check=True)
    return next(folder.glob("ganvas-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a new virtual environment with the wheel; other packages come from the present environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    flags = ["--quiet", "--no-deps", "--no-index", "--no-compile"]  # what runs is compiled then
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *flags, wheel], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    return folder / "bin"


def run(environment: Path, program: str, *arguments: object) -> str:
    """What a program of the environment prints."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [environment / program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=own, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


SEVERAL = """
import contextlib, io, json, sys
from ganvas.cli import main

printed = []
for words in json.loads(sys.argv[1]):
    sys.argv, out = ["ganvas", *words], io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as end:
            assert not end.code, words
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def run_all(environment: Path, *commands: list[object]) -> list[str]:
    """What each command prints; in one process, which imports PyTorch once."""
    words = [list(map(str, command)) for command in commands]
    return json.loads(run(environment, "python", "-c", SEVERAL, json.dumps(words)))


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert {"ganvas/py.typed", "ganvas/comparison/report.html"} <= packed
    assert len({name for name in packed if name.endswith(".safetensors")}) == 4
    assert wheel.stat().st_size <= MAX_WHEEL


def test_wheel_has_the_licences_of_what_others_made(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        licences = {name.rpartition("/")[2] for name in archive.namelist() if ".dist-info/licenses/" in name}
    assert licences == {
        "LICENSE", "NOTICE", "DIGITS-LICENSE.txt", "DIGITS28-LICENSE.txt",
        "ONNXRUNTIME-LICENSE.txt", "ONNXRUNTIME-NOTICES.txt",
    }  # fmt: skip


def test_installed_wheel_trains_evaluates_compares_and_stylises(environment: Path, tmp_path: Path) -> None:
    code = "import ganvas; from importlib.metadata import version; print(ganvas.__file__, version('ganvas'))"
    file, version = run(environment, "python", "-c", code).split()
    assert Path(file).is_relative_to(environment.parent)
    assert run(environment, "ganvas", "--version") == f"ganvas {version}\n"

    cpu = ["--device", "cpu"]
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save("photo.png")
    limits = ["--kimg", 0.6, "--seeds", 1, "--count", 60]
    quick = ["--size", 48, "--min-scale", 48, "--iterations", 1]
    sampled, trained, evaluated, *_ = run_all(
        environment,
        ["sample", "pretrained:digits28", *cpu],
        ["train", "digits", "--name", "first", "--kimg", 0.6, "--no-plot", "--json", *cpu],
        ["evaluate", "runs/first", "--count", 60, "--quick", "--json", *cpu],
        ["compare", "runs/first", "digits", *limits, "--knobs", "device=cpu", "--out", "compared", *cpu],
        ["style", "photo.png", "photo.png", "--out", "styled.png", *quick, *cpu],
    )
    assert "60 images" in sampled
    assert json.loads(trained)["run"] == "runs/first"
    assert "modes" in json.loads(evaluated)["values"]
    assert not (tmp_path / "cache" / "classifiers").exists(), "the package has a classifier of the digits"
    assert "</html>" in Path("compared/report.html").read_text(encoding="utf-8")
    assert Path("styled.png").exists()
