"""Starts a training from another one: G, D and the average are taken over where their shapes agree.

First and last layers of another size or number of channels are built anew, as in `TrainState.build`. Lists of layers
that are longer for larger images are compared from the end that they share (`networks.base`). Optimisers start fresh.
The first layers of D can be frozen: they then keep what they have learned (FreezeD: Mo et al. 2020, arXiv 2002.10964).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ganvas import networks
from ganvas.config import Network, TrainConfig, leaves, replace
from ganvas.config.flags import format_flags
from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.networks import Shape, base
from ganvas.pytorch_state import GPU_MODULES
from ganvas.reading import near_paths
from ganvas.runs import lookup, state_metadata
from ganvas.runs.card import (
    d_networks_of,
    is_run,
    is_snapshot,
    licence_of,
    read_card,
    read_growth,
    read_network,
    read_weight_shapes,
    weights_file,
)
from ganvas.runs.folder import Run
from ganvas.runs.snapshot import check_values
from ganvas.training.state import TrainState
from ganvas.values import expand_user

Item = TypeVar("Item")

MIN_SHARE = 0.25
"""Of a network's layers must be taken over, or the other training is surely not the one that was meant."""

WITHOUT_SHAPE = ("growth", "mixing_prob", "dropout", "output", "position_init")
"""Knobs of networks that change no layer's shape."""


@dataclass(frozen=True)
class Origin:
    """Where the weights come from.

    Attributes:
        path: the run or the snapshot, as it was given.
        file: its state, with G, D and the average; or a snapshot's weights, with the average alone.
        network: the configuration of its networks.
        size: (height, width) of its images.
        nimg: real images shown to its D.
        growth: how far its networks have grown; 1 is their full size.
        shapes: those of the tensors of G, and of D if the file has it, by network and name.
        licence, attribution: of the weights, where they are given under a licence; those made of them keep both.
        d_networks: the frozen networks that its G was trained through (`ganvas.runs.card.d_networks_of`).
    """

    path: Path
    file: Path
    network: Network
    size: tuple[int, int]
    nimg: int
    growth: float
    shapes: Mapping[str, Mapping[str, Sequence[int]]]
    licence: str = ""
    attribution: str = ""
    d_networks: Sequence[dict[str, Any]] = ()

    @property
    def has_d(self) -> bool:
        """Whether D is there too."""
        return "D" in self.shapes

    def to_json(self) -> dict[str, Any]:
        """The lineage in config.json and card.json: path, kimg, SHA-256 of the file; with a licence, that too."""
        with self.file.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        given = {"licence": self.licence, "attribution": self.attribution} if self.licence else {}
        path = self.path.resolve() if self.path.name in ("", "..") else self.path  # "." has no name anywhere else
        return {"from": str(path), "kimg": self.nimg / 1000, "sha256": digest, **given}


def find_origin(config: TrainConfig) -> Origin | None:
    """The weights that `init_from` names; None without it. Only headers are read.

    Raises:
        GanvasError: they are none, are damaged, or of another family.
    """
    if config.transfer.init_from is None:
        return None
    path = lookup.folder_of(expand_user(to_path(config.transfer.init_from, "a run or a snapshot")))
    folder = lookup.find_local(path)
    if is_run(folder):
        origin = _of_run(Run(folder))
    elif is_snapshot(folder):
        origin = _of_snapshot(path, folder)
    else:
        raise GanvasError(
            f"--from is {path}, which {'is no run' if path.exists() else 'does not exist'}.",
            expected=f"a run folder, one of its snapshots, or {lookup.FORMS}",
            fix=near_paths(path) or "ganvas runs lists the runs.",
        )
    own = config.network.family
    if origin.network.family != own:
        raise GanvasError(
            f"{path} has networks of the family {origin.network.family}, and this training of {own}.",
            expected="one family: weights are taken over layer by layer",
            fix=f"train a recipe of the family {origin.network.family}; ganvas recipes lists them.",
        )
    if config.transfer.freeze_d and not origin.has_d:
        raise GanvasError(
            f"--freeze-d {config.transfer.freeze_d} with --from {path}, which has no D.",
            expected="a run folder with its saved state: a snapshot has only G",
            fix="name the run, or leave --freeze-d out.",
        )
    return origin


