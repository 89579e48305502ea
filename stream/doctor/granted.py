"""Which rights a login lacks, as the brokers themselves say it: that needs no right beyond those asked about."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.doctor.rights import Right, run_rights
from driftbus.stream.transport.rights import RIGHTS

_ANSWER_S = 5.0
_START_S = 3.0
_PATIENCE_S = 6.0
_PAUSE_S = 0.3
_SILENT = "the brokers did not answer"


@dataclass(slots=True)
class Granted:
    """What was seen.

    Args:
        lacking: rights that the brokers would refuse.
        unknown: rights that nothing can be said of, and why.
    """

    lacking: list[Right] = field(default_factory=list)
    unknown: list[tuple[Right, str]] = field(default_factory=list)

    def take(self, rights: Iterable[Right], able: Sequence[Any] | None) -> None:
        """Compare rights on one resource with the operations that the brokers listed."""
        if able is None:
            self.unknown += [(right, "the brokers don't say what this login may do") for right in rights]
            return
        names = {operation.name for operation in able}
        self.lacking += [right for right in rights if right.operation not in names]


def granted(admin: AdminClient, needed: Sequence[Right], answer_s: float = _ANSWER_S) -> Granted:
    """Ask the brokers what this login may do."""
    found, topics = Granted(), {right.name for right in needed if right.resource == "topic"}
    asked = (
        admin.describe_topics(
            TopicCollection(sorted(topics)), include_authorized_operations=True, request_timeout=answer_s
        )
        if topics
        else {}
    )
    for name, future in asked.items():
        ours = [right for right in needed if right.resource == "topic" and right.name == name]
        try:
            found.take(ours, future.result(answer_s + 1).authorized_operations)
        except (KafkaException, TimeoutError) as error:
            _refused(found, ours, error, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    for right in needed:
        if right.resource != "group":
            continue
        # brokers that can't tell it of topics can't of groups, and take their time over saying so
        if topics and {each.name for each, why in found.unknown if why == _SILENT} >= topics:
            found.unknown.append((right, _SILENT))
        else:
            _group(admin, right, found)
    return found


def require_rights(admin: AdminClient, config: Config) -> None:
    """See that workers may do all they have to; what the brokers don't tell is passed over.

    Raises:
        ConfigError: a right is missing, with all that are.
    """
    lacking = [right for right in granted(admin, run_rights(config), _START_S).lacking if not right.optional]
    if lacking:
        raise ConfigError(
            "this login may not " + ", ".join(f"{r.operation} {r.resource} {r.name}" for r in lacking),
            key="kafka",
            fix=RIGHTS,
        )


def _group(admin: AdminClient, right: Right, found: Granted) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        asked = admin.describe_consumer_groups(
            [right.name], include_authorized_operations=True, request_timeout=_ANSWER_S
        )[right.name]
        try:
            found.take([right], asked.result(_ANSWER_S + 1).authorized_operations)
            return
        except (KafkaException, TimeoutError) as error:
            # the first question about any group makes a cluster set up the topic of offsets
            if time.monotonic() >= deadline or not _passes(error):
                _refused(found, [right], error, KafkaError.GROUP_AUTHORIZATION_FAILED)
                return
        time.sleep(_PAUSE_S)


def _passes(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in (
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    )


def _refused(found: Granted, rights: Iterable[Right], error: Exception, refusal: int) -> None:
    code = error.args[0].code() if isinstance(error, KafkaException) else None
    if code == refusal:
        found.lacking += rights
    else:
        there = "it does not exist" if code == KafkaError.UNKNOWN_TOPIC_OR_PART else _SILENT
        found.unknown += [(right, there) for right in rights]
