"""A view of a generator: which picture is shown, as an address has it, and the command that draws the same one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.latent_space.axis_names import NAME
from ganvas.studio.answers import Refusal
from ganvas.studio.commands import quote
from ganvas.studio.generators import Source

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

_SEED, _LAYERS = r"[0-9]{1,19}", r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?){0,63}"
_MOVE = rf"{NAME}=-?[0-9]{{1,4}}(\.[0-9]{{1,6}})?"
FORMS = {
    "seed": (_SEED, "a whole number from 0"),
    "class": (r"[^\0]{1,300}", "the name of a class, or its number"),
    "truncation": (r"[0-9]{1,4}(\.[0-9]{1,6})?", "a number from 0"),
    "move": (rf"{_MOVE}(,{_MOVE}){{0,63}}", "directions and amounts, as pca:0=1.5,pca:1=-2"),
    "mix": (_SEED, "a whole number from 0"),
    "layers": (_LAYERS, "how many layers, or which ones, as 0-2,5"),
    "noise": (rf"([0-9]{{1,19}}|none)(:{_LAYERS})?", "a seed, or none; for some layers as in 7:0-3"),
    "place": (r"[0-9a-f]{12}", "the name of a place that was found for a photo"),
}
"""The parameters of a view: what each may be, and in words."""

PLACES = "places"
"""The folder of latents that were found for photos, among what is kept of a generator."""


@dataclass(frozen=True)
class View:
    """One picture of a generator.

    Attributes:
        source: the generator.
        fields: those of FORMS that are given.
        latents: the file of its place, if it is that of a photo.
    """

    source: Source
    fields: Mapping[str, str]
    latents: Path | None = None

    @property
    def words(self) -> list[str]:
        """The words of `ganvas sample` for it, without what is written."""
        given = dict(self.fields)
        words = ["sample", self.source.path]
        words += ["--latents", str(self.latents)] if self.latents else ["--seeds", given.get("seed", "0")]
        for name in ("class", "truncation", "mix", "layers", "move", "noise"):
            if name in given and not (name == "truncation" and float(given[name]) == 1):
                flag = f"--{name}"
                words += [f"{flag}={given[name]}"] if given[name].startswith("-") else [flag, given[name]]
        return words

    @property
    def command(self) -> str:
        """The command that draws this picture, at its own size."""
        return quote(["ganvas", *self.words, "--each", "pictures"])

    def to_json(self) -> dict[str, Any]:
        """What the worker draws it from."""
        given = self.fields
        return {
            "seeds": None if self.latents else given.get("seed", "0"),
            "latents": str(self.latents) if self.latents else None,
            "label": given.get("class"), "truncation": float(given.get("truncation", 1)), "mix": given.get("mix"),
            "layers": given.get("layers"), "move": given.get("move"), "noise": given.get("noise"),
        }  # fmt: skip


def read_view(studio: "Studio", source: Source, given: Mapping[str, Any]) -> View:
    """The view that an address or a body describes; parameters of other names are left alone.

    Raises:
        Refusal: a parameter is something else, two exclude each other, or the place is not there.
    """
    fields = {name: given[name] for name in FORMS if given.get(name) not in (None, "")}
    for name, value in fields.items():
        pattern, expected = FORMS[name]
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise Refusal(400, f"'{name}' is {str(value)[:100]!r}.", expected=expected, field=name)
    if "place" not in fields:
        return View(source, fields)
    excluded = [name for name in ("mix", "layers", "class", "truncation", "seed") if name in fields]
    if excluded:
        raise Refusal(400, f"A place has its own {excluded[0]}.", expected="a view without it", field=excluded[0])
    return View(source, fields, find_kept(studio, source, PLACES, f"{fields['place']}.npz"))


def find_kept(studio: "Studio", source: Source, *names: str) -> Path:
    """A file among what is kept of a generator.

    Raises:
        Refusal: it is not there, or leads elsewhere.
    """
    path = source.kept.joinpath(*names)
    if not path.is_file():
        raise Refusal(404, f"There is no {names[-1]} here any more.", field="place")
    return studio.folders.check_inside(path)
