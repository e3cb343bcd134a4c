"""Which of the files of a folder or archive are used, and with which labels; shared by folders, zips and tars."""

import math
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ganvas.data.file_selection import Selection, branches
from ganvas.data.labels.class_folders import choose_tops, has_parts
from ganvas.data.labels.label_tables import MAX_TABLE_BYTES, Labels, Matcher, make_labels, parse_json, parse_table
from ganvas.data.labels.naming import rank_by_split, split_of
from ganvas.data.labels.parts import find_parts, repeat_images
from ganvas.data.labels.splits import choose_split, find_asides, has_mark
from ganvas.data.listing import EMPTY, LABELS_FILE, FileKinds, common_root, extension, natural_key
from ganvas.data.sniffing import kind_of_ignored, looks_like_image, unread_notes
from ganvas.data.source_types import no_split, refuse_failing_disk
from ganvas.errors import GanvasError

_MAX_TABLES = 20  # files that are tried as tables of labels
_MAX_NOTES = 3  # on tables that are not used
_MAX_GUESSED = 1000  # classes in a column that was not asked for
_FEW = 3  # loose images beside class folders that are left out whatever their share
_UNNAMED = 0.05  # the share of the images that a table which was not asked for may leave without a class


@dataclass(frozen=True)
class Listing:
    """The images of a folder or archive, in order, with their labels."""

    names: tuple[str, ...]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unlabelled: tuple[tuple[str, str], ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Contents:
    """Access to the files of a folder or archive, for messages and for what their names do not say."""

    where: str
    read: Callable[[str], bytes]
    """The content of a file."""
    read_head: Callable[[str], bytes]
    """The first bytes of a file; empty if it cannot be read."""
    beside: Sequence[tuple[str, Callable[[], bytes]]] = ()
    """(name, how to read it) of tables of labels beside the folder or archive."""
    attached: Labels | None = None
    """Labels that come with the images: WebDataset's."""
    of_parts: bool = False
    """Whether its own name says that its folders are numbered parts of one set: see `ganvas.data.labels.parts`."""


def list_images(kinds: FileKinds, contents: Contents, *, split: str, label_column: str | None) -> Listing:
    """Chooses images and split, and gives labels: from `dataset.json`, the sub-folders, or a table such as a CSV.

    Raises:
        GanvasError: there is no such split or column, or a `dataset.json` that cannot be used.
    """
    selection = Selection(*_recognise(kinds, contents), contents.of_parts)
    listing, used = _select_and_label(kinds, selection, contents, split, label_column)
    selection.ignored.update(extension(name) for name in kinds.tables if name not in used)
    notes = [*selection.notes, *listing.notes, *unread_notes(selection.ignored)]
    if empty := selection.ignored[EMPTY]:
        notes.append(f"Empty files, of zero bytes, are not used: {empty}.")
    listing = replace(listing, notes=tuple(notes), ignored=+selection.ignored)
    if split == "test" and listing.labels is not None:
        train = list_images(kinds, contents, split="train", label_column=label_column)
        return _number_as(listing, train.class_names)
    return listing


def _select_and_label(
    kinds: FileKinds, selection: Selection, contents: Contents, split: str, column: str | None
) -> tuple[Listing, list[str]]:
    """The images with their labels, and the tables that were used."""
    table = _find_own_table(kinds, selection)
    if table is None:
        _drop_copies(selection)
        _drop_asides(selection)
        chosen = _choose(selection, split)
        if split == "test" and not chosen:
            fix = "leave --split out, or sort the images into two folders, train and test."
            raise no_split(contents.where, fix=fix)
        _drop_asides(selection)
        _drop_loose(selection)
        table = _find_own_table(kinds, selection)
    elif split == "test":
        fix = "leave --split out, or give the path of the test set."
        raise no_split(f"{contents.where}, which has a {LABELS_FILE},", fix=fix)
    if table is not None:
        return _label_by_json(table, selection, contents), [table]
    attached = contents.attached
    if attached and 2 * sum(image in attached.values for image in selection.images) > len(selection.images):
        return _apply(attached, selection, contents.where, column), []
    listing = _label_by_folders(selection)
    if selection.images and (column is not None or listing.labels is None):
        labelled, used = _label_by_tables(kinds, selection, contents, split, column)
        if labelled is None or labelled.labels is None:
            labelled = replace(listing, notes=(*(labelled.notes if labelled else ()), *listing.notes))
        return labelled, used
    return listing, []


def _number_as(listing: Listing, train: tuple[str, ...]) -> Listing:
    """The same classes, numbered as in the training split; classes that it lacks come last."""
    assert listing.labels is not None
    if listing.class_names == train or not train:
        return listing
    names = (*train, *(name for name in listing.class_names if name not in train))
    number = np.array([names.index(name) for name in listing.class_names], np.int64)
    return replace(listing, labels=number[listing.labels], class_names=names)


def _recognise(kinds: FileKinds, contents: Contents) -> tuple[list[str], Counter[str]]:
    """The images, those without a known ending among them, and the other files."""
    ignored = Counter(kinds.ignored)
    found = []
    for name in kinds.unknown:
        head = contents.read_head(name)
        if looks_like_image(head):
            found.append(name)
        else:
            ignored[kind_of_ignored(name, head)] += 1
    images = sorted([*kinds.images, *found], key=natural_key) if found else list(kinds.images)
    return images, ignored


def _find_own_table(kinds: FileKinds, selection: Selection) -> str | None:
    """The `dataset.json` of the images: at the top, or in the folder that all of them share."""
    root = common_root([*selection.images, *(t for t in kinds.tables if PurePosixPath(t).name == LABELS_FILE)])
    inner = common_root(selection.images)
    places = [f"{place}{LABELS_FILE}" for place in ("", root, inner)]
    return next((place for place in places if place in kinds.tables), None)


def _drop_copies(selection: Selection) -> None:
    """Leaves out `cat_mask.png` and `cat_thumb.png` beside `cat.png`."""
    stems: dict[str, set[str]] = {}
    split_names = [(image, PurePosixPath(image)) for image in selection.images]
    for _, path in split_names:
        stems.setdefault(str(path.parent), set()).add(path.stem.lower())
    found: dict[str, set[str]] = {}
    for image, path in split_names:
        if kind := has_mark(path.stem, stems[str(path.parent)]):
            found.setdefault(kind, set()).add(image)
    for kind, dropped in found.items():
        example = min(dropped, key=natural_key)
        selection.drop(dropped, kind, f"Images that are {kind} of others are not used: {len(dropped)}, as {example}.")


def _drop_asides(selection: Selection) -> None:
    """Leaves out folders of masks and thumbnails."""
    root, folders, _ = selection.below()
    for folder, kind in find_asides(list(folders)).items():
        count = len(folders[folder])
        selection.drop(set(folders[folder]), kind, f"{root}{folder} holds {kind} and is not used: {count} images.")


def _drop_loose(selection: Selection) -> None:
    """Leaves out a few images beside folders that hold nearly all; up to a tenth beside splits, as they are in none."""
    while True:
        root, folders, loose = selection.below()
        inside, below = len(selection.images) - len(loose), branches(root, folders)
        most = max(_FEW, inside // (100 if choose_split(below, "train") is None else 10))
        if not loose or len(loose) >= inside or len(loose) > most or len(below) < 2:
            return
        what = f"{loose[0]}" if len(loose) == 1 else f"{len(loose)} images such as {loose[0]}"
        where = f"the folders {', '.join(list(folders)[:4])}{' …' if len(folders) > 4 else ''}"
        selection.drop(set(loose), "beside the folders", f"Not used, because outside {where}: {what}.")


def _choose(selection: Selection, split: str) -> bool:
    """Keeps the images of a split, if the folders are splits, and says whether they are."""
    root, folders, loose = selection.below()
    names = list(folders)
    found = choose_split(names, split)
    if found is not None and len(loose) < len(selection.images) - len(loose):
        if split == "test" and not found.folders:
            return False
        kept = [image for name in names if name in found.folders for image in folders[name]]
        selection.keep(kept, f"{found.note} {len(kept)} of {len(selection.images)} images.")
        selection.classes = {f"{root}{name}": label for name, label in found.classes.items()}
        return True
    if len(names) == 1 and len(loose) < len(folders[names[0]]):  # look below, as in archive/train beside a picture
        _drop_loose(selection)
        if selection.below()[0] != root:
            return _choose(selection, split)
    return _choose_in_classes(selection, split) or _is_split(root, split, selection)


def _is_split(root: str, split: str, selection: Selection) -> bool:
    """Whether the only folder, such as `test/`, is the one that is asked for; any may be trained on."""
    for folder in root.split("/")[:-1]:
        found = choose_split([folder], split)
        if found is not None and found.folders:
            as_test = choose_split([folder], "test")
            if split == "train" and as_test is not None and as_test.folders:
                selection.notes.append(found.note)
            return True
    return False


def _choose_in_classes(selection: Selection, split: str) -> bool:
    """Splits inside of class folders: cats/train, cats/test, dogs/train, dogs/test."""
    root, folders, loose = selection.below()
    if loose or len(folders) < 2:
        return False
    chosen: dict[str, frozenset[str]] = {}
    for top, images in folders.items():
        inner = [image[len(root) + len(top) + 1 :].partition("/") for image in images]
        if not all(slash for _, slash, _ in inner):
            return False
        names = list(dict.fromkeys(name for name, _, _ in inner))
        found = choose_split(names, split)
        if found is None or len(names) < 2:
            return False
        chosen[top] = found.folders
    if not any(chosen.values()):
        return False
    of_parts = has_parts(root, selection.of_parts)
    are_parts = find_parts(list(folders), of_parts=of_parts) is not None
    if are_parts and repeat_images(list(folders), of_parts=of_parts):
        first, *others = folders
        note = f"{first} alone is used, as parts of a cross-validation repeat it; not used: {', '.join(others)}."
        selection.drop({image for other in others for image in folders[other]}, "in other parts", note)
        return _choose(selection, split)
    kept = [i for top, images in folders.items() for i in images if i[len(root) :].split("/")[1] in chosen[top]]
    used = ", ".join(sorted({name for names in chosen.values() for name in names}))
    selection.keep(kept, f"{used} in each folder is used as the {split} split: {len(kept)} images.")
    selection.classes = {} if are_parts else {f"{root}{top}": top for top in folders}
    return True


# --- labels ------------------------------------------------------------------------------------------------


def _label_by_folders(selection: Selection) -> Listing:
    """First-level sub-folders become classes if every image is in one and there are at least two."""
    names = tuple(selection.images)
    if selection.classes:
        return _number(names, [selection.classes[_longest_prefix(name, selection.classes)] for name in names])
    tops, notes = choose_tops(names, selection.of_parts)
    return replace(_number(names, tops) if tops else Listing(names), notes=notes)


def _longest_prefix(name: str, folders: dict[str, str]) -> str:
    return max((folder for folder in folders if name.startswith(f"{folder}/")), key=len)


def _number(names: tuple[str, ...], tops: list[str]) -> Listing:
    classes = sorted(set(tops), key=natural_key)
    number = {name: index for index, name in enumerate(classes)}
    return Listing(names, np.array([number[top] for top in tops], np.int64), tuple(classes))


def _label_by_json(table: str, selection: Selection, contents: Contents) -> Listing:
    where = f"{contents.where}: {table}"
    prefix = table[: -len(LABELS_FILE)]
    labels = parse_json(contents.read(table), Matcher(selection.images), prefix, where)
    if labels is None:
        return Listing(tuple(selection.images))
    kept = tuple(image for image in selection.images if image in labels.values)
    bad = tuple((image, f"no label in {LABELS_FILE}") for image in selection.images if image not in labels.values)
    numbers, names, notes = make_labels(kept, labels, where) if kept else (np.empty(0, np.int64), (), ())
    return Listing(kept, numbers, names, notes, bad)


def _label_by_tables(
    kinds: FileKinds, selection: Selection, contents: Contents, split: str, column: str | None
) -> tuple[Listing | None, list[str]]:
    """Classes from the first table that has some; a note if there are tables but no classes.

    Of several tables with the column that is asked for, the one that names the most images is used.

    Raises:
        GanvasError: a column is asked for that no table has.
    """
    tables = _find_tables(kinds, selection, contents, split)
    matcher = Matcher(selection.images, selection.others) if tables else Matcher([])
    notes, count, usable = list[str](), len(selection.images), list[tuple[Labels, str]]()
    for name, read in tables:
        if name.lower().endswith(".json"):
            notes.append(f"{name} is not used: of JSON, only a {LABELS_FILE} gives classes.")
            continue
        try:
            content = read()
        except (OSError, GanvasError) as error:
            refuse_failing_disk(name, error)
            reason = error.what if isinstance(error, GanvasError) else f"it cannot be read ({error.strerror})."
            notes.append(f"{name} is not used: {reason}")
            continue
        if len(content) > MAX_TABLE_BYTES:
            notes.append(f"{name} is not used: it is larger than 1 GiB.")
            continue
        prefix = name.rpartition("/")[0]
        found = parse_table(content, matcher, count, f"{prefix}/" if prefix else "", name, column)
        if isinstance(found, Labels) and (reason := _names_few(found, selection, name, column)):
            notes.append(reason)
        elif isinstance(found, Labels):
            usable.append((found, name))
            if column is None:
                break
        elif found:
            notes.append(found)
    if usable:
        labels, name = max(usable, key=lambda each: len(each[0].values))
        return _apply(labels, selection, name, column), [name]
    if column is not None:
        raise GanvasError(
            " ".join(notes) or f"{contents.where} has no table with a column {column!r} that names its images.",
            expected="a CSV, TSV or list in the folder or beside it: a column of file names and one of classes",
            fix="give the name of one of its columns, or leave --label-column out.",
        )
    more = len(notes) - _MAX_NOTES
    rest = [f"Not used either: {more} other tables."] if more > 0 else []
    return (Listing(tuple(selection.images), notes=(*notes[:_MAX_NOTES], *rest)) if notes else None), []


def _find_tables(
    kinds: FileKinds, selection: Selection, contents: Contents, split: str
) -> list[tuple[str, Callable[[], bytes]]]:
    """Those in the folders above the images come first; then all others if there are few; then those beside.

    Of each kind, those named after the split come first; tables named after another one come last of all.
    """
    root = common_root(selection.images)
    names = [name for name in kinds.tables if PurePosixPath(name).name != LABELS_FILE]
    above = [name for name in names if root.startswith(name[: name.rfind("/") + 1])]
    others = [name for name in names if name not in above] if len(names) <= _MAX_TABLES else []
    own = split_of(*reversed(root.split("/")), Path(contents.where).name if split == "train" else "", split)

    def rank(table: tuple[str, Callable[[], bytes]]) -> int:
        return rank_by_split(table[0], own)

    inside = [[(name, partial(contents.read, name)) for name in group] for group in (above[:_MAX_TABLES], others)]
    groups = (*inside, contents.beside[:_MAX_TABLES])
    found = [table for group in groups for table in sorted(group, key=rank)]
    return sorted(found, key=lambda table: max(1, rank(table)))


def _apply(labels: Labels, selection: Selection, name: str, column: str | None) -> Listing:
    kept = tuple(image for image in selection.images if image in labels.values)
    bad = tuple((image, f"no label in {name}") for image in selection.images if image not in labels.values)
    try:
        numbers, names, notes = make_labels(kept, labels, name)
        if column is None and len(names) > _MAX_GUESSED:
            raise GanvasError(
                f"it has {len(names)} different values (--label-column {shlex.quote(labels.column)} takes them)"
            )
    except GanvasError as error:
        if column is not None:
            raise
        return Listing(tuple(selection.images), notes=(f"{name} is not used: {error.what}",))
    return Listing(kept, numbers, names, notes, bad)


def _names_few(labels: Labels, selection: Selection, name: str, column: str | None) -> str:
    """Why a table that was not asked for is not used, if it leaves more than a few images without a class."""
    images = selection.images
    named = sum(image in labels.values for image in images)
    if column is not None or not labels.column or len(images) - named <= _UNNAMED * len(images):
        return ""
    share = math.ceil(100 * (len(images) - named) / len(images)) / 100
    asked = f"--label-column {shlex.quote(labels.column)} --max-bad {share:g} takes those {named} alone"
    return f"{name} is not used: it has classes of {named} of {len(images)} images; {asked}."
