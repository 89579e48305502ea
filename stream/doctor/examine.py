"""The order of the checks, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping

from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import Resolver
from driftbus.schemas.registry import Registry
from driftbus.stream.doctor import brokers, machine, references, registrychecks, sources, topics
from driftbus.stream.doctor.examination import Examination
from driftbus.stream.doctor.finding import not_checked, ok
from driftbus.stream.doctor.network import bootstrap_addresses
from driftbus.stream.plan import topics_of
from driftbus.stream.transport.admin import Admin
from driftbus.stream.worker.start import open_resolvers
from driftbus.stream.worker.topicchecks import Surveyed

_HOST_S = 3.0
_LOOK = "Look whether all brokers run: `kafka-broker-api-versions.sh` asks each"
_TOPICS, _RECORDS = "topics", "records, fields, event times, profiles and partitions of labels"


def examine(config: Config, examination: Examination) -> None:
    """Look at everything that a worker of this configuration relies on."""
    machine_found = examination.attempt("machine", "this machine", lambda: list(machine.look_at_machine(config)))
    examination.add(machine_found or [])
    admin = _brokers(config, examination)
    registry_works, registry = _registry(config, examination)
    surveyed = None
    if admin is None:
        examination.add([not_checked("topics", "rights and topics", "the brokers can't be asked")])
    else:
        examination.add(
            examination.attempt("rights", "rights", lambda: list(brokers.rights(config, admin)), _LOOK) or []
        )
        seen = examination.attempt("topics", _TOPICS, lambda: topics.look_at_topics(config, admin), _LOOK)
        if seen is not None:
            surveyed = seen[0]
            examination.add(seen[1])
    if surveyed is None:
        examination.add([not_checked("records", _RECORDS, "the topics can't be looked at")])
        return
    if not registry_works:
        examination.add([not_checked("records", _RECORDS, "the registry can't be asked")])
        return
    resolvers = examination.attempt("schemas", "schema files", lambda: open_resolvers(config, registry))
    if resolvers is not None:
        _contents(config, examination, surveyed, resolvers)


def _brokers(config: Config, examination: Examination) -> Admin | None:
    addresses, bad = bootstrap_addresses(config.kafka)
    examination.add(bad)
    wait = max(0.5, min(_HOST_S, examination.left_s / 4))
    reached = examination.attempt("network", "network", lambda: brokers.reach_all(config, addresses, wait))
    if reached is None:
        return None
    examination.add(reached[0])
    if not reached[1]:
        examination.unreachable = True
        examination.add([not_checked("kafka.login", "login", "no broker can be reached")])
        return None
    logged_in = examination.attempt("kafka.login", "login", lambda: brokers.log_in(config))
    if logged_in is None:
        return None
    admin, finding = logged_in
    examination.add([finding])
    told = examination.attempt("kafka.advertised", "advertised addresses", lambda: brokers.advertised(admin))
    if told is None:
        return None
    known = {(address.host, address.port) for address in addresses}
    others = [address for address in told if (address.host, address.port) not in known]
    more = examination.attempt("network", "network", lambda: brokers.reach_all(config, others, wait))
    if more is None:
        return None
    examination.add(more[0])
    if told and len(others) == len(told) and not more[1]:
        examination.unreachable = True
        return None
    examination.add([brokers.group_protocol(config, [*reached[1], *more[1]])])
    return admin


def _registry(config: Config, examination: Examination) -> tuple[bool, Registry | None]:
    if not config.registry.url:
        examination.add([ok("registry", "registry", "none is configured: schemas come from files")])
        return True, None
    found = examination.attempt(
        "registry", "registry", lambda: registrychecks.look_at_registry(config),
        "Correct registry.url, start the registry, or open the way to it",
    )  # fmt: skip
    if found is None:
        return False, None
    examination.add(found[1])
    return True, found[0]


def _contents(config: Config, examination: Examination, surveyed: Surveyed, resolvers: Mapping[str, Resolver]) -> None:
    counts = surveyed.counts
    for topic in topics_of(config):
        id_, what = f"records.{topic}", f"records of {topic}"
        if topic not in counts:
            examination.add([not_checked(id_, what, "the topic is not there, or can't be seen")])
            continue
        found = examination.attempt(
            id_, what,
            lambda topic=topic: list(sources.look_at_source(config, topic, counts[topic], resolvers[topic])),  # type: ignore[misc]  # mypy can't infer a lambda with a default
        )  # fmt: skip
        examination.add(found or [])
    profiles = examination.attempt("profiles", "profiles", lambda: list(references.look_at_profiles(config, counts)))
    examination.add(profiles or [])
    spreads = examination.attempt(
        "copartition", "partitions of labels", lambda: list(references.look_at_spreads(config, counts, resolvers))
    )
    examination.add(spreads or [])
