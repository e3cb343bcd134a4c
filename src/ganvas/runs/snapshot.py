"""A generator on disk: its weights in G.safetensors, and all that is needed to use it in card.json."""

import dataclasses
import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from ganvas import networks, user_code
from ganvas.config import Network, from_json, to_json
from ganvas.config.bounds import check_bounds
from ganvas.config.custom import Custom
from ganvas.errors import GanvasError
from ganvas.files import atomic_file, atomic_folder, explain_os_error, make_folder, remove_folder
from ganvas.networks import Generator, Shape
from ganvas.reading import describe_reason
from ganvas.runs.card import CARD_KEY, FORMAT, check_shapes, find_damage, read_card, read_weight_shapes, weights_file
from ganvas.values import expand_user
from ganvas.version import __version__

_INTEGERS = {torch.int8, torch.int16, torch.int32, torch.uint8}
"""Types that no weight has; a count of batches is an int64."""


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
        sources: the files and modules of the user's own generator: path and SHA-256; empty for our families.
        lineage: of a training that started with the networks of another: its path, kimg, and their SHA-256.
        licence: under which the weights are given, by the hub's name (`cc-by-sa-3.0`); empty where nothing was chosen.
        attribution: whom the licence of the data asks to name.
        d_networks: the frozen networks that G was trained through, those of its origin first: name or spec ("network")
            and digest ("weights"); None of an older version, see `ganvas.runs.card.d_networks_of`.
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
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    lineage: dict[str, Any] | None = None
    licence: str = ""
    attribution: str = ""
    d_networks: list[dict[str, Any]] | None = None
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return {**dataclasses.asdict(self), "network": to_json(self.network), "shape": self.shape._asdict()}


def package_versions() -> dict[str, str]:
    """Versions of Ganvas, PyTorch and Python, on which a result may depend."""
    return {"ganvas": __version__, "torch": torch.__version__, "python": platform.python_version()}


def save(path: Path, generator: nn.Module, card: Card) -> None:
    """Writes a snapshot folder atomically."""
    make_folder(path.parent)
    if isinstance(card.network, Custom) and user_code.is_spec(card.network.g):
        card = dataclasses.replace(card, sources=user_code.sources([card.network.g]))
    with atomic_folder(path) as temporary:
        (temporary / "G.safetensors").write_bytes(serialize(_weights(generator)))
        (temporary / "card.json").write_text(json.dumps(card.to_json(), indent=2) + "\n", encoding="utf-8")


def save_single_file(path: Path, generator: nn.Module, card: Card) -> None:
    """Writes a generator as one file, atomically: weights in half precision, with the card in their metadata.

    Raises:
        GanvasError: it cannot be written, or a weight is beyond the range of half precision.
    """
    weights = _weights(generator).items()
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights}
    if lost := [name for name, tensor in halves.items() if not tensor.isfinite().all()]:
        raise GanvasError(f"{lost[0]} has values beyond 65,504.", expected="weights that half precision can hold")
    with atomic_file(path) as temporary:
        # one entry: safetensors writes several in an order of its own, and the file would have another digest each time
        temporary.write_bytes(serialize(halves, metadata={CARD_KEY: json.dumps(card.to_json(), sort_keys=True)}))


def _weights(generator: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}


def load(path: Path) -> tuple[Generator, Card]:
    """The generator of a snapshot folder, without gradients, in evaluation mode, on the CPU; and its card.

    Of the user's own generator, the code that the card names is executed, from the working directory or an installed
    module. A note goes to stderr if it has changed since.

    Raises:
        GanvasError: it is not a snapshot, is damaged, has another format, its weights are not those of the network in
            its card (compared before either takes memory), or are no finite numbers, or the user's own code is missing
            or does not fit them.
    """
    with _explain_damage(path):
        plain, shapes = read_card(path), read_weight_shapes(path)
        card = Card(
            **{
                **plain,
                "network": from_json(Network, plain["network"]),  # type: ignore[arg-type]
                "shape": Shape(**plain["shape"]),
                "class_names": tuple(plain["class_names"]),
            }
        )
        check_bounds(card.network)
        if not card.sources:
            with networks.limited_size(len(shapes)), torch.device("meta"):
                described = networks.build_generator(card.network, card.shape).state_dict()
            check_shapes(weights_file(path), {name: tuple(t.shape) for name, t in described.items()}, shapes)
        weights = load_file(weights_file(path))
        check_values(path, weights)
        if not card.sources:
            generator = networks.build_generator(card.network, card.shape)
            generator.load_state_dict(weights)
    if card.sources:
        generator = _build_from_sources(path, card, weights)
    return generator.eval().requires_grad_(False), card


def check_values(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuses weights that are no finite numbers, which a training that diverged leaves.

    Raises:
        GanvasError: a value is infinite or NaN, or a tensor holds whole numbers; with its name.
    """
    for name, values in weights.items():
        if values.dtype in _INTEGERS:
            raise GanvasError(f"{path} has {name} as {values.dtype}.", expected="floating-point weights")
        if values.is_floating_point() and not values.isfinite().all():
            raise GanvasError(
                f"The weights of {path} are not finite ({name}): its images would be black, or worse.",
                expected="the generator of a training that did not diverge",
                fix="give an earlier folder of its snapshots/; ganvas diagnose says what went wrong.",
            )


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise GanvasError(
            f"{path} is not a usable snapshot ({describe_reason(error)}).",
            expected="a folder with G.safetensors and card.json, as ganvas train writes them",
            fix="give a run folder, or one of the folders in its snapshots/.",
        ) from error


def _build_from_sources(path: Path, card: Card, weights: dict[str, Tensor]) -> Generator:
    """The user's own generator; its code may be elsewhere or different by now."""
    (source, recorded), *_ = card.sources.items()
    try:
        generator = networks.build_generator(card.network, card.shape)
    except GanvasError as error:
        file = Path(recorded.get("path", "."))
        moved = f"run the command in another folder: {source} was {file} when it was trained."
        fix = error.fix if file.is_dir() or expand_user(source).exists() else moved
        raise GanvasError(f"{path}: {error.what}", expected=error.expected, fix=fix) from error
    changed = user_code.changed_sources(card.sources)
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        generator_name = f"{user_code.title(card.network.g)}{', which changed since' if changed else ''}"  # type: ignore[union-attr]
        raise GanvasError(
            f"The weights of {path} do not fit {generator_name}: {reason}",
            expected=f"the {source} it was trained with, of SHA-256 {recorded['sha256'][:12]}…",
            fix=f"restore that version of {source}, or train it again.",
        ) from error
    if changed:
        print(f"Note: {source} changed since {path} was saved: its images may differ.", file=sys.stderr)
    return generator


def prune(snapshots: Sequence[Path], nimg: int, *, keep: int | None) -> None:
    """Deletes all snapshots of a run but the newest and those kept for good, one for each `keep` images.

    Args:
        snapshots: their folders, oldest first.
        nimg: of the saved state; later snapshots are of a session that was killed before its state was saved.
        keep: images between two snapshots that are kept for good, or None. The first one after each multiple stays.
    """
    last_kept = -1
    for path in snapshots:
        if find_damage(path):  # whose it is cannot be known
            continue
        snapshot_nimg = read_card(path)["nimg"]
        if snapshot_nimg == nimg:
            continue
        if snapshot_nimg > nimg or keep is None or snapshot_nimg // keep <= last_kept:
            try:
                remove_folder(path)
            except OSError as error:
                raise explain_os_error(error, path) from error
        else:
            last_kept = snapshot_nimg // keep
