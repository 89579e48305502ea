"""Which field is what: by name and type, checked against values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driftbus.schemas.fields import FieldKind, FieldType
from driftbus.stream.setup.proposal import Column, Proposal, propose

N = 100
START = datetime(2025, 10, 1, tzinfo=UTC)


def column(path: str, values: list[Any], kind: FieldKind = "categorical", avro: str = "string", **more: Any) -> Column:
    return Column(path, FieldType(kind, avro, **more), values, N)


def number(path: str, values: list[Any], avro: str = "double") -> Column:
    return column(path, values, "numeric", avro)


def unique(path: str) -> Column:
    return column(path, [f"x{i}" for i in range(N)])


def mapped(*columns: Column) -> dict[str, str]:
    return {key: choice.field for key, choice in propose(columns).mapped.items()}


@pytest.mark.parametrize(("factor", "unit"), [(1, "s"), (1_000, "ms"), (1_000_000, "us"), (1_000_000_000, "ns")])
def test_plain_numbers_as_times(factor: int, unit: str) -> None:
    proposal = propose([number("ts", [(1_760_000_000 + i) * factor for i in range(N)], "long")])
    assert proposal.mapped["time"].field == "ts"
    assert proposal.time_unit == unit
    assert proposal.events_per_second == 1.0


def test_texts_and_logical_types_as_times() -> None:
    texts = [(START + timedelta(seconds=i)).isoformat() for i in range(N)]
    assert mapped(column("timestamp", texts)) == {"time": "timestamp"}
    moments = [START + timedelta(seconds=i) for i in range(N)]
    when = column("recorded", moments, "time", "long", logical="timestamp-millis")
    assert mapped(when) == {"time": "recorded"}
    assert propose([when]).events_per_second == 1.0


def test_a_number_that_is_no_time_is_a_feature() -> None:
    proposal = propose([number("lead_time", [float(i) for i in range(N)])])
    assert (proposal.mapped, proposal.numeric) == ({}, ["lead_time"])


def test_the_better_name_wins_and_other_times_are_left_out() -> None:
    moments = [START + timedelta(seconds=i) for i in range(N)]
    times = [column(name, moments, "time", "long") for name in ("created_at", "event_time", "dob")]
    proposal = propose(times)
    assert proposal.mapped["time"].field == "event_time"
    assert [choice.field for choice in proposal.ignore] == ["created_at", "dob"]


def test_identities() -> None:
    assert mapped(unique("session_id"), unique("predictionId"))["id"] == "predictionId"
    assert mapped(column("id", ["a", "b"] * (N // 2))) == {}
    assert [c.field for c in propose([unique("request_id"), unique("trace_id"), unique("note")]).ignore] == [
        "trace_id",
        "note",
    ]


def test_free_text_is_watched_and_codes_that_never_repeat_are_not() -> None:
    prose = column("review", [f"number {i} came late and was sent back" for i in range(N)])
    proposal = propose([prose, unique("token")])
    assert (proposal.categorical, [choice.field for choice in proposal.ignore]) == (["review"], ["token"])


def test_scores_predictions_labels_versions() -> None:
    columns = [
        number("y_pred_proba", [i / N for i in range(N)]),
        column("y_pred", ["yes", "no"] * (N // 2)),
        column("y_true", ["yes", "no"] * (N // 2)),
        column("model_version", ["12"] * N),
        number("income", [float(i) for i in range(N)]),
    ]
    assert mapped(*columns) == {
        "version": "model_version",
        "score": "y_pred_proba",
        "prediction": "y_pred",
        "label": "y_true",
    }
    proposal = propose(columns)
    assert (proposal.stream, proposal.numeric) == ("predictions", ["income"])


def test_the_kind_of_stream() -> None:
    feature, outcome = number("x", [1.0] * N), column("label", ["a", "b"] * (N // 2))
    assert propose([feature]).stream == "features"
    assert propose([unique("id"), outcome]).stream == "labels"
    assert propose([feature, number("score", [0.5] * N)]).stream == "predictions"


def test_segments() -> None:
    columns = [
        column("purpose", ["a", "b"] * (N // 2)),
        column("device_type", ["web", "app"] * (N // 2)),
        column("country", [["PT", "ES", "FR", "DE"][i % 4] for i in range(N)]),
        column("channel", ["x", "y"] * (N // 2)),
        column("city", [f"c{i % 50}" for i in range(N)]),
        column("vip", [True, False] * (N // 2), avro="boolean"),
    ]
    proposal = propose(columns)
    assert [c.field for c in proposal.segments] == ["country", "channel"]
    assert [c.field for c in proposal.more_segments] == ["device_type", "purpose"]
    assert proposal.segments[0].why == "4 values: DE, ES, FR, PT"
    assert len(proposal.categorical) == 6


def test_nothing_to_look_at() -> None:
    assert propose([]) == Proposal(stream="features")
