"""JSON answers, refusals with their HTTP status, and the parameters and bodies of requests."""

import json
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ganvas.errors import GanvasError
from ganvas.reading import parse_json

MAX_BODY = 10**6
"""Most bytes of a JSON body."""


class Refusal(GanvasError):
    """An error with an HTTP status of its own, and the field of the request that it is about; others have 400."""

    def __init__(self, status: int, what: str, *, expected: str = "", fix: str = "", field: str = "") -> None:
        super().__init__(what, expected=expected, fix=fix)
        self.status, self.field = status, field


def to_text(value: Any) -> str:
    """JSON in ASCII: also of file names that are not UTF-8; a number that is not finite is an error of ours."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def answer(value: Any, status: int = HTTPStatus.OK) -> Response:
    """A JSON response, which no cache keeps."""
    headers = {"Cache-Control": "no-store"}
    return Response(to_text(value), status, headers, "application/json")


def describe(error: GanvasError) -> dict[str, str]:
    """An error as every answer has it: what, expected, fix, and the field where one is to blame."""
    field = getattr(error, "field", "")
    return {"what": error.what, "expected": error.expected, "fix": error.fix} | ({"field": field} if field else {})


def refuse(error: GanvasError) -> Response:
    """The response to an error."""
    return answer({"error": describe(error)}, getattr(error, "status", HTTPStatus.BAD_REQUEST))


def parameter(request: Request, name: str, default: str | None = None) -> str:
    """A parameter of the address.

    Raises:
        Refusal: it is missing and has no default.
    """
    value = request.query_params.get(name, default)
    if value is None:
        raise Refusal(400, f"The request has no parameter '{name}'.", field=name)
    return value


def count(request: Request, name: str, default: int | None, most: int = 2**62) -> int | None:
    """A parameter of the address that is a whole number from 0 to `most`; where it is missing or empty, the default.

    Raises:
        Refusal: it is something else.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise Refusal(400, f"'{name}' is no whole number from 0 to {most}.", field=name)
    return int(text)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
        Refusal: it is larger than MAX_BODY, or no JSON object.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise Refusal(413, "The request is too large.", expected=f"at most {MAX_BODY / 1e6:g} MB of JSON")
    try:
        value = parse_json(bytes(content))
    except ValueError as error:
        raise Refusal(400, f"The body of the request cannot be read: {error}.", expected="a JSON object") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The body of the request is no JSON object.", expected="a JSON object")
    return value
