"""--to pt2: an exported program, which PyTorch loads without Ganvas (examples/exported_program.py)."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.exporting.exported import Exported, check_suffix, public_card
from ganvas.exporting.parity import Draw, check, compare_with_own
from ganvas.exporting.parts import explain_failure, quiet, whole
from ganvas.files import atomic_file, check_writable, make_folder
from ganvas.sampling import Sampler


def write(sampler: Sampler, path: Path, options: Any) -> Exported:
    """Writes the program, with the card as its extra file card.json.

    Its arguments are z float [n latent], of a generator with classes the class int64 [n], and the truncation float [];
    it returns the images uint8 [n c h w], and the values float32 in [-1, 1] of which they are rounded.

    Raises:
        GanvasError: the network cannot be exported, draws other images, or the file cannot be written.
    """
    check_suffix(path, ".pt2")
    check_writable(path)
    program, buffer = whole(sampler.generator).trace(), io.BytesIO()
    with explain_failure("saved"), quiet():
        torch.export.save(program, buffer, extra_files={"card.json": json.dumps(public_card(sampler.card))})
    parity = compare_with_own(path.name, sampler, _reader(buffer))
    check(parity)
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Exported("pt2", (path,), (parity,))


def _reader(buffer: io.BytesIO) -> Draw:
    """What draws with the program as it was saved."""
    with explain_failure("read again"), quiet():
        network = torch.export.load(io.BytesIO(buffer.getvalue())).module()

    def draw(z: Tensor, labels: Tensor | None, truncation: float) -> tuple[np.ndarray, np.ndarray]:
        classes = () if labels is None else (labels,)
        with torch.no_grad():
            images, values = network(z, *classes, torch.tensor(truncation))
        return images.numpy(), values.numpy()

    return draw
