"""ganvas.stylize: an optimisation over the pixels of an image, scale by scale from coarse to fine.

After Gatys et al. 2016 and Crowson's style-transfer-pytorch (2021): scales larger by √2, each initialised with the
result of the last; Wasserstein-2 style losses. Ours: the photo takes the palette of the paintings first, raw pixels and
5×5 patches are layers too, and L-BFGS respects the bounds of pixel values (`optimisers`).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ganvas.display import Displayed, Paragraph, Part
from ganvas.errors import GanvasError, describe_value
from ganvas.progress import SpeedMeter
from ganvas.pytorch_state import default_state
from ganvas.style import images
from ganvas.style.colours import luminance, replace_luminance
from ganvas.style.images import ImageSource, StyleImage
from ganvas.style.optimisers import OPTIMISERS
from ganvas.style.options import StyleOptions, resolve_options
from ganvas.style.plan import TransferPlan, plan_transfer
from ganvas.style.scales import count_work, list_scales
from ganvas.threads import cpu_threads


@dataclass(frozen=True, eq=False, repr=False)
class Iterate(Displayed):
    """The state after one iteration.

    Attributes:
        iteration: its number, from 1; `iterations`: their number over all scales.
        height, width: of the current scale, in pixels.
        loss: the objective; style, content, tv: its weighted terms.
        seconds: since the start; `seconds_left`: estimated time to the end.
    """

    iteration: int
    iterations: int
    height: int
    width: int
    loss: float
    style: float
    content: float
    tv: float
    seconds: float
    seconds_left: float
    _render: Callable[[], StyleImage]

    def image(self) -> StyleImage:
        """The current image, at the current scale."""
        return self._render()

    def _line(self) -> str:
        terms = f"style {self.style:.3g}, content {self.content:.3g}, tv {self.tv:.3g}"
        return (
            f"Iterate({self.iteration} of {self.iterations} at {self.height}×{self.width}: loss {self.loss:.3g} "
            f"({terms}); {self.seconds:.0f} s, {self.seconds_left:.0f} s left)"
        )

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(self._line())
        yield from self.image()._parts()


Callback = Callable[[Iterate], None]


@default_state()
def stylize(
    content: ImageSource,
    styles: ImageSource | Sequence[ImageSource],
    *,
    masks: Sequence[ImageSource] = (),
    style_masks: Sequence[ImageSource] = (),
    callback: Callback | None = None,
    options: StyleOptions | None = None,
    **knobs: Any,
) -> StyleImage:
    """Neural style transfer: a photo in the style of one painting or several.

        ganvas.stylize("photo.jpg", "starry_night.jpg", size=256).save("out.png")

    Args:
        content: an image file, pixels uint8 [1|3|4 h w], or a StyleImage.
        styles: likewise, one or several.
        masks: one grey image for each style: where it applies. What no mask covers stays as it is.
        style_masks: one grey image for each style: the part of the painting whose style is used.
        callback: called with every iterate.
        options, knobs: see `StyleOptions`; any field by its name.

    Raises:
        GanvasError: what happened, what was expected, the fix.
    """
    if isinstance(styles, (str, np.ndarray, StyleImage)) or not isinstance(styles, Sequence):
        styles = [styles]
    for name, given in (("masks", masks), ("style_masks", style_masks)):
        if not isinstance(given, list | tuple):
            raise GanvasError(
                f"{name} is {describe_value(given)}.", expected="a list of grey images, one for each style"
            )
    if callback is not None and not callable(callback):
        raise GanvasError(f"callback is {describe_value(callback)}.", expected="a function that takes an Iterate")
    return run_plan(plan_transfer(content, styles, masks, style_masks, resolve_options(options, knobs)), callback)


@cpu_threads()
def run_plan(plan: TransferPlan, callback: Callback | None = None) -> StyleImage:
    """Runs the optimisation of a plan, and calls `callback` with every iterate. An invisible photo is copied."""
    options = plan.options
    scales = list_scales(plan.content.shape[2:], options)
    total = sum(count for _, count in scales)
    if options.strength == 0 or not plan.source.is_visible:
        return _render(plan, plan.content)
    optimiser = OPTIMISERS[options.optimiser](options)
    timer = _Timer(scales)
    image, done = plan.initial_image(scales[0][0]), 0
    for size, count in scales:
        iterates = optimiser.minimise(plan.objective(size), images.resize(image, size), count)
        for i, (value, image) in enumerate(iterates, 1):
            if not math.isfinite(value.loss):
                raise GanvasError(
                    f"The loss is {value.loss} in iteration {done + i}.",
                    expected="a number",
                    fix="a smaller --lr, or --optimiser adam.",
                )
            if callback is not None:
                seconds, left = timer.read(done + i)
                callback(
                    Iterate(
                        done + i, total, *size, value.loss, value.style, value.content, value.tv, seconds, left,
                        lambda now=image: _render(plan, now),
                    )
                )  # fmt: skip
        done += count
    return _render(plan, image)


def _render(plan: TransferPlan, image: Tensor) -> StyleImage:
    """The image as saved: with the colours of the photo if they are kept, and the photo outside the masks."""
    size = (image.shape[2], image.shape[3])
    photo = images.resize(plan.content, size)
    if plan.options.keep_colours == "luminance":
        image = replace_luminance(photo, luminance(image))
    if (coverage := plan.coverage(size)) is not None:
        image = photo + coverage * (image - photo)
    return plan.source.with_pixels(images.to_pixels(image))


class _Timer:
    """Elapsed and remaining time, by the work of the scales (`count_work`)."""

    def __init__(self, scales: Sequence[tuple[tuple[int, int], int]]) -> None:
        self.scales, self.start, self.speed = scales, time.monotonic(), SpeedMeter()
        self.speed.update(0)

    def read(self, iterations: int) -> tuple[float, float]:
        done = count_work(self.scales, iterations)
        self.speed.update(done)
        speed = self.speed.per_second
        return time.monotonic() - self.start, (count_work(self.scales) - done) / speed if speed else 0.0
