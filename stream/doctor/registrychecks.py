"""The schema registry: whether it answers, lets us in, and will take the schemas of what is published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from driftbus.schemas.config import Config
from driftbus.schemas.contracts import schema_text
from driftbus.schemas.registry import Registry
from driftbus.stream.doctor.finding import Finding, advice, ok, wrong
from driftbus.stream.doctor.sources import clock_finding
from driftbus.stream.plan import topics_of
from driftbus.stream.worker.publish import output_subjects

_NO_EVENT = '"int"'
"""A schema that no record can be read with."""


def look_at_registry(config: Config) -> tuple[Registry, list[Finding]]:
    """A registry that answers, and what can be seen of it.

    Raises:
        ConfigError: its address is wrong, or it refuses the login.
        Unavailable: it can't be reached.
    """
    registry = Registry(config.registry)
    subjects = registry.subjects()
    return registry, [
        ok("registry", "registry", f"{registry.url} answers; {len(subjects)} subjects"),
        *_clock(registry),
        *_outputs(config, registry),
        *_sources(config, registry, set(subjects)),
    ]


def _clock(registry: Registry) -> Iterator[Finding]:
    try:
        told = parsedate_to_datetime(registry.date).timestamp()
    except (TypeError, ValueError):  # not every server says what time it is
        return
    yield clock_finding("clock.registry", "this clock, by the registry's", time.time() - told)


def _outputs(config: Config, registry: Registry) -> Iterator[Finding]:
    if config.output.format != "avro":
        return
    refused = 0
    for name, subject in output_subjects(config).items():
        if reasons := registry.incompatibilities(subject, schema_text(name)):
            refused += 1
            said = f"the registry would refuse the schema of {name}: {reasons[0][:200]}"
            fix = f"Delete subject {subject} if nothing of driftbus stands there, or name another topic under topics"
            yield wrong(f"registry.{subject}", f"subject {subject}", said, fix)
    if not refused:
        yield ok("registry.outputs", "schemas of what is published", "the registry has them or would take them")


def _sources(config: Config, registry: Registry, subjects: set[str]) -> Iterator[Finding]:
    for topic, pairs in topics_of(config).items():
        subject = f"{topic}-value"
        (name, stream), *_ = pairs
        if subject not in subjects or config.monitors[name].streams[stream].schema_file is not None:
            continue
        id_, what = f"registry.{subject}", f"subject {subject}"
        # what rule a subject has is told differently by every make of registry; what it would refuse is not
        if registry.incompatibilities(subject, _NO_EVENT):
            yield ok(id_, what, "a schema that does not fit the latest is refused")
        else:
            said = "any schema may follow another: a field that changes its type becomes null, or dead letters"
            yield advice(id_, what, said, f"Set the compatibility of {subject} to BACKWARD, or FULL")
