"""Whether hosts can be found and reached, and whether what listens there is a broker: one address at a time."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

from driftbus.schemas.config import KafkaConfig
from driftbus.stream.doctor.finding import Finding, advice, not_checked, ok, wrong
from driftbus.stream.transport.greeting import Greeting, NoKafka, greet
from driftbus.stream.transport.tlsprobe import broker_trouble, tls_context

_SOON_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is said to be.

    Args:
        host, port: the address.
        broker: number of the broker that advertises it; None: it stands in the configuration.
    """

    host: str
    port: int
    broker: int | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def fix(self, told: str, advertised: str) -> str:
        """What to do, by where the address comes from."""
        if self.broker is None:
            return told
        return f"Broker {self.broker} advertises this address: {advertised}"


def bootstrap_addresses(kafka: KafkaConfig) -> tuple[list[Address], list[Finding]]:
    """The addresses of the configuration, and what is no address."""
    found, bad = [], []
    for text in kafka.bootstrap.split(","):
        host, _, port = text.strip().rpartition("://")[2].rpartition(":")
        if host and port.isdigit() and 0 < int(port) < 65_536:
            found.append(Address(host.strip("[]"), int(port)))
        else:
            said = f"{text.strip()!r} is no host:port"
            bad.append(wrong("kafka.bootstrap", "kafka.bootstrap", said, "Write it like kafka.example.org:9092"))
    return list(dict.fromkeys(found)), bad


def reach(kafka: KafkaConfig, address: Address, timeout_s: float) -> Iterator[Finding | Greeting]:
    """Findings on name, port, TLS and protocol of one address; last its greeting when all is well."""
    name, port, spoken = f"dns.{address.host}", f"tcp.{address}", f"kafka.{address}"
    tls = kafka.security_protocol in ("SSL", "SASL_SSL")
    what = f"broker {address}" + (f", advertised by {address.broker}" if address.broker is not None else "")
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)}
    except OSError as error:
        said = f"the name {address.host} can't be resolved: {error.strerror or error}"
        told = "Correct the host in kafka.bootstrap, or give this machine a DNS that knows it"
        yield wrong(name, what, said, address.fix(told, "set its advertised.listeners to a name that clients resolve"))
        yield not_checked(port, what, f"{address.host} can't be resolved")
        return
    yield ok(name, what, f"{address.host} is {', '.join(sorted(found)[:3])}")
    try:
        socket.create_connection((address.host, address.port), timeout_s).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        told = "Correct the port in kafka.bootstrap, start the broker, or open the way to it (firewall, network policy)"
        advertised = "set its advertised.listeners to an address that this machine reaches, or open the way to it"
        yield wrong(port, what, f"can't be connected: {why}", address.fix(told, advertised))
        yield not_checked(spoken, what, f"{address} can't be connected")
        return
    try:
        greeting = greet(address.host, address.port, tls_context(kafka) if tls else None, timeout_s)
    except NoKafka as error:
        protocol = "SASL_SSL or SSL" if not tls else "SASL_PLAINTEXT or PLAINTEXT"
        fix = f"Is {address.port} the port of this listener? If it is, write security_protocol: {protocol}"
        yield wrong(spoken, what, f"{error}", fix)
    except (ssl.SSLError, OSError, ValueError) as error:
        trouble = broker_trouble(kafka, error, f"broker {address}") if tls else None
        if trouble is not None:
            yield wrong(f"tls.{address}", what, trouble.message, trouble.fix)
        else:
            said = "ends the connection when TLS begins" if tls and not isinstance(error, TimeoutError) else "is silent"
            fix = "Check the port, and whether this listener speaks TLS: kafka.security_protocol"
            yield wrong(f"tls.{address}" if tls else spoken, what, said, fix)
    else:
        yield _certificate(kafka, address, greeting, what) if tls else ok(spoken, what, "speaks Kafka, without TLS")
        yield greeting


def _certificate(kafka: KafkaConfig, address: Address, greeting: Greeting, what: str) -> Finding:
    id_, ends = f"tls.{address}", greeting.certificate_ends
    if ends is None:
        return ok(id_, what, "speaks Kafka over TLS")
    until = time.strftime("%Y-%m-%d", time.gmtime(ends))
    if ends - time.time() < _SOON_S:
        said = f"its certificate ends on {until}"
        return advice(id_, what, said, "Renew the broker's certificate before that day")
    if not kafka.verify_hostname:
        said = "any certificate of the CA is taken for a broker's"
        return advice(id_, what, said, "Remove verify_hostname: false, with names in the brokers' certificates")
    return ok(id_, what, f"speaks Kafka over TLS; certificate until {until}")
