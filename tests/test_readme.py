"""The README's promises: its first command generates all ten digits; its other commands and its Python run."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganvas.cli import COMMANDS
from ganvas.data import DataOptions, open_images, to_unit
from ganvas.recipes import RECIPES
from ganvas.sampling import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

pytestmark = pytest.mark.slow


def test_first_two_commands_are_the_demo_and_the_tests() -> None:
    block = re.search(r"```\n(.*?)```", README, re.DOTALL)
    assert block
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make demo", "make test"]


def test_make_demo_generates_all_ten_digits_recognisably(tmp_path: Path) -> None:
    """In a copy of the tree, with this environment; a classifier of real digits must recognise the generated ones."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "*.egg-info"))
    environment = tmp_path / "venv"  # an environment of the same packages, marked as installed
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    shutil.copy(Path(sys.executable).parent / "ganvas", environment / "bin" / "ganvas")
    time.sleep(0.01)
    (environment / "installed").touch()
    quiet = {**os.environ, "GANVAS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        ["make", "demo", f"VENV={environment}"], cwd=tree, capture_output=True, text=True, env=quiet, timeout=600
    )
    assert done.returncode == 0, done.stderr
    printed = re.search(r"Generated images: +(\S+)", done.stderr)
    assert printed
    grid = tree / printed[1]
    assert grid.exists()

    generated = load(grid.parent).sample(seeds=range(500))
    digits = open_images(DataOptions("digits"))
    assert digits.labels is not None
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    adam = torch.optim.Adam(classifier.parameters(), 3e-3)
    x, y = to_unit(torch.from_numpy(digits.images.copy())), torch.from_numpy(digits.labels.copy())
    for _ in range(300):
        adam.zero_grad()
        F.cross_entropy(classifier(x), y).backward()
        adam.step()
    with torch.no_grad():
        probabilities = classifier(to_unit(torch.from_numpy(generated))).softmax(1)
    shares = np.bincount(probabilities.argmax(1).numpy(), minlength=10) / len(generated)
    assert shares.min() >= 0.05, f"a class is missing: {shares}"
    assert (probabilities.max(1).values > 0.9).float().mean() > 0.75, "the classifier must recognise most of them"


def test_python_example_runs(tmp_path: Path) -> None:
    block = re.search(r"```python\n(import ganvas.*?)```", README, re.DOTALL)
    assert block
    lines = block[1].replace("kimg=20", "kimg=0.2, plot=False").splitlines()
    runnable = "\n".join(line for line in lines if "photos.zip" not in line)
    assert runnable.count("ganvas.") == 4
    names: dict[str, object] = {}
    exec(compile(runnable, "README.md", "exec"), names)
    images = names["images"]
    assert isinstance(images, np.ndarray)
    assert images.shape == (64, 1, 8, 8)


def test_tables_list_every_command_recipe_and_module() -> None:
    for verb in COMMANDS:
        assert f"`ganvas {verb}" in README, verb
    for recipe in RECIPES:
        assert f"| `{recipe}` |" in README, recipe
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
    for module in re.findall(r"^  (\w+(?:\.py|/))", README.split("src/ganvas/")[1].split("```")[0], re.MULTILINE):
        assert (ROOT / "src" / "ganvas" / module).exists(), module


def test_commands_for_own_images_run(tmp_path: Path) -> None:
    """The three commands under "Your own images", on a folder of real photographs made small."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = tmp_path / "photos"
    photos.mkdir()
    for i, photo in enumerate(load_sample_images().images):
        for j in range(20):
            Image.fromarray(photo).crop((j * 10, j * 10, j * 10 + 200, j * 10 + 200)).save(photos / f"{i}-{j}.jpg")
    block = README.split("## Your own images")[1].split("```")[1]
    commands = [line.split("#")[0].split() for line in block.strip().splitlines()]
    assert [command[:2] for command in commands] == [["ganvas", verb] for verb in ("data", "train", "sample")]
    short = ["--kimg", "0.064", "--g-width", "4", "--d-width", "4", "--moments", "0", "--no-plot"]
    for command in commands:
        more = short if command[1] == "train" else []
        done = subprocess.run(
            [sys.executable, "-m", *command, *more], capture_output=True, text=True, cwd=tmp_path, timeout=200
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "grid.png").exists()
