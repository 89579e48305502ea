"""One monitor's share of a join: its predictions into the store, its labels to what they add to which entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.outcomecells import pair_cells
from driftbus.detectors.outcomes import lag_cells
from driftbus.schemas.columns import Block, Projection
from driftbus.schemas.events import Group
from driftbus.stream.join.corrections import CHANGED, FIRST, UNKNOWN, correct
from driftbus.stream.join.groupbook import GroupBook
from driftbus.stream.join.outcomeplan import SEGMENTS, STREAM, JoinPlan
from driftbus.stream.join.pairs import label_cells, spread
from driftbus.stream.join.ranges import Derived
from driftbus.stream.join.rows import CLASS, CLOCK, CODES, HASH, SCORE, TIME, Reader, words_of
from driftbus.stream.join.runs import Run
from driftbus.stream.join.store import LABEL_WORDS, JoinStore
from driftbus.stream.join.waiting import Said, Waiting


@dataclass(slots=True)
class _Matches:
    """Labels whose prediction was found: which labels, the segment, and the prediction's row."""

    label: NDArray[np.int64]
    segment: NDArray[np.int64]
    rows: Run


class Joiner:
    """The join of one monitor.

    Args:
        number: its place among the joins of the label topic.
        plan: its join.
        store: of the label partition.
        labels: columns of the labels' blocks.

    Attributes:
        low: the first segment that is kept.
    """

    def __init__(self, number: int, plan: JoinPlan, store: JoinStore, labels: Projection) -> None:
        self.plan = plan
        self.low: int = plan.since
        self._number = number
        self._store = store
        self._reader = Reader(plan, plan.labels, labels)
        self._readers: dict[Projection, Reader] = {}
        self._claimed: int = -1
        self._low_claimed: bool = False
        self._book = GroupBook(plan.monitor, plan.names)

    def first_segment(self, clock: int) -> int:
        """The oldest segment of predictions that a label at this clock can match."""
        return max(self.plan.since, clock // self.plan.segment_ms - SEGMENTS)

    def _oldest(self, clock: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same of several labels."""
        return np.maximum(self.plan.since, clock // self.plan.segment_ms - SEGMENTS)

    # Predictions

    def take(
        self,
        block: Block,
        clock: NDArray[np.int64],
        timestamps: NDArray[np.int64],
        good: NDArray[np.bool_],
        projection: Projection,
    ) -> int:
        """Keep the predictions of a block; returns those that came after labels had been resolved without them."""
        reader = self._readers.get(projection)
        if reader is None:
            assert self.plan.predictions is not None
            reader = self._readers[projection] = Reader(self.plan, self.plan.predictions, projection)
        at, rows, codes, names = reader.predictions(block, clock, timestamps, good)
        segment = clock[at] // self.plan.segment_ms
        contradicted = int(np.count_nonzero(clock[at] <= self._claimed))
        bounds = np.flatnonzero(np.diff(segment, prepend=-(1 << 62), append=1 << 62)).tolist()
        for begin, end in pairwise(bounds):
            one, kept = int(segment[begin]), rows[begin:end]
            if one < self.low:
                continue
            halves = kept[:, CODES:].view(np.uint32)
            for i, (found, texts) in enumerate(zip(codes, names, strict=True)):
                if end - begin == at.size:
                    halves[:, i] = self._store.codes(self._number, one, texts)[found]
                else:
                    used, inverse = np.unique(found[begin:end], return_inverse=True)
                    known = self._store.codes(self._number, one, [texts[code] for code in used.tolist()])
                    halves[:, i] = known[inverse]
            self._store.add_predictions(self._number, one, kept)
        return contradicted

    def claim(self, clock: int) -> None:
        """Labels up to this clock are resolved although predictions have not come so far."""
        self._claimed = max(self._claimed, clock + self.plan.wait_ms)

    # Labels

    def labels(
        self, block: Block, times: NDArray[np.int64], usable: NDArray[np.bool_], taken: NDArray[np.int64]
    ) -> Said:
        """What the taken rows of a block say."""
        found = self._reader.labels(block, usable)
        n = block.n
        if self.plan.predictions is not None:
            score, classes, made = np.full(n, np.nan), np.full(n, -1, np.int64), np.full(n, -1, np.int64)
            groups = np.full((n, 1), -1, np.int64)
        else:
            (score, classes), made = self._reader.said(block), self._reader.made(block)
            codes, names = self._reader.texts(block, found.counted)
            groups = self._book.rows(codes, names)
        return Said(
            found.counted, found.h0, found.h1, found.value, found.null, times, score, classes, made, groups
        ).part(taken)

    def resolve(self, chunk: Waiting) -> tuple[list[Derived], int]:
        """What labels add, and how many of them contradict that older predictions were forgotten."""
        said = chunk.said[self._number]
        if self.plan.predictions is None:
            return self._echoed(said, chunk), 0
        label = np.flatnonzero(said.counted)
        oldest = self._oldest(chunk.clock[label])
        contradicted = int(np.count_nonzero(oldest < self.low)) if self._low_claimed else 0
        matches = self._match(said, chunk.clock, label)
        joined = self._joined(said, chunk, matches)
        if self.plan.shadow:
            return joined, contradicted
        orphan = np.setdiff1d(label, matches.label, assume_unique=True)
        return [self._orphans(orphan), *joined], contradicted

    @property
    def groups(self) -> list[Group]:
        """Groups by number."""
        return self._book.groups

    # What is kept

    def forget(self, clock: int, silent_ms: int) -> int:
        """Drop segments that no label from here on can match; returns the predictions forgotten.

        Args:
            clock: of the label log where it will be taken up.
            silent_ms: wall clock at which all labels had been read; -1: there may be more.
        """
        if self.plan.predictions is None:
            return 0
        floor, claimed = self.first_segment(clock), False
        if silent_ms >= 0:
            by_silence = self.first_segment(silent_ms - self.plan.grace_ms)
            floor, claimed = max(floor, by_silence), by_silence > floor
        if floor <= self.low:
            return 0
        self.low, self._low_claimed = floor, claimed
        return self._store.drop(self._number, floor)

    def state(self) -> list[int]:
        return [self.low, int(self._low_claimed), self._claimed]

    def restore(self, state: Sequence[int]) -> None:
        self.low, low_claimed, self._claimed = state
        self._low_claimed = bool(low_claimed)

    def trim(self) -> None:
        """Forget the numbers of groups when there are many; between two resolutions only."""
        if self.plan.predictions is not None:  # else labels that wait hold some
            self._book.trim()

    def _match(self, said: Said, clock: NDArray[np.int64], label: NDArray[np.int64]) -> _Matches:
        """The newest segment that had the id when the label came, and its first record there."""
        length, words = self.plan.segment_ms, words_of(self.plan)
        until = clock[label] + self.plan.wait_ms
        newest, oldest = until // length, self._oldest(clock[label])
        h0, h1 = said.h0[label], said.h1[label]
        rows = np.zeros((label.size, words), np.uint64)
        segment = np.full(label.size, -(1 << 62), np.int64)
        left = np.ones(label.size, np.bool_)
        for one in self._store.segments(self._number):
            open_ = np.flatnonzero(left & (newest >= one) & (oldest <= one))
            if not open_.size:
                continue
            found = np.empty((open_.size, words), np.uint64)
            hit = self._store.predictions(self._number, one, h0[open_], h1[open_], found)
            hit &= found[:, CLOCK].view(np.int64) <= until[open_]
            at = open_[hit]
            rows[at], segment[at], left[at] = found[hit], one, False
        return _Matches(label[~left], segment[~left], rows[~left])

    def _joined(self, said: Said, chunk: Waiting, matches: _Matches) -> list[Derived]:
        label, segment, rows = matches.label, matches.segment, matches.rows
        if not label.size:
            return []
        value, null = said.value[label], said.null[label]
        known, old = self._known(segment, rows)
        order = np.lexsort((label, rows[:, HASH + 1], rows[:, HASH], segment))
        fresh = np.ones(order.size, np.bool_)
        for column in (segment, rows[:, HASH], rows[:, HASH + 1]):
            ordered = column[order]
            same = ordered[1:] == ordered[:-1]
            fresh[1:] = same if column is segment else fresh[1:] & same
        fresh[1:] = ~fresh[1:]
        does, after, before = correct(order, fresh, value, null, known, old)
        held = np.where(null, before, value)
        self._remember(chunk.offsets[label], segment, rows, does, after, held)
        score, classes = rows[:, SCORE].view(np.float64), rows[:, CLASS].view(np.int64)
        cells, amounts = label_cells(self.plan.shape, score, classes, value, before, does)
        lag = chunk.clock[label] - rows[:, TIME].view(np.int64)
        first = (does & FIRST != 0).astype(np.int64)
        cells = np.concatenate([cells, lag_cells(self.plan.shape, lag)[:, None]], axis=1)
        amounts = np.concatenate([amounts, first[:, None]], axis=1)
        cohort = rows[:, TIME].view(np.int64) // self.plan.cohort_ms
        return spread(label, self._groups_of(segment, rows), cohort, cells, amounts)

    def _known(self, segment: NDArray[np.int64], rows: Run) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What earlier labels said of these predictions: state and value."""
        found = np.zeros((segment.size, LABEL_WORDS), np.uint64)
        for one in np.unique(segment).tolist():
            mine = np.flatnonzero(segment == one)
            out = np.zeros((mine.size, LABEL_WORDS), np.uint64)
            hit = self._store.labels(self._number, one, rows[mine, HASH], rows[mine, HASH + 1], out)
            out[~hit, 3] = UNKNOWN
            found[mine] = out
        return found[:, 3].astype(np.int64), found[:, 2].copy().view(np.float64)

    def _remember(
        self,
        offsets: NDArray[np.int64],
        segment: NDArray[np.int64],
        rows: Run,
        does: NDArray[np.int64],
        after: NDArray[np.int64],
        held: NDArray[np.float64],
    ) -> None:
        changed = does & CHANGED != 0
        for one in np.unique(segment[changed]).tolist():
            mine = np.flatnonzero(changed & (segment == one))
            update = np.empty((mine.size, LABEL_WORDS), np.uint64)
            update[:, :2] = rows[mine, HASH : HASH + 2]
            update[:, 2] = held[mine].view(np.uint64)
            update[:, 3] = after[mine].astype(np.uint64)
            self._store.add_labels(self._number, one, offsets[mine], update)

    def _groups_of(self, segment: NDArray[np.int64], rows: Run) -> NDArray[np.int64]:
        """int64[m, 1 + segment fields], numbers of the groups of predictions, -1 for none."""
        out = np.full((segment.size, 1 + len(self.plan.names)), -1, np.int64)
        for one in np.unique(segment).tolist():
            mine = np.flatnonzero(segment == one)
            halves = rows[mine, CODES:].view(np.uint32)
            names = self._store.names(self._number, one)
            codes = [halves[:, i].astype(np.int64) for i in range(out.shape[1])]
            out[mine] = self._book.rows(codes, [names] * len(codes))
        return out

    def _orphans(self, label: NDArray[np.int64]) -> Derived:
        number = self._book.number(Group(self.plan.monitor, STREAM))
        cells = np.full((label.size, 1), self.plan.shape.orphan, np.int64)
        nobody = np.full(label.size, -1, np.int64)
        return Derived(label, np.full(label.size, number, np.int64), nobody, cells, np.ones_like(cells))

    def _echoed(self, said: Said, chunk: Waiting) -> list[Derived]:
        """Labels that carry what was predicted: each is the first and only one of its prediction."""
        label = np.flatnonzero(said.counted & ~said.null)
        made = said.made[label]
        known = made >= 0
        cells, amounts = pair_cells(self.plan.shape, said.score[label], said.classes[label], said.value[label])
        lag = lag_cells(self.plan.shape, np.where(known, chunk.clock[label] - made, 0))
        cells = np.concatenate([cells + self.plan.shape.first.start, lag[:, None]], axis=1)
        amounts = np.concatenate([amounts, known.astype(np.int64)[:, None]], axis=1)
        cohort = np.where(known, made, said.time[label]) // self.plan.cohort_ms
        return spread(label, said.groups[label], cohort, cells, amounts)
