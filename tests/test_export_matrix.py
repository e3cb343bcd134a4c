"""Every recipe, with and without classes, grey, RGB and RGBA, of an odd size, draws the same images exported."""

import os
from pathlib import Path

import pytest
import torch
from exported_networks import RECIPE_NAMES, make_sampler

from ganvas.exporting import onnx_file, program
from ganvas.exporting.exported import Exported
from ganvas.exporting.formats import Options
from ganvas.networks import Shape
from ganvas.pytorch_state import readable_tf32_flag

SHAPES = [Shape(channels, 25, 40, classes) for channels in (1, 3, 4) for classes in (0, 3)]


def check(found: Exported) -> None:
    table = os.environ.get("GANVAS_PARITY_TABLE")
    for parity in found.parity:
        assert parity.images == 64
        assert parity.largest < 0.1
        assert parity.share < 1e-3
    if table:
        with Path(table).open("a") as file:
            file.write("\t".join([str(found.files[0]), *map(str, found.parity)]) + "\n")


def name(shape: Shape) -> str:
    return f"{shape.height}x{shape.width}x{shape.channels}-{shape.classes}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("shape", SHAPES, ids=name)
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_onnx_of_every_recipe_draws_the_same_images(recipe: str, shape: Shape) -> None:
    check(onnx_file.write(make_sampler(recipe, shape), Path(f"{recipe}-{name(shape)}.onnx"), Options()))


@pytest.mark.exhaustive
@pytest.mark.parametrize("shape", SHAPES, ids=name)
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_program_of_every_recipe_draws_the_same_images(recipe: str, shape: Shape) -> None:
    check(program.write(make_sampler(recipe, shape), Path(f"{recipe}-{name(shape)}.pt2"), Options()))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["stylegan", "fast"])
def test_program_draws_the_same_images(recipe: str) -> None:
    check(program.write(make_sampler(recipe, Shape(3, 12, 9, 3)), Path(f"{recipe}.pt2"), Options()))


def test_flag_of_tf32_is_restored() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, cudnn.allow_tf32  # type: ignore[attr-defined]
    with readable_tf32_flag():
        pass
    assert before == (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, cudnn.allow_tf32)  # type: ignore[attr-defined]
