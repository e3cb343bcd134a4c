"""--to hub: a folder for the Hugging Face hub, which `ganvas.load` reads too.

config.json        the card (`ganvas.runs.snapshot.Card`)
model.safetensors  the weights
README.md          the model card for people
samples.png        images of the first seeds
nearest.png        generated images above their nearest training images, where an evaluation has found them; never of a
                   folder that is uploaded at once, as nobody has looked at it
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import save as serialize

from ganvas import image_io, user_code
from ganvas.config.custom import Custom
from ganvas.config.families import Projected
from ganvas.errors import GanvasError
from ganvas.exporting import upload
from ganvas.exporting.exported import Exported, public_card
from ganvas.exporting.licences import check_licence
from ganvas.exporting.model_card import MOST_ROWS, read_evaluations, write_model_card
from ganvas.exporting.parity import SEEDS, TRUNCATION, Parity, check
from ganvas.files import atomic_folder, make_folder
from ganvas.reading import MAX_DOCUMENT, read_bytes
from ganvas.runs import pretrained
from ganvas.runs.card import HUB_CONFIG, HUB_WEIGHTS, LIBRARY, is_hub_folder, read_card
from ganvas.runs.snapshot import Card
from ganvas.runs.training_data import find_run
from ganvas.sampling import Sampler, load

README, SAMPLES, NEAREST = "README.md", "samples.png", "nearest.png"
FILES = (HUB_CONFIG, HUB_WEIGHTS, README, SAMPLES, NEAREST)


def write(sampler: Sampler, path: Path, options: Any) -> Exported:
    """Writes the folder, and uploads it if that is asked for. A folder of an earlier export is replaced.

    Raises:
        GanvasError: no licence was chosen, or another one than the generator has, the network is the user's own code,
            the folder has other files, or is the generator itself, or it cannot be written or uploaded.
    """
    licence = check_licence(options.licence, sampler.card.licence)
    _check_network(sampler)
    _check_folder(path, sampler)
    uploader = None if options.upload is None else upload.prepare(options.upload, [NEAREST])
    make_folder(path.parent)
    with atomic_folder(path) as temporary:
        weights = {name: t.detach().cpu().contiguous() for name, t in sampler.generator.state_dict().items()}
        (temporary / HUB_WEIGHTS).write_bytes(serialize(weights, metadata={"format": "pt"}))
        card = public_card(_without_own_d(sampler.card)) | {"licence": licence}
        content = {"library_name": LIBRARY, "card": card}
        (temporary / HUB_CONFIG).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        image_io.save_image(_draw_samples(sampler), temporary / SAMPLES)
        evaluations, nearest = read_evaluations(sampler)
        left_out = nearest and uploader is not None
        nearest = nearest and not left_out and _copy_nearest(sampler, temporary)
        name = path.name if options.upload is None else f"hf:{options.upload}"
        text = write_model_card(sampler, evaluations, licence, name=name, nearest=nearest)
        (temporary / README).write_text(text, encoding="utf-8", errors="backslashreplace")
        parity = _compare(sampler, temporary)
        check(parity)
    notes = []
    if not evaluations and not pretrained.card_text(sampler.path):
        known = find_run(sampler.path) is not None
        fix = "ganvas evaluate RUN first, then export again" if known else "those of its run are not at hand"
        notes.append(f"{README} has no numbers: {fix}.")
    if uploader is None:
        training = f", and {NEAREST}, which shows training images" if nearest else ""
        notes.append(f"{README} is what others read: look it over{training}; then: hf upload OWNER/NAME {path}")
    else:
        without = f", without {NEAREST}, which would show training images" if left_out else ""
        notes.append(f"Uploaded to {uploader(path)}{without}.")
    return Exported("hub", (path,), (parity,), tuple(notes))


def _check_network(sampler: Sampler) -> None:
    """Refuses the user's own generator: a folder for the hub has no code."""
    if sampler.card.sources:
        named = user_code.title(sampler.card.network.g)  # type: ignore[union-attr]
        raise GanvasError(
            f"The generator of {sampler.path} is {named}: its code is not in the weights.",
            expected="a network of Ganvas: a folder for the hub holds numbers and JSON, which nobody executes",
            fix="--to onnx or --to pt2, whose files hold the network itself.",
        )


def _without_own_d(card: Card) -> Card:
    """The card without the user's own D, or the network that it looks through: G needs neither, and they are code."""
    network = card.network
    if isinstance(network, Custom) and user_code.is_spec(network.d):
        network = network.part("g")
    elif isinstance(network, Projected) and user_code.is_spec(network.features_net):
        network = dataclasses.replace(network, features_net=Projected.features_net)
    return dataclasses.replace(card, network=network)


def _draw_samples(sampler: Sampler) -> Image.Image:
    """A grid of the first seeds: a row for each class, or, of many classes, a class after the other."""
    if sampler.card.shape.classes > MOST_ROWS:
        return image_io.make_grid(sampler.sample(range(64)), 8)
    images, columns, names = sampler.sample_grid()
    return image_io.make_grid(images, columns, row_names=names)


def _check_folder(path: Path, sampler: Sampler) -> None:
    """Refuses a folder with anything in it that an earlier export did not write, and that of the generator itself."""
    if not path.is_dir():
        return
    if path.resolve() == sampler.path.resolve():
        raise GanvasError(
            f"{path} is the generator itself: its card would lose what only its run knows.",
            expected="another folder",
            fix="choose another --out.",
        )
    there = {file.name for file in path.iterdir()}
    ours = there <= set(FILES) and is_hub_folder(path) and _is_ours(path)
    if there and not ours:
        raise GanvasError(
            f"{path} has other files, such as {min(there - set(FILES), default=min(there))}: it is not replaced.",
            expected="a new folder, an empty one, or one of an earlier export",
            fix="choose another --out.",
        )


def _is_ours(path: Path) -> bool:
    try:
        read_card(path)
    except GanvasError:
        return False
    return True


def _copy_nearest(sampler: Sampler, folder: Path) -> bool:
    """Copies the pairs that the run's last whole evaluation found closest; whether there are some."""
    run = find_run(sampler.path)
    if run is None:
        return False
    try:
        content = read_bytes(run.path / "closest.png", MAX_DOCUMENT)
    except (OSError, ValueError):
        return False
    (folder / NEAREST).write_bytes(content)
    return True


def _compare(sampler: Sampler, folder: Path) -> Parity:
    """The images of the folder, read again, beside ours."""
    again, differ, largest, total = load(folder, device="cpu"), 0, 0.0, 0
    halves = (list(SEEDS[: len(SEEDS) // 2]), 1.0), (list(SEEDS[len(SEEDS) // 2 :]), TRUNCATION)
    summed = 0.0
    for seeds, truncation in halves:
        own, theirs = (np.asarray(one.sample(seeds, truncation=truncation), np.float64) for one in (sampler, again))
        there = np.abs(own - theirs)
        differ, total, largest = differ + int((there > 0).sum()), total + there.size, max(largest, float(there.max()))
        summed += float(there.sum())
    return Parity(folder.name.lstrip(".").partition(".tmp-")[0], len(SEEDS), largest, summed / total, differ / total)
