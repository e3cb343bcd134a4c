"""The files of exporting/web/ and some of the studio's put together as one HTML file; there is no build step."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ganvas.exporting import web_runtime
from ganvas.version import __version__

FOLDER = Path(__file__).parent / "web"
STUDIO = Path(__file__).parent.parent / "studio" / "static"
LANGUAGES = ("en", "fr")
STYLES = (STUDIO / "css" / "base.css", STUDIO / "css" / "parts.css", FOLDER / "page.css")
_IMPORT = re.compile(r'^import \{[^}]*\} from "(\./|studio/)(\w+\.js)";\n', re.MULTILINE)


def bundle(entry: str) -> str:
    """A script and those that it imports, as one module: each file once, after those that it needs."""
    done: dict[Path, str] = {}
    _collect(FOLDER / entry, done)
    return "".join(done.values())


def _collect(path: Path, done: dict[Path, str]) -> None:
    if path in done:
        return
    text = path.read_text(encoding="utf-8")
    done[path] = ""
    for where, name in _IMPORT.findall(text):
        _collect((FOLDER if where == "./" else STUDIO / "js") / name, done)
    del done[path]
    done[path] = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)


def render(title: str, about: Mapping[str, Any], networks: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        title: its name.
        about: what page.js reads: the generator, its directions and its card.
        networks: name -> ONNX file.
    """
    style = "\n".join(path.read_text(encoding="utf-8") for path in STYLES)
    theme = (STUDIO / "js" / "theme.js").read_text(encoding="utf-8")
    engine, script = web_runtime.module_script(), bundle("page.js")
    icon = "data:image/svg+xml," + quote((STUDIO / "favicon.svg").read_text(encoding="utf-8"))
    texts = {one: json.loads((FOLDER / f"{one}.json").read_text(encoding="utf-8")) for one in LANGUAGES}
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("index.html").render(
        title=title,
        policy=_policy([theme, engine, script], style),
        version=__version__,
        icon=icon,
        style=Markup(style),
        theme=Markup(theme),
        licence=web_runtime.licence(),
        about=htmlsafe_json_dumps(about, ensure_ascii=False),
        texts=htmlsafe_json_dumps(texts, ensure_ascii=False),
        runtime=_encode(web_runtime.packed_wasm()),
        notices=_encode(pack(web_runtime.notices().encode())),
        networks={name: _encode(pack(content)) for name, content in networks.items()},
        engine=Markup(engine),
        script=Markup(script),
    )


def _policy(scripts: list[str], style: str) -> str:
    """What the browser allows the page: these scripts and this style alone, and nothing from elsewhere."""
    allowed = " ".join(_digest(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed} 'wasm-unsafe-eval'; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def pack(content: bytes) -> bytes:
    """Packed by gzip, without the time."""
    return gzip.compress(content, 9, mtime=0)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
