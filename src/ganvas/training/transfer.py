"""Starts a training from another one: G, D and the average are taken over where their shapes agree.

First and last layers of another size or number of channels are built anew, as in `TrainState.build`. Lists of layers
that are longer for larger images are compared from the end that they share (`networks.base`). Where only the number of
classes differs, a first dense layer keeps what it makes of z, and each class begins with the mean scales and shifts of
the norms. Optimisers start fresh.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ganvas import networks
from ganvas.config import TrainConfig, leaves
from ganvas.config.flags import format_flags
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.networks.layers import ClassBatchNorm2d, OneHotConcat
from ganvas.reading import check_regular, describe_reason, near_paths
from ganvas.runs import lookup
from ganvas.runs.base import growth_at_start
from ganvas.runs.origin import Origin, fill_open, find_begun, read_origin
from ganvas.runs.snapshot import check_values
from ganvas.training.announcement import quote
from ganvas.training.freezing import count_layers, freeze_first_layers, layer_of
from ganvas.training.state import TrainState
from ganvas.values import expand_user

Item = TypeVar("Item")

MIN_SHARE = 0.25
"""Of a network's layers must be taken over, or the other training is surely not the one that was meant."""

PARTS = ("G", "D", "ema")
"""What a saved state has of the networks."""

WITHOUT_SHAPE = ("growth", "mixing_prob", "dropout", "output", "position_init")
"""Knobs of networks that change no layer's shape."""


@dataclass(frozen=True)
class Weights:
    """The weights of another training, as they were in its file at one moment.

    Attributes:
        origin: what is said of them.
        tensors: of G, D (if it is there) and the average, by network and name.
        sha256: of the file.
    """

    origin: Origin
    tensors: Mapping[str, Tensor]
    sha256: str

    @property
    def lineage(self) -> dict[str, Any]:
        """What config.json and card.json say: path, kimg, SHA-256 of the file; with a licence, that too."""
        origin, path = self.origin, self.origin.path
        given = {"licence": origin.licence, "attribution": origin.attribution} if origin.licence else {}
        path = path.resolve() if path.name in ("", "..") else path  # "." has no name anywhere else
        return {"from": str(path), "kimg": origin.nimg / 1000, "sha256": self.sha256, **given}


def find_origin(config: TrainConfig, out: Path | None = None) -> Origin | None:
    """The weights that `init_from` names; None without it. Only headers are read.

    Args:
        config: every knob.
        out: a folder of runs, in which the error names one that started from there.

    Raises:
        GanvasError: they are none, are damaged, or of another family.
    """
    given = config.transfer.init_from
    if given is None:
        return None
    origin = read_origin(given)
    if origin is None:
        path = lookup.folder_of(expand_user(given))
        begun = None if out is None else next(find_begun(out, given), None)
        resumes = "" if begun is None else f"ganvas train {quote(begun)} resumes the run that started from it."
        raise GanvasError(
            f"--from is {path}, which {'is no run' if path.exists() else 'does not exist'}.",
            expected=f"a run folder, one of its snapshots, or {lookup.FORMS}",
            fix=resumes or near_paths(path) or "ganvas runs lists the runs.",
        )
    own = config.network.family
    if origin.network.family != own:
        raise GanvasError(
            f"{origin.path} has networks of the family {origin.network.family}, and this training of {own}.",
            expected="one family: weights are taken over layer by layer",
            fix=f"train a recipe of the family {origin.network.family}; ganvas recipes lists them.",
        )
    if config.transfer.freeze_d and not origin.has_d:
        raise GanvasError(
            f"--freeze-d {config.transfer.freeze_d} with --from {origin.path}, which has no D.",
            expected="a run folder with its saved state: a snapshot has only G",
            fix="name the run, or leave --freeze-d out.",
        )
    return origin


def read_weights(config: TrainConfig, out: Path | None = None) -> Weights | None:
    """Reads the weights that `init_from` names, and computes the SHA-256 of the same bytes; None without it.

    Args:
        config, out: as for `find_origin`.

    Raises:
        GanvasError: as `find_origin`; also where the weights are not finite.
    """
    origin = find_origin(config, out)
    while origin is not None:
        stamp = _stamp(origin.file)
        tensors, sha256 = _read(origin)
        found = find_origin(config, out)
        if found is not None and found.nimg == origin.nimg and _stamp(found.file) == stamp:
            return Weights(origin, tensors, sha256)
        origin = found  # it still trains, and has saved in between
    return None


