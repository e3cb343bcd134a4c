"""What the server refuses before any endpoint: other hosts and origins, no token, bodies too large or too slow."""

import asyncio
import hmac
import ipaddress
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganvas.studio.answers import MAX_BODY, Refusal, refuse

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Headers of every response that does not have its own."""

IDLE_SECONDS = 30.0
"""Most seconds between two parts of a body."""

LEAST_RATE = 10_000
"""Bytes a second that a body must have on the average, after IDLE_SECONDS."""

_READS = ("GET", "HEAD")
_UPLOADS = "/api/uploads/"


def is_loopback(address: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class Guard:
    """ASGI middleware around the application of a studio.

    Host must be the address served, against DNS rebinding; Origin, if sent, the same; what another site makes a browser
    send is refused, but for the navigation to a page. Writing needs the token, as a cookie or a bearer; on an address
    that others reach, everything does.
    """

    def __init__(self, app: ASGIApp, studio: "Studio") -> None:
        self.app, self.studio = app, studio
        self.cookie = f"ganvas-{studio.port}"
        self.open = is_loopback(studio.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive)
        sender = _Sender(send, body, scope["method"] not in _READS or _has_body(Headers(scope=scope)))
        try:
            response = self._judge(scope)
            if response is None:
                await self.app(scope, body.receive, sender.send)
            else:
                await response(scope, receive, sender.send)
        except ClientDisconnect:
            pass
        except Exception:  # a bug: the page is told by the application, the terminal here
            traceback.print_exc(file=sys.stderr)

    def _judge(self, scope: Scope) -> Response | None:
        """The response to a request that does not reach the application."""
        headers, path = Headers(scope=scope), scope["path"]
        try:
            self._check_sender(scope, headers)
            given = self._find_tokens(headers)
            scope["may_write"] = any(map(self._is_token, given))
            if redirect := self._log_in(scope):
                return redirect
            if not scope["may_write"] and not (self.open and scope["method"] in _READS):
                raise Refusal(
                    401,
                    "The token is another one." if given else "The token is missing.",
                    expected="the address that ganvas studio has printed, with its token",
                    fix="open that address once; the browser keeps the token.",
                )
            self._check_length(scope["method"], headers, path)
        except Refusal as error:
            return refuse(error) if path.startswith("/api/") else PlainTextResponse(f"{error}\n", error.status)
        return None

    def _check_sender(self, scope: Scope, headers: Headers) -> None:
        """Refuses what a page of another site has sent, or a page whose name leads to this address."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_host(hosts[0].lower()):
            raise Refusal(
                403,
                "The request is for another host.",
                expected=f"{_format_host(self.studio.host)}:{self.studio.port}, as ganvas studio has printed it",
                fix="to open it under another name, start ganvas studio with --host.",
            )
        origins = headers.getlist("origin")
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            raise Refusal(403, "The request comes from another site.")
        navigation = (
            scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
            and not scope["path"].startswith("/api/")
        )
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigation:
            raise Refusal(403, "The request comes from another site.")

    def _is_host(self, text: str) -> bool:
        name, _, port = text.rpartition(":") if text.rpartition(":")[2].isdigit() else (text, "", "80")
        if port != str(self.studio.port):
            return False
        host = self.studio.host.lower()
        if name in ("127.0.0.1", "localhost", "[::1]", _format_host(host)):
            return True
        if host not in ("0.0.0.0", "::"):
            return False
        try:  # all addresses of the machine: rebinding needs a name, so any number is right
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name == socket.gethostname().lower()
        return True

    def _find_tokens(self, headers: Headers) -> list[str]:
        """The tokens of a request: servers on other ports of this machine can add cookies of the same name."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return [bearer.strip()]
        cookies = (part.strip().partition("=") for text in headers.getlist("cookie") for part in text.split(";"))
        return [value for name, _, value in cookies if name == self.cookie]

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.studio.token.encode())

    def _log_in(self, scope: Scope) -> Response | None:
        """Of a page's address with the token: the cookie, and the same address without the token."""
        if scope["method"] != "GET" or scope["path"].startswith(("/api/", "/static/")):
            return None
        try:
            fields = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=100)
        except ValueError:
            raise Refusal(400, "The address has too many parameters.", expected="at most 100") from None
        given = [value for name, value in fields if name == "token"]
        if not given:
            return None
        if not self._is_token(given[-1]) and not self.studio.take_ticket(given[-1], scope.get("client")):
            if scope["may_write"]:  # an old bookmark in a browser that has the cookie
                return None
            raise Refusal(
                401,
                "The token is another one.",
                expected="that of this start of ganvas studio",
                fix="copy its address.",
            )
        rest = urlencode([(name, value) for name, value in fields if name != "token"])
        path = "/" + scope["path"].lstrip("/\\")  # two slashes would be another host
        response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        response.set_cookie(self.cookie, self.studio.token, path="/", httponly=True, samesite="strict")
        return response

    def _check_length(self, method: str, headers: Headers, path: str) -> None:
        length = headers.get("content-length", "0")
        if method in _READS and _has_body(headers):
            raise Refusal(400, "What only reads has no body.")  # it could last as long as a stream
        if not path.startswith(_UPLOADS) and length.isdigit() and (len(length) > 12 or int(length) > MAX_BODY):
            raise Refusal(413, "The request is too large.", expected=f"at most {MAX_BODY / 1e6:g} MB")


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "").strip("0") != ""


class _Sender:
    """Adds the headers that every response has; what is left of a body that was not read is not waited for."""

    def __init__(self, send: Send, body: "_Body", has_body: bool) -> None:
        self._send, self._body, self._has_body = send, body, has_body

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._has_body and not self._body.complete:
                headers["Connection"] = "close"
        await self._send(message)


class _Body:
    """Bounds the time that a body takes.

    Attributes:
        complete: whether all of it was received.
    """

    def __init__(self, receive: Receive) -> None:
        self.complete = False
        self._receive, self._bytes, self._began = receive, 0, time.monotonic()

    async def receive(self) -> Message:
        if self.complete:  # what follows is the disconnection
            return await self._receive()
        left = self._began + IDLE_SECONDS + self._bytes / LEAST_RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(IDLE_SECONDS, left)))
        except TimeoutError:
            raise Refusal(408, "The request was sent too slowly.") from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        return message
