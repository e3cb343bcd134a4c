"""Runs by time: planned, re-planned and ended in time; schedules only go forward; resumed runs follow the same plan."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import run_cli, tiny

import ganvas
from ganvas.config import TrainConfig, from_json, replace, to_json
from ganvas.errors import GanvasError
from ganvas.features.extraction import hash_weights
from ganvas.networks import Shape
from ganvas.runs import checkpoint, folder
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.runs.names import numbered
from ganvas.schedule import Schedule
from ganvas.training import estimate, moment_fitting, planning, start
from ganvas.training.planning import Plan, Planner
from ganvas.training.state import TrainState

ROUND = 20
"""Images of a round of `tiny`."""

PAUSE = 900.0
"""Seconds in which a simulated process does not run."""


class Clock:
    """The clock of the planner, which only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(planning, "now", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def by_time(minutes: float = 0.1, **knobs: Any) -> TrainConfig:
    """`tiny` by time, with the default intervals."""
    return replace(tiny(), minutes=minutes, **{"tick_kimg": None, "snapshot_kimg": None, **knobs})


class Simulation:
    """The planner in a loop like that of a training, without a training.

    Attributes:
        seconds: at the end, after the last save.
        nimg: images shown.
        fractions: of the run, before each round.
        plans: each one that was followed.

    Args:
        pause_at: seconds after which there is a pause of PAUSE.
    """

    def __init__(
        self,
        clock: Clock,
        minutes: float,
        speed: Callable[[float], float],
        *,
        trial: float = 1000.0,
        startup: float = 0.0,
        save: float = 0.0,
        probe: float = 0.0,
        pause_at: float = math.inf,
    ) -> None:
        self._clock, self._minutes, self._speed, self._save, self._probe = clock, minutes, speed, save, probe
        self._began, self._pause_at, self.nimg = clock.seconds, pause_at, 0
        planner = Planner(by_time(minutes), clock.seconds)
        clock.seconds += startup
        planner.start(trial)
        with planner.leaving_out_pauses():
            self._train(planner)
        self.seconds = clock.seconds - self._began

    def _train(self, planner: Planner) -> None:
        clock = self._clock
        planner.begin_rounds(0)
        self.plans, self.fractions, before = [planner.plan], list[float](), -1
        while True:
            tick = self.nimg // planner.tick_interval > before // planner.tick_interval
            if before >= 0 and (tick or planner.is_due(self.nimg) or self.nimg >= planner.plan.total):
                planner.update(self.nimg)
            if planner.plan != self.plans[-1]:
                self.plans.append(planner.plan)
            clock.seconds += self._probe * tick
            done = self.nimg >= planner.plan.total
            if done or self.nimg // planner.snapshot_interval > before // planner.snapshot_interval:
                with planner.saving():
                    clock.seconds += self._save
            if done:
                break
            self.fractions.append(planner.plan.fraction_at(self.nimg))
            clock.seconds += ROUND / self._speed((clock.seconds - self._began) / (60 * self._minutes))
            if clock.seconds - self._began > self._pause_at:
                clock.seconds, self._pause_at = clock.seconds + PAUSE, math.inf
            before, self.nimg = self.nimg, self.nimg + ROUND


def bursts(time: float) -> float:
    """Half the time a third of the speed, in random stretches of a hundredth of the run."""
    return 1000.0 if random.Random(int(100 * time)).random() < 0.5 else 333.0


SPEEDS: dict[str, Callable[[float], float]] = {
    "steady": lambda time: 1000.0,
    "slower than the trial": lambda time: 250.0,
    "faster than the trial": lambda time: 4000.0,
    "twice slower in the middle": lambda time: 500.0 if 0.3 < time < 0.6 else 1000.0,
    "three times slower near the end": lambda time: 333.0 if time > 0.9 else 1000.0,
    "bursts": bursts,
    "growing networks": lambda time: 8000.0 * 0.125**time,
}


@pytest.mark.parametrize("minutes", [0.5, 10.0])
@pytest.mark.parametrize("speed", SPEEDS.values(), ids=SPEEDS)
def test_run_ends_in_time_and_its_fraction_never_falls(
    clock: Clock, speed: Callable[[float], float], minutes: float
) -> None:
    run = Simulation(clock, minutes, speed, startup=3.0, save=0.4, probe=0.05)
    assert run.seconds == pytest.approx(60 * minutes, rel=0.02)
    assert run.fractions[0] == 0
    assert run.fractions == sorted(run.fractions)
    assert max(b - a for a, b in zip(run.fractions, run.fractions[1:], strict=False)) < 0.06, "no jump"
    assert run.fractions[-1] > 0.9


def test_fraction_follows_the_time_whatever_the_speed_was(clock: Clock) -> None:
    run = Simulation(clock, 10.0, SPEEDS["twice slower in the middle"])
    at_half_time = 180_000 + 60_000
    assert run.nimg == pytest.approx(180_000 + 90_000 + 240_000, rel=0.02)
    assert run.fractions[at_half_time // ROUND] == pytest.approx(0.5, abs=0.06)


def test_pause_is_left_out(clock: Clock) -> None:
    """As after Ctrl-Z and fg: the run has all of its time, and its schedules do not jump."""
    whole = Simulation(clock, 10.0, lambda _: 50.0, trial=50.0, save=0.4)
    run = Simulation(clock, 10.0, lambda _: 50.0, trial=50.0, save=0.4, pause_at=180.0)
    assert run.nimg == pytest.approx(whole.nimg, abs=2 * ROUND)
    assert run.seconds == pytest.approx(600 + PAUSE, rel=0.01)
    assert max(b - a for a, b in zip(run.fractions, run.fractions[1:], strict=False)) < 0.06, "no jump"


def test_long_round_is_no_pause(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that waits for a GPU or a disk: a thread sees that the process runs."""
    looked = threading.Semaphore(0)

    def look() -> float:
        looked.release()
        return clock.seconds

    monkeypatch.setattr(planning, "now", look)
    monkeypatch.setattr(planning, "BEAT", 0.001)
    planner = Planner(by_time(10.0), clock.seconds)
    with planner.leaving_out_pauses():
        for _ in range(30):
            clock.seconds += 10.0
            while looked.acquire(blocking=False):
                pass
            for _ in range(2):  # looks that begin from here on: the first of them has ended then
                assert looked.acquire(timeout=60)
        assert planner.elapsed == 300
        clock.seconds += PAUSE
        assert planner.elapsed == 300
        clock.seconds += 10.0
        assert planner.elapsed == 310


def test_steady_run_is_planned_once(clock: Clock) -> None:
    run = Simulation(clock, 1.0, SPEEDS["steady"])
    assert run.plans == [Plan(60_000)]
    assert run.nimg == 60_000


def test_time_for_the_snapshots_to_come_is_left(clock: Clock) -> None:
    run = Simulation(clock, 1.0, SPEEDS["steady"], save=2.0)
    assert run.seconds == pytest.approx(60, rel=0.02)
    assert run.nimg == pytest.approx(42_000, rel=0.05), "eight snapshots: the intervals are those of 60 kimg"


def test_snapshots_that_take_most_of_the_time_do_not_end_a_run_early(clock: Clock) -> None:
    run = Simulation(clock, 0.7, SPEEDS["steady"], startup=12.0, save=4.0)
    assert run.seconds == pytest.approx(42, rel=0.05)


@pytest.mark.parametrize(("startup", "minutes"), [(10.0, 0.05), (0.0, 1e-6)])
def test_time_that_is_up_before_the_first_round_is_a_run_of_one_round(
    clock: Clock, startup: float, minutes: float
) -> None:
    run = Simulation(clock, minutes, SPEEDS["steady"], startup=startup, save=0.1)
    assert run.nimg == ROUND


def test_round_that_is_longer_than_the_time_is_said_in_words(clock: Clock) -> None:
    planner = Planner(by_time(0.5), clock.seconds)
    planner.start(0.1)
    assert planner.plan == Plan(ROUND)
    assert planner.describe() == (
        "0.5 minutes, planned as 0.02 kimg: a round, of 3:20, takes longer than what is left of the time"
    )


def test_intervals_come_from_the_first_plan_unless_the_user_sets_them(clock: Clock) -> None:
    for knobs, expected in (
        ({}, (1_500, 6_000)),
        ({"tick_kimg": 0.5, "snapshot_kimg": 2.0}, (500, 2_000)),
        ({"minutes": 60.0}, (4_000, 360_000)),
    ):
        planner = Planner(by_time(**{"minutes": 1.0, **knobs}), clock.seconds)
        planner.start(1000.0)
        assert (planner.tick_interval, planner.snapshot_interval) == expected
        config = planner.planned_config()
        assert (config.tick_every(), config.snapshot_every()) == expected
        assert config.total_images == planner.plan.total


def test_learning_rate_never_rises_by_a_plan_and_ends_exactly() -> None:
    schedule, rng = Schedule.parse("1e-3..0:cosine@0.3-1"), random.Random(0)
    for _ in range(200):
        plan, nimg, last = Plan(1000), 0, 1.0
        while nimg < plan.total:
            lr = schedule.at(nimg, plan.fraction_at(nimg))
            assert lr <= last
            last = lr
            if rng.random() < 0.3:
                again = plan.ending_at(nimg + rng.randrange(1, 2000), nimg)
                assert again.fraction_at(nimg) == plan.fraction_at(nimg)
                plan = again
            nimg += rng.randrange(1, 100)
            plan = plan if nimg < 20_000 else plan.ending_at(nimg, nimg)
        assert schedule.at(plan.total, plan.fraction_at(plan.total)) == 0


def test_run_by_images_has_the_fractions_of_its_length() -> None:
    plan = Plan.of(tiny(kimg=0.7))
    assert [plan.fraction_at(nimg) for nimg in (0, 13, 700, 720)] == [0, 13 / 700, 1, 1]


@pytest.mark.parametrize("knobs", [{}, {"penalty_every": 4}, {"r1": 0.0, "r2": 0.0}], ids=str)
def test_trial_of_a_run_by_time_is_after_all_schedules(knobs: dict[str, Any]) -> None:
    """The networks have grown then, also where growth is given in kimg: the first plan goes by their speed."""
    config = replace(tiny(family="stylegan"), minutes=0.1, growth="0..1@0-20.01k", g_lr="1e-3..0", **knobs)
    state = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu"))
    rounds, _ = estimate._kinds_of_rounds(config, state.plan.total)
    assert len(rounds) == 1 + ("penalty_every" in knobs)
    for nimg in rounds:
        values = state.scheduled_values(nimg)
        assert (values["growth"], values["g_lr"]) == (1.0, 0.0)


class Training:
    """Trains `tiny` on the planner's clock: a round takes 0.1 s, in the middle third of the images twice as long.

    Attributes:
        interrupt_at: images at which a stop is requested, once.
        slowness: a factor of the seconds of a round.
        learning_rates, weights: before each round, by the images shown; of G, the digest of its weights.
    """

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interrupt_at, self.slowness = -1, 1.0
        self.learning_rates: dict[int, float] = {}
        self.weights: dict[int, str] = {}
        train_round = TrainState.train_round

        def timed_round(state: TrainState, batches: Any, nimg: int) -> Any:
            clock.seconds += (0.2 if 400 <= nimg < 800 else 0.1) * self.slowness
            self.learning_rates[nimg] = state.scheduled_values(nimg)["g_lr"]
            self.weights[nimg] = hash_weights(state.game.G)
            if nimg == self.interrupt_at:
                self.interrupt_at = -1
                signal.raise_signal(signal.SIGINT)
            return train_round(state, batches, nimg)

        monkeypatch.setattr(TrainState, "train_round", timed_round)
        monkeypatch.setattr(start, "measure_speed", lambda *_: 200.0)

    def __call__(self, name: str, *, interrupt_at: int = -1, config: TrainConfig | None = None) -> Run:
        self.interrupt_at, self.learning_rates, self.weights = interrupt_at, {}, {}
        return start.train(config or by_time(), name=name, quiet=True)


@pytest.fixture
def train(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Training:
    return Training(clock, monkeypatch)


def events(run: Run, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in read_jsonl(run.path / "events.jsonl") if event["event"] in kinds]


def plans(run: Run) -> list[tuple[int, float]]:
    return [(event["nimg"], event["kimg"]) for event in events(run, "planned", "replanned")]


def assert_equal_states(one: Run, two: Run) -> None:
    (a, saved_a), (b, saved_b) = (checkpoint.load(run.state_file) for run in (one, two))
    assert saved_a["nimg"] == saved_b["nimg"]
    assert saved_a["plan"]["plan"] == saved_b["plan"]["plan"]
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_slower_run_is_re_planned_and_records_what_was_asked_and_done(train: Training) -> None:
    run = train("a")
    assert run.config.minutes == 0.1
    assert run.config.kimg is None
    announced = (run.path / "log.txt").read_text()
    assert "0.1 minutes, planned as 1.2 kimg, on cpu" in announced
    assert "(fakes*.png, about 11)" in announced, "its speed may change"
    planned, *replanned = plans(run)
    assert planned == (0, 1.2)
    assert replanned
    (done,) = events(run, "done")
    assert done["elapsed"] == pytest.approx(6.0, rel=0.05)
    assert done["nimg"] == pytest.approx(800, abs=40)
    progress = run.progress()
    assert (progress["state"], progress["nimg"], progress["total"]) == ("complete", done["nimg"], done["nimg"])
    assert progress["seconds"] == pytest.approx(done["elapsed"], abs=0.1)
    assert f"{done['nimg'] / 1000:g} of {done['nimg'] / 1000:g}" in repr(run)
    every = planned[1] * 100  # a tenth of what was planned at first, in images
    assert [nimg for nimg, _ in numbered(run.grids)][-1] == done["nimg"]
    assert len(run.grids) == pytest.approx(1 + done["nimg"] / every, abs=1)
    lines = list(read_jsonl(run.path / "stats.jsonl"))
    assert len(lines) >= 25, "ticks come often enough for re-plans"
    assert lines[-1]["planned"] == done["nimg"]
    rates = list(train.learning_rates.values())
    assert rates[0] == 1e-3
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-4, rel=0.1)
    trained = len(train.learning_rates)
    train("a")
    assert len(train.learning_rates) == 0 < trained, "it is complete"


@pytest.mark.parametrize(
    "nimg", [420, 640, *(pytest.param(nimg, marks=pytest.mark.exhaustive) for nimg in (100, 500, 760))]
)
def test_interrupted_run_follows_the_plan_of_the_uninterrupted_one(train: Training, clock: Clock, nimg: int) -> None:
    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("parts", interrupt_at=nimg)
    parts = Run(Path("runs/parts"))
    progress = parts.progress()
    assert progress["state"] == "unfinished"
    assert progress["nimg"] == nimg + ROUND < progress["total"]
    clock.seconds += 3600  # a break is not training time
    train("parts")
    assert plans(parts) == plans(whole)
    assert_equal_states(parts, whole)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends the training like SIGKILL once the re-plan after so many images is written; 0: no longer."""
    append_event, killed_at = start.log.append_event, 0

    def append_and_die(run: Path, kind: str, nimg: int, **evidence: Any) -> None:
        append_event(run, kind, nimg, **evidence)
        if kind == "replanned" and nimg == killed_at:
            raise RuntimeError("killed")

    def kill_at(nimg: int) -> None:
        nonlocal killed_at
        killed_at = nimg

    monkeypatch.setattr(start.log, "append_event", append_and_die)
    return kill_at


def projected() -> TrainConfig:
    """As `by_time`, with a D behind a small frozen network, and moments that G matches."""
    Path("maps.py").write_text("from torch.nn import functional as F\ndef maps(x):\n    return [F.avg_pool2d(x, 8)]\n")
    config = replace(tiny(family="projected", r1=0.0, r2=0.0), features_net="maps.py:maps", minutes=0.1)
    return replace(config, tick_kimg=None, snapshot_kimg=None, moments=0.1, augment="translation", watch=False)


@pytest.mark.parametrize(("make", "number"), [(by_time, 2), (by_time, -1), (projected, 2)])
def test_run_killed_in_a_re_plan_makes_the_same_one_again(
    train: Training,
    kill: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], TrainConfig],
    number: int,
) -> None:
    monkeypatch.setattr(moment_fitting, "IMAGES", 48)
    config = replace(make(), snapshot_kimg=0.3)
    whole = train("whole", config=config)
    kill(plans(whole)[number][0])
    with pytest.raises(RuntimeError, match="killed"):
        train("parts", config=config)
    kill(0)
    parts = train("parts", config=config)
    assert plans(parts) == plans(whole), "and writes it once"
    assert_equal_states(parts, whole)


def test_killed_run_repeats_its_plans_on_a_machine_of_another_speed(train: Training) -> None:
    config = by_time(snapshot_kimg=0.3)
    whole = train("whole", config=config)
    weights, rates = train.weights, train.learning_rates
    killed_after = 560
    replanned = [nimg for nimg, _ in plans(whole) if 300 < nimg <= killed_after]
    assert len(replanned) > 1
    assert replanned[-1] < killed_after - ROUND, "and there were ticks without a re-plan"
    with pytest.MonkeyPatch.context() as patch:
        train_round = TrainState.train_round

        def die(state: TrainState, batches: Any, nimg: int) -> Any:
            if nimg >= killed_after:
                raise RuntimeError("killed")
            return train_round(state, batches, nimg)

        patch.setattr(TrainState, "train_round", die)
        with pytest.raises(RuntimeError, match="killed"):
            train("parts", config=config)
    train.slowness = 1.5
    parts = train("parts", config=config)
    assert min(train.weights) == 300, "the last saved state"
    repeated = range(300, killed_after + ROUND, ROUND)
    assert [train.learning_rates[nimg] for nimg in repeated] == [rates[nimg] for nimg in repeated]
    assert [train.weights[nimg] for nimg in repeated] == [weights[nimg] for nimg in repeated]
    before = [(nimg, kimg) for nimg, kimg in plans(parts) if nimg <= killed_after]
    assert before == [(nimg, kimg) for nimg, kimg in plans(whole) if nimg <= killed_after]
    assert parts.progress()["total"] < whole.progress()["total"], "then the clock decides"


def test_saving_takes_what_the_second_snapshot_of_each_session_took(clock: Clock) -> None:
    planner = Planner(by_time(1.0), clock.seconds)
    planner.start(1000.0)
    for seconds in (5.0, 1.0):  # the first imports libraries
        with planner.saving():
            clock.seconds += seconds
    resumed = Planner(by_time(1.0), clock.seconds)
    resumed.load_state(planner.saved_state())
    with resumed.saving():
        clock.seconds += 5.0
    assert resumed.saved_state()["saves"][0] == planner.saved_state()["saves"][0] == 1.0


def test_resumed_run_whose_time_is_up_ends_after_a_round(train: Training, clock: Clock) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("a", interrupt_at=500)
    run, saved = Run(Path("runs/a")), start.open_images

    def slow_decoding(*arguments: Any, **options: Any) -> Any:
        clock.seconds += 60
        return saved(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "open_images", slow_decoding)
        train("a")
    assert run.progress()["state"] == "complete"
    assert run.progress()["nimg"] == 520 + ROUND


def test_start_of_a_session_counts_as_time_but_not_as_slowness(train: Training, clock: Clock) -> None:
    opened = start.open_images

    def slow_decoding(*arguments: Any, **options: Any) -> Any:
        clock.seconds += 1.0
        return opened(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "open_images", slow_decoding)
        with pytest.raises(KeyboardInterrupt):
            train("a", interrupt_at=180)
        run = train("a")
    assert plans(run)[0] == (0, 1.0)
    (done,) = events(run, "done")
    assert done["elapsed"] == pytest.approx(6.0, rel=0.05)
    after = next(kimg for nimg, kimg in plans(run) if nimg >= 200)
    assert 0.7 < after < 0.85, "a second less, not a slower machine"


def test_compiling_counts_as_time_but_not_as_slowness(
    train: Training, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed_round, attempts = TrainState.train_round, 0

    def compiling_round(state: TrainState, batches: Any, nimg: int) -> Any:
        nonlocal attempts
        if nimg == 0:
            clock.seconds += 0.6
            attempts += 1
        return timed_round(state, batches, nimg)

    monkeypatch.setattr(TrainState, "train_round", compiling_round)
    monkeypatch.setattr(TrainState, "compile_attempts", property(lambda _: attempts))
    run = train("a")
    planned, replanned, *_ = plans(run)
    assert (planned, replanned) == ((0, 1.2), (40, 1.08)), "the images of 0.6 seconds less"
    (done,) = events(run, "done")
    assert done["elapsed"] == pytest.approx(6.0, rel=0.05)


def test_same_command_finds_the_run_and_another_time_is_another_run(train: Training) -> None:
    first = start.train(by_time(), quiet=True)
    assert start.train(by_time(), quiet=True).path == first.path
    other = start.train(by_time(0.05), quiet=True)
    assert other.path != first.path
    with pytest.raises(GanvasError, match=r"minutes is 0\.1 there and 0\.05 here"):
        folder.check_same_run(first, by_time(0.05), first.metadata["data"]["fingerprint"])
    with pytest.raises(GanvasError, match=r"kimg is None there and 0\.2 here"):
        folder.check_same_run(first, tiny(), first.metadata["data"]["fingerprint"])


def test_one_length_replaces_the_other_and_two_or_none_are_refused() -> None:
    config = replace(tiny(), minutes=3)
    assert (config.kimg, config.minutes) == (None, 3.0)
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(config)))) == config
    back = replace(config, kimg=0.2)
    assert (back.kimg, back.minutes) == (0.2, None)
    with pytest.raises(GanvasError, match="--kimg 1 and --minutes 2 are two lengths"):
        replace(config, kimg=1, minutes=2)
    with pytest.raises(GanvasError, match="no length"):
        replace(config, minutes=None)
    for bad in (0, -1, math.inf, math.nan):
        with pytest.raises(GanvasError, match="--minutes is"):
            replace(config, minutes=bad)
    with pytest.raises(GanvasError, match="two lengths"):
        ganvas.train("digits", kimg=1, minutes=1)


