"""Plans: which shard, which columns, and bounds that follow from the width of a profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.fingerprint import shard_of
from driftbus.stream.plan import MAX_PART_BYTES, build_plans


def profile(columns: int = 2, monitor: str = "m") -> Profile:
    x = np.arange(500.0)
    data: dict[str, Any] = {f"x{i}": NumericData(x) for i in range(columns)}
    data["score"] = NumericData(x / 500, role="score")
    data["c"] = CategoryData(np.array(["a", "b"] * 250, object))
    return build_profile(monitor, "predictions", data)


def config(stream: dict[str, Any] | None = None, **limits: Any) -> Config:
    source = {"topic": "t", "time": "ts", "score": "p.value", "version": "v", **(stream or {})}
    monitor = {"predictions": source, "segments": ["c"]}
    return Config.model_validate({"kafka": {"bootstrap": "none:1"}, "monitors": {"m": monitor}, "limits": limits})


def plan(c: Config, p: Profile | None = None, shards: int = 4) -> Any:
    return build_plans(c, {("m", "predictions"): p or profile()}, {"t": 3}, shards)


def test_roles_and_renames_say_where_columns_stand() -> None:
    topic = plan(config({"rename": {"customer.x": "x1"}})).topics["t"]
    assert topic.projection.numeric == ("x0", "customer.x", "p.value")
    assert topic.projection.strings == ("c", "v")
    assert (topic.projection.time, topic.partitions) == ("ts", 3)


def test_a_wide_profile_cuts_ranges_before_parts_grow_too_large() -> None:
    narrow = plan(config()).topics["t"]
    wide = plan(config(), profile(480)).topics["t"]
    assert narrow.range_entries == config().limits.range_entries
    assert wide.range_entries * wide.streams[0].layout.total * 4 <= MAX_PART_BYTES
    assert 1 <= wide.range_entries < narrow.range_entries


def test_the_shard_of_a_monitor_is_the_same_everywhere() -> None:
    assert [shard_of(name, 4) for name in ("credit", "fraud", "car_loan")] == [1, 1, 1]
    assert {shard_of(f"m{i}", 4) for i in range(50)} == {0, 1, 2, 3}


def test_what_verdicts_depend_on_changes_their_identity_and_nothing_else_does() -> None:
    def identity(c: Config, p: Profile | None = None, shards: int = 4) -> tuple[str, str, str]:
        plans = plan(c, p, shards)
        return plans.monitors["m"].fingerprint, plans.monitors["m"].state_key, plans.topics["t"].epoch

    base = identity(config())
    assert identity(config()) == base
    for changed in (
        identity(config(pane="20s")),
        identity(config(), profile(3)),
        identity(config({"where": {"k": "1"}})),
    ):
        assert all(a != b for a, b in zip(base, changed, strict=True))
    for spread in (identity(config(range_records=7)), identity(config(), shards=2)):
        assert spread[0] == base[0]
        assert spread[1:] != base[1:]


def test_a_missing_profile_is_named_with_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"monitors\.m\.predictions: there is no profile.*driftbus profile"):
        build_plans(config(), {}, {"t": 1})
