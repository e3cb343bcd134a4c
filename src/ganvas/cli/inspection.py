"""`ganvas sample`, `plot`, `data` and `recipes`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganvas.cli.output import print_json
from ganvas.config import to_json
from ganvas.errors import GanvasError
from ganvas.recipes import RECIPES


def sample(
    run: Positional[Path],
    seeds: str = "0-63",
    out: Path | None = None,
    each: Path | None = None,
    class_: Annotated[str | None, arg(name="class")] = None,
    truncation: float = 1.0,
    interpolate: str | None = None,
    video: Path | None = None,
    frames: int = 25,
    columns: int | None = None,
    scale: int | None = None,
    device: str = "cpu",
) -> None:
    """Generate images with a trained generator.

    Args:
        run: A run folder (its newest snapshot is used), or one snapshot.
        seeds: Seeds of the images, such as 0-7,12; the same seed always gives the same image.
        out: File of the image grid; by default grid.png in the working folder. With classes, one class per row.
        each: Write each image to a file in this folder instead, at its own size: seed00000.png …
        class_: Generate this class only, by its name or number.
        truncation: Below 1: more typical, less varied.
        interpolate: Interpolate from seed to seed along great circles and back: 0,7,12.
        video: File of the interpolation: .gif, .webp or .png (animated).
        frames: Images between two seeds of the interpolation.
        columns: Columns of the grid.
        scale: Enlarge each pixel by this factor; by default small images are enlarged.
        device: Where to compute: auto, cpu, cuda …
    """
    from ganvas import image_io
    from ganvas.sampling import load, parse_seeds

    if scale is not None and not 1 <= scale <= 256:
        raise GanvasError(f"--scale is {scale}.", expected="a whole number from 1 to 256")
    drawn = load(run, device=device)
    label = drawn.find_class(class_) if class_ is not None else None
    if (interpolate is None) != (video is None):
        raise GanvasError(
            "An interpolation needs both --interpolate and --video.",
            fix="--interpolate 0,7,12 --video interpolation.gif",
        )
    if interpolate is not None and video is not None:
        path = parse_seeds(interpolate)
        batches = drawn.interpolate(path, frames=frames, label=label, truncation=truncation)
        n = image_io.save_animation((image for part in batches for image in part.numpy()), video)
        print(f"{n} images in {video}")
        return
    chosen = parse_seeds(seeds)
    if each is not None:
        images = (i for part in drawn.sample_batches(chosen, label=label, truncation=truncation) for i in part.numpy())
        for seed, image in zip(chosen, images, strict=True):
            image_io.save_image(image_io.to_pil(image, scale or 1), each / f"seed{seed:05d}.png")
        print(f"{len(chosen)} images in {each}")
        return
    out = out or Path("grid.png")
    images, across, names = drawn.sample_grid(chosen, label=label, truncation=truncation, columns=columns)
    image_io.save_image(image_io.make_grid(images, across, row_names=names, scale=scale), out)
    print(f"{len(images)} images in {out}")


def plot(runs: Positional[tuple[Path, ...]], out: Path | None = None) -> None:
    """Plot the training curves of one run, or of several in one figure.

    Args:
        runs: Run folders.
        out: The file of the figure; by default losses.png in the run's folder, or curves.png for several.
    """
    from ganvas.runs.curves import plot as draw

    if not runs:
        raise GanvasError("No run was named.", fix="ganvas plot runs/00000-digits-digits")
    print(draw(runs, out or (runs[0] / "losses.png" if len(runs) == 1 else Path("curves.png"))))


def inspect_data(
    source: Positional[str],
    split: str = "train",
    resolution: str | None = None,
    channels: int | None = None,
    fit: str = "crop",
    json: bool = False,
) -> None:
    """Report what is in a set of images, and which of its files have problems.

    Args:
        source: Anything that --data takes: a folder, a zip, IDX, CIFAR-10, .npz, mnist, hf:owner/name …
        split: train or test.
        resolution: Height, or HEIGHTxWIDTH, as it would be trained.
        channels: 1, 3 or 4, as it would be trained.
        fit: crop, pad or stretch.
        json: Print JSON.
    """
    from ganvas.data import DataOptions
    from ganvas.data import inspect as examine

    report = examine(DataOptions(source, split, resolution, channels, fit))  # type: ignore[arg-type]
    if json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        Console().print(report)


def list_recipes(json: bool = False) -> None:
    """List the recipes.

    Args:
        json: Print JSON, with every knob.
    """
    if json:
        print_json(
            {
                name: {"summary": r.summary, "source": r.source, "cost": r.cost, "config": to_json(r.config)}
                for name, r in RECIPES.items()
            }
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, plain in (("recipe", True), ("description and source", False), ("data", True), ("kimg", True)):
        table.add_column(title, no_wrap=plain)
    table.add_column("images/s, two CPU cores")
    for name, r in RECIPES.items():
        c = r.config
        table.add_row(f"[bold]{name}[/]", f"{r.summary}\n[dim]{r.source}[/]", c.dataset.data, f"{c.kimg:g}", r.cost)
    Console().print(table)
