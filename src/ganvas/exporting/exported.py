"""The result of an export: its files, how far their images are from ours, and what is in their card."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.config import CODE_KNOBS
from ganvas.display import Displayed, Paragraph, Part
from ganvas.errors import GanvasError
from ganvas.exporting.parity import Parity
from ganvas.files import disk_usage, format_bytes
from ganvas.runs.lookup import origin_name
from ganvas.runs.snapshot import Card
from ganvas.specs import is_spec, without_folder


@dataclass(frozen=True, repr=False)
class Exported(Displayed):
    """What was exported.

    Attributes:
        to: the format.
        files: the files, or the folder, that were written.
        parity: their images beside ours.
        notes: for the user, one sentence each.
    """

    to: str
    files: tuple[Path, ...]
    parity: tuple[Parity, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return {
            "to": self.to,
            "files": [str(file) for file in self.files],
            "parity": [one.to_json() for one in self.parity],
            "notes": list(self.notes),
        }

    def _line(self) -> str:
        return f"Exported({', '.join(map(str, self.files))})"

    def _parts(self) -> Iterator[Part]:
        for file in self.files:
            yield Paragraph(f"{file} ({format_bytes(disk_usage(file)[0])})", "bold")
        for parity in self.parity:
            yield Paragraph(str(parity))
        for note in self.notes:
            yield Paragraph(note)


def public_card(card: Card) -> dict[str, Any]:
    """A card as it is given to others: without the folders of this machine."""
    plain = card.to_json()
    plain["sources"] = {Path(name).name: {"sha256": found["sha256"]} for name, found in card.sources.items()}
    plain["network"] = {
        knob: without_folder(value) if knob in CODE_KNOBS and is_spec(value) else value
        for knob, value in plain["network"].items()
    }
    if card.lineage:
        plain["lineage"] = {**card.lineage, "from": origin_name(card.lineage)}
    if card.d_networks:
        plain["d_networks"] = [{**one, "network": without_folder(one["network"])} for one in card.d_networks]
    return plain


def check_suffix(path: Path, suffix: str) -> None:
    """Refuses another name of a file.

    Raises:
        GanvasError: it does not end in `suffix`.
    """
    if path.suffix.lower() != suffix:
        raise GanvasError(
            f"--out is {path}.",
            expected=f"a name that ends in {suffix}",
            fix=f"--out {path.stem or 'generator'}{suffix}",
        )
