"""The search for a picture's place: which latent makes a generator draw it, as nearly as it can.

After Karras et al. 2020 (arXiv 1912.04958, appendix D) and Abdal et al. 2019 (Image2StyleGAN), by gradient descent from
several starts: the mean, and the nearest of some random pictures. Ours works in units of the latents' own standard
deviation, so that one rate fits every family, and holds them within that of random ones. The noise of a StyleGAN is not
searched: a latent then always draws the same picture, for every program that uses the snapshot.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganvas.data.pixels import to_uint8
from ganvas.drawing import images_per_pass, sample_latents
from ganvas.features.perceptual import PerceptualDistance
from ganvas.latents import Latents
from ganvas.networks import Generator
from ganvas.optimisers import Adam

CANDIDATES = 256
"""Random pictures among which starts are chosen; with more classes than that one of each."""

STARTS = 4
SCREENING_STEPS = 40
"""Steps from each start, at most half of all; then the best one goes on."""

RATE = 0.1
"""Adam's, in standard deviations of the latents; it falls to 0 along a cosine."""

PRIOR_WEIGHT = 0.1
"""Of the squared excess of the latents' mean square over 1, that of random latents."""

FRAMES, FRAME_TARGETS = 40, 8
"""Pictures kept of the search, about, and of how many targets at most."""


