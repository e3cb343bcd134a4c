"""A web server on the loopback interface that gives files whole, in parts, wrongly, slowly or not at all."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Web:
    """A running server.

    Attributes:
        files: the content of each path; the folder says how it is given, as in `Handler`.
        requests: (path, Range header) of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.ended = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            """Folders: good, wrong, cut, hang, long, whole (ignores Range), away, ftp, other (another size)."""

            def do_GET(self) -> None:
                folder, name = urlsplit(self.path).path.lstrip("/").split("/", 1)
                wanted = self.headers.get("Range", "")
                web.requests.append((self.path, wanted))
                if folder in ("away", "ftp"):
                    self.send_response(302)
                    self.send_header("Location", f"/good/{name}" if folder == "away" else f"ftp://127.0.0.1/{name}")
                    self.end_headers()
                    return
                if name not in web.files or folder == "missing":
                    self.send_error(404)
                    return
                content = web.files[name]
                if folder == "wrong":
                    content = bytes(len(content))
                if folder == "other":
                    content += b"more"
                start = int(match[1]) if (match := re.fullmatch(r"bytes=(\d+)-", wanted)) and folder != "whole" else 0
                if start > len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                if folder != "long":
                    self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                half = len(content) // 2
                if folder == "cut" and start == 0:
                    self.wfile.write(content[:half])
                elif folder == "hang":
                    self.wfile.write(content[start:half])
                    self.wfile.flush()
                    web.ended.wait(20)
                else:
                    self.wfile.write(content[start:] + (b"more" if folder == "long" else b""))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    @contextmanager
    def running(self) -> Iterator["Web"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self) -> None:
        """Closes the port: whoever asks is refused."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
