"""A snapshot's card.json in plain values, and the header of its weights; read without PyTorch.

A snapshot is a folder with card.json and G.safetensors, or a folder for the Hugging Face hub, as ganvas export writes
it: the same card in its config.json, and model.safetensors. Or it is one file, as tools/pretrain.py writes it: the card
is in the metadata of the weights.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ganvas import specs
from ganvas.config import Network, from_json
from ganvas.config.custom import features_net_of
from ganvas.data.options import MAX_SIDE
from ganvas.errors import GanvasError
from ganvas.reading import (
    Fields,
    check_fields,
    check_regular,
    describe_reason,
    is_count,
    is_number,
    is_object,
    is_text,
    is_texts,
    open_regular,
    parse_json,
    read_json,
)
from ganvas.runs.formats import check_format
from ganvas.runs.names import numbered
from ganvas.runs.state_metadata import check_d_networks, saved_kimg

FORMAT = 2
"""The format of a snapshot folder."""

MAX_HEADER = 100_000_000
"""Most bytes of the header of a file of weights, as in safetensors itself."""

MAX_CLASSES = 1_000_000

LIBRARY = "ganvas"
"""The library_name in the config.json of a folder for the hub."""

HUB_CONFIG, HUB_WEIGHTS = "config.json", "model.safetensors"

WEIGHTS = ("G.safetensors", HUB_WEIGHTS)
"""The names of the weights in the folder of a snapshot or for the hub."""

CARD_KEY = "ganvas"
"""The entry of the metadata of a file of weights that holds its card, as JSON."""

SHAPE: Fields = {
    "channels": lambda value: is_count(value) and value in (1, 3, 4),
    "height": lambda value: is_count(value) and 1 <= value <= MAX_SIDE,
    "width": lambda value: is_count(value) and 1 <= value <= MAX_SIDE,
    "classes": lambda value: is_count(value) and value <= MAX_CLASSES,
}
"""What is right in the shape of images and their classes."""

_QUALITY: Fields = {"value": is_number, "count": is_count, "extractor": is_text}
_CARD: Fields = {
    "network": is_object, "shape": is_object, "class_names": is_texts, "nimg": is_count, "weights": is_text,
    "data": is_object, "recipe": is_text, "versions": is_object,
    "quality": lambda value: value is None or is_object(value),
}  # fmt: skip


def is_hub_folder(path: Path) -> bool:
    """Whether a folder has the files of a generator on the Hugging Face hub; whose it is `read_card` tells."""
    return all((path / name).is_file() for name in (HUB_CONFIG, HUB_WEIGHTS))


def is_single_file(path: Path) -> bool:
    """Whether a path is a file of weights that is not a folder's: it has its card inside if it is a generator."""
    return path.suffix == ".safetensors" and path.name not in WEIGHTS and path.is_file()


def is_snapshot(path: Path) -> bool:
    """Whether a path holds a generator: a snapshot of a run, a folder for the hub, or a file with a card inside."""
    return (path / "card.json").exists() or is_hub_folder(path) or is_single_file(path)


def is_from_others(snapshot: Path) -> bool:
    """Whether a snapshot may be somebody else's, whose card does not decide which code is executed."""
    return is_hub_folder(snapshot) or is_single_file(snapshot)


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return (path / "config.json").exists() and not is_hub_folder(path)


def card_file(snapshot: Path) -> Path:
    """The file of a snapshot's card."""
    if is_single_file(snapshot):
        return snapshot
    return snapshot / (HUB_CONFIG if is_hub_folder(snapshot) else "card.json")


def weights_file(snapshot: Path) -> Path:
    """The file of a snapshot's weights."""
    if is_single_file(snapshot):
        return snapshot
    return snapshot / (HUB_WEIGHTS if is_hub_folder(snapshot) else "G.safetensors")


def read_card(snapshot: Path) -> dict[str, Any]:
    """The content of a snapshot's card.json (`ganvas.runs.snapshot.Card`).

    Raises:
        GanvasError: it is missing, damaged, or of another format.
    """
    try:
        return _parse_card(snapshot)
    except (OSError, ValueError) as error:
        raise _unusable(card_file(snapshot), error) from error


