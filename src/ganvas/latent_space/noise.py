"""The noise of a StyleGAN: other noise than the snapshot's, or none, in all layers or in some."""

import copy
import re

import torch

from ganvas.drawing import generator_seed
from ganvas.errors import GanvasError
from ganvas.latent_space.layers import is_list, parse_list
from ganvas.sampling import Sampler


def change_noise(sampler: Sampler, noise: str) -> Sampler:
    """The same generator with other noise, which fills in details at random: strands of hair, grain.

    Args:
        sampler: it stays as it is.
        noise: a seed, or "none"; after a colon the layers that it is for, as in "7:0-3": the others keep theirs.

    Raises:
        GanvasError: the text is something else, or this family has no noise, or not these layers.
    """
    source, _, which = noise.partition(":")
    seed = int(source) if re.fullmatch(r"[0-9]{1,19}", source) else 0 if source == "none" else None
    if seed is None or seed >= 2**63 or (":" in noise and not is_list(which)):
        raise GanvasError(
            f"--noise is {noise[:100]!r}.",
            expected="a seed from 0 to 2^63 - 1, or none; for some layers only, as in 7:0-3 or none:4",
        )
    count = len(sampler.generator.noise)
    if not count:
        raise GanvasError(
            f"{sampler.name} is of the family {sampler.card.network.family}, which has no noise: the latent alone "
            "decides.",
            fix="leave --noise out, or train stylegan.",
        )
    layers = parse_list(which) if which else list(range(count))
    if layers[-1] >= count:
        raise GanvasError(f"--noise names layer {layers[-1]}.", expected=f"0 to {count - 1}")
    changed = copy.deepcopy(sampler.generator)
    random = torch.Generator().manual_seed(generator_seed(seed))
    for layer, own in enumerate(changed.noise):
        # also of layers that keep theirs: the others do not depend on it
        other = torch.randn(own.shape, generator=random)
        if layer in layers:
            own.copy_(torch.zeros_like(other) if source == "none" else other)
    other = Sampler(sampler.path, changed, sampler.card, sampler.device)
    other.origin = sampler.origin  # latents do not depend on noise
    return other