def test_command_line_takes_either_length() -> None:
    both = run_cli("train", "digits", "--kimg", 1, "--minutes", 1, "--dry-run", check=1)
    assert "--kimg 1 and --minutes 1 are two lengths of one run" in both.stderr
    plan = json.loads(run_cli("train", "digits", "--minutes=0.5", "--dry-run", "--json").stdout)
    assert plan["config"]["minutes"] == 0.5
    assert plan["config"]["kimg"] is None
    assert plan["kimg"] * 1000 <= 30 * plan["images_per_s"]
    assert plan["seconds"] < 30
    text = run_cli("train", "digits", "--minutes", 0.5, "--dry-run").stdout
    assert "0.5 minutes, planned as" in text


RANKS = """
import json, os, sys
from ganvas.config import TrainConfig, from_json
from ganvas.training import planning, start
from ganvas.training.state import TrainState

rank, seconds, plans = int(os.environ["RANK"]), [1000.0], []
planning.now = lambda: seconds[0]
train_round = TrainState.train_round

def timed_round(state, batches, nimg):
    plans.append([nimg, state.plan.total, state.scheduled_values(nimg)["g_lr"]])
    seconds[0] += (0.2 if nimg >= 400 else 0.1) * (1 + 4 * rank)  # rank 1 has a clock of its own
    return train_round(state, batches, nimg)

TrainState.train_round = timed_round
start.measure_speed = lambda *_: 200.0 / (1 + rank)
run = start.train(from_json(TrainConfig, json.loads(sys.argv[1])), name="ranks", quiet=True)
open(f"plans{rank}.json", "w").write(json.dumps(plans))
"""


@pytest.mark.exhaustive
def test_two_ranks_follow_the_plan_of_the_first() -> None:
    Path("ranks.py").write_text(RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    arguments = ["ranks.py", json.dumps(to_json(by_time()))]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(Path(f"plans{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len({total for _, total, _ in first}) > 1
    run = Run(Path("runs/ranks"))
    assert events(run, "done")[0]["elapsed"] == pytest.approx(6.0, rel=0.05)
