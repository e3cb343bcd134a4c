"""Pretrained weights of the feature networks: downloaded once by name, or read from a file of the user."""

import warnings
import zipfile
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ganvas.data.cached import cache_files
from ganvas.data.downloads import RemoteFile, fetch, is_complete
from ganvas.errors import GanvasError
from ganvas.features import layers
from ganvas.features.layers import FeatureNetwork
from ganvas.files import explain_os_error, make_folder
from ganvas.reading import check_regular, describe_reason

PUBLISHED = {
    "vgg19": RemoteFile(
        ("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",),
        574_673_361,
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
    "squeezenet": RemoteFile(
        ("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",),
        4_958_839,
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
}
"""torchvision's, trained on ImageNet (BSD-3-Clause)."""


def load_network(name: str, weights: Path | None = None) -> FeatureNetwork:
    """Loads eye, vgg19 or squeezenet; the latter two with weights from a file, or downloaded.

    Raises:
        GanvasError: no such file, not this network's weights, or they cannot be downloaded.
    """
    if name == "eye":
        if weights is not None:
            raise GanvasError("The eye comes with its own weights.", fix="leave --weights out, or add --network vgg19.")
        return layers.build_eye()
    build = {"vgg19": layers.build_vgg19, "squeezenet": layers.build_squeezenet}[name]
    return build(load_weights(Path(weights or download_weights(name))))


def load_weights(path: Path, *, sha256: str = "", fix: str = "") -> dict[str, Tensor]:
    """Loads a state dict from .safetensors, or from .pth by PyTorch's restricted unpickler.

    Args:
        path: the file.
        sha256: the SHA-256 that it must have, hexadecimal; empty: any.
        fix: what to do about a file that is missing or damaged, for an error.

    Raises:
        GanvasError: no such file, another SHA-256, or not a file of weights.
    """
    try:
        _check_size(path)
        if sha256 and (actual := cache_files.hash_file(path)) != sha256:
            raise GanvasError(
                f"{path} is damaged: its SHA-256 begins {actual[:16]}.", expected=f"{sha256[:16]}…", fix=fix
            )
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):
                found = torch.load(path, map_location="cpu", weights_only=True)
    except GanvasError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        known = isinstance(error, OSError | SafetensorError | ValueError | RuntimeError)
        # PyTorch's message about a pickle advises to unpickle it anyway
        reason = describe_reason(error) if known else "it is not a pickle, or holds more than tensors"
        raise GanvasError(
            f"{path} cannot be read as weights: {reason}.",
            expected="a .safetensors or .pth file of a state dict",
            fix=fix,
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise GanvasError(f"{path} holds something other than weights.", expected="names and their tensors")
    return found


def _check_size(path: Path) -> None:
    """Refuses an archive that unpacks to more than its own size; PyTorch packs nothing in it.

    Raises:
        OSError: it is no regular file.
        ValueError: it is refused.
    """
    size = check_regular(path).st_size
    if path.suffix != ".safetensors" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(info.file_size > size for info in archive.infolist()):
                raise ValueError("it unpacks to more than its size")


def download_weights(name: str) -> Path:
    """The published file of a network, from the cache or downloaded; its SHA-256 is checked.

    Raises:
        GanvasError: the download failed, the file has another SHA-256, or the cache cannot be written.
    """
    published = PUBLISHED[name]
    path = cache_files.root() / "weights" / published.name
    if is_complete(published, path):  # also where the cache is only read
        return path
    make_folder(path.parent)
    fix = f"download it elsewhere and give it with --weights {path.name}; or use --network eye."
    try:
        with FileLock(f"{path}.lock"):
            fetch(published, path, what=f"The network {name}", fix=fix)
    except OSError as error:
        raise explain_os_error(error, path) from error
    return path
