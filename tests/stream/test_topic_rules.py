"""What of a topic's settings is told, and how grave it is."""

from __future__ import annotations

import pytest

from driftbus.schemas.config import Config
from driftbus.stream.worker.topicchecks import alter
from driftbus.stream.worker.topicrules import lasting, problems_of_settings

CONFIG = Config.model_validate(
    {
        "kafka": {"bootstrap": "b:9092"},
        "monitors": {
            "m": {
                "predictions": {"topic": "scored", "id": "id", "score": "p"},
                "labels": {"topic": "by-id", "id": "id", "label": "y", "repartition": "outcomes"},
                "join": {"horizon": "8d", "wait": "0s"},
            }
        },
    }
)
NINE_DAYS = str(9 * 86_400_000)


def told(topic: str, **settings: str) -> list[tuple[str, str]]:
    """(setting, gravity) of what breaks a rule."""
    named = {name.replace("_", "."): value for name, value in settings.items()}
    return [(broken.setting, broken.gravity) for broken in problems_of_settings(CONFIG, {topic: named})]


@pytest.mark.parametrize("topic", ["scored", "by-id"])
def test_what_a_join_reads_again_is_kept_for_nine_eighths_of_the_horizon(topic: str) -> None:
    assert told(topic, retention_ms=NINE_DAYS) == []
    assert told(topic, retention_ms="-1") == []
    assert told(topic, retention_ms=str(int(NINE_DAYS) - 1)) == [("retention.ms", "harms")]


def test_labels_that_are_copied_need_no_horizon_where_they_come_from() -> None:
    assert told("outcomes", retention_ms=str(2 * 3_600_000)) == []
    assert told("outcomes", retention_ms="60000") == [("retention.ms", "harms")]


def test_a_compacted_source() -> None:
    assert told("scored", cleanup_policy="compact") == [("cleanup.policy", "harms")]


def test_a_size_is_no_time() -> None:
    assert told("scored", retention_ms="-1", retention_bytes="1000000") == [("retention.bytes", "advice")]


def test_an_unclean_leader_rewrites_the_log() -> None:
    assert told("driftbus.state", unclean_leader_election_enable="true") == [
        ("unclean.leader.election.enable", "harms")
    ]


@pytest.mark.parametrize(
    ("topic", "policy", "stops"),
    [
        ("driftbus.state", "compact", False),
        ("driftbus.state", "delete", True),
        ("driftbus.state", "compact,delete", True),
        ("driftbus.summaries", "delete", False),
        ("driftbus.summaries", "compact,delete", True),
        ("driftbus.drift", "compact,delete", False),
        ("driftbus.drift", "compact", True),
    ],
)
def test_policies(topic: str, policy: str, stops: bool) -> None:
    assert [g for s, g in told(topic, cleanup_policy=policy) if s == "cleanup.policy"] == ["stops"] * stops


def test_a_dead_letter_is_as_long_as_the_record_was() -> None:
    settings = {"scored": {"max.message.bytes": "20000000"}, "driftbus.deadletter": {"max.message.bytes": "16777216"}}
    (broken,) = problems_of_settings(CONFIG, settings)
    assert (broken.topic, broken.gravity) == ("driftbus.deadletter", "harms")
    assert int(broken.changed["max.message.bytes"]) > 20_000_000


def test_copied_labels_keep_their_time() -> None:
    assert told("by-id", retention_ms="-1", message_timestamp_type="LogAppendTime") == [
        ("message.timestamp.type", "harms")
    ]
    assert told("by-id", retention_ms="-1", message_timestamp_before_max_ms="3600000") == [
        ("message.timestamp.before.max.ms", "harms")
    ]
    assert told("scored", retention_ms="-1", message_timestamp_type="LogAppendTime") == []


def test_what_nobody_may_see_is_not_told() -> None:
    assert problems_of_settings(CONFIG, {}) == []
    assert told("scored") == []


def test_fixes_are_commands() -> None:
    assert alter("t", {"cleanup.policy": "compact,delete"}).endswith("--add-config cleanup.policy=[compact,delete]")


@pytest.mark.parametrize(("ms", "text"), [(3_600_000, "1h"), (604_800_000, "1w"), (2_919_600_000, "33.8 days")])
def test_durations(ms: int, text: str) -> None:
    assert lasting(ms) == text
