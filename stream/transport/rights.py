"""Rights that the brokers refuse: which one, on what, and who can say what is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    if kind == "cluster" and operation == "WRITE":  # whoever may write to a topic may do so as an idempotent producer
        return ConfigError(f"this login may not WRITE {f'topic {topic}' if topic else 'any topic'}", fix=RIGHTS)
    on = {"topic": f"topic {topic}", "group": f"group {group}"}.get(kind, f"the {kind}")
    return ConfigError(f"this login may not {operation} {on}: {error.str()}", fix=RIGHTS)


def refusal(error: KafkaError, operation: str, topic: str = "", group: str = "") -> Exception:
    """What to raise for an error that does not pass by itself: the missing right, or the error as it is."""
    return missing_right(error, operation, topic, group) or KafkaException(error)


@contextmanager
def writing(topic: str) -> Iterator[None]:
    """Around the calls of a producer, which raise when it can't go on.

    Raises:
        ConfigError: the login may write to no topic at all: an idempotent producer is refused before its first record.
        KafkaException: another reason.
    """
    try:
        yield
    except SystemError as error:  # the client raises a fatal error out of another callback
        cause = error.__cause__ or error.__context__
        if isinstance(cause, KafkaException):
            raise refusal(cause.args[0], "WRITE", topic) from error
        raise
    except KafkaException as error:
        raise refusal(error.args[0], "WRITE", topic) from error