def _stamp(file: Path) -> tuple[int, int] | None:
    """What tells a file from the one that replaces it; None if it is not there."""
    with suppress(OSError):
        found = file.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _read(origin: Origin) -> tuple[dict[str, Tensor], str]:
    """The tensors of G, D (if it is there) and the average in its file, whose values are checked; and its SHA-256."""
    try:
        check_regular(origin.file)
        with safe_open(origin.file, "pt") as file:  # the state of the optimisers is not read
            names = [name for name in file.keys() if not origin.has_d or name.partition("/")[0] in PARTS]  # noqa: SIM118
            tensors = {name: file.get_tensor(name).clone() for name in names}  # not what is in the file later
        with origin.file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise GanvasError(
            f"{origin.file} cannot be read ({describe_reason(error)}).",
            expected="the weights of a run or of a generator",
            fix="name another run, or leave --from out.",
        ) from error
    if not origin.has_d:  # a snapshot's are for G and for its average
        tensors = {f"{part}/{name}": value for name, value in tensors.items() for part in ("G", "ema")}
    of_d = {name for name in tensors if name.startswith("D/")}  # may have buffers of whole numbers
    check_values(origin.path, {n: value for n, value in tensors.items() if n not in of_d or value.is_floating_point()})
    return tensors, sha256


def _part_of(tensors: Mapping[str, Item], part: str) -> dict[str, Item]:
    """Those of one network, without its name in front of theirs."""
    return {name.removeprefix(f"{part}/"): item for name, item in tensors.items() if name.startswith(f"{part}/")}


def note_growth(config: TrainConfig, origin: Origin) -> str:
    """A note where a run grows from less than its origin has reached, as after an earlier one from there; or none."""
    growth = growth_at_start(config)
    if growth is None or growth > 0.999 * origin.growth:
        return ""
    return (
        f"Note: the networks grow from {growth:g}; those of {origin.path} have grown to {origin.growth:.4g} by now: "
        "--new starts from there."
    )


def like_origin(config: TrainConfig) -> TrainConfig:
    """The configuration with the origin's value of each knob of the networks that it leaves open.

    That of a run leaves none open: it is resumed also where its origin is not there any more.
    """
    origin = find_origin(config) if None in dict(leaves(config.network)).values() else None
    return config if origin is None else fill_open(config, origin.network)


