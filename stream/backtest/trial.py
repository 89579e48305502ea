"""One configuration's detectors over rows, and again from any saved place with a drift put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import Profile
from driftbus.detectors.settings import Settings
from driftbus.stream.backtest.rows import Pane


@dataclass(frozen=True, slots=True)
class Opening:
    """An episode that opened.

    Args:
        column: which column.
        end: rows seen until then.
        tick: the pane.
    """

    column: str
    end: int
    tick: int


@dataclass(slots=True)
class CleanRun:
    """The rows as they are.

    Attributes:
        openings: episodes of columns, in order.
        states: index of a pane → the detectors' state before it.
        busy: index of a pane → columns with an open episode before it.
    """

    openings: list[Opening] = field(default_factory=list)
    states: dict[int, bytes] = field(default_factory=dict)
    busy: dict[int, set[str]] = field(default_factory=dict)

    def next_opening(self, column: str, end: int) -> int | None:
        """Rows seen when the column's next episode after `end` rows opens, None if none does."""
        return next((o.end for o in self.openings if o.column == column and o.end > end), None)


def clean_run(profile: Profile, settings: Settings, panes: Iterable[Pane], keep: Sequence[int]) -> CleanRun:
    """All panes through fresh detectors; the states before the panes `keep` (indices) are kept."""
    run, detector, wanted = CleanRun(), GroupDetector(profile, settings), set(keep)
    for i, pane in enumerate(panes):
        if i in wanted:
            run.states[i] = detector.dump()
            run.busy[i] = {episode.column for episode in detector.open_episodes()}
        run.openings += _openings(detector, pane)
    return run


def run_from(profile: Profile, settings: Settings, state: bytes, panes: Iterable[Pane]) -> list[Opening]:
    """The episodes that open when the detectors go on from a saved state with these panes."""
    detector = GroupDetector.load(profile, settings, state)
    return [opening for pane in panes for opening in _openings(detector, pane)]


def _openings(detector: GroupDetector, pane: Pane) -> list[Opening]:
    return [
        Opening(t.column, pane.end, pane.tick)
        for t in detector.update(pane.tick, pane.counts, pane.rows)
        if t.status == "opened" and t.column
    ]
