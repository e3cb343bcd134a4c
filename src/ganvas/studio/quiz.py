"""The endpoint of the quiz: the questions of the lessons, in every language."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.studio.answers import answer

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

QUESTIONS = Path(__file__).parent / "questions"
"""A file for each lesson, `NN.json`: its title and its file by language, and the questions with their choices."""


@cache
def read_banks() -> list[dict[str, Any]]:
    """What the files of all lessons say, each with its `number`."""
    files = sorted(QUESTIONS.glob("*.json"))
    return [{"number": int(file.stem)} | json.loads(file.read_text(encoding="utf-8")) for file in files]


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    return [Route("/api/quiz", _list)]


async def _list(request: Request) -> Response:
    return answer(read_banks())
