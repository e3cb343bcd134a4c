"""The public names: listed by `dir`, typed, and the same objects whatever has been imported."""

import inspect
import pkgutil
import subprocess
import sys
import typing
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import ganvas
from ganvas.data import DataOptions, open_images

MODULES = sorted(
    found.name for found in pkgutil.walk_packages(ganvas.__path__, "ganvas.") if not found.name.endswith("__main__")
)
FUNCTIONS = ["compare", "diagnose", "evaluate", "load", "stylize", "train", "watch"]


@pytest.mark.slow
def test_public_names_are_the_same_objects_after_every_module_is_imported() -> None:
    code = (
        "import ganvas, importlib\n"
        "first = {name: getattr(ganvas, name) for name in ganvas.__all__}\n"
        f"for name in {MODULES}: importlib.import_module(name)\n"
        "changed = [name for name, value in first.items() if getattr(ganvas, name) is not value]\n"
        "assert not changed, changed\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_differ_from_module_names() -> None:
    stems = {name.rpartition(".")[2] for name in MODULES}
    assert not stems & set(ganvas.__all__)


def test_no_package_attribute_hides_a_submodule() -> None:
    hidden = []
    for name in MODULES:
        import_module(name)
        package, _, stem = name.rpartition(".")
        if not isinstance(getattr(import_module(package), stem), ModuleType):
            hidden.append(name)
    assert not hidden


def test_dir_and_star_import_have_the_public_names() -> None:
    assert set(ganvas.__all__) <= set(dir(ganvas))
    names: dict[str, object] = {}
    exec("from ganvas import *", names)
    assert set(ganvas.__all__) <= set(names)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ganvas.nothing_like_it  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


def test_every_function_and_its_return_type_are_public_and_documented() -> None:
    assert set(FUNCTIONS) <= set(ganvas.__all__)
    for name in FUNCTIONS:
        function = getattr(ganvas, name)
        assert inspect.isfunction(function)
        assert function.__doc__
        returned = typing.get_type_hints(inspect.unwrap(function))["return"]
        assert getattr(ganvas, returned.__name__) is returned


def test_results_print_in_a_few_lines_without_arrays(tmp_path: Path) -> None:
    run = ganvas.train("digits", kimg=0.2, out=tmp_path, quiet=True, device="cpu")
    sampler = ganvas.load(run)
    pixels = np.zeros((3, 32, 40), np.uint8)
    evaluation = ganvas.evaluate(run, count=50, quick=True, device="cpu")
    image = ganvas.stylize(pixels, pixels, size=40, iterations=1, min_scale=16, device="cpu")
    for found in (run, sampler, evaluation, image, ganvas.diagnose(run), open_images(DataOptions("digits"))):
        for text in (str(found), repr(found)):
            assert "array" not in text
            assert "\x1b" not in text
            assert len(text.splitlines()) <= 40
    assert "8×8×1" in repr(sampler)
    assert "32×40" in repr(image)


def test_package_has_a_py_typed_marker() -> None:
    assert resources.files("ganvas").joinpath("py.typed").is_file()


def test_values_of_the_wrong_type_are_refused_in_words(tmp_path: Path) -> None:
    images = np.zeros((4, 1, 8, 8), np.uint8)
    for act, words in [
        (lambda: ganvas.load(3), "3 is not a path"),  # type: ignore[arg-type]
        (lambda: ganvas.train(3), "3 is not a path"),  # type: ignore[arg-type]
        (lambda: ganvas.diagnose(3), "3 is not a path"),  # type: ignore[arg-type]
        (lambda: ganvas.load(Path("runs", "x" * 300)), r"The path 'runs/xxx.* has a name of 300 bytes"),
        (lambda: ganvas.Run(images), r"an array \[4, 1, 8, 8\] is not a path"),  # type: ignore[arg-type]
        (lambda: ganvas.train("digits", data=images), r"an array \[4, 1, 8, 8\].*\n.*\n.*numpy.save"),  # type: ignore[arg-type]
        (lambda: ganvas.evaluate(images), r"an array \[4, 1, 8, 8\] cannot.*\n.*\n.*numpy.save"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(ganvas.GanvasError, match=words) as caught:
            act()
        assert len(str(caught.value)) < 300
