"""Columns of a profile that a topic lacks are told, and none that only its maps could hold."""

from __future__ import annotations

import json

import numpy as np

from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.schemas.fields import FieldType, field_types
from driftbus.schemas.streamconfig import StreamConfig
from driftbus.schemas.textparts import derived_names
from driftbus.stream.worker.lacking import lacking

PROFILE = build_profile(
    "m",
    "predictions",
    {
        "age": NumericData(np.arange(9.0)),
        "income": NumericData(np.arange(9.0)),
        "shop": CategoryData(["a"] * 9),
        "p": NumericData(np.arange(9.0), role="score"),
    },
)
STREAM = StreamConfig(topic="t", score="model.p", rename={"customer.income": "income"})


def schema(*fields: dict[str, object]) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": list(fields)})


def record(name: str, *fields: str) -> dict[str, object]:
    inner = [{"name": field, "type": "double"} for field in fields]
    return {"name": name, "type": {"type": "record", "name": name.title(), "fields": inner}}


AGE = {"name": "age", "type": "int"}


def test_what_is_renamed_or_mapped_is_looked_for_where_it_stands() -> None:
    whole = schema(AGE, {"name": "shop", "type": "string"}, record("customer", "income"), record("model", "p"))
    assert lacking(PROFILE, STREAM, field_types(whole)) == []
    assert lacking(PROFILE, STREAM, field_types(schema(AGE))) == ["customer.income", "shop", "model.p"]


def test_keys_of_maps_stand_in_no_schema() -> None:
    with_map = schema(AGE, {"name": "features", "type": {"type": "map", "values": "double"}})
    assert lacking(PROFILE, STREAM, field_types(with_map)) == []


def test_columns_of_free_text_are_its_field() -> None:
    names = derived_names("review")
    columns = {name: NumericData(np.arange(100.0)) for name in names[:-1]} | {names[-1]: CategoryData(["good"] * 100)}
    profile = build_profile("m", "predictions", columns)
    stream = StreamConfig(topic="t", rename={"body.review": "review"})
    assert lacking(profile, stream, {"body.review": FieldType("text", "string")}) == []
    assert lacking(profile, stream, {"x": FieldType("numeric", "double")}) == ["body.review"]
