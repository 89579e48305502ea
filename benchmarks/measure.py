"""Side by side: candidates take turns in one process, round by round, and only their ratios are reported."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours against theirs, round by round.

    Args:
        name: what is compared.
        ours, theirs: one figure a round each, higher is better unless `unit` says otherwise.
        unit: of the figures.
        wanted: the least ratio that the project asks of itself, None where it only reports.
        note: what a reader must know to judge it.
    """

    name: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    unit: str
    wanted: float | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number that is not a ratio of two candidates: bytes, a share, a delay.

    Args:
        name: what was measured.
        value: as it is printed.
        wanted: what the project asks of itself, as it is printed.
        holds: whether the value meets it; None where nothing is asked.
        note: what a reader must know to judge it.
    """

    name: str
    value: str
    wanted: str = ""
    holds: bool | None = None
    note: str = ""


@dataclass(slots=True)
class Report:
    """Results of one benchmark.

    Args:
        title: one line.
        rows: ratios and figures.
        lines: preformatted lines shown below (a curve, a breakdown).
    """

    title: str
    rows: list[Ratio | Figure] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def rates(candidates: Mapping[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, tuple[float, ...]]:
    """Events per second of each candidate, one figure a round.

    Args:
        candidates: name → (call, events that it works through). Each is called once to warm up.
        rounds: interleaved rounds; the order is turned around every other round.
    """
    for call, _ in candidates.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for i in range(rounds):
        for name in names if i % 2 == 0 else reversed(names):
            call, events = candidates[name]
            gc.collect()
            started = time.perf_counter()
            call()
            found[name].append(events / (time.perf_counter() - started))
    return {name: tuple(values) for name, values in found.items()}
