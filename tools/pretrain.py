"""Makes a pretrained generator: one .safetensors file with its card inside, and a card for people beside it.

    python tools/pretrain.py digits28                            # src/ganvas/pretrained/digits28.safetensors
    python tools/pretrain.py digits28 --run runs/00003-digits28  # of a run that is there, on the same data
    python tools/pretrain.py --run runs/00004-cnn-leaves --out leaves.safetensors --licence cc-by-4.0 \
        --attribution "Leaves by A. Botanist, CC BY 4.0"

It trains the recipe below, or takes a run's newest snapshot; asks the classifier of the training data what the
generator draws, and refuses one that misses the bar; rounds the weights to half precision, and measures what that
costs. On the same machine and versions the same seed gives the same file.

The result is named by its path, or on any web server by its address and the SHA-256 that is printed:

    ganvas sample leaves.safetensors
    ganvas sample 'https://example.org/leaves.safetensors#sha256=…'
"""

import argparse
import dataclasses
import hashlib
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ganvas
from ganvas.data import ImageSet, open_images
from ganvas.data.selection import open_test_split
from ganvas.errors import GanvasError
from ganvas.evaluation.evaluation import Evaluation, evaluate
from ganvas.evaluation.measures import format_number
from ganvas.exporting.exported import origin_name
from ganvas.exporting.licences import check_licence
from ganvas.features.classifier import classifier_extractor
from ganvas.features.extraction import extract_features
from ganvas.runs import pretrained, snapshot
from ganvas.runs.card import is_run
from ganvas.runs.folder import Run
from ganvas.runs.training_data import find_data
from ganvas.sampling import Sampler, load

IMAGES_PER_CLASS = 1000
"""Generated images of each class that the classifier looks at."""

LEAST_SHARE, LEAST_ACCURACY = 0.05, 0.95
"""The bar: of all images the share of the rarest class, and the images that are of the class that was asked for."""

HALF_SEEDS = 1000
"""Images of which each is drawn with float32 weights and with half-precision ones."""


class Plan(NamedTuple):
    """How a generator of the package is made, on the built-in data set of its name, with classes.

    Attributes:
        recipe: the recipe of all stages.
        stages: the knobs of each; one begins with the networks of the stage before it.
        licence: of the result, by the hub's name.
        attribution: of the data.
    """

    recipe: str
    stages: tuple[dict[str, Any], ...]
    licence: str
    attribution: str


_NARROW = {"batch": 32, "latent": 64, "g_width": 32, "d_width": 48, "penalty_every": 4}

PLANS = {
    "digits": Plan(
        "digits",
        ({"kimg": 400},),
        "mit",
        "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998 "
        "(doi:10.24432/C50P49), CC BY 4.0; as scikit-learn includes it (BSD 3-Clause), 1,400 of its 1,797 images.",
    ),
    "digits28": Plan(
        "cnn-stable",
        (
            _NARROW | dict.fromkeys(("g_lr", "d_lr"), "1e-3..5e-5:cosine@30k-100k") | {"kimg": 60},
            _NARROW | dict.fromkeys(("g_lr", "d_lr"), "5e-4..5e-5:cosine@0.2-1") | {"kimg": 60, "r1": 1.0, "r2": 1.0},
        ),
        "cc-by-sa-3.0",
        "MNIST, Yann LeCun, Corinna Cortes and Christopher J. C. Burges, 1998, made of NIST's Special Databases 1 and "
        "3; CC BY-SA 3.0; 10,000 of its training images, as in digits28.",
    ),
}


class Classified(NamedTuple):
    """What the classifier of the training data says of the generated images.

    Attributes:
        classifier: its accuracy on held-out real images.
        accuracy: of each class, the share of images that it takes for that class.
        shares: of each class among all images.
    """

    classifier: float
    accuracy: np.ndarray
    shares: np.ndarray


