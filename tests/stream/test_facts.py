"""One segment of twenty: found, named, and shown by leaving it out; through both stages as the worker runs them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from driftbus.detectors.parts import with_parts
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.settings import Settings
from driftbus.schemas.columns import PRESENT, Block
from driftbus.schemas.config import Config
from driftbus.schemas.events import DriftEvent, Incident
from driftbus.schemas.hashing import hash_bytes
from driftbus.stream.driver import Driver
from driftbus.stream.facts import RecentRows
from driftbus.stream.judge import Decided
from driftbus.stream.plan import Plans, build_plans

SHOPS = [f"s{i:02}" for i in range(20)]
STRUCK = "shop=s07"
BEFORE, AFTER, STEP = 40_000, 60_000, 2_000


def sample(rng: np.random.Generator, rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Amounts, which every shop has at a level of its own, and shops."""
    shop = rng.integers(0, 20, rows)
    return rng.normal(100, 20, rows) * (1 + shop / 40), shop


def plans_of(profile: Profile) -> Plans:
    stream = {"topic": "t", "time": "ts"}
    monitor = {"predictions": stream, "segments": ["shop"], "pane": "10s", "detection": {"events_per_second": 50}}
    config = Config.model_validate({"kafka": {"bootstrap": "none:1"}, "monitors": {"m": monitor}})
    return build_plans(config, {("m", "predictions"): profile}, {"t": 1})


def profile_of(seed: int, rows: int = 60_000) -> Profile:
    amount, shop = sample(np.random.default_rng(seed), rows)
    names = np.array(SHOPS, object)[shop]
    columns: dict[str, NumericData | CategoryData] = {"amount": NumericData(amount), "shop": CategoryData(names)}
    return with_parts(build_profile("m", "predictions", columns), columns, {"shop": list(names)})


def block_of(plans: Plans, amount: NDArray[np.float64], shop: NDArray[np.int64], start: int) -> Block:
    strings = plans.topics["t"].projection.strings
    assert set(strings) == {"shop"}
    n = amount.size
    texts = [SHOPS[i].encode() for i in shop]
    return Block(
        n=n,
        time_ms=(start + np.arange(n, dtype=np.int64)) * 20,
        numeric=amount[None, :].copy(),
        numeric_status=np.full((1, n), PRESENT, np.uint8),
        text=np.frombuffer(b"".join(texts) + bytes(16), np.uint8),
        text_start=(np.arange(n, dtype=np.int64) * 3)[None, :],
        text_length=np.full((1, n), 3, np.int32),
        text_hash=np.array([[hash_bytes(t) for t in texts]], np.uint64),
        text_status=np.full((1, n), PRESENT, np.uint8),
    )


def run(seed: int, factor: float, struck: set[int]) -> list[Decided]:
    """50 records a second; at row 40,000 the amounts of some shops change by a factor."""
    plans = plans_of(profile_of(seed))
    driver, rng = Driver(plans), np.random.default_rng(seed + 1_000)
    decided: list[Decided] = []
    for start in range(0, BEFORE + AFTER, STEP):
        amount, shop = sample(rng, STEP)
        if start >= BEFORE:
            amount[np.isin(shop, list(struck))] *= factor
        offsets = np.arange(start, start + STEP)
        block = block_of(plans, amount, shop, start)
        decided += driver.feed("t", 0, block, offsets, np.full(STEP, -1), np.ones(STEP, np.bool_)).decided
    return [*decided, *driver.finish()]


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_per_cent_in_one_of_twenty_segments_is_found_and_named_within_three_windows(seed: int) -> None:
    decided = run(seed, 1.1, {7})
    drifts = [e for e in decided if isinstance(e, DriftEvent) and e.aspect == "distribution"]
    first = min((e for e in drifts if e.status == "opened"), key=lambda e: e.window_end_ms)
    assert (first.segment, first.column, first.what, first.direction) == (STRUCK, "amount", "shift", "up")
    rows_of_segment = (first.window_end_ms / 20 - BEFORE) / 20
    assert 0 < rows_of_segment < 3_000
    incidents = [i for i in decided if isinstance(i, Incident)]
    assert len({i.incident_id for i in incidents}) == 1
    assert incidents[0].segment == STRUCK
    (hint,) = [h for h in incidents[-1].hints if h.kind == "one_segment"]
    assert STRUCK in hint.text
    assert hint.columns == ("amount",)


def test_a_segment_that_moves_the_whole_is_shown_by_leaving_it_out() -> None:
    decided = run(3, 3.0, {7})
    drifts = [e for e in decided if isinstance(e, DriftEvent)]
    assert {e.segment for e in drifts if e.column == "amount"} >= {"", STRUCK}
    last = [i for i in decided if isinstance(i, Incident)][-1]
    (hint,) = [h for h in last.hints if h.kind == "one_segment"]
    assert hint.text.startswith(f"Only {STRUCK}: without it the change disappears")
    assert hint.before is not None
    assert hint.after is not None
    assert hint.before > 0.02
    assert hint.after < 0.25 * hint.before


def test_no_segment_is_blamed_for_what_all_have() -> None:
    decided = run(4, 1.2, set(range(20)))
    incidents = [i for i in decided if isinstance(i, Incident)]
    assert len({i.incident_id for i in incidents}) == 1
    assert all(h.kind != "one_segment" for i in incidents for h in i.hints)


def test_recent_rows_are_exact_and_survive_a_restart() -> None:
    profile, settings = profile_of(5, 10_000), Settings(pane_ms=10_000)
    recent, rng = RecentRows(profile, settings), np.random.default_rng(0)
    layout, panes = profile.layout(), []
    for tick in range(60):
        counts = {s: rng.integers(0, 5, layout.total) for s in ("", "shop=s01")}
        panes.append(counts)
        full = recent.add(tick, 200, counts)
        assert full == (tick % 4 == 3)  # an eighth of 5,000 rows
        if tick == 31:
            saved, recent = recent.state(), RecentRows(profile, settings)
            recent.restore(saved)
            assert recent.state() == saved
    for name in ("", "shop=s01"):
        expected = recent.folded(np.sum([p[name] for p in panes[40:]], axis=0))
        assert recent.since(38)[name].tolist() == expected.tolist()
        newest = recent.folded(np.sum([p[name] for p in panes[56:]], axis=0))
        assert recent.since(10_000)[name].tolist() == newest.tolist()
