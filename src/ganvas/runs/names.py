"""Names of snapshots and grids: the images shown until then, in thousands (kimg).

`000060.416` is after 60,416 images, `000060` after 60,000. Earlier versions left out what is beyond whole kimg, so in
their runs a name without decimals stands for up to 999 images more.
"""

import re
from collections.abc import Iterable
from pathlib import Path

NUMBER = r"([0-9]{6,12})(?:\.([0-9]{3}))?"
"""A number of kimg in a name, as a regular expression: groups of the whole ones and of the rest."""


def name_images(nimg: int) -> str:
    """The number of kimg in the name of what is written after nimg images."""
    kimg, rest = divmod(nimg, 1000)
    return f"{kimg:06d}.{rest:03d}" if rest else f"{kimg:06d}"


def format_kimg(nimg: int) -> str:
    """nimg images in kimg, exactly, for a reader: 60.416, 1,200."""
    return f"{nimg / 1000:,.3f}".rstrip("0").rstrip(".")


def numbered(paths: Iterable[Path]) -> list[tuple[int, Path]]:
    """(images shown until then, path) of folders of snapshots or of grids, oldest first; others are left out."""
    matches = [(re.fullmatch(rf"(?:fakes)?{NUMBER}(?:\.png)?", path.name), path) for path in paths]
    return sorted((1000 * int(match[1]) + int(match[2] or 0), path) for match, path in matches if match)


def title_generator(path: Path) -> str:
    """The name of a generator without the folders of this machine: RUN/snapshots/NAME of a run's snapshot."""
    *_, run, folder, name = ("", "", *path.absolute().parts)
    return f"{run}/{folder}/{name}" if run and folder == "snapshots" else name


def grid_file(run: Path, nimg: int) -> Path:
    """The grid of a run after nimg images, also of a run of an earlier version; where it is to be if there is none."""
    exact, whole = (run / f"fakes{name}.png" for name in (name_images(nimg), name_images(nimg - nimg % 1000)))
    return whole if whole.exists() and not any(run.glob("fakes*.*.png")) else exact
