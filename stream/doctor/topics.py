"""Topics: whether they are there, how they are cut, kept and copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from driftbus.schemas.config import Config
from driftbus.stream.doctor.finding import Finding, advice, counted, not_checked, ok, wrong
from driftbus.stream.transport.admin import Admin
from driftbus.stream.worker.topicchecks import Problem, Settings, Surveyed, alter, sources_of, survey_topics
from driftbus.stream.worker.topicrules import lasting
from driftbus.stream.worker.topics import required_topics


def look_at_topics(config: Config, admin: Admin) -> tuple[Surveyed, list[Finding]]:
    """What `driftbus run` asks of topics when it starts, and how they are copied.

    Raises:
        Unavailable: no broker answers.
    """
    seen = survey_topics(admin, config)
    bootstrap = config.kafka.bootstrap.split(",")[0].strip()
    found: list[Finding] = []
    metadata = admin.list_topics(timeout=5.0)
    for topic in dict.fromkeys([*sources_of(config), *(required.name for required in required_topics(config))]):
        problems = [_told(problem, bootstrap) for problem in seen.problems if problem.topic == topic]
        if topic in seen.counts:
            copies = _copies(topic, metadata.topics[topic].partitions, seen.settings.get(topic), len(metadata.brokers))
            problems += [_bootstrap(each, bootstrap) for each in copies]
        found += problems or [_fine(topic, seen)]
        if topic in seen.counts and topic not in seen.settings:
            what = f"settings of topic {topic}"
            found.append(not_checked(f"topic.{topic}.settings", what, "this login may not DESCRIBE_CONFIGS it"))
    return seen, found


def _told(problem: Problem, bootstrap: str) -> Finding:
    make = advice if problem.gravity == "advice" else wrong
    id_, fix = f"topic.{problem.topic}.{problem.aspect}", problem.fix.replace("BOOTSTRAP:9092", bootstrap)
    return make(id_, f"topic {problem.topic}", problem.message, fix)


def _bootstrap(finding: Finding, bootstrap: str) -> Finding:
    fix = finding.fix.replace("BOOTSTRAP:9092", bootstrap)
    return Finding(finding.id, finding.status, finding.what, finding.found, fix)


def _fine(topic: str, seen: Surveyed) -> Finding:
    settings = seen.settings.get(topic)
    count = seen.counts[topic]
    told = [counted(count, "partition")]
    if settings is not None:
        policy = settings.get("cleanup.policy") or ""
        kept = int(settings.get("retention.ms") or -1)
        how_long = f"kept {lasting(kept) if kept >= 0 else 'for ever'}"
        told.append("compacted" if policy == "compact" else how_long)
        if settings.get("message.timestamp.type") == "LogAppendTime":
            told.append("LogAppendTime")
    return ok(f"topic.{topic}", f"topic {topic}", ", ".join(told))


def _copies(topic: str, partitions: Mapping[int, Any], settings: Settings | None, brokers: int) -> Iterator[Finding]:
    id_, what = f"topic.{topic}.replicas", f"topic {topic}"
    least = int((settings or {}).get("min.insync.replicas") or 1)
    factor = min((len(partition.replicas) for partition in partitions.values()), default=0)
    in_sync = min((len(partition.isrs) for partition in partitions.values()), default=0)
    if factor < least:
        said = f"has {factor} copies and min.insync.replicas={least}: nothing can be written to it"
        yield wrong(id_, what, said, alter(topic, {"min.insync.replicas": str(max(1, factor - 1))}))
    elif in_sync < least:
        said = f"a partition has {in_sync} copies in sync of {least} that it needs: nothing can be written to it"
        yield wrong(id_, what, said, "Bring the broker back that holds the others")
    elif factor == 1 and brokers >= 3:
        said = "has one copy: a broker that is away stops everything, and a disk that is lost loses it"
        fix = "Raise it to 3 with kafka-reassign-partitions.sh; for topics that are made: topics.replication: 3"
        yield advice(id_, what, said, fix)