def _of_run(run: Run) -> Origin:
    if run.state_file.exists():
        state, size = state_metadata.read_metadata(run.state_file), _size(run.metadata["data"]["shape"])
        licence, attribution = licence_of(run.metadata.get("lineage"))
        file, shapes, growth = run.state_file, _read_shapes(run.state_file), read_growth(run.state_file, "ema/growth")
        network, nimg = run.config.network, state["nimg"]
        seen = d_networks_of(state.get("d_networks"), network)
        return Origin(run.path, file, network, size, nimg, growth, shapes, licence, attribution, seen)
    if not run.snapshots:
        raise GanvasError(f"{run.path} has no snapshot yet.", fix="wait for its first one, or name another run.")
    return _of_snapshot(run.path, run.latest_snapshot)


def _of_snapshot(path: Path, snapshot: Path) -> Origin:
    shapes, card = {"G": read_weight_shapes(snapshot)}, read_card(snapshot)
    network, size, file = read_network(snapshot, card), _size(card["shape"]), weights_file(snapshot)
    growth, seen = read_growth(file, "growth"), d_networks_of(card.get("d_networks"), network)
    return Origin(path, file, network, size, card["nimg"], growth, shapes, *licence_of(card), seen)


def _read_shapes(state: Path) -> dict[str, dict[str, Sequence[int]]]:
    """The shapes of the tensors of G and D in a state file, of which only the header is read."""
    with state_metadata.open_state(state, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return {part: _part_of(shapes, part) for part in ("G", "D")}


def _part_of(tensors: Mapping[str, Item], part: str) -> dict[str, Item]:
    """Those of one network, without its name in front of theirs."""
    return {name.removeprefix(f"{part}/"): item for name, item in tensors.items() if name.startswith(f"{part}/")}


def _size(shape: Mapping[str, int]) -> tuple[int, int]:
    return shape["height"], shape["width"]


def like_origin(config: TrainConfig) -> TrainConfig:
    """The configuration with the origin's value of each knob of the networks that it leaves open.

    That of a run leaves none open: it is resumed also where its origin is not there any more.
    """
    own = dict(leaves(config.network))
    origin = find_origin(config) if None in own.values() else None
    if origin is None:
        return config
    theirs = dict(leaves(origin.network))
    return replace(config, **{name: theirs[name] for name, value in own.items() if value is None and name in theirs})


@dataclass(frozen=True)
class Fit:
    """What a network takes over from a saved one.

    Attributes:
        names: its tensors that are taken over -> their names in the saved network.
        taken, total: numbers of weights.
        layers: its layers with a weight of two or more dimensions.
        new: its layers and norms with weights that are not taken over.
    """

    names: Mapping[str, str]
    taken: int
    total: int
    layers: frozenset[str]
    new: tuple[str, ...]

    @classmethod
    def of(cls, network: nn.Module, saved: Mapping[str, Sequence[int]]) -> "Fit":
        """Compares a network with the shapes of the tensors of a saved one of its family, by their names."""
        own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        lists = getattr(network, "matched_at_end", {})
        shifts = {layers: (first, _length(own, layers) - _length(saved, layers)) for layers, first in lists.items()}
        names = {new: name for name, shape in saved.items() if own.get(new := _renumber(name, shifts)) == tuple(shape)}
        names.pop("growth", None)  # it is that of the schedule
        weights = dict(network.named_parameters())
        new = dict.fromkeys(_layer_of(name) or name for name in weights if name not in names)
        for bias in [name for name in names if name.endswith(".bias") and _layer_of(name) in new]:
            del names[bias]  # it is of other weights
        taken = sum(weight.numel() for name, weight in weights.items() if name in names)
        layers = frozenset(_layer_of(name) or name for name, weight in weights.items() if weight.dim() > 1)
        return cls(names, taken, sum(weight.numel() for weight in weights.values()), layers, tuple(new))

    def describe(self, title: str, origin: Origin) -> str:
        """A sentence: how many weights are taken over, and which layers are new."""
        more = f" and {len(self.new) - 6} more" if len(self.new) > 6 else ""
        rest = f"; new: {', '.join(self.new[:6])}{more}" if self.new else ""
        return f"{title}: {self.taken:,} of {self.total:,} weights from {origin.path}{rest}."


def _length(names: Iterable[str], layers: str) -> int:
    """One more than the last number with a tensor in a list of layers."""
    parts = (name.split(".") for name in names if name.startswith(f"{layers}."))
    return 1 + max((int(number) for _, number, *_ in parts if number.isdecimal()), default=-1)


def _renumber(name: str, shifts: Mapping[str, tuple[int, int]]) -> str:
    """The name that a saved tensor has in another network, where layers from a number on are shifted; "" if none."""
    layers, *rest = name.split(".")
    if layers not in shifts or not rest or not rest[0].isdecimal():
        return name
    (first, shift), number = shifts[layers], int(rest[0])
    if number >= first:
        number += shift
        if number < first:
            return ""
    return ".".join([layers, str(number), *rest[1:]])


def check_fit(config: TrainConfig, shape: Shape, origin: Origin) -> list[str]:
    """What a new training takes over and freezes, in sentences.

    Raises:
        GanvasError: next to nothing fits, new layers would be frozen, or the weights are not finite, or damaged.
    """
    generator, discriminator = networks.build(config.network, shape)
    if config.loss.spectral_norm:
        networks.apply_spectral_norm(discriminator)
    own = {"G": generator, "D": discriminator}
    fits = {title: Fit.of(own[title], shapes) for title, shapes in origin.shapes.items()}
    difference = _describe_difference(config, shape, origin)
    for title, fit in fits.items():
        fitting = len(fit.layers.difference(fit.new))
        if fitting < MIN_SHARE * len(fit.layers):
            raise GanvasError(
                f"Only {fitting} of {len(fit.layers)} layers of {title} fit those of {origin.path}.",
                expected="networks of the same widths, both with --spectral-norm or both without",
                fix=difference,
            )
    if n := config.transfer.freeze_d:
        if origin.growth < 1:
            raise GanvasError(
                f"--freeze-d {n} with --from {origin.path}, whose networks have not grown to their full size.",
                expected="first layers that have learned something: those of the full size have not",
                fix="train that run on, or leave --freeze-d out.",
            )
        frozen = freeze_first_layers(discriminator, n, shape, torch.device("cpu"))
        if new := [layer for layer in frozen if layer in fits["D"].new]:
            raise GanvasError(
                f"--freeze-d {n} would freeze {', '.join(new)} of D, which {origin.path} lacks.",
                expected="first layers that have learned something: random ones would stay random",
                fix=difference or "leave --freeze-d out.",
            )
    _load_tensors(origin)
    return _describe(fits, difference, origin)


def _describe(fits: Mapping[str, Fit], difference: str, origin: Origin) -> list[str]:
    notes = [difference] if difference and any(fit.new for fit in fits.values()) else []
    notes += [fit.describe(title, origin) for title, fit in fits.items()]
    if not origin.has_d:
        notes.append(f"{origin.path} is a snapshot, without D: D is untrained. A run folder has both.")
    return notes


def _describe_difference(config: TrainConfig, shape: Shape, origin: Origin) -> str:
    """What to set as in the origin so that more layers would fit; empty if nothing is known."""
    theirs, own = dict(leaves(origin.network)), dict(leaves(config.network))
    names = [name for name in own if name in theirs and name not in WITHOUT_SHAPE]
    other = {name: theirs[name] for name in names if theirs[name] != own[name]}
    if origin.size != (shape.height, shape.width):
        other["resolution"] = "x".join(map(str, origin.size))
    return f"It was made with {format_flags(other)}: with these more layers would fit." if other else ""


@torch.no_grad()
def take_over(state: TrainState, origin: Origin) -> list[str]:
    """Copies into a new training's networks what fits of another's; what was taken and what not, in sentences.

    Raises:
        GanvasError: the file is damaged, or its weights are not finite.
    """
    tensors = _load_tensors(origin)
    fits: dict[str, Fit] = {}
    for part, network in (("G", state.game.G), ("D", state.game.D), ("ema", state.g_ema)):
        if saved := _part_of(tensors, part):
            own = network.state_dict()
            fits[part] = Fit.of(network, {name: value.shape for name, value in saved.items()})
            for name, other in fits[part].names.items():
                own[name].copy_(saved[other])
    if not fits.pop("ema").new:
        state.ema_warmup = 0.0  # it goes on; new layers would stay as they begin for too long
    return _describe(fits, _describe_difference(state.config, state.game.G.shape, origin), origin)


def _load_tensors(origin: Origin) -> dict[str, Tensor]:
    """The tensors of G, D (if it is there) and the average, by network and name; their values are checked."""
    if origin.has_d:
        with state_metadata.open_state(origin.file, "pt") as file:
            names = [name for name in file.keys() if name.partition("/")[0] in ("G", "D", "ema")]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names}
    else:
        tensors = _as_state(load_file(origin.file))
    of_d = {name for name in tensors if name.startswith("D/")}  # may have buffers of whole numbers
    check_values(origin.path, {n: value for n, value in tensors.items() if n not in of_d or value.is_floating_point()})
    return tensors


