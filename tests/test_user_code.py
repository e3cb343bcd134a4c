"""Specs of the user's own code: parsed, loaded from files and modules, made from objects, digested; each error."""

import functools
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganvas import user_code
from ganvas.errors import GanvasError
from ganvas.user_code import Spec, absolute, changed_sources, describe, digest, is_spec, load, parse, sources


class Thing:
    """Something to name."""

    class Inner:
        """Something inside."""


THING: Any = Thing
"""The class, without the types of its arguments."""


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("nets.py:G", Spec("nets.py", "G")),
        ("a.b:G.Inner", Spec("a.b", "G.Inner")),
        ("C:\\nets\\my.py:G(a='x:y', b=[1, 2])", Spec("C:\\nets\\my.py", "G", {"a": "x:y", "b": [1, 2]})),
        ("dcgan(g_width=32)", Spec("", "dcgan", {"g_width": 32})),
        (" nets.py:G() ", Spec("nets.py", "G")),
    ],
)
def test_specs_are_parsed(text: str, spec: Spec) -> None:
    assert parse(text) == spec
    assert is_spec(text) == bool(spec.source)


@pytest.mark.parametrize("text", ["", ":", "nets.py:", "a b", "nets.py:G(3)", "nets.py:G(a=b)", "x:G(a=print(1))",
                                  "x:G(**{})", "x:G(", "x:G(a=1)(b=2)"])  # fmt: skip
def test_other_texts_are_refused_and_nothing_is_evaluated(text: str) -> None:
    with pytest.raises(GanvasError):
        parse(text)


def test_a_file_is_executed_once_and_again_when_it_has_changed() -> None:
    Path("nets.py").write_text("from helper import VALUE\nclass G: value = VALUE\n")
    Path("helper.py").write_text("VALUE = 3\n")  # beside it, as for a script
    first = load("nets.py:G")
    assert first.value == 3
    assert load("nets.py:G(width=3)") is first
    old = digest("nets.py:G")
    assert old == hashlib.sha256(Path("nets.py").read_bytes()).hexdigest()
    Path("nets.py").write_text("class G: value = 4\n")
    assert load("nets.py:G").value == 4
    assert digest("nets.py:G") != old


def test_a_module_is_found_in_the_working_directory_by_the_console_script_too() -> None:
    Path("shelf").mkdir()
    Path("shelf/nets.py").write_text("G = 5\n")
    code = "import sys; sys.path[:] = [p for p in sys.path if p]; from ganvas.user_code import digest, load\n"
    code += "print(load('shelf.nets:G'), digest('shelf.nets:G'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", hashlib.sha256(b"G = 5\n").hexdigest()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("G = 1 / 0", r"own.py cannot be imported: ZeroDivisionError: division by zero \(own.py, line 1\)"),
        ("\n\nG = = 1", r"SyntaxError: invalid syntax \(own.py, line 3\)"),
        ("import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("Gen = 1", "own.py has no 'G'.*"),
        ("Generators = 1", "own.py has no 'G'"),
    ],
)
def test_errors_in_a_file_are_quoted_with_their_line(content: str, message: str) -> None:
    Path("own.py").write_text(content)
    with pytest.raises(GanvasError, match=message):
        load("own.py:G")


def test_missing_sources_say_where_they_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"none\.py cannot be read") as caught:
        load("none.py:G")
    assert str(tmp_path) in caught.value.expected
    with pytest.raises(GanvasError, match="no module 'no_such_package'") as caught:
        load("no_such_package.nets:G")
    assert "no_such_package/nets.py:NAME" in caught.value.fix
    Path("near.py").write_text("Generator = 1")
    with pytest.raises(GanvasError, match="did you mean 'Generator'"):
        load("near.py:Generatr")


def test_errors_of_a_call_are_quoted() -> None:
    Path("own.py").write_text("def make(x, width=1):\n    raise ValueError(f'{x} {width}')\n")
    with pytest.raises(GanvasError, match=r"make cannot be made: ValueError: 7 3 \(own.py, line 2\)"):
        user_code.call("own.py:make(width=3)", load("own.py:make"), 7, expected="make(x)")


def test_objects_become_specs() -> None:
    assert describe(Thing) == f"{__name__}:Thing"
    assert describe(Thing.Inner) == f"{__name__}:Thing.Inner"
    assert describe(functools.partial(THING, width=3, name="a")) == f"{__name__}:Thing(width=3, name='a')"
    assert load(describe(functools.partial(THING, width=3))) is Thing
    for bad in (functools.partial(THING, 3), functools.partial(THING, width=Thing)):
        with pytest.raises(GanvasError):
            describe(bad)


def test_what_no_file_defines_exists_in_this_process_only() -> None:
    class Local:
        pass

    spec = describe(Local)
    assert spec.startswith("<session>:")
    assert load(spec) is Local
    assert describe(Local) == spec
    assert list(sources([spec])) == [spec]
    code = "import sys; from ganvas import user_code; user_code.load(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, spec], capture_output=True, text=True)
    assert "exists only in the Python session" in done.stderr
    assert "put it into a file" in done.stderr


def test_objects_of_a_script_are_named_after_its_file_which_is_not_executed_again() -> None:
    Path("script.py").write_text(
        "from ganvas import user_code\nprint('executed')\nclass G: pass\n"
        "print(user_code.describe(G), user_code.load('script.py:G') is G)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["executed", "script.py:G True"]


def test_a_file_that_trains_when_it_is_imported_is_refused() -> None:
    Path("script.py").write_text("import ganvas\nganvas.train('digits')\n")
    with pytest.raises(GanvasError, match=r"script\.py calls ganvas\.train when it is imported") as caught:
        load("script.py:G")
    assert "__main__" in caught.value.fix
    assert not Path("runs").exists()


def test_changed_sources_are_found() -> None:
    Path("a.py").write_text("x = 1")
    recorded: dict[str, Any] = sources(["a.py:x", "a.py:y(z=3)", "json:loads"])
    assert list(recorded) == ["a.py", "json"]
    assert recorded["a.py"]["path"] == str(Path("a.py").resolve())
    assert changed_sources(recorded) == []
    Path("a.py").write_text("x = 2")
    assert changed_sources(recorded) == ["a.py"]
    Path("a.py").unlink()
    assert changed_sources(recorded) == ["a.py"]


def test_absolute_specs_are_valid_anywhere() -> None:
    assert absolute("a.py:G(x=1)") == f"{Path('a.py').resolve()}:G(x=1)"
    assert absolute("a.b:G") == "a.b:G"
    assert absolute("dcgan") == "dcgan"
