"""The images of a folder or an archive that are left while others are put aside."""

from collections import Counter

from ganvas.data.listing import common_root


class Selection:
    """The images that are left while others are put aside, each with a note."""

    def __init__(self, images: list[str], ignored: Counter[str], of_parts: bool) -> None:
        self.images = images
        self.ignored = ignored
        self.notes: list[str] = []
        self.classes: dict[str, str] = {}
        """The class of a top folder whose name also has the split."""
        self.of_parts = of_parts
        self.others: list[str] = []
        """The images of other splits."""

    def drop(self, dropped: set[str], kind: str, note: str) -> None:
        """Leaves out some images; `kind` is what they are counted as."""
        if dropped:
            self.images = [image for image in self.images if image not in dropped]
            self.ignored[f"({kind})"] += len(dropped)
            self.notes.append(note)

    def keep(self, kept: list[str], note: str) -> None:
        """Keeps the images of a split."""
        chosen = set(kept)
        others = [image for image in self.images if image not in chosen]
        self.images = kept
        self.others += others
        self.ignored["(not in this split)"] += len(others)
        self.notes.append(note)

    def below(self) -> tuple[str, dict[str, list[str]], list[str]]:
        """The common folder of all images; the images of each of its folders; those in none of them."""
        root = common_root(self.images)
        folders: dict[str, list[str]] = {}
        loose = []
        for image in self.images:
            top, slash, _ = image[len(root) :].partition("/")
            folders.setdefault(top, []).append(image) if slash else loose.append(image)
        return root, folders, loose


def branches(root: str, folders: dict[str, list[str]]) -> list[str]:
    """The names of the folders, or of those in the only one."""
    if len(folders) != 1:
        return list(folders)
    [(top, images)] = folders.items()
    inner = [image[len(root) + len(top) + 1 :].partition("/") for image in images]
    return list(dict.fromkeys(name for name, slash, _ in inner if slash))
