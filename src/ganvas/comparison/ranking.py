"""Ranks the candidates by one metric, with significance, and compares them aspect by aspect; or says why it cannot."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from ganvas.comparison import budget
from ganvas.comparison.aspects import ASPECTS, Aspect, Row, aspect_value, is_independent
from ganvas.comparison.significance import CONFIDENCE, PairTest, adjust_holm, compare_pair
from ganvas.comparison.summary import metric_title
from ganvas.evaluation import independence
from ganvas.evaluation.result import find_differences
from ganvas.progress import format_minutes


@dataclass(frozen=True)
class Verdict:
    """The ranking.

    Attributes:
        sentence: the result in words, with its uncertainty.
        metric: the metric that is ranked by, a key of `MEASURES`.
        reasons: why nothing is ranked; empty where it is.
        order: names, the best first; empty where nothing is ranked.
        tests: the best candidate against each other one; p adjusted for all pairs of candidates (Holm), since the best
            is chosen by the same values.
        remarks: further facts for the reader, one sentence each.
    """

    sentence: str
    metric: str
    reasons: tuple[str, ...]
    order: tuple[str, ...]
    tests: tuple[PairTest, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def rank(names: Sequence[str], runs: Sequence[Row]) -> Verdict:
    """Ranks the candidates `names` from their runs' rows."""
    evaluated = [run for run in runs if run["evaluation"]]
    metric = _choose_metric(evaluated)
    remarks = (*_remarks(names, runs), *_remarks_on_independence(evaluated, metric))
    by_name = {name: _values_by_seed(name, evaluated, metric) for name in names}
    present = [name for name in names if by_name[name]]
    reasons = tuple(_reasons_not_to_rank(names, present, evaluated, metric))
    if reasons:
        return Verdict("Not ranked: " + "; ".join(reasons) + ".", metric, reasons, (), (), remarks)
    order = sorted(present, key=lambda name: _central_value(by_name[name].values()))
    best = order[0]
    tests = [test for test in _test_pairs(order, by_name, ratio=True) if test.a == best]
    sentence = _format_verdict(best, tests, metric_title(metric, evaluated))
    return Verdict(sentence, metric, (), tuple(order), tuple(tests), remarks)


def compare_aspects(names: Sequence[str], runs: Sequence[Row]) -> list[dict[str, Any]]:
    """For each aspect known of two or more candidates: the means, and the best tested against the worst.

    p is adjusted for all pairs of candidates (Holm), since the best and the worst are chosen by the same values; it is
    not adjusted for the number of aspects.
    An aspect that is not independent of a network that a D looked through is listed without a test.
    """
    found = []
    for key, aspect in ASPECTS.items():
        by_name = {name: own for name in names if (own := _values_by_seed(name, runs, key))}
        if len(by_name) < 2:
            continue
        listed = {"aspect": key, "title": aspect.title, "description": aspect.description, "better": aspect.better}
        if not is_independent(runs, key):
            means = {name: fmean(own.values()) for name, own in by_name.items()}
            sentence = f"{_format_means(aspect, means)}; {independence.NOT_INDEPENDENT}, not ranked."
            found.append({**listed, "means": means, "test": None, "significant": False, "sentence": sentence})
            continue
        sign = 1 if aspect.better == "lower" else -1
        order = sorted(by_name, key=lambda name: sign * fmean(by_name[name].values()))
        ends = order[0], order[-1]
        (test,) = (t for t in _test_pairs(order, by_name, ratio=aspect.ratio) if (t.a, t.b) == ends)
        means = {name: fmean(by_name[name].values()) for name in order}
        sentence, significant = _format_aspect(aspect, means, test), _is_significant(test)
        found.append({**listed, "means": means, "test": asdict(test), "significant": significant, "sentence": sentence})
    return found


def _test_pairs(order: Sequence[str], by_name: Mapping[str, Mapping[int, float]], *, ratio: bool) -> list[PairTest]:
    """Every pair of candidates, the one that is earlier in `order` first; p adjusted for their number (Holm)."""
    pairs = (compare_pair(a, by_name[a], b, by_name[b], ratio=ratio) for a, b in combinations(order, 2))
    tests = [test for test in pairs if test is not None]
    return [replace(test, p=p) for test, p in zip(tests, adjust_holm([test.p for test in tests]), strict=True)]


