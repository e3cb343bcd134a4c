"""`ganvas runs` and `ganvas cache`: what they list, what they remove, and what they never touch."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from support import call_cli, run_cli, start_cli, tiny

import ganvas
from ganvas.comparison.comparison import _make_plan
from ganvas.config import replace
from ganvas.data import DataOptions, open_images
from ganvas.data.cached import cache, cache_contents
from ganvas.errors import GanvasError
from ganvas.files import format_bytes
from ganvas.runs import cleaning, log, overview
from ganvas.runs.folder import Run
from ganvas.runs.lock import lock_comparison, lock_run
from ganvas.runs.overview import list_runs
from ganvas.training.start import train

DEAD = 2**22 + 1
"""No process has this number: it is above Linux's largest."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one complete run, which has states to roll back to."""
    out = tmp_path_factory.mktemp("trained")
    config = replace(tiny(), on_failure="rollback", evaluate_every=0.1)
    train(config, recipe="small", out=out, quiet=True)
    return out


@pytest.fixture
def runs(trained: Path) -> Path:
    return Path(shutil.copytree(trained, "runs"))


def copy(runs: Path, name: str) -> Path:
    return Path(shutil.copytree(runs / "00000-small-digits", runs / name))


def without_snapshot(runs: Path, name: str) -> Path:
    path = copy(runs, name)
    shutil.rmtree(path / "snapshots")
    shutil.rmtree(path / "state")
    return path


def states(folder: Path) -> dict[str, str]:
    return {one.path.name: one.state for one in list_runs(folder)}


def files(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_size for path in sorted(folder.rglob("*"))}


def test_a_run_has_its_length_state_size_and_quality(runs: Path) -> None:
    (one,) = list_runs(runs)
    assert (one.state, one.recipe, one.data, one.kimg, one.total_kimg) == ("complete", "small", "digits", 0.2, 0.2)
    assert one.bytes == sum(size for path, size in files(one.path).items() if path.is_file())
    assert time.time() - 600 < one.changed <= time.time() + 1
    best = Run(one.path).best_snapshot
    assert (one.quality is None) == (best is None)
    assert list_runs(one.path) == [one]


def test_states_of_runs(runs: Path) -> None:
    for name, old, new in [("longer", '"kimg": 0.2', '"kimg": 9'), ("later", '"format": 2', '"format": 99')]:
        config = copy(runs, name) / "config.json"
        config.write_text(config.read_text().replace(old, new))
    (copy(runs, "damaged") / "config.json").write_text("{")
    expected = {
        "00000-small-digits": "complete",
        "longer": "unfinished",
        "later": "unreadable",
        "damaged": "unreadable",
    }
    assert states(runs) == expected
    with lock_run(runs / "longer"):
        assert states(runs)["longer"] == "training"
    problem = next(one.problem for one in list_runs(runs) if one.path.name == "later")
    assert "later version" in problem
    assert "\n" not in problem


def test_run_that_was_stopped_by_a_failure_has_failed_until_it_is_trained_on(runs: Path) -> None:
    path = copy(runs, "stopped")
    (path / "config.json").write_text((path / "config.json").read_text().replace('"kimg": 0.2', '"kimg": 9'))
    for event, state, problem in [
        ({"nimg": 100, "event": "stopped"}, "unfinished", "0.2 of 9 kimg"),
        (
            {"nimg": 220, "event": "non-finite", "quantities": ["G/loss"]},
            "failed",
            "G/loss no longer finite at 0.22 kimg",
        ),
        ({"nimg": 200, "event": "stopped"}, "failed", "stopped by --on-failure at 0.2 kimg"),
    ]:
        log.append_json(path / "events.jsonl", event)
        progress = Run(path).progress()
        assert (progress["state"], progress["problem"]) == (state, problem)
        assert states(runs)["stopped"] == state
    resumed = copy(runs, "resumed")
    (resumed / "config.json").write_text((path / "config.json").read_text())
    for event, state in (("stopped", "failed"), ("resume", "unfinished"), ("stopped", "failed")):
        log.append_json(resumed / "events.jsonl", {"nimg": 200, "event": event})
        assert Run(resumed).progress()["state"] == state