@dataclass(frozen=True)
class Fit:
    """What a network takes over from a saved one.

    Attributes:
        names: its tensors that are taken over -> their names in the saved network.
        of_z: its weights of z and a one-hot class, of which those of z are taken over -> their name there.
        means: its scales and shifts of norms that begin with the mean over the saved network's classes -> their names.
        taken, total: numbers of weights; the means are not counted.
        layers: its layers with a weight of two or more dimensions, but no embeddings.
        new: its layers and norms with weights that begin anew.
    """

    names: Mapping[str, str]
    of_z: Mapping[str, str]
    means: Mapping[str, str]
    taken: int
    total: int
    layers: frozenset[str]
    new: tuple[str, ...]

    @classmethod
    def of(cls, network: nn.Module, saved: Mapping[str, Sequence[int]], classes: int = 0) -> "Fit":
        """Compares a network with the shapes of the tensors of a saved one of its family, by their names.

        Args:
            network: G or D.
            saved: the shapes.
            classes: of the saved network; 0 if it is unconditional.
        """
        own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        lists = getattr(network, "matched_at_end", {})
        shifts = {layers: (first, _length(own, layers) - _length(saved, layers)) for layers, first in lists.items()}
        there = {_renumber(name, shifts): name for name in saved}
        names = {new: name for new, name in there.items() if own.get(new) == tuple(saved[name])}
        names.pop("growth", None)  # it is that of the schedule
        shapes = {new: tuple(saved[name]) for new, name in there.items()}
        of_z = {name: there[name] for name in _of_z(network, shapes, classes) if name not in names}
        means = {one: there[two] for one, two in _class_norms(network, shapes) if one not in names}
        weights = dict(network.named_parameters())
        new = dict.fromkeys(layer_of(name) or name for name in weights if name not in {*names, *of_z, *means})
        for bias in [name for name in names if name.endswith(".bias") and layer_of(name) in new]:
            del names[bias]  # it is of other weights
        taken = sum(weight.numel() for name, weight in weights.items() if name in names)
        taken += sum(len(weights[name]) * (shapes[name][1] - classes) for name in of_z)
        embeddings = {name for name, module in network.named_modules() if isinstance(module, nn.Embedding)}
        layers = {layer_of(name) or name for name, weight in weights.items() if weight.dim() > 1} - embeddings
        total = sum(weight.numel() for weight in weights.values())
        return cls(names, of_z, means, taken, total, frozenset(layers), tuple(new))

    @property
    def is_whole(self) -> bool:
        """Whether every weight is one of the saved network."""
        return not (self.new or self.of_z or self.means)

    def describe(self, title: str, origin: Origin) -> str:
        """A sentence: how many weights are taken over, which begin otherwise, and which layers are new."""
        more = f" and {len(self.new) - 6} more" if len(self.new) > 6 else ""
        of_z = f"; of {', '.join(map(layer_of, self.of_z))} those of z" if self.of_z else ""
        mean = "the mean over its classes" if origin.shape["classes"] else "its own for every class"
        means = f"; scales and shifts of norms: {mean}" if self.means else ""
        rest = f"; new: {', '.join(self.new[:6])}{more}" if self.new else ""
        return f"{title}: {self.taken:,} of {self.total:,} weights from {origin.path}{of_z}{means}{rest}."


def _of_z(network: nn.Module, saved: Mapping[str, Sequence[int]], classes: int) -> list[str]:
    """The weight [n, z + classes] of G's first dense layer, where one of as many n and z is saved; else none."""
    joined = next((module for module in network.children() if isinstance(module, OneHotConcat)), None)
    dense = next((one for one in network.named_modules() if isinstance(one[1], nn.Linear)), None)
    if joined is None or dense is None:
        return []
    name, layer = dense
    n, columns = layer.get_parameter("weight").shape
    fits = saved.get(f"{name}.weight") == (n, columns - joined.classes + classes)
    return [f"{name}.weight"] if fits else []


