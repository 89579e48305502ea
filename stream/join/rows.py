"""Blocks to what a join keeps of them: predictions as rows of words, labels as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.classes import NONE, as_number, class_codes
from driftbus.schemas.columns import MISSING_TIME, NULL, PRESENT, Block, Projection
from driftbus.schemas.hashing import second_hashes
from driftbus.stream.factorise import factorise, matching, names_of
from driftbus.stream.join.outcomeplan import Fields, JoinPlan
from driftbus.stream.join.runs import Run

HASH, CLOCK, TIME, SCORE, CLASS, CODES = 0, 2, 3, 4, 5, 6
"""Words of a prediction's row: its hash, its log's clock, its event time, score and class, then a code for
the text of its version and of each segment field, two to a word."""

NEVER = np.iinfo(np.int64).max
"""A clock beyond every record's: the log has ended."""


def words_of(join: JoinPlan) -> int:
    """Words of a prediction's row."""
    fields = join.predictions or join.labels
    return CODES + (2 + len(fields.segments)) // 2


def clock_of(timestamps: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """int64[n], greatest Kafka timestamp up to and including each record; `before` that of all earlier ones."""
    return np.maximum.accumulate(np.maximum(timestamps, before))


def event_times(projection: Projection, block: Block, timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n], event time in milliseconds: the mapped field, or the Kafka timestamp."""
    return block.time_ms if projection.time else np.where(timestamps >= 0, timestamps, MISSING_TIME)


def valid_times(times: NDArray[np.int64], timestamps: NDArray[np.int64], future_ms: int) -> NDArray[np.bool_]:
    """bool[n], whether an event time is there and not far beyond its Kafka timestamp, as `Summariser` has it."""
    known = times >= 0
    return known & ~((timestamps >= 0) & (np.where(known, times, 0) - np.maximum(timestamps, 0) > future_ms))


@dataclass(slots=True)
class Labels:
    """n labels of one join.

    Attributes:
        counted: bool[n], whether the join counts the record at all.
        h0, h1: uint64[n], the id's hash.
        value: float64[n], the label: code of its class, or its number.
        null: bool[n], whether it withdraws an earlier one.
    """

    counted: NDArray[np.bool_]
    h0: NDArray[np.uint64]
    h1: NDArray[np.uint64]
    value: NDArray[np.float64]
    null: NDArray[np.bool_]


class Reader:
    """The columns of one join in blocks of one projection."""

    def __init__(self, join: JoinPlan, fields: Fields, projection: Projection) -> None:
        self._join, self._shape = join, join.shape
        self._projection = projection

        def text(path: str) -> int:
            return projection.strings.index(path) if path else -1

        def number(path: str) -> int:
            return projection.numeric.index(path) if path else -1

        self._id, self._version, self._class = text(fields.id), text(fields.version), text(fields.prediction)
        self._segments = [text(path) for path in fields.segments]
        self._where = [(text(path), wanted) for path, wanted in fields.where]
        self._unless = [(text(path), unwanted) for path, unwanted in fields.unless]
        self._score, self._made = number(fields.score), number(fields.made)
        self._label = text(fields.label)
        self._label_number = number(fields.label) if fields.label and join.shape.kind == "regression" else -1

    def matching(self, block: Block, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool[n], the records that are the monitor's."""
        for row, wanted in self._where:
            good = good & matching(block, row, wanted)
        for row, unwanted in self._unless:
            good = good & ~matching(block, row, unwanted)
        return good

    def labels(self, block: Block, good: NDArray[np.bool_]) -> Labels:
        """The labels of a block."""
        counted = self.matching(block, good)
        h0, h1 = self._hashes(block)
        if self._join.sample < 1:
            counted = counted & (h1 < np.uint64(self._join.threshold))
        return Labels(counted, h0, h1, *self._values(block))

    def predictions(
        self, block: Block, clock: NDArray[np.int64], timestamps: NDArray[np.int64], good: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], Run, list[NDArray[np.int64]], list[list[str]]]:
        """The predictions of a block that can find a label.

        Returns:
            int64[m], their places in the block; uint64[m, words] without codes of texts; for the version
            and each segment field int64[m] codes, and the texts that they stand for.
        """
        times = event_times(self._projection, block, timestamps)
        kept = self.matching(block, good & valid_times(times, timestamps, self._join.future_ms))
        kept = kept & (block.text_status[self._id] == PRESENT)
        h0, h1 = self._hashes(block)
        if self._join.sample < 1:
            kept = kept & (h1 < np.uint64(self._join.threshold))
        at = np.flatnonzero(kept)
        rows = np.zeros((at.size, words_of(self._join)), np.uint64)
        rows[:, HASH], rows[:, HASH + 1] = h0[at], h1[at]
        rows[:, CLOCK] = clock[at].view(np.uint64)
        rows[:, TIME] = times[at].view(np.uint64)
        score, classes = self.said(block)
        rows[:, SCORE] = score[at].view(np.uint64)
        rows[:, CLASS] = classes[at].view(np.uint64)
        codes, names = [], []
        for row in [self._version, *self._segments]:
            found, texts = names_of(block, row, kept)
            codes.append(found[at])
            names.append(texts)
        return at, rows, codes, names

    def said(self, block: Block) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """float64[n] score (NaN where there is none) and int64[n] code of the predicted class."""
        score = np.full(block.n, np.nan)
        if self._score >= 0:
            score = _numbers(block, self._score)
        classes = np.full(block.n, NONE, np.int64)
        if self._class >= 0:
            classes = class_codes(self._shape, block, self._class)
        return score, classes

    def texts(self, block: Block, kept: NDArray[np.bool_]) -> tuple[list[NDArray[np.int64]], list[list[str]]]:
        """For the version and each segment field int64[n] codes (-1 where not kept), and the texts."""
        pairs = [names_of(block, row, kept) for row in [self._version, *self._segments]]
        return [codes for codes, _ in pairs], [names for _, names in pairs]

    def made(self, block: Block) -> NDArray[np.int64]:
        """int64[n], when a prediction was made as its label says, -1 where it doesn't."""
        if self._made < 0:
            return np.full(block.n, -1, np.int64)
        times = _numbers(block, self._made)
        return np.where(np.isfinite(times) & (times >= 0) & (times < 2**53), times, -1).astype(np.int64)

    def _hashes(self, block: Block) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        if self._id < 0:
            return np.zeros(block.n, np.uint64), np.zeros(block.n, np.uint64)
        there = block.text_status[self._id] == PRESENT
        start = np.where(there, block.text_start[self._id], 0)
        length = np.where(there, block.text_length[self._id], 0).astype(np.int32)
        return np.where(there, block.text_hash[self._id], np.uint64(0)), second_hashes(block.text, start, length)

    def _values(self, block: Block) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """float64[n] labels, and whether each is null."""
        if self._shape.kind != "regression":
            codes = class_codes(self._shape, block, self._label)
            return codes.astype(np.float64), codes == NONE
        status = block.text_status[self._label]
        numbers = _numbers(block, self._label_number)
        written = (status == PRESENT) & (block.numeric_status[self._label_number] != PRESENT)
        codes, texts = factorise(block, self._label, written)
        if texts:
            values = np.array([as_number(text) if text else None for text in texts], np.float64)
            numbers = np.where(written, values[codes], numbers)
        empty = written & np.array([not text for text in texts] or [False], np.bool_)[codes]
        null = ((status == NULL) & (block.numeric_status[self._label_number] == NULL)) | empty
        return np.where(np.isfinite(numbers), numbers + 0.0, np.nan), null


def _numbers(block: Block, row: int) -> NDArray[np.float64]:
    present = block.numeric_status[row] == PRESENT
    return np.where(present, block.numeric[row], np.nan)
