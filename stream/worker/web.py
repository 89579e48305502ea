"""The worker's HTTP server: TLS and a login if they are configured, and bounds that a slow or rude caller meets.

The standard library's server, because prometheus-client's has neither a login nor paths of ours, and an event loop
would not answer when the worker's hangs. One request a connection, no bodies, no state.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from driftbus.schemas.accessconfig import WebConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.tls import load_chain

MOST_CONNECTIONS = 32
"""More at once are closed at the door: a scraper and some probes need two or three."""
DEADLINE_S = 10.0
"""From its beginning to its end, a connection has this long, however busy it is kept."""
REQUEST_BYTES = 16_384
"""Request line and headers together."""

SECTION = "run.web"
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)
_OPEN_PATHS = ("/healthz", "/readyz")
"""Answered without a login, by a word: an orchestrator has none to show."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


def guarded(app: Application, web: WebConfig) -> Application:
    """An application that asks for the login and sends the headers of `_HEADERS`.

    Without a login `/healthz` and `/readyz` are answered all the same, but say only whether all is well.
    """
    asked = bool(web.username or web.token or web.token_file)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start(status, [*headers, *_HEADERS], *more)

        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            begin("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Type", "text/plain")])
            return [b"GET\n"]
        if asked and not _is_known(environ.get("HTTP_AUTHORIZATION", ""), web):
            if environ.get("PATH_INFO") not in _OPEN_PATHS:
                ways = "Bearer" if not web.username else 'Basic realm="driftbus"'
                begin("401 Unauthorized", [("WWW-Authenticate", ways), ("Content-Type", "text/plain")])
                return [b"a login is needed\n"]
            said: list[str] = []
            app(environ, lambda status, _headers, *_more: said.append(status))
            begin(said[0], [("Content-Type", "text/plain")])
            return [said[0].encode() + b"\n"]
        return app(environ, begin)

    return application


def _is_known(header: str, web: WebConfig) -> bool:
    """Whether a caller knows the token, or name and password. As long in coming, whatever is wrong."""
    kind, _, value = header.partition(" ")
    token = web.secret("token")
    known = token is not None and kind.lower() == "bearer" and _same(value.strip(), token)
    password = web.secret("password")
    if web.username is not None and password is not None and kind.lower() == "basic":
        try:
            name, _, given = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = given = ""
        known |= _same(name, web.username) & _same(given, password)
    return known


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


class WebServer:
    """Serves an application on threads of its own.

    Args:
        app: a WSGI application.
        host, port: where to listen; port 0 takes a free one.
        web: TLS and login.

    Raises:
        ConfigError: the address is taken or not ours, or a file of `run.web` can't be used.
    """

    def __init__(self, app: Application, host: str, port: int, web: WebConfig) -> None:
        context = _Chain(web) if web.certificate is not None else None
        for name in ("password", "token"):
            web.secret(name)  # a file that can't be read stops the worker now and not the first scraper
        try:
            self._server = _Server((host, port), context)
        except OSError as error:
            raise ConfigError(
                f"can't listen on {host}:{port}: {error.strerror}",
                key="run.metrics_port",
                fix="write another port, or 0 for any free one",
            ) from error
        self._server.set_app(guarded(app, web))
        self.port = int(self._server.server_port)
        self.scheme = "http" if context is None else "https"
        threading.Thread(target=self._server.serve_forever, daemon=True, name="http").start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Chain:
    """The server's side of TLS; a certificate that was replaced on the disk counts for the next connection."""

    def __init__(self, web: WebConfig) -> None:
        self._web = web
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._seen = self._stamps()
        self._load()
        if web.client_ca is not None:
            try:
                self._context.load_verify_locations(cafile=web.client_ca)
            except (OSError, ssl.SSLError):
                raise ConfigError(f"{web.client_ca} holds no certificate (PEM)", key=f"{SECTION}.client_ca") from None
            self._context.verify_mode = ssl.CERT_REQUIRED

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """A connection whose handshake is still to come."""
        if (now := self._stamps()) != self._seen:
            try:
                self._load()
                self._seen = now
            except ConfigError:  # half written: the old one goes on until both files are there
                pass
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _load(self) -> None:
        web = self._web
        load_chain(self._context, str(web.certificate), web.key, web.secret("key_password"), section=SECTION)

    def _stamps(self) -> list[int]:
        paths = [Path(path) for path in (self._web.certificate, self._web.key) if path is not None]
        return [path.stat().st_mtime_ns for path in paths if path.exists()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], chain: _Chain | None) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._ends: dict[socket.socket, float] = {}
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        super().server_bind()
        self.base_environ["SERVER_NAME"] = ""  # the base class asks the DNS for it

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more."""
        with self._lock:
            room = len(self._ends) < MOST_CONNECTIONS
            if room:
                self._ends[request] = time.monotonic() + DEADLINE_S
        return room

    def service_actions(self) -> None:
        """Ends connections that have had their time; called twice a second."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, end in self._ends.items() if end <= now]
        for connection in late:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(DEADLINE_S)
        if self._chain is None:
            super().finish_request(request, client_address)
            return
        # here and not where it was accepted: a caller that does not go on must not stop the others
        with self._chain.wrap(request.dup()) as wrapped:
            wrapped.settimeout(DEADLINE_S)
            wrapped.do_handshake()
            super().finish_request(wrapped, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._ends.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a caller that hung up, or has no certificate, is not news."""


class _Bounded:
    """A file that is read up to a number of bytes, and then is at its end."""

    def __init__(self, file: Any, left: int) -> None:
        self._file, self._left = file, left

    def readline(self, limit: int = -1) -> bytes:
        most = self._left if limit < 0 else min(limit, self._left)
        line: bytes = self._file.readline(most) if most else b""
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)


class _Answer(ServerHandler):
    server_software = ""


class _Handler(WSGIRequestHandler):
    error_content_type = "text/plain"
    error_message_format = "%(code)d %(message)s\n"

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _Bounded(self.rfile, REQUEST_BYTES)

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(REQUEST_BYTES)
        if not self.raw_requestline.endswith(b"\n"):
            if self.raw_requestline:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if not self.parse_request():
            return
        out: Any = self.wfile
        handler = _Answer(self.rfile, out, self.get_stderr(), self.get_environ(), multithread=False)
        handler.request_handler = self  # type: ignore[attr-defined] # as the base class does: it logs through it
        handler.run(self.server.get_app())  # type: ignore[attr-defined] # it is a WSGIServer

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed and self.rfile._left <= 0:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False
        return parsed

    def address_string(self) -> str:
        return str(self.client_address[0])

    def version_string(self) -> str:
        return "driftbus"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: a scrape every few seconds is not news."""
