"""Free text: the columns derived from it, when texts become longer and when words are replaced."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from benchmarks.pictures import CURRENT, REFERENCE, panels, picture
from driftbus.stream.files.prose import text_data

_WORDS = [
    "the", "and", "was", "very", "good", "not", "phone", "screen", "battery", "works", "money", "back", "again", "shop",
    "late",
]  # fmt: skip


def _texts(rng: np.random.Generator, rows: int, words: list[str], least: int, most: int) -> list[str]:
    shares = 1 / np.arange(1, len(words) + 1)
    shares /= shares.sum()
    return [" ".join(rng.choice(words, int(rng.integers(least, most)), p=shares)) for _ in range(rows)]


@picture("text")
def _text() -> Figure:
    figure, (a, b) = panels(2)
    rng = np.random.default_rng(4)
    before = _texts(rng, 4_000, _WORDS, 6, 20)
    longer = _texts(rng, 4_000, _WORDS, 9, 26)
    other = _texts(rng, 4_000, [*_WORDS[:4], "super", "bad", *_WORDS[6:]], 6, 20)
    numbers = [text_data("x", pa.array(texts))["x.words"].values for texts in (before, longer)]
    for values, colour, label in zip(numbers, (REFERENCE, CURRENT), ("reference", "later"), strict=True):
        counts = np.bincount(np.asarray(values, np.int64), minlength=27)
        a.step(np.arange(counts.size), counts / counts.sum(), where="mid", color=colour, label=label)
    a.set(title="review.words: texts become longer", xlabel="words", ylabel="share of rows")
    a.legend()
    shown = [*_WORDS[:8], "super", "bad"]
    for texts, colour, shift, label in ((before, REFERENCE, -0.2, "reference"), (other, CURRENT, 0.2, "later")):
        words = list(text_data("x", pa.array(texts))["x.word"].values)
        b.bar(
            np.arange(len(shown)) + shift, [words.count(w) / len(words) for w in shown], 0.4, color=colour, label=label
        )
    b.set_xticks(np.arange(len(shown)), shown, rotation=45, ha="right")
    b.set(title="review.word: good and not become super and bad", ylabel="share of rows")
    b.legend()
    return figure
