"""Which folders are numbered parts of one set, as fold1 and fold2, rather than classes; decided by their names."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganvas.data.labels.splits import without_accents

_REPEATED_WORDS = "fold folds kfold cv crossval crossvalidation split splits run runs trial trials repeat"
_REPEATED = frozenset(_REPEATED_WORDS.split())
"""Words for parts that repeat all images, where each has splits of its own."""

_PIECE_WORDS = (
    "batch batches part parts chunk chunks shard shards subset subsets partition partitions piece pieces portion"
    " portions tranche tranches lot lots bunch bundle bundles bucket buckets volume volumes vol disc disk disks cd dvd"
    " tome half halves third quarter session sessions round rounds"
    " teil teile partie parties parte partes partitie deel delen lote lotes lotto lotti czesc czesci часть части"
    " партия 部分 批次 パート"
)
_PIECES = frozenset(_PIECE_WORDS.split()) | _REPEATED
_HOLDER_WORDS = (
    "set sets data dataset datasets collection image images img imgs picture pictures pics photo photos frame frames"
    " folder folders dir dirs directory archive archives zip tar package pack download downloads dump export import"
    " upload uploads file files satz ensemble conjunto zestaw bilder bild dossier ordner carpeta pasta cartella"
    " imagenes imagens immagini 数据 画像"
)
_PARTS = _PIECES | frozenset(_HOLDER_WORDS.split())
_FILLER_WORDS = "of no nr number num the and st nd rd th von de du della der"
_FILLERS = frozenset(_FILLER_WORDS.split())
_SPELLED_NUMBERS = (
    "i ii iii iv v vi vii viii ix x one two three four five six seven eight nine ten first second third fourth fifth"
    " last alpha beta gamma"
)
_SPELLED = frozenset(_SPELLED_NUMBERS.split())
_CAMERA = re.compile(r"[1-9]\d\d[A-Z0-9_]{5}")  # 100CANON, 101_PANA: a camera's folders


@dataclass(frozen=True)
class _Name:
    rest: str
    """The words that are no part's; the class where they differ."""
    kinds: frozenset[str]
    """The words for parts."""
    numbers: tuple[str, ...]


def find_parts(folders: Sequence[str], *, of_parts: bool = False) -> dict[str, str] | None:
    """The folders if they are numbered parts, each with the class that its name has too: empty, or `cats` of cats_2.

    Args:
        folders: sibling folders that contain images.
        of_parts: whether the folder that holds them is called `folds` or so: then bare numbers are parts too.
    """
    if len(folders) < 2:
        return None
    if all(_CAMERA.fullmatch(folder) for folder in folders):
        return dict.fromkeys(folders, "")
    names = {folder: _parse(folder) for folder in folders}
    found = set(names.values())
    if len(found) < len(folders) or not all(name.numbers for name in found):
        return None
    bare = of_parts and not any(name.rest or name.kinds for name in found)
    if not bare and (len({name.kinds for name in found}) > 1 or not all(name.kinds for name in found)):
        return None
    rests = Counter(name.rest for name in found)
    if len(rests) > 1 and max(rests.values()) == 1:  # cats_set1 and dogs_set2 are not parts of each other
        return None
    return {folder: name.rest if len(rests) > 1 else "" for folder, name in names.items()}


def holds_parts(folder: str) -> bool:
    """Whether a folder's name says that those inside of it are parts: `folds`, `batches`."""
    words = _words(folder)
    return bool(words & _PIECES) and words <= _PARTS | _FILLERS


def repeat_images(folders: Sequence[str], *, of_parts: bool = False) -> bool:
    """Whether parts with splits of their own are those of a cross-validation, each with all images."""
    return of_parts or all(_parse(folder).kinds & _REPEATED for folder in folders)


def describe_parts(parts: Mapping[str, str]) -> str:
    """The note on folders that are parts, as `find_parts` gives them."""
    listed = ", ".join(list(parts)[:4]) + (" …" if len(parts) > 4 else "")
    classes = sorted(set(parts.values()) - {""})
    read = f"parts of the classes {' and '.join(classes[:4])}" if classes else "numbered parts of one set, no classes"
    return (
        f"{listed}: read as {read}. If each is a class, rename them, or put a labels.csv with the columns file and "
        "label beside them."
    )


def _words(name: str) -> set[str]:
    return set(_tokens(name)) - {token for token in _tokens(name) if token.isdecimal()}


def _tokens(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", without_accents(name))
    return [token.casefold() for token in re.findall(r"\d+|[^\W\d_]+", spaced)]


def _parse(name: str) -> _Name:
    tokens = _tokens(name)
    numbers = [token for token in tokens if token.isdecimal()]
    words = [token for token in tokens if not token.isdecimal() and token not in _FILLERS]
    if not numbers:  # set_a, part two
        numbers = [word for word in words if word in _SPELLED or (len(word) == 1 and word.isalpha())]
        words = [word for word in words if word not in numbers]
    kinds = frozenset(word for word in words if word in _PARTS)
    return _Name(" ".join(word for word in words if word not in kinds), kinds, tuple(numbers))
