"""The result of an evaluation: its values, as JSON, as text and as HTML; and when two of them are comparable."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ganvas import image_io
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.evaluation.independence import NOT_INDEPENDENT, is_independent
from ganvas.evaluation.measures import MEASURES, Measure, Value, format_number
from ganvas.evaluation.memorisation import Memorisation

_ARROWS = {"lower": "↓", "higher": "↑", "as real": "="}
_COLUMNS = ("", "", "value", "±", "real", "×")
_LEGEND = "value ± standard error; real: the baseline, held-out real images in its place; ×: value / real"
_AUTHENTICITY = "authenticity: low for copies"
_C_T = "C_T: within ±3 without copies, far below for copies, far above for images unlike all real ones"


@dataclass(frozen=True, repr=False)
class Evaluation(Displayed):
    """The result of an evaluation.

    Attributes:
        subject: the name of what was evaluated.
        values: the measured values, by the names of `measures.MEASURES`.
        memorisation: the memorisation test; None in a quick evaluation, and where the data have changed.
        protocol: everything the numbers depend on: two evaluations are comparable only if these are equal.
        notes: warnings for the reader, one sentence each.
        panel: evaluated images in turn with their nearest training images, uint8 [n c h w]; the closest pair first.
        frechet_biased: whether there are no more images than features, which biases the Fréchet distance upwards.
    """

    subject: str
    values: dict[str, Value]
    memorisation: Memorisation | None
    protocol: dict[str, Any]
    notes: tuple[str, ...]
    panel: np.ndarray | None = None
    frechet_biased: bool = False

    def get_measure(self, name: str) -> Measure:
        """The measure; its title is FID or KID only with the features of the official Inception network."""
        measure = MEASURES[name]
        features = self.protocol["features"]
        official = features["extractor"] == "inception" and "network" not in features
        return replace(measure, title=measure.inception_title) if official and measure.inception_title else measure

    def is_independent(self, name: str) -> bool:
        """Whether a measure is independent of the network that D looked through; see `independence`."""
        return not MEASURES[name].of_features or is_independent(self.protocol)

    def ratio_to_baseline(self, name: str) -> float | None:
        """A value divided by its real-data baseline; None where that ratio is meaningless."""
        baseline = self.values[name].baseline
        if not baseline or baseline <= 0 or not self.get_measure(name).has_ratio:
            return None
        return self.values[name].value / baseline

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain values, as written to metrics.jsonl."""
        values = {
            name: {
                "title": self.get_measure(name).title,
                "better": self.get_measure(name).better,
                "independent": self.is_independent(name),
                **{key: _finite_or_none(number) for key, number in asdict(value).items()},
                "ratio": self.ratio_to_baseline(name),
            }
            for name, value in self.values.items()
        }
        memorisation = None
        if self.memorisation is not None:
            numbers = {name: value for name, value in vars(self.memorisation).items() if name != "pairs"}
            memorisation = {name: _finite_or_none(value) for name, value in numbers.items()}
            memorisation["independent"] = is_independent(self.protocol)
        return {
            "subject": self.subject,
            "values": values,
            "memorisation": memorisation,
            "protocol": self.protocol,
            "notes": list(self.notes),
            "frechet_biased": self.frechet_biased,
        }

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(self.subject, "bold")
        yield Table(list(_rows(self)), _COLUMNS, left=2)
        if (pairs := draw_closest_pairs(self)) is not None:
            yield InlineImage(pairs, "the evaluated images closest to training images, above these")
        marked = "" if is_independent(self.protocol) else f"; †: {NOT_INDEPENDENT} of D's network"
        shown = [MEASURES[name] for name in self.values]
        meanings = [f"{measure.title}: {measure.meaning}" for measure in shown if measure.meaning]
        yield Paragraph("\n".join([f"{_LEGEND}{marked}", *meanings, ""]), "dim")
        if self.memorisation is not None:
            mark = " †" if marked else ""
            yield Paragraph(f"{self.memorisation}{mark}", "bold" if self.memorisation.copying else "")
            explained = _AUTHENTICITY if self.memorisation.c_t is None else f"{_AUTHENTICITY}\n{_C_T}"
            yield Paragraph(explained, "dim")
        for note in self.notes:
            yield Paragraph(f"Note: {note}", "yellow")
        yield Paragraph(format_protocol(self), "dim")


def _rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    """The cells of each row of the table."""
    for name, value in evaluation.values.items():
        measure, ratio = evaluation.get_measure(name), evaluation.ratio_to_baseline(name)
        numbers = (value.value, value.error, value.baseline, ratio)
        title = measure.title if evaluation.is_independent(name) else f"{measure.title} †"
        yield title, _ARROWS[measure.better], *("" if x is None else format_number(x) for x in numbers)


def format_protocol(evaluation: Evaluation) -> str:
    """The protocol in a few lines."""
    features, reference, subject = (evaluation.protocol[part] for part in ("features", "reference", "subject"))
    network = features.get("network", features["extractor"])
    classes = evaluation.protocol.get("classes", {})
    accuracy = classes.get("classifier_accuracy")
    correct = f", correct on {100 * accuracy:.1f} % of held-out images" if accuracy is not None else ""
    lines = [
        f"Features: {network} ({features['weights']}), images {features['resize']}.",
        *([evaluation.protocol["independence"]["sentence"]] if "independence" in evaluation.protocol else []),
        f"Evaluated: {subject['count']:,} images"
        + "".join(f", {name} {value}" for name, value in subject.items() if name not in ("count", "fingerprint"))
        + ".",
        f"Real: {reference['count']:,} of {reference['data']} ({reference['fingerprint'][:8]}); "
        f"held out: {subject['count']:,} of {reference['held_out']}.",
        *([f"Classes: the data's own classifier ({classes['weights']}){correct}."] if classes else []),
        "Versions: "
        + ", ".join(f"{name} {version}" for name, version in evaluation.protocol["versions"].items())
        + ".",
    ]
    return "\n".join(lines)


def draw_closest_pairs(evaluation: Evaluation) -> Image.Image | None:
    """Evaluated images above their nearest training images, the closest pair first; None where there are none."""
    if evaluation.panel is None:
        return None
    rows = np.concatenate([evaluation.panel[::2], evaluation.panel[1::2]])
    return image_io.make_grid(rows, len(rows) // 2, row_names=("evaluated", "nearest"))


def _finite_or_none(number: float | None) -> float | None:
    """None for infinity and NaN, which JSON does not have."""
    return number if number is not None and math.isfinite(number) else None


def find_differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two protocols differ; numbers under different protocols must not be ranked.

    What D looked through is no difference: it belongs to what was evaluated.
    """
    differences: list[str] = []
    for key in sorted({*a, *b} - {"independence"}):
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            differences += find_differences(left, right, f"{prefix}{key}.")
        elif left != right:
            differences.append(f"{prefix}{key}")
    return differences