def damage_weights(run: Run) -> None:
    (run.latest_snapshot / "G.safetensors").write_bytes(b"")


DAMAGE: list[tuple[Callable[[Run], object], str]] = [
    (lambda run: (run.path / "stats.jsonl").write_text(""), "complete"),
    (lambda run: (run.latest_snapshot / "card.json").write_text('{"format": 2}'), "unreadable"),
    (lambda run: (run.path / "config.json").write_text("[]"), "unreadable"),
    (lambda run: (run.path / "config.json").write_text('{"model_type": "other"}'), "unreadable"),
    (damage_weights, "unreadable"),
]


@pytest.mark.parametrize(("damage", "state"), DAMAGE, ids=range(len(DAMAGE)))
def test_every_command_knows_the_same_state(damage: Callable[[Run], object], state: str, runs: Path) -> None:
    run = Run(copy(runs, "damaged"))
    damage(run)
    run = Run(run.path)
    (one,) = (one for one in list_runs(runs) if one.path == run.path)
    assert one.state == state
    if state == "unreadable":
        assert str(run.path) in one.problem
        assert "damaged (" in repr(run)
        with pytest.raises(GanvasError, match="is damaged"):
            run.progress()
    else:
        assert f"state {state}" in repr(run)
        assert run.progress()["state"] == state
    if "config.json" in one.problem:  # its statistics are read without it
        notes = ganvas.diagnose(run).facts.notes
        assert any("is damaged" in note and str(run.path) in note for note in notes)
        return
    use = ganvas.load if "snapshots" in one.problem else ganvas.diagnose
    with pytest.raises(GanvasError, match="is damaged" if state == "unreadable" else "no line, though") as caught:
        use(run)
    assert str(run.path) in caught.value.what


def test_damaged_run_beside_does_not_stop_a_training(runs: Path) -> None:
    run = Run(copy(runs, "damaged"))
    (run.latest_snapshot / "card.json").write_text("{")
    config = replace(tiny(), seed=5)
    assert train(config, recipe="small", out=runs, quiet=True).progress()["state"] == "complete"


def test_runs_names_the_comparisons_beside() -> None:
    line = "ganvas runs comparisons lists those of comparisons."
    for run in (Path("runs/one"), Path("comparisons/a-vs-b")):
        run.mkdir(parents=True)
    assert line not in call_cli("runs", check=0).stdout, "there is none"
    run = Path("comparisons/a-vs-b/runs/one")
    run.mkdir(parents=True)
    (run / "config.json").write_text('{"format": 2, "recipe": "", "config": {}, "data": {}}')
    assert call_cli("runs", check=0).stdout.splitlines()[-1] == line
    for folder in ("comparisons", "."):  # their runs are in the table
        assert "lists those" not in call_cli("runs", folder, check=0).stdout
    assert "comparisons" not in call_cli("runs", "--json", check=0).stdout


def test_runs_of_comparisons_are_found_and_other_folders_are_not(runs: Path) -> None:
    shutil.copytree(runs, "comparisons/a-vs-b/runs")
    for name, content in [("model", '{"model_type": "dinov2"}'), ("empty", ""), ("list", "[]")]:
        folder = Path("comparisons", name)
        folder.mkdir()
        (folder / "config.json").write_text(content)
    assert [str(one.path) for one in list_runs("comparisons")] == ["comparisons/a-vs-b/runs/00000-small-digits"]
    loop = Path("comparisons/loop")
    loop.symlink_to(Path.cwd())
    assert len(list_runs("comparisons")) == 1
    with pytest.raises(GanvasError, match="no folder"):
        list_runs("nowhere")


def test_runs_are_removed_by_path_or_name(runs: Path) -> None:
    copy(runs, "b")
    before = files(runs)
    planned = cleaning.remove(["b", runs / "00000-small-digits"], folder=runs, dry_run=True)
    assert files(runs) == before
    assert [str(removal.path) for removal in planned] == ["runs/b", "runs/00000-small-digits"]
    assert cleaning.remove([(runs / "b").resolve(), "b"], folder=runs) == planned[:1]
    assert [path.name for path in runs.iterdir()] == ["00000-small-digits"]


