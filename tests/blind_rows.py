"""What blind logs are written with: curves over rows, losses of D's outputs, and the forms that tools print."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["healthy", "failing", "ambiguous"]
Span = tuple[float, float]


class Rows:
    """Curves over the rows of one log; `times` is noise in proportion to the curve, `plus` noise of one size."""

    def __init__(self, rows: int, seed: str) -> None:
        self.rows, self.random = rows, np.random.default_rng(zlib.crc32(seed.encode()))

    def noisy(self, curve: NDArray, times: float = 0.0, plus: float = 0.0) -> NDArray:
        noise = self.random.standard_normal(self.rows)
        return curve * np.exp(times * noise) + plus * noise

    def through(self, *corners: tuple[float, float], times: float = 0.0, plus: float = 0.0) -> NDArray:
        """Straight lines through corners (part of the run, value)."""
        at, values = np.transpose(corners)
        return self.noisy(np.interp(np.linspace(0, 1, self.rows), at, values), times, plus)

    def settling(self, start: float, end: float, pace: float = 5.0, times: float = 0.0, plus: float = 0.0) -> NDArray:
        """From start to end, ever more slowly."""
        return self.noisy(end + (start - end) * np.exp(-pace * np.linspace(0, 1, self.rows)), times, plus)

    def every(self, step: int, start: int = 0) -> NDArray:
        """Step numbers."""
        return start + step * np.arange(self.rows)

    def wander(self, size: float, memory: float = 0.97) -> NDArray:
        """Noise that has a memory, of mean 0 and about that size."""
        pushes, walk = self.random.standard_normal(self.rows) * size * np.sqrt(1 - memory**2), np.zeros(self.rows)
        for row in range(1, self.rows):
            walk[row] = memory * walk[row - 1] + pushes[row]
        return walk


@dataclass(frozen=True)
class BlindLog:
    """A log, what an expert says of it, and the steps between which that began."""

    name: str
    text: Callable[[], str]
    verdict: Verdict
    says: tuple[str, ...]
    since: Span | None


BLIND_LOGS: list[BlindLog] = []
Writer = Callable[[Rows], str]


def blind(verdict: Verdict, *says: str, rows: int, since: Span | None = None) -> Callable[[Writer], None]:
    """Puts the log that the function writes into the table; one of the conditions in `says` is the right answer."""

    def add(write: Writer) -> None:
        name = write.__name__.replace("_", " ")
        BLIND_LOGS.append(BlindLog(name, lambda: write(Rows(rows, seed=name)), verdict, says, since))

    return add


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def batch(function: Callable[[NDArray], NDArray], score: NDArray, spread: float) -> NDArray:
    """The function's mean over a batch whose scores are spread about that one."""
    return function(score[:, None] + spread * NODES) @ WEIGHTS


def softplus(score: NDArray, spread: float = 1.0) -> NDArray:
    return batch(lambda scores: np.logaddexp(0, scores), score, spread)


def hinge(score: NDArray, spread: float = 0.6) -> NDArray:
    return batch(lambda scores: np.maximum(0, 1 + scores), score, spread)


def sigmoid(score: NDArray, spread: float = 1.0) -> NDArray:
    return batch(lambda scores: 1 / (1 + np.exp(-scores)), score, spread)


def accuracy(score: NDArray, spread: float = 1.0) -> NDArray:
    return batch(lambda scores: np.clip(0.5 + scores, 0, 1), score, spread)


def only(values: NDArray, each: int) -> NDArray:
    """Known in each so-manyth row."""
    return np.where(np.arange(len(values)) % each == each - 1, values, np.nan)


def printed(line: str, **curves: NDArray) -> str:
    """The line once for each row of the curves."""
    rows = zip(*curves.values(), strict=True)
    return "".join(line.format(**dict(zip(curves, row, strict=True))) + "\n" for row in rows)


def csv(columns: dict[str, NDArray], digits: int = 8, quote: str = "") -> str:
    """A table; what is not known is left empty."""
    rows = zip(*columns.values(), strict=True)
    cells = (("" if np.isnan(cell) else f"{cell:.{digits}g}" for cell in row) for row in rows)
    return "\n".join([",".join(quote + name + quote for name in columns), *(",".join(row) for row in cells)]) + "\n"


def json_lines(columns: dict[str, NDArray], digits: int = 6) -> str:
    """One record a line; what is not known is left out."""
    rows = zip(*columns.values(), strict=True)
    return "".join(
        json.dumps({k: v.item() if v.dtype.kind == "i" else round(float(v), digits)
                    for k, v in zip(columns, row, strict=True) if not np.isnan(v)}) + "\n"
        for row in rows
    )  # fmt: skip


def stats_jsonl(columns: dict[str, NDArray], start: float = 1.65e9) -> str:
    """The records of StyleGAN2-ADA, StyleGAN3, and R3GAN."""
    rows = zip(*columns.values(), strict=True)
    return "".join(
        json.dumps({k: {"num": 1 if "/" not in k or k[0] in "PTR" else 128, "mean": float(v),
                        "std": 0.0 if k[0] in "PTR" else abs(float(v)) * 0.4}
                    for k, v in zip(columns, row, strict=True) if not np.isnan(v)}
                   | {"timestamp": start + 93.0 * at}) + "\n"
        for at, row in enumerate(rows)
    )  # fmt: skip


def keras_bars(steps: int, bar: str = "[==============================] - ", **curves: NDArray) -> str:
    """What model.fit prints at the end of each epoch."""
    rows = list(zip(*curves.values(), strict=True))
    return "".join(
        f"Epoch {at}/{len(rows)}\n{steps}/{steps} {bar}{38 + at % 5}s {int(38e3 / steps)}ms/step - "
        + " - ".join(f"{name}: {value:.4f}" for name, value in zip(curves, row, strict=True)) + "\n"
        for at, row in enumerate(rows, 1)
    )  # fmt: skip


def stamp(day: str, seconds: float) -> str:
    """Date and time so many seconds after the beginning of the day."""
    return str(np.datetime64(day) + np.timedelta64(int(seconds), "s")).replace("T", " ")


def clock(seconds: float) -> str:
    """A duration as StyleGAN prints it."""
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days}d {hours % 24:02d}h {minutes % 60:02d}m"
    return f"{hours}h {minutes % 60:02d}m {seconds % 60:02.0f}s" if hours else f"{minutes}m {seconds % 60:02.0f}s"


def eta(seconds: int) -> str:
    """What is left, as BasicSR prints it."""
    days, rest = divmod(seconds, 86400)
    return f"{days} day{'s' * (days > 1)}, " * (days > 0) + f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