def _choose_metric(evaluated: Sequence[Row]) -> str:
    """The Fréchet distance; the kernel distance where a run has too few images for an unbiased Fréchet distance."""
    return "kernel" if any(run["evaluation"]["frechet_biased"] for run in evaluated) else "frechet"


def _values_by_seed(name: str, runs: Sequence[Row], what: str) -> dict[int, float]:
    """A candidate's known values of a metric or an aspect."""
    own = {run["seed"]: aspect_value(run, what) for run in runs if run["candidate"] == name}
    return {seed: value for seed, value in own.items() if value is not None and math.isfinite(value)}


def _central_value(values: Iterable[float]) -> float:
    """The geometric mean, as ratios are compared; the arithmetic mean where a value is not positive."""
    values = list(values)
    return math.exp(fmean(map(math.log, values))) if min(values) > 0 else fmean(values)


def _reasons_not_to_rank(
    names: Sequence[str], present: Sequence[str], evaluated: Sequence[Row], metric: str
) -> list[str]:
    if len(present) < 2:
        missing = ", ".join(name for name in names if name not in present)
        if present:
            return [f"only {present[0]} could be evaluated" + (f", not {missing}" if missing else "")]
        return ["no candidate could be evaluated" + (f" ({missing})" if missing else "")]
    reasons = []
    data = {run["data"]["fingerprint"]: run["data"]["name"] for run in evaluated}
    if len(data) > 1:
        reasons.append(f"the training data differ ({', '.join(sorted(data.values()))})")
    else:
        first = evaluated[0]["evaluation"]["protocol"]
        parts = {part for run in evaluated for part in find_differences(first, run["evaluation"]["protocol"])}
        if parts:
            reasons.append(f"the evaluation protocols differ ({', '.join(sorted(parts))})")
    if not is_independent(evaluated, metric):
        by_network = _names_by_network(evaluated, independence.NOT_INDEPENDENT)
        features = evaluated[0]["evaluation"]["protocol"]["features"]["extractor"]
        looked = " and ".join(
            f"G of {_join_names(own)} was trained through {network}" for network, own in by_network.items()
        )
        reasons.append(f"the features ({features}) are {independence.NOT_INDEPENDENT}: {looked}")
    running = [run for run in evaluated if run["state"] != "failed"]  # failed runs had the budget but ended early
    if not _completed_one_budget(running) and budget.shared_budget_kind(running or evaluated) is None:
        spent = [
            f"{name} {min(own):g}" + (f" to {max(own):g}" if max(own) > min(own) else "")
            for name in present
            if (own := [run["nimg"] / 1e3 for run in evaluated if run["candidate"] == name])
        ]
        reasons.append(f"the training budgets differ in kimg ({', '.join(spent)}), in minutes and in operations")
    return reasons


def _completed_one_budget(running: Sequence[Row]) -> bool:
    """Whether all runs completed the same budget; minutes are planned from a measured speed and may be exceeded."""
    budgets = [run["budget"] for run in running]
    return (
        bool(budgets)
        and None not in budgets
        and all(own == budgets[0] and run["state"] == "complete" for own, run in zip(budgets, running, strict=True))
    )


def _remarks(names: Sequence[str], runs: Sequence[Row]) -> list[str]:
    remarks = []
    for name in names:
        own = [run for run in runs if run["candidate"] == name]
        incomplete = [run for run in own if run["state"] != "complete"]
        failing = [run for run in own if run["diagnosis"]["failures"]]
        if incomplete:
            problems = "; ".join(f"seed {run['seed']}: {run['problem']}" for run in incomplete)
            remarks.append(f"{name}: {len(incomplete)} of {len(own)} trainings did not finish ({problems}).")
        if failing:
            failures = ", ".join(sorted({f["name"] for run in failing for f in run["diagnosis"]["failures"]}))
            remarks.append(
                f"{name}: the diagnosis finds a failure in {len(failing)} of {len(own)} trainings ({failures})."
            )
        if copying := [memory for run in own if (memory := _memorisation(run)).get("copying")]:
            share = 100 * fmean(memory["near_copies"] for memory in copying)
            remarks.append(
                f"{name}: training images are copied in {len(copying)} of {len(own)} trainings ({share:.0f} % of the "
                "generated images are near-copies)."
            )
        if len({run["seed"] for run in own}) == 1:
            remarks.append(f"{name} was trained with one seed only, so its variation between seeds is unknown.")
    timed = [run for run in runs if (run["budget"] or {}).get("kind") == "minutes" and run["state"] == "complete"]
    low, high = (end((run["seconds"] for run in timed), default=0) / 60 for end in (min, max))
    if high - low > budget.BUDGET_KINDS["minutes"].tolerance * high:
        planned = format_minutes(timed[0]["budget"]["amount"])
        remarks.append(
            f"Each training was planned for {planned} from its measured speed, but the trainings took {low:.3g} to "
            f"{high:.3g} minutes: the machine's speed changed."
        )
    return remarks