def _as_state(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A snapshot's weights for G and for its average."""
    return {f"{part}/{name}": value for name, value in weights.items() for part in ("G", "ema")}


def freeze_first_layers(discriminator: nn.Module, n: int, shape: Shape, device: torch.device) -> list[str]:
    """Freezes the first n layers that an image passes in D at its full size, and the norms between them.

    Layers are those with a weight of two or more dimensions. Of a projected D the first ones are those of the head on
    the finest map.

    Returns:
        Their names.

    Raises:
        GanvasError: D has no n layers beside its last one.
    """
    modules = _modules_in_order(discriminator, shape, device)
    weights = {_layer_of(name) for name, weight in discriminator.named_parameters() if weight.dim() > 1}
    layers = [name for name in modules if name in weights]
    if n >= len(layers):
        raise GanvasError(
            f"--freeze-d is {n}, and D has {len(layers)} layers with weights.",
            expected=f"at most {len(layers) - 1}: the last one must learn",
        )
    frozen = modules[: modules.index(layers[n])]
    for name, weight in discriminator.named_parameters():
        if _layer_of(name) in frozen:
            weight.requires_grad_(False)
    return layers[:n]


def _modules_in_order(discriminator: nn.Module, shape: Shape, device: torch.device) -> list[str]:
    """The names of D's innermost modules with parameters, in the order in which an image passes them at full size."""
    order: dict[str, None] = {}
    names = {_layer_of(name) for name, _ in discriminator.named_parameters()} - {""}
    names = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        for name, module in discriminator.named_modules()
        if name in names
    ]
    labels = torch.zeros(2, dtype=torch.long, device=device) if shape.classes else None
    forked = [device] if device.type in GPU_MODULES else []  # of several GPUs only the one that is used
    network: Any = discriminator
    training, growth = network.training, getattr(network, "growth", None)
    before = growth.item() if isinstance(growth, Tensor) and isinstance(network, base.Discriminator) else 1.0
    try:
        if before < 1:
            network.grow(1.0)
        with torch.no_grad(), torch.random.fork_rng(forked, device_type=device.type):
            network.eval()(network.d_input(torch.zeros(2, *shape[:3], device=device)), labels)
    finally:
        network.train(training)
        if before < 1:
            network.grow(before)
        for hook in hooks:
            hook.remove()
    return list(order)


def _layer_of(parameter: str) -> str:
    """The name of the layer to which a parameter belongs, also where it is parametrised, as by spectral norm."""
    return parameter.rpartition(".")[0].partition(".parametrizations")[0]
