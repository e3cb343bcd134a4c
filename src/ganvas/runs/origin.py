"""The run or generator from which a training starts (`--from`), before its weights are read; without PyTorch.

A run tells more than a generator: it has D too, as long as it has its saved state.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.config import Network, TrainConfig, leaves, replace
from ganvas.errors import GanvasError
from ganvas.files import to_path
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
from ganvas.runs.folder import Run, list_runs
from ganvas.values import expand_user


@dataclass(frozen=True)
class Origin:
    """Where the weights come from.

    Attributes:
        path: the run, or the snapshot as it was given.
        file: its state, with G, D and the average; or a snapshot's weights, with the average alone.
        recipe, data: those of its training; a run's data as they were given, a generator's by their name.
        network: the configuration of its networks.
        shape: channels, height and width of its images, and classes; 0 of an unconditional one.
        nimg: real images shown to its D.
        growth: how far its networks have grown; 1 is their full size.
        tensors: the shapes of those of G, and of D if the file has it, by network and name.
        spectral_norm: whether its D has it; None without a D.
        d_networks: the frozen networks that its G was trained through (`ganvas.runs.card.d_networks_of`).
        licence, attribution: of the weights, where they are given under a licence; those made of them keep both.
        why_no_d: in words; empty if D is there.
    """

    path: Path
    file: Path
    recipe: str
    data: str
    network: Network
    shape: Mapping[str, int]
    nimg: int
    growth: float
    tensors: Mapping[str, Mapping[str, Sequence[int]]]
    spectral_norm: bool | None = None
    d_networks: Sequence[dict[str, Any]] = ()
    licence: str = ""
    attribution: str = ""
    why_no_d: str = ""

    @property
    def has_d(self) -> bool:
        """Whether D is there too."""
        return "D" in self.tensors

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its images."""
        return self.shape["height"], self.shape["width"]


def read_origin(init_from: object) -> Origin | None:
    """What a run or a generator says of itself; None if the path is neither. Only headers are read.

    Raises:
        GanvasError: it is damaged, or a run that has saved nothing yet.
    """
    path = lookup.folder_of(expand_user(to_path(init_from, "a run or a snapshot")))
    folder = lookup.find_local(path)
    if is_run(folder):
        return _of_run(Run(folder))
    return _of_snapshot(path, folder) if is_snapshot(folder) else None


def _of_run(run: Run) -> Origin:
    recipe, config, file = run.metadata["recipe"], run.config, run.state_file
    if not file.exists():
        if not run.snapshots:
            raise GanvasError(f"{run.path} has no snapshot yet.", fix="wait for its first one, or name another run.")
        origin = _of_snapshot(run.path, run.latest_snapshot)
        why = "has no saved state, and a snapshot is without D"
        return dataclasses.replace(origin, recipe=recipe, data=config.dataset.data, why_no_d=why)
    state = state_metadata.read_metadata(file)
    licence, attribution = licence_of(run.metadata.get("lineage"))
    return Origin(
        path=run.path,
        file=file,
        recipe=recipe,
        data=config.dataset.data,
        network=config.network,
        shape=run.metadata["data"]["shape"],
        nimg=state["nimg"],
        growth=read_growth(file, "ema/growth"),
        tensors=_read_shapes(file),
        spectral_norm=config.loss.spectral_norm,
        d_networks=d_networks_of(state.get("d_networks"), config.network),
        licence=licence,
        attribution=attribution,
    )


def _of_snapshot(path: Path, snapshot: Path) -> Origin:
    card, file = read_card(snapshot), weights_file(snapshot)
    network, (licence, attribution) = read_network(snapshot, card), licence_of(card)
    return Origin(
        path=path,
        file=file,
        recipe=card["recipe"],
        data=card["data"]["name"],
        network=network,
        shape=card["shape"],
        nimg=card["nimg"],
        growth=read_growth(file, "growth"),
        tensors={"G": read_weight_shapes(snapshot)},
        d_networks=d_networks_of(card.get("d_networks"), network),
        licence=licence,
        attribution=attribution,
        why_no_d="is a snapshot, without D",
    )


def _read_shapes(state: Path) -> dict[str, dict[str, Sequence[int]]]:
    """The shapes of the tensors of G and D in a state file, of which only the header is read."""
    with state_metadata.open_state(state, "numpy") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {
        part: {name.removeprefix(f"{part}/"): shape for name, shape in shapes.items() if name.startswith(f"{part}/")}
        for part in ("G", "D")
    }


def find_begun(runs: Path, init_from: object) -> Iterator[Run]:
    """The runs that started from the same run or generator, newest first: of a folder of runs, or that folder itself.

    The other one need not be there any more.
    """
    given = str(to_path(init_from, "a run or a snapshot"))
    for run in [Run(runs)] if (runs / "config.json").exists() else list_runs(runs):
        if lookup.is_same_place(run.config.transfer.init_from, given):
            yield run


def fill_open(config: TrainConfig, network: Network) -> TrainConfig:
    """The configuration with another network's value of each knob of the networks that it leaves open."""
    theirs = dict(leaves(network))
    names = [name for name, value in leaves(config.network) if value is None and name in theirs]
    return replace(config, **{name: theirs[name] for name in names})
