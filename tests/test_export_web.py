"""`ganvas export --to web` without a browser: what is in the file, in which precision, and what leaves none."""

import dataclasses
import gzip
import hashlib
import json
import re
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from exported_networks import make_sampler

from ganvas.errors import GanvasError
from ganvas.exporting import web_page, web_runtime
from ganvas.exporting.formats import Options
from ganvas.exporting.web_bundle import FOLDER, LANGUAGES, STUDIO, bundle
from ganvas.networks import Shape

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"
TEXTS = {one: json.loads((FOLDER / f"{one}.json").read_text(encoding="utf-8")) for one in LANGUAGES}
OWN_FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())


class Elements(HTMLParser):
    """The elements of a page, with their texts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[-1][2].append(data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        return ["".join(text) for name, has, text in self.found if name == tag and wanted.items() <= has.items()]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    sampler = make_sampler("stylegan", Shape(1, 8, 8, 2))
    sampler.card = dataclasses.replace(
        sampler.card, class_names=(HOSTILE, "plain"), data={**sampler.card.data, "name": HOSTILE}
    )
    file = tmp_path_factory.mktemp("web") / "page.html"
    found = web_page.write(sampler, file, Options())
    assert found.files == (file,)
    assert found.parity[0].images == 64
    assert found.parity[0].largest <= web_page.HALF_LIMIT
    return file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_page_has_all_that_it_needs_and_allows_nothing_else(page: str) -> None:
    elements = Elements(page)
    (policy,) = (has["content"] for tag, has, _ in elements.found if has.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"https?:|\*|unsafe-inline|unsafe-eval(?<!wasm-unsafe-eval)|blob:", policy)
    scripts = ["".join(text) for tag, has, text in elements.found if tag == "script" and not has.keys() - {"type"}]
    assert len(scripts) == 3
    for text in [*scripts, *elements.texts("style")]:
        assert f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    for _, has, _ in elements.found:
        assert not has.keys() & {"src", "srcset", "action", "style"} or has["src"].startswith("data:")  # type: ignore[union-attr]
        assert has.get("href", "#").startswith(("#", "data:"))  # type: ignore[union-attr]
    (wasm,) = elements.texts("script", id="runtime")
    assert hashlib.sha256(gzip.decompress(b64decode(wasm))).hexdigest() == web_runtime.DIGESTS[web_runtime.WASM]
    assert "Copyright (c) Microsoft Corporation" in page


@pytest.mark.slow
def test_names_stay_text_and_no_place_of_this_machine_is_told(page: str) -> None:
    assert HOSTILE not in page
    elements = Elements(page)
    assert elements.texts("title") == [f"stylegan · {HOSTILE}"]
    assert "x" not in [has.get("src") for _, has, _ in elements.found]
    about = json.loads(elements.texts("script", id="about")[0])
    assert about["class_names"] == [HOSTILE, "plain"]
    folders = (str(Path.cwd()), str(FOLDER.parent.parent))
    packed = [elements.texts("script", id=f"network-{one}")[0] for one in about["networks"]]
    contents = [gzip.decompress(b64decode(one)) for one in packed]
    assert len(contents) == 2, "mapping and synthesis"
    for folder in folders:
        assert folder not in page
        assert not any(folder.encode() in content for content in contents)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
def test_precision_is_full_where_half_of_it_would_be_seen(half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_page, "HALF_LIMIT", 0.0)
    monkeypatch.setattr(web_page, "directions", few_directions)
    found = web_page.write(make_sampler("mlp", Shape(1, 8, 8)), Path("page.html"), Options(half=half))
    about = json.loads(Elements(Path("page.html").read_text(encoding="utf-8")).texts("script", id="about")[0])
    assert about["facts"]["half"] is half
    assert (found.parity[0].largest > 1e-3) is half
    assert "in half precision" in found.notes[0]


def few_directions(sampler: Any, n: int) -> Any:
    """In place of those that a frozen network finds, which takes seconds."""
    import torch

    return dataclasses.make_dataclass("Few", ["vectors"])(torch.eye(sampler.generator.latent)[:n, None])


def test_networks_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_page, "MAX_BYTES", 1000)
    with pytest.raises(GanvasError, match="which browsers can read in one page"):
        web_page.write(make_sampler("mlp", Shape(1, 8, 8)), Path("page.html"), Options())
    assert not Path("page.html").exists()


def test_runtime_is_the_published_one() -> None:
    for name, digest in web_runtime.DIGESTS.items():
        packed = name == web_runtime.WASM
        content = (web_runtime.FOLDER / (f"{name}.gz" if packed else name)).read_bytes()
        assert hashlib.sha256(gzip.decompress(content) if packed else content).hexdigest() == digest, name
    script = web_runtime.module_script()
    assert script.endswith("};\n")
    assert "sourceMappingURL" not in script
    assert not re.search("</script|<!--", script)


def test_scripts_are_one_module_without_imports() -> None:
    text = bundle("page.js")
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)
    assert not re.search("</script|<!--", text)
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
    assert len(names) > 40
    doubled = {name for name in names if names.count(name) > 1}
    assert not doubled
    for path in OWN_FILES:
        if path.suffix == ".js":
            assert path.read_text(encoding="utf-8").partition("*/")[2].strip().splitlines()[-1] in text, path.name


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
def test_file_of_the_page_is_small_and_needs_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert "://" not in text
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch("):
        assert unsafe not in text


def test_every_text_is_in_both_languages_and_used() -> None:
    assert TEXTS["en"].keys() == TEXTS["fr"].keys()
    for key, text in TEXTS["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", TEXTS["fr"][key])), key
        assert text.strip()
        assert "<" not in text
    source = "".join(path.read_text(encoding="utf-8") for path in OWN_FILES if path.suffix in (".js", ".html"))
    quoted = set(re.findall(r"""["'`]([\w.]+)["'`]""", source))
    beginnings = tuple(re.findall(r"`([a-z_]+\.)\$\{", source))
    assert not [key for key in TEXTS["en"] if key not in quoted and not key.startswith(beginnings)]
    asked = set(re.findall(r"""\bt\(\s*"([^"]+)\"""", source)) | set(re.findall(r'data-text="([^"]+)"', source))
    assert asked
    assert not asked - TEXTS["en"].keys()


def test_styles_of_the_studio_are_those_of_the_page() -> None:
    assert (STUDIO / "css" / "base.css").is_file()
    text = (FOLDER / "page.css").read_text(encoding="utf-8")
    used = set(re.findall(r"var\((--[\w-]+)", text))
    known = set(re.findall(r"(--[\w-]+):", (STUDIO / "css" / "base.css").read_text(encoding="utf-8") + text))
    assert used
    assert not used - known - {"--part"}
