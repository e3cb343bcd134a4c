"""A generator on disk: its weights in G.safetensors, and all that is needed to use it in card.json."""

import dataclasses
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import nn

from ganvas import networks
from ganvas.config import Network, from_json, to_json
from ganvas.errors import GanvasError
from ganvas.files import atomic_folder, make_folder
from ganvas.networks import Generator, Shape
from ganvas.runs.formats import check_format
from ganvas.version import __version__

FORMAT = 2
"""The format of a snapshot folder."""


@dataclass(frozen=True)
class Card:
    """The content of a snapshot's card.json.

    Attributes:
        network: the configuration that rebuilds the generator.
        shape: channels, height, width and classes of its images.
        class_names: a name for each class; empty without classes.
        nimg: real images shown to D before the snapshot.
        weights: "ema" for the moving average, "raw" for G itself.
        data: name and fingerprint of the training data.
        recipe: the recipe it was trained with.
        versions: of Ganvas, PyTorch and Python.
        quality: of the best snapshot, the measured value and its protocol; else None.
    """

    network: Network
    shape: Shape
    class_names: tuple[str, ...]
    nimg: int
    weights: str
    data: dict[str, Any]
    recipe: str
    versions: dict[str, str]
    quality: dict[str, Any] | None = None
    format: int = FORMAT


def package_versions() -> dict[str, str]:
    """Versions of Ganvas, PyTorch and Python, on which a result may depend."""
    return {"ganvas": __version__, "torch": torch.__version__, "python": platform.python_version()}


def save(path: Path, generator: nn.Module, card: Card) -> None:
    """Writes a snapshot folder atomically."""
    make_folder(path.parent)
    with atomic_folder(path) as temporary:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
        (temporary / "G.safetensors").write_bytes(serialize(weights))
        plain = {**dataclasses.asdict(card), "network": to_json(card.network), "shape": card.shape._asdict()}
        (temporary / "card.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> tuple[Generator, Card]:
    """The generator of a snapshot folder, without gradients, in evaluation mode, on the CPU; and its card.

    Raises:
        GanvasError: it is not a snapshot, is damaged, or has another format.
    """
    try:
        plain = json.loads((path / "card.json").read_text(encoding="utf-8"))
        check_format("snapshot", path, int(plain["format"]), FORMAT)
        card = Card(
            **{
                **plain,
                "network": from_json(Network, plain["network"]),  # type: ignore[arg-type]
                "shape": Shape(**plain["shape"]),
                "class_names": tuple(plain["class_names"]),
            }
        )
        generator, _ = networks.build(card.network, card.shape)
        generator.load_state_dict(load_file(path / "G.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise GanvasError(
            f"{path} is not a usable snapshot ({error}).",
            expected="a folder with G.safetensors and card.json, as ganvas train writes them",
            fix="give a run folder, or one of the folders in its snapshots/.",
        ) from error
    return generator.eval().requires_grad_(False), card