def _class_norms(network: nn.Module, saved: Mapping[str, Sequence[int]]) -> Iterable[tuple[str, str]]:
    """The scales and shifts of norms that may depend on the class -> the saved ones, for any number of classes."""
    own = network.state_dict()
    for prefix, module in network.named_modules():
        if isinstance(module, ClassBatchNorm2d):
            for of_classes, of_all in (("scale.weight", "norm.weight"), ("shift.weight", "norm.bias")):
                pair = [f"{prefix}.{of_classes}", f"{prefix}.{of_all}"]
                one, two = (next((name for name in pair if name in tensors), "") for tensors in (own, saved))
                if one and two and own[one].shape[-1] == saved[two][-1]:
                    yield one, two


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
        GanvasError: next to nothing fits, or more layers would be frozen than there are, or new ones.
    """
    generator, discriminator = networks.build(config.network, shape)
    if config.loss.spectral_norm:
        networks.apply_spectral_norm(discriminator)
    own = {"G": generator, "D": discriminator}
    fits = {title: Fit.of(own[title], shapes, origin.shape["classes"]) for title, shapes in origin.tensors.items()}
    difference = _describe_difference(config, shape, origin)
    for title, fit in fits.items():
        fitting = len(fit.layers.difference(fit.new))
        if fitting < MIN_SHARE * len(fit.layers):
            raise GanvasError(
                f"Only {fitting} of {len(fit.layers)} layers of {title} fit those of {origin.path}.",
                expected="networks of the same widths, both with --spectral-norm or both without",
                fix=difference or "name another run, or leave --from out.",
            )
    if n := config.transfer.freeze_d:
        if origin.growth < 1:
            raise GanvasError(
                f"--freeze-d {n} with --from {origin.path}, whose networks have not grown to their full size.",
                expected="first layers that have learned something: those of the full size have not",
                fix="train that run on, or leave --freeze-d out.",
            )
        device = torch.device("cpu")
        if n >= (count := count_layers(discriminator, shape, device)):
            where = "the longest head of D" if discriminator.parallel_heads else "D"
            raise GanvasError(
                f"--freeze-d is {n}, and {where} has {count} layers with weights.",
                expected=f"at most {count - 1}: the last one must learn",
            )
        frozen = freeze_first_layers(discriminator, n, shape, device)
        if new := [layer for layer in frozen if layer in fits["D"].new]:
            raise GanvasError(
                f"--freeze-d {n} would freeze {', '.join(new)} of D, which {origin.path} lacks.",
                expected="first layers that have learned something: random ones would stay random",
                fix=difference or "leave --freeze-d out.",
            )
    return _describe(fits, difference, origin)


def _describe(fits: Mapping[str, Fit], difference: str, origin: Origin) -> list[str]:
    notes = [difference] if difference and not all(fit.is_whole for fit in fits.values()) else []
    notes += [fit.describe(title, origin) for title, fit in fits.items()]
    if not origin.has_d:
        notes.append(f"{origin.path} {origin.why_no_d}: D is untrained. A run with its saved state has both.")
    return notes


def _describe_difference(config: TrainConfig, shape: Shape, origin: Origin) -> str:
    """What to set as in the origin so that more layers would fit; empty if nothing is known."""
    theirs, own = dict(leaves(origin.network)), dict(leaves(config.network))
    names = [name for name in own if name in theirs and name not in WITHOUT_SHAPE]
    other = {name: theirs[name] for name in names if theirs[name] != own[name]}
    if origin.size != (shape.height, shape.width):
        other["resolution"] = "x".join(map(str, origin.size))
    if origin.shape["channels"] != shape.channels:
        other["channels"] = origin.shape["channels"]
    if origin.spectral_norm not in (None, config.loss.spectral_norm):
        other["spectral_norm"] = origin.spectral_norm
    classes = origin.shape["classes"]
    if (classes > 0) != (shape.classes > 0):
        other["conditional"] = classes > 0
    knobs = f"It was made with {format_flags(other)}: with these more layers would fit." if other else ""
    differ = 0 < classes != shape.classes > 0
    counts = (
        f"It has {classes} classes and this training {shape.classes}: what is of one is not taken." if differ else ""
    )
    return " ".join(filter(None, (knobs, counts)))


@torch.no_grad()
def take_over(state: TrainState, weights: Weights) -> list[str]:
    """Copies into a new training's networks what fits of another's; what was taken and what not, in sentences."""
    origin = weights.origin
    fits: dict[str, Fit] = {}
    for part, network in (("G", state.game.G), ("D", state.game.D), ("ema", state.g_ema)):
        if saved := _part_of(weights.tensors, part):
            shapes = {name: tuple(value.shape) for name, value in saved.items()}
            fits[part] = Fit.of(network, shapes, origin.shape["classes"])
            _copy(fits[part], network, saved, origin.shape["classes"])
    if fits.pop("ema").is_whole:
        state.ema_warmup = 0.0  # it goes on; new layers would stay as they begin for too long
    return _describe(fits, _describe_difference(state.config, state.game.G.shape, origin), origin)


def _copy(fit: Fit, network: nn.Module, saved: Mapping[str, Tensor], classes: int) -> None:
    """Sets the tensors of a network that are not new; weights of a class in `of_z` begin around the saved mean."""
    own = network.state_dict()
    for name, other in fit.names.items():
        own[name].copy_(saved[other])
    for name, other in fit.means.items():
        value = saved[other].to(own[name])
        own[name].copy_(value.mean(0) if value.dim() > 1 else value)
    for name, other in fit.of_z.items():
        value, bias = saved[other].to(own[name]), f"{layer_of(name)}.bias"
        z = value.shape[1] - classes
        own[name][:, :z] = value[:, :z]
        if classes and own[name].shape[1] > z:
            own[name][:, z:] += value[:, z:].mean(1, keepdim=True)
        elif classes and bias in own:
            own[bias] += value[:, z:].mean(1)
