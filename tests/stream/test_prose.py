"""Free text: recognised, profiled, replayed and learned as the columns derived from it."""

from __future__ import annotations

import io
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftbus.detectors.reference import NumericData, build_profile
from driftbus.detectors.summary import unpack_counts
from driftbus.schemas.columns import Projection
from driftbus.schemas.config import Config, LearnConfig
from driftbus.schemas.decode.batch import Decoder
from driftbus.schemas.events import DriftEvent
from driftbus.schemas.textparts import derived_names
from driftbus.stream.backtest.gather import from_file
from driftbus.stream.files.prose import reads_like_prose, text_data
from driftbus.stream.files.rows import block_of
from driftbus.stream.files.survey import Wishes
from driftbus.stream.learn import Learner, LearnPlan
from driftbus.stream.plan import build_plans
from driftbus.stream.replay.filereplay import prepare
from driftbus.stream.summarise import Summariser

SCHEMA = {
    "type": "record",
    "name": "E",
    "fields": [
        {"name": "x", "type": "double"},
        {
            "name": "body",
            "type": {"type": "record", "name": "B", "fields": [{"name": "review", "type": ["null", "string"]}]},
        },
    ],
}
VOCABULARY = [
    "the", "a", "of", "good", "bad", "phone", "battery", "screen", "is", "was", "very", "not", "my", "it", "works",
    "fine", "again", "after", "days", "money", "back",
]  # fmt: skip
CHANGE = 3_000


def reviews(rng: np.random.Generator, rows: int, vocabulary: list[str], least: int, most: int) -> list[str | None]:
    shares = 1 / np.arange(1, len(vocabulary) + 1)
    words = [
        rng.choice(vocabulary, int(rng.integers(least, most)), p=shares / shares.sum()).tolist() for _ in range(rows)
    ]
    return [" ".join(row) + "." for row in words]


def strings(texts: list[str | None]) -> pa.Array:
    return pa.array(texts, pa.string())


def written(path: Path, texts: list[str | None], seed: int) -> Path:
    noise = np.random.default_rng(seed).standard_normal(len(texts))
    pq.write_table(pa.table({"amount": noise, "review": strings(texts)}), path)
    return path


def replayed(tmp_path: Path, later: list[str | None], seed: int) -> list[DriftEvent]:
    rng = np.random.default_rng(seed)
    reference = written(tmp_path / "reference.parquet", reviews(rng, 5_000, VOCABULARY, 6, 20), 1)
    data = written(tmp_path / "data.parquet", [*reviews(rng, CHANGE, VOCABULARY, 6, 20), *later], 2)
    told: list[DriftEvent] = []
    replay = prepare(data, reference, Wishes(), every_ms=1_000)
    assert [c.name for c in replay.profile.columns] == ["amount", *derived_names("review")]
    assert not replay.left_out
    replay.run(lambda event: told.append(event) if isinstance(event, DriftEvent) else None, lambda _: None)
    return [event for event in told if event.status == "opened" and event.aspect in ("distribution", "quality")]


def test_longer_texts_and_new_words_are_found_and_the_rest_is_quiet(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    longer = replayed(tmp_path, reviews(rng, 3_000, VOCABULARY, 9, 26), 6)
    assert {"review.length", "review.words"} <= {event.column for event in longer}
    assert "review.word" not in {event.column for event in longer}
    other = [f"{word}en" for word in VOCABULARY[:8]] + VOCABULARY[8:]
    renamed = replayed(tmp_path, reviews(rng, 3_000, other, 6, 20), 7)
    assert "review.word" in {event.column for event in renamed}
    assert "review.words" not in {event.column for event in renamed}


def test_another_script_moves_its_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    greek = ["το", "ένα", "καλό", "κακό", "τηλέφωνο", "οθόνη", "είναι", "ήταν"]
    told = replayed(tmp_path, reviews(rng, 2_000, [*VOCABULARY[:12], *greek], 6, 20), 9)
    assert "review.non_ascii" in {event.column for event in told}


def test_a_backtest_takes_the_derived_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    files = [written(tmp_path / f"{i}.parquet", reviews(rng, 2_500, VOCABULARY, 6, 20), i) for i in range(2)]
    found = from_file(prepare(files[1], files[0], Wishes(), every_ms=1_000), 10_000)
    last = found.rows.ticks.size
    counts = sum(pane.counts for pane in found.rows.panes(found.stream.counter, 0, last))
    layout = found.profile.layout()
    at = [column.name for column in found.profile.columns].index("review.words")
    shares = [
        c[layout.offsets[at] : layout.offsets[at + 1]] / 2_500 for c in (counts, found.profile.reference_counts())
    ]
    assert shares[0].sum() == 1
    assert np.abs(shares[0] - shares[1]).max() < 0.05


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([f"order {i} came late and was sent back to the shop" for i in range(300)], True),
        ([f"3f2a{i:06d}-77aa-4c21-9d{i:04d}" for i in range(300)], False),
        (["a long sentence that is always one of very few"] * 300, False),
        ([f"name{i}" for i in range(300)], False),
        ([None] * 300, False),
    ],
)
def test_what_reads_like_prose(texts: list[str | None], expected: bool) -> None:
    assert reads_like_prose(strings(texts)) == expected


