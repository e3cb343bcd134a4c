"""The state of a training in one file: networks, average, optimisers and metadata.

The file is safetensors, with the metadata as JSON in its header; it is replaced atomically, so that a run killed at
any instant resumes from the last one written. Random numbers need no state: each round seeds itself from (seed,
nimg), and the sampler's position is nimg.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from ganvas.errors import GanvasError
from ganvas.files import atomic_file, make_folder
from ganvas.reading import describe_reason
from ganvas.runs import state_metadata

Parts = Mapping[str, nn.Module | Optimizer]


def save(path: Path, parts: Parts, metadata: Mapping[str, Any]) -> None:
    """Writes the named networks and optimisers, and JSON metadata, to one file, atomically."""
    on_cpu = {name: tensor.cpu().contiguous() for name, tensor in named_tensors(parts).items()}
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        metadata = {"format": state_metadata.FORMAT, **metadata}
        temporary.write_bytes(serialize(on_cpu, metadata={"metadata": json.dumps(metadata)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a file that `save` wrote.

    Raises:
        GanvasError: the file is damaged, or another version of Ganvas wrote it.
    """
    with state_metadata.open_state(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, state_metadata.parse_metadata(file, path)  # noqa: SIM118


def named_tensors(parts: Parts) -> dict[str, Tensor]:
    """The tensors of all parts, detached and not copied, as "part/name"."""
    return {f"{name}/{key}": t.detach() for name, part in parts.items() for key, t in _tensors_of(part).items()}


def restore(parts: Parts, saved: Mapping[str, Tensor]) -> None:
    """Copies tensors from `load` or `named_tensors` into the parts, in place.

    Raises:
        GanvasError: the tensors do not fit the parts.
    """
    for name, part in parts.items():
        tensors = {key.removeprefix(f"{name}/"): t for key, t in saved.items() if key.startswith(f"{name}/")}
        try:
            if isinstance(part, Optimizer):
                _restore_optimiser(part, tensors)
            else:
                part.load_state_dict(tensors)
        except (RuntimeError, LookupError, ValueError) as error:
            raise GanvasError(
                f"The saved state does not fit {name} ({describe_reason(error)}).",
                expected="a state saved by the same version with the same configuration",
                fix="start a new run with another --name.",
            ) from error


def _tensors_of(part: nn.Module | Optimizer) -> dict[str, Tensor]:
    if isinstance(part, Optimizer):
        state = part.state_dict()["state"]
        return {f"{index}/{key}": value for index, entry in state.items() for key, value in entry.items()}
    return part.state_dict()


def _restore_optimiser(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    own = {"step", "square_avg"} if isinstance(optimizer, RMSprop) else {"step", "exp_avg", "exp_avg_sq"}
    keys: dict[int, set[str]] = {}
    optimizer.state.clear()  # a state saved before the first step has no moments
    for name, tensor in tensors.items():
        index, key = name.split("/")
        parameter = parameters[int(index)]
        keys.setdefault(int(index), set()).add(key)
        if not tensor.is_floating_point() or tensor.shape not in (parameter.shape, *([()] if key == "step" else [])):
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}")
        if tensor.shape == parameter.shape:  # a moment has its parameter's memory layout, or a step would differ
            tensor = torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
        elif key == "step" and optimizer.defaults.get("fused"):
            tensor = tensor.to(parameter.device)
        optimizer.state[parameter][key] = tensor
    if any(found != own for found in keys.values()):
        raise ValueError("moments are missing")
