"""--to web: one HTML file that draws in any browser, from the disk and without a network.

It has the generator as ONNX, ONNX Runtime Web, which runs it, and what makes the latents of seeds as PyTorch does
(web/rng.js): so a seed gives the image that `ganvas sample` draws. Weights are in half precision where every pixel
compared stays within `HALF_LIMIT` of the run's.
"""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.exporting import web_runtime
from ganvas.exporting.exported import Exported, check_suffix
from ganvas.exporting.onnx_file import Session, convert, halve
from ganvas.exporting.parity import Draw, Parity, check, compare_with_own
from ganvas.exporting.parts import mapping_and_synthesis, needs_class_again, whole
from ganvas.exporting.web_bundle import render
from ganvas.files import check_writable, format_bytes, make_folder, write_text
from ganvas.latent_space.axes import directions
from ganvas.sampling import Sampler

MAX_BYTES = 200_000_000
"""Largest networks in a page: browsers read a text of half a gigabyte at most."""

HALF_LIMIT = 0.5
"""Most pixel values, of 255, by which a pixel may differ before weights are in half precision without being asked for:
after rounding, it then differs by 1 at most."""

DIRECTIONS = 8


def write(sampler: Sampler, path: Path, options: Any) -> Exported:
    """Writes the page.

    Raises:
        GanvasError: the network cannot be exported, draws other images, is too large, or the file cannot be written.
    """
    check_suffix(path, ".html")
    check_writable(path)
    generator = sampler.generator
    mapped = generator.style_space != "z"
    if mapped and needs_class_again(generator):
        raise GanvasError(
            "This generator takes the class again where it draws styles, and a page gives it the styles alone.",
            expected="a draw that makes images of the styles alone",
            fix="--to onnx or --to pt2, which have the generator as a whole.",
        )
    parts = mapping_and_synthesis(generator) if mapped else [whole(generator)]
    names = ["mapping", "images"] if mapped else ["images"]
    models = [convert(part) for part in parts]
    _check_size(path, sum(model.ByteSize() for model in models) // (2 if options.half else 1))
    full = dict(zip(names, (model.SerializeToString() for model in models), strict=True))
    for model in models:
        halve(model)
    networks = dict(zip(names, (model.SerializeToString() for model in models), strict=True))
    parity, half = compare_with_own(path.name, sampler, _drawer(networks)), True
    if options.half:
        check(parity, half=True)
    elif not parity.largest <= HALF_LIMIT:  # NaN too
        networks, half = full, False
        parity = compare_with_own(path.name, sampler, _drawer(networks))
        check(parity)
    title = f"{sampler.card.recipe} · {sampler.card.data['name']}"
    page = render(title, _describe(sampler, path, networks, parity, half), networks)
    make_folder(path.parent)
    write_text(path, page)
    return Exported("web", (path,), (parity,), (_note(half, parity), f"Open {path} in a browser; it needs no network."))


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise GanvasError(
            f"The networks in {path} would have {format_bytes(size)}.",
            expected=f"at most {format_bytes(MAX_BYTES)}, which browsers can read in one page",
            fix="--half, or --to onnx, for programs without a browser.",
        )


def _drawer(networks: dict[str, bytes]) -> Draw:
    """What draws as the page does: points are truncated first, then drawn as they are."""
    sessions = {name: Session(content) for name, content in networks.items()}

    def draw(z: Tensor, labels: Tensor | None, truncation: float) -> tuple[np.ndarray, np.ndarray]:
        if "mapping" in sessions:
            return sessions["images"].draw_styles(sessions["mapping"].run("styles", z, labels, truncation))
        return sessions["images"].draw(truncation * z, labels, 1.0)

    return draw


def _note(half: bool, parity: Parity) -> str:
    if half:
        return f"Weights are in half precision: {parity.mean:.2g} of 255 on average."
    return f"Weights are in full precision: in half precision some pixel differs by more than {HALF_LIMIT:g} of 255."


def _describe(sampler: Sampler, path: Path, networks: dict[str, bytes], parity: Parity, half: bool) -> dict[str, Any]:
    """What page.js reads."""
    card, generator = sampler.card, sampler.generator
    shape = card.shape
    styles = sampler.latents([0]).styles.shape[1:]
    found = directions(sampler, n=DIRECTIONS).vectors[:, 0]
    vectors = torch.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0).float().contiguous().numpy()
    return {
        "file": re.sub(r"[^\w.-]+", "-", path.stem, flags=re.ASCII).strip("-.") or "image",
        "space": generator.style_space,
        "latent": generator.latent,
        "styles": [styles[1]] if styles[0] == 1 and generator.style_space == "z" else list(styles),
        "shape": {"channels": shape.channels, "height": shape.height, "width": shape.width},
        "classes": shape.classes,
        "class_names": list(card.class_names),
        "networks": list(networks),
        "directions": base64.b64encode(vectors.astype("<f4").tobytes()).decode(),
        "runtime": web_runtime.VERSION,
        "facts": {
            "recipe": f"{card.recipe} ({card.network.family})",
            "data": str(card.data["name"]),
            "licence": card.licence,
            "attribution": card.attribution,
            "kimg": card.nimg / 1000,
            "half": half,
            "parity": parity.to_json(),
            "versions": f"Ganvas {card.versions['ganvas']}, PyTorch {card.versions['torch']}",
        },
    }
