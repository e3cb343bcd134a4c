"""How much of a search for a photo's place fits into two minutes of a CPU, by the operations that it takes.

Operations are counted and not timed, so that the same call finds the same place on every machine, fast or slow.
"""

from typing import NamedTuple

import torch

from ganvas.features.perceptual import PerceptualDistance
from ganvas.latent_space.search import CANDIDATES, STARTS, screening_steps
from ganvas.networks import FlopCounter
from ganvas.sampling import Sampler

SECONDS = 120.0
"""For one photo and the pictures that it is compared with."""

SPEED, OVERHEAD = 45e9, 0.01
"""Operations a second of one core, and seconds that each picture takes beside them: within half of what was measured of
`fast`, `stylegan` and `dcgan` at 64×64 and 128×128."""

STEPS, REFERENCES, KINDS = 240, 4, 3
"""Where the time allows: steps of the gradient descent, and pictures of each of three kinds."""

LEAST_STEPS = 40


class Amount(NamedTuple):
    """How much is searched: the steps, the pictures of each kind, and a sentence where these are fewer than usual."""

    steps: int
    references: int
    note: str = ""


def choose_amount(sampler: Sampler, distance: PerceptualDistance, steps: int | None, references: int | None) -> Amount:
    """What is given, and of the rest as much as takes about `SECONDS` on a CPU: fewer references, then fewer steps."""
    most_steps, most = (STEPS if steps is None else steps), (REFERENCES if references is None else references)
    if sampler.device.type != "cpu" or None not in (steps, references):
        return Amount(most_steps, most)
    each = _seconds_each(sampler, distance)
    chosen_steps, chosen = most_steps, most
    while references is None and chosen > 1 and _pictures(chosen_steps, chosen) * each > SECONDS:
        chosen -= 1
    while steps is None and chosen_steps > LEAST_STEPS and _pictures(chosen_steps, chosen) * each > SECONDS:
        chosen_steps -= 10
    if (chosen_steps, chosen) == (most_steps, most):
        return Amount(most_steps, most)
    fewer = [f"{chosen_steps} steps in place of {most_steps}"] * (chosen_steps < most_steps)
    fewer += [f"{chosen} of each kind to compare with in place of {most}"] * (chosen < most)
    note = f"This generator is large for a CPU: {', '.join(fewer)}. --steps and --references take any number."
    return Amount(chosen_steps, chosen, note)


def _pictures(steps: int, references: int) -> float:
    """Pictures that one photo and its references take, drawn with their gradients.

    The candidates are drawn for both, without gradients: half the operations.
    """
    screening = screening_steps(steps)
    each = STARTS * screening + steps - screening
    return CANDIDATES + (1 + KINDS * references) * each


def _seconds_each(sampler: Sampler, distance: PerceptualDistance) -> float:
    """A picture takes, with the gradient for its latent."""
    latents = sampler.latents([0])
    labels = None if latents.labels is None else latents.labels.to(sampler.device)
    with torch.no_grad(), FlopCounter() as counter:
        distance.describe(sampler.generator.draw(latents.styles.to(sampler.device), labels))
    return OVERHEAD + 2 * counter.total / SPEED
