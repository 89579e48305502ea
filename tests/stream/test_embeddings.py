"""Embeddings: recognised, profiled, replayed, learned and counted as the columns derived from them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from driftbus.detectors.reference import NumericData, build_profile
from driftbus.detectors.schema import readable
from driftbus.detectors.summary import unpack_counts
from driftbus.schemas.columns import INVALID, NULL, PRESENT, Projection
from driftbus.schemas.config import Config
from driftbus.schemas.decode.batch import Decoder
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.fields import FieldType, field_types
from driftbus.schemas.vectorparts import derived_names
from driftbus.stream.cli.main import group
from driftbus.stream.files.rows import block_of
from driftbus.stream.files.survey import Wishes, survey
from driftbus.stream.files.vectors import vector_cells, vector_data
from driftbus.stream.learn import Learner
from driftbus.stream.plan import build_plans
from driftbus.stream.replay.filereplay import prepare
from driftbus.stream.replay.replay import Replay
from driftbus.stream.setup.proposal import columns_of, propose
from driftbus.stream.summarise import Summariser
from driftbus.stream.worker.lacking import lacking
from driftbus.stream.worker.learning import learn_plan

from .test_incidents import Feed, event

VECTOR = {"type": "array", "items": "float"}
INNER = {"type": "record", "name": "I", "fields": [{"name": "emb", "type": ["null", VECTOR]}]}
SCHEMA = {
    "type": "record",
    "name": "E",
    "fields": [{"name": "x", "type": "double"}, {"name": "in", "type": INNER}],
}
DIMENSION, CHANGE = 32, 4_000
Vectors = NDArray[np.float32]


def clusters(
    seed: int, rows: int, shares: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1), dimension: int = DIMENSION
) -> Vectors:
    """Rows of a mixture: the clusters are the same whatever the seed."""
    centres = np.random.default_rng(77).standard_normal((len(shares), dimension))
    rng = np.random.default_rng(seed)
    of = rng.choice(len(shares), rows, p=shares)
    return (centres[of] + 0.7 * rng.standard_normal((rows, dimension))).astype(np.float32)


def written(path: Path, vectors: Any, seed: int) -> Path:
    pq.write_table(
        pa.table({"amount": np.random.default_rng(seed).standard_normal(len(vectors)), "emb": vectors}), path
    )
    return path


def lists(vectors: Vectors) -> Any:
    return pa.array(vectors.tolist(), pa.list_(pa.float32()))


def replayed(tmp_path: Path, later: Any) -> list[DriftEvent]:
    reference = written(tmp_path / "reference.parquet", lists(clusters(1, 6_000)), 1)
    data = written(tmp_path / "data.parquet", pa.concat_arrays([lists(clusters(2, CHANGE)), later]), 2)
    told: list[DriftEvent] = []
    replay = prepare(data, reference, Wishes(), every_ms=1_000)
    assert [c.name for c in replay.profile.columns] == ["amount", *derived_names("emb")]
    assert not replay.left_out
    replay.run(lambda event: told.append(event) if isinstance(event, DriftEvent) else None, lambda _: None)
    return [event for event in told if event.status == "opened"]


def test_clusters_that_shift_are_found_soon_and_only_then(tmp_path: Path) -> None:
    told = replayed(tmp_path, lists(clusters(3, 3_000, (0.1, 0.2, 0.3, 0.4))))
    assert told
    assert {event.column.split("[")[0] for event in told} <= {"emb", ""}
    first = min(event.window_end_ms for event in told)
    start = 946_684_800_000 + CHANGE * 1_000
    assert start < first <= start + 600_000


def test_without_a_shift_nothing_is_told(tmp_path: Path) -> None:
    assert replayed(tmp_path, lists(clusters(4, 6_000))) == []


def test_a_change_of_dimension_is_told_by_the_length(tmp_path: Path) -> None:
    told = replayed(tmp_path, lists(clusters(5, 2_000, dimension=48)))
    assert "emb[length]" in {event.column for event in told}


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 3), pa.list_(pa.float16())],
    ids=str,
)
def test_lists_of_arrow_are_read_alike_whatever_their_type(kind: Any) -> None:
    rows: list[Any] = [[9.0, 9.0, 9.0], [1.0, -2.0, 0.5], None, [1.0, None, 2.0], [0.0, 0.0, 0.0]]
    of = np.float16 if kind.value_type == pa.float16() else float
    array = pa.array([row and [None if v is None else of(v) for v in row] for row in rows], kind).slice(1)
    values, status = vector_cells(array)
    assert status[0].tolist() == [PRESENT, NULL, INVALID, PRESENT]
    plain, plain_status = vector_cells(pa.array(rows[1:], pa.list_(pa.float64())))
    assert values.tobytes() == plain.tobytes()
    assert np.array_equal(status, plain_status)


def test_what_is_no_embedding_is_left_out_with_the_reason() -> None:
    rng = np.random.default_rng(6)
    ragged = [rng.random(int(rng.integers(1, 9))).tolist() for _ in range(100)]
    table = pa.table(
        {
            "amount": rng.random(100),
            "ragged": ragged,
            "one": [[float(v)] for v in rng.random(100)],
            "nothing": pa.array([None] * 100, pa.list_(pa.float32())),
            "words": [["a"]] * 100,
            "emb": lists(clusters(7, 100)),
            "other": lists(clusters(8, 100)),
        }
    )
    found = survey(table, Wishes(ignore=("other",)), where="t")
    assert list(found.data) == ["amount", *derived_names("emb")]
    assert dict(found.left_out) == {
        "ragged": "lists of different lengths, or of one number",
        "one": "lists of different lengths, or of one number",
        "nothing": "empty",
        "words": f"type {table.schema.field('words').type}",
        "other": "ignored",
    }


def test_a_file_that_lacks_the_embedding_has_nulls_and_one_of_texts_has_invalid_cells() -> None:
    projection = Projection(("x", *derived_names("emb")), (), "")
    times = np.zeros(2, np.int64)
    assert (block_of(pa.table({"x": [1.0, 2.0]}), projection, times).numeric_status[1:] == NULL).all()
    block = block_of(pa.table({"x": [1.0, 2.0], "emb": ["a", None]}), projection, times)
    assert (block.numeric_status[1:] == [INVALID, NULL]).all()


def profile_of(vectors: Any, name: str = "emb") -> Any:
    data = {"x": NumericData(np.arange(9.0)), **vector_data(name, zip(*vector_cells(vectors), strict=True))}
    return build_profile("m", "predictions", data)  # type: ignore[arg-type]


def config_of(**stream: Any) -> Config:
    settings = {"topic": "t", **stream}
    return Config.model_validate(
        {"kafka": {"bootstrap": "k:1"}, "monitors": {"m": {"predictions": settings, "pane": "1m"}}}
    )


def bodies(vectors: list[Any]) -> list[bytes]:
    found = []
    schema = fastavro.parse_schema(SCHEMA)
    for vector in vectors:
        with io.BytesIO() as out:
            fastavro.schemaless_writer(out, schema, {"x": 1.0, "in": {"emb": vector}})
            found.append(out.getvalue())
    return found


def test_a_live_record_is_counted_as_the_row_of_a_file_is() -> None:
    vectors = [*clusters(9, 300).tolist(), None, [], [1.0, float("nan")]]
    profile = profile_of(pa.array(vectors, pa.list_(pa.float32())))
    config = config_of(rename={"in.emb": "emb"})
    plan = build_plans(config, {("m", "predictions"): profile}, {"t": 1}).topics["t"]
    assert plan.projection.numeric == ("x", *derived_names("in.emb"))
    assert plan.streams[0].watched == {"x": "numeric", "in.emb": "vector"}
    block = Decoder(SCHEMA, plan.projection).decode(bodies(vectors)).block  # type: ignore[arg-type]
    summariser = Summariser(plan, 0, base=0, position=0)
    stamps = np.full(len(vectors), 1_000, np.int64)
    assert not summariser.feed(block, np.arange(len(vectors)), stamps, np.ones(len(vectors), np.bool_)).rejected
    entry = summariser.finish()[plan.streams[0].shard][1].entries[0]
    layout, counts = profile.layout(), unpack_counts(entry.counts, entry.width, profile.layout().total)
    first = layout.offsets[1]
    assert counts[first:].tolist() == profile.reference_counts()[first:].tolist()


def test_learned_from_a_topic_and_watched_on_it() -> None:
    config = config_of(rename={"in.emb": "emb"})
    plan = learn_plan(config, "m", "predictions", field_types(SCHEMA))
    assert plan.vectors == {"in.emb": "emb"}
    vectors = [*clusters(10, 6_000).tolist(), *clusters(11, 2_000, (0.1, 0.2, 0.3, 0.4)).tolist()]
    values = bodies(vectors)
    times = np.arange(len(values), dtype=np.int64) * 1_000
    good = np.ones(len(values), np.bool_)
    block = Decoder(SCHEMA, plan.projection).decode(values[:4_000]).block  # type: ignore[arg-type]
    block.time_ms = times[:4_000]
    learner = Learner(plan, 1)
    learner.feed(0, block, np.arange(4_000), good[:4_000])
    learner.complete()
    profile = learner.profile()
    assert [column.name for column in profile.columns if column.name != "x"] == list(derived_names("emb"))
    plans = build_plans(config, {("m", "predictions"): profile}, {"t": 1})
    told: list[DriftEvent] = []
    replay = Replay(plans, lambda event: told.append(event) if isinstance(event, DriftEvent) else None)
    for at in range(0, len(values), 500):
        rows = slice(at, at + 500)
        part = Decoder(SCHEMA, plans.topics["t"].projection).decode(values[rows]).block
        replay.feed("t", 0, part, np.arange(at, at + part.n), times[rows], good[rows])
    replay.finish()
    opened = [event for event in told if event.status == "opened" and event.column.startswith("emb[")]
    assert opened
    assert all(event.window_end_ms > 6_000_000 for event in opened)


def test_fields_of_vectors_that_are_ignored_or_alone() -> None:
    only = {"emb": FieldType("vector", "array")}
    assert learn_plan(config_of(), "m", "predictions", only).projection.numeric == derived_names("emb")
    with pytest.raises(ConfigError):
        learn_plan(config_of(ignore=["emb"]), "m", "predictions", only)


def test_a_schema_without_the_field_lacks_it_once() -> None:
    profile, stream = profile_of(lists(clusters(12, 50))), config_of().monitors["m"].predictions
    assert stream is not None
    assert lacking(profile, stream, {"x": FieldType("numeric", "double")}) == ["emb"]
    assert lacking(profile, stream, field_types(SCHEMA) | {"emb": FieldType("vector", "array")}) == []


def test_a_field_that_is_an_array_no_more_can_not_be_read() -> None:
    assert readable("array?", "vector")
    assert not readable("string", "vector")


def test_a_schema_change_of_the_field_names_its_columns() -> None:
    profile = profile_of(lists(clusters(15, 50)))
    plan = build_plans(config_of(rename={"in.emb": "emb"}), {("m", "predictions"): profile}, {"t": 1}).monitors["m"]
    said = "the stream: records with another schema have come: removed in.emb; severe"
    change = replace(event("", 100, what="schema", aspect="schema"), message=said)
    told = Feed(plan).seal("predictions", 1_000, [change, event("emb[length]", 101)])
    hint = next(hint for hint in told[-1].hints if hint.kind == "schema_change")
    assert hint.columns == derived_names("emb")


def test_init_proposes_embeddings_and_leaves_out_ragged_lists() -> None:
    types = {
        "emb": FieldType("vector", "array"),
        "ragged": FieldType("vector", "array"),
        "x": FieldType("numeric", "double"),
    }
    records = [{"emb": [1.0, 2.0], "ragged": [0.5] * (i % 5), "x": float(i)} for i in range(50)]
    found = propose(columns_of(types, records))
    assert found.embeddings == ["emb"]
    assert [choice.field for choice in found.ignore] == ["ragged"]


def test_replay_says_which_columns_are_embeddings(tmp_path: Path) -> None:
    reference = written(tmp_path / "reference.parquet", lists(clusters(13, 2_000)), 1)
    data = written(tmp_path / "data.parquet", lists(clusters(14, 2_000)), 2)
    ran = CliRunner().invoke(group, ["replay", str(data), "--reference", str(reference)])
    assert ran.exit_code == 0, ran.output
    assert "embedding emb: by length, norm and 8 projections each" in ran.output
