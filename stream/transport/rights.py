"""Rights that the brokers refuse: which one, on what, and who can say what is needed."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from driftbus.schemas.errors import ConfigError

RIGHTS = "`driftbus doctor --acls` prints every right that this configuration needs"

_KINDS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
}


def missing_right(error: KafkaError, operation: str, topic: str = "", group: str = "") -> ConfigError | None:
    """The error that names a right which the brokers refuse; None when an error is about something else.

    Args:
        error: what a client said.
        operation: what we tried, in the words of Kafka's ACLs: READ, WRITE, CREATE.
        topic, group: on what.
    """
    kind = _KINDS.get(error.code())
    if kind is None:
        return None
    if kind == "cluster" and operation != "CREATE":
        operation = "IDEMPOTENT_WRITE"
    on = {"topic": f"topic {topic}", "group": f"group {group}"}.get(kind, f"the {kind}")
    return ConfigError(f"this login may not {operation} {on}: {error.str()}", fix=RIGHTS)


def refusal(error: KafkaError, operation: str, topic: str = "", group: str = "") -> Exception:
    """What to raise for an error that does not pass by itself: the missing right, or the error as it is."""
    return missing_right(error, operation, topic, group) or KafkaException(error)
