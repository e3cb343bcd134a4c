"""What a probe would measure in vain: networks that the loop does not call, or arguments in the wrong places."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ganvas.diagnosis.loops.calls import Call

MEASURED = (
    "D/auc", "D/sign", "D/real", "D/fake", "D/input", "D/label", "G/label", "real/", "fake/", "distance", "diversity",
)  # fmt: skip
"""How quantities begin that need the right images in the right networks."""

SWAPPED = "G receives images, and D does not: are G and D swapped in ganvas.watch(G, D)?"
SWAPPED_IMAGES = "`real` is what G returned: are real= and fake= swapped in probe.step?"


def find_problems(
    used: Collection[str], calls: Mapping[str, Sequence[Call]], real: Tensor, generated: Sequence[Tensor]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """{what is measured in vain: why}, and how the names of those quantities begin.

    Args:
        used: the networks that were called or stepped, or that a backward pass reached, in any round.
        calls: of the round.
        real: the reals that `probe.step` received.
        generated: what G returned in the round.
    """
    unused = [name for name in ("G", "D") if name not in used]
    if unused:
        are, their, copies = ("is", "its", "it a copy") if len(unused) == 1 else ("are", "their", "they copies")
        which = f"{' and '.join(unused)} {are} not called by your loop, and no optimiser steps {their} weights"
        return {"networks": f"{which}: {are} {copies}, such as an average?"}, tuple(f"{name}/" for name in unused)
    shape = real.shape[1:]
    to_g, to_d = ({call.images.shape[1:] for call in calls[name] if call.images is not None} for name in ("G", "D"))
    if shape in to_g and to_d and shape not in to_d and all(images.shape[1:] != shape for images in generated):
        return {"networks": SWAPPED}, MEASURED
    alike = (images for images in generated if images.shape == real.shape and images.device == real.device)
    if any(torch.equal(images, real.detach()) for images in alike):
        return {"images": SWAPPED_IMAGES}, MEASURED
    return {}, ()
