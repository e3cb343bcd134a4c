"""What style transfer is worth, and what it costs: judged by networks that were not optimised for, where that can be.

    python benchmarks/style.py pairs --paintings DIR --photos DIR --weights DIR --out FOLDER [--network vgg19]
    python benchmarks/style.py recipes --paintings DIR --photos DIR --weights DIR --out FOLDER
    python benchmarks/style.py cost --paintings DIR --photos DIR --out FOLDER

`pairs`: every photo in the style of every painting; FOLDER/pairs.json, one PNG a pair, and sheet.jpg. Called again it
goes on where it stopped. `recipes`: Gatys' loss brought down by the plain recipe and by ours: the same network, layers,
weights and number of evaluations. `cost`: seconds an iteration and peak memory from 128 to 1024 pixels, whole and in
tiles.

Style distance: Σ over layers of ‖G − Ĝ‖²/‖Ĝ‖² of Gram matrices per position, to the painting at the result's size,
divided by the photo's own; VGG-19: relu1_1, relu2_1, relu3_1; SqueezeNet: relu1 and fire2 to fire6. LPIPS is that of
Zhang et al. 2018 with their squeeze head, over Caffe's SqueezeNet in place of torchvision's, result to photo. Edges:
correlation of the magnitudes of the luminance's central differences, result and photo. Seconds are the
processor's, so give it one thread (OMP_NUM_THREADS=1): on a shared machine the clock on the wall says nothing.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from style_judges import SQUEEZENET, VGG, squeezenet_weights, vgg19_weights
from torch import Tensor

from ganvas.style import networks, pictures
from ganvas.style.colours import luminance
from ganvas.style.losses import gram_distance
from ganvas.style.networks import Network
from ganvas.style.objective import Look
from ganvas.style.options import resolved
from ganvas.style.plan import Plan, plan
from ganvas.style.transfer import Iterate, followed, stylize

VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1")
SQUEEZENET_LAYERS = ("relu1", "fire2", "fire3", "fire4", "fire5", "fire6")
LPIPS_LAYERS = ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
PICTURES = (".jpg", ".png")


class Judges:
    """Two networks of other people's, and LPIPS."""

    def __init__(self, weights: Path) -> None:
        self.vgg = networks.vgg19(vgg19_weights(weights / VGG))
        self.squeezenet = networks.squeezenet(squeezenet_weights(weights / SQUEEZENET))
        heads = torch.load(weights / "lpips_lin" / "squeeze.pth", map_location="cpu", weights_only=True)
        self.heads = [heads[f"lin{i}.model.1.weight"] for i in range(len(LPIPS_LAYERS))]

    def told(self, result: Tensor, photo: Tensor, painting: Tensor) -> dict[str, float]:
        """Pictures float [1 3 h w] in [-1, 1] -> numbers by name."""
        found = {}
        for name, network, layers in (
            ("vgg19", self.vgg, VGG_LAYERS),
            ("squeezenet", self.squeezenet, SQUEEZENET_LAYERS),
        ):
            far = [distance(network, layers, picture, painting) for picture in (result, photo)]
            found |= {name: far[0] / far[1], f"{name}_photo": far[1]}
        return found | {"lpips": self.lpips(result, photo), "edges": edges(result, photo)}

    @torch.no_grad()
    def lpips(self, a: Tensor, b: Tensor) -> float:
        told = [self.squeezenet.layers(picture, LPIPS_LAYERS) for picture in (a, b)]
        total = 0.0
        for name, head in zip(LPIPS_LAYERS, self.heads, strict=True):
            x, y = (layers[name] / (layers[name].norm(dim=1, keepdim=True) + 1e-10) for layers in told)
            total += float(((x - y).square() * head).sum(1).mean())
        return total


def distance(network: Network, layers: tuple[str, ...], picture: Tensor, painting: Tensor) -> float:
    look = Look(network, dict.fromkeys(layers, 1.0), {})
    x, target = look.statistics(picture), look.statistics(painting)
    return sum(float(gram_distance(x[name], target[name])) for name in layers)


def edges(a: Tensor, b: Tensor) -> float:
    strengths = []
    for picture in (a, b):
        light = luminance(picture)[0, 0]
        across, down = light[1:-1, 2:] - light[1:-1, :-2], light[2:, 1:-1] - light[:-2, 1:-1]
        strengths.append(torch.hypot(across, down).flatten())
    return float(torch.corrcoef(torch.stack(strengths))[0, 1])


