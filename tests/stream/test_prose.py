"""Free text: recognised, profiled, replayed and learned as the columns derived from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftbus.schemas.events import DriftEvent
from driftbus.schemas.textparts import derived_names
from driftbus.stream.files.prose import reads_like_prose, text_data
from driftbus.stream.files.survey import Wishes
from driftbus.stream.replay.filereplay import prepare

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


def written(path: Path, texts: list[str | None], seed: int) -> Path:
    noise = np.random.default_rng(seed).standard_normal(len(texts))
    pq.write_table(pa.table({"amount": noise, "review": pa.array(texts, pa.string())}), path)
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
    assert reads_like_prose(pa.array(texts, pa.string())) == expected


def test_data_of_a_text_have_its_nulls_and_invalid_values() -> None:
    found = text_data("t", pa.array(["one two", None, "..."], pa.string()), invalid=2)
    assert list(found) == list(derived_names("t"))
    words, length = found["t.words"], found["t.length"]
    assert words.values[:3].tolist()[0] == 2
    assert length.present is not None  # type: ignore[union-attr]
    assert length.present.tolist() == [True, False, True, True, True]  # type: ignore[union-attr]
    assert found["t.word"].invalid == 2  # type: ignore[union-attr]
    assert list(found["t.word"].values)[1:] == [None, None]
