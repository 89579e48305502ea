"""The worker's HTTP server: who is let in, and what a slow or rude caller gets."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from driftbus.schemas.accessconfig import WebConfig
from driftbus.schemas.errors import ConfigError
from driftbus.stream.worker import web as server_module
from driftbus.stream.worker.health import Health, HttpServer
from harness.missing import running
from harness.pki import Authority
from harness.process import wait_for
from harness.prometheus import Prometheus

Serve = Callable[..., HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    opened: list[HttpServer] = []

    def make(**web: Any) -> HttpServer:
        registry = CollectorRegistry()
        Counter("driftbus_x", "x", registry=registry).inc()
        opened.append(HttpServer(Health(), registry, "127.0.0.1", 0, WebConfig.model_validate(web)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def url(server: HttpServer, path: str = "/metrics") -> str:
    return f"{server.scheme}://127.0.0.1:{server.port}{path}"


def raw(server: HttpServer, sent: bytes) -> bytes:
    """All that comes back for some bytes."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while more := connection.recv(65_536):
            found += more
        return found


def test_answers_say_nothing_that_helps_an_attacker(serve: Serve) -> None:
    answer = httpx.get(url(serve()))
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Server" not in answer.headers


def test_a_password_opens_metrics(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first-one\n")
    server = serve(username="ana", password_file=str(file))
    refused = httpx.get(url(server))
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="driftbus"')
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    for login in (("ana", "other"), ("bob", "first-one"), ("", ""), ("ana", "")):
        assert httpx.get(url(server), auth=login).status_code == 401
    assert b"driftbus_x_total 1.0" in httpx.get(url(server), auth=("ana", "first-one")).content
    file.write_text("second-one\n")
    assert httpx.get(url(server), auth=("ana", "first-one")).status_code == 401
    assert httpx.get(url(server), auth=("ana", "second-one")).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff:").decode(), "a" * 99]
)
def test_a_token_opens_metrics_and_nothing_like_it(serve: Serve, header: str) -> None:
    server = serve(token="right-token")
    assert httpx.get(url(server), headers={"Authorization": header}).status_code == 401
    assert httpx.get(url(server), headers={"Authorization": "Bearer right-token"}).status_code == 200


def test_health_is_told_in_a_word_to_who_has_no_login(serve: Serve) -> None:
    server = serve(token="right-token")
    answer = httpx.get(url(server, "/healthz"))
    assert (answer.status_code, answer.text) == (200, "200 OK\n")
    assert httpx.get(url(server, "/readyz")).status_code == 503
    whole = httpx.get(url(server, "/readyz"), headers={"Authorization": "Bearer right-token"})
    assert (whole.status_code, "joined" in whole.json()["failing"]) == (503, True)


