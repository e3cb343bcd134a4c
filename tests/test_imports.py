"""Slow packages are imported only where they are needed: PyTorch, SciPy and scikit-learn each take a second."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import tiny

from ganvas.cli import COMMANDS
from ganvas.training.start import train

WITHOUT_TORCH = [
    "ganvas", "ganvas.cli", "ganvas.config", "ganvas.recipes", "ganvas.image_io",
    "ganvas.data.inspection", "ganvas.data.sources",
    "ganvas.environment", "ganvas.data.cached.cache_contents", "ganvas.runs.cleaning", "ganvas.runs.overview",
    "ganvas.runs.curves", "ganvas.runs.folder", "ganvas.runs.formats", "ganvas.runs.log", "ganvas.runs.state_metadata",
    "ganvas.diagnosis.diagnosis", "ganvas.diagnosis.logs.reader", "ganvas.diagnosis.sources",
    "ganvas.comparison.progress", "ganvas.comparison.candidates", "ganvas.comparison.summary",
    "ganvas.comparison.importers", "ganvas.comparison.jobs", "ganvas.comparison.report", "ganvas.evaluation.measures",
    "ganvas.trackers.worker", "ganvas.trackers.finished",
]  # fmt: skip

SLOW = {"torch", "scipy", "sklearn", "matplotlib"}
COMPILER = {"torch._dynamo", "sympy"}


def modules_after(code: str, *argv: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`, which must not fail."""
    code += "\nimport sys; from pathlib import Path; Path('loaded').write_text(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(Path("loaded").read_text().split())


def modules_after_command(*words: object) -> set[str]:
    """The modules that are loaded after a command."""
    return modules_after("import sys; from ganvas.cli import _run; assert _run(sys.argv[1:]) == 0", *map(str, words))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(), out=tmp_path_factory.mktemp("runs"), quiet=True).path


EACH = """
import sys
slow = set(sys.argv[1].split())
for step in sys.argv[2:]:
    {act}
    assert not slow & set(sys.modules), f"{{step}} imports {{slow & set(sys.modules)}}"
"""


def test_modules_are_imported_without_torch() -> None:
    code = EACH.format(act="__import__(step)")
    assert set(WITHOUT_TORCH) <= modules_after(code, " ".join(SLOW), *WITHOUT_TORCH)


def test_runs_and_recipes_are_read_without_torch(run: Path) -> None:
    code = f"""
from pathlib import Path
from ganvas import Run
from ganvas.recipes import RECIPES
from ganvas.runs import folder, log, state_metadata
run = Run(Path({str(run)!r}))
assert run.config.kimg == 0.2 and run.latest_snapshot.name and RECIPES
assert [one.path for one in folder.list_runs(run.path.parent)] == [run.path]
assert state_metadata.read_metadata(run.state_file)['nimg'] == 200 and list(log.read_jsonl(run.path / 'stats.jsonl'))
"""
    assert not SLOW & modules_after(code)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes"], ["recipes", "--json"]], ids=" ".join)
def test_help_version_and_recipes_import_no_numpy(words: list[str]) -> None:
    assert not (SLOW | {"numpy"}) & modules_after_command(*words)


def test_help_of_commands_imports_no_numpy() -> None:
    act = "\n    ".join(["try: _run([step, '--help'])", "except SystemExit: pass"])
    code = "from ganvas.cli import _run\n" + EACH.format(act=act)
    modules_after(code, " ".join(SLOW | {"numpy"}), *COMMANDS)


def test_diagnose_does_not_import_torch(run: Path) -> None:
    log = Path("log.csv")
    log.write_text("step,d_loss,g_loss\n" + "".join(f"{i},{1 / (i + 1)},{i}\n" for i in range(40)))
    assert not SLOW & modules_after_command("diagnose", log)
    assert not SLOW & modules_after_command("diagnose", run)


def test_runs_and_cache_import_no_torch_and_runs_no_numpy(run: Path) -> None:
    assert not (SLOW | {"numpy"}) & modules_after_command("runs", run.parent)
    assert not (SLOW | {"numpy"}) & modules_after_command("runs", run.parent, "--clean", "--dry-run")
    assert not SLOW & modules_after_command("cache")


def test_plot_imports_neither_torch_nor_pyplot(run: Path) -> None:
    modules = modules_after_command("plot", run)
    assert "matplotlib.figure" in modules
    assert not {"torch", "scipy", "sklearn", "matplotlib.pyplot"} & modules
    assert (run / "losses.png").stat().st_size > 10_000


def test_report_is_drawn_from_its_results_without_torch() -> None:
    results = Path(__file__).parent.parent / "docs" / "reports" / "cnn-vs-transformer" / "report.json"
    code = f"""
import json
from pathlib import Path
from ganvas.comparison.report import render_report
page = render_report(json.loads(Path({str(results)!r}).read_text()), Path("evaluations"))
assert page.count("<svg") >= 3
"""
    assert not {"torch", "scipy", "sklearn"} & modules_after(code)


def test_data_command_does_not_import_torch(write_images: Callable[..., Path]) -> None:
    assert not SLOW & modules_after_command("data", write_images())
    assert not SLOW & modules_after_command("data", "digits")


@pytest.mark.slow
def test_train_and_sample_import_neither_scikit_learn_nor_the_compiler(run: Path) -> None:
    """Nothing is compiled on a CPU by itself; and labelled images are compared class by class, without k-means."""
    more = {"scipy", "sklearn", "matplotlib"} | COMPILER
    flags = ["--kimg", 0.512, "--tick-kimg", 0.128, "--g-widths", 8, "--d-widths", 8, "--no-plot", "--device", "cpu"]
    commands = [
        ["sample", str(run)],
        ["train", "digits", "--dry-run", "--device", "cpu"],
        ["train", "digits", "--quiet", *map(str, flags)],
    ]
    code = "import json\nfrom ganvas.cli import _run\n" + EACH.format(act="assert _run(json.loads(step)) == 0")
    modules_after(code, " ".join(more), *map(json.dumps, commands))
    assert '"diversity"' in next(Path("runs").glob("*/stats.jsonl")).read_text(), "no probe was taken"
