"""`ganvas sample` and `ganvas plot`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganvas.cli.output import refuse_together
from ganvas.errors import GanvasError


def sample(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    seeds: str | None = None,
    label: str | None = None,
    class_: Annotated[str | None, arg(name="class")] = None,
    truncation: float = 1.0,
    out: Path | None = None,
    each: Path | None = None,
    video: Path | None = None,
    frames: int = 25,
    columns: int | None = None,
    scale: int | None = None,
    device: str = "auto",
) -> None:
    """Generate images with a trained generator.

    Args:
        run: A run folder (its newest snapshot is used), or one snapshot.
        seeds: Seeds of the images, by default 0-63; the same seed always gives the same image. Of a video, by default
            0-7.
        label: Generate this class only, by its name or number.
        class_: Another name of --label.
        truncation: Below 1: more typical, less varied.
        out: File of the image grid; by default grid.png in the working folder. Of a generator with classes, each row
            is a class, drawn from the first seeds: 64 seeds and 10 classes make 6 columns.
        each: Write each image to a file in this folder instead, at its own size: seed00000.png …
        video: File of an interpolation from seed to seed along great circles and back: .gif, .webp or .png (animated).
        frames: Images between two seeds of the video.
        columns: Columns of the grid.
        scale: Enlarge each pixel by this factor; by default small images are enlarged.
        device: Where to compute: auto, cpu, cuda …
    """
    from ganvas import image_io
    from ganvas.progress import progress_bar
    from ganvas.sampling import load
    from ganvas.seeds import parse_seeds

    refuse_together("--label", label is not None, ("--class", class_ is not None))
    several = [("--each", each is not None), ("--out", out is not None), ("--columns", columns is not None)]
    refuse_together("--video", video is not None, *several, ("--scale", scale is not None))
    refuse_together("--each", each is not None, *several[1:])
    label = class_ if label is None else label
    if scale is not None and not 1 <= scale <= 256:
        raise GanvasError(f"--scale is {scale}.", expected="a whole number from 1 to 256")
    drawn = load(run, device=device)
    if video is not None:
        batches = drawn.interpolate(seeds or "0-7", frames=frames, label=label, truncation=truncation)
        n = image_io.save_animation((image for part in batches for image in part.numpy()), video)
        print(f"{n} images in {video}")
        return
    chosen = parse_seeds(seeds or "0-63")
    if each is not None:
        images = (i for part in drawn.sample_batches(chosen, label=label, truncation=truncation) for i in part.numpy())
        with progress_bar("Sampling", len(chosen), shown=True) as advance:
            for seed, image in zip(chosen, images, strict=True):
                image_io.save_image(image_io.to_pil(image, scale or 1), each / f"seed{seed:05d}.png")
                advance(1)
        print(f"{len(chosen)} images in {each}")
        return
    out = out or Path("grid.png")
    images, across, names = drawn.sample_grid(
        chosen, label=label, truncation=truncation, columns=columns, progress=True
    )
    image_io.save_image(image_io.make_grid(images, across, row_names=names, scale=scale), out)
    print(f"{len(images)} images in {out}")


def plot(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN …", help_behavior_hint="")], out: Path | None = None
) -> None:
    """Plot the training curves of one run, with the film of its images, or of several in one figure.

    Args:
        runs: Run folders.
        out: The file of the figure, without a film; by default losses.png and training.webp in the run's folder, or
            curves.png for several.
    """
    from ganvas.runs import film
    from ganvas.runs.curves import plot as draw
    from ganvas.runs.folder import Run

    print(draw(runs, out))
    if len(runs) == 1 and out is None and (made := film.save(Run(runs[0]))):
        print(made)
