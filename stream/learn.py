"""A profile learned from a stream's own first period: a pure function of the source logs.

t0 is the earliest event time among the partitions' first records. The rows of [t0, t0 + period)
are learned from; when they are too few, those of the following periods as well. Of many rows a
bottom-k sample by hash of the id is kept (Cohen and Kaplan, 2007, "Summarizing data using bottom-k
sketches"), which does not depend on the order in which partitions are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftbus.detectors.profile import Profile, Role
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.season_choice import with_season
from driftbus.schemas.columns import INVALID, MISSING_TIME, NULL, PRESENT, Block, Projection
from driftbus.schemas.config import LearnConfig, SeasonConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.hashing import hash_bytes, scattered
from driftbus.schemas.vectorparts import derived_names
from driftbus.stream.files.prose import reads_like_prose, text_data
from driftbus.stream.files.survey import Data, reason_to_leave_out
from driftbus.stream.files.vectors import is_embedding, vector_data
from driftbus.stream.sample import Sample, sample_of

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class LearnPlan:
    """What is learned from a topic.

    Args:
        monitor, stream, topic: whose profile, from where.
        names: path → column name, for all candidates.
        roles: path → role; what is not named is a feature.
        text: paths of free text; others are recognised.
        vectors: path → column name of fields that may be embeddings; their parts are numbers of the projection.
        projection: the candidates, the id and the fields of `where`.
        id: path of the id, "" for none.
        where: (path, text) that a record must have.
        learn: period and numbers of rows.
        lateness_ms: how long a period waits for late records.
        season: which season is looked for, and its time zone.
    """

    monitor: str
    stream: str
    topic: str
    names: Mapping[str, str]
    roles: Mapping[str, Role]
    projection: Projection
    id: str
    where: tuple[tuple[str, str], ...]
    learn: LearnConfig
    lateness_ms: int
    season: SeasonConfig = field(default_factory=SeasonConfig)
    text: tuple[str, ...] = ()
    vectors: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Period:
    """Rows of one period: how many there were, and a sample of them."""

    rows: int = 0
    sample: Sample | None = None


@dataclass(slots=True)
class _Partition:
    """How far one partition has come."""

    started: bool = False
    passed_over: bool = False
    clock: int = _NEVER
    waiting: list[tuple[Block, NDArray[np.int64], NDArray[np.bool_]]] = field(default_factory=list)


class Learner:
    """Learns one profile.

    Args:
        plan: what is learned.
        partitions: partitions of the topic.
    """

    def __init__(self, plan: LearnPlan, partitions: int) -> None:
        self._plan = plan
        self._partitions = [_Partition() for _ in range(partitions)]
        self._t0: int | None = None
        self._periods: dict[int, _Period] = {}
        self._complete = False

    def feed(self, partition: int, block: Block, offsets: NDArray[np.int64], good: NDArray[np.bool_]) -> None:
        """The next records of a partition, in offset order.

        Until every partition has shown a record or was passed over, they are only kept: a caller
        should not read far ahead then.
        """
        fine = good & (block.time_ms != MISSING_TIME) & (block.time_ms >= 0)
        one = self._partitions[partition]
        if not fine.any():
            return
        one.started = True
        one.waiting.append((block, offsets, fine))
        self._work_off()

    def pass_over(self, partition: int) -> None:
        """A silent partition is not waited for."""
        self._partitions[partition].passed_over = True
        self._work_off()

    def complete(self) -> None:
        """The logs end here for ever: learn from what there is."""
        self._complete = True
        for partition in range(len(self._partitions)):
            self.pass_over(partition)

    @property
    def started(self) -> bool:
        """Whether it is known when the first period began."""
        return self._t0 is not None

    @property
    def rows(self) -> int:
        """Rows learned from so far."""
        return sum(period.rows for period in self._periods.values())

    @property
    def done(self) -> bool:
        """Whether all partitions have passed the end of the last period."""
        return self._last_period() is not None

    def reached(self) -> float:
        """Share of the first period that the slowest partition has passed, 0 to 1."""
        if self._t0 is None:
            return 0.0
        clocks = [p.clock for p in self._partitions if not p.passed_over]
        return min(1.0, max(0.0, (min(clocks, default=self._end(0)) - self._t0) / self._plan.learn.period))

    def ahead(self, periods: float) -> set[int]:
        """Partitions that are further ahead of the slowest than this, and those that have shown themselves first."""
        if self._t0 is None:
            return {number for number, p in enumerate(self._partitions) if p.started}
        slowest = min((p.clock for p in self._partitions if not p.passed_over), default=_NEVER)
        limit = int(periods * self._plan.learn.period) + self._plan.lateness_ms
        return {number for number, p in enumerate(self._partitions) if p.clock > max(slowest, self._t0) + limit}

    def profile(self, created_ms: int = 0) -> Profile:
        """The profile.

        Raises:
            ConfigError: there are too few rows, or no column is worth watching.
        """
        last = self._last_period()
        if last is None:
            raise ConfigError(
                f"{self._plan.topic} has only {self.rows:,} records to learn {self._key} from",
                key=f"monitors.{self._plan.monitor}.learn.min_rows",
                fix="make a profile from training data with `driftbus profile`, or lower min_rows",
            )
        kept = [p.sample for k, p in sorted(self._periods.items()) if k <= last and p.sample is not None]
        total = sum(p.rows for k, p in self._periods.items() if k <= last)
        sample = kept[0]
        for other in kept[1:]:
            sample = sample.joined(other)
        sample = sample.smallest(self._plan.learn.max_rows)
        sample = sample.taken(np.lexsort((sample.offsets, sample.partitions, sample.time_ms)))
        data = self._columns(sample)
        if not data:
            raise ConfigError(
                f"{self._plan.topic} has no field that is worth watching", key=f"monitors.{self._key.replace('/', '.')}"
            )
        profile = build_profile(
            self._plan.monitor,
            self._plan.stream,
            data,
            # a thinned sample shows less autocorrelation than the stream has
            ordered=total <= self._plan.learn.max_rows,
            rows=int(sample.hashes.size),
            source=self._source(sample),
            created_ms=created_ms,
            learned_until_ms=self._end(last),
        )
        return with_season(
            profile,
            data,
            sample.time_ms,
            self._plan.season,
            ordered=total <= self._plan.learn.max_rows,
            thinning=total / max(1, sample.rows),
        )

    @property
    def _key(self) -> str:
        return f"{self._plan.monitor}/{self._plan.stream}"

    def _source(self, sample: Sample) -> str:
        ranges = [
            f"[{p}] {int(mine.min())}..{int(mine.max())}"
            for p in np.unique(sample.partitions).tolist()
            for mine in [sample.offsets[sample.partitions == p]]
        ]
        return f"topic {self._plan.topic} {', '.join(ranges)}"

    def _end(self, period: int) -> int:
        """Event time at which a period ends, exclusive."""
        assert self._t0 is not None
        return self._t0 + (period + 1) * self._plan.learn.period

    def _last_period(self) -> int | None:
        """The period with which there are enough rows, once it is over; None before."""
        if self._t0 is None:
            return None
        last, latest = 0, max(self._periods, default=-1)
        while last <= latest if self._complete else self._over(last):
            if sum(p.rows for k, p in self._periods.items() if k <= last) >= self._plan.learn.min_rows:
                return last
            last += 1
        return None

    def _over(self, period: int) -> bool:
        end = self._end(period) + self._plan.lateness_ms
        passed = [p.clock >= end for p in self._partitions]
        return any(passed) and all(done or p.passed_over for done, p in zip(passed, self._partitions, strict=True))

    def _work_off(self) -> None:
        if self._t0 is None:
            if not all(p.started or p.passed_over for p in self._partitions):
                return
            firsts = [int(p.waiting[0][0].time_ms[np.argmax(p.waiting[0][2])]) for p in self._partitions if p.waiting]
            if not firsts:
                return
            self._t0 = min(firsts)
        for number, partition in enumerate(self._partitions):
            waiting, partition.waiting = partition.waiting, []
            for block, offsets, good in waiting:
                self._take(number, block, offsets, good)

    def _take(self, number: int, block: Block, offsets: NDArray[np.int64], good: NDArray[np.bool_]) -> None:
        assert self._t0 is not None
        partition = self._partitions[number]
        times = np.where(good, block.time_ms, _NEVER)
        reached = np.maximum.accumulate(np.concatenate(([partition.clock], times)))
        partition.clock = int(reached[-1])
        period = (np.where(good, block.time_ms, self._t0 - 1) - self._t0) // self._plan.learn.period
        ends = self._t0 + (period + 1) * self._plan.learn.period
        wanted = good & (period >= 0) & (reached[:-1] <= ends + self._plan.lateness_ms)
        for path, text in self._plan.where:
            row = self._plan.projection.strings.index(path)
            same = block.text_hash[row] == np.uint64(hash_bytes(text.encode()))
            wanted &= (block.text_status[row] == PRESENT) & same
        hashes = self._hashes(number, block, offsets)
        most = self._plan.learn.max_rows
        for k in np.unique(period[wanted]).tolist():
            known = self._periods.setdefault(int(k), _Period())
            rows = np.flatnonzero(wanted & (period == k))
            known.rows += rows.size
            if known.sample is not None and known.sample.hashes.size >= most:
                rows = rows[hashes[rows] <= known.sample.smallest(most).hashes.max()]
            fresh = sample_of(number, block, offsets, hashes, rows)
            known.sample = fresh if known.sample is None else known.sample.joined(fresh)
            if known.sample.hashes.size > 2 * most:
                known.sample = known.sample.smallest(most)

    def _hashes(self, number: int, block: Block, offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
        seed = np.uint64(hash_bytes(f"{self._plan.topic}/{number}".encode()))
        mixed = scattered(seed ^ offsets.astype(np.uint64))
        if not self._plan.id:
            return mixed
        row = self._plan.projection.strings.index(self._plan.id)
        return np.where(block.text_status[row] == PRESENT, scattered(block.text_hash[row]), mixed)

    def _columns(self, sample: Sample) -> dict[str, Data]:
        found: dict[str, Data] = {}
        derived: dict[str, Data] = {}
        for path, name in self._plan.names.items():
            role = self._plan.roles.get(path, "feature")
            if path in self._plan.projection.numeric:
                row = self._plan.projection.numeric.index(path)
                status = sample.numeric_status[row]
                found[name] = NumericData(
                    np.where(status == PRESENT, sample.numeric[row], np.nan), status != NULL, role
                )
            else:
                row = self._plan.projection.strings.index(path)
                wrong = sample.text_status[row] == INVALID
                texts, invalid = sample.texts[row][~wrong], int(wrong.sum())
                found[name] = CategoryData(texts, role, invalid)
                words = pa.array(texts, pa.string())
                if path in self._plan.text or (reason_to_leave_out(name, found[name]) and reads_like_prose(words)):
                    derived |= text_data(name, words, invalid)
                    del found[name]
        for path, name in self._plan.vectors.items():
            rows = [self._plan.projection.numeric.index(part) for part in derived_names(path)]
            if is_embedding(sample.numeric[rows[0]], sample.numeric_status[rows[0]]):
                derived |= vector_data(name, zip(sample.numeric[rows], sample.numeric_status[rows], strict=True))
        return {name: data for name, data in found.items() if not reason_to_leave_out(name, data)} | derived
