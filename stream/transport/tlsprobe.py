"""Why TLS with a broker fails. librdkafka says the same of every bad certificate; Python's own TLS says which."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from pydantic import SecretStr

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.tls import TlsTrouble, client_context, tls_trouble
from driftbus.stream.transport.greeting import NoKafka, greet

_TIMEOUT_S = 5.0


def check_files(kafka: KafkaConfig) -> None:
    """See that certificates and keys can be used; raises ConfigError that names the key of the file."""
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        tls_context(kafka)


def why_no_tls(kafka: KafkaConfig) -> str:
    """A sentence on the first bootstrap server with which TLS fails, with the fix; "" when none is found."""
    context = tls_context(kafka)
    for host, port in _addresses(kafka):
        try:
            greet(host, port, context, _TIMEOUT_S)  # a refused client certificate is said only after the handshake
        except (TimeoutError, NoKafka):
            continue
        except (ssl.SSLError, OSError, ValueError) as error:
            if (trouble := broker_trouble(kafka, error, f"broker {host}:{port}")) is not None:
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


def broker_trouble(kafka: KafkaConfig, error: Exception, whom: str) -> TlsTrouble | None:
    """What an error of a connection says about TLS with a broker; None when it is about something else."""
    return tls_trouble(error, "kafka", whom, ours=kafka.certificate is not None)


def _addresses(kafka: KafkaConfig) -> Iterator[tuple[str, int]]:
    for address in kafka.bootstrap.split(","):
        host, _, port = address.strip().rpartition("://")[2].rpartition(":")
        if host and port.isdecimal():
            yield host.strip("[]"), int(port)


def tls_context(kafka: KafkaConfig) -> ssl.SSLContext:
    """What TLS with the brokers goes by; raises ConfigError when a file can't be used."""
    context = client_context(
        kafka.ca, kafka.certificate, kafka.key, kafka.secret("key_password"), section="kafka"
    )  # fmt: skip
    given = kafka.options.get("ssl.ca.pem")
    if given is not None:
        context.load_verify_locations(cadata=given.get_secret_value() if isinstance(given, SecretStr) else str(given))
    context.check_hostname = kafka.verify_hostname
    return context
