"""A new version takes over with a profile of its own: no false drift, and the old version goes on as it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.codec import decode_part, encode_part
from driftbus.schemas.columns import PRESENT, Block
from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.events import DriftEvent, Incident, RetrainTrigger, SummaryPart
from driftbus.schemas.hashing import hash_bytes
from driftbus.stream.judge import Decided, Judge
from driftbus.stream.plan import Plans, build_plans
from driftbus.stream.summarise import Summariser

PANE = 10_000
ROWS = 60
SWITCH, END = 300, 600
"""Panes: version 2 comes with the first of them."""


def rows(seed: int, n: int, shift: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(shift, 1, n), 3)
    return {
        "x": x,
        "z": np.round(rng.exponential(1.0 + shift, n), 3),
        "c": np.array(["a", "b", "d"])[rng.choice(3, n, p=[0.6, 0.3, 0.1] if shift == 0 else [0.1, 0.2, 0.7])],
    }


def profile_of(seed: int, shift: float, version: str = "", *, z: bool = False, **more: Any) -> Profile:
    data = rows(seed, 6_000, shift)
    columns = {"x": NumericData(data["x"]), "c": CategoryData(data["c"].astype(object))}
    made = build_profile("m", "predictions", columns | ({"z": NumericData(data["z"])} if z else {}))
    return Profile.from_dict(made.to_dict() | {"version": version, "profile_id": ""} | more)


def config(**stream: Any) -> Config:
    source = {"topic": "t", "time": "ts", "id": "i", "version": "v", **stream}
    drift = {"drift": {"columns": 1, "for": "1 window"}}
    monitor = {"predictions": source, "segments": ["c"], "retrain": {"any": [drift], "cooldown": "0s"}}
    return Config.model_validate({"kafka": {"bootstrap": "none:1"}, "monitors": {"m": monitor}})


BASE = profile_of(1, 0.0)
OWN = profile_of(2, 2.0, "2", z=True, model={"mlflow_run": "7f3a"})


def plans_of(own: Iterable[Profile] = (), **stream: Any) -> Plans:
    return build_plans(config(**stream), {("m", "predictions"): BASE}, {"t": 1}, 1, list(own))


def block_of(plans: Plans, data: dict[str, Any], times: np.ndarray, versions: list[str]) -> Block:
    projection, n = plans.topics["t"].projection, len(times)
    fields = {"v": versions, "c": list(data["c"]), "i": [str(k) for k in range(n)]}
    texts = [[str(text).encode() for text in fields[path]] for path in projection.strings]
    lengths = np.array([[len(text) for text in row] for row in texts], np.int32)
    return Block(
        n=n,
        time_ms=times,
        numeric=np.array([data[path] for path in projection.numeric]),
        numeric_status=np.full((len(projection.numeric), n), PRESENT, np.uint8),
        text=np.frombuffer(b"".join(b"".join(row) for row in texts) + bytes(16), np.uint8),
        text_start=np.concatenate([[0], np.cumsum(lengths.ravel())[:-1]]).reshape(lengths.shape).astype(np.int64),
        text_length=lengths,
        text_hash=np.array([[hash_bytes(t) for t in row] for row in texts], np.uint64),
        text_status=np.full(lengths.shape, PRESENT, np.uint8),
    )


def parts_of(plans: Plans, first: int, last: int, *, seed: int = 5, both: bool = True) -> list[SummaryPart]:
    """Parts of panes [first, last): version 1 of what the base knows, from `SWITCH` on also version 2 of its own."""
    machine = Summariser(plans.topics["t"], 0, base=0, position=2 * ROWS * first)
    parts: list[SummaryPart] = []
    for tick in range(first, last):
        new = tick >= SWITCH
        old_rows, new_rows = rows(seed + 7 * tick, ROWS, 0.0), rows(seed + 7 * tick + 3, ROWS, 2.0)
        data = {k: np.concatenate([old_rows[k], new_rows[k]] if new else [old_rows[k]]) for k in old_rows}
        n = len(data["x"])
        versions = ["1"] * ROWS + ["2"] * (n - ROWS)
        times = tick * PANE + np.arange(n, dtype=np.int64) * 20
        offsets = np.arange(n, dtype=np.int64) + 2 * ROWS * tick
        block = block_of(plans, data, times, versions)
        parts += [part for _, part in machine.feed(block, offsets, times, np.ones(n, bool)).parts]
    return [decode_part(encode_part(part)) for part in parts]


def judged(judge: Judge, parts: Iterable[SummaryPart]) -> list[Decided]:
    return [event for part in parts for event in judge.apply(judge.position, part)]


def drifts(decided: Iterable[Decided], version: str) -> list[DriftEvent]:
    return [e for e in decided if isinstance(e, DriftEvent) and e.version == version]


@pytest.fixture(scope="module")
def with_own() -> list[SummaryPart]:
    return parts_of(plans_of([OWN]), 0, END)


@pytest.fixture(scope="module")
def without() -> list[SummaryPart]:
    return parts_of(plans_of(), 0, END)


def test_a_profile_of_a_version_changes_no_fingerprint() -> None:
    one, two = plans_of(), plans_of([OWN])
    assert one.topics["t"].epoch == two.topics["t"].epoch
    assert one.monitors["m"].state_key == two.monitors["m"].state_key
    assert one.monitors["m"].fingerprint == two.monitors["m"].fingerprint
    assert two.topics["t"].projection.numeric == ("x", "z")
    assert OWN.profile_id != profile_of(2, 2.0, "3", z=True).profile_id


def test_without_it_the_new_version_is_a_storm_and_with_it_there_is_none(
    with_own: list[SummaryPart], without: list[SummaryPart]
) -> None:
    storm = judged(Judge(plans_of(), 0), without)
    calm = judged(Judge(plans_of([OWN]), 0), with_own)
    assert {e.column for e in drifts(storm, "2")} >= {"x", "c"}
    assert drifts(calm, "2") == []
    assert [e for e in calm if isinstance(e, Incident | RetrainTrigger)] == []
    assert drifts(calm, "1") == drifts(storm, "1")


def test_the_new_version_is_compared_with_its_own_columns(with_own: list[SummaryPart]) -> None:
    plans = plans_of([profile_of(2, 0.5, "2", z=True, model={"mlflow_run": "7f3a"})])
    decided = judged(Judge(plans, 0), parts_of(plans, 0, END))
    moved = drifts(decided, "2")
    assert {"x", "z"} <= {e.column for e in moved}
    assert {e.profile_id for e in moved} == {plans.topics["t"].streams[0].of("2").profile.profile_id}
    trigger = next(e for e in decided if isinstance(e, RetrainTrigger))
    assert (trigger.version, trigger.profile_id, trigger.model) == ("2", moved[0].profile_id, {"mlflow_run": "7f3a"})


@pytest.mark.parametrize("at", [SWITCH // 2, SWITCH])
def test_workers_take_it_up_at_a_restart_and_state_goes_on(with_own: list[SummaryPart], at: int) -> None:
    expected = judged(Judge(plans_of([OWN]), 0), with_own)
    before, after = Judge(plans_of(), 0), Judge(plans_of([OWN]), 0)
    first = judged(before, with_own[:at])
    assert after.restore({"m": before.snapshot("m")}) == []
    second = judged(after, with_own[at:])
    assert [*first, *second] == expected
    (stream,) = after.monitors["m"].streams
    assert stream.counts.unfit == 0
    assert {g.version: j.mark for g, j in stream.groups.items()} == {"1": "", "2": OWN.profile_id[:16]}


def test_a_version_that_ran_before_ends_what_was_open_and_begins_anew(without: list[SummaryPart]) -> None:
    late = SWITCH + 150
    before, plans = Judge(plans_of(), 0), plans_of([OWN])
    first = judged(before, without[:late])
    assert {e.column for e in drifts(first, "2") if e.status == "opened"} >= {"x", "c"}
    after = Judge(plans, 0)
    assert after.restore({"m": before.snapshot("m")}) == []
    second = judged(after, parts_of(plans, late, END))
    closed = {e.episode_id for e in drifts([*first, *second], "2") if e.status == "closed"}
    assert {e.episode_id for e in drifts(first, "2")} == closed
    assert [e for e in drifts(second, "2") if e.status != "closed"] == []
    assert all("has a profile of its own now" in e.message for e in drifts(second, "2"))
    assert any(isinstance(e, Incident) and e.status == "closed" for e in second)


def test_counts_of_a_worker_that_does_not_know_it_are_passed_over_and_counted(without: list[SummaryPart]) -> None:
    judge = Judge(plans_of([OWN]), 0)
    decided = judged(judge, without[: SWITCH + 20])
    (stream,) = judge.monitors["m"].streams
    assert drifts(decided, "2") == []
    assert stream.counts.unfit == 20 * ROWS
    assert {g.version for g in stream.groups} == {"1"}


def test_outcomes_see_the_rows_of_every_version_in_the_cells_of_all(with_own: list[SummaryPart]) -> None:
    plans, seen = plans_of([OWN]), dict[str, list[tuple[int, int, int]]]()
    judge = Judge(plans, 0)
    (stream,) = judge.monitors["m"].streams

    def listen(tick: int, pane: Any) -> None:
        for group, content in pane.items():
            if not group.segment:
                cells = (content.rows, content.counts.size, int(content.counts.sum()))
                seen.setdefault(group.version, []).append(cells)

    stream.listener = listen
    judged(judge, with_own[: SWITCH + 20])
    total = plans.topics["t"].streams[0].layout.total
    assert seen["1"][-1] == (ROWS, total, 2 * ROWS)
    assert seen["2"][-1] == (ROWS, total, 0)


def test_a_profile_that_was_replaced_sets_the_state_aside(with_own: list[SummaryPart]) -> None:
    judge = Judge(plans_of([OWN]), 0)
    judged(judge, with_own[: SWITCH + 20])
    for other in ([], [profile_of(3, 2.0, "2")]):
        assert Judge(plans_of(other), 0).restore({"m": judge.snapshot("m")}) == ["m"]


def test_a_stream_without_a_version_can_not_have_one() -> None:
    with pytest.raises(ConfigError, match="no field says which records are of it"):
        plans_of([OWN], version="")
