"""The table of quality measures, with their titles and which direction is better; and the values of a measurement."""

from dataclasses import dataclass
from typing import Literal

from ganvas.display import Displayed


@dataclass(frozen=True)
class Measure:
    """A row of the table of measures.

    Attributes:
        title: the name shown to users.
        better: lower or higher; "as real" where the real-data baseline itself is best.
        source: the paper.
        inception_title: the name with Inception features, and only with them.
        of_features: whether it is measured in the features, not in pixels or classes.
        has_ratio: whether value / baseline is meaningful: not where the baseline is 0 except for chance.
        meaning: what its values say, where the title does not.
    """

    title: str
    better: Literal["lower", "higher", "as real"]
    source: str
    inception_title: str = ""
    of_features: bool = False
    has_ratio: bool = True
    meaning: str = ""


MEASURES = {
    "frechet": Measure("Fréchet distance", "lower", "Heusel et al. 2017", "FID", True),
    "frechet_infinity": Measure("Fréchet distance, n → ∞", "lower", "Chong & Forsyth 2020", "FID∞", True, False),
    "kernel": Measure("kernel distance × 1000", "lower", "Bińkowski et al. 2018", "KID × 1000", True, False),
    "precision": Measure("precision", "higher", "Kynkäänniemi et al. 2019", of_features=True),
    "recall": Measure("recall", "higher", "Kynkäänniemi et al. 2019", of_features=True),
    "density": Measure("density", "higher", "Naeem et al. 2020", of_features=True),
    "coverage": Measure("coverage", "higher", "Naeem et al. 2020", of_features=True),
    "two_sample": Measure(
        "1-nearest-neighbour accuracy", "as real", "Lopez-Paz & Oquab 2017; Xu et al. 2018", of_features=True,
        meaning="how often the nearest image tells real from generated; 0.5 is chance, less for copies",
    ),
    "sliced_wasserstein": Measure(
        "sliced Wasserstein × 1000", "lower", "Karras et al. 2018",
        meaning="how far patches of 7×7 pixels are from real ones, at every scale",
    ),
    "fine_detail": Measure("fine detail: spectrum error, dB", "lower", "after Durall et al. 2020", has_ratio=False),
    "layout": Measure("layout: Fréchet distance at 8×8", "lower", ""),
    "ms_ssim": Measure(
        "MS-SSIM between images", "as real", "Odena et al. 2017", meaning="how alike the images of one set are"
    ),
    "score": Measure("classifier score", "higher", "Salimans et al. 2016"),
    "modes": Measure("classes generated", "higher", "Metz et al. 2017"),
    "rarest": Measure("rarest class, share", "higher", ""),
    "kl_uniform": Measure("classes: KL from uniform", "lower", "Srivastava et al. 2017", has_ratio=False),
    "kl_real": Measure("classes: KL from the real shares", "lower", "Srivastava et al. 2017", has_ratio=False),
}  # fmt: skip
"""In the order of the report."""


@dataclass(frozen=True, repr=False)
class Value(Displayed):
    """A measured value.

    Attributes:
        value: the measure of the evaluated images.
        baseline: the real-data baseline, what held-out real images get in their place; None where there is none.
        error: the standard error, from the variation over five splits; None for too few images.
    """

    value: float
    baseline: float | None = None
    error: float | None = None

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {format_number(self.error)}"
        baseline = "" if self.baseline is None else f" (real-data baseline {format_number(self.baseline)})"
        return f"{format_number(self.value)}{error}{baseline}"

    def _line(self) -> str:
        return f"Value({self})"


def format_number(x: float) -> str:
    """Three significant digits, or more before the decimal point; tiny numbers with an exponent."""
    if x == 0 or x != x:
        return f"{x:g}"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.3g}" if abs(x) < 1e-3 else f"{x:#.3g}"
