"""Free text as columns: what each says, in several scripts, and that a word is a fair sample."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbus.schemas.columns import INVALID, NULL, PRESENT, Block
from driftbus.schemas.hashing import hash_bytes
from driftbus.schemas.textparts import NUMBERS, derived_columns, derived_names, with_text_parts
from driftbus.stream.files.cells import text_cells


def block(texts: list[str | None]) -> Block:
    """Strings "x" and the texts, as they are: a file's blank cells would be nulls."""
    n = len(texts)
    text, start, length, hashes, status = text_cells(pa.array(["x"] * n + texts, pa.string()))
    both = [part.reshape(2, n) for part in (start, length, hashes, status)]
    return Block(n, np.zeros(n, np.int64), np.zeros((0, n)), np.zeros((0, n), np.uint8), text, *both)


def parts(text: str | None) -> tuple[dict[str, float | None], str | None]:
    found = with_text_parts(block([text]), [1])
    held = zip(NUMBERS, found.numeric[:, 0].tolist(), found.numeric_status[:, 0].tolist(), strict=True)
    return {name: value if status == PRESENT else None for name, value, status in held}, found.string(2, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two WORDS, 42!", {"length": 14, "words": 3, "word_length": 10 / 3, "digits": 2 / 14, "upper": 6 / 14}),
        ("Ärger über Öl", {"length": 13, "words": 3, "upper": 2 / 13, "non_ascii": 3 / 13}),
        ("Это тест — да", {"length": 13, "words": 3, "punctuation": 1 / 13, "upper": 1 / 13}),
        ("日本語。テスト", {"length": 7, "words": 2, "punctuation": 1 / 7, "non_ascii": 1.0}),
        ("a\u00a0b\u3000c", {"length": 5, "words": 3, "punctuation": 0.0}),
        ("😀 ok", {"length": 4, "words": 2, "non_ascii": 1 / 4}),
        ("...", {"length": 3, "words": 0, "word_length": None, "punctuation": 1.0}),
        ("", {"length": 0, "words": 0, "digits": None, "upper": None, "word_length": None}),
        (None, dict.fromkeys(NUMBERS)),
    ],
)
def test_numbers(text: str | None, expected: dict[str, float | None]) -> None:
    found, word = parts(text)
    assert {name: found[name] for name in expected} == expected
    assert (word is None) == (not found["words"])


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=60))
def test_words_of_ascii_are_those_of_a_regular_expression(text: str) -> None:
    words = re.findall(r"[A-Za-z0-9]+", text)
    found, word = parts(text)
    assert found["words"] == len(words)
    assert found["length"] == len(text)
    assert word in words if words else word is None


@given(st.text(max_size=40))
def test_any_text_is_measured(text: str) -> None:
    found, word = parts(text)
    assert found["length"] == len(text)
    assert word is None or (word in text and word)


def test_the_word_is_a_fair_sample_with_the_hash_of_its_text() -> None:
    texts = [f"one two three four n{i}" for i in range(4_000)]
    found = with_text_parts(block([*texts]), [1])
    words = [found.string(2, i) for i in range(len(texts))]
    frequent = Counter(words).most_common(4)
    assert {word for word, _ in frequent} == {"one", "two", "three", "four"}
    assert all(700 < count < 900 for _, count in frequent)
    assert [int(h) for h in found.text_hash[2, :50]] == [hash_bytes(str(word).encode()) for word in words[:50]]
    again = with_text_parts(block([*reversed(texts)]), [1])
    assert [again.string(2, i) for i in range(len(texts))] == words[::-1]


def test_the_rest_of_the_block_stays_and_invalid_stays_invalid() -> None:
    one = block(["some text", "more of it"])
    one.text_status[1, 1] = INVALID
    found = with_text_parts(one, [1])
    assert found.string(0, 0) == "x"
    assert found.string(1, 0) == "some text"
    assert set(found.numeric_status[:, 1].tolist()) == {INVALID}
    assert found.text_status[2].tolist() == [PRESENT, INVALID]
    assert with_text_parts(one, []) is one
    assert NULL not in found.text_status[2]


def test_derived_columns_are_known_by_their_names() -> None:
    names = ["age", *derived_names("review"), "note.word", "note.length"]
    found = derived_columns(names)
    assert set(found) == set(derived_names("review"))
    assert found["review.word"] == ("review", "word")