def pairs(arguments: argparse.Namespace) -> None:
    file = arguments.out / "pairs.json"
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    judges = Judges(arguments.weights)
    paintings, photos = listed(arguments.paintings), listed(arguments.photos)
    for photo in photos:
        for painting in paintings:
            name = f"{photo.stem}-{painting.stem}"
            if name in found:
                continue
            began = time.process_time()
            result = stylize(photo, painting, **knobs(arguments))
            seconds = time.process_time() - began
            result.save(arguments.out / f"{name}.png")
            size = max(result.pixels.shape)
            beside = [pictures.unit(pictures.opened(path, size)) for path in (photo, painting)]
            found[name] = {"seconds": seconds, **judges.told(pictures.unit(result), *beside)}
            file.write_text(json.dumps(found, indent=1) + "\n")
            print(name, {key: round(value, 3) for key, value in found[name].items()}, flush=True)
    sheet(arguments.out, photos, paintings)
    print("| of | vgg19 | squeezenet | lpips | edges | seconds |\n|---|---|---|---|---|---|")
    for title, chosen in [
        ("all", list(found)),
        *((p.stem, [n for n in found if n.endswith(p.stem)]) for p in paintings),
    ]:
        means = [
            np.mean([found[name][key] for name in chosen])
            for key in ("vgg19", "squeezenet", "lpips", "edges", "seconds")
        ]
        print(f"| {title} | " + " | ".join(f"{mean:.3g}" for mean in means) + " |")


def knobs(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(arguments, name) for name in ("size", "iterations", "network") if getattr(arguments, name)}
    if arguments.network == "vgg19":
        given["weights"] = saved(arguments.weights / VGG, arguments.out)
    return {"device": arguments.device, **given}


def saved(npz: Path, folder: Path) -> Path:
    """VGG-19's weights as --weights takes them."""
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in vgg19_weights(npz).items()}, path := folder / "vgg19.safetensors")
    return path


