"""DINOv2 features, through transformers, from a folder of weights that the user supplies."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from ganvas.data import to_unit
from ganvas.errors import GanvasError
from ganvas.features.extraction import Extractor, hash_weights
from ganvas.features.eye import to_rgb
from ganvas.features.layers import IMAGENET_MEAN, IMAGENET_STD
from ganvas.reading import describe_reason, read_json

SIDE = 224


def dinov2_extractor(weights: Path | None, device: str = "cpu") -> Extractor:
    """The class token after the last layer norm (Oquab et al. 2023), with which Stein et al. 2023 compare generators.

    Images are resized to 224×224, bicubic and antialiased, and normalised with ImageNet's mean and deviation.

    Args:
        weights: a folder with config.json and model.safetensors, as on the Hugging Face hub.
        device: where it computes.

    Raises:
        GanvasError: there is no such folder, transformers cannot read it, or it is of another network.
    """
    if weights is None or not (weights / "config.json").is_file():
        raise GanvasError(
            "The DINOv2 features need their weights." if weights is None else f"{weights} holds no config.json.",
            expected="--weights FOLDER, with config.json and model.safetensors",
            fix="for instance a copy of facebook/dinov2-base from the Hugging Face hub. Without it: --features eye.",
        )
    try:
        from transformers import Dinov2Model  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise GanvasError(
            f"DINOv2 comes from transformers, which cannot be imported here ({error}).",
            fix="pip install 'ganvas[dino]'. Without it: --features eye.",
        ) from error
    target = torch.device(device)
    try:
        if (kind := read_json(weights / "config.json").get("model_type")) != "dinov2":
            raise ValueError(f"its config.json is of a {kind!r}")
        network, found = Dinov2Model.from_pretrained(
            weights, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if missing := sorted(found["missing_keys"]):  # transformers draws these at random
            raise ValueError(f"its weights lack {missing[0]}")
    except (OSError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise GanvasError(
            f"{weights} is not a DINOv2 network: {describe_reason(error)}.",
            expected="config.json of the model type dinov2 (without registers), model.safetensors",
        ) from error
    network = network.eval().to(target)
    mean, deviation = (torch.tensor(part, device=target)[:, None, None] for part in (IMAGENET_MEAN, IMAGENET_STD))

    def extract(images: Tensor) -> Tensor:
        pixels = to_rgb(to_unit(images.to(target)))
        resized = F.interpolate(pixels, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(-1, 1)
        return network((resized / 2 + 0.5 - mean) / deviation).pooler_output.float().cpu()

    return Extractor("dinov2", hash_weights(network), "to 224×224, bicubic", extract)
