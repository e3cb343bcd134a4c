"""Measures quality and cost of style transfer, where possible with networks that were not optimised for.

    python benchmarks/style.py pairs --paintings DIR --photos DIR --weights DIR --out FOLDER [--network vgg19]
    python benchmarks/style.py recipes --paintings DIR --photos DIR --weights DIR --out FOLDER
    python benchmarks/style.py cost --paintings DIR --photos DIR --out FOLDER

`pairs`: every photo in the style of every painting; writes FOLDER/pairs.json, a PNG for each pair, and sheet.jpg, and
resumes where an earlier call stopped. `recipes`: minimises Gatys' loss with his recipe and with ours: the same network,
layers, weights and number of evaluations. `cost`: seconds per iteration and peak memory from 128 to 1024 pixels, whole
and in tiles.

Style distance: Σ over layers of ‖G − Ĝ‖²/‖Ĝ‖² of Gram matrices per position, to the painting at the result's size,
divided by the photo's own; VGG-19: relu1_1, relu2_1, relu3_1; SqueezeNet: relu1 and fire2 to fire6. LPIPS is that of
Zhang et al. 2018 with their squeeze head, over Caffe's SqueezeNet in place of torchvision's, result to photo. Edges:
correlation between result and photo of the magnitude of the luminance's central differences. Seconds are CPU time, so
use one thread (OMP_NUM_THREADS=1): on a shared machine wall-clock time is meaningless.
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
from style_reference_networks import SQUEEZENET, VGG, squeezenet_weights, vgg19_weights
from torch import Tensor

from ganvas.features.layers import FeatureNetwork, build_squeezenet, build_vgg19
from ganvas.style import images
from ganvas.style.colours import luminance
from ganvas.style.losses import gram_distance
from ganvas.style.objective import FeatureLayers
from ganvas.style.options import resolve_options
from ganvas.style.plan import TransferPlan, plan_transfer
from ganvas.style.transfer import Iterate, run_plan, stylize

VGG_LAYERS = ("relu1_1", "relu2_1", "relu3_1")
SQUEEZENET_LAYERS = ("relu1", "fire2", "fire3", "fire4", "fire5", "fire6")
LPIPS_LAYERS = ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
IMAGE_SUFFIXES = (".jpg", ".png")


class ReferenceNetworks:
    """VGG-19, SqueezeNet and LPIPS, with published weights."""

    def __init__(self, weights: Path) -> None:
        self.vgg = build_vgg19(vgg19_weights(weights / VGG))
        self.squeezenet = build_squeezenet(squeezenet_weights(weights / SQUEEZENET))
        heads = torch.load(weights / "lpips_lin" / "squeeze.pth", map_location="cpu", weights_only=True)
        self.heads = [heads[f"lin{i}.model.1.weight"] for i in range(len(LPIPS_LAYERS))]

    def measure(self, result: Tensor, photo: Tensor, painting: Tensor) -> dict[str, float]:
        """Images float [1 3 h w] in [-1, 1] -> values by name."""
        results = {}
        for name, network, layers in (
            ("vgg19", self.vgg, VGG_LAYERS),
            ("squeezenet", self.squeezenet, SQUEEZENET_LAYERS),
        ):
            distances = [style_distance(network, layers, image, painting) for image in (result, photo)]
            results |= {name: distances[0] / distances[1], f"{name}_photo": distances[1]}
        return results | {"lpips": self.lpips(result, photo), "edges": edge_correlation(result, photo)}

    @torch.no_grad()
    def lpips(self, a: Tensor, b: Tensor) -> float:
        activations = [self.squeezenet.features(image, LPIPS_LAYERS) for image in (a, b)]
        total = 0.0
        for name, head in zip(LPIPS_LAYERS, self.heads, strict=True):
            x, y = (layers[name] / (layers[name].norm(dim=1, keepdim=True) + 1e-10) for layers in activations)
            total += float(((x - y).square() * head).sum(1).mean())
        return total


def style_distance(network: FeatureNetwork, layers: tuple[str, ...], image: Tensor, painting: Tensor) -> float:
    look = FeatureLayers(network, dict.fromkeys(layers, 1.0), {})
    x, target = look.statistics(image), look.statistics(painting)
    return sum(float(gram_distance(x[name], target[name])) for name in layers)


def edge_correlation(a: Tensor, b: Tensor) -> float:
    strengths = []
    for image in (a, b):
        light = luminance(image)[0, 0]
        across, down = light[1:-1, 2:] - light[1:-1, :-2], light[2:, 1:-1] - light[:-2, 1:-1]
        strengths.append(torch.hypot(across, down).flatten())
    return float(torch.corrcoef(torch.stack(strengths))[0, 1])


def run_pairs(arguments: argparse.Namespace) -> None:
    file = arguments.out / "pairs.json"
    results: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    reference_networks = ReferenceNetworks(arguments.weights)
    paintings, photos = list_images(arguments.paintings), list_images(arguments.photos)
    for photo in photos:
        for painting in paintings:
            name = f"{photo.stem}-{painting.stem}"
            if name in results:
                continue
            start = time.process_time()
            result = stylize(photo, painting, **build_options(arguments))
            seconds = time.process_time() - start
            result.save(arguments.out / f"{name}.png")
            size = max(result.pixels.shape)
            references = [images.to_tensor(images.load_image(path, size)) for path in (photo, painting)]
            results[name] = {"seconds": seconds, **reference_networks.measure(images.to_tensor(result), *references)}
            file.write_text(json.dumps(results, indent=1) + "\n")
            print(name, {key: round(value, 3) for key, value in results[name].items()}, flush=True)
    draw_sheet(arguments.out, photos, paintings)
    print("| of | vgg19 | squeezenet | lpips | edges | seconds |\n|---|---|---|---|---|---|")
    for title, chosen in [
        ("all", list(results)),
        *((p.stem, [n for n in results if n.endswith(p.stem)]) for p in paintings),
    ]:
        means = [
            np.mean([results[name][key] for name in chosen])
            for key in ("vgg19", "squeezenet", "lpips", "edges", "seconds")
        ]
        print(f"| {title} | " + " | ".join(f"{mean:.3g}" for mean in means) + " |")


def build_options(arguments: argparse.Namespace) -> dict[str, Any]:
    options = {name: getattr(arguments, name) for name in ("size", "iterations", "network") if getattr(arguments, name)}
    if arguments.network == "vgg19":
        options["weights"] = save_vgg19(arguments.weights / VGG, arguments.out)
    return {"device": arguments.device, **options}


def save_vgg19(npz: Path, folder: Path) -> Path:
    """Saves VGG-19's weights in the format of --weights."""
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in vgg19_weights(npz).items()}, path := folder / "vgg19.safetensors")
    return path