def test_nothing_else_is_removed(runs: Path) -> None:
    (runs / "notes").mkdir()
    (runs / "notes" / "config.json").write_text("{}")
    elsewhere = Path(shutil.copytree(runs / "00000-small-digits", "elsewhere"))
    (runs / "link").symlink_to(elsewhere.resolve())
    (copy(runs, "with-photos") / "photos").mkdir()
    (copy(runs, "with-git") / ".git").mkdir()
    before = files(Path.cwd())
    for name, message in [
        ("notes", "no run"), ("nothing", "no run nothing"), ("link", "is a link"), (".", "no run"), ("..", "no run"),
        ("with-photos", "photos"), ("with-git", ".git"),
    ]:  # fmt: skip
        with pytest.raises(GanvasError, match=message):
            cleaning.remove(["00000-small-digits", name], folder=runs)
    with (
        lock_run(runs / "00000-small-digits"),
        pytest.raises(GanvasError, match="trained right now"),
    ):
        cleaning.remove(["00000-small-digits"], folder=runs)
    assert files(Path.cwd()).keys() - before.keys() <= {runs.resolve() / "00000-small-digits" / ".lock"}
    assert not before.keys() - files(Path.cwd()).keys()


def test_cleaning_removes_what_no_command_needs(runs: Path) -> None:
    path = without_snapshot(runs, "just-begun")
    kept = runs / "00000-small-digits"
    leftovers = [kept / f".config.json.tmp-{DEAD}", kept / "snapshots" / f".000000.tmp-{DEAD}"]
    leftovers[0].write_text("part")
    leftovers[1].mkdir()
    (leftovers[1] / "G.safetensors").write_text("part")
    removed_run = runs / f".00009-x.tmp-{DEAD}"
    (removed_run / "snapshots").mkdir(parents=True)
    rollback = [file for name in ("start", "good", "candidate") if (file := Run(kept).kept_state(name)).exists()]
    assert rollback
    before = files(runs)
    planned = cleaning.clean(runs, dry_run=True)
    assert files(runs) == before
    assert {removal.path for removal in planned} == {path, *leftovers, removed_run, *rollback}
    assert cleaning.clean(runs) == planned
    assert not any(removal.path.exists() for removal in planned)
    assert not cleaning.clean(runs)
    assert states(runs) == {"00000-small-digits": "complete"}
    assert ganvas.load(kept).sample(seeds=[0]).shape == (1, 1, 8, 8)
    again = train(replace(tiny(), on_failure="rollback", evaluate_every=0.1), recipe="small", out=runs, quiet=True)
    assert again.path == kept, "the run must still be found as complete"


def test_cleaning_leaves_everything_else(runs: Path) -> None:
    begun = without_snapshot(runs, "being-trained")
    (without_snapshot(runs, "with-photos") / "photos").mkdir()
    (without_snapshot(runs, "damaged") / "config.json").write_text("{")
    outside = Path(shutil.copytree(runs / "00000-small-digits" / "state", "outside"))
    (outside / f".x.tmp-{DEAD}").write_text("not ours")
    linked = copy(runs, "linked-state")
    shutil.rmtree(linked / "state")
    (linked / "state").symlink_to(outside.resolve())
    (runs / "link").symlink_to(without_snapshot(runs, "../elsewhere").resolve())
    living = runs / f".00009-x.tmp-{os.getpid()}"
    (living / "snapshots").mkdir(parents=True)
    foreign = runs / f".editor.tmp-{DEAD}"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    unfinished = copy(runs, "longer") / "config.json"
    unfinished.write_text(unfinished.read_text().replace('"kimg": 0.2', '"kimg": 9'))
    shutil.rmtree(runs / "00000-small-digits")
    before = files(Path.cwd()).keys()
    with lock_run(begun):
        assert not cleaning.clean(runs)
    assert files(Path.cwd()).keys() >= before


