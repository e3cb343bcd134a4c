"""What is not needed is not imported: PyTorch, SciPy and scikit-learn each take a second."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import tiny

from ganvas.training.start import train

WITHOUT_TORCH = [
    "ganvas", "ganvas.cli", "ganvas.config", "ganvas.recipes", "ganvas.image_io",
    "ganvas.data.inspection", "ganvas.data.sources",
    "ganvas.runs.curves", "ganvas.runs.folder", "ganvas.runs.formats", "ganvas.runs.log", "ganvas.runs.state_metadata",
    "ganvas.diagnosis.diagnosis", "ganvas.diagnosis.logs.reader", "ganvas.diagnosis.sources",
    "ganvas.comparison.progress", "ganvas.comparison.candidates",
    "ganvas.comparison.importers", "ganvas.comparison.jobs",
]  # fmt: skip

SLOW = {"torch", "scipy", "sklearn", "matplotlib"}
COMPILER = {"torch._dynamo", "sympy"}


def loaded(code: str, *argv: str) -> set[str]:
    """The modules that a fresh interpreter has after `code`, which must not fail."""
    code += "\nimport sys; from pathlib import Path; Path('loaded').write_text(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(Path("loaded").read_text().split())


def after(*words: object) -> set[str]:
    """The modules that are loaded when the command line has done its work."""
    return loaded("import sys; from ganvas.cli import _run; assert _run(sys.argv[1:]) == 0", *map(str, words))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(), out=tmp_path_factory.mktemp("runs"), quiet=True).path


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_reads_does_not_import_torch(module: str) -> None:
    assert not SLOW & loaded(f"import {module}")


def test_configurations_recipes_runs_and_their_states_are_read_without_torch(run: Path) -> None:
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
    assert not SLOW & loaded(code)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes"], ["recipes", "--json"]], ids=" ".join)
def test_what_only_tells_imports_no_numpy_either(words: list[str]) -> None:
    assert not (SLOW | {"numpy"}) & after(*words)


@pytest.mark.parametrize("verb", ["train", "sample", "plot", "data", "evaluate", "diagnose", "compare", "style"])
def test_help_imports_no_numpy_either(verb: str) -> None:
    code = "import sys; from ganvas.cli import _run\ntry: _run(sys.argv[1:])\nexcept SystemExit: pass"
    assert not (SLOW | {"numpy"}) & loaded(code, verb, "--help")


def test_logs_and_runs_are_diagnosed_without_torch(run: Path) -> None:
    log = Path("log.csv")
    log.write_text("step,d_loss,g_loss\n" + "".join(f"{i},{1 / (i + 1)},{i}\n" for i in range(40)))
    assert not SLOW & after("diagnose", log)
    assert not SLOW & after("diagnose", run)


def test_curves_are_drawn_without_torch_and_without_windows(run: Path) -> None:
    modules = after("plot", run)
    assert "matplotlib.figure" in modules
    assert not {"torch", "scipy", "sklearn", "matplotlib.pyplot"} & modules
    assert (run / "losses.png").stat().st_size > 10_000


def test_data_are_described_without_torch(write_images: Callable[..., Path]) -> None:
    assert not SLOW & after("data", write_images())
    assert not SLOW & after("data", "digits")


def test_what_computes_imports_neither_scikit_learn_nor_the_compiler(run: Path) -> None:
    """torch.compile is used nowhere, and labelled pictures are compared class by class, without k-means."""
    more = {"scipy", "sklearn", "matplotlib"} | COMPILER
    assert not more & after("sample", run)
    assert not more & after("train", "digits", "--dry-run", "--device", "cpu")
    flags = ["--kimg", 0.512, "--tick-kimg", 0.128, "--g-widths", 8, "--d-widths", 8, "--no-plot", "--device", "cpu"]
    assert not more & after("train", "digits", "--quiet", *flags)
    assert '"diversity"' in next(Path("runs").glob("*/stats.jsonl")).read_text(), "no look was taken"
