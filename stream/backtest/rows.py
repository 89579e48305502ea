"""Rows of one stream in memory, in panes, ready to be counted again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.summary import Counter
from driftbus.schemas.columns import Block
from driftbus.schemas.errors import ConfigError

_CHUNK_PANES = 256


@dataclass(frozen=True, slots=True)
class Pane:
    """What one pane holds.

    Args:
        tick: pane number.
        end: rows up to and with this pane.
        counts: int64[total], in the order of the profile's layout.
        rows: rows of the pane.
    """

    tick: int
    end: int
    counts: NDArray[np.int64]
    rows: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Decoded rows in the order of their panes.

    Args:
        block: all of them.
        pane_ms: pane length.
        ticks: int64[p], pane numbers, ascending.
        bounds: int64[p + 1], first row of each pane, and the number of rows.
    """

    block: Block
    pane_ms: int
    ticks: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @property
    def days(self) -> float:
        """Event time from the first to the last pane, in days."""
        return float(self.ticks[-1] + 1 - self.ticks[0]) * self.pane_ms / 86_400_000

    def pane_of(self, row: int) -> int:
        """Index of the pane that holds a row."""
        return int(np.searchsorted(self.bounds, row, side="right")) - 1

    def panes(self, counter: Counter, first: int, last: int, block: Block | None = None) -> Iterator[Pane]:
        """Counts of the panes `first` to `last` (exclusive).

        Args:
            counter: counts rows into cells.
            first, last: indices of panes.
            block: these panes' rows with something changed; None: as they are.
        """
        shift = int(self.bounds[first]) if block is not None else 0
        for begin in range(first, last, _CHUNK_PANES):
            end = min(last, begin + _CHUNK_PANES)
            a, b = int(self.bounds[begin]), int(self.bounds[end])
            entry = np.repeat(np.arange(end - begin), np.diff(self.bounds[begin : end + 1]))
            counts, _ = counter.count(taken(block or self.block, slice(a - shift, b - shift)), entry, end - begin)
            for i in range(end - begin):
                row = int(self.bounds[begin + i + 1])
                yield Pane(int(self.ticks[begin + i]), row, counts[i], row - int(self.bounds[begin + i]))


def in_panes(blocks: Sequence[Block], pane_ms: int, most: int) -> Rows:
    """Rows sorted by pane, the latest `most` of them.

    Args:
        blocks: decoded rows that have an event time, in any order.
        pane_ms: pane length.
        most: the oldest rows beyond so many are left out, in whole panes.

    Raises:
        ConfigError: there is no row.
    """
    block = joined(blocks)
    if not block.n:
        raise ConfigError("there is no row to test with")
    tick = block.time_ms // pane_ms
    order = np.argsort(tick, kind="stable")
    tick = tick[order]
    if order.size > most:
        first = int(np.searchsorted(tick, tick[order.size - most], side="left"))
        order, tick = order[first:], tick[first:]
    ticks, starts = np.unique(tick, return_index=True)
    return Rows(taken(block, order), pane_ms, ticks, np.append(starts, order.size).astype(np.int64))


def taken(block: Block, rows: slice | NDArray[np.int64]) -> Block:
    """Some rows of a block; the bytes of its texts are shared."""
    return replace(
        block,
        n=block.time_ms[rows].size,
        time_ms=block.time_ms[rows],
        numeric=block.numeric[:, rows],
        numeric_status=block.numeric_status[:, rows],
        text_start=block.text_start[:, rows],
        text_length=block.text_length[:, rows],
        text_hash=block.text_hash[:, rows],
        text_status=block.text_status[:, rows],
    )


def joined(blocks: Sequence[Block]) -> Block:
    """The rows of all blocks in one."""
    if not blocks:
        raise ConfigError("there is no row to test with")
    at = np.cumsum([0, *(block.text.size for block in blocks)])[:-1]
    starts = [block.text_start + first for block, first in zip(blocks, at, strict=True)]
    return Block(
        sum(block.n for block in blocks),
        np.concatenate([block.time_ms for block in blocks]),
        np.concatenate([block.numeric for block in blocks], axis=1),
        np.concatenate([block.numeric_status for block in blocks], axis=1),
        np.concatenate([block.text for block in blocks]),
        np.concatenate(starts, axis=1),
        np.concatenate([block.text_length for block in blocks], axis=1),
        np.concatenate([block.text_hash for block in blocks], axis=1),
        np.concatenate([block.text_status for block in blocks], axis=1),
    )
