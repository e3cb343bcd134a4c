"""`ganvas export`."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ganvas.cli.output import UsageError, make_console, print_json


def export(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    to: Literal["onnx", "pt2", "web", "hub"],
    out: Annotated[Path, arg(aliases=["-o"])],
    half: bool = False,
    licence: str | None = None,
    upload: str | None = None,
    json: bool = False,
) -> None:
    """Write a generator for other programs, checked against our own images.

    The images of 64 seeds are compared before anything is written, and how far they are apart is printed.

    Args:
        run: A run folder (its newest snapshot is used), one snapshot, pretrained:digits28, or hf:owner/name@revision;
            see ganvas sample --help.
        to: onnx: for ONNX Runtime and others; of networks with a style for each layer also NAME.mapping.onnx and
            NAME.synthesis.onnx. pt2: for PyTorch without Ganvas. web: one HTML file that draws in any browser,
            from the disk, without a network. hub: a folder for the Hugging Face hub.
        out: The file to write, which ends in .onnx, .pt2 or .html; or the folder for the hub. An earlier export there
            is replaced, with your changes of its README.md.
        half: Of onnx and web: weights in half precision; half the size, and what it costs is measured. A page has them
            anyway where no pixel changes by more than 1 of 255.
        licence: Of hub: the licence that you choose, by the hub's name: mit, cc-by-4.0 … A generator that has one, as
            pretrained:digits28, keeps it.
        upload: Of hub: upload the folder to this repository, owner/name, with your own token, at once and without
            nearest.png, which shows training images. To look first, leave it out, then: hf upload OWNER/NAME FOLDER.
        json: Print JSON.
    """
    from ganvas.exporting.formats import FORMATS
    from ganvas.exporting.formats import export as write

    for name, given in (("half", half), ("licence", licence is not None), ("upload", upload is not None)):
        if given and name not in FORMATS[to].options:
            takers = " or ".join(f"--to {other}" for other, one in FORMATS.items() if name in one.options)
            raise UsageError(f"--{name} is not of --to {to}.", expected=takers, fix=f"leave --{name} out.")
    found = write(run, to=to, out=out, half=half, licence=licence, upload=upload)
    print_json(found.to_json()) if json else make_console().print(found)
