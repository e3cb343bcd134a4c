"""`ganvas sample` and `ganvas plot`."""

import functools
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ganvas.cli.output import UsageError, refuse_together


def sample(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    seeds: str | None = None,
    label: str | None = None,
    class_: Annotated[str | None, arg(name="class")] = None,
    truncation: Annotated[tuple[float, ...], arg(metavar="FLOAT …")] = (1.0,),
    latents: Annotated[tuple[Path, ...] | None, arg(metavar="FILE …", help_behavior_hint="")] = None,
    direction: str | None = None,
    amount: str | None = None,
    move: str | None = None,
    mix: str | None = None,
    layers: str | None = None,
    noise: str | None = None,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
    each: Path | None = None,
    video: Path | None = None,
    frames: int | None = None,
    easing: Literal["linear", "smooth"] | None = None,
    loop: bool = True,
    fps: int | None = None,
    save_latents: Path | None = None,
    columns: int | None = None,
    scale: int | None = None,
    device: str = "auto",
) -> None:
    """Generate images with a trained generator.

    Args:
        run: A run folder (its newest snapshot is used), one snapshot, pretrained:digits28 or pretrained:digits, which
            come with Ganvas, hf:owner/name@revision on the hub, or https://…/NAME.safetensors#sha256=DIGEST.
        seeds: Seeds of the images, by default 0-63; the same seed always gives the same image. Of a video, by default
            0-7; with --direction 0-3, of a video 0; with --mix 0-5.
        label: Generate this class only, by its name or number. Of --latents where the file has no classes itself. With
            --mix it is for rows and columns; without it seeds beside a file of one class are of that class.
        class_: Another name of --label.
        truncation: Below 1: more typical, less varied. Of several, as 0.5 0.7 1, the grid has a row for each, with the
            same seeds, by default 0-7; a video shows them side by side.
        latents: Files of latents in place of seeds: of --save-latents or ganvas project (.npz), or z, n × k, or
            w, n × layers × k, of another program (.npy, .npz). Of several files those of one follow those of the
            other. RUN goes before them.
        direction: Move the images along a direction that ganvas directions found: pca:2, sefa:0 …
        amount: How far, in standard deviations: by default -3..3, seven steps; -2..2:9 are nine, and 0,1.5,3 these. Of
            a video, from the first to the last.
        move: Move the images along several directions at once, by these amounts: pca:0=1.5,sefa:2=-1.
        mix: Style mixing: a grid of --seeds or --latents, one a row, which give the coarse layers, and these seeds, or
            the latents of this file, one a column, which give the fine ones.
        layers: Of --mix how many layers are coarse, by default half; or which ones, numbered from 0: 0-2,5. Without
            --mix those that --direction and --move are for, by default all. Only where each layer has a style.
        noise: Of a StyleGAN: other noise than the snapshot's, by a seed, or none; for some layers as in 7:0-3.
        out: File of the image grid; by default grid.png in the working folder. Of a generator with classes, each row
            is a class, drawn from the first seeds: 64 seeds and 10 classes make 6 columns.
        each: Write each image to a file in this folder instead, at its own size: seed00000.png …
        video: File of an interpolation from seed to seed and back: .webp, .gif, .png (animated), .mp4 or .webm.
        frames: Images between two seeds of the video, by default 25; along a direction half as many as from end to end.
        easing: Of the video: by default smooth, which is slow at each seed.
        loop: Whether the video goes back to its first image.
        fps: Frames a second of the video, by default 25; a .gif has at most 50.
        save_latents: Write the latents of the images to this file (.npz) too, or the numbers alone (.npy); of a video
            those between which it goes.
        columns: Columns of the grid.
        scale: Enlarge each pixel by this factor; by default small images are enlarged, but not those of --each.
        device: Where to compute: auto, cpu, cuda …
    """
    from ganvas import image_io
    from ganvas.animation import check_animation, check_frames, save_animation
    from ganvas.files import check_writable
    from ganvas.latent_space.noise import change_noise
    from ganvas.latent_space.pictures import Request, find_directions, side_by_side, truncated_rows
    from ganvas.latents import check_latents_file
    from ganvas.progress import progress_bar
    from ganvas.sampling import load
    from ganvas.values import to_whole

    refuse_together("--label", label is not None, ("--class", class_ is not None))
    grid_only = [("--out", out is not None), ("--columns", columns is not None)]
    mixed = ("--mix", mix is not None)
    refuse_together("--video", video is not None, ("--each", each is not None), *grid_only, mixed)
    refuse_together("--each", each is not None, *grid_only, ("--direction", direction is not None))
    refuse_together("--mix", mix is not None, ("--direction", direction is not None), grid_only[1])
    of_seeds = [("--seeds", seeds is not None), ("--truncation", truncation != (1.0,))]
    refuse_together("--latents", latents is not None, *of_seeds)
    refuse_together("--direction", direction is not None, grid_only[1])
    several = ("several values of --truncation", len(truncation) > 1)
    written = [("--each", each is not None), ("--save-latents", save_latents is not None)]
    refuse_together(*several, ("--latents", latents is not None), *written, mixed, grid_only[1])
    moved = [("--direction", direction is not None), ("--move", move is not None)]
    if video is None:
        refuse_together(*several, *moved)
    if not truncation:
        raise UsageError("--truncation has no value.", fix="--truncation 0.7, or 0.5 0.7 1 for a row of each.")
    if latents is not None and not latents:
        raise UsageError("--latents has no value.", fix="--latents FILE.npz, or several files.")
    of_video = ("--video", video is not None)
    for name, given, needed, is_there in (
        ("--layers", layers is not None, "--mix, --direction or --move", any(given for _, given in (mixed, *moved))),
        ("--amount", amount is not None, "--direction", direction is not None),
        ("--frames", frames is not None, *of_video),
        ("--easing", easing is not None, *of_video),
        ("--no-loop", not loop, *of_video),
        ("--fps", fps is not None, *of_video),
    ):
        if given and not is_there:
            raise UsageError(f"{name} is of {needed}, which is missing.", fix=f"add {needed}, or leave {name} out.")
    label = class_ if label is None else label
    if scale is not None:
        to_whole(scale, "--scale", 1, image_io.MAX_SCALE)
    if columns is not None:
        to_whole(columns, "--columns", 1)
    fps, out = 25 if fps is None else fps, out or Path("grid.png")
    if save_latents is not None:
        check_latents_file(save_latents)
    if video is not None:
        check_animation(video, fps, scale)
    elif each is not None:
        check_writable(each / "seed00000.png")
    else:
        image_io.check_image_file(out)
    drawn = load(run, device=device)
    if noise is not None:
        drawn = change_noise(drawn, noise)
    find = functools.cache(find_directions)  # once for all truncations
    requests = [Request(seeds, label, one, latents, direction, amount, mix, layers, move, find) for one in truncation]
    request, frames = requests[0], 25 if frames is None else frames
    # all is checked before anything is written
    film = None
    if video is not None:
        _, height, width = drawn.card.shape[:3]
        scale = scale or image_io.choose_scale(height, width)
        length = request.film_length(frames=frames, loop=loop)
        check_frames(video, length, height, len(requests) * (width + 1) - 1, scale)
        film = side_by_side([one.film(drawn, frames=frames, easing=easing or "smooth", loop=loop) for one in requests])
    elif each is None:
        image_io.check_image_file(out, drawn.card.shape.channels)
        if len(truncation) == 1:
            request.check_grid(drawn, columns, scale, out)
    if save_latents is not None:
        if video is not None:
            points = request.film_ends(drawn)
        else:
            points = request.latents_of_grid(drawn, columns) if each is None else request.latents_of(drawn)
        points.save(save_latents)
        print(f"latents in {save_latents}")
    if video is not None and film is not None:
        n = save_animation((image for part in film for image in part.numpy()), video, fps=fps, scale=scale)
        print(f"{n} images in {video}")
        if len(truncation) > 1:
            print(f"from left to right: truncation {', '.join(f'{one:g}' for one in truncation)}")
        return
    if each is not None:
        names = request.names
        with progress_bar("Sampling", len(names), shown=True) as advance:
            images = (image for part in request.batches(drawn) for image in part.numpy())
            for name, image in zip(names, images, strict=True):
                image_io.save_image(image_io.to_pil(image, scale or 1), each / f"{name}.png")
                advance(1)
        print(f"{len(names)} images in {each}")
        return
    if len(truncation) > 1:
        of = "0-7" if seeds is None else seeds
        images, across, names = truncated_rows(drawn, truncation, of, label, scale, out)
    else:
        images, across, names = request.grid(drawn, columns, scale)
    image_io.save_image(image_io.make_grid(images, across, row_names=names, scale=scale), out)
    if mix is None:
        of_classes = request.plain and len(truncation) == 1 and len(names) > 0
        which = f": the first {'seed' if across == 1 else f'{across} seeds'} in each of {len(names)} classes"
        print(f"{len(images)} images in {out}{which if of_classes else ''}")
        return
    of_rows = "the coarse layers" if layers is None or layers.isdecimal() else f"the layers {layers}"
    print(f"{len(request.names)} images in {out}, and those that are mixed at the left and at the top")
    print(f"rows give {of_rows}, columns ({request.fine}) the others")


def plot(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN …", help_behavior_hint="")],
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
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
