"""Ranks the candidates by one metric, with significance, and compares them aspect by aspect; or says why it cannot."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from ganvas.comparison import budget
from ganvas.comparison.aspects import (
    ASPECTS,
    COSTS,
    Aspect,
    Row,
    aspect_value,
    is_independent,
    is_positive,
    known_devices,
    on_one_device,
    reason_not_to_compare,
)
from ganvas.comparison.significance import CONFIDENCE, PairTest, adjust_holm, central_value, compare_pair
from ganvas.comparison.summary import FORMATTERS, format_beside, format_number, metric_title
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
    ratio = is_positive(evaluated, metric)
    order = sorted(present, key=lambda name: central_value(by_name[name].values(), ratio=ratio))
    best = order[0]
    tests = [test for test in _test_pairs(order, by_name, ratio=ratio) if test.a == best]
    sentence = _format_verdict(best, tests, metric_title(metric, evaluated), by_name)
    remarks = (*remarks, *_remarks_on_devices(evaluated))
    return Verdict(sentence, metric, (), tuple(order), tuple(tests), remarks)


def compare_aspects(names: Sequence[str], runs: Sequence[Row]) -> list[dict[str, Any]]:
    """For each aspect known of two or more candidates: the means, and the best tested against the worst.

    p is adjusted for all pairs of candidates (Holm), since the best and the worst are chosen by the same values; it is
    not adjusted for the number of aspects.
    Listed without a test are: aspects of quality where data, protocols or budgets differ; those that are not
    independent of a network that a D looked through; speed and memory that were not measured on one known device;
    speed that was measured while other trainings or evaluations of the comparison were computed.
    """
    evaluated = [run for run in runs if run["evaluation"]]
    differing = bool(_differences(evaluated))
    found = []
    for key, aspect in ASPECTS.items():
        by_name = {name: own for name in names if (own := _values_by_seed(name, runs, key))}
        if len(by_name) < 2:
            continue
        ratio = aspect.ratio and is_positive(runs, key)
        means = {name: central_value(own.values(), ratio=ratio) for name, own in by_name.items()}
        listed = {"aspect": key, "title": aspect.title, "description": aspect.description, "better": aspect.better}
        if reason := _reason_not_to_test(key, runs, differing):
            sentence = f"{_format_means(aspect, means)}; {reason}."
            found.append({**listed, "means": means, "test": None, "significant": False, "sentence": sentence})
            continue
        order = sorted(means, key=means.__getitem__, reverse=aspect.better == "higher")
        ends = order[0], order[-1]
        (test,) = (t for t in _test_pairs(order, by_name, ratio=ratio) if (t.a, t.b) == ends)
        means = {name: means[name] for name in order}
        sentence = _format_aspect(aspect, means, test, by_name)
        significant = _is_better(test, aspect.better)
        found.append({**listed, "means": means, "test": asdict(test), "significant": significant, "sentence": sentence})
    return found


def _reason_not_to_test(aspect: str, runs: Sequence[Row], differing: bool) -> str:
    """Why an aspect is only listed; empty where it is tested. `differing`: data, protocols or budgets differ."""
    if aspect in COSTS:
        return reason_not_to_compare(aspect, runs)
    if not is_independent(runs, aspect):
        return f"{independence.NOT_INDEPENDENT}, not ranked"
    return "not ranked" if differing else ""


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


def _reasons_not_to_rank(
    names: Sequence[str], present: Sequence[str], evaluated: Sequence[Row], metric: str
) -> list[str]:
    if len(present) < 2:
        missing = ", ".join(name for name in names if name not in present)
        if present:
            return [f"only {present[0]} could be evaluated" + (f", not {missing}" if missing else "")]
        return ["no candidate could be evaluated" + (f" ({missing})" if missing else "")]
    reasons = _differences(evaluated)
    if not is_independent(evaluated, metric):
        by_network = _names_by_network(evaluated, independence.NOT_INDEPENDENT)
        features = evaluated[0]["evaluation"]["protocol"]["features"]["extractor"]
        looked = " and ".join(
            f"G of {_join_names(own)} was trained through {network}" for network, own in by_network.items()
        )
        reasons.append(f"the features ({features}) are {independence.NOT_INDEPENDENT}: {looked}")
    return reasons


def _differences(evaluated: Sequence[Row]) -> list[str]:
    """Why the qualities of evaluated runs cannot be compared: their data, protocols or budgets differ."""
    reasons = []
    data = {run["data"]["fingerprint"]: run["data"]["name"] for run in evaluated}
    if len(data) > 1:
        reasons.append(f"the training data differ ({', '.join(sorted(data.values()))})")
    else:
        protocols = [run["evaluation"]["protocol"] for run in evaluated]
        parts = {part for protocol in protocols for part in find_differences(protocols[0], protocol)}
        if parts:
            reasons.append(f"the evaluation protocols differ ({', '.join(sorted(parts))})")
    if evaluated and _shared_budget_kind(evaluated) is None:
        spent = []
        for name in dict.fromkeys(run["candidate"] for run in evaluated):
            own = [run["nimg"] / 1e3 for run in evaluated if run["candidate"] == name]
            spent.append(f"{name} {min(own):g}" + (f" to {max(own):g}" if max(own) > min(own) else ""))
        reasons.append(f"the training budgets differ in kimg ({', '.join(spent)}), in minutes and in operations")
    return reasons


def _shared_budget_kind(evaluated: Sequence[Row]) -> budget.BudgetKind | None:
    """What all runs had as much of, as planned or as spent; None if they had no equal budgets."""
    planned = {run.get("total") for run in evaluated if run["state"] == "complete"}
    running = [  # failed runs ended early, but had the budget of the comparison, or the length of a complete one
        run for run in evaluated if run["state"] != "failed" or not (run["budget"] or run.get("total") in planned)
    ]
    if _completed_one_budget(running):
        return running[0]["budget"]["kind"]
    return budget.shared_budget_kind(running or evaluated)


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
        unmeasured = [run for run in own if run["state"] == "complete" and not run["evaluation"]]
        failing = [run for run in own if run["diagnosis"]["failures"]]
        if incomplete:
            problems = "; ".join(f"seed {run['seed']}: {run['problem']}" for run in incomplete)
            remarks.append(f"{name}: {len(incomplete)} of {len(own)} trainings did not finish ({problems}).")
        if unmeasured:
            problems = "; ".join(f"seed {run['seed']}: {run['problem']}" for run in unmeasured)
            remarks.append(f"{name}: {len(unmeasured)} of {len(own)} trainings have no evaluation ({problems}).")
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


def _remarks_on_devices(evaluated: Sequence[Row]) -> Iterator[str]:
    """Where equal minutes were not spent on one known device."""
    if _shared_budget_kind(evaluated) == "minutes" and not on_one_device(evaluated):
        devices = known_devices(evaluated)
        names = sorted(filter(None, devices))
        names += [] if devices and None not in devices else ["devices that are not recorded"]
        yield (
            f"The budgets are equal in minutes, on {_join_names(names)}: a faster device trains on more "
            "images in the same time."
        )


def _memorisation(run: Row) -> Mapping[str, Any]:
    return (run["evaluation"] or {}).get("memorisation") or {}


def _format_verdict(
    best: str, tests: Sequence[PairTest], title: str, by_name: Mapping[str, Mapping[int, float]]
) -> str:
    if not tests:
        return f"Only {best} could be evaluated."
    better = [test for test in tests if _is_better(test)]
    contrary = [test for test in tests if _is_significant(test) and not _is_better(test)]
    unknown = [test for test in tests if test.low is None]
    similar = [test for test in tests if test not in (*better, *contrary, *unknown)]
    told = (better or tests)[0]
    seeds = f"{told.seeds} {'paired ' if told.paired else ''}seeds"
    found = f"{_format_estimate(told)} that of {told.b}"
    lowest = f"{best} has the lowest {title}"
    if better:
        first = (
            f"{best} is better than {_join_names([test.b for test in better])}: its {title} is {found} "
            f"({_format_interval(told)}; {seeds})"
        )
    elif told in unknown:
        single = _name_single(told, by_name)
        first = f"{lowest}, {found}; with {single}, the significance of this difference is unknown"
    elif told in contrary:
        first = (
            f"{lowest} over all seeds, but on the {told.seeds} seeds of both it is significantly higher: {found} "
            f"({_format_interval(told)})"
        )
    else:
        shared = f" over all seeds; on the {told.seeds} seeds of both it is" if _is_of_part(told, by_name) else ","
        first = f"No significant difference with {seeds}: {lowest}{shared} {found} ({_format_interval(told)})"
    groups = {
        "no significant difference from": similar,
        "with a single seed, the significance is unknown of the difference from": unknown,
        "significantly lower on the seeds of both:": contrary,
    }
    others = {words: [test.b for test in own if test is not told] for words, own in groups.items()}
    return "; ".join([first, *(f"{words} {_join_names(own)}" for words, own in others.items() if own)]) + "."


def _is_significant(test: PairTest) -> bool:
    """Significant also after the adjustment for all pairs."""
    return test.significant and (test.p is None or test.p < 1 - CONFIDENCE)


def _is_better(test: PairTest, better: str = "lower") -> bool:
    """Whether a is significantly better than b: where seeds are missing, b may be better on those of both."""
    return _is_significant(test) and (test.estimate < test.equal) == (better == "lower")


def _is_of_part(test: PairTest, by_name: Mapping[str, Mapping[int, float]]) -> bool:
    """Whether a side has more seeds than are tested."""
    return test.seeds < max(len(by_name[test.a]), len(by_name[test.b])) and test.paired


def _name_single(test: PairTest, by_name: Mapping[str, Mapping[int, float]]) -> str:
    """Which side of a test has a single seed, so that it has no interval."""
    single = [name for name in (test.a, test.b) if len(by_name[name]) == 1]
    return "one seed each" if len(single) == 2 else f"one seed of {single[0]}"


def _format_estimate(test: PairTest) -> str:
    if test.ratio:
        return f"{format_beside(test.estimate, 1.0)} times"
    return f"{abs(test.estimate):.3g} {'below' if test.estimate <= 0 else 'above'}"


def _format_ends(test: PairTest) -> str:
    low, high = (format_beside(end, test.equal) for end in (test.low, test.high) if end is not None)
    return f"95 % interval {low} to {high}"


def _format_interval(test: PairTest) -> str:
    return _format_ends(test) + (f", p = {FORMATTERS['p'](test.p)}" if test.p is not None else "")


def _format_aspect(
    aspect: Aspect, means: Mapping[str, float], test: PairTest, by_name: Mapping[str, Mapping[int, float]]
) -> str:
    best, worst = test.a, test.b
    values = _format_means(aspect, {name: means[name] for name in (best, worst)})
    if means[best] == means[worst]:
        return f"{values}; equal."
    if test.low is None:
        return f"{values}; {_name_single(test, by_name)}, significance unknown."
    where = f" on the {test.seeds} seeds of both" if _is_of_part(test, by_name) else ""
    if not _is_significant(test):
        return f"{values}; no significant difference{where}."
    size = _format_estimate(test) if test.ratio else f"a difference of {test.estimate:+.2g}"
    if not _is_better(test, aspect.better):
        return f"{values};{where} significantly the other way round: {size} ({_format_ends(test)})."
    return f"{values}; {size}{where} ({_format_ends(test)}), significant."


def _format_means(aspect: Aspect, means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {format_number(mean)}{aspect.unit}" for name, mean in means.items())


def _join_names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
