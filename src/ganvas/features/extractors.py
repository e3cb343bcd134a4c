"""The feature extractors by name: the eye, Lite0, a classifier of the data, Inception, DINOv2, or the user's own."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ganvas import user_code
from ganvas.data import to_unit
from ganvas.errors import GanvasError
from ganvas.features.dinov2 import dinov2_extractor
from ganvas.features.efficientnet import load_lite0
from ganvas.features.extraction import Extractor, describe_resize, hash_weights, resize_shorter_side
from ganvas.features.eye import load_eye, to_rgb
from ganvas.features.inception import inception_extractor
from ganvas.reading import check_regular, describe_reason
from ganvas.specs import without_folder
from ganvas.values import to_text

EXTRACTORS = ("eye", "eye-bf16", "lite0", "classifier", "inception", "dinov2")

EYE_SIDES = (16, 128)
"""The eye takes images whose shorter side is in this range; others are resized to the nearer end."""

EYE_LAYERS = ("relu1_2", "relu2_2", "relu3_2")
"""Its feature layers: those that rank image damage as networks trained on ImageNet do (docs/decisions/0011)."""

LITE0_SIDES = (64, 224)
"""Likewise for Lite0: it was trained at 224, and at 64 its last map is 2×2."""


def load_extractor(name: str, *, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """Loads the extractor with this name.

    Args:
        name: eye; eye-bf16; lite0; inception or dinov2, with the file or folder of their `weights`; or the spec
            (`ganvas.user_code`) of a `torch.nn.Module`, of its class, or of a function that returns one (see
            `module_extractor`).
        weights: of inception or dinov2, or a safetensors file for the user's own module.
        device: where it computes.

    Raises:
        GanvasError: no such extractor, or its weights are missing or wrong.
    """
    to_text(name, "features", f"one of {', '.join(EXTRACTORS)}; or your own, {user_code.FORM}")
    if name in ("eye", "eye-bf16", "lite0", "classifier") and weights is not None:
        raise GanvasError(f"{name} comes with its weights; --weights names {weights}.", fix="leave one of them out.")
    if name in ("eye", "eye-bf16"):
        return eye_extractor(device, torch.float32 if name == "eye" else torch.bfloat16)
    if name == "lite0":
        return lite0_extractor(device)
    if name == "inception":
        return inception_extractor(weights, device)
    if name == "dinov2":
        return dinov2_extractor(weights, device)
    if not user_code.is_spec(name):
        raise user_code.unknown(f"There is no extractor '{name}'.", name, EXTRACTORS)
    network, who = user_code.load(name), user_code.title(name)
    expected = "a torch.nn.Module, its class, or a function without positional arguments that returns one"
    if callable(network) and not isinstance(network, nn.Module):
        network = user_code.call(name, network, expected=expected)
    if not isinstance(network, nn.Module):
        raise GanvasError(f"{who} gives a {type(network).__name__}.", expected=expected)
    if weights is not None:
        try:
            check_regular(weights)
            network.load_state_dict(load_file(weights))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise GanvasError(
                f"{weights} does not fit {who}: {describe_reason(error)}.",
                expected="a safetensors file of its state_dict",
            ) from error
    return module_extractor(network, name, device=device)


def eye_extractor(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Extractor:
    """The embedded eye network; its features are the means of EYE_LAYERS over the image.

    Args:
        device: where it computes.
        dtype: of its convolutions. bfloat16 is faster where the processor supports it and changes features by up to
            0.4 % (docs/decisions/0011): that is another extractor, `eye-bf16`, whose numbers are not comparable.
    """
    network = load_eye()
    target = torch.device(device)
    network_there = network if (target.type, dtype) == ("cpu", torch.float32) else _copy_to(network, target, dtype)

    def extract(images: Tensor) -> Tensor:
        pixels = to_rgb(resize_shorter_side(images.to(target), EYE_SIDES)).to(dtype)
        if target.type == "cpu":
            pixels = pixels.contiguous(memory_format=torch.channels_last)  # oneDNN's convolutions are faster with it
        maps = network_there.activations(pixels, EYE_LAYERS)
        return torch.cat([maps[name].mean((2, 3), dtype=torch.float32) for name in EYE_LAYERS], dim=1).cpu()

    name = "eye" if dtype == torch.float32 else "eye-bf16"
    return Extractor(name, hash_weights(network), describe_resize(EYE_SIDES), extract, {"layers": " ".join(EYE_LAYERS)})


def lite0_extractor(device: str = "cpu") -> Extractor:
    """EfficientNet-Lite0, trained on ImageNet; its features are the means of its last map over the image, 1280 numbers.

    Args:
        device: where it computes.

    Raises:
        GanvasError: the package with the weights is missing, or its file is damaged.
    """
    network, target = load_lite0(), torch.device(device)
    digest = hash_weights(network)
    network.to(target).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def extract(images: Tensor) -> Tensor:
        return network.pool(to_rgb(resize_shorter_side(images.to(target), LITE0_SIDES))).cpu()

    return Extractor("lite0", digest, describe_resize(LITE0_SIDES), extract)


def module_extractor(network: nn.Module, name: str = "", *, device: str = "cpu") -> Extractor:
    """An extractor from the user's own module: float [n c h w] in [-1, 1], not resized -> [n f]; [n f …] is flattened.

    Args:
        name: its spec, if it has one.

    The extractor raises a GanvasError if the module fails on the images, gives something else than features [n f],
    or other features when it is called again, as with dropout.
    """
    target = torch.device(device)
    network = network.eval().to(target)
    name = name or user_code.describe(type(network))
    who, checked = user_code.title(name), False

    def extract(images: Tensor) -> Tensor:
        nonlocal checked
        n, channels, height, width = images.shape
        pixels = to_unit(images.to(target))
        hint = f"the images are {height}×{width}×{channels}: resize them in forward if it needs another size."
        with user_code.quote_errors(name, f"fails on images {[*images.shape]}", hint):
            features = network(pixels)
        if not isinstance(features, Tensor) or features.dim() < 2 or len(features) != n:
            tensor = isinstance(features, Tensor)
            found = f"features {[*features.shape]}" if tensor else f"a {type(features).__name__}"
            raise GanvasError(
                f"{who} gives {found} for {n} images.",
                expected=f"a tensor [{n}, f]: one row of features for each image",
                fix="" if tensor else "return one tensor of it.",
            )
        if not checked and not torch.allclose(features, network(pixels), rtol=1e-3, atol=1e-4, equal_nan=True):
            raise GanvasError(
                f"{who} gives other features when it is called again on the same images.",
                expected="features that depend on the image alone",
                fix="leave random numbers out of forward; nn.Dropout does nothing here.",
            )
        checked = True
        return features.float().flatten(1).cpu()

    facts = {"network": without_folder(who), "code": _hash_code(network, name)}
    return Extractor(user_code.parse(name).name, hash_weights(network), "not resized", extract, facts, spec=name)


def _hash_code(network: nn.Module, spec: str) -> str:
    """16 hexadecimal digits of what computes something else with equal weights: source, layers, plain attributes."""
    if user_code.parse(spec).source == user_code.SESSION:
        user_code.load(spec)  # its source text is known only once it is loaded
    ours, saved = vars(nn.Module()).keys(), network.state_dict().keys()
    values = [
        (f"{name}.{key}", value)
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if key not in ours
    ]
    values += [(name, buffer) for name, buffer in network.named_buffers() if name not in saved]
    state = "".join(f"\n{name} {text}" for name, value in values if (text := _describe_value(value)))
    return hashlib.sha256(f"{user_code.digest(spec)}{network!r}{state}".encode()).hexdigest()[:16]


def _describe_value(value: Any) -> str:
    """A plain value as text; empty for other objects, for None, and for tensors that `forward` has kept."""
    if isinstance(value, Tensor):
        if not value.is_inference():
            with suppress(RuntimeError, TypeError):  # it is sparse, or has no content
                content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(content.tobytes()).hexdigest()}"
        return ""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, list | tuple):
        parts = [_describe_value(one) for one in value]
        return f"({','.join(parts)})" if any(parts) else ""
    plain = bool | int | float | complex | str | bytes | np.generic | torch.dtype
    return repr(value) if isinstance(value, plain) else ""


def _copy_to(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    copy = type(network)()
    copy.load_state_dict(network.state_dict())
    return copy.eval().requires_grad_(False).to(device, dtype)