def test_tls_and_client_certificates(serve: Serve, authority: Authority) -> None:
    ours, theirs = authority.issue("worker"), authority.issue("prometheus")
    keys = {"certificate": str(ours.certificate), "key": str(ours.key)}
    server = serve(**keys, client_ca=str(authority.certificate))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with pytest.raises(httpx.TransportError):
        httpx.get(url(server), verify=context)
    context.load_cert_chain(theirs.certificate, theirs.key)
    assert httpx.get(url(server), verify=context).status_code == 200
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_new_certificate_counts_for_the_next_connection(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"

    def put(number: int, *hosts: str) -> None:
        issued = authority.issue("worker", hosts=hosts)
        certificate.write_bytes(issued.certificate.read_bytes())
        key.write_bytes(issued.key.read_bytes())
        for path in (certificate, key):
            os.utime(path, (number, number))

    put(1, "other.example")
    server = serve(certificate=str(certificate), key=str(key))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with pytest.raises(httpx.ConnectError, match="mismatch"):
        httpx.get(url(server), verify=context)
    put(2, "127.0.0.1")
    assert httpx.get(url(server), verify=context).status_code == 200


def test_what_can_not_be_served_is_refused_at_the_start(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("worker", password="of-the-key"), authority.issue("worker")
    wrong: list[dict[str, Any]] = [
        {"certificate": str(one.certificate), "key": str(other.key)},
        {"certificate": str(one.certificate), "key": str(one.key), "key_password": "not-it"},
        {"certificate": str(tmp_path / "none"), "key": str(one.key)},
        {"username": "ana", "password_file": str(tmp_path / "none")},
        {"token_file": str(tmp_path / "none")},
    ]
    for web in wrong:
        with pytest.raises(ConfigError):
            serve(**web)
    for web in ({"username": "ana"}, {"certificate": "x"}, {"client_ca": "x"}, {"token": "x", "token_file": "y"}):
        with pytest.raises(ValueError, match=r"write one of|belong together|needs certificate"):
            WebConfig.model_validate(web)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: a\r\n" * 101 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
        (b"<script> HTTP/1.1 x y z\r\n\r\n", b"400"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 999999999\r\n\r\nx", b"405"),
        (b"DELETE /healthz HTTP/1.1\r\n\r\n", b"405"),
    ],
)
def test_rude_requests_are_refused(serve: Serve, sent: bytes, status: bytes) -> None:
    server = serve()
    answer = raw(server, sent)
    assert status in answer.split(b"\r\n")[0]
    assert b"Python" not in answer
    assert httpx.get(url(server)).status_code == 200


@pytest.mark.parametrize("tls", [False, True])
def test_slow_callers_are_ended_and_keep_nobody_out(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setattr(server_module, "DEADLINE_S", 2.0)
    ours = authority.issue("worker")
    server = serve(**({"certificate": str(ours.certificate), "key": str(ours.key)} if tls else {}))
    verify = ssl.create_default_context(cafile=str(authority.certificate)) if tls else True
    address = ("127.0.0.1", server.port)
    slow = [socket.create_connection(address, 20) for _ in range(server_module.MOST_CONNECTIONS - 2)]
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.2):
            for connection in slow:
                with suppress(OSError):
                    connection.send(b"\x16" if tls else b"X")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        assert httpx.get(url(server), verify=verify, timeout=20).status_code == 200
        for connection in slow:
            connection.settimeout(20)
            with suppress(ConnectionError):
                said = connection.recv(100)
                assert said == b"" or said.startswith(b"\x15\x03"), "an end, or a TLS alert before it"
    finally:
        stop.set()
        thread.join()
        for connection in slow:
            connection.close()


def test_too_many_at_once_are_turned_away_until_there_is_room(serve: Serve) -> None:
    server = serve()
    held = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(server_module.MOST_CONNECTIONS)]

    def answered() -> bool:
        try:
            return httpx.get(url(server), timeout=20).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(lambda: not answered(), 20, "the door to be closed")
    finally:
        for connection in held:
            connection.close()
    wait_for(answered, 20, "the door to open again")


@pytest.mark.prometheus
def test_prometheus_scrapes_with_tls_and_each_login(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    ours, theirs = authority.issue("worker"), authority.issue("prometheus")
    keys = {"certificate": str(ours.certificate), "key": str(ours.key)}
    verified = {"ca_file": str(authority.certificate)}
    shown = verified | {"cert_file": str(theirs.certificate), "key_file": str(theirs.key)}
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text("of-ana\n")
    token.write_text("right-token\n")
    ways: list[tuple[dict[str, str], dict[str, object]]] = [
        (
            {"username": "ana", "password_file": str(password)},
            {"tls_config": verified, "basic_auth": {"username": "ana", "password_file": str(password)}},
        ),
        (
            {"token_file": str(token)},
            {"tls_config": verified, "authorization": {"credentials_file": str(token)}},
        ),
        ({"client_ca": str(authority.certificate)}, {"tls_config": shown}),
    ]
    for web, scrape in ways:
        server = serve(**keys, **web)
        with running(lambda s=server, c=scrape: _Started(s, c)) as prometheus:
            assert prometheus.values("driftbus_x_total") == ["1"]
    with running(lambda: _Started(server, {"tls_config": verified})) as prometheus:
        assert prometheus.values("up") == ["0"], "without a certificate nothing is scraped"


class _Started:
    """Prometheus on a server, for `running`."""

    def __init__(self, server: HttpServer, scrape: dict[str, object]) -> None:
        self._target, self._scrape = f"127.0.0.1:{server.port}", {"scheme": "https", **scrape}

    def start(self) -> None:
        self._server = Prometheus(self._target, scrape=self._scrape)

    def values(self, expression: str) -> list[str]:
        return [each["value"][1] for each in self._server.query(expression)]

    def close(self) -> None:
        self._server.close()
