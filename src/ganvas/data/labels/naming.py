"""What the names of arrays and files say: images or labels, and which split. Only whole words count."""

import re
from collections.abc import Sequence
from typing import Literal

Role = Literal["images", "labels", "class names", "other", ""]

SPLITS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "t10k": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
}
"""Word -> the split that it names."""

_VOCABULARY = {
    "images": "x image images img imgs picture pictures pic pics pixel pixels photo photos face faces",
    "perhaps": "data sample samples input inputs 0",
    "labels": "y label labels lbl lbls target targets class classes category categories emotion emotions",
    "numbers": "id ids index indices idx idxs",
    "other": "name names path paths file files filename filenames writer writers weight weights seed seeds mask masks"
    " embedding embeddings feature features latent latents z count counts mean std",
}
SUBJECTS = frozenset({"face", "faces"})
"""Words for images that say what a data set is about too."""

_WORDS = {kind: frozenset(text.split()) for kind, text in _VOCABULARY.items()}
_FORMAT = re.compile(r"idx\d|ubyte|int|float|double|gz|npy|npz|mat|csv|bin")
_RUN_ON = re.compile(r"(?P<a>x|y|train|test|val|valid)s?(?P<b>x|y|train|test|val|valid)")


def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without formats such as idx3: `xTrain`, `X_train`, `xtrain` -> x, train."""
    found: list[str] = []
    for part in re.split(r"[\W_]+", name):
        if not part or part[0].isdigit() or part.lower() in SPLITS:
            found.append(part.lower())
            continue
        for word in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[^\W\dA-Z_]+\d*|\d\w*", part):
            run_on = _RUN_ON.fullmatch(word.lower())
            found += (run_on["a"], run_on["b"]) if run_on and run_on[0] not in SPLITS else (word.lower(),)
    return tuple(word for word in found if word and not _FORMAT.fullmatch(word))


def split_of(*names: str) -> str:
    """The split that the first of the names with such a word names: train, test, val, or an empty string."""
    return next((SPLITS[word] for name in names for word in words(name) if word in SPLITS), "")


def rank_by_split(path: str, split: str) -> int:
    """0 for a file that is named after a split, 1 for one named after none; 2 and 3 for those named after others.

    A test split is nearer to a validation split than to the training split. The last part of a path decides.
    """
    own = split_of(*reversed(path.split("/")))
    if own in (split, ""):
        return 0 if own == split else 1
    return 3 if own == "train" else 2


def role_of(name: str) -> Role:
    """What the words of a name say about the array's content; empty if they say nothing certain."""
    own = set(words(name))
    labelled = bool(own & _WORDS["labels"])
    if labelled and own & {"name", "names"}:
        return "class names"
    if own & _WORDS["other"] or (own & _WORDS["numbers"] and not labelled):
        return "other"
    return "labels" if labelled else "images" if own & _WORDS["images"] else ""


def is_perhaps_images(name: str) -> bool:
    """Whether a name is one that arrays of images often have, though other arrays have it too: `data`, `arr_0`."""
    return bool(set(words(name)) & _WORDS["perhaps"])


def stem(name: str) -> tuple[str, ...]:
    """The words of a name that say neither split nor content: equal for the files of one data set."""
    content = (_WORDS["images"] - SUBJECTS) | _WORDS["labels"] | {"data"}
    return tuple(word for word in words(name) if word not in SPLITS and word not in content)


def listed(names: Sequence[str], limit: int = 6) -> str:
    """`a, b and 3 more`, for messages."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
