"""One full value of every record of the bus, and hypothesis strategies for those that vary."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from driftbus.schemas.events import (
    ComparisonEvent,
    DriftEvent,
    Entry,
    Finding,
    Group,
    Hint,
    Histogram,
    Incident,
    ManualRetrain,
    Member,
    MonitorState,
    OffsetRange,
    Registration,
    RetrainTrigger,
    Source,
    SummaryPart,
)
from driftbus.schemas.fields import WriterFields
from driftbus.schemas.outcomeevents import MetricValue, Outcome, PerformanceReport

RANGES = (OffsetRange("predictions", 0, 24_000, 25_098), OffsetRange("predictions", 3, 0, 17))

DRIFT = DriftEvent(
    id="7f3a0c55d0e14a6b",
    episode_id="1122334455667788",
    monitor="credit",
    stream="predictions",
    version="12",
    segment="country=PT",
    column="car_value",
    detector="psi_1000",
    status="opened",
    severity="moderate",
    aspect="distribution",
    what="shift",
    direction="up",
    statistic=61.25,
    threshold=42.5,
    p_value=1e-7,
    effect=0.61,
    reference_value=-0.5,
    current_value=1.25,
    window_start_ms=1_760_607_000_000,
    window_end_ms=1_760_607_600_123,
    since_ms=1_760_606_400_000,
    since_low_ms=1_760_606_390_000,
    since_high_ms=1_760_606_410_000,
    opened_ms=1_760_607_600_000,
    count=1_000,
    reference_count=50_000,
    ranges=RANGES,
    profile_id="0123456789abcdef0123456789abcdef",
    fingerprint="89ab",
    message="car_value shifted up in São Paulo",
    nature="drift",
    category="PT",
    histogram=Histogram((1.5, 2.5), (), (10, 20, 30), (1, 2, 3)),
    curve=(0.01, 0.5),
    distances={"psi": 0.5, "ks": 0.25},
    outcome=Outcome(
        metric="precision",
        value=0.81,
        low=0.78,
        high=0.84,
        reference_low=0.89,
        reference_high=0.91,
        limit=0.85,
        labels=1_000,
        coverage=0.75,
        lag_ms=86_400_000,
        cohort_start_ms=1_760_572_800_000,
        cohort_end_ms=1_760_659_200_000,
        moved=("P(X)", "P(Ŷ)"),
        estimated=True,
    ),
)

REPORT = PerformanceReport(
    id="cc00",
    monitor="credit",
    version="12",
    segment="country=PT",
    stage="first",
    decided_ms=1_760_745_600_000,
    cohort_start_ms=1_760_572_800_000,
    cohort_end_ms=1_760_659_200_000,
    predictions=2_000,
    labels=1_500,
    coverage=0.75,
    lag_ms=86_400_000,
    corrected=3,
    duplicates=5,
    metrics=(
        MetricValue("precision", 0.81, 0.78, 0.84, 0.9, 0.89, 0.91, 0.8, 0.75, 0.85),
        MetricValue("auc", None, None, None),
    ),
    reference_labels=50_000,
    worst_segment="country=ES",
    moved=("P(X)", "P(Y|Ŷ)"),
    profile_id="0123456789abcdef0123456789abcdef",
    fingerprint="89ab",
    message="credit v12: precision 0.81 (0.78 to 0.84) from 0.90",
)

INCIDENT = Incident(
    id="bb00",
    incident_id="5566",
    monitor="credit",
    status="updated",
    severity="severe",
    version="12",
    segment="",
    decided_ms=1_760_607_900_000,
    opened_ms=1_760_607_600_000,
    since_ms=1_760_606_400_000,
    since_low_ms=1_760_606_390_000,
    since_high_ms=1_760_606_410_000,
    columns=2,
    watched=25,
    open=1,
    members=(
        Member(
            episode_id="1122334455667788",
            stream="predictions",
            version="12",
            segment="country=PT",
            column="car_value",
            aspect="distribution",
            status="closed",
            severity="severe",
            what="shift",
            direction="up",
            category="PT",
            nature="drift",
            effect=0.61,
            reference_value=-0.5,
            current_value=1.25,
            since_ms=1_760_606_400_000,
            since_low_ms=1_760_606_390_000,
            since_high_ms=1_760_606_410_000,
            opened_ms=1_760_607_600_000,
            closed_ms=1_760_607_800_000,
            message="car_value shifted up in São Paulo",
            histogram=Histogram((), ("PT", "ES"), (10, 20), (1, 2)),
            curve=(0.01, 0.5),
        ),
    ),
    left_out=1,
    hints=(Hint("one_segment", "the change disappears without country=PT", ("car_value",), 0.5, 0.01),),
    ranges=RANGES,
    profile_id="0123456789abcdef0123456789abcdef",
    fingerprint="89ab",
    message="credit v12: 2 of 25 columns have drifted",
)

RETRAIN = RetrainTrigger(
    id="aa00",
    monitor="credit",
    version="12",
    policy="drift",
    reason="3 of 25 columns drifted",
    severity="severe",
    decided_ms=1_760_609_400_000,
    columns=("car_value", "loan_length"),
    episode_ids=("1122334455667788", "99"),
    train_from_ms=1_760_606_400_000,
    dry_run=True,
    ranges=RANGES,
    profile_id="0123456789abcdef0123456789abcdef",
    fingerprint="89ab",
    requested_by="ana",
    incident_ids=("5566",),
    train_to_ms=1_760_609_400_000,
    deadline_ms=1_761_214_200_000,
    rules=(
        Finding("drift", True, 3.0, 3.0, "3 of 25 columns drifted"),
        Finding("schedule", False, None, None, "Scheduled retrain (0 2 * * SUN)"),
    ),
    model={"mlflow_run": "7f3a", "dvc": "v12"},
)

COMPARISON = ComparisonEvent(
    id="cc00",
    comparison_id="7788",
    monitor="credit",
    champion="12",
    challenger="13",
    metric="accuracy",
    status="worse",
    resolves="",
    decided_ms=1_760_609_400_000,
    since_ms=1_760_606_400_000,
    champion_value=0.875,
    challenger_value=0.75,
    difference=-0.125,
    low=-0.2,
    high=-0.05,
    margin=0.01,
    alpha=0.05,
    method="bounded",
    champion_labels=900,
    challenger_labels=100,
    share=0.1,
    share_value=0.1,
    ranges=RANGES,
    profile_id="0123456789abcdef0123456789abcdef",
    fingerprint="89ab",
    message="13 is worse than 12",
)

ENTRY = Entry(
    group=Group("credit", "predictions", "12", "country=PT"),
    tick=176_060_700,
    rows=300,
    from_offset=24_000,
    to_offset=25_098,
    counts=bytes(range(64)),
    width=2,
    unseen=(("branch", "Évora", 3), ("branch", "Faro", 1)),
    sample=bytes(range(12)),
    ids=bytes(range(24)),
    delays=b"\x20\x05\x00\x00\x00",
    writers=bytes(range(100, 112)),
    cohort=20_378,
    cells=bytes(range(128)),
    profile="0123456789abcdef",
)
WRITER = WriterFields(0xFEDC_BA98_7654_3210, (("income", "double?"), ("time", "timestamp-millis")))
PART = SummaryPart("final", Source("predictions", 3, "0a1b2c3d"), 10, 24_000, 25_098, 176_060_700, (ENTRY,), (WRITER,))
REGISTRATION = Registration("predictions", "89abcdef01234567", 6, {"credit": "0123", "fraud": "4567"})
MANUAL = ManualRetrain("credit", "new pricing", "ana", 1_760_609_400_123, "trigger", True)
STATE = MonitorState("credit", 1_234_567, b"\x00state\xff")

PROFILE: dict[str, Any] = {
    "profile_id": "0123456789abcdef0123456789abcdef",
    "monitor": "credit",
    "stream": "predictions",
    "rows": 7,
    "source": "train.parquet",
    "created_ms": 1_760_000_000_000,
    "learned_until_ms": 1_760_086_400_000,
    "columns": [
        {
            "name": "income",
            "kind": "numeric",
            "role": "feature",
            "edges": [0.1, 2.5],
            "low": -3.0,
            "high": 9.75,
            "categories": [],
            "counts": [0, 1, 2, 3, 0],
            "nulls": 1,
            "invalid": 0,
            "longrun": [{"score": "psi", "lengths": [32.0, 64.0], "variances": [1.5, 2.0], "freedom": [9.0, 7.5]}],
            "distinct": {
                "values": 1_000,
                "expected": 412.5,
                "variance": 60.25,
                "least": 300.0,
                "greatest": 420.0,
                "top": 0.125,
                "run": 9,
            },
        },
        {
            "name": "country",
            "kind": "categorical",
            "role": "feature",
            "edges": [],
            "low": 0.0,
            "high": 0.0,
            "categories": ["PT", "ES"],
            "counts": [4, 2, 0],
            "nulls": 1,
            "invalid": 0,
            "longrun": [],
            "distinct": None,
        },
    ],
    "parts": [{"segment": "country=PT", "rows": 4, "counts": [0, 1, 2, 0, 0, 1, 0, 4, 0, 0, 0, 0]}],
    "sample": {"columns": ["income", "country"], "cells": "AQAAAAMAAQA="},
    "season": {
        "time_zone": "Europe/Lisbon",
        "days": 7,
        "reason": "found in 7 days",
        "columns": [
            {
                "column": "income",
                "kind": "hour_of_day",
                "weight": 16,
                "presence": "none",
                "presence_weight": 0,
                "cells": 7,
                "width": 1,
                "counts": "eNpjYGQAg8FOAQAIxAAZ",
                "longrun": [{"score": "loc", "lengths": [32.0], "variances": [1.5], "freedom": []}],
            }
        ],
    },
    "outcome": {"shape": "{}", "labels": 5, "cells": [3, 7], "counts": [2, 3]},
    "version": "13",
    "importance": {"income": 0.7},
    "model": {"mlflow_run": "7f3a"},
}

EVENTS: dict[str, dict[str, Any]] = {
    "PredictionEvent": {
        "monitor": "credit",
        "id": "r-1",
        "version": "12",
        "time": 1_760_607_000_123,
        "score": 0.25,
        "prediction": "reject",
        "numeric_features": {"income": 1200.5, "age": None},
        "categorical_features": {"country": "PT", "channel": None},
        "segments": {"country": "PT", "shop": None},
    },
    "FeatureEvent": {
        "monitor": "customers",
        "id": "c-1",
        "version": "3",
        "time": 1_760_607_000_123,
        "numeric_features": {"income": 1200.5, "age": None},
        "categorical_features": {"country": "PT", "channel": None},
        "segments": {"country": "PT", "shop": None},
    },
    "LabelEvent": {"monitor": "credit", "id": "r-1", "time": 1_760_693_400_123, "label": "paid"},
}
"""Records of the canonical input events, times as integers."""

_names = st.text(max_size=12)
_long = st.integers(-(2**63), 2**63 - 1)
_number = st.floats(allow_nan=False)
_ranges = st.lists(st.builds(OffsetRange, _names, st.integers(0, 2**31 - 1), _long, _long), max_size=3).map(tuple)

parts = st.builds(
    SummaryPart,
    st.sampled_from(["final", "preview", "clock"]),
    st.builds(Source, _names, st.integers(0, 2**31 - 1), _names),
    *[_long] * 4,
    st.lists(
        st.builds(
            Entry,
            st.builds(Group, _names, _names, _names, _names),
            *[_long] * 4,
            st.binary(max_size=40),
            st.sampled_from([1, 2, 4, 8]),
            st.lists(st.tuples(_names, _names, _long), max_size=2).map(tuple),
            *[st.binary(max_size=30)] * 4,
        ),
        max_size=3,
    ).map(tuple),
    st.lists(
        st.builds(WriterFields, st.integers(0, 2**64 - 1), st.lists(st.tuples(_names, _names), max_size=3).map(tuple)),
        max_size=2,
    ).map(tuple),
)
registrations = st.builds(Registration, _names, _names, st.integers(0, 10_000), st.dictionaries(_names, _names))
manuals = st.builds(ManualRetrain, _names, _names, _names, _long)
states = st.builds(MonitorState, _names, _long, st.binary(max_size=100))
_maybe = st.none() | _number
_texts = st.lists(_names, max_size=3).map(tuple)
_numbers = st.lists(_number, max_size=3).map(tuple)
_counts = st.lists(_long, max_size=3).map(tuple)
histograms = st.builds(Histogram, _numbers, _texts, _counts, _counts)
drifts = st.builds(
    DriftEvent, *[_names] * 13, _number, _number, _maybe, _number, _maybe, _maybe, *[_long] * 8, _ranges, *[_names] * 5,
    st.none() | histograms, _numbers, st.dictionaries(_names, _number, max_size=2),
)  # fmt: skip
retrains = st.builds(
    RetrainTrigger, *[_names] * 6, _long, _texts, _texts, _long, st.booleans(), _ranges, *[_names] * 3, _texts
)  # fmt: skip
comparisons = st.builds(
    ComparisonEvent, *[_names] * 8, *[_long] * 2, *[_maybe] * 5, *[_number] * 2, _names, *[_long] * 2, *[_maybe] * 2,
    _ranges, *[_names] * 3,
)  # fmt: skip
_members = st.builds(
    Member, *[_names] * 12, _number, _maybe, _maybe, *[_long] * 4, st.none() | _long, _names, st.none() | histograms,
    _numbers,
)  # fmt: skip
_hints = st.builds(Hint, _names, _names, _texts, _maybe, _maybe)
incidents = st.builds(
    Incident, *[_names] * 7, *[_long] * 8, st.lists(_members, max_size=2).map(tuple), _long,
    st.lists(_hints, max_size=2).map(tuple), _ranges, *[_names] * 3,
)  # fmt: skip