def sheet(folder: Path, photos: list[Path], paintings: list[Path], side: int = 160) -> None:
    """The photos down the left, the paintings along the top, every result where they meet."""
    rows = [
        [None, *paintings],
        *([photo, *(folder / f"{photo.stem}-{p.stem}.png" for p in paintings)] for photo in photos),
    ]
    paper = Image.new("RGB", ((side + 4) * (len(paintings) + 1), (side + 4) * (len(photos) + 1)), "white")
    for i, row in enumerate(rows):
        for j, path in enumerate(row):
            if path is not None:
                image = Image.open(path).convert("RGB")
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
                corner = [(side + 4) * k + (side - length) // 2 for k, length in ((j, image.width), (i, image.height))]
                paper.paste(image, (corner[0], corner[1]))
    paper.save(folder / "sheet.jpg", quality=88)


PLAIN = {"statistic": "gram", "palette": False}
PLAIN_LAYERS = {"vgg19": "relu1_1,relu2_1,relu3_1", "eye": "relu1_1,relu2_1,relu3_1,relu4_1"}
STEPS = 100
"""Of every recipe: one scale of a hundred, or three of 50, 25 and 25."""


def recipes(arguments: argparse.Namespace) -> None:
    """The same loss, Gatys', of the same network and as many evaluations: who brings it down, and how soon?"""
    size = arguments.size or 160
    weights = {"vgg19": saved(arguments.weights / VGG, arguments.out), "eye": None}
    print("| network | recipe | seconds | loss | style | content | Gatys' L-BFGS by then | its last loss after |")
    print("|" + "---|" * 8)
    chosen = list(zip(listed(arguments.photos)[::-1], listed(arguments.paintings), strict=False))[:4]
    for network, layers in PLAIN_LAYERS.items():
        ways: dict[str, list[list[Moment]]] = {}
        for photo, painting in chosen:
            given = {**PLAIN, "size": size, "network": network, "weights": weights[network], "style_layers": layers,
                     "device": arguments.device}  # fmt: skip
            one = {**given, "smallest": 10_000, "iterations": STEPS // 2}
            planned = [plan(photo, [painting], (), (), resolved(None, knobs)) for knobs in (
                one, {**given, "iterations": STEPS // 4})]  # fmt: skip
            for title, way in (
                ("Gatys, L-BFGS", plain(planned[0], lbfgs)),
                ("Gatys, Adam", plain(planned[0], lambda x: torch.optim.Adam([x], ADAM))),
                ("ours, one scale", ours(planned[0])),
                ("ours, three scales", ours(planned[1])),
            ):
                ways.setdefault(title, []).append(way)
        gatys = ways["Gatys, L-BFGS"]
        for title, found in ways.items():
            last = np.mean([[way[-1].seconds, way[-1].loss, way[-1].style, way[-1].content] for way in found], axis=0)
            then = np.mean([
                min(m.loss for m in known if m.seconds <= max(way[-1].seconds, known[0].seconds))
                for way, known in zip(found, gatys, strict=True)
            ])  # fmt: skip
            there = [
                next((m.seconds for m in way if m.loss <= known[-1].loss), None)
                for way, known in zip(found, gatys, strict=True)
            ]
            reached = [seconds for seconds in there if seconds is not None]
            told = f"{np.mean(reached):.1f} s ({len(reached)} of {len(there)})" if reached else "never"
            row = " | ".join(f"{x:.3g}" for x in (*last, then))
            print(f"| {network} | {title} | {row} | {told} |", flush=True)


def lbfgs(image: Tensor) -> torch.optim.Optimizer:
    return torch.optim.LBFGS([image], max_iter=1, tolerance_grad=0, tolerance_change=0)


ADAM = 10 / 127.5
"""The step size of neural-style (Johnson 2015) for pixels from 0 to 255, in ours from -1 to 1."""


class Moment(NamedTuple):
    """The processor's seconds so far, and the loss at the result's size with its parts."""

    seconds: float
    loss: float
    style: float
    content: float


def plain(planned: Plan, optimiser: Callable[[Tensor], torch.optim.Optimizer]) -> list[Moment]:
    """Gatys': from the photo, at one scale, without bounds; what leaves [-1, 1] is cut off before it is judged."""
    size = (planned.content.shape[2], planned.content.shape[3])
    began = time.process_time()
    goal, image = planned.goal(size), planned.first(size).clone().requires_grad_()
    method, way, aside = optimiser(image), [], 0.0

    def closure() -> float:
        value = goal(image)
        image.grad = value.gradient.contiguous()
        return value.loss

    for _ in range(STEPS):
        method.step(closure)
        now = time.process_time()
        value = goal(image.detach().clamp(-1, 1))
        way.append(Moment(now - began - aside, value.loss, value.style, value.content))
        aside += time.process_time() - now
    return way


def ours(planned: Plan) -> list[Moment]:
    way, began, full = [], time.process_time(), planned.content.shape[2]

    def told(now: Iterate) -> None:
        if now.height == full:
            way.append(Moment(time.process_time() - began, now.loss, now.style, now.content))

    followed(planned, told)
    return way


def cost(arguments: argparse.Namespace) -> None:
    """Each size in a process of its own: a process's peak never falls."""
    if arguments.one:
        size, tile = int(arguments.one[0]), int(arguments.one[1]) or None
        photo, painting = listed(arguments.photos)[-1], listed(arguments.paintings)[-1]
        planned = plan(
            photo, [painting], (), (), resolved(None, {"size": size, "tile": tile, "device": arguments.device})
        )
        full = (planned.content.shape[2], planned.content.shape[3])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        goal, image, times = planned.goal(full), planned.first(full), []
        for _ in range(4):
            began = time.process_time()
            goal(image)
            times.append(time.process_time() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pixels = full[0] * full[1]
        print(
            f"| {full[1]}×{full[0]} | {tile or 'whole'} | {np.median(times[1:]):.3f} | "
            f"{np.median(times[1:]) / pixels * 1e6:.2f} | {(peak - before) / 1e3:.0f} | {planned.memory / 1e6:.0f} |"
        )
        return
    print(
        "| pixels | tiles | s/iteration | µs/pixel | MB above the start | MB estimated |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for size, tile in ((128, 0), (256, 0), (512, 0), (724, 0), (1024, 0), (1024, 256), (1024, 512)):
        command = [sys.executable, __file__, *sys.argv[1:], "--one", str(size), str(tile)]
        subprocess.run(command, check=True)


def listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in PICTURES)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["pairs", "recipes", "cost"])
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("style"))
    parser.add_argument("--network", default="eye")
    parser.add_argument("--size", type=int)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    {"pairs": pairs, "recipes": recipes, "cost": cost}[arguments.what](arguments)


if __name__ == "__main__":
    main()
