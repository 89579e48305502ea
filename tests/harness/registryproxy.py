"""Something between a client and a real registry that makes it fail as registries do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import urlsplit

import httpx

PASS_S = 15.0
"""How long the real registry may take."""


@dataclass(frozen=True)
class Trouble:
    """What happens to a question instead of being passed on.

    Args:
        status: of the answer; 0: the connection is closed without one.
        body: of the answer.
        kind: its content type.
        after_s: how long the answer is waited for.
        drip_s: seconds between its single bytes, 0 for all at once.
    """

    status: int = 0
    body: bytes = b""
    kind: str = "application/json"
    after_s: float = 0.0
    drip_s: float = 0.0


DOWN = Trouble()
SILENT = Trouble(after_s=3_600.0)
FAILING = Trouble(500, b'{"error_code": 50001, "message": "Error in the backend data store"}')
REFUSING = Trouble(401, b'{"error_code": 40101, "message": "Unauthorized"}')
WRONG_PAGE = Trouble(200, b"<html>Please log in</html>", "text/html")
NOT_THERE = Trouble(404, b"<html>default backend - 404</html>", "text/html")
UNKNOWN = Trouble(404, b'{"error_code": 40403, "message": "Schema not found"}')
DRIPPING = Trouble(200, b'{"schema": "' + b"x" * 10_000, drip_s=0.2)

TROUBLES = {
    "down": DOWN,
    "silent": SILENT,
    "failing": FAILING,
    "refusing our password": REFUSING,
    "a page that asks for a login": WRONG_PAGE,
    "the page of a load balancer": NOT_THERE,
    "an answer that never ends": DRIPPING,
}
"""Nothing of all this says anything of a schema: partitions wait until it is over."""


class RegistryProxy:
    """An address that passes every question on, unless there is trouble.

    Args:
        url: of the real registry.

    Attributes:
        trouble: asked for each path; None: it is passed on.
        delay_s: how much later it is passed on.
        asked: paths of all questions so far.
    """

    def __init__(self, url: str) -> None:
        self._url, self._path, self._closed = url, urlsplit(url).path, Event()
        self.trouble: Callable[[str], Trouble | None] = lambda _path: None
        self.delay_s = 0.0
        self.asked: list[str] = []
        self._server: ThreadingHTTPServer

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy._answer(self, b"")

            def do_POST(self) -> None:
                proxy._answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Silence: pytest's output is for failures."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Base address for clients."""
        return f"http://127.0.0.1:{self._server.server_port}{self._path}"

    def fail(self, trouble: Trouble | None) -> None:
        """The same trouble for every question, or none."""
        self.trouble = lambda _path: trouble

    def close(self) -> None:
        """Stop, and let go of whoever waits."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, sent: bytes) -> None:
        path = handler.path.removeprefix(self._path)
        self.asked.append(path)
        trouble = self.trouble(path)
        if trouble is None:
            self._closed.wait(self.delay_s)
            try:
                answer = httpx.request(
                    handler.command, self._url + path, content=sent,
                    headers={"Content-Type": "application/json"}, timeout=PASS_S,
                )  # fmt: skip
            except httpx.HTTPError:
                answer = httpx.Response(DOWN.status)
            trouble = Trouble(answer.status_code, answer.content)
        deadline = time.monotonic() + trouble.after_s
        while time.monotonic() < deadline and not self._closed.wait(0.05) and self.trouble(path) is trouble:
            """The answer is due later, or when the trouble is over."""
        if not trouble.status:
            handler.close_connection = True
            return
        try:
            handler.send_response(trouble.status)
            handler.send_header("Content-Type", trouble.kind)
            handler.send_header("Content-Length", str(len(trouble.body)))
            handler.end_headers()
            for i in range(0, len(trouble.body), 1 if trouble.drip_s else len(trouble.body)):
                handler.wfile.write(trouble.body[i : i + 1] if trouble.drip_s else trouble.body)
                if trouble.drip_s and self._closed.wait(trouble.drip_s):
                    return
        except OSError:
            """The client had enough."""
