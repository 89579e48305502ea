"""The brokers: whether they let us in, where they say they are, what they know, what we may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from driftbus.schemas.config import Config
from driftbus.stream.doctor.acls import PRINCIPAL, acl_command, by_resource
from driftbus.stream.doctor.finding import Finding, advice, not_checked, ok, wrong
from driftbus.stream.doctor.granted import granted
from driftbus.stream.doctor.network import Address, reach
from driftbus.stream.doctor.rights import Right, doctor_rights
from driftbus.stream.transport.admin import Admin
from driftbus.stream.transport.greeting import CONSUMER_GROUP_HEARTBEAT, Greeting

_AT_ONCE = 8
_MOST = 30


def reach_all(config: Config, addresses: Iterable[Address], timeout_s: float) -> tuple[list[Finding], list[Greeting]]:
    """Look at several addresses at once; findings in their order."""
    chosen = list(addresses)[:_MOST]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        seen = list(pool.map(lambda address: list(reach(config.kafka, address, timeout_s)), chosen))
    findings = [each for found in seen for each in found if isinstance(each, Finding)]
    return findings, [each for found in seen for each in found if isinstance(each, Greeting)]


def log_in(config: Config) -> tuple[Admin, Finding]:
    """A client that the brokers let in.

    Raises:
        ConfigError: they don't.
        Unavailable: none answers.
    """
    admin, kafka = Admin(config.kafka), config.kafka
    admin.topics()
    who = f"as {kafka.username} by {kafka.sasl_mechanism}" if kafka.username else ""
    who = who or (f"by {kafka.sasl_mechanism}" if kafka.sasl_mechanism else "without a login")
    certificate = " with a client certificate" if kafka.certificate else ""
    return admin, ok("kafka.login", "login", f"{who}{certificate}")


def advertised(admin: Admin) -> list[Address]:
    """Where brokers say they are."""
    brokers = admin.list_topics(timeout=5.0).brokers
    return [Address(str(broker.host), broker.port, number) for number, broker in sorted(brokers.items())]


def group_protocol(config: Config, greetings: Iterable[Greeting]) -> Finding:
    """Whether every broker knows the protocol of our group."""
    id_, what, protocol = "kafka.group_protocol", "group protocol", config.kafka.group_protocol
    seen = list(greetings)
    if protocol == "classic" or all(CONSUMER_GROUP_HEARTBEAT in greeting.requests for greeting in seen):
        return ok(id_, what, f"{protocol}: all brokers know it")
    fix = "Write group_protocol: classic under kafka, or use Kafka 4.0 or newer"
    return wrong(id_, what, "a broker does not know groups of KIP-848", fix)


def rights(config: Config, admin: Admin) -> Iterator[Finding]:
    """Each right of workers that is missing, with the command that gives it; one line when none is."""
    needed = doctor_rights(config)
    seen = granted(admin, needed)
    lacking = by_resource(seen.lacking)
    principal = f"User:{config.kafka.username}" if config.kafka.username else PRINCIPAL
    for (resource, name), ours in lacking.items():
        yield _lacking(config, resource, name, ours, principal)
    for (resource, name), hidden in by_resource([r for r, why in seen.unknown if "exist" not in why]).items():
        why = next(why for right, why in seen.unknown if right is hidden[0])
        yield not_checked(f"rights.{resource}.{name}", f"rights on {resource} {name}", why)
    if not lacking:
        count = len(needed) - len(seen.unknown)
        yield ok("rights", "rights", f"all {count} that could be looked at are given")


def _lacking(config: Config, resource: str, name: str, ours: list[Right], principal: str) -> Finding:
    id_, what = f"rights.{resource}.{name}", f"rights on {resource} {name}"
    said = ", ".join(f"{right.operation} ({right.reason})" for right in ours)
    fix = acl_command(ours[0].resource, name, ours, principal, config.kafka.bootstrap.split(",")[0].strip())
    if all(right.optional for right in ours):
        return advice(id_, what, f"missing: {said}", fix)
    return wrong(id_, what, f"missing: {said}", fix)