def read_network(snapshot: Path, card: Mapping[str, Any]) -> Network:
    """The configuration of a snapshot's networks, from its card.

    Raises:
        GanvasError: it is no configuration.
    """
    try:
        return from_json(Network, card["network"])  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GanvasError(f"{card_file(snapshot)} is damaged ({type(error).__name__}: {error}).") from error


def read_weight_shapes(snapshot: Path) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the tensors in a snapshot's G.safetensors, of which only the header is read.

    Raises:
        GanvasError: the file is missing, cut off or damaged.
    """
    try:
        return _parse_header(weights_file(snapshot))[0]
    except (OSError, ValueError) as error:
        raise _unusable(weights_file(snapshot), error) from error


def read_growth(weights: Path, name: str) -> float:
    """How far networks in a file of weights have grown, by the tensor of this name; 1 of those that do not grow.

    Raises:
        GanvasError: the file is damaged.
    """
    try:
        with safe_open(weights, framework="numpy") as file:
            growth = float(file.get_tensor(name)) if name in file.keys() else 1.0  # noqa: SIM118
            if not 0 <= growth <= 1:
                raise ValueError(f"its networks have grown to {growth}")
            return growth
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise _unusable(weights, error) from error


def find_damage(snapshot: Path) -> str:
    """Why a snapshot cannot be used, as far as its card and the header of its weights show; empty if it can."""
    for file, parse in ((card_file(snapshot), _parse_card), (weights_file(snapshot), _parse_header)):
        try:
            status = check_regular(file)
            mark = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            _check_once(parse, snapshot if parse is _parse_card else file, mark)
        except (OSError, ValueError) as error:
            return f"{file} is damaged ({describe_reason(error)})."
        except GanvasError as error:
            return error.what
    return ""


@lru_cache(maxsize=4096)
def _check_once(parse: Callable[[Path], object], path: Path, mark: tuple[int, ...]) -> None:
    """Parses a file, whose present state is `mark`, unless it could be parsed before: a studio asks twice a second."""
    parse(path)


def _parse_card(snapshot: Path) -> dict[str, Any]:
    file = card_file(snapshot)
    card = _card_inside(file) if is_single_file(file) else read_json(file)
    if file.name == HUB_CONFIG:
        check_fields(card, {})
        if card.get("library_name") != LIBRARY or not is_object(card.get("card")):
            raise ValueError(f"it is of another program than {LIBRARY}")
        card = card["card"]
    check_fields(card, {"format": is_count})
    check_format("snapshot", snapshot, card["format"], FORMAT)
    check_fields(card, _CARD)
    check_fields(card["shape"], SHAPE, "'shape'")
    check_fields(card["data"], {"name": is_text, "fingerprint": is_text}, "'data'")
    if card["quality"] is not None:
        check_fields(card["quality"], _QUALITY, "'quality'")
    check_sources(card.get("sources", {}))
    check_d_networks(card.get("d_networks"))
    if is_from_others(snapshot) and _names_code(card):
        raise ValueError("its network is code of its own, which is not read from others")
    if not all(is_text(card.get(name, "")) for name in ("licence", "attribution")):
        raise ValueError("its licence is no text")
    if len(card["class_names"]) != card["shape"]["classes"]:
        raise ValueError(f"{len(card['class_names'])} names of {card['shape']['classes']} classes")
    return card


def _names_code(card: Mapping[str, Any]) -> bool:
    knobs = [card["network"].get(name) for name in ("g", "d", "features_net")]
    texts = [knob for knob in knobs if isinstance(knob, str)]
    try:
        inner = [value for text in texts for value in specs.parse(text).arguments.values()]
    except GanvasError as error:
        raise ValueError(error.what) from error
    return bool(card.get("sources")) or any(map(specs.is_spec, (*texts, *inner)))


def _card_inside(file: Path) -> Any:
    """The card in the metadata of a file of weights."""
    text = _parse_header(file)[1].get(CARD_KEY)
    if not is_text(text):
        raise ValueError("it has no card of Ganvas inside")
    return parse_json(text)


def _parse_header(file: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """The shapes of the tensors, and the metadata."""
    size = check_regular(file).st_size
    with open_regular(file) as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > min(size, MAX_HEADER):
            raise ValueError("it is cut off, or no file of weights")
        header = parse_json(opened.read(length))
    check_fields(header, {})
    metadata = header.pop("__metadata__", None)
    check_fields({} if metadata is None else metadata, {}, "its metadata")
    for entry in header.values():
        check_fields(entry, {"shape": _is_counts, "data_offsets": lambda ends: _is_counts(ends) and len(ends) == 2})
    if 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0) != size:
        raise ValueError("it is cut off")
    return {name: tuple(entry["shape"]) for name, entry in header.items()}, metadata or {}


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_count, value))


def licence_of(given: Mapping[str, Any] | None) -> tuple[str, str]:
    """Licence and attribution of a card or of a lineage; empty texts where it has none."""
    given = given or {}
    return str(given.get("licence", "")), str(given.get("attribution", ""))


def d_networks_of(recorded: list[dict[str, Any]] | None, network: Network) -> list[dict[str, Any]]:
    """The frozen networks that G was trained through: what a card or a state records as its "d_networks".

    Args:
        recorded: None of an older version; then it is that of the configuration, without a digest.
        network: the configuration of G and D.
    """
    if recorded is not None:
        return recorded
    name = features_net_of(network)
    return [{"network": name, "weights": None}] if name else []


def check_sources(sources: Any) -> None:
    """Checks what a card or a run says of the user's own code: {file or module: {"sha256": …, "path": …}}.

    Raises:
        ValueError: it is something else.
    """
    check_fields(sources, {}, "'sources'")
    for name, recorded in sources.items():
        check_fields(recorded, {"sha256": is_text}, f"'{name}'")
        if not is_text(recorded.get("path", "")):
            raise ValueError(f"the path of '{name}' is no text")


def check_shapes(file: Path, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Compares the tensors that a network has with those of a file, before either is made.

    Raises:
        GanvasError: they are different ones.
    """
    if expected == found:
        return
    card = "its card" if is_single_file(file) else card_file(file.parent).name
    names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    one, two = ([*shapes[names[0]]] if names[0] in shapes else "nothing" for shapes in (expected, found))
    raise _unusable(file, ValueError(f"{names[0]} is {one} by {card} and {two} in it"))


