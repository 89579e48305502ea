"""The rows of a backtest: from a file, or from a range of a topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import Profile
from driftbus.schemas.columns import MISSING_TIME, Block
from driftbus.schemas.config import DetectionConfig
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.textparts import with_text_parts
from driftbus.stream.backtest.drifts import Injector, Place
from driftbus.stream.backtest.rows import Rows, in_panes, taken
from driftbus.stream.factorise import matching
from driftbus.stream.files.rows import blocks_of
from driftbus.stream.files.table import BATCH_ROWS
from driftbus.stream.plan import Plans, StreamPlan, TopicPlan
from driftbus.stream.replay.filereplay import STREAM, FileReplay
from driftbus.stream.replay.topicreplay import TopicReplay

MOST_ROWS = 200_000
"""Rows that are kept, the latest ones, unless the user asks for more."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a study needs.

    Args:
        source: file or topic.
        rows: the rows, in panes.
        stream: its counter and profile.
        injector: for its columns.
        detection: as configured.
        columns: columns in the false-alarm budget.
    """

    source: str
    rows: Rows
    stream: StreamPlan
    injector: Injector
    detection: DetectionConfig
    columns: int

    @property
    def profile(self) -> Profile:
        """What the rows are compared with."""
        return self.stream.profile


def from_file(file: FileReplay, most: int) -> Material:
    """All rows of a file, late ones at their place."""
    topic = file.plans.topics[file.table.name]
    blocks = [
        _fine(topic, topic.streams[0], block, np.ones(block.n, np.bool_))
        for _, block in blocks_of(file.table, topic.projection, file.timeline.time_ms, file.timeline.order, BATCH_ROWS)
    ]
    return _material(file.plans, file.monitor, STREAM, topic, topic.streams[0], blocks, most)


def from_topic(replay: TopicReplay, monitor: str, stream: str, most: int, progress: Callable[[int], None]) -> Material:
    """The rows of a monitor's stream in the range that was asked for.

    Args:
        replay: the topics, open at their first records.
        monitor, stream: whose rows.
        most: rows kept; those of earlier panes are dropped while reading.
        progress: called with the number of records read since the last call.

    Raises:
        Unavailable: brokers or schema registry don't answer.
    """
    topic = next(t for t in replay.plans.topics.values() if any(_is(s, monitor, stream) for s in t.streams))
    plan = next(s for s in topic.streams if _is(s, monitor, stream))
    blocks: list[Block] = []
    for batch, decoded in (found for poll in replay.polled() for found in poll):
        progress(len(batch))
        if batch.topic != topic.topic:
            continue
        if not topic.projection.time:
            decoded.block.time_ms = np.where(batch.timestamps >= 0, batch.timestamps, MISSING_TIME)
        blocks.append(_fine(topic, plan, decoded.block, decoded.good))
        if sum(block.n for block in blocks) > 2 * most + BATCH_ROWS:
            blocks = [in_panes(blocks, topic.pane_ms, most).block]
    return _material(replay.plans, monitor, stream, topic, plan, blocks, most)


def _is(plan: StreamPlan, monitor: str, stream: str) -> bool:
    return plan.monitor == monitor and plan.stream == stream


def _fine(topic: TopicPlan, stream: StreamPlan, block: Block, good: NDArray[np.bool_]) -> Block:
    keep = good & (block.time_ms != MISSING_TIME) & (block.time_ms >= 0)
    for row, text in stream.where:
        keep = keep & matching(block, row, text)
    return with_text_parts(block if keep.all() else taken(block, np.flatnonzero(keep)), topic.texts)


def _material(
    plans: Plans, monitor: str, stream: str, topic: TopicPlan, plan: StreamPlan, blocks: list[Block], most: int
) -> Material:
    rows = in_panes([b for b in blocks if b.n], topic.pane_ms, most)
    config = plans.monitors[monitor].config
    numeric, categorical = (iter(places.tolist()) for places in plan.counter.rows)
    places = [Place(c, next(numeric if c.kind == "numeric" else categorical)) for c in plan.profile.columns]
    columns = sum(len(s.profile.columns) * (1 + len(s.segments)) for s in plans.monitors[monitor].streams)
    if rows.block.n < 2_000:
        raise ConfigError(
            f"{rows.block.n:,} rows are too few for a backtest", fix="give at least 2,000; a week of traffic is better"
        )
    return Material(topic.topic, rows, plan, Injector(places, rows.block), config.detection, columns)
