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
from ganvas.exporting.licences import check_licence
from ganvas.features.classifier import classifier_extractor
from ganvas.features.extraction import extract_features
from ganvas.runs import pretrained, snapshot
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
    """How a generator of the package is made."""

    recipe: str
    knobs: dict[str, Any]
    licence: str
    attribution: str


PLANS = {
    "digits": Plan(
        "digits",
        {"data": "digits", "conditional": True, "kimg": 400},
        "mit",
        "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998 "
        "(doi:10.24432/C50P49), CC BY 4.0; as scikit-learn includes it (BSD 3-Clause), 1,400 of its 1,797 images.",
    ),
    "digits28": Plan(
        "cnn-stable",
        {
            "data": "digits28",
            "conditional": True,
            "kimg": 100,
            "batch": 32,
            "latent": 64,
            "g_width": 32,
            "d_width": 48,
            "penalty_every": 4,
            "g_lr": "1e-3..5e-5:cosine@0.3-1",
            "d_lr": "1e-3..5e-5:cosine@0.3-1",
        },
        "cc-by-sa-3.0",
        "MNIST, Yann LeCun, Corinna Cortes and Christopher J. C. Burges, 1998, made of NIST's Special Databases 1 and "
        "3; CC BY-SA 3.0; 10,000 of its training images, as in digits28.",
    ),
}


class Judged(NamedTuple):
    """What the classifier of the training data says of the generated images.

    Attributes:
        classifier: its accuracy on held-out real images.
        accuracy: of each class, the share of images that it takes for that class.
        shares: of each class among all images.
    """

    classifier: float
    accuracy: np.ndarray
    shares: np.ndarray


def judge(sampler: Sampler, train: ImageSet, held_out: ImageSet | None) -> Judged:
    """Draws IMAGES_PER_CLASS images of each class, of seeds that no grid shows, and classifies them."""
    classes = sampler.card.shape.classes
    asked = np.repeat(np.arange(classes), IMAGES_PER_CLASS)
    judge = classifier_extractor(train, held_out)
    assert judge.predict_probabilities is not None
    batches = sampler.sample_batches(range(10_000, 10_000 + len(asked)), label=asked.tolist())
    said = judge.predict_probabilities(extract_features(batches, judge, count=len(asked))).argmax(1)
    right = (said == asked).reshape(classes, IMAGES_PER_CLASS).mean(1)
    accuracy = judge.facts.get("classifier_accuracy", float("nan"))
    return Judged(accuracy, right, np.bincount(said, minlength=classes) / len(said))


def check_bar(judged: Judged) -> None:
    """Refuses a generator that leaves a class out, or does not draw what it is asked for."""
    rarest, accuracy = judged.shares.min(), judged.accuracy.mean()
    if rarest < LEAST_SHARE or accuracy < LEAST_ACCURACY:
        raise GanvasError(
            f"The rarest class has {rarest:.1%} of the images, and {accuracy:.1%} are of the class asked for.",
            expected=f"at least {LEAST_SHARE:.0%} and {LEAST_ACCURACY:.0%}",
            fix="train it longer, or with another recipe.",
        )


def measure_rounding(exact: Sampler, rounded: Sampler) -> tuple[float, float, int]:
    """What half precision changes: the mean difference of a pixel of 255, the share of changed pixels, the largest."""
    first, second = (np.asarray(one.sample(range(HALF_SEEDS)), np.int16) for one in (exact, rounded))
    difference = np.abs(first - second)
    return float(difference.mean()), float((difference > 0).mean()), int(difference.max())


def train(plan: Plan, folder: Path, seed: int, threads: int) -> Run:
    """Trains by a plan; the same run is resumed."""
    quiet = {"plot": False, "preview": False, "watch": False, "evaluate_every": 0, "device": "cpu", "threads": threads}
    return ganvas.train(
        plan.recipe, out=folder, name=f"pretrain-{plan.knobs['data']}", seed=seed, **plan.knobs, **quiet
    )


def write_card(file: Path, run: Run, judged: Judged, rounding: tuple[float, float, int], found: Evaluation) -> None:
    """The card for people, NAME.md in capitals."""
    sampler, content, title = load(file, device="cpu"), file.read_bytes(), file.stem
    card, shape, names = sampler.card, sampler.card.shape, sampler.card.class_names
    numbers = sum(tensor.numel() for tensor in sampler.generator.state_dict().values())
    grey = "grey " if shape.channels == 1 else ""
    seconds, threads = run.progress()["seconds"], run.threads
    worst, (mean, share, largest) = int(judged.accuracy.argmin()), rounding
    paragraphs = [
        f"`{file.name}`: a generator of {grey}images of {shape.height}×{shape.width} pixels, of the class that is "
        f"asked for ({', '.join(names)}). {numbers:,} numbers in half precision, {len(content) / 1e6:.2f} MB. SHA-256 "
        f"`{hashlib.sha256(content).hexdigest()}`.",
        f"**Made by** `tools/pretrain.py {title}`: recipe `{card.recipe}` with the knobs named there, seed "
        f"{run.config.seed}, {card.nimg / 1000:g} thousand images shown to the discriminator, {seconds / 60:.0f} "
        f"minutes of {threads} CPU thread{'' if threads == 1 else 's'} that other programs shared, PyTorch "
        f"{card.versions['torch'].partition('+')[0]}. The weights are the moving average of the generator. On another "
        "processor the last bits differ, and with them the file.",
        f"**Trained on** {card.data['name']} (fingerprint `{card.data['fingerprint'][:16]}…`): {card.attribution}",
        f"**Licence** of this file: {card.licence}, `{title.upper()}-LICENSE.txt`.",
        "**What it draws**, by a classifier of the training data through which nothing was trained, and which is right "
        f"on {judged.classifier:.1%} of the held-out real images: of {IMAGES_PER_CLASS:,} images of each class "
        f"{judged.accuracy.mean():.1%} are of the class that was asked for, of the worst class ({names[worst]}) "
        f"{judged.accuracy[worst]:.1%}. The rarest class has {judged.shares.min():.1%} of all images.",
        f"**Half precision**, beside the float32 weights of the training: {share:.2%} of the pixels of "
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
    run = Run(given.run) if given.run or plan is None else train(plan, given.runs, given.seed, given.threads)

    exact = load(run, device="cpu")
    options = find_data(exact.path, exact.card.data, exact.card.shape[:3])
    if options is None or not exact.card.shape.classes:
        raise GanvasError(f"{run} has no classes or no data.", expected="a class-conditional run with its data")
    images = open_images(options)
    judged = judge(exact, images, open_test_split(options, images))
    print(f"of the class asked for: {np.round(judged.accuracy, 3)}; shares: {np.round(judged.shares, 3)}")
    check_bar(judged)
    attribution = given.attribution or (plan.attribution if plan else "")
    card = dataclasses.replace(exact.card, quality=None, licence=licence, attribution=attribution)
    snapshot.save_single_file(out, exact.generator, card)
    rounded = load(out, device="cpu")
    found = evaluate(out, against=options.source, quiet=True, device="cpu")
    judged = judge(rounded, images, open_test_split(options, images))
    write_card(out, run, judged, measure_rounding(exact, rounded), found)
    print(f"{out}: {out.stat().st_size:,} bytes, SHA-256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