def test_data_of_a_text_have_its_nulls_and_invalid_values() -> None:
    found = text_data("t", pa.array(["one two", None, "..."], pa.string()), invalid=2)
    assert list(found) == list(derived_names("t"))
    words, length = found["t.words"], found["t.length"]
    assert words.values[:3].tolist()[0] == 2
    assert length.present is not None  # type: ignore[union-attr]
    assert length.present.tolist() == [True, False, True, True, True]  # type: ignore[union-attr]
    assert found["t.word"].invalid == 2  # type: ignore[union-attr]
    assert list(found["t.word"].values)[1:] == [None, None]


def test_a_live_record_is_counted_as_the_row_of_a_file_is() -> None:
    rng = np.random.default_rng(10)
    texts = [*reviews(rng, 300, VOCABULARY, 6, 20), None, "", "Öl, bitte!"]
    profile = build_profile(
        "m", "predictions", {"x": NumericData(np.arange(9.0)), **text_data("review", strings(texts))}
    )
    stream = {"topic": "t", "rename": {"body.review": "review"}}
    config = Config.model_validate({"kafka": {"bootstrap": "k:1"}, "monitors": {"m": {"predictions": stream}}})
    plan = build_plans(config, {("m", "predictions"): profile}, {"t": 1}).topics["t"]
    assert plan.projection.strings == ("body.review",)
    bodies = []
    for text in texts:
        with io.BytesIO() as out:
            fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {"x": 1.0, "body": {"review": text}})
            bodies.append(out.getvalue())
    block = Decoder(SCHEMA, plan.projection).decode(bodies).block
    stamps = np.full(len(texts), 1_000, np.int64)
    summariser = Summariser(plan, 0, base=0, position=0)
    assert not summariser.feed(block, np.arange(len(texts)), stamps, np.ones(len(texts), np.bool_)).rejected
    entry = summariser.finish()[plan.streams[0].shard][1].entries[0]
    layout, counts = profile.layout(), unpack_counts(entry.counts, entry.width, profile.layout().total)
    first = layout.offsets[1]
    assert counts[first:].tolist() == profile.reference_counts()[first:].tolist()


def test_free_text_is_recognised_when_a_profile_is_learned() -> None:
    rng, rows = np.random.default_rng(11), 600
    projection = Projection(("x",), ("review", "note"), "")
    plan = LearnPlan(
        monitor="m",
        stream="predictions",
        topic="t",
        names={"x": "x", "review": "review", "note": "note"},
        roles={},
        projection=projection,
        id="",
        where=(),
        learn=LearnConfig(period=1_000_000, min_rows=100),
        lateness_ms=0,
        text=("note",),
    )
    table = pa.table(
        {"x": rng.standard_normal(rows), "review": reviews(rng, rows, VOCABULARY, 6, 20), "note": ["ok"] * rows}
    )
    learner = Learner(plan, 1)
    block = block_of(table, projection, np.arange(rows, dtype=np.int64) * 1_000)
    learner.feed(0, block, np.arange(rows), np.ones(rows, np.bool_))
    learner.complete()
    names = [column.name for column in learner.profile().columns]
    assert names == ["x", *derived_names("review"), *derived_names("note")]
