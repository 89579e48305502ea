from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Uuid

from driftbus.schemas.errors import StateError
from driftbus.stream.worker.owntopics import IDS_S, LOOKS, OwnTopics

GONE, HIDDEN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def known(number: int) -> dict[str, str]:
    return {"drift": str(Uuid(number, number))}


def test_only_looks_in_a_row_count() -> None:
    own = OwnTopics(["drift"])
    for answer in (*[GONE] * (LOOKS - 1), 2, *[GONE] * (LOOKS - 1)):
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
    own.identify(known(0), 0.0)
    own.identify(known(7), 1.0)  # brokers were upgraded
    own.identify({}, 2.0)
    own.identify(known(7), 3.0)
    with pytest.raises(StateError, match="made anew"):
        own.identify(known(8), 4.0)


def test_ids_are_asked_for_until_all_were_told() -> None:
    own = OwnTopics(["drift", "state"])
    own.identify({}, 0.0)
    assert own.asks(1.0), "brokers did not answer"
    own.identify(known(1), 1.0)
    assert own.asks(2.0), "nothing is known of the other one"
    own.identify({**known(1), "state": str(Uuid(0, 0))}, 2.0)
    assert not own.asks(3.0), "all are known: brokers without ids have said so"


def test_ids_are_asked_for_now_and_then_and_when_a_topic_is_back() -> None:
    own = OwnTopics(["drift"])
    assert own.asks(0.0)
    own.identify(known(1), 0.0)
    own.see({"drift": 2})
    assert not own.asks(IDS_S - 1)
    assert own.asks(IDS_S)
    own.see({"drift": GONE})
    assert not own.asks(1.0)
    own.see({"drift": 2})
    own.identify({}, 1.0)
    assert own.asks(2.0), "there was no answer"
    own.identify(known(1), 2.0)
    assert not own.asks(3.0)
