"""The first words with a broker, before any login: whether it is one, what it knows, its certificate."""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass

_API_VERSIONS = 18
CONSUMER_GROUP_HEARTBEAT = 68
"""Request of the groups of KIP-848."""

_CLIENT = b"driftbus"
_MOST_BYTES = 1 << 20


class NoKafka(Exception):
    """What answers there is no broker, or not on this listener."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a broker said.

    Args:
        requests: numbers of the requests that it knows.
        certificate_ends: seconds since 1970 until which its certificate is valid; None without TLS.
    """

    requests: frozenset[int]
    certificate_ends: float | None


def greet(host: str, port: int, context: ssl.SSLContext | None, timeout_s: float) -> Greeting:
    """Connect and ask for the versions of requests, which brokers answer to everyone.

    Raises:
        ssl.SSLError: TLS fails, be it that our certificate is refused.
        OSError: the connection fails.
        NoKafka: the answer is none of a broker.
    """
    with socket.create_connection((host, port), timeout_s) as plain:
        plain.settimeout(timeout_s)
        if context is None:
            return Greeting(_ask(plain), None)
        with context.wrap_socket(plain, server_hostname=host) as wrapped:
            requests = _ask(wrapped)
            certificate = wrapped.getpeercert() or {}
            ends = certificate.get("notAfter")
            return Greeting(requests, ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None)


def _ask(connection: socket.socket) -> frozenset[int]:
    header = struct.pack(">hhih", _API_VERSIONS, 0, 1, len(_CLIENT)) + _CLIENT
    connection.sendall(struct.pack(">i", len(header)) + header)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    if not 10 <= size <= _MOST_BYTES:
        raise NoKafka("does not answer like a Kafka broker")
    body = _exactly(connection, size)
    correlation, error, count = struct.unpack_from(">ihi", body)
    if correlation != 1 or error or not 0 <= 10 + 6 * count <= size:
        raise NoKafka("does not answer like a Kafka broker")
    return frozenset(struct.unpack_from(">h", body, 10 + 6 * i)[0] for i in range(count))


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise NoKafka("ends the connection at the first word")
        found += piece
    return bytes(found)
