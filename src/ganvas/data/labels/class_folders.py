"""The class of each image by the name of a folder that it is in."""

import re
from collections.abc import Sequence

from ganvas.data.labels.parts import describe_parts, find_parts, holds_parts
from ganvas.data.listing import common_root


def choose_tops(names: Sequence[str], of_parts: bool) -> tuple[list[str], tuple[str, ...]]:
    """The name of the class of each image, by its folder; none where the folders are no classes; and notes.

    Where the folders are numbered parts of one set, those inside of them are the classes.
    """
    root = common_root(names)
    split_names = [name[len(root) :].partition("/") for name in names]
    loose = sum(not slash for _, slash, _ in split_names)
    folders = list(dict.fromkeys(top for top, slash, _ in split_names if slash))
    if not folders or _is_nvlabs(names, root):
        return [], ()
    if loose:
        which = next(name for name, slash, _ in split_names if not slash)
        note = f"Images outside the sub-folders: {loose}, as {which}, so the sub-folders are not used as classes."
        return [], (f"{note} Move them into one of these or away, to have classes.",)
    parts = find_parts(folders, of_parts=has_parts(root, of_parts))
    if parts is None:
        return [top for top, _, _ in split_names], ()
    note = describe_parts(parts)
    if any(parts.values()):
        return [parts[top] for top, _, _ in split_names], (note,)
    tops, notes = choose_tops([rest for _, _, rest in split_names], False)
    return tops, (note, *notes)


def has_parts(root: str, of_parts: bool) -> bool:
    """Whether the folders in `root`, the common folder of all images, are parts by its name, or by the source's."""
    return holds_parts(root.split("/")[-2]) if root else of_parts


def _is_nvlabs(names: Sequence[str], root: str) -> bool:
    """Whether the folders are NVlabs' 00000, 00001 …, a thousand images each: no classes."""
    return all(re.fullmatch(r"\d{5}/img\d{8}(\.[^/]*)?", name[len(root) :]) for name in names)
