"""`ganvas style`: a photo in the style of a painting."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganvas.cli.output import print_json
from ganvas.style.options import StyleOptions


def stylize(
    content: Annotated[Positional[Path], arg(metavar="PHOTO")],
    styles: Annotated[Positional[tuple[Path, ...]], arg(metavar="PAINTING …", help_behavior_hint="")],
    out: Annotated[Path, arg(aliases=["-o"])] = Path("styled.png"),
    masks: Annotated[tuple[Path, ...], arg(metavar="IMAGE …", help_behavior_hint="")] = (),
    style_masks: Annotated[tuple[Path, ...], arg(metavar="IMAGE …", help_behavior_hint="")] = (),
    preview: Path | None = None,
    gif: Path | None = None,
    options: Annotated[StyleOptions, arg(name="")] = StyleOptions(),  # noqa: B008
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Redraw a photo in the style of one or more paintings.

    While a photo is redrawn, --out holds the intermediate result. Ctrl-C keeps it, and the animation until then.

    Args:
        content: A photo, or a folder of them.
        styles: One painting or several.
        out: The result's file; for a folder of photos, a folder.
        masks: One greyscale image for each style: where it is applied. What no mask covers stays as in the photo.
        style_masks: One greyscale image for each style: the part of the painting whose style is used.
        preview: Write intermediate results to this file instead of --out.
        gif: An animation of the intermediate results: .gif, .webp or .png.
        quiet: Print nothing.
        json: Print one JSON object for each image.
    """
    from ganvas.style.files import stylize_files

    for done in stylize_files(content, styles, out, masks, style_masks, preview, gif, options, quiet=quiet or json):
        if json:
            print_json(done)
