"""A style transfer whose pictures are shown while it draws, in a process of its own. Imports PyTorch."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.studio import reports
from ganvas.studio.explore_work import to_png
from ganvas.style.images import StyleImage
from ganvas.style.options import resolve_options
from ganvas.style.plan import plan_transfer
from ganvas.style.scales import count_work, list_scales
from ganvas.style.transfer import Iterate, run_plan

SHOWN_SECONDS, SHARE = 0.25, 10
"""Least time between two pictures that are shown, and how many times as long as one takes to be made."""


class _Stopped(Exception):
    pass


def paint(photo: str, paintings: Sequence[str], knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Draws a photo in the style of paintings; the last picture that is shown is the result.

    Raises:
        GanvasError: as `ganvas.stylize`.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in knobs.items()}
    reports.say(stage="reading")
    plan = plan_transfer(Path(photo), [Path(one) for one in paintings], (), (), resolve_options(None, given))
    height, width = plan.content.shape[2:]
    scales = list_scales((height, width), plan.options)
    reports.say(
        stage="drawing", height=height, width=width, bytes=plan.memory, png=_png(plan.source),
        work=count_work(scales), done=0, seconds=0.0,
    )  # fmt: skip
    due, last = 0.0, None

    def show(now: Iterate) -> None:
        nonlocal due, last
        last = now
        facts = {
            "step": now.iteration, "steps": now.iterations, "height": now.height, "width": now.width,
            "loss": now.loss, "seconds": now.seconds, "done": count_work(scales, now.iteration),
        }  # fmt: skip
        began = time.monotonic()
        if began >= due or reports.stopping.is_set():
            reports.say(**facts, png=_png(now.image()))
            due = time.monotonic() + max(SHOWN_SECONDS, SHARE * (time.monotonic() - began))
        if reports.stopping.is_set():
            raise _Stopped

    began = time.monotonic()
    try:
        done = run_plan(plan, show)
    except _Stopped:
        assert last is not None
        return {"seconds": last.seconds, "step": last.iteration}
    counts = {"step": last.iterations, "steps": last.iterations, "done": count_work(scales)} if last else {}
    reports.say(png=_png(done), height=height, width=width, **counts)
    return {"seconds": time.monotonic() - began, "step": last.iteration if last else 0}


def _png(image: StyleImage) -> str:
    return to_png(image.pixels if image.opacity is None else np.concatenate([image.pixels, image.opacity[None]]))