def _unusable(file: Path, error: Exception) -> GanvasError:
    if is_single_file(file):
        return GanvasError(
            f"{file} is not a usable generator of Ganvas ({describe_reason(error)}).",
            expected="a .safetensors file with its card inside, a run folder, or one of its snapshots",
        )
    if file.name in (HUB_CONFIG, HUB_WEIGHTS):
        return GanvasError(
            f"{file} is not a usable generator of Ganvas ({describe_reason(error)}).",
            expected=f"a folder with {HUB_CONFIG} and {HUB_WEIGHTS}, as ganvas export --to hub writes them",
            fix="export it again, or download it again.",
        )
    snapshots, own = file.parent.parent, file.parent.name
    beside = [path for _, path in reversed(numbered(snapshots.glob("[0-9]*"))) if path.name != own]
    usable = next((path for path in beside if not find_damage(path)), None)
    fix = f"name another snapshot: {usable} can be used." if usable else "train it again."
    run = snapshots.parent
    if not usable and is_run(run) and (kimg := saved_kimg(run)) is not None:
        fix = (
            f"ganvas train {run}, or the command that trained it, goes on from its state of {kimg:g} kimg and writes "
            "a snapshot."
        )
    return GanvasError(
        f"{file} is damaged ({describe_reason(error)}): not a usable snapshot.",
        expected="a folder with G.safetensors and card.json, as ganvas train writes them",
        fix=fix,
    )