FOREIGN = [
    "NOTES.md", "thesis.tex", "my_photo.png", "fakes-of-friends.png", "snapshots/mine/G.safetensors",
    "snapshots/000000/sketch.png", "snapshots/notes.txt", "state/mine.safetensors", "state/mine/latest.safetensors",
    f".thesis.tmp-{DEAD}", f"snapshots/.000000.tmp-{DEAD}/thesis.tex",
    "explore/notes.txt", "explore/places/portrait.png",
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_the_user_stay(name: str, runs: Path) -> None:
    begun = without_snapshot(runs, "begun")
    kept = runs / "00000-small-digits"
    for run in (begun, kept):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    for run in (begun, kept):
        with pytest.raises(GanvasError, match=f"did not write: .*{re.escape(name.split('/')[0])}"):
            cleaning.remove([run], dry_run=True)
    for dry_run in (True, False):
        notes: list[str] = []
        removed = cleaning.clean(runs, dry_run=dry_run, note=notes.append)
        assert all((run / name).read_text() == "mine" for run in (begun, kept))
        assert begun not in {removal.path for removal in removed}
        assert ("snapshots/mine/G" in name) or len(notes) == 1
    assert "mine" in (begun / name).read_text()


def test_weights_without_a_card_are_not_cleaned(runs: Path) -> None:
    run = copy(runs, "cardless")
    shutil.rmtree(run / "state")
    for card in run.glob("snapshots/*/card.json"):
        card.unlink()
    assert run not in {removal.path for removal in cleaning.clean(runs)}


@pytest.mark.parametrize("older", [False, True])
def test_comparison_is_removed_by_the_same_rules(runs: Path, older: bool) -> None:
    comparison = Path("comparisons/a-vs-b")
    shutil.copytree(runs, comparison / "runs")
    if older:
        (comparison / "plan.json").write_text('{"request": {}, "kimg": {}}')
    else:
        _make_plan(comparison, [], None, 1, "cpu", True)
    (comparison / "runs" / f".marker-{'0' * 32}").touch()  # of a killed comparison on a cluster
    (comparison / "report.html").write_text("")
    (comparison / "evaluations" / ("0" * 16)).mkdir(parents=True)
    note = comparison / "evaluations" / "notes.txt"
    note.write_text("mine")
    with pytest.raises(GanvasError, match=r"evaluations/notes\.txt"):
        cleaning.remove(["a-vs-b"], folder="comparisons")
    note.unlink()
    for lock in (lock_run(comparison / "runs" / "00000-small-digits"), lock_comparison(comparison)):
        with lock, pytest.raises(GanvasError, match="trained right now"):
            cleaning.remove([comparison])
    again = lock_comparison(comparison)
    with lock_comparison(comparison), pytest.raises(GanvasError, match="is making the comparison"), again:
        pass
    assert [removal.reason for removal in cleaning.remove(["a-vs-b"], folder="comparisons")] == ["a comparison"]
    assert not comparison.exists()


@pytest.mark.parametrize("reverse", [False, True])
def test_comparison_and_a_run_in_it_are_removed_together(reverse: bool, runs: Path) -> None:
    comparison = Path("comparisons/a-vs-b")
    shutil.copytree(runs, comparison / "runs")
    _make_plan(comparison, [], None, 1, "cpu", True)
    run = comparison.resolve() / "runs" / "00000-small-digits"
    named = [run, comparison] if reverse else [comparison, run]
    assert [removal.path for removal in cleaning.remove([*named, runs / "00000-small-digits"])] == [
        comparison, runs / "00000-small-digits",
    ]  # fmt: skip
    assert not comparison.exists()


def test_cleaning_one_run_leaves_its_neighbours(runs: Path) -> None:
    without_snapshot(runs, "just-begun")
    (runs / f".00009-x.tmp-{DEAD}" / "snapshots").mkdir(parents=True)
    removed = cleaning.clean(runs / "00000-small-digits")
    assert removed
    assert {removal.path.parent.parent.name for removal in removed} == {"00000-small-digits"}


def test_what_a_running_command_writes_stays(runs: Path) -> None:
    kept = runs / "00000-small-digits"
    cleaning.clean(runs)
    film, bookmarks = kept / f".training.webp.tmp-{os.getpid()}", kept / "explore" / f".bookmarks.json.tmp-{DEAD}-77"
    bookmarks.parent.mkdir(exist_ok=True)
    for file in (film, bookmarks):
        file.write_text("part")
    assert not cleaning.find_foreign(kept)
    assert not cleaning.clean(runs)
    os.utime(film, (0, 0))  # of a killed process, whose number another one has now
    assert [removal.path for removal in cleaning.clean(runs)] == [film]


def test_only_copy_of_a_replaced_folder_stays(runs: Path) -> None:
    snapshots = runs / "00000-small-digits" / "snapshots"
    old = snapshots / f".best.old-{DEAD}"
    old.mkdir()
    has_best = (snapshots / "best").exists()
    found = {removal.path for removal in cleaning.clean(runs, dry_run=True)}
    assert (old in found) == has_best


@pytest.mark.slow
def test_run_that_another_process_trains_is_never_removed(runs: Path) -> None:
    flags = ["--kimg", "4000", "--seed", "7", "--device", "cpu", "--no-plot", "--name", "now", "--quiet"]
    process = start_cli("train", "digits", *flags)
    try:
        deadline = time.monotonic() + 100
        while not (runs / "now" / "stats.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert states(runs)["now"] == "training"
        assert "training" in run_cli("runs").stdout
        assert "being trained" in run_cli("runs", "--remove", "now", check=1).stderr
        assert "runs/now" not in run_cli("runs", "--clean", "--dry-run").stdout
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert states(runs)["now"] == "unfinished"
    assert "runs/now" in run_cli("runs", "--remove", "now").stdout


def test_commands_print_tables_and_json(runs: Path) -> None:
    table = run_cli("runs", COLUMNS="80").stdout
    assert "00000-small-digits" in table
    assert "0.2/0.2" in table
    assert max(map(len, table.splitlines())) <= 80
    found = json.loads(run_cli("runs", runs, "--json").stdout)
    assert [run["state"] for run in found["runs"]] == ["complete"]
    assert found["bytes"] == found["runs"][0]["bytes"]
    removed = json.loads(run_cli("runs", "--clean", "--dry-run", "--json").stdout)
    assert removed["dry_run"]
    assert removed["bytes"] == sum(one["bytes"] for one in removed["removed"])
    assert "Traceback" not in run_cli("runs", "nowhere", check=1).stderr
    for words in (["runs", "--dry-run"], ["runs", "--clean", "--remove", "x"], ["cache", "--older-than", 3]):
        assert "Traceback" not in run_cli(*words, check=2).stderr


def test_default_names_fit_into_80_columns(runs: Path) -> None:
    for name in ("00000-transformer-stable-digits", "00001-wgan-conditional-digits"):
        run = Path(shutil.copytree(runs / "00000-small-digits", Path("comparisons/a-against-b/runs", name)))
        text = (run / "config.json").read_text().replace('"small"', f'"{name[6:-7]}"')
        (run / "config.json").write_text(text)
    table = run_cli("runs", "comparisons", COLUMNS="80").stdout
    assert table.splitlines()[0].rstrip() == "In comparisons/a-against-b/runs:"
    assert [line.split()[0] for line in table.splitlines()[2:4]] == [
        "00000-transformer-stable-digits", "00001-wgan-conditional-digits",
    ]  # fmt: skip
    assert max(map(len, table.splitlines())) <= 80


def test_names_are_whole_beside_recipe_and_data(runs: Path) -> None:
    for name in ("00001-stylegan-kaokore-faces-128", "mine"):  # the second does not say recipe and data
        run = Path(shutil.copytree(runs / "00000-small-digits", runs / name))
        text = (run / "config.json").read_text().replace('"name": "digits"', '"name": "kaokore-faces-128"', 1)
        (run / "config.json").write_text(text)
    table = run_cli("runs", COLUMNS="80").stdout
    assert max(map(len, table.splitlines())) <= 80
    assert {"00000-small-digits", "00001-stylegan-kaokore-faces-128", "mine"} <= set(table.split())


def test_what_is_there_is_not_proposed(runs: Path) -> None:
    for there in (runs, Path(".")):
        refused = run_cli("runs", "--remove", there, check=1).stderr
        assert " is no run." in refused
        assert "did you mean" not in refused


def test_unreadable_run_and_odd_names_are_printed(runs: Path) -> None:
    (copy(runs, "[red]odd") / "config.json").write_text("{")
    table = run_cli("runs").stdout
    assert "[red]odd" in table
    assert "unreadable" in table


def test_cache_lists_data_sets_by_name(write_images: Callable[..., Path]) -> None:
    assert cache_contents.entries() == []
    images = open_images(DataOptions(str(write_images())))
    assert images.folder is not None
    (entry,) = cache_contents.entries()
    assert (entry.kind, entry.name, entry.path) == ("data set", "pictures-16x16x1: 40 images, 16×16×1", images.folder)
    assert entry.bytes == sum(file.stat().st_size for file in images.folder.iterdir())
    assert "pictures-16x16x1" in run_cli("cache").stdout
    assert json.loads(run_cli("cache", "--json").stdout)["bytes"] == entry.bytes


def test_cache_is_emptied_by_age_and_only_of_what_is_ours(write_images: Callable[..., Path]) -> None:
    old, new = (open_images(DataOptions(str(write_images(height=side)))).folder for side in (16, 24))
    assert old is not None
    assert new is not None
    month_ago = time.time() - 30 * 86400
    for file in old.iterdir():
        os.utime(file, (month_ago, month_ago))
    foreign = [cache.root() / "thesis.txt", cache.root() / "features" / "mine.npy", cache.root() / ("0" * 32) / "mine"]
    for file in foreign:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    foreign.append(cache.root() / f".thesis.tmp-{DEAD}")
    foreign[-1].write_text("mine")
    (cache.root() / "weights").symlink_to(Path.cwd())
    (Path.cwd() / "vgg19-dcbb9e9d.pth").write_text("mine")
    assert [entry.name for entry in cache_contents.entries() if entry.kind == "weights"] == ["vgg19-dcbb9e9d.pth"]
    locks = [folder.with_name(f"{folder.name}.lock") for folder in (old, new)]
    (cache.root() / ("c" * 32 + ".lock")).touch()
    (cache.root() / "mine.lock").touch()
    foreign.append(cache.root() / "mine.lock")
    (cache.root() / "features" / f"{'a' * 32}.npy").write_text("")
    leftover = cache.root() / f".{'b' * 32}.tmp-{DEAD}"
    leftover.mkdir()
    planned = cache_contents.clean(older_than=7, dry_run=True)
    assert [removal.path for removal in planned] == [old]
    assert cache_contents.clean(older_than=7) == planned
    assert not old.exists()
    assert [lock.exists() for lock in locks] == [False, True]
    notes: list[str] = []
    with FileLock(cache.root() / ("d" * 32 + ".lock")):
        removed = cache_contents.clean(note=notes.append)
        assert (cache.root() / ("d" * 32 + ".lock")).exists(), "another process builds that data set"
    assert {removal.reason for removal in removed} == {"data set", "features", "leftover"}
    assert len(notes) == 1
    assert "weights is a link" in notes[0]
    assert not locks[1].exists()
    assert not new.exists()
    assert not leftover.exists()
    assert all(file.exists() for file in [*foreign, Path("vgg19-dcbb9e9d.pth")])
    with pytest.raises(GanvasError, match="--older-than"):
        cache_contents.clean(older_than=float("nan"))


def test_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in run_cli("cache", check=1, GANVAS_CACHE=str(tmp_path / "file")).stderr


def test_opening_a_data_set_counts_as_its_use(write_images: Callable[..., Path]) -> None:
    path = write_images()
    folder = open_images(DataOptions(str(path))).folder
    assert folder is not None
    month_ago = time.time() - 30 * 86400
    os.utime(folder / "meta.json", (month_ago, month_ago))
    assert open_images(DataOptions(str(path))).notes == ()
    assert (folder / "meta.json").stat().st_mtime > month_ago + 86400


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 kB"), (1234, "1 kB"), (3_400_000, "3.4 MB"), (120e6, "120 MB"), (1.2e9, "1.2 GB"), (25e9, "25 GB")],
)
def test_sizes(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_foreign_configuration_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": 2}')
    assert not overview.is_run_folder(tmp_path)


def test_link_to_itself_among_the_runs_is_passed_over(tmp_path: Path) -> None:
    run = train(tiny(), out=tmp_path, name="a", quiet=True)
    (tmp_path / "loop").symlink_to("loop")
    assert [found.path for found in list_runs(tmp_path)] == [run.path]
