"""Starts a training from another one: G, D and the average are taken over where their shapes agree.

First and last layers of another size or number of channels are built anew, as in `TrainState.build`. Optimisers start
fresh. The first layers of D can be frozen: they then keep what they have learned (FreezeD: Mo et al. 2020,
arXiv 2002.10964).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ganvas.config import Network, TrainConfig, leaves, replace
from ganvas.config.flags import format_flags
from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.networks import Shape
from ganvas.reading import near_paths
from ganvas.runs import checkpoint, lookup, state_metadata
from ganvas.runs.card import (
    WEIGHTS,
    is_run,
    is_snapshot,
    licence_of,
    read_card,
    read_network,
    read_weight_shapes,
    weights_file,
)
from ganvas.runs.folder import Run
from ganvas.training.state import TrainState
from ganvas.values import expand_user

MIN_SHARE = 0.05
"""Of a network's weights must be taken over, or the other training is surely not the one that was meant."""


@dataclass(frozen=True)
class Origin:
    """Where the weights come from.

    Attributes:
        path: the run or the snapshot, as it was given.
        file: its state, with G, D and the average; or a snapshot's weights, with the average alone.
        network: the configuration of its networks.
        nimg: real images shown to its D.
        has_d: whether D is there too.
        licence, attribution: of the weights, where they are given under a licence; those made of them keep both.
    """

    path: Path
    file: Path
    network: Network
    nimg: int
    has_d: bool = False
    licence: str = ""
    attribution: str = ""

    def to_json(self) -> dict[str, Any]:
        """The lineage in config.json and card.json: path, kimg, SHA-256 of the file; with a licence, that too."""
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        given = {"licence": self.licence, "attribution": self.attribution} if self.licence else {}
        return {"from": str(self.path), "kimg": self.nimg / 1000, "sha256": digest, **given}


def find_origin(config: TrainConfig) -> Origin | None:
    """The weights that `init_from` names; None without it. Only headers are read.

    Raises:
        GanvasError: they are none, are damaged, or of another family.
    """
    if config.transfer.init_from is None:
        return None
    path = expand_user(to_path(config.transfer.init_from, "a run or a snapshot"))
    path = path.parent if path.name in WEIGHTS else path
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
        nimg = state_metadata.read_metadata(run.state_file)["nimg"]
        licence, attribution = licence_of(run.metadata.get("lineage"))
        return Origin(run.path, run.state_file, run.config.network, nimg, True, licence, attribution)
    if not run.snapshots:
        raise GanvasError(f"{run.path} has no snapshot yet.", fix="wait for its first one, or name another run.")
    return _of_snapshot(run.path, run.latest_snapshot)


def _of_snapshot(path: Path, snapshot: Path) -> Origin:
    read_weight_shapes(snapshot)
    card = read_card(snapshot)
    network = read_network(snapshot, card)
    return Origin(path, weights_file(snapshot), network, card["nimg"], False, *licence_of(card))


def like_origin(config: TrainConfig) -> TrainConfig:
    """The configuration with the origin's value of each knob of the networks that it leaves open."""
    origin = find_origin(config)
    if origin is None:
        return config
    theirs, own = dict(leaves(origin.network)), dict(leaves(config.network))
    return replace(config, **{name: theirs[name] for name, value in own.items() if value is None and name in theirs})


def differing_knobs(config: TrainConfig, origin: Origin) -> str:
    """A sentence about knobs of the networks that are set otherwise than the origin's, whose layers are built anew."""
    theirs, own = dict(leaves(origin.network)), dict(leaves(config.network))
    other = {name: theirs[name] for name, value in own.items() if theirs.get(name, value) != value}
    return f"Its networks were made with {format_flags(other)}: with these more layers would fit." if other else ""


def take_over(state: TrainState, origin: Origin) -> list[str]:
    """Copies into a new training's networks what fits of another's; what was taken and what not, in sentences.

    Raises:
        GanvasError: the file is damaged, or next to nothing of it fits.
    """
    tensors = checkpoint.load(origin.file)[0] if origin.has_d else _as_state(load_file(origin.file))
    notes = [note for note in [differing_knobs(state.config, origin)] if note]
    for name, network in (("G", state.game.G), ("D", state.game.D), ("ema", state.g_ema)):
        saved = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        if saved:
            note = _copy_matching(network, saved, origin, name, state.config)
            notes += [note] if name != "ema" else []
    if not origin.has_d:
        notes.append(f"{origin.path} is a snapshot, without D: D is untrained. A run folder has both.")
    return notes


def _as_state(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A snapshot's weights for G and for its average."""
    return {f"{part}/{name}": value for name, value in weights.items() for part in ("G", "ema")}


@torch.no_grad()
def _copy_matching(
    network: nn.Module, saved: Mapping[str, Tensor], origin: Origin, title: str, config: TrainConfig
) -> str:
    own = network.state_dict()
    fitting = {name for name, value in own.items() if name in saved and saved[name].shape == value.shape}
    weights = dict(network.named_parameters())
    taken = sum(weights[name].numel() for name in fitting & weights.keys())
    total = sum(weight.numel() for weight in weights.values())
    if taken < MIN_SHARE * total:
        raise GanvasError(
            f"Only {taken:,} of {total:,} weights of {title} fit those of {origin.path}.",
            expected="networks of the same widths",
            fix=differing_knobs(config, origin) or "train at the size of its images.",
        )
    for name in fitting:
        own[name].copy_(saved[name])
    new = sorted({name.rpartition(".")[0] or name for name in weights.keys() - fitting})
    rest = f"; new: {', '.join(new[:6])}{f' and {len(new) - 6} more' if len(new) > 6 else ''}" if new else ""
    return f"{title}: {taken:,} of {total:,} weights from {origin.path}{rest}."


def freeze_first_layers(discriminator: nn.Module, n: int, shape: Shape, device: torch.device) -> str:
    """Freezes the first n layers with weights that an image passes in D; which ones, in a sentence.

    Raises:
        GanvasError: D has no n layers beside its last one.
    """
    names = _layers_in_order(discriminator, shape, device)
    if n >= len(names):
        raise GanvasError(
            f"--freeze-d is {n}, and D has {len(names)} layers with weights.",
            expected=f"at most {len(names) - 1}: the last one must learn",
        )
    for name, weight in discriminator.named_parameters():
        if _layer_of(name) in names[:n]:
            weight.requires_grad_(False)
    return f"Frozen in D: {', '.join(names[:n])}."


def _layers_in_order(discriminator: nn.Module, shape: Shape, device: torch.device) -> list[str]:
    """The names of D's layers that have weights, in the order in which an image passes them."""
    order: dict[str, None] = {}
    layers = {_layer_of(name) for name, _ in discriminator.named_parameters()}
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        for name, module in discriminator.named_modules()
        if name in layers
    ]
    labels = torch.zeros(2, dtype=torch.long, device=device) if shape.classes else None
    training = discriminator.training
    try:
        with torch.no_grad(), torch.random.fork_rng():
            discriminator.eval()(discriminator.d_input(torch.zeros(2, *shape[:3], device=device)), labels)  # type: ignore[operator]
    finally:
        discriminator.train(training)
        for hook in hooks:
            hook.remove()
    return list(order)


def _layer_of(parameter: str) -> str:
    """The name of the layer to which a parameter belongs, also where it is parametrised, as by spectral norm."""
    return parameter.rpartition(".")[0].partition(".parametrizations")[0]