def classify(sampler: Sampler, train: ImageSet, held_out: ImageSet | None) -> Classified:
    """Draws IMAGES_PER_CLASS images of each class, of seeds that no grid shows, and classifies them."""
    classes = sampler.card.shape.classes
    asked = np.repeat(np.arange(classes), IMAGES_PER_CLASS)
    extractor = classifier_extractor(train, held_out)
    assert extractor.predict_probabilities is not None
    batches = sampler.sample_batches(range(10_000, 10_000 + len(asked)), label=asked.tolist())
    said = extractor.predict_probabilities(extract_features(batches, extractor, count=len(asked))).argmax(1)
    right = (said == asked).reshape(classes, IMAGES_PER_CLASS).mean(1)
    accuracy = extractor.facts.get("classifier_accuracy", float("nan"))
    return Classified(accuracy, right, np.bincount(said, minlength=classes) / len(said))


def check_bar(classified: Classified) -> None:
    """Refuses a generator that leaves a class out, or does not draw what it is asked for."""
    rarest, accuracy = classified.shares.min(), classified.accuracy.mean()
    if rarest < LEAST_SHARE or accuracy < LEAST_ACCURACY:
        raise GanvasError(
            f"The rarest class has {_percent(rarest)} of the images, and {_percent(accuracy)} of all are of the class "
            "that was asked for.",
            expected=f"at least {_percent(LEAST_SHARE)} and {_percent(LEAST_ACCURACY)}",
            fix="train it longer, or with another recipe.",
        )


def measure_rounding(exact: Sampler, rounded: Sampler) -> tuple[float, float, int]:
    """What half precision changes: the mean difference of a pixel of 255, the share of changed pixels, the largest."""
    first, second = (np.asarray(one.sample(range(HALF_SEEDS)), np.int16) for one in (exact, rounded))
    difference = np.abs(first - second)
    return float(difference.mean()), float((difference > 0).mean()), int(difference.max())


def train(name: str, folder: Path, seed: int, threads: int) -> Run:
    """Trains by a plan, one run for each stage; the same call resumes them."""
    plan = PLANS[name]
    before: dict[str, Any] = {}
    for number, knobs in enumerate(plan.stages, 1):
        run = ganvas.train(
            plan.recipe, out=folder, name=f"pretrain-{name}-{number}", seed=seed, threads=threads, device="cpu",
            data=name, conditional=True, watch=False, evaluate_every=0, plot=False, preview=False, **knobs, **before,
        )  # fmt: skip
        before["init_from"] = str(run.path)
    return Run(Path(before["init_from"]))


def find_stages(run: Run) -> list[Run]:
    """The run, after those from which it was started."""
    origin = run.metadata.get("lineage", {}).get("from", "")
    return [*(find_stages(Run(Path(origin))) if is_run(Path(origin)) else []), run]


