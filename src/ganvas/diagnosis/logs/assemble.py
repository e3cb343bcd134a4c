"""From the tables of a log to histories: one time for all, the names of Ganvas, and one history for each training."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.gaps import evaluated, numbers_of_loss
from ganvas.diagnosis.logs.numbers import resolution
from ganvas.diagnosis.logs.rows import Table
from ganvas.diagnosis.logs.source import FORMS, shown
from ganvas.diagnosis.logs.timeline import find_time
from ganvas.diagnosis.logs.trainings import rows_of_training, split_trainings
from ganvas.errors import GanvasError

_RANK = {"kimg": 0, "step": 1, "epoch": 2, "row": 3}
"""The units, the most precise first."""

_JOINED = "d_loss"
"""The name of the column that joins several Ds."""

_LEAST_SCORE = 0.99
"""An inception score is 1 at least; rounding may take it slightly below."""


@dataclass(eq=False)
class _Training:
    """The columns of one training on one time.

    Attributes:
        unit: kimg, step, epoch or row.
        timed: {name in the log: (at, values)}, float64 [n] each.
    """

    unit: str = ""
    clock: str = ""
    timed: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    texts: dict[str, Collection[str]] = field(default_factory=dict)
    place: str = ""
    unread: int = 0
    restarts: int = 0
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    joined: str = ""


def assemble(tables: Sequence[Table], facts: Facts, roles: names.Roles) -> dict[str, History]:
    """{name of the training: its history}; the name of the only one is empty.

    Args:
        tables: of one or several files.
        facts: the source and the format.
        roles: what the user said of the columns.

    Raises:
        GanvasError: there are no numbers, no known names, or several trainings that cannot be told apart.
    """
    trainings: dict[str, list[Table]] = {}
    for table in tables:
        trainings.setdefault(table.training, []).append(table)
    histories: dict[str, History] = {}
    for name, own in (trainings or {"": []}).items():
        for part, some in split_trainings(own, roles).items():
            whole = _with_one_d(_on_one_time(some, roles, facts), roles)
            _check_given(whole, facts, roles)
            for side, history in _of_each_gan(whole, facts, roles).items():
                histories[" ".join(filter(None, (name, part, side)))] = history
    return histories


def _with_one_d(training: _Training, roles: names.Roles) -> _Training:
    """Of several Ds that no column joins the mean of their losses, whose level is that of one D."""
    several = names.split_networks(training.timed)
    if not several or "D/loss" in roles.given.values() or roles.split_sides(training.timed):
        return training
    at = training.timed[several[0]][0]
    same = [name for name in several if np.array_equal(training.timed[name][0], at)]
    joined = f"mean of {', '.join(same)}"
    timed = {name: series for name, series in training.timed.items() if name not in same}
    values = np.mean([training.timed[name][1] for name in same], axis=0).round(10)
    return replace(
        training, timed={_JOINED: (at, values), **timed}, joined=joined,
        texts={**training.texts, _JOINED: training.texts.get(same[0], ())},
    )  # fmt: skip


def _of_each_gan(whole: _Training, facts: Facts, roles: names.Roles) -> dict[str, History]:
    """{"A": …, "B": …} of a log of two GANs; otherwise one history, without a name."""
    sides = roles.split_sides(whole.timed)
    if not sides:
        if sided := next((own for own in roles.given.values() if " of " in own), None):
            raise GanvasError(
                f"The columns name {sided}, but not D's loss and G's of both GANs.",
                expected="d_loss_A=NAME,g_loss_A=NAME,d_loss_B=NAME,g_loss_B=NAME",
                fix="name all four.",
            )
        return {"": _history(whole, facts, roles, {_JOINED: whole.joined} if whole.joined else {})}
    of_time = names.Roles({name: kind for name, kind in roles.given.items() if kind in names.TIMES})
    histories = {}
    for side, columns in sides.items():
        timed = {base: whole.timed[column] for column, base in columns.items()}
        texts = {base: whole.texts.get(column, ()) for column, base in columns.items()}
        original = {base: column for column, base in columns.items()}
        histories[side] = _history(replace(whole, timed=timed, texts=texts), facts, of_time, original)
    return histories


def _on_one_time(tables: Sequence[Table], roles: names.Roles, facts: Facts) -> _Training:
    """All columns with their times; a column that is in several tables goes on in them, if it begins later there."""
    parts = [_timed(table, roles) for table in tables]
    notes = [note for part in parts for note in part.notes]
    dropped = [name for part in parts if not part.timed for name in part.unused]
    parts = [part for part in parts if part.timed]
    if not parts and tables and all(table.empty for table in tables):
        raise GanvasError(
            f"{facts.source} contains no numbers yet: below its header there are no rows.", expected=FORMS,
            fix="wait until the training has written some.",
        )  # fmt: skip
    if not parts:
        found = f" but has {_listed(dropped)}" if dropped else ""
        raise GanvasError(
            f"{facts.source} contains no numbers with known names{found}.", expected=FORMS,
            fix="name the log of the training.",
        )  # fmt: skip
    main = max(parts, key=lambda part: (_losses(part, roles), -_RANK[part.unit]))
    if any({"step", "kimg"} == set(map(roles.time_kind, table.columns)) for table in tables):
        parts = [replace(part, unit="kimg") for part in parts]  # StyleGAN's steps in TensorBoard are its kimg
        main = replace(main, unit="kimg")
    _refuse_other_trainings(parts, main, roles, facts)
    merged, places = _Training(main.unit, main.clock, notes=list(dict.fromkeys(notes))), dict[str, str]()
    every = list(dict.fromkeys(name for part in parts for name in part.timed))
    sided = (name for columns in roles.split_sides(every).values() for name in columns)
    known = {*roles.translate_all(every), *names.split_networks(every), *sided}
    for part in parts:
        merged.unread += part.unread
        merged.restarts = max(merged.restarts, part.restarts)
        merged.unused += part.unused
        if part.unit != main.unit:
            merged.unused += [f"{name} (by {part.unit})" for name in part.timed]
            continue
        merged.texts |= part.texts
        for name, (at, values) in part.timed.items():
            if name in merged.timed and name not in known:
                continue
            if name in merged.timed:
                earlier, later = merged.timed[name], (at, values)
                if places[name] != part.place:
                    earlier, later = sorted([earlier, later], key=lambda series: series[0][0])
                    if later[0][0] in earlier[0][: 1 if len(earlier[0]) < 8 else 3]:
                        raise _several(f"{name} was logged more than once from the same time on", facts)
                goes_on = earlier[0] < later[0][0]
                merged.restarts = max(merged.restarts, int(not goes_on.all()))
                at, values = (np.concatenate([old[goes_on], new]) for old, new in zip(earlier, later, strict=True))
            places[name] = part.place
            merged.timed[name] = at, values
    return merged


def _refuse_other_trainings(parts: Sequence[_Training], main: _Training, roles: names.Roles, facts: Facts) -> None:
    """Files whose quantities would be lost, or those of another file.

    Raises:
        GanvasError: two files have the same quantity under two names, or no common time.
    """
    owners: dict[str, tuple[str, str]] = {}
    for part in parts:
        for name, own in roles.translate_all(part.timed).items():
            other, place = owners.setdefault(own, (name, part.place))
            if place != part.place and (other != name or part.unit != main.unit):
                both = f"{_in_place(other, place)} and {_in_place(name, part.place)}"
                raise _several(f"{both} are the same quantity", facts)
    read = {part.place for part in parts if part.unit == main.unit}
    for part in parts:
        if part.place not in read and roles.translate_all(part.timed):
            raise GanvasError(
                f"{shown(Path(part.place).name)} counts by {part.unit}, {shown(Path(main.place).name)} by {main.unit}.",
                expected="files of one training with the same time",
                fix="diagnose each by itself.",
            )


def _losses(part: _Training, roles: names.Roles) -> int:
    return sum(own.startswith(("D/loss", "G/loss")) for own in roles.translate_all(part.timed).values())


def _several(why: str, facts: Facts) -> GanvasError:
    return GanvasError(
        f"{facts.source} holds several trainings: {why}.",
        expected="one training",
        fix="name the files of one of them.",
    )


def _in_place(name: str, place: str) -> str:
    return f"{shown(name)} of {shown(Path(place).name)}"


def _timed(table: Table, roles: names.Roles) -> _Training:
    """Every column of a table with its times; rows that a resumed training wrote again are left out."""
    if not table.columns:
        return _Training(unread=table.unread, unused=[*table.dropped], notes=[*table.notes])
    time = find_time(table, roles.time_kind)
    kept, restarts = time.rows_kept(rows_of_training(table, roles))
    known = roles.translate_all(table.columns)
    losses = [name for name, own in known.items() if own.startswith(("D/loss", "G/loss"))]
    trained, timed = ~evaluated(losses, table), {}
    for name, column in table.columns.items():
        present = (
            numbers_of_loss(name, losses, table, time.own) & trained if name in losses else column.present
        ) & kept
        if name != time.clock and present.any():
            at, values = time.at[present], column.values[present]
            order = np.argsort(at, kind="stable")
            timed[name] = at[order], values[order]
    return _Training(
        time.unit, time.clock, timed, dict(table.texts), table.place, table.unread, restarts, [*table.dropped],
        [*table.notes, *filter(None, [time.note])],
    )  # fmt: skip


def _history(training: _Training, facts: Facts, roles: names.Roles, original: Mapping[str, str]) -> History:
    """With the quantities renamed, and the facts that follow from names and numbers."""
    known = _recognised(training, facts, roles)
    as_written = {original.get(name, name): own for name, own in known.items()}
    times = {name for name in training.timed if roles.time_kind(name)}
    clock = {training.clock: training.unit} if training.clock else {}
    told = {*known, *times, training.clock}
    unused = [name for name in training.timed if name not in told and not name.endswith("/std")]
    precision = {own: resolution(training.texts[name]) for name, own in known.items() if training.texts.get(name)}
    history = History(
        training.unit,
        replace(
            facts, columns={**clock, **as_written}, unread=training.unread, restarts=training.restarts,
            unused=tuple(dict.fromkeys([*unused, *(name for name in training.unused if name not in training.timed)])),
            notes=(*facts.notes, *training.notes),
            resolution={own: step for own, step in precision.items() if step is not None},
        ),
    )  # fmt: skip
    for name, own in known.items():
        at, values = training.timed[name]
        if own.startswith("D/accuracy") and (values[np.isfinite(values)] > 1).any():
            values = values / 100
        history.columns[own] = at.tolist(), values.tolist()
    outputs = [name for name, own in known.items() if own in ("D/real", "D/fake")]
    values = [training.timed[name][1] for name in outputs]
    history.update_facts(probabilities=_are_probabilities(outputs, values))
    critic = "D/wasserstein" in known.values() or any(map(names.is_critic, training.timed))
    if critic or any(names.normalise_name(name) == "c1" for name in known):
        history.update_facts(critic=True)
    return history


def _recognised(training: _Training, facts: Facts, roles: names.Roles) -> dict[str, str]:
    """{name in the log: name in Ganvas}; of several names for one quantity its own, or else that of most values."""
    timed = training.timed
    known = roles.translate_all(timed)
    known = {name: own for name, own in known.items() if name in roles.given or not _is_flag(own, timed[name][1])}
    if not known:
        raise _nothing_known(training, facts, roles)

    def preference(name: str) -> tuple[bool, bool, bool, int]:
        on_training_set = known[name] in names.SPARSE and "train" in name.lower()
        return name in roles.given, name == known[name], not on_training_set, len(timed[name][0])

    best: dict[str, str] = {}
    for name in sorted(known, key=preference, reverse=True):
        best.setdefault(known[name], name)
    return {name: own for name, own in known.items() if best[own] == name}


def _is_flag(own: str, values: np.ndarray) -> bool:
    """Whether an inception score is none, but a column such as is_train: a score is never below 1, nor always 1."""
    measured = values[np.isfinite(values) & (values > 0)]  # 0 or -1 until it is first measured
    return own == "inception score" and bool((measured < _LEAST_SCORE).any() or not (measured > 1).any())


def _check_given(training: _Training, facts: Facts, roles: names.Roles) -> None:
    """Refuses a name that the log does not have."""
    timed = training.timed
    if missing := [name for name in roles.given if name not in timed and name != training.clock]:
        raise GanvasError(
            f"{facts.source} has no column {shown(missing[0])}.",
            expected=f"one of {_listed(timed)}",
            fix=_nearest(missing[0], timed) or "give a name as it is in the log.",
        )


def _nothing_known(training: _Training, facts: Facts, roles: names.Roles) -> GanvasError:
    """The error that lists the names and proposes which is which."""
    quantities = [name for name in training.timed if not roles.time_kind(name)]
    losses = [name for name in quantities if "loss" in name.lower() or "err" in name.lower()]
    alike = len({name[:3] for name in losses}) == 1 and len(losses) == 2  # loss_1 and loss_2
    d_loss, g_loss = losses if alike else ("NAME", "NAME")
    proposal = shlex.quote(f"d_loss={d_loss},g_loss={g_loss}")
    return GanvasError(
        f"{facts.source} contains no name that is recognised: {_listed(quantities)}.",
        expected=f"names such as {names.EXAMPLES}",
        fix=f"say which is which, such as --columns {proposal}.",
    )


def _near(columns: Iterable[str], own: str) -> str:
    """The column whose name is nearest to d_loss or g_loss; empty if none is near."""
    plain = {names.normalise_name(name): name for name in columns}
    near = get_close_matches(names.normalise_name(own), plain, n=1, cutoff=0.6)
    return plain[near[0]] if near else ""


def _nearest(name: str, columns: Iterable[str]) -> str:
    near = _near(columns, name)
    return f"did you mean '{near}'?" if near else ""


def _listed(columns: Iterable[str]) -> str:
    """At most 20 of the names."""
    some = list(map(shown, columns))
    return ", ".join(some[:20]) + (f" and {len(some) - 20} more" if len(some) > 20 else "")


def _are_probabilities(columns: list[str], values: list[np.ndarray]) -> bool | None:
    """Whether D's outputs are probabilities; None where neither their names nor their range says so."""
    finite = np.concatenate([np.empty(0), *values])
    finite = finite[np.isfinite(finite)]
    if (finite < 0).any() or (finite > 1).any():
        return False
    return True if len(finite) and any(map(names.is_probability, columns)) else None
