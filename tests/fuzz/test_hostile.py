"""Floods of everything a record can name: what is carried, kept and told of them has bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driftbus.schemas.codec import encode_message
from driftbus.stream import crowding, summarise
from driftbus.stream.crowding import OTHER
from driftbus.stream.summarise import ShardPart

from .hostile import CASES, START_MS, YEAR_MS, Flood, Found, Row

RECORDS = {
    "segments": 3_000, "versions": 2_000, "both": 1_500, "categories": 10_000, "long_names": 30, "schemas": 300,
    "one_id": 10_000, "panes": 30, "centuries": 1_000, "label_classes": 6_000, "label_versions": 6_000,
    "label_names": 60, "label_orphans": 6_000, "label_changes": 6_000, "label_centuries": 2_000,
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_parts_snapshots_and_events_are_bounded(case: str) -> None:
    found: Found = CASES[case](RECORDS[case])
    assert found.largest["part"] < 2 << 20
    assert found.largest["snapshot"] < 2 << 20
    assert found.largest["event"] < 100_000
    assert found.groups <= 2 * 64 + 1
    assert set(found.reasons) <= {"bad_event_time"}
    if case.startswith("label"):
        assert found.contents <= 4 * (2 * 64 + 1)
        return
    counted = found.counts["rows"] + found.counts["late"] + found.counts["expired"] + found.counts["dropped"]
    assert counted + sum(found.reasons.values()) == found.records
    if case in ("segments", "versions", "both"):
        assert found.counts["beyond"] >= found.records - 2 * 64
    else:
        assert found.counts["beyond"] <= 2 * found.records


def sent(rows: list[Row]) -> list[tuple[str, bytes]]:
    """What a flood publishes."""
    flood, said = Flood(), []
    decide = flood.driver._judge

    def heard(parts: list[ShardPart]) -> list[object]:
        said.extend((part.kind, encode_message(part)) for _, part in parts)
        return list(decide(parts))

    flood.driver._judge = heard  # type: ignore[method-assign, assignment]
    flood.send(iter(rows))
    flood.end()
    return said


def test_a_batch_that_is_counted_in_pieces_gives_the_same_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        Row(START_MS + 40 * i, f"{i}", f"v{i % 70}", f"c{i}", ("y" * 900 if i % 2 else "k") + str(i % 30), schema=i % 3)
        for i in range(400)
    ]
    whole = sent(rows)
    monkeypatch.setattr(summarise, "MOST_COUNTED_BYTES", 1 << 16)
    assert sent(rows) == whole


def test_a_crowded_pane_is_judged_the_same_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that can't be judged on their own are let go early, and that changes nothing."""
    monkeypatch.setattr(crowding, "_PANE_BYTES", 1)
    rows = [Row(START_MS, version=f"v{i:03}", country=f"c{i:03}") for i in range(300)]

    def judged(order: Callable[[list[Row]], list[Row]]) -> object:
        flood = Flood()
        flood.send(iter(order(rows)))
        flood.end()
        (judge,) = flood.driver.judges.values()
        (stream,) = judge.monitors["credit"].streams
        assert stream.counts.dropped == 0
        return sorted(stream.groups), [(g, j.open_episodes()) for g, j in sorted(stream.groups.items())]

    groups, _ = forwards = judged(list)
    assert forwards == judged(lambda all_: all_[::-1])
    assert len(groups) == 64 + 64 + 1
    assert any(group.version == OTHER for group in groups)


def test_panes_far_ahead_of_all_others_are_let_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "_OPEN_BYTES", 1)
    monkeypatch.setattr("driftbus.stream.judge.most_open", lambda _: 40)
    flood = Flood(2)
    ahead = [Row(START_MS + 3 * YEAR_MS + 3_600_000 * i) for i in range(200)]
    now = [Row(START_MS + 1_000 * i, partition=1) for i in range(300)]
    flood.send(iter([*ahead, *now]))
    found = flood.end()
    assert 100 < found.counts["dropped"] < 220
    assert found.counts["rows"] + found.counts["dropped"] == found.records
    assert found.counts["rows"] >= 300