def _names_by_network(evaluated: Sequence[Row], verdict: str) -> dict[str, list[str]]:
    """Network -> the candidates whose G was trained through it, where the features have this verdict."""
    found: dict[str, list[str]] = {}
    for run in evaluated:
        protocol = run["evaluation"]["protocol"]
        for one in independence.networks_in(protocol):
            own = one.get("verdict", protocol["independence"]["verdict"])  # older versions have one for all
            if own == verdict and run["candidate"] not in found.setdefault(one["network"], []):
                found[one["network"]].append(run["candidate"])
    return found


def _remarks_on_independence(evaluated: Sequence[Row], metric: str) -> Iterator[str]:
    """Where features share labels with a D's network, and what helps where they share more."""
    for network, own in _names_by_network(evaluated, independence.SAME_LABELS).items():
        features = evaluated[0]["evaluation"]["protocol"]["features"]["extractor"]
        labels = independence.LABELS[network]
        yield (
            f"G of {_join_names(own)} was trained through {network}; the features ({features}) have "
            f"{independence.SAME_LABELS} ({labels}'s), which favours {_join_names(own)}."
        )
    if not is_independent(evaluated, metric):
        seen = [one for run in evaluated for one in independence.networks_in(run["evaluation"]["protocol"])]
        labelled = all("modes" in run["evaluation"]["values"] for run in evaluated)
        option = independence.advise(independence.names_of(seen), labelled=labelled)
        yield f"Features that no D looked through can be ranked: {option}."


def _memorisation(run: Row) -> Mapping[str, Any]:
    return (run["evaluation"] or {}).get("memorisation") or {}


def _format_verdict(best: str, tests: Sequence[PairTest], title: str) -> str:
    if not tests:
        return f"Only {best} could be evaluated."
    second = tests[0]
    if second.low is None:
        return (
            f"{best} has the lowest {title}, {_format_estimate(second)} that of {second.b}; with one seed each, the "
            "significance of this difference is unknown."
        )
    better = [t for t in tests if _is_significant(t)]
    similar = [t.b for t in tests if not _is_significant(t)]
    seeds = f"{second.seeds} {'paired ' if second.paired else ''}seeds"
    if not better:
        return (
            f"No significant difference with {seeds}: {best} has the lowest {title}, {_format_estimate(second)} that "
            f"of {second.b} ({_format_interval(second)})."
        )
    first = better[0]
    sentence = (
        f"{best} is better than {_join_names([t.b for t in better])}: its {title} is {_format_estimate(first)} that of "
        f"{first.b} ({_format_interval(first)}; {seeds})"
    )
    return sentence + (f"; no significant difference from {_join_names(similar)}." if similar else ".")


def _is_significant(test: PairTest) -> bool:
    """Significant also after the adjustment for all pairs."""
    return test.significant and (test.p is None or test.p < 1 - CONFIDENCE)


def _format_estimate(test: PairTest) -> str:
    return f"{test.estimate:.2g} times" if test.ratio else f"{abs(test.estimate):.3g} below"


def _format_interval(test: PairTest) -> str:
    interval = f"95 % interval {test.low:.2g} to {test.high:.2g}"
    return interval + (f", p = {test.p:.2g}" if test.p is not None else "")


def _format_aspect(aspect: Aspect, means: Mapping[str, float], test: PairTest) -> str:
    best, worst = test.a, test.b
    values = _format_means(aspect, {name: means[name] for name in (best, worst)})
    if means[best] == means[worst]:
        return f"{values}; equal."
    if test.low is None:
        return f"{values}; one seed each, significance unknown."
    if not _is_significant(test):
        return f"{values}; no significant difference."
    size = f"{test.estimate:.2g} times" if test.ratio else f"a difference of {test.estimate:+.2g}"
    return f"{values}; {size} (95 % interval {test.low:.2g} to {test.high:.2g}), significant."


def _format_means(aspect: Aspect, means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_format_value(mean)}{aspect.unit}" for name, mean in means.items())


def _format_value(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _join_names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
