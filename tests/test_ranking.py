"""Rankings and refusals to rank, from rows of runs as they stand in the report's JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ganvas.comparison.ranking import Verdict, compare_aspects, rank
from ganvas.comparison.summary import FORMATTERS, best_candidates, format_beside, summarise

PROTOCOL = {"features": {"extractor": "eye", "weights": "ddd1390b"}, "judged": {"count": 200}}


def row(name: str, seed: int, distance: float | None, **more: Any) -> dict[str, Any]:
    """A run of 1 kimg with this Fréchet distance, or without evaluation."""
    values = {"frechet": distance, "kernel": distance, "layout": distance, "precision": 0.5, "recall": 0.5}
    evaluation = {
        "values": {k: {"value": v, "baseline": 0.5, "error": 0.1, "ratio": None} for k, v in values.items()},
        "protocol": PROTOCOL, "notes": [], "frechet_biased": False, "memorisation": None,
    }  # fmt: skip
    return {
        "candidate": name, "seed": seed, "path": f"runs/{name}-{seed}", "state": "complete", "problem": "",
        "nimg": 1000, "seconds": 10.0, "flops": 1e9, "images_per_s": 100.0, "peak_bytes": None, "curves": {},
        "device": "1 × cpu: one, 2 cores",
        "data": {"name": "digits", "fingerprint": "f"}, "diagnosis": {"verdict": "", "failures": [], "warnings": []},
        "budget": None, "evaluation": None if distance is None else evaluation, **more,
    }  # fmt: skip


def rows(**distances: Sequence[float | None]) -> list[dict[str, Any]]:
    return [row(name, seed, value) for name, own in distances.items() for seed, value in enumerate(own)]


def ranking(runs: list[dict[str, Any]], *names: str) -> Verdict:
    return rank(names or tuple(dict.fromkeys(run["candidate"] for run in runs)), runs)


def test_significant_difference_is_stated_with_its_interval() -> None:
    found = ranking(rows(cnn=[4.0, 4.4, 4.2], mlp=[1.0, 1.1, 1.04]))
    assert found.order == ("mlp", "cnn")
    assert found.sentence.startswith("mlp is better than cnn: its Fréchet distance is 0.25 times that of cnn (95 % int")
    assert "3 paired seeds" in found.sentence
    assert found.remarks == ()


def test_difference_that_is_not_significant_is_not_called_better() -> None:
    found = ranking(rows(cnn=[4.0, 1.0, 2.0], mlp=[1.5, 2.0, 1.8]))
    assert found.sentence.startswith("No significant difference with 3 paired seeds: mlp has the lowest")
    assert found.order == ("mlp", "cnn"), "the order is still that of the measurements"


def test_p_is_adjusted_for_several_comparisons() -> None:
    a, b, c = [1.0, 1.1, 1.2], [1.02, 1.3, 1.1], [5.0, 5.6, 6.0]
    found = ranking(rows(a=a, b=b, c=c))
    alone = ranking(rows(a=a, c=c)).tests[0]
    assert alone.p is not None
    assert [(test.a, test.b) for test in found.tests] == [("a", "b"), ("a", "c")]
    assert found.tests[1].p == pytest.approx(3 * alone.p), "the smallest p of three pairs"
    assert "a is better than c" in found.sentence
    assert found.sentence.endswith("no significant difference from b.")


def test_noise_between_many_candidates_is_seldom_called_significant() -> None:
    """400 comparisons of five equal candidates by three seeds: a false result in at most about 5 % of them."""
    random = np.random.default_rng(0)
    better = different = 0
    names = list("abcde")
    for _ in range(400):
        runs = rows(**{name: random.lognormal(0.0, 0.2, 3).tolist() for name in names})
        better += " is better than " in rank(names, runs).sentence
        (layout,) = (aspect for aspect in compare_aspects(names, runs) if aspect["aspect"] == "layout")
        different += layout["significant"]
    assert 0 < better <= 22
    assert 0 < different <= 22


def test_one_seed_gives_unknown_significance() -> None:
    found = ranking(rows(cnn=[4.0], mlp=[1.0]))
    assert "with one seed each, the significance of this difference is unknown" in found.sentence
    assert found.remarks[0] == "cnn was trained with one seed only, so its variation between seeds is unknown."
    (aspect,) = [s for s in compare_aspects(["cnn", "mlp"], rows(cnn=[4.0], mlp=[1.0])) if s["aspect"] == "layout"]
    assert aspect["sentence"] == "mlp 1, cnn 4; one seed each, significance unknown."


def at_seeds(**values: dict[int, float]) -> list[dict[str, Any]]:
    return [row(name, seed, value) for name, own in values.items() for seed, value in own.items()]


def test_best_of_all_seeds_is_not_called_better_where_the_common_seeds_say_the_opposite() -> None:
    runs = at_seeds(a={0: 10.0, 1: 11.0, 2: 1.0}, b={0: 8.0, 1: 9.0})
    found = ranking(runs)
    assert found.order == ("a", "b")
    assert found.sentence == (
        "a has the lowest Fréchet distance over all seeds, but on the 2 seeds of both it is significantly higher: "
        "1.2 times that of b (95 % interval 1.1 to 1.4, p = 0.034)."
    )
    (layout,) = (aspect for aspect in compare_aspects(["a", "b"], runs) if aspect["aspect"] == "layout")
    assert not layout["significant"]
    assert layout["sentence"] == (
        "a 4.79, b 8.49; on the 2 seeds of both significantly the other way round: "
        "1.2 times (95 % interval 1.1 to 1.4)."
    )


def test_difference_on_some_seeds_that_is_not_significant_names_them() -> None:
    sentence = ranking(at_seeds(a={0: 10.0, 1: 9.0, 2: 1.0}, b={0: 8.0, 1: 11.0})).sentence
    assert sentence.startswith(
        "No significant difference with 2 paired seeds: a has the lowest Fréchet distance over all seeds; on the 2 "
        "seeds of both it is 1.01 times that of b (95 % interval 0."
    )


def test_single_value_of_one_candidate_leaves_the_significance_of_the_others() -> None:
    found = ranking(rows(a=[1.0, 1.1, 1.04], b=[1.5], c=[4.0, 4.4, 4.2]))
    assert found.order == ("a", "b", "c")
    assert found.sentence.startswith("a is better than c: its Fréchet distance is 0.25 times that of c (95 % interval")
    assert found.sentence.endswith(
        "; 3 paired seeds); with a single seed, the significance is unknown of the difference from b."
    )
    two = ranking(rows(a=[1.0, 1.1, 1.04], b=[1.5])).sentence
    assert two.endswith("that of b; with one seed of b, the significance of this difference is unknown.")


def test_seeds_are_those_of_the_pair_that_is_told() -> None:
    found = ranking(rows(a=[1.0, 1.1, 1.04], b=[1.3, 1.0], c=[5.0, 5.6, 6.0]))
    assert [(test.b, test.seeds) for test in found.tests] == [("b", 2), ("c", 3)]
    assert found.sentence.startswith("a is better than c")
    assert found.sentence.endswith("; 3 paired seeds); no significant difference from b.")


def test_verdict_table_and_star_use_one_mean() -> None:
    runs = rows(a=[5.0, 5.0, 40.0], b=[12.0, 12.0, 12.0])
    found = ranking(runs)
    assert found.order == ("a", "b")
    assert "a has the lowest Fréchet distance, 0.83 times that of b" in found.sentence
    candidates = [{"name": name, "parameters": None, "flops_per_image": None} for name in "ab"]
    summaries, _ = summarise(candidates, runs, found.metric)
    assert [own["distance"]["mean"] for own in summaries] == pytest.approx([10.0, 12.0])
    assert best_candidates(summaries, True, runs)["distance"] == [0]
    (layout,) = (aspect for aspect in compare_aspects(["a", "b"], runs) if aspect["aspect"] == "layout")
    assert layout["means"] == pytest.approx({"a": 10.0, "b": 12.0})


def test_one_value_below_zero_makes_differences_of_all_pairs() -> None:
    runs = rows(a=[5.0, 5.0, 40.0], b=[12.0, 12.0, 12.0], c=[-0.1, 60.0, 60.0])
    runs[0]["evaluation"]["frechet_biased"] = True
    found = ranking(runs)
    assert found.metric == "kernel"
    assert found.order == ("b", "a", "c")
    assert not any(test.ratio for test in found.tests)
    assert "b has the lowest kernel distance × 1000, 4.67 below that of a" in found.sentence


@pytest.mark.parametrize(("value", "text"), [(0.996, "0.996"), (1.0, "1"), (1.0000004, "1.0000004"), (0.25, "0.25")])
def test_interval_that_excludes_equality_does_not_end_there(value: float, text: str) -> None:
    assert format_beside(value, 1.0) == text


def test_costs_are_compared_on_one_known_device() -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    for run in runs[2:]:
        run |= {"images_per_s": 900.0 + run["seed"]}
    candidates = [{"name": name, "parameters": None, "flops_per_image": None} for name in ("cnn", "mlp")]

    def speed() -> tuple[dict[str, Any], bool]:
        (aspect,) = (one for one in compare_aspects(["cnn", "mlp"], runs) if one["aspect"] == "images_per_s")
        return aspect, "images_per_s" in best_candidates(summarise(candidates, runs, "frechet")[0], True, runs)

    aspect, starred = speed()
    assert aspect["significant"]
    assert starred
    for device in ("1 × cuda: two", None):
        for run in runs[2:]:
            run["device"] = device
        aspect, starred = speed()
        assert aspect["test"] is None
        assert aspect["sentence"] == "cnn 100/s, mlp 900/s; not measured on one known device, not compared."
        assert not starred


def test_speed_beside_other_work_of_a_comparison_is_listed_without_a_test() -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    for run in runs[2:]:
        run |= {"images_per_s": 900.0 + run["seed"], "peak_bytes": 3e6}
    for run in runs[:2]:
        run |= {"peak_bytes": 2e6 + run["seed"]}
    runs[3]["alone"] = False
    candidates = [{"name": name, "parameters": None, "flops_per_image": None} for name in ("cnn", "mlp")]
    found = {one["aspect"]: one for one in compare_aspects(["cnn", "mlp"], runs)}
    assert found["images_per_s"]["test"] is None
    assert found["images_per_s"]["sentence"] == (
        "cnn 100/s, mlp 900/s; measured beside other work of the comparison, not compared."
    )
    assert found["peak_bytes"]["significant"], "memory is that of each process"
    best = best_candidates(summarise(candidates, runs, "frechet")[0], True, runs)
    assert "images_per_s" not in best
    assert "peak_bytes" in best


def test_equal_minutes_on_different_devices_have_a_remark() -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    for run in runs[2:]:
        run |= {"nimg": 9000, "flops": 7e9, "device": "1 × cuda: two"}
    assert ranking(runs).remarks == (
        "The budgets are equal in minutes, on 1 × cpu: one, 2 cores and 1 × cuda: two: a faster device trains on more "
        "images in the same time.",
    )
    for run in runs:
        run["device"] = None
    assert "in minutes, on devices that are not recorded:" in ranking(runs).remarks[-1]
    for run in runs:
        run |= {"device": "1 × cuda: two"}
    assert ranking(runs).remarks == ()


def test_few_images_are_ranked_by_the_kernel_distance() -> None:
    runs = rows(cnn=[4.0], mlp=[1.0])
    runs[0]["evaluation"]["notes"] = ["Any other words."]
    runs[0]["evaluation"]["frechet_biased"] = True
    assert ranking(runs).metric == "kernel"


def different_data(run: dict[str, Any]) -> None:
    run["data"] = {"name": "mnist", "fingerprint": "g"}


def different_protocol(run: dict[str, Any]) -> None:
    run["evaluation"]["protocol"] = {**PROTOCOL, "judged": {"count": 100}}


def different_budget(run: dict[str, Any]) -> None:
    run |= {"nimg": 2000, "seconds": 25.0, "flops": 2e9}


def no_evaluation(run: dict[str, Any]) -> None:
    run["evaluation"] = None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (different_data, "the training data differ (digits, mnist)"),
        (different_protocol, "the evaluation protocols differ (judged.count)"),
        (different_budget, "the training budgets differ in kimg (cnn 1, mlp 2), in minutes and in operations"),
        (no_evaluation, "only cnn could be evaluated, not mlp"),
    ],
)
def test_incomparable_runs_are_not_ranked(change: Any, reason: str) -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    for run in runs[2:]:
        change(run)
    found = ranking(runs)
    assert found.sentence == f"Not ranked: {reason}."
    assert found.order == found.tests == ()
    summaries, columns = summarise(
        [{"name": name, "parameters": None, "flops_per_image": None} for name in ("cnn", "mlp")], runs, found.metric
    )
    assert "distance" not in best_candidates(summaries, ranked=False)
    aspects = {aspect["aspect"]: aspect for aspect in compare_aspects(["cnn", "mlp"], runs)}
    for aspect in {"layout", "precision", "recall"} & aspects.keys():
        assert aspects[aspect]["test"] is None, "nothing is significant where nothing is ranked"
        assert aspects[aspect]["sentence"].endswith("; not ranked.")
    assert aspects["images_per_s"]["test"], "costs are compared all the same"
    assert columns["distance"] == "Fréchet distance"


def test_equal_minutes_are_an_equal_budget_for_any_number_of_images() -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    for run in runs[2:]:
        run |= {"nimg": 9000, "flops": 7e9}
    assert ranking(runs).order == ("mlp", "cnn")


def test_runs_with_equal_planned_minutes_are_ranked_with_a_remark_on_actual_minutes() -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    for run in runs:
        run["budget"] = {"kind": "minutes", "amount": 0.2}
    for run in runs[2:]:
        run |= {"nimg": 9000, "seconds": 15.0, "flops": 7e9}
    found = ranking(runs)
    assert found.order == ("mlp", "cnn")
    assert "took 0.167 to 0.25 minutes: the machine's speed changed" in found.remarks[-1]
    runs[0]["state"] = "unfinished"
    assert "budgets differ" in ranking(runs).sentence
    runs[0] |= {"state": "complete", "budget": None}
    assert "budgets differ" in ranking(runs).sentence, "an existing run has no planned budget"


def test_failed_training_counts_and_does_not_prevent_ranking() -> None:
    runs = rows(cnn=[4.0, 4.2, 9.0], mlp=[1.0, 1.1, 1.2])
    runs[2] |= {"state": "failed", "problem": "G/loss no longer finite at 0.4 kimg"}
    runs[2] |= {"nimg": 400, "seconds": 4.0, "flops": 4e8}
    runs[2]["diagnosis"] = {
        "verdict": "",
        "failures": [{"name": "not finite", "since": 0.4, "unit": "kimg"}],
        "warnings": [],
    }
    found = ranking(runs)
    assert found.order == ("mlp", "cnn")
    assert found.tests[0].seeds == 3
    assert found.remarks == (
        "cnn: 1 of 3 trainings did not finish (seed 2: G/loss no longer finite at 0.4 kimg).",
        "cnn: the diagnosis finds a failure in 1 of 3 trainings (not finite).",
    )
    runs[2]["state"] = "unfinished"
    assert "budgets differ" in ranking(runs).sentence, "an unfinished run may still be resumed"
    for run in runs:
        run["state"] = "failed"
    assert ranking(runs).sentence


def test_a_run_that_ended_early_is_ranked_only_with_runs_of_its_planned_length() -> None:
    runs = rows(cnn=[4.0, 4.2, 9.0], mlp=[1.0, 1.1, 1.2])
    for run in runs:
        run["total"] = 1000
    runs[2] |= {"state": "failed", "nimg": 400, "flops": 4e8, "seconds": 4.0}
    assert ranking(runs).order == ("mlp", "cnn")
    runs[2]["total"] = 9000
    assert "budgets differ" in ranking(runs).sentence
    for run in runs:
        run["budget"] = {"kind": "pflop", "amount": 1.0}
    assert ranking(runs).order == ("mlp", "cnn")


def test_a_training_that_could_not_be_evaluated_is_said_to_be_missing() -> None:
    runs = rows(cnn=[4.0, 4.2, None], mlp=[1.0, 1.1, 1.2])
    runs[2]["problem"] = "There is not enough memory."
    found = ranking(runs)
    assert found.tests[0].seeds == 2
    remark = "cnn: 1 of 3 trainings have no evaluation (seed 2: There is not enough memory.)."
    assert found.remarks == (remark,)


def test_only_inception_features_are_called_fid() -> None:
    runs = rows(cnn=[4.0, 4.2], mlp=[1.0, 1.1])
    assert "lowest FID" not in ranking(runs).sentence
    for run in runs:
        run["evaluation"]["values"]["frechet"]["title"] = "FID"
    assert "its FID is" in ranking(runs).sentence or "lowest FID" in ranking(runs).sentence


def test_no_evaluation_gives_no_ranking() -> None:
    assert ranking(rows(cnn=[None], mlp=[None])).sentence == "Not ranked: no candidate could be evaluated (cnn, mlp)."
    assert rank([], []).sentence == "Not ranked: no candidate could be evaluated."
    assert compare_aspects(["cnn", "mlp"], rows(cnn=[None], mlp=[4.0])) != [], "the speed of both is known"


def test_equal_values_are_reported_as_equal() -> None:
    by_aspect = {s["aspect"]: s["sentence"] for s in compare_aspects(["cnn", "mlp"], rows(cnn=[4.0], mlp=[1.0]))}
    assert by_aspect["precision"] == "cnn 0.500, mlp 0.500; equal."
    assert "peak_bytes" not in by_aspect


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("number", 1234.5, "1,234"), ("number", 3.0, "3"), ("number", 0.5, "0.500"), ("number", 120.4, "120"),
        ("number", 0.0, "0"), ("count", 1.25e6, "1.25 M"), ("count", 99, "99"), ("bytes", 5.03e8, "503 MB"),
        ("minutes", 90, "1.5"), ("percent", 0.0333, "3.33 %"), ("p", 0.0357, "0.036"), ("p", 0.0499, "0.0499"),
        ("kimg", 1500, "1.5"),
    ],
)  # fmt: skip
def test_number_formats(form: str, value: float, text: str) -> None:
    assert FORMATTERS[form](value) == text
