"""`ganvas project` and `ganvas directions`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ganvas.cli.output import make_console, print_json


def project(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    photos: Annotated[Positional[tuple[Path, ...]], arg(metavar="PHOTO …", help_behavior_hint="")],
    label: Annotated[str | None, arg(aliases=["--class"])] = None,
    seed: int = 0,
    steps: int | None = None,
    references: int | None = None,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find the place of photos in the latent space of a trained generator.

    Writes projection.png (photo, found, difference), latents.npz (for sample --latents) and search.webp, a film of the
    search. The distances of training pictures, held-out ones and pictures of other kinds stand beside the photos'.
    Ctrl-C ends the search and writes what was found.

    Args:
        run: A run folder (its newest snapshot is used), one snapshot, or pretrained:digits28; see ganvas sample --help.
        photos: Files of pictures of any size.
        label: Their class, by its name or number; by default the class that fits best.
        seed: Of the random pictures where the search starts.
        steps: Of the search, by default 240; on a CPU fewer where one photo would take more than about two minutes.
        references: How many pictures of each kind are sought for comparison, by default 4 (on a CPU also fewer); 0 for
            none.
        out: The folder of what is written, by default projection/ and the name of the first photo.
        device: Where to compute: auto, cpu, cuda …
        json: Print distances as JSON.
    """
    from ganvas.interrupts import collect_stop_requests
    from ganvas.latent_space.projection import check_folder, check_sheet
    from ganvas.latent_space.projection import project as find
    from ganvas.latent_space.search import SearchStep
    from ganvas.sampling import load

    out = out or Path("projection", *(photo.absolute().stem[:100] for photo in photos[:1]))
    earlier = any(file.exists() for file in check_folder(out))
    sampler = load(run, device=device)
    check_sheet(max(1, len(photos)), *sampler.card.shape[1:3])

    def announce() -> None:
        if not stop.raising:
            print("Stopping: what was found is written. Ctrl-C again ends at once.", file=sys.stderr)

    with collect_stop_requests(announce) as stop:
        stop.raising = True  # until something is found

        def watch(step: SearchStep) -> bool:
            stop.raising = False
            return not stop

        found = find(sampler, photos, label=label, seed=seed, steps=steps, references=references, callback=watch)
        found.save(out)
    if json:
        print_json(found.to_json())
    else:
        make_console().print(found)
        print(f"projection.png, latents.npz and search.webp are in {out}{', in place of earlier ones' * earlier}")
    if stop:
        raise KeyboardInterrupt(f"stopped; what was found until then is in {out}")


def directions(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    method: Literal["pca", "sefa"] = "pca",
    seed: int = 0,
    label: Annotated[str | None, arg(aliases=["--class"])] = None,
    out: Annotated[Path, arg(aliases=["-o"])] = Path("directions.png"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find directions along which the pictures of a generator change in ways that mean something.

    Writes a sheet of the first eight: the picture of one seed, moved along each. `ganvas sample RUN --direction pca:2
    --amount -3..3` moves pictures along one of them.

    Args:
        run: A run folder (its newest snapshot is used), one snapshot, or pretrained:digits28; see ganvas sample --help.
        method: pca: what varies most (GANSpace); sefa: what the weights amplify most.
        seed: Of the picture; the directions are those of ganvas sample --direction whatever it is.
        label: The class of the picture, by its name or number; by default the first.
        out: The file of the sheet.
        device: Where to compute: auto, cpu, cuda …
        json: Print the share of each direction as JSON.
    """
    from ganvas.image_io import check_image_file
    from ganvas.latent_space.axes import directions as find
    from ganvas.sampling import load
    from ganvas.seeds import check_seeds

    check_image_file(out)
    check_seeds([seed])
    drawn = load(run, device=device)
    check_image_file(out, drawn.card.shape.channels)
    number = None if label is None else drawn.find_class(label)
    found = find(drawn, method=method)
    found.save_sheet(out, seed, number)
    print_json(found.to_json()) if json else print(f"{found!r}\n{out}", *filter(None, [found.note]), sep="\n")
