from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Uuid
from confluent_kafka.admin._topic import TopicDescription

from driftbus.schemas.errors import StateError
from driftbus.stream.worker.owntopics import LOOKS, OwnTopics

GONE, HIDDEN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def there(number: int) -> TopicDescription:
    return TopicDescription("drift", Uuid(number, number), False, [])


def test_only_looks_in_a_row_count() -> None:
    own = OwnTopics(["drift"])
    for answer in (*[GONE] * (LOOKS - 1), there(1), *[GONE] * (LOOKS - 1)):
        own.see({"drift": answer})
        own.see({})  # no answer at all
    with pytest.raises(StateError, match=r"drift is gone.*topics --create"):
        own.see({"drift": GONE})


def test_a_hidden_topic_is_not_called_deleted() -> None:
    own = OwnTopics(["drift"])
    for _ in range(LOOKS - 1):
        own.see({"drift": HIDDEN})
    with pytest.raises(StateError, match=r"may not see topic drift.*doctor --acls"):
        own.see({"drift": HIDDEN})


def test_another_topic_of_the_same_name_is_seen_unless_brokers_have_no_ids() -> None:
    own = OwnTopics(["drift"])
    own.see({"drift": there(0)})
    own.see({"drift": there(7)})  # brokers were upgraded
    own.see({"drift": there(7)})
    with pytest.raises(StateError, match="made anew"):
        own.see({"drift": there(8)})
