"""The field's words: none of the words that the project once had for itself comes back (docs/decisions/0016)."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLD = re.compile(
    r"(?i)\b(doctors?|players?|referee|sitting|the table's|to mend it|mend(ed|ing)?|cures?|sightings?|hopping|gravity"
    r"|entrants?|rescues?|clinic|by heart|humble|the course|course pair|twins?|the eye looks|what looks is|has the word"
    r"|rooms?|house|the door)\b"
)
OLD_NAMES = re.compile(
    r"\b(Lens|Referee|Players|Habits|PictureOptions|Sighting|Cure|squared_slope|slope_off_one|squares_d|with_deviation|leads\(\)"
    r"|A_PASS|an_image|_set_the_scene|seat\(|followed\(|told\(|judge\(|judge_both|mend=)"
)
FILES = [
    path
    for pattern in (
        "src/**/*.py",
        "src/**/*.html",
        "src/**/*.md",
        "benchmarks/**/*.py",
        "benchmarks/*.md",
        "examples/*.py",
        "tools/*.py",
        "*.md",
        "docs/*.md",
        "docs/start/*.md",
        "docs/how-to/*.md",
        "docs/concepts/*.md",
        "docs/reference/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_has_none_of_the_old_words(path: Path) -> None:
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OLD.search(line) or (path.suffix == ".py" and OLD_NAMES.search(line))
    ]
    assert not found