def write_card(
    file: Path, run: Run, classified: Classified, rounding: tuple[float, float, int], found: Evaluation
) -> None:
    """The card for people, NAME.md in capitals."""
    sampler, content, title = load(file, device="cpu"), file.read_bytes(), file.stem
    card, shape, names = sampler.card, sampler.card.shape, sampler.card.class_names
    numbers = sum(tensor.numel() for tensor in sampler.generator.state_dict().values())
    grey = "grey " if shape.channels == 1 else ""
    stages = find_stages(run)
    seconds, threads = sum(stage.progress()["seconds"] for stage in stages), run.threads
    kimg = " and ".join(f"{load(stage, device='cpu').card.nimg / 1000:g}" for stage in stages)
    worst, (mean, share, largest) = int(classified.accuracy.argmin()), rounding
    paragraphs = [
        f"`{file.name}`: a generator of {grey}images of {shape.height}×{shape.width} pixels, of the class that is "
        f"asked for ({', '.join(names)}). {numbers:,} numbers in half precision, {len(content) / 1e6:.2f} MB. SHA-256 "
        f"`{hashlib.sha256(content).hexdigest()}`.",
        f"**Made by** `tools/pretrain.py {title}`: recipe `{card.recipe}` with the knobs named there, seed "
        f"{run.config.seed}, {kimg} thousand images shown to the discriminator, {seconds / 60:.0f} "
        f"minutes of {threads} CPU thread{'' if threads == 1 else 's'} that other programs shared, PyTorch "
        f"{card.versions['torch'].partition('+')[0]}. The weights are the moving average of the generator. On another "
        "processor the last bits differ, and with them the file.",
        f"**Trained on** {card.data['name']} (fingerprint `{card.data['fingerprint'][:16]}…`): {card.attribution}",
        f"**Licence** of this file: {card.licence}, `{title.upper()}-LICENSE.txt`.",
        "**What it draws**, by a classifier of the training data through which nothing was trained, and which is right "
        f"on {_percent(classified.classifier)} of the held-out real images: of {IMAGES_PER_CLASS:,} images of each "
        f"class {_percent(classified.accuracy.mean())} are of the class that was asked for, of the worst class "
        f"({names[worst]}) {_percent(classified.accuracy[worst])}. The rarest class has "
        f"{_percent(classified.shares.min())} of all images.",
        f"**Half precision**, beside the float32 weights of the training: {_percent(share)} of the pixels of "
        f"{HALF_SEEDS:,} images differ, by at most {largest} of 255, on average by {mean:.4f}.",
        f"**Evaluated** by `ganvas evaluate {pretrained.title(file)}`, {found.protocol['subject']['count']:,} images:",
    ]
    rows = [
        f"| {found.get_measure(name).title} | {format_number(value.value)} "
        f"| {'' if value.baseline is None else format_number(value.baseline)} |"
        for name, value in found.values.items()
    ]
    ending = [
        str(found.memorisation),
        "**Made for** first steps, lessons and tests. **Not made for** training or testing programs that read digits: "
        "it draws what its data has, and some of its images are not what was asked for.",
    ]
    filled, end = ("\n\n".join(map(_fill, parts)) for parts in (paragraphs, ending))
    table = "\n".join(["| | value | real images |", "|---|---|---|", *rows])
    text = f"# {title}: model card\n\n{filled}\n\n{table}\n\n{end}\n"
    file.with_name(f"{title.upper()}.md").write_text(text, encoding="utf-8")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _fill(paragraph: str) -> str:
    return textwrap.fill(paragraph, 140, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", choices=list(PLANS), help="a generator of the package")
    parser.add_argument("--run", type=Path, help="a run that is there, in place of a training")
    parser.add_argument("--out", type=Path, help="the file; by default the package's")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of the training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--licence")
    parser.add_argument("--attribution")
    given = parser.parse_args()
    if given.name is None and (given.run is None or given.out is None):
        parser.error("without a name of the package's generators, --run and --out are needed")
    plan = PLANS[given.name] if given.name else None
    out = given.out or pretrained.FOLDER / f"{given.name}.safetensors"
    licence = check_licence(given.licence or (plan.licence if plan else None))
    run = Run(given.run) if given.run else train(str(given.name), given.runs, given.seed, given.threads)

    exact = load(run, device="cpu")
    options = find_data(exact.path, exact.card.data, exact.card.shape[:3])
    if options is None or not exact.card.shape.classes:
        raise GanvasError(f"{run} has no classes or no data.", expected="a class-conditional run with its data")
    images = open_images(options)
    classified = classify(exact, images, open_test_split(options, images))
    print(f"of the class asked for: {np.round(classified.accuracy, 3)}; shares: {np.round(classified.shares, 3)}")
    check_bar(classified)
    attribution = given.attribution or (plan.attribution if plan else "")
    lineage = exact.card.lineage and {**exact.card.lineage, "from": origin_name(exact.card.lineage)}
    card = dataclasses.replace(
        exact.card, quality=None, licence=licence, attribution=attribution, lineage=None if plan else lineage
    )
    snapshot.save_single_file(out, exact.generator, card)
    rounded = load(out, device="cpu")
    found = evaluate(out, against=options.source, quiet=True, device="cpu")
    classified = classify(rounded, images, open_test_split(options, images))
    write_card(out, run, classified, measure_rounding(exact, rounded), found)
    print(f"{out}: {out.stat().st_size:,} bytes, SHA-256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
