"""Which is better, by how much, and is it luck; in what, and what for; or why that cannot be said."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from ganvas.comparison import budget
from ganvas.comparison.significance import LEVEL, Pairing, holm, pairing
from ganvas.comparison.summary import called
from ganvas.evaluation.evaluation import differing

Row = Mapping[str, Any]
"""A run of the comparison as its JSON has it: see `Comparison`."""


@dataclass(frozen=True)
class Aspect:
    """Something of which one may have more than another.

    Attributes:
        title: for people.
        says: what it is, in a few words.
        better: lower or higher.
        unit: of the values; "×" for one that is told as a multiple of real pictures' own.
        ratio: whether two are compared by their ratio.
    """

    title: str
    says: str
    better: str
    unit: str = ""
    ratio: bool = False


ASPECTS: dict[str, Aspect] = {
    "fine_detail": Aspect("Local detail", "how far the power of the finest waves is off", "lower", " dB", True),
    "sliced_wasserstein": Aspect("Texture", "distance of patches of 7×7 pixels", "lower", "", True),
    "layout": Aspect("Global relations", "Fréchet distance of the pictures at 8×8, layout alone", "lower", "", True),
    "precision": Aspect("Realism", "the part of the pictures that lies among real ones", "higher"),
    "recall": Aspect("Variety", "the part of the real pictures that lies among the drawn ones", "higher"),
    "rarest": Aspect("Every class", "the share of the class that is drawn most rarely", "higher"),
    "images_per_s": Aspect("Speed", "pictures a second in training", "higher", "/s", True),
    "peak_bytes": Aspect("Memory", "the most that the process held", "lower", " MB", True),
}
"""What strengths and weaknesses are drawn from, the small before the large; each is a row of the figure."""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        sentence: it, with its uncertainty.
        measure: what it is about, a name of `MEASURES`.
        reasons: why nothing is ranked; empty where it is.
        order: names, the best first; empty where nothing is ranked.
        pairings: the best beside each other; p adjusted for their number (Holm).
        remarks: what the reader should know besides, a sentence each.
    """

    sentence: str
    measure: str
    reasons: tuple[str, ...]
    order: tuple[str, ...]
    pairings: tuple[Pairing, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def judge(names: Sequence[str], runs: Sequence[Row]) -> Verdict:
    """The verdict on the entrants `names`, from their runs' rows."""
    judged = [run for run in runs if run["evaluation"]]
    measure = _measure(judged)
    remarks = tuple(_remarks(names, runs))
    by_name = {name: _by_seed(name, judged, measure) for name in names}
    present = [name for name in names if by_name[name]]
    reasons = tuple(_reasons(names, present, judged))
    if reasons:
        return Verdict("Not ranked: " + "; ".join(reasons) + ".", measure, reasons, (), (), remarks)
    order = sorted(present, key=lambda name: _centre(by_name[name].values()))
    best, *others = order
    pairings = [p for other in others if (p := pairing(best, by_name[best], other, by_name[other], ratio=True))]
    adjusted = holm([p.p for p in pairings])
    pairings = [Pairing(**{**asdict(p), "p": value}) for p, value in zip(pairings, adjusted, strict=True)]
    return Verdict(
        _sentence(best, pairings, called(measure, judged)), measure, (), tuple(order), tuple(pairings), remarks
    )


def values_of(run: Row, aspect: str) -> float | None:
    """A run's value of an aspect, in the unit in which it is told; None where it is unknown."""
    if aspect in ("images_per_s", "peak_bytes"):
        value = run[aspect]
        return value / 1e6 if value and aspect == "peak_bytes" else value
    value = run["evaluation"]["values"].get(aspect, {}).get("value") if run["evaluation"] else None
    return value


def strengths(names: Sequence[str], runs: Sequence[Row]) -> list[dict[str, Any]]:
    """For each aspect that is known of two entrants: who leads, who trails, and whether that is beyond chance."""
    found = []
    for key, aspect in ASPECTS.items():
        sides = {name: _by_seed_of(name, runs, key) for name in names}
        sides = {name: own for name, own in sides.items() if own}
        if len(sides) < 2:
            continue
        sign = 1 if aspect.better == "lower" else -1
        order = sorted(sides, key=lambda name: sign * fmean(sides[name].values()))
        first, last = order[0], order[-1]
        paired = pairing(first, sides[first], last, sides[last], ratio=aspect.ratio)
        if paired is not None:
            means = {name: fmean(sides[name].values()) for name in order}
            sentence = _of_aspect(aspect, order, means, paired)
            found.append(
                {"aspect": key, "title": aspect.title, "says": aspect.says, "better": aspect.better,
                 "means": means, "pairing": asdict(paired), "beyond_chance": paired.beyond_chance, "sentence": sentence}
            )  # fmt: skip
    return found


def _measure(judged: Sequence[Row]) -> str:
    """The Fréchet distance; with fewer pictures than features, which spoils it, the kernel distance."""
    small = any("fewer than the" in note for run in judged for note in run["evaluation"]["notes"])
    return "kernel" if small else "frechet"


def _by_seed(name: str, judged: Sequence[Row], measure: str) -> dict[int, float]:
    return {
        run["seed"]: run["evaluation"]["values"][measure]["value"]
        for run in judged
        if run["entrant"] == name and run["evaluation"]["values"][measure]["value"] is not None
    }


def _by_seed_of(name: str, runs: Sequence[Row], aspect: str) -> dict[int, float]:
    own = {run["seed"]: values_of(run, aspect) for run in runs if run["entrant"] == name}
    return {seed: value for seed, value in own.items() if value is not None and math.isfinite(value)}


def _centre(values: Any) -> float:
    """The geometric mean where there is one, as ratios are compared."""
    values = list(values)
    return math.exp(fmean(map(math.log, values))) if min(values) > 0 else fmean(values)


def _reasons(names: Sequence[str], present: Sequence[str], judged: Sequence[Row]) -> list[str]:
    """Why these numbers are not to be ranked."""
    if len(present) < 2:
        missing = [name for name in names if name not in present]
        alone = f"only {present[0]} has numbers" if present else "nobody has numbers"
        return [alone + (f" ({', '.join(missing)} {'has' if len(missing) == 1 else 'have'} none)" if missing else "")]
    reasons = []
    data = {run["data"]["fingerprint"]: run["data"]["name"] for run in judged}
    if len(data) > 1:
        reasons.append(f"they learnt from different pictures ({', '.join(sorted(data.values()))})")
    else:
        first = judged[0]["evaluation"]["protocol"]
        parts = {part for run in judged for part in differing(first, run["evaluation"]["protocol"])}
        if parts:
            reasons.append(f"their protocols differ ({', '.join(sorted(parts))})")
    going = [run for run in judged if run["state"] != "failed"]  # those that failed had the budget, and ended early
    if not _as_planned(going) and budget.shared(going or judged) is None:
        spent = [
            f"{name} {min(own):g}" + (f" to {max(own):g}" if max(own) > min(own) else "")
            for name in present
            if (own := [run["nimg"] / 1e3 for run in judged if run["entrant"] == name])
        ]
        reasons.append(f"their budgets differ: in kimg {', '.join(spent)}; and minutes and operations too")
    return reasons


def _as_planned(going: Sequence[Row]) -> bool:
    """Whether all came to the end of one budget; minutes are foreseen by a trial, and a busy machine takes longer."""
    budgets = [run["budget"] for run in going]
    return (
        bool(budgets)
        and None not in budgets
        and all(own == budgets[0] and run["state"] == "complete" for own, run in zip(budgets, going, strict=True))
    )


def _remarks(names: Sequence[str], runs: Sequence[Row]) -> list[str]:
    remarks = []
    for name in names:
        own = [run for run in runs if run["entrant"] == name]
        bad = [run for run in own if run["state"] != "complete"]
        sick = [run for run in own if run["health"]["failures"]]
        if bad:
            told = "; ".join(f"seed {run['seed']}: {run['trouble']}" for run in bad)
            remarks.append(f"{name}: {len(bad)} of {len(own)} trainings did not come to their end ({told}).")
        if sick:
            told = ", ".join(sorted({f.partition(" since")[0] for run in sick for f in run["health"]["failures"]}))
            remarks.append(f"{name}: the doctor sees a failure in {len(sick)} of {len(own)} trainings ({told}).")
        if len({run["seed"] for run in own}) == 1:
            remarks.append(f"{name} was trained with one seed only: how much of it is luck cannot be said.")
    timed = [run for run in runs if (run["budget"] or {}).get("kind") == "minutes" and run["state"] == "complete"]
    low, high = (end((run["seconds"] for run in timed), default=0) / 60 for end in (min, max))
    if high - low > budget.SPENT["minutes"][2] * high:
        remarks.append(
            f"Each training was meant to take {timed[0]['budget']['amount']:g} minutes, by a trial of its speed; they "
            f"took {low:.3g} to {high:.3g}: the machine's speed changed."
        )
    return remarks


def _sentence(best: str, pairings: Sequence[Pairing], title: str) -> str:
    if not pairings:
        return f"{best} alone has numbers."
    second = pairings[0]
    if second.low is None:
        return (
            f"{best} has the lowest {title}, {_times(second)} that of {second.b}; but with one seed each, "
            "whether that is luck cannot be said."
        )
    beaten = [p.b for p in pairings if _sure(p)]
    level = [p.b for p in pairings if not _sure(p)]
    how = f"{second.seeds} {'paired ' if second.paired else ''}seeds"
    if not beaten:
        return (
            f"No difference that {how} can show: {best} has the lowest {title}, {_times(second)} that of "
            f"{second.b} ({_told(second)})."
        )
    clear = next(p for p in pairings if _sure(p))
    how = f"{_told(clear)}; {how}"
    said = f"{best} is better than {_list(beaten)}: its {title} is {_times(clear)} that of {clear.b} ({how})"
    return said + (f"; against {_list(level)} these seeds show no difference." if level else ".")


def _sure(p: Pairing) -> bool:
    """Beyond chance, also among several comparisons."""
    return p.beyond_chance and (p.p is None or p.p < 1 - LEVEL)


def _times(p: Pairing) -> str:
    return f"{p.estimate:.2g} times" if p.ratio else f"{abs(p.estimate):.3g} below"


def _told(p: Pairing) -> str:
    ends = f"95 % interval {p.low:.2g} to {p.high:.2g}"
    return ends + (f", p = {p.p:.2g}" if p.p is not None else "")


def _of_aspect(aspect: Aspect, order: Sequence[str], means: Mapping[str, float], p: Pairing) -> str:
    first, last = order[0], order[-1]
    unit = aspect.unit
    values = f"{first} {_short(means[first])}{unit}, {last} {_short(means[last])}{unit}"
    if means[first] == means[last]:
        return f"{aspect.title}: {values}; the same."
    if p.low is None:
        return f"{aspect.title}: {values}; one seed each, so perhaps luck."
    if not p.beyond_chance:
        return f"{aspect.title}: {values}; no difference that these seeds can show."
    how = f"{p.estimate:.2g} times" if p.ratio else f"a difference of {p.estimate:+.2g}"
    return f"{aspect.title}: {values}; {how} (95 % interval {p.low:.2g} to {p.high:.2g}), beyond chance."


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
