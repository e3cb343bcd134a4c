"""What takes long in Explore: the search for a photo's place, and walks between bookmarks. In a process of its own."""

import hashlib
import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganvas import image_io
from ganvas.animation import check_frames, save_animation
from ganvas.errors import GanvasError
from ganvas.files import make_folder
from ganvas.latent_space.projection import project
from ganvas.latent_space.search import SearchStep
from ganvas.latents import Latents, walk_length
from ganvas.studio import reports
from ganvas.studio.explore_work import points_of, to_png

FRAME_SECONDS = 0.2
"""Between two pictures of a walk that are shown while it is written."""


def search(path: str, photo: str, label: str | None, folder: str, **settings: Any) -> dict[str, Any]:
    """The place of a photo: its latents go to FOLDER/NAME.npz, the photo as it was cut to FOLDER/NAME.png.

    Args:
        settings: `steps` and `references` of `ganvas.project`.

    Raises:
        GanvasError: the photo cannot be read.
    """
    kept: dict[str, Latents] = {}
    found: dict[str, Any] = {}

    def watch(step: SearchStep) -> bool:
        if step.stage == "photos":
            kept["latents"] = step.latents
            image = to_png(step.images[0].numpy())
            reports.say(stage="photos", step=step.step, steps=step.steps, distance=float(step.distances[0]), png=image)
        else:
            if not found:
                found.update(_keep(kept["latents"], Path(folder)))
                reports.say(found=found)
            reports.say(stage="comparison", step=step.step, steps=step.steps)
        return not reports.stopping.is_set()

    placed = project(path, [photo], label=label, quiet=True, callback=watch, **settings)
    found.update(_keep(placed.latents, Path(folder)))
    image_io.save_image(image_io.to_pil(placed.targets[0]), Path(folder) / f"{found['place']}.png")
    reports.say(png=to_png(placed.found[0]))
    return found | {
        "target": to_png(placed.targets[0]), "distance": float(placed.distances[0]), "verdict": placed.verdict(),
        "notes": list(placed.notes), "compared": bool(placed.context),
        "context": {name: [float(of.min()), float(of.max())] for name, of in placed.context.items()},
    }  # fmt: skip


def _keep(latents: Latents, folder: Path, more: str = "") -> dict[str, Any]:
    """Writes latents to a file that is named by its content, and by what more belongs to it."""
    content = latents.styles.numpy().tobytes() + (b"" if latents.labels is None else latents.labels.numpy().tobytes())
    name = hashlib.sha256(content + more.encode()).hexdigest()[:12]
    make_folder(folder)
    latents.save(folder / f"{name}.npz")
    return {"place": name}


def walk(
    path: str, views: list[Mapping[str, Any]], folder: str, suffix: str, frames: int, easing: str, loop: bool, fps: int
) -> dict[str, Any]:
    """A film from view to view: FOLDER/NAME.npz are their latents, FOLDER/NAME+suffix is the film.

    Raises:
        GanvasError: it cannot be written, or was stopped: then no film is left.
    """
    sampler, latents = points_of(path, views)
    latents = sampler.check_latents(latents)
    name = _keep(latents, Path(folder), f"{frames} {easing} {loop} {fps} {views[0]['noise']}")["place"]
    total = walk_length(len(latents), frames, loop=loop)
    batches = sampler.interpolate(latents=latents, frames=frames, easing=easing, loop=loop)
    film = Path(folder) / f"{name}{suffix}"
    check_frames(film, total, *sampler.card.shape[1:3])
    count = save_animation(_told(itertools.chain.from_iterable(batches), total), film, fps=fps)
    return {"name": film.name, "frames": count, "latents": str(film.with_suffix(".npz")), "bytes": film.stat().st_size}


def _told(images: Iterator[Any], total: int) -> Iterator[np.ndarray]:
    """The pictures of a film, some of which are shown while it is written."""
    due = 0.0
    for number, image in enumerate(images, 1):
        if reports.stopping.is_set():
            raise GanvasError("The walk was stopped.")
        pixels = image.numpy()
        if time.monotonic() >= due:
            due = time.monotonic() + FRAME_SECONDS
            reports.say(step=number, steps=total, png=to_png(pixels))
        yield pixels
