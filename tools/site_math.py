"""Writes the formulas of a built site as MathML, which browsers draw without a script or a font from elsewhere.

    python tools/site_math.py build/site      # needs latex2mathml (docs/requirements.txt)

`pymdownx.arithmatex` marks them: \\(…\\) in a line of text, \\[…\\] in a line of their own.
"""

import html
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert  # pyright: ignore[reportMissingImports]  # in .venv-docs

MARKED = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.+?)\\[)\]]\s*</\1>', re.DOTALL)


def to_mathml(found: re.Match[str]) -> str:
    """The element of a marked formula."""
    return convert(html.unescape(found[3]), display="block" if found[2] == "[" else "inline")


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).rglob("*.html")):
        text = file.read_text(encoding="utf-8")
        if 'class="arithmatex"' in text:
            file.write_text(MARKED.sub(to_mathml, text), encoding="utf-8")