def screening_steps(steps: int) -> int:
    """The number of steps from each start, of so many in all."""
    return min(SCREENING_STEPS, steps // 2)


@dataclass(frozen=True)
class SearchStep:
    """How far a search is.

    Attributes:
        step, steps: of the gradient descent.
        images: where it is now, uint8 [n c h w] of the n targets.
        latents: of the nearest pictures so far, `distances` of those from the targets, float [n].
        stage: "photos", or "comparison" while pictures are sought that the photos are compared with.
    """

    step: int
    steps: int
    images: Tensor
    latents: Latents
    distances: Tensor
    stage: str = "photos"


Watch = Callable[[SearchStep], object]
"""Is told how far a search is; where it returns False, the search ends with what it has found."""


@dataclass
class Place:
    """What was found for n targets.

    Attributes:
        latents: of the n pictures.
        images: those pictures, float [n c h w].
        distances: from the targets, float [n].
        frames: the pictures during the search, uint8 [≤ 8 c h w] each, of the first targets; none where they are not
            kept.
    """

    latents: Latents
    images: Tensor
    distances: Tensor
    frames: list[Tensor]


class Search:
    """Finds the latents of pictures; deterministic by its seed.

    Args:
        generator: frozen and in evaluation mode, on `device`.
        distance: what is made small.
        seed: of the random candidates.
    """

    def __init__(self, generator: Generator, distance: PerceptualDistance, device: torch.device, seed: int = 0) -> None:
        self._generator, self._distance, self._device = generator, distance, device
        count = max(CANDIDATES, generator.shape.classes)
        self._z = sample_latents(range(seed, seed + count), generator.latent).to(device)
        self._per_pass = images_per_pass(*generator.shape[1:3])

    def find(
        self,
        targets: Tensor,
        label: int | None,
        steps: int,
        advance: Callable[[int], object] = lambda n: None,
        watch: Watch = lambda step: None,
        *,
        keep_frames: bool = True,
    ) -> Place:
        """The places of targets float [n c h w] in [-1, 1].

        Args:
            label: their class; None: that of the nearest candidates, of a generator with classes.
            steps: of the gradient descent, from 1 on.
            advance: called with the number of steps done since its last call.
            watch: called a few dozen times.
            keep_frames: whether the pictures during the search, from the best start on, are kept.
        """
        self._watch, self._stopped, self._done, self._steps = watch, False, 0, steps
        with torch.no_grad():
            described = [self._distance.describe(targets[part]) for part in self._parts(len(targets))]
        seen = [torch.cat(maps) for maps in zip(*described, strict=True)]
        starts, labels = self._choose_starts(seen, len(targets), label)
        screening = screening_steps(steps)
        owner = torch.arange(len(targets), device=self._device).repeat_interleave(starts.shape[1])
        flat_labels = None if labels is None else labels.flatten()
        if screening:
            moved, distances, _ = self._descend(starts.flatten(0, 1), flat_labels, seen, owner, screening, advance)
            starts = moved.unflatten(0, starts.shape[:2])
            best = distances.unflatten(0, starts.shape[:2]).argmin(1)
        else:
            best = torch.ones(len(targets), dtype=torch.long, device=self._device)  # the nearest candidate
        rows = torch.arange(len(targets), device=self._device)
        styles = starts[rows, best]
        labels = None if labels is None else labels[rows, best]
        self._done = screening
        left = 0 if self._stopped else steps - screening
        styles, distances, frames = self._descend(styles, labels, seen, rows, left, advance, keep_frames=keep_frames)
        with torch.no_grad():
            images = torch.cat([self._draw(styles, labels, part) for part in self._parts(len(styles))])
        latents = Latents(styles.cpu(), None if labels is None else labels.cpu(), self._generator.style_space)
        last = [to_uint8(images[:FRAME_TARGETS]).cpu()] if keep_frames else []
        return Place(latents, images, distances, [*frames, *last])

    @torch.no_grad()
    def _choose_starts(self, seen: list[Tensor], n: int, label: int | None) -> tuple[Tensor, Tensor | None]:
        """The starts of each target, float [n starts layers k], and their classes, int64 [n starts]."""
        classes, count = self._generator.shape.classes, len(self._z)
        labels = None
        if classes:
            every = torch.arange(count, device=self._device) % classes
            labels = every if label is None else torch.full_like(every, label)
        styles = self._generator.styles(self._z, labels).contiguous()
        distances = torch.empty(n, count, device=self._device)
        for part in self._parts(count):
            drawn = self._distance.describe(self._draw(styles, labels, part))
            for target in range(n):
                distances[target, part] = self._distance.between(drawn, [one[target : target + 1] for one in seen])
        nearest = distances.topk(min(STARTS - 1, count), largest=False).indices
        best_labels = None if labels is None else labels[nearest]
        if best_labels is not None:
            best_labels = torch.cat([best_labels[:, :1], best_labels], 1)
        self._measure(styles, best_labels)
        middle, _ = self._units(None if best_labels is None else best_labels[:, 0])
        return torch.cat([middle.expand(n, *styles.shape[1:])[:, None], styles[nearest]], 1), best_labels

    def _measure(self, styles: Tensor, labels: Tensor | None) -> None:
        """Keeps the mean and the deviation of random styles; with classes those of each class in `labels`."""
        mean, deviation = styles.mean(0, keepdim=True), styles.std(0, keepdim=True)
        if self._generator.style_space == "z":
            self._mean, self._deviation = torch.zeros_like(mean), torch.ones_like(deviation)
            return
        if labels is not None:
            mean, deviation = (of.repeat(self._generator.shape.classes, 1, 1) for of in (mean, deviation))
            for c in labels.unique():
                own = self._generator.styles(self._z[:CANDIDATES], c.expand(CANDIDATES))
                mean[c], deviation[c] = own.mean(0), own.std(0)
        self._mean, self._deviation = mean, deviation.clamp(min=1e-6)

    def _units(self, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean and the deviation of styles, float [1 layers k], or of each of some classes, [m layers k]."""
        if labels is None or len(self._mean) == 1:
            return self._mean, self._deviation
        return self._mean[labels], self._deviation[labels]

    def _descend(
        self,
        styles: Tensor,
        labels: Tensor | None,
        seen: list[Tensor],
        owner: Tensor,
        steps: int,
        advance: Callable[[int], object],
        *,
        keep_frames: bool = False,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Styles nearer to their targets, float [m layers k], the distances of their best pictures, float [m], and the
        pictures on the way of the first, if they are kept."""
        mean, deviation = self._units(labels)
        free = ((styles - mean) / deviation).requires_grad_()
        adam = Adam([free], RATE)
        best, least = free.detach().clone(), torch.full((len(free),), math.inf, device=self._device)
        every, frames = max(1, steps // FRAMES), list[Tensor]()
        for step in range(steps + 1):  # the last one only measures
            adam.param_groups[0]["lr"] = (
                RATE * min(1, (step + 1) / 10) * (1 + math.cos(math.pi * step / (steps + 1))) / 2
            )
            adam.zero_grad()
            shown = step % every == 0 or step == steps
            frame, distances = list[Tensor](), torch.empty(len(free), device=self._device)
            for part in self._parts(len(free)):
                images = self._draw(mean + deviation * free, labels, part)
                distance = self._distance.between(self._distance.describe(images), [one[owner[part]] for one in seen])
                excess = (free[part].square().mean((1, 2)) - 1).relu().square()
                (distance + PRIOR_WEIGHT * excess).sum().backward()
                distances[part] = distance.detach()
                if shown:
                    frame.append(to_uint8(images.detach()).cpu())
            nearer = distances < least
            best[nearer], least[nearer] = free.detach()[nearer], distances[nearer]
            if shown:
                frame = [torch.cat(frame)]
                frames += [frame[0][:FRAME_TARGETS].clone()] if keep_frames else []
                if not self._stopped:
                    self._tell(step, frame[0], distances, labels, mean + deviation * best, least, len(seen[0]))
                if self._stopped:
                    break
            if step < steps:
                adam.step()
                advance(1)
        return mean + deviation * best, least, frames

    def _tell(
        self, step: int, frame: Tensor, distances: Tensor, labels: Tensor | None, styles: Tensor, least: Tensor, n: int
    ) -> None:
        """Tells `watch` of the nearest start of each target; several starts of one follow each other."""
        first = torch.arange(n, device=self._device) * (len(styles) // n)
        now, best = (first + of.detach().unflatten(0, (n, -1)).argmin(1) for of in (distances, least))
        kept = None if labels is None else labels[best].cpu()
        latents = Latents(styles[best].detach().cpu(), kept, self._generator.style_space)
        distance = least[best].detach().cpu()
        told = SearchStep(self._done + step, self._steps, frame[now.cpu()], latents, distance)
        self._stopped = self._watch(told) is False

    def _parts(self, n: int) -> Iterator[slice]:
        return (slice(start, start + self._per_pass) for start in range(0, n, self._per_pass))

    def _draw(self, styles: Tensor, labels: Tensor | None, part: slice) -> Tensor:
        """Images as they are written: in [-1, 1] also of families that have no last nonlinearity."""
        return self._generator.draw(styles[part], None if labels is None else labels[part]).clamp(-1, 1)
