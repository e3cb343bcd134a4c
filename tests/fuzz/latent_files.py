"""Files of latents, and walks, mixes and directions: valid ones give the pictures that they are of, others an error."""

import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import damage
import numpy as np
from command_lines import run_command
from isolation import Answer, Case
from prepared import copy_all

SEEDS = 5
"""The latents are those of the seeds 0 to 4; the generator of the prepared run has two classes and latents of six."""

USES: dict[str, list[str]] = {
    "grid": ["--out", "out.png"],
    "each": ["--each", "out"],
    "walk": ["--video", "out.gif", "--frames", "2"],
    "straight walk": ["--video", "out.webp", "--frames", "1", "--easing", "linear", "--no-loop"],
    "direction": ["--direction", "pca:1", "--amount", "-1..1:3", "--out", "out.png"],
    "saved again": ["--save-latents", "again.npz", "--out", "out.png"],
}
"""What is made of a file of latents."""


def valid_files() -> dict[str, Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray] | np.ndarray]]:
    """The forms in which latents are kept, each from z float32 [n 6] and labels int64 [n]; an array alone has none."""
    return {
        "as Ganvas writes it": lambda z, labels: {"styles": z[:, None], "labels": labels, "space": np.array("z")},
        "w, a single style": lambda z, labels: {"styles": z, "labels": labels},
        "z": lambda z, labels: {"z": z, "labels": labels},
        "float64": lambda z, labels: {"z": z.astype(np.float64), "labels": labels.astype(np.int32)},
        "an array": lambda z, labels: z,
        "layers": lambda z, labels: z[:, None],
    }


ODD: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, Any] | np.ndarray]] = {
    "another size": lambda z, labels: z[:, :5],
    "two layers": lambda z, labels: np.stack([z, z], 1),
    "nothing": lambda z, labels: z[:0],
    "no numbers": lambda z, labels: z[:, :0],
    "one number": lambda z, labels: np.array(1.0),
    "one latent": lambda z, labels: z[0],
    "four dimensions": lambda z, labels: z[None, None],
    "NaN": lambda z, labels: z * np.nan,
    "infinity": lambda z, labels: np.full_like(z, np.inf),
    "too large for float32": lambda z, labels: z.astype(np.float64) * 1e300,
    "huge": lambda z, labels: z * 1e30,
    "zeros": lambda z, labels: z * 0,
    "integers": lambda z, labels: z.astype(np.int64),
    "truth": lambda z, labels: z > 0,
    "complex": lambda z, labels: z.astype(np.complex64),
    "text": lambda z, labels: z.astype("U9"),
    "objects": lambda z, labels: z.astype(object),
    "records": lambda z, labels: np.zeros(5, [("z", "f4", 6)]),
    "class 2": lambda z, labels: {"z": z, "labels": labels + 2},
    "class -1": lambda z, labels: {"z": z, "labels": labels - 1},
    "too few classes": lambda z, labels: {"z": z, "labels": labels[1:]},
    "classes in words": lambda z, labels: {"z": z, "labels": labels.astype("U3")},
    "classes as floats": lambda z, labels: {"z": z, "labels": labels / 2},
    "huge classes": lambda z, labels: {"z": z, "labels": labels.astype(np.uint64) + np.uint64(2**63)},
    "another space": lambda z, labels: {"styles": z[:, None], "space": np.array("w")},
    "an unknown space": lambda z, labels: {"styles": z[:, None], "space": np.array("²")},
    "a space of numbers": lambda z, labels: {"styles": z[:, None], "space": np.zeros(3)},
    "two arrays": lambda z, labels: {"a": z, "b": z},
    "no array": lambda z, labels: {},
}


def write(path: Path, content: Any) -> None:
    file = io.BytesIO()
    np.savez(file, **content) if isinstance(content, dict) else np.save(file, content, allow_pickle=True)
    path.write_bytes(file.getvalue())


def make(number: int, random: Random, prepared: Path) -> Case:
    """Case `number`: valid files, odd ones and damaged ones in turn, each used in one of the ways."""
    from ganvas.drawing import sample_latents

    copy_all(prepared)
    z, labels = sample_latents(range(SEEDS), 6).numpy(), np.arange(SEEDS) % 2
    forms, use = valid_files(), list(USES)[number // 3 % len(USES)]
    whole, way = number % 3 == 0, random.choice(list(forms))
    if number % 3 == 1:
        way = list(ODD)[number // 3 % len(ODD)]
        content = ODD[way](z, labels)
    else:
        content = forms[way](z, labels)
    path = Path("latents.npz" if isinstance(content, dict) else "latents.npy")
    write(path, content)
    if number % 3 == 2:
        how = random.choice([*damage.BYTES, *damage.BYTES, *damage.FILES])
        damage.damage(path, how, random)
        way += f", {how}"
    argv = ["sample", "run", "--latents", str(path), *USES[use]]
    has_labels = isinstance(content, dict) and "labels" in content

    def check(answer: Answer) -> str:
        if answer.status:
            return "" if answer.err.strip() else "it failed without a word"
        return compare(use, labels if has_labels else labels * 0) if whole else ""

    allowed = frozenset({0}) if whole else frozenset({0, 1})
    return Case(f"{use} of latents: {way}", run_command(argv, may_take_long=True), allowed, check)


def compare(use: str, labels: np.ndarray) -> str:
    """Whether what was written are the pictures of the seeds, in words if not."""
    from PIL import Image

    import ganvas

    sampler = ganvas.load("run")
    expected = sampler.sample(range(SEEDS), label=labels.tolist())[:, 0]
    if use == "each":
        found = [np.asarray(Image.open(path)) for path in sorted(Path("out").iterdir())]
        same = len(found) == SEEDS and all(map(np.array_equal, found, expected))
        return "" if same else f"{len(found)} pictures, not those of the seeds"
    if use == "saved again":
        again = sampler.draw(ganvas.load_latents("again.npz"))[:, 0]
        return "" if np.array_equal(again, expected) else "what was saved again are other latents"
    frames = {"walk": 2 * SEEDS, "straight walk": SEEDS}.get(use, 1)
    written = Image.open(next(Path().glob("out.*")))
    n = getattr(written, "n_frames", 1)
    return "" if n == frames else f"{n} frames instead of {frames}"
