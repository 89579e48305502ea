"""What a deployment is like, and the driftbus.yaml that says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.scenario import MONITOR
from kafka.workers import ROLES

from faults.load import HORIZON_MS, WAIT_MS
from faults.surroundings import SESSION_MS, SURROUNDINGS


@dataclass(frozen=True, slots=True)
class Shape:
    """What a deployment is like.

    Args:
        workers: that run while nothing is wrong.
        partitions: of the source topics.
        shards: partitions of the summaries.
        protocol: "classic" or "consumer".
        labels: whether outcomes are joined.
        format: of the output, "avro" or "cloudevents-json".
        brokers: 1, or 3 that keep copies.
        executed: share of the workers that are started as a program, not forked.
        registry: whether schemas are a registry's; producers change theirs again and again then.
    """

    workers: int = 2
    partitions: int = 4
    shards: int = 2
    protocol: str = "classic"
    labels: bool = False
    format: str = "avro"
    brokers: int = 1
    executed: float = 0.1
    registry: bool = False

    @property
    def has(self) -> frozenset[str]:
        """What faults may need of it."""
        return SURROUNDINGS[self.brokers] | {name for name in ("labels", "registry") if getattr(self, name)}


def document_of(
    shape: Shape, home: Path, source: str, labelled: str, bootstrap: str, registry: str = ""
) -> dict[str, Any]:
    """driftbus.yaml.

    Args:
        shape: what it is like.
        home: folder of schemas and of stores.
        source, labelled: topics of predictions and of labels.
        bootstrap: how workers reach the broker.
        registry: how they reach the registry, where there is one.
    """
    monitor: dict[str, Any] = {
        "predictions": {
            "topic": source,
            **_schema_of(home / "scored.avsc", registry),
            "time": "ts",
            "id": "id",
            "score": "p_default",
            "version": "version",
        },
        "segments": ["country"],
        "detection": {"events_per_second": 50},
        "retrain": {
            "any": [{"drift": {"columns": 2, "severity": "moderate"}}],
            "cooldown": "20s",
            "pending": "never",
        },
    }
    if shape.labels:
        monitor["labels"] = {
            "topic": labelled,
            **_schema_of(home / "outcome.avsc", registry),
            "id": "id",
            "label": "defaulted",
        }
        monitor["join"] = {"horizon": f"{HORIZON_MS}ms", "wait": f"{WAIT_MS}ms", "grace": "36500d"}
        monitor["performance"] = {"cohort": "20s", "min_labels": 50, "min_coverage": 0.1}
        monitor["retrain"]["any"].append({"performance": {"metric": "accuracy", "below": 0.6}})
    document: dict[str, Any] = {
        "app": source,
        "kafka": {
            "bootstrap": bootstrap,
            "session_timeout": f"{SESSION_MS}ms",
            "group_protocol": shape.protocol,
        },
        "monitors": {MONITOR: monitor},
        "topics": {role: f"{source}.{role}" for role in ROLES}
        | {"summaries_partitions": shape.shards, "replication": shape.brokers},
        "limits": {"pane": "1s", "lateness": "2s", "retention": "10s"},
        "output": {"format": shape.format},
        # a partition may be idle for as long as a fault lasts: no clock is forced
        "run": {"snapshot_every": "1s", "commit_every": "200ms", "preview_every": "1s", "seal_after": "0s",
                "store": str(home / "store"), "log": "json"},
    }  # fmt: skip
    if registry:
        document["registry"] = {"url": registry, "timeout": "1s"}
    return document


def _schema_of(file: Path, registry: str) -> dict[str, Any]:
    return {} if registry else {"schema_file": str(file)}
