"""Drifts of known size, put into rows that have been.

Numeric columns are shifted and stretched as normal scores: a value's rank u among all rows becomes
Phi(f Phi^-1(u) + s), and the value of that rank takes its place. On a normal column that is a shift by
s standard deviations and a spread of f times; on any other it keeps to the values that there are,
so a flag stays a flag and a probability stays below 1. Ranks of equal values are drawn by lot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from driftbus.detectors.profile import ColumnProfile
from driftbus.schemas.columns import NULL, PRESENT, Block
from driftbus.schemas.errors import ConfigError
from driftbus.stream.backtest.rows import taken

Kind = Literal["shift", "scale", "nulls", "swap", "ramp"]

RAMP_ROWS = 10_000
"""Rows over which a ramp reaches its size."""


@dataclass(frozen=True, slots=True, order=True)
class Drift:
    """A change that is put into every column that can have it.

    Args:
        kind: ``shift`` and ``ramp`` (standard deviations of the normal score, at once or over 10,000
            rows), ``scale`` (factor of its spread), ``nulls`` and ``swap`` (share of the rows that lose
            their value, or go from the most frequent category to the next).
        size: in the unit of the kind.
    """

    kind: Kind
    size: float

    def __str__(self) -> str:
        if self.kind in ("nulls", "swap"):
            return f"{self.kind} {self.size:.2%}".replace(".00%", "%")
        return f"{self.kind} {self.size:g}{'σ' if self.kind != 'scale' else '×'}"

    @classmethod
    def parsed(cls, text: str) -> Drift:
        """A drift as people write it: ``shift=0.5``.

        Raises:
            ConfigError: it is none.
        """
        kind, _, size = text.partition("=")
        try:
            value = float(size)
        except ValueError:
            value = -1.0
        least, most = (0.0, 1.0) if kind in ("nulls", "swap") else (0.0, 1000.0)
        if kind not in get_args(Kind) or not least < value <= most:
            raise ConfigError(
                f"{text!r} is not a drift",
                key="--drift",
                fix="write shift=0.5, scale=1.5, ramp=1 or, as shares, nulls=0.05, swap=0.1",
            )
        return cls(kind, value)  # type: ignore[arg-type]


DRIFTS = (
    Drift("shift", 0.25),
    Drift("shift", 0.5),
    Drift("shift", 1.0),
    Drift("scale", 1.5),
    Drift("ramp", 1.0),
    Drift("nulls", 0.05),
    Drift("nulls", 0.2),
    Drift("swap", 0.05),
    Drift("swap", 0.2),
)

POWER: dict[Kind, tuple[float, ...]] = {
    "shift": (0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
    "swap": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    "nulls": (0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
}
"""Sizes of a power curve, by kind."""


@dataclass(frozen=True, slots=True)
class Place:
    """A column of the profile among the rows' columns.

    Args:
        column: its profile.
        row: its row in `Block.numeric`, or among the texts.
    """

    column: ColumnProfile
    row: int


class Injector:
    """Puts drifts into rows.

    Args:
        places: the watched columns.
        block: all rows; spreads and categories are theirs.
    """

    def __init__(self, places: Sequence[Place], block: Block) -> None:
        self._places = places
        self._numeric = {p.column.name: _Ranks(block, p.row) for p in places if p.column.kind == "numeric"}
        self._swaps = {p.column.name: _Swap(block, p) for p in places if p.column.kind != "numeric"}

    def columns(self, drift: Drift) -> list[str]:
        """The columns that can have it."""
        return [p.column.name for p in self._places if self._can(p.column.name, drift)]

    def inject(self, drift: Drift, block: Block, first: int, seed: int) -> Block:
        """The rows with the drift in every column that can have it.

        Args:
            drift: what.
            block: rows of the same stream.
            first: its first row that changes.
            seed: of the choice of rows; the same rows for every size, so that sizes compare.
        """
        rng = np.random.default_rng(seed)
        changed = replace(
            block,
            numeric=block.numeric.copy(),
            numeric_status=block.numeric_status.copy(),
            text_start=block.text_start.copy(),
            text_length=block.text_length.copy(),
            text_hash=block.text_hash.copy(),
            text_status=block.text_status.copy(),
        )
        part = taken(changed, slice(first, None))  # views: what is written here stands in `changed`
        for place in self._places:
            lots = rng.random(part.n)
            if self._can(place.column.name, drift):
                self._change(drift, place, part, lots)
        return changed

    def _can(self, name: str, drift: Drift) -> bool:
        if drift.kind == "nulls":
            return True
        if name in self._swaps:
            return drift.kind == "swap" and self._swaps[name].share >= drift.size
        return drift.kind != "swap" and self._numeric[name].varies

    def _change(self, drift: Drift, place: Place, block: Block, lots: NDArray[np.float64]) -> None:
        name = place.column.name
        if drift.kind == "nulls":
            status = block.numeric_status if name in self._numeric else block.text_status
            status[place.row][lots < drift.size] = NULL
        elif drift.kind == "swap":
            self._swaps[name].move(block, lots, drift.size)
        else:
            self._numeric[name].change(drift, place.row, block, lots)


class _Ranks:
    """The values of a numeric column in order."""

    def __init__(self, block: Block, row: int) -> None:
        self._values = np.sort(block.numeric[row][_fine(block, row)])
        self.varies = bool(self._values.size) and self._values[0] < self._values[-1]

    def change(self, drift: Drift, row: int, block: Block, lots: NDArray[np.float64]) -> None:
        fine = _fine(block, row)
        values, n = block.numeric[row][fine], self._values.size
        low = np.searchsorted(self._values, values, side="left")
        high = np.searchsorted(self._values, values, side="right")
        score = ndtri(np.clip((low + lots[fine] * (high - low)) / n, 0.5 / n, 1 - 0.5 / n))
        if drift.kind == "scale":
            score *= drift.size
        elif drift.kind == "shift":
            score += drift.size
        else:
            score += drift.size * np.minimum(1.0, (np.flatnonzero(fine) + 1) / RAMP_ROWS)
        block.numeric[row][fine] = self._values[np.minimum(n - 1, (ndtr(score) * n).astype(np.int64))]


def _fine(block: Block, row: int) -> NDArray[np.bool_]:
    present: NDArray[np.bool_] = (block.numeric_status[row] == PRESENT) & np.isfinite(block.numeric[row])
    return present


class _Swap:
    """Rows of the most frequent category of a column can become rows of the next."""

    def __init__(self, block: Block, place: Place) -> None:
        row, self._row = place.row, place.row
        present = np.flatnonzero(block.text_status[row] == PRESENT)
        hashes, first, counts = np.unique(block.text_hash[row][present], return_index=True, return_counts=True)
        self.share = 0.0
        if hashes.size < 2:
            return
        ranked = np.argsort(-counts, kind="stable")
        self.share = float(counts[ranked[0]]) / block.n
        self._from, donor = hashes[ranked[0]], int(present[first[ranked[1]]])
        self._to = (block.text_start[row, donor], block.text_length[row, donor], block.text_hash[row, donor])

    def move(self, block: Block, lots: NDArray[np.float64], share: float) -> None:
        row = self._row
        mine = (block.text_status[row] == PRESENT) & (block.text_hash[row] == self._from)
        moved = mine & (lots < share / self.share)
        block.text_start[row][moved], block.text_length[row][moved], block.text_hash[row][moved] = self._to
