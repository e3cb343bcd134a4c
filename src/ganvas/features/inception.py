"""The Inception features of the published FID, through torch-fidelity, from a weights file that the user supplies."""

from pathlib import Path

import torch
from torch import Tensor

from ganvas.data import to_uint8
from ganvas.data.cached.cache_files import hash_file
from ganvas.errors import GanvasError
from ganvas.features.extraction import Extractor
from ganvas.features.eye import to_rgb

OFFICIAL_SHA256 = "6726825d"
"""The first digits of the official weights' SHA-256: TensorFlow's Inception of 2015-12-05, from torch-fidelity."""

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"


def inception_extractor(weights: Path | None, device: str = "cpu") -> Extractor:
    """The extractor of FID and KID (Heusel et al. 2017): uint8 images resized to 299×299 as TensorFlow 1 does.

    Args:
        weights: the file of torch-fidelity's release v0.2.0; its SHA-256 is checked before it is loaded.
        device: where it computes.

    Raises:
        GanvasError: no file, another file, or torch-fidelity cannot be imported.
    """
    if weights is None or not weights.is_file():
        raise GanvasError(
            "The Inception features need their weights." if weights is None else f"There is no file {weights}.",
            expected=f"--weights {WEIGHTS_FILE}",
            fix="download it from torch-fidelity's release v0.2.0 on GitHub. Without it: --features eye.",
        )
    found = hash_file(weights)
    if not found.startswith(OFFICIAL_SHA256):
        raise GanvasError(
            f"{weights} does not hold the Inception weights of the published FID: its SHA-256 begins {found[:16]}.",
            expected=f"{WEIGHTS_FILE}, whose SHA-256 begins {OFFICIAL_SHA256}",
            fix="download it again. A number from other weights would not be a FID.",
        )
    try:
        from torch_fidelity import FeatureExtractorInceptionV3  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise GanvasError(
            f"The Inception features come from torch-fidelity, which cannot be imported here ({error}).",
            expected="torch-fidelity, and a torchvision that fits this PyTorch",
            fix="pip install 'ganvas[fid]'. Without it: --features eye.",
        ) from error
    target = torch.device(device)
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights)).to(target)

    def extract(images: Tensor) -> Tensor:
        if images.shape[1] != 3:
            images = to_uint8(to_rgb(images.float() / 127.5 - 1))
        return network(images.to(target))[0].float().cpu()

    resize = "to 299×299 as TensorFlow 1 (torch-fidelity)"
    return Extractor("inception", found[:16], resize, extract)
