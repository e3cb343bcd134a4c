"""`ganvas.export`: a generator in a form that other programs use, checked against our own images.

Each format is a module of its own; a new one is a row in `FORMATS`.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from ganvas.errors import GanvasError
from ganvas.exporting.exported import Exported
from ganvas.files import to_path
from ganvas.pytorch_state import default_state, readable_tf32_flag
from ganvas.runs.folder import Run
from ganvas.sampling import load
from ganvas.values import to_choice, to_flag, to_text


@dataclass(frozen=True)
class Options:
    """What some formats take; see `export`."""

    half: bool = False
    licence: str | None = None
    upload: str | None = None


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        module: of `ganvas.exporting`, with a function write(sampler, path, options) -> Exported.
        packages: that it needs, of the extra.
        extra: which brings them.
        options: the names of those of `Options` that it takes.
    """

    module: str
    packages: tuple[str, ...] = ()
    extra: str = ""
    options: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format("onnx_file", ("onnx", "onnxscript", "onnxruntime"), "export", ("half",)),
    "pt2": Format("program"),
    "web": Format("web_page", ("onnx", "onnxscript", "onnxruntime"), "export", ("half",)),
    "hub": Format("hub_folder", options=("licence", "upload")),
}


@default_state()
def export(
    run: Run | Path | str,
    *,
    to: Literal["onnx", "pt2", "web", "hub"],
    out: Path | str,
    half: bool = False,
    licence: str | None = None,
    upload: str | None = None,
) -> Exported:
    """Writes a generator as a file or folder for other programs; its images are compared with ours first.

        ganvas.export("runs/00000-cnn-mnist", to="onnx", out="digits.onnx")

    Args:
        run: anything that `ganvas.load` takes.
        to: onnx: a file for ONNX Runtime and others; pt2: an exported program, for PyTorch without Ganvas; web: one
            HTML file that draws in any browser without a network; hub: a folder for the Hugging Face hub, which
            `ganvas.load` reads too.
        out: the file, or for hub the folder; an earlier export there is replaced, README.md too.
        half: of onnx and web: weights in half precision, for half the size; what it costs is measured. A page has
            them anyway where no pixel changes by more than 1 of 255.
        licence: of hub: the licence of the generator, as the hub names it: mit, cc-by-4.0 … By default the one that it
            has, as those of the package do.
        upload: of hub: the repository on the hub, owner/name, to which the folder is uploaded with your token, without
            nearest.png, which shows training images.

    Raises:
        GanvasError: there is no usable snapshot, its images differ, a package is missing, or a file cannot be written.
    """
    to = to_choice(to, "--to", FORMATS)  # type: ignore[assignment]
    path = to_path(out, "a file or a folder to write")
    options = Options(
        to_flag(half, "--half"),
        *(
            None if given is None else to_text(given, name, expected)
            for name, given, expected in (
                ("--licence", licence, "the name of a licence: mit, cc-by-4.0 …"),
                ("--upload", upload, "owner/name on the hub"),
            )
        ),
    )
    chosen = FORMATS[to]
    for name, value in vars(options).items():
        if value not in (None, False) and name not in chosen.options:
            takers = " or ".join(f"--to {other}" for other, one in FORMATS.items() if name in one.options)
            raise GanvasError(f"--{name} is not of --to {to}.", expected=takers, fix=f"leave --{name} out.")
    _check_packages(to, chosen)
    if not str(out) or path.name in ("", ".."):
        raise GanvasError(f"--out is {os.fspath(out)!r}.", expected="a name for what is written")
    sampler = load(run, device="cpu")
    with readable_tf32_flag():
        return import_module(f"ganvas.exporting.{chosen.module}").write(sampler, path, options)


def _check_packages(to: str, chosen: Format) -> None:
    """Refuses a format whose packages are missing.

    Raises:
        GanvasError: one is.
    """
    for package in chosen.packages:
        try:
            import_module(package)
        except ImportError as error:
            raise GanvasError(
                f"--to {to} needs the package {package}, which is not installed.",
                expected=f"the packages of the extra `{chosen.extra}`",
                fix=f"pip install 'ganvas[{chosen.extra}]'",
            ) from error
