"""The structure of the package: imports go to lower layers only, files stay small, nothing is unpickled."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import ganvas

PACKAGE = Path(ganvas.__file__).parent
LAYERS = [
    {"errors", "version", "optimisers", "pytorch_state", "terminal", "threads"},
    {"interrupts"},
    {"preview", "progress", "reading", "values"},
    {"devices", "display", "files", "schedule", "seeds", "specs"},
    {"user_code"},
    {"data", "image_io"},
    {"animation", "config", "environment", "features"},
    {"networks", "recipes"},
    {"drawing", "game", "latents", "runs", "samples"},
    {"sampling"},
    {"evaluation", "latent_space"},
    {"diagnosis", "style"},
    {"trackers", "training"},
    {"api", "plane"},
    {"comparison", "exporting"},
    {"studio"},
    {"cli"},
    {"ganvas", "__main__"},
]
"""From the lowest layer up; "ganvas" is the package's own __init__.py."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES
}


class Import(NamedTuple):
    """One module imports another: at the top of the file, in a function, or for types (under TYPE_CHECKING)."""

    importer: str
    imported: str
    where: str


def find_imports(importer: str, node: ast.AST, where: str = "at the top") -> Iterator[Import]:
    """The imports from modules of the package; `from ganvas import errors` is an import of ganvas.errors."""
    for child in ast.iter_child_nodes(node):
        assert not getattr(child, "level", 0), f"{importer} has a relative import"
        if isinstance(child, ast.Import):
            yield from (Import(importer, alias.name, where) for alias in child.names if alias.name in MODULES)
        elif isinstance(child, ast.ImportFrom) and child.module in MODULES:
            submodules = [f"{child.module}.{alias.name}" for alias in child.names]
            for name in {submodule if submodule in MODULES else child.module for submodule in submodules}:
                yield Import(importer, name, where)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from find_imports(importer, child, "in a function")
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from find_imports(importer, child, "for types")
        else:
            yield from find_imports(importer, child, where)


def part(module: str) -> str:
    """The package or file directly under `ganvas` that a module belongs to."""
    return module.removeprefix("ganvas.").split(".")[0]


def climbs(one: Import) -> bool:
    own, other = part(one.importer), part(one.imported)
    return own != other and LEVEL[other] >= LEVEL[own]


def find_cycle(imports: list[Import]) -> list[Import]:
    """The imports of one cycle among files, or none."""
    graph = {(one.imported, one.importer): one for one in imports}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for one in imports:
        sorter.add(one.importer, one.imported)
    try:
        sorter.prepare()
    except CycleError as error:
        return [graph[pair] for pair in pairwise(error.args[1])]
    return []


IMPORTS = [one for name, path in MODULES.items() for one in find_imports(name, ast.parse(path.read_text()))]


def test_every_module_has_a_layer() -> None:
    assert {part(module) for module in MODULES} == set(LEVEL)


def test_imports_go_to_the_own_package_or_a_lower_layer() -> None:
    assert not [one for one in IMPORTS if climbs(one)]


def test_files_do_not_import_each_other_in_a_cycle() -> None:
    """Types may refer to each other within a package: a group of knobs is checked against the whole configuration."""
    assert not find_cycle([one for one in IMPORTS if one.where != "for types"])


def test_every_kind_of_import_is_found() -> None:
    source = """
from ganvas import errors, train
from ganvas.config import forms
if TYPE_CHECKING:
    import ganvas.cli
class Reader:
    def read():
        try:
            from ganvas.data import ImageSet
        except ImportError: ...
"""
    found = sorted(find_imports("ganvas.config", ast.parse(source)))
    assert [(one.imported, one.where) for one in found] == [
        ("ganvas", "at the top"),
        ("ganvas.cli", "for types"),
        ("ganvas.config.forms", "at the top"),
        ("ganvas.data", "in a function"),
        ("ganvas.errors", "at the top"),
    ]
    assert [one.imported for one in found if climbs(one)] == ["ganvas", "ganvas.cli"]
    assert not find_cycle(found)
    back = Import("ganvas.data", "ganvas.config", "at the top")
    assert set(find_cycle([*found, back])) == {found[3], back}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file_is_small_and_begins_with_a_docstring(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert not text or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_restricted_unpickler_unpickles(path: Path) -> None:
    text = path.read_text()
    in_weights = path.parts[-2:] == ("features", "weights.py")
    assert text.count("torch.load(") == text.count("weights_only=True") == in_weights
    assert "pickle.load" not in text
    if path.name != "safe_pickle.py":
        assert "Unpickler" not in text
    assert "allow_pickle=True" not in text
    assert "import torchvision" not in text
    assert "from torchvision" not in text
