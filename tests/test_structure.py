"""The structure of the package: modules import from lower layers only, files stay small, nothing is unpickled."""

import ast
from pathlib import Path

import pytest

import ganvas

PACKAGE = Path(ganvas.__file__).parent
LAYERS = [
    (
        "errors",
        "user_code",
        "files",
        "schedule",
        "devices",
        "optimisers",
        "interrupts",
        "progress",
        "pytorch_state",
        "threads",
    ),
    ("display",),
    ("data",),
    ("features",),
    ("config", "environment"),
    ("recipes",),
    ("networks",),
    ("game",),
    ("runs", "image_io", "samples"),
    ("sampling",),
    ("evaluation",),
    ("diagnosis", "style"),
    ("training",),
    ("api",),
    ("comparison",),
    ("cli",),
    ("__main__", "__init__"),
]
"""From the lowest layer up."""
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
LAZY = {("runs", "sampling")}
"""Run.sample imports from a higher layer when it is called."""
FILES = sorted(PACKAGE.rglob("*.py"))


def top_level_name(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ganvas"):
            if node.module == "ganvas":
                found |= {alias.name for alias in node.names}
            else:
                found.add(node.module.split(".")[1])
    return {name for name in found if name in LEVEL}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_import_only_from_lower_layers_and_stay_small(path: Path) -> None:
    own = top_level_name(path)
    assert own in LEVEL, f"{own} has no layer yet"
    if own != "__init__":
        above = {other for other in imports(path) if LEVEL[other] > LEVEL[own] and (own, other) not in LAZY}
        assert not above
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_restricted_unpickler_unpickles(path: Path) -> None:
    text = path.read_text()
    assert (
        text.count("torch.load(") == text.count("weights_only=True") == (path.parts[-2:] == ("features", "weights.py"))
    )
    assert "pickle.load" not in text
    if path.name != "cifar.py":
        assert "Unpickler" not in text
    assert "allow_pickle=True" not in text
    assert "import torchvision" not in text
    assert "from torchvision" not in text


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_has_a_docstring(path: Path) -> None:
    if path.read_text():
        assert ast.get_docstring(ast.parse(path.read_text()))
