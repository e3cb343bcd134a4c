"""index.html for each page, with links to every module that the page imports: all are asked for at once."""

import re
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath

STATIC = Path(__file__).parent / "static"

_PLACE = '    <script type="module" src="/static/js/main.js">'
_PAGE = re.compile(r'"(/\w*)": \(\) => import\("(.+?)"\)')
_IMPORT = re.compile(r'^(?:import|export) .*?from "(.+?)";|^\} from "(.+?)";', re.MULTILINE)


@cache
def page_modules() -> dict[str, str]:
    """{address of a page: its module, relative to the folder of scripts}, as the router has them."""
    return {address: normpath(path) for address, path in _PAGE.findall((STATIC / "js/router.js").read_text("utf-8"))}


@cache
def html_of(address: str) -> str:
    """The document that answers at the address of a page."""
    modules: list[str] = []
    found = ["main.js", page_modules()[address]]
    while found:
        module = found.pop()
        if module not in modules:
            modules.append(module)
            text = (STATIC / "js" / module).read_text("utf-8")
            found += [normpath(join(dirname(module), one or other)) for one, other in _IMPORT.findall(text)]
    links = "".join(f'    <link rel="modulepreload" href="/static/js/{module}">\n' for module in sorted(modules))
    return (STATIC / "index.html").read_text("utf-8").replace(_PLACE, links + _PLACE)
