"""Why TLS with a broker fails. librdkafka says the same of every bad certificate; Python's own TLS says which."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from pydantic import SecretStr

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.tls import TlsTrouble, client_context, tls_trouble

_TIMEOUT_S = 5.0
_ALERT_S = 1.0
"""With TLS 1.3 a refused client certificate is said only after the handshake."""


def check_files(kafka: KafkaConfig) -> None:
    """See that certificates and keys can be used; raises ConfigError that names the key of the file."""
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        _context(kafka)


def why_no_tls(kafka: KafkaConfig) -> str:
    """A sentence on the first bootstrap server with which TLS fails, with the fix; "" when none is found."""
    context = _context(kafka)
    for host, port in _addresses(kafka):
        try:
            plain = socket.create_connection((host, port), _TIMEOUT_S)
            with plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
                wrapped.settimeout(_ALERT_S)
                wrapped.recv(1)
        except TimeoutError:
            continue
        except (ssl.SSLError, OSError, ValueError) as error:
            if (trouble := _trouble(kafka, error, f"broker {host}:{port}")) is not None:
                return str(trouble)
    return ""


def speaks_tls(kafka: KafkaConfig) -> bool:
    """Whether TLS is what a bootstrap server waits for."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for host, port in _addresses(kafka):
        try:
            plain = socket.create_connection((host, port), _TIMEOUT_S)
            with plain, context.wrap_socket(plain, server_hostname=host):
                return True
        except (OSError, ValueError):
            continue
    return False


def _trouble(kafka: KafkaConfig, error: Exception, whom: str) -> TlsTrouble | None:
    return tls_trouble(error, "kafka", whom, ours=kafka.certificate is not None)


def _addresses(kafka: KafkaConfig) -> Iterator[tuple[str, int]]:
    for address in kafka.bootstrap.split(","):
        host, _, port = address.strip().rpartition("://")[2].rpartition(":")
        if host and port.isdecimal():
            yield host.strip("[]"), int(port)


def _context(kafka: KafkaConfig) -> ssl.SSLContext:
    context = client_context(
        kafka.ca, kafka.certificate, kafka.key, kafka.secret("key_password"), section="kafka"
    )  # fmt: skip
    given = kafka.options.get("ssl.ca.pem")
    if given is not None:
        context.load_verify_locations(cadata=given.get_secret_value() if isinstance(given, SecretStr) else str(given))
    context.check_hostname = kafka.verify_hostname
    return context
