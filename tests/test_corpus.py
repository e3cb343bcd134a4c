"""The diagnosis of many synthetic logs: no failure where all is well, and a name for what is not.

`python tests/test_corpus.py` prints what was said of each kind.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from diagnosis_corpus import (
    OBJECTIVES,
    Log,
    ambiguous,
    at_chance,
    creeping,
    d_frozen,
    d_wins,
    d_wins_and_worse,
    dead_loss,
    early_strength,
    ends_in_nan,
    explodes,
    falling,
    fooled,
    gap_pattern,
    healthy,
    healthy_with,
    image_to_image,
    in_parts,
    never_learns,
    one_bad_evaluation,
    one_nan,
    oscillates,
    ramp,
    regresses,
    rounded,
    silent_at_its_best,
    silent_critic,
    silent_later,
    sure_and_good,
    unmeasured,
    winning_flat,
    with_quality,
)

from ganvas.diagnosis.diagnosis import apply_rules
from ganvas.diagnosis.history import Series
from ganvas.diagnosis.rules.quality import Quality, measured, severity_of

SIZES = (20, 60, 200, 700, 3000)

QUALITIES = (
    ("fid", 200, 9), ("kid", 0.2, 0.004), ("inception score", 1.2, 9), ("swd", 60, 12), ("lpips", 0.7, 0.2),
    ("ms-ssim", 0.2, 0.95), ("psnr", 14, 29), ("ssim", 0.3, 0.88),
)  # fmt: skip

SLOWLY = ramp(50, (0, 150), (0.16, 42), (1, 65))
EARLY_BEST = ramp(30, (0, 90), (0.2, 30), (0.35, 48), (1, 50))
LATE_CRASH = ramp(80, (0, 200), (0.5, 9), (0.94, 8), (0.95, 300), (1, 320))

CORPUS: list[Log] = [
    *(healthy(i, objective, SIZES[i % 5]) for i, objective in enumerate(OBJECTIVES)),
    *(healthy(10 + i, objective, SIZES[(i + 3) % 5]) for i, objective in enumerate(OBJECTIVES)),
    *(healthy(seed, "hinge", n, level) for seed, n, level in ((42, 12, 0.3), (43, 40, 0.4), (44, 40, 0.4))),
    *(with_quality(healthy(seed, "hinge", 400), "kid", falling(np.random.default_rng(seed), 100, 0.05, 1e-4, 0)
                   + np.random.default_rng(seed).normal(0, 0.002, 100)) for seed in range(3)),
    *(healthy_with(20 + i, OBJECTIVES[i % 7], (240, 800, 3000)[i % 3], *one) for i, one in enumerate(QUALITIES)),
    *(creeping(seed, n, True) for seed, n in enumerate((300, 3000))),
    *(sure_and_good(seed, n) for seed, n in enumerate((500, 2500))),
    *(rounded(seed, n, d, o) for seed, (n, d, o) in enumerate(
        ((10, 2, "half"), (20, 2, "cross-entropy"), (50, 2, "least squares"), (100, 3, "half"), (60, 1, "hinge")))),
    *(early_strength(seed, n) for seed, n in enumerate((60, 1200))),
    *(image_to_image(seed, n) for seed, n in enumerate((40, 800))),
    *(in_parts(seed, n) for seed, n in enumerate((30, 400))),
    gap_pattern(0, 300), one_bad_evaluation(0, 800), unmeasured(0, 600),

    *(d_wins(seed, o, n, begin) for seed, (o, n, begin) in enumerate((
        ("cross-entropy", 20, 0.3), ("cross-entropy", 3000, 0.02), ("half", 300, 0.5), ("minimax", 120, 0.2),
        ("least squares", 800, 0.1), ("hinge", 400, 0.4), ("relativistic", 1000, 0.6)))),
    *(d_wins_and_worse(seed, o, n) for seed, (o, n) in enumerate((("cross-entropy", 2000), ("least squares", 800)))),
    *(d_frozen(seed, *one) for seed, one in enumerate((
        (20, "half", False), (80, "cross-entropy", False), (1000, "half", False), (60, "half", True)))),
    *(dead_loss(seed, n, network, level) for seed, (n, network, level) in enumerate((
        (40, "D", 0.6931472), (300, "D", 1.3862944), (80, "G", 0.7031513), (1500, "G", 2.3025851)))),
    fooled(0, 40), fooled(1, 900),
    *(ends_in_nan(seed, *one) for seed, one in enumerate((
        ("hinge", 20, "D/loss", 1), ("cross-entropy", 3000, "G/loss", 900), ("wasserstein", 200, "G/loss", 40),
        ("", 60, "D/loss_fake", 5), ("", 400, "D/loss_real", 100)))),
    *(explodes(seed, *one) for seed, one in enumerate(((60, "cross-entropy"), (800, "hinge"), (300, "wasserstein")))),
    *(silent_critic(seed, *one) for seed, one in enumerate((
        (20, -0.31, None), (1000, 0.3, None), (100, -0.29, 4), (400, 0.32, 6)))),
    silent_later(0, 500), silent_at_its_best(0, 1000),
    *(regresses(seed, 1000, "fid", SLOWLY, noise, since=(160, 620)) for seed, noise in enumerate((0.05, 0.1, 0.15))),
    *(regresses(seed, 600, "fid", EARLY_BEST, noise, since=(100, 260)) for seed, noise in enumerate((0.01, 0.08))),
    regresses(1, 3000, "fid", LATE_CRASH, 0.05, failure=True, since=(2700, 2900), kind="late crash"),
    regresses(2, 60, "fid", np.array([90.0, 50, 41, 62, 85]), 0.02, kind="five evaluations"),
    regresses(3, 400, "kid", SLOWLY / 1500, 0.1), regresses(4, 400, "swd", SLOWLY / 3, 0.05),
    regresses(5, 400, "lpips", ramp(30, (0, 0.7), (0.3, 0.2), (1, 0.34)), 0.05),
    regresses(6, 400, "inception score", ramp(40, (0, 1.5), (0.3, 7), (1, 4)), 0.03),
    regresses(7, 400, "psnr", ramp(40, (0, 14), (0.4, 28), (1, 22)), 0.01),
    oscillates(0, 120, 12), oscillates(1, 1500, 90),
    never_learns(0, 300, "fid", 380), never_learns(1, 300, "kid", 0.4), never_learns(2, 90, "inception score", 1.15),

    creeping(0, 400, quality=False),
    *(at_chance(seed, n, d) for seed, (n, d) in enumerate(((20, 2), (300, 4), (12, 2)))),
    one_nan(0, 400), winning_flat(0, 500),
    ambiguous(d_wins(1, "cross-entropy", 200, 0.3), "D wins, no quality"),
    ambiguous(regresses(1, 500, "fid", ramp(40, (0, 90), (0.5, 20), (1, 23)), 0.05), "FID 1.15 times its best"),
    ambiguous(healthy(1, "cross-entropy", 3), "three rows"),
    *(ambiguous(regresses(seed, 400, name, ramp(100, *points), 0.03), f"{name} only rises")
      for seed, (name, *points) in enumerate((
          ("lpips", (0, 0.2), (1, 0.45)), ("ms-ssim", (0, 0.2), (1, 0.58)), ("ppl", (0, 5), (0.2, 70), (1, 124))))),
]  # fmt: skip


def said(log: Log) -> str:
    """What is said of it, in short."""
    return ", ".join(f"{f.name} ({f.severity})" for f in apply_rules(log.history()).findings if f.severity != "note")


@pytest.mark.parametrize("log", CORPUS, ids=lambda log: f"{log.truth}-{log.kind}-{log.rows}".replace(" ", "_"))
def test_what_is_said_of_a_log_is_true(log: Log) -> None:
    assert not log.faults(apply_rules(log.history()))


def test_a_measure_that_may_show_variety_makes_no_failure_of_what_losses_suggest() -> None:
    """LPIPS also measures the variety of fakes; beside PSNR it is the distance to the right images."""
    log = regresses(0, 400, "lpips", ramp(100, (0, 0.2), (1, 0.45)), 0.03)
    assert severity_of(log.history(), 1.0) == "warning"
    assert severity_of(log.history(), 1.0, sure=True) == "failure"
    paired = {"psnr": np.full(2, 20.0), **log.columns}
    assert severity_of(replace(log, columns=paired).history(), 1.0) == "failure"


def test_another_measure_is_preferred_to_one_that_may_show_variety() -> None:
    log = with_quality(healthy_with(1, "hinge", 400, "inception score", 1.2, 9), "lpips", ramp(100, (0, 0.2), (1, 0.5)))
    quality = measured(log.history())
    assert quality is not None
    assert (quality.name, quality.worse) == ("inception score", False)


def test_a_ppl_before_g_has_learned_is_not_the_best() -> None:
    log = with_quality(healthy(1, "hinge", 400), "ppl", ramp(40, (0, 5), (0.2, 120), (1, 118)))
    quality = measured(log.history())
    assert quality is not None
    assert not quality.worse


def test_a_kid_that_falls_by_a_third_has_improved_and_one_that_stays_has_not() -> None:
    def count(ends: float) -> int:
        improved = 0
        for seed in range(20):
            noise = np.random.default_rng(seed).normal(0, 0.0008, 40)
            series = Series(np.arange(40.0), np.linspace(0.012, ends, 40) + noise)
            improved += Quality("kid", series, series).improved
        return improved

    assert count(0.008) >= 16
    assert count(0.012) == 0


def test_corpus_is_broad() -> None:
    assert len(CORPUS) >= 60
    assert min(log.rows for log in CORPUS) <= 20
    assert max(log.rows for log in CORPUS) >= 3000
    assert {log.truth for log in CORPUS} == {"healthy", "failing", "ambiguous"}


def print_matrix() -> None:
    """Of each kind of log: how many there are, of how many something wrong is said, and what is said."""
    kinds: dict[tuple[str, str], list[Log]] = defaultdict(list)
    for log in CORPUS:
        kinds[log.truth, log.kind].append(log)
    for (truth, kind), logs in kinds.items():
        faults = [fault for log in logs for fault in log.faults(apply_rules(log.history()))]
        names = "; ".join(sorted({said(log) or "nothing" for log in logs}))
        print(f"{truth:10} {kind:26} {len(logs):2} logs, {len(faults)} faults: {names}", *faults, sep="\n    ! ")
    for truth in ("healthy", "failing", "ambiguous"):
        logs = [log for log in CORPUS if log.truth == truth]
        right = sum(not log.faults(apply_rules(log.history())) for log in logs)
        print(f"{truth}: right about {right} of {len(logs)}")


if __name__ == "__main__":
    print_matrix()