def draw_sheet(folder: Path, photos: list[Path], paintings: list[Path], side: int = 160) -> None:
    """A table of images: photos on the left, paintings at the top, results in the cells."""
    rows = [
        [None, *paintings],
        *([photo, *(folder / f"{photo.stem}-{p.stem}.png" for p in paintings)] for photo in photos),
    ]
    canvas = Image.new("RGB", ((side + 4) * (len(paintings) + 1), (side + 4) * (len(photos) + 1)), "white")
    for i, row in enumerate(rows):
        for j, path in enumerate(row):
            if path is not None:
                image = Image.open(path).convert("RGB")
                image.thumbnail((side, side), Image.Resampling.LANCZOS)
                corner = [(side + 4) * k + (side - length) // 2 for k, length in ((j, image.width), (i, image.height))]
                canvas.paste(image, (corner[0], corner[1]))
    canvas.save(folder / "sheet.jpg", quality=88)


GATYS = {"statistic": "gram", "palette": False}
GATYS_LAYERS = {"vgg19": "relu1_1,relu2_1,relu3_1", "eye": "relu1_1,relu2_1,relu3_1,relu4_1"}
STEPS = 100
"""Iterations of every recipe: 100 at one scale, or 50, 25 and 25 at three."""


def run_recipes(arguments: argparse.Namespace) -> None:
    """Minimises Gatys' loss with several recipes: the same network and number of evaluations."""
    size = arguments.size or 160
    weights = {"vgg19": save_vgg19(arguments.weights / VGG, arguments.out), "eye": None}
    print("| network | recipe | seconds | loss | style | content | Gatys' L-BFGS by then | its last loss after |")
    print("|" + "---|" * 8)
    chosen = list(zip(list_images(arguments.photos)[::-1], list_images(arguments.paintings), strict=False))[:4]
    for network, layers in GATYS_LAYERS.items():
        traces: dict[str, list[list[TracePoint]]] = {}
        for photo, painting in chosen:
            options = {**GATYS, "size": size, "network": network, "weights": weights[network], "style_layers": layers,
                     "device": arguments.device}  # fmt: skip
            one_scale = {**options, "min_scale": 10_000, "iterations": STEPS // 2}
            planned = [plan_transfer(photo, [painting], (), (), resolve_options(None, own)) for own in (
                one_scale, {**options, "iterations": STEPS // 4})]  # fmt: skip
            for title, trace in (
                ("Gatys, L-BFGS", run_gatys(planned[0], make_lbfgs)),
                ("Gatys, Adam", run_gatys(planned[0], lambda x: torch.optim.Adam([x], ADAM))),
                ("ours, one scale", run_ganvas(planned[0])),
                ("ours, three scales", run_ganvas(planned[1])),
            ):
                traces.setdefault(title, []).append(trace)
        gatys = traces["Gatys, L-BFGS"]
        for title, results in traces.items():
            last = np.mean(
                [[trace[-1].seconds, trace[-1].loss, trace[-1].style, trace[-1].content] for trace in results], axis=0
            )
            then = np.mean([
                min(m.loss for m in known if m.seconds <= max(trace[-1].seconds, known[0].seconds))
                for trace, known in zip(results, gatys, strict=True)
            ])  # fmt: skip
            times = [
                next((m.seconds for m in trace if m.loss <= known[-1].loss), None)
                for trace, known in zip(results, gatys, strict=True)
            ]
            reached = [seconds for seconds in times if seconds is not None]
            summary = f"{np.mean(reached):.1f} s ({len(reached)} of {len(times)})" if reached else "never"
            row = " | ".join(f"{x:.3g}" for x in (*last, then))
            print(f"| {network} | {title} | {row} | {summary} |", flush=True)


def make_lbfgs(image: Tensor) -> torch.optim.Optimizer:
    return torch.optim.LBFGS([image], max_iter=1, tolerance_grad=0, tolerance_change=0)


ADAM = 10 / 127.5
"""The learning rate of neural-style (Johnson 2015), converted from pixels in 0..255 to -1..1."""


class TracePoint(NamedTuple):
    """CPU seconds so far, and the loss at the size of the result with its terms."""

    seconds: float
    loss: float
    style: float
    content: float


def run_gatys(planned: TransferPlan, optimiser: Callable[[Tensor], torch.optim.Optimizer]) -> list[TracePoint]:
    """Gatys' recipe: starts from the photo, one scale, unbounded; clamped to [-1, 1] only to evaluate the loss."""
    size = (planned.content.shape[2], planned.content.shape[3])
    start = time.process_time()
    objective, image = planned.objective(size), planned.initial_image(size).clone().requires_grad_()
    method, trace, excluded = optimiser(image), [], 0.0

    def closure() -> float:
        value = objective(image)
        image.grad = value.gradient.contiguous()
        return value.loss

    for _ in range(STEPS):
        method.step(closure)
        now = time.process_time()
        value = objective(image.detach().clamp(-1, 1))
        trace.append(TracePoint(now - start - excluded, value.loss, value.style, value.content))
        excluded += time.process_time() - now
    return trace


def run_ganvas(planned: TransferPlan) -> list[TracePoint]:
    trace, start, full = [], time.process_time(), planned.content.shape[2]

    def record(now: Iterate) -> None:
        if now.height == full:
            trace.append(TracePoint(time.process_time() - start, now.loss, now.style, now.content))

    run_plan(planned, record)
    return trace


def run_cost(arguments: argparse.Namespace) -> None:
    """Measures each size in its own process, because the peak memory of a process never falls."""
    if arguments.one:
        size, tile = int(arguments.one[0]), int(arguments.one[1]) or None
        photo, painting = list_images(arguments.photos)[-1], list_images(arguments.paintings)[-1]
        planned = plan_transfer(
            photo, [painting], (), (), resolve_options(None, {"size": size, "tile": tile, "device": arguments.device})
        )
        full = (planned.content.shape[2], planned.content.shape[3])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        objective, image, times = planned.objective(full), planned.initial_image(full), []
        for _ in range(4):
            start = time.process_time()
            objective(image)
            times.append(time.process_time() - start)
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


def list_images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in IMAGE_SUFFIXES)


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
    {"pairs": run_pairs, "recipes": run_recipes, "cost": run_cost}[arguments.what](arguments)


if __name__ == "__main__":
    main()
