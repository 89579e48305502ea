"""What a stream knows at a pane besides its events: which versions are there, and what leaving a segment out does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.distances import expected_psi, psi, psi_of_shares
from driftbus.detectors.profile import Profile
from driftbus.detectors.psi import coarse_bins
from driftbus.detectors.settings import Settings
from driftbus.schemas.events import DriftEvent, Group
from driftbus.stream.groups import GroupJudge, GroupPane
from driftbus.stream.plan import MonitorPlan, StreamPlan

Fact = list[Any]
Own = Callable[[], Profile | None]
"""Gives what a segment is compared with, None while it is still learning."""

_PARTS = 8
_EARLY = frozenset({1, 2, 4})
_LEAST_ROWS = 200
_FIRST_PICTURE = 8
_DISAPPEARED, _STILL_THERE = 0.25, 0.5
_RATES = {"nulls": 0, "invalid": 1}


class RecentRows:
    """Counts of a version's recent rows and of each of its segments, in common buckets.

    At most nine buckets of an eighth of a window each, on the coarse bins of the whole's reference,
    with nulls and invalid values.

    Args:
        profile: reference of all rows, of c columns.
        settings: sizes of bins and windows.
    """

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self._profile, layout = profile, profile.layout()
        starts: list[int] = []
        self._first: list[int] = []
        for column, offset in zip(profile.columns, layout.offsets.tolist(), strict=True):
            bins = coarse_bins(np.array(column.counts, np.int64), settings.psi_bins)
            self._first.append(len(starts))
            starts += [offset + int(i) for i in np.flatnonzero(np.diff(bins, prepend=-1))]
            starts += [offset + column.value_cells, offset + column.value_cells + 1]
        self._starts = np.array(starts, np.int64)
        self._first.append(len(starts))
        self._reference = self.folded(profile.reference_counts())
        self._size = (settings.psi_windows or (settings.close_values,))[-1] / _PARTS
        self._buckets: list[tuple[int, int, dict[str, NDArray[np.int64]]]] = []
        self._unfolded: dict[str, NDArray[np.int64]] = {}  # of the newest bucket; folding once for many panes is cheap
        self._own: dict[str, NDArray[np.int64]] = {}  # never changes once a segment has one, so it is no state

    def folded(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """A vector of counts on the coarse bins; the cells of one stand side by side."""
        return np.asarray(np.add.reduceat(counts, self._starts), np.int64) if counts.size else counts

    def add(self, tick: int, rows: int, counts: Mapping[str, NDArray[np.int64]]) -> bool:
        """Take a pane; whether a bucket is full.

        Args:
            tick: the pane.
            rows: of all segments.
            counts: vectors by segment, "" for all rows.
        """
        if not self._buckets or self._buckets[-1][1] >= self._size:
            self._fold()
            self._buckets = [*self._buckets[-_PARTS:], (tick, 0, {})]
        for segment, vector in counts.items():
            if segment in self._unfolded:
                self._unfolded[segment] += vector
            else:
                self._unfolded[segment] = np.array(vector, np.int64)
        first, before, sums = self._buckets[-1]
        self._buckets[-1] = (first, before + rows, sums)
        return before + rows >= self._size

    def _fold(self) -> None:
        """Sums of coarse bins are coarse bins of sums, so it does not matter when this is done."""
        if self._unfolded:
            sums = self._buckets[-1][2]
            for segment, vector in self._unfolded.items():
                folded = self.folded(vector)
                sums[segment] = sums[segment] + folded if segment in sums else folded
            self._unfolded = {}

    def since(self, tick: int) -> dict[str, NDArray[np.int64]]:
        """By segment, what is in the buckets that begin at a pane or later; in the newest if none does."""
        self._fold()
        chosen = [sums for first, _, sums in self._buckets if first >= tick] or [self._buckets[-1][2]]
        total: dict[str, NDArray[np.int64]] = {}
        for sums in chosen:
            for segment, counts in sums.items():
                total[segment] = total[segment] + counts if segment in total else counts
        return total

    def effect(self, column: int, what: str, current: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
        """Distance of a column's rows from a reference, in index units without bias."""
        first, last = self._first[column], self._first[column + 1]
        now, before = current[first:last], reference[first:last]
        if what in _RATES:
            cell = _RATES[what] - 2
            n, m = max(1, int(before.sum())), max(1, int(now.sum()))
            return psi_of_shares(before[cell] / n, now[cell] / m, n, m)
        now, before = now[:-2], before[:-2]
        n, m = int(before.sum()), int(now.sum())
        return float(max(0.0, psi(before, now) - expected_psi(before.size, n, m))) if n and m else 0.0

    def without(self, segment: str, current: Mapping[str, NDArray[np.int64]], own: Own) -> NDArray[np.int64]:
        """The reference of all rows but a segment's: what it has in the reference is taken out."""
        if segment not in self._own:
            profile = own()
            if profile is None:
                return self._reference
            self._own[segment] = self.folded(profile.reference_counts())
        share = current[segment].sum() / max(1, current[""].sum())
        mine = self._own[segment]
        scaled = mine * (share * self._reference.sum() / max(1, mine.sum()))
        return np.asarray(np.maximum(self._reference - np.rint(scaled).astype(np.int64), 0), np.int64)

    def explanation(
        self, column: int, what: str, tick: int, references: Mapping[str, Own], struck: set[str]
    ) -> tuple[str, float, float] | None:
        """The segment without which a column's change disappears, the effect over all rows, and without it.

        Args:
            column: its number.
            what: what has changed.
            tick: since when.
            references: segments that may explain it, and what they are compared with.
            struck: segments in which the column has an open episode. When all rows are quiet, the only one of its
                field explains it.
        """
        current = self.since(tick)
        if "" not in current or current[""].sum() < _LEAST_ROWS * len(self._profile.columns):
            return None
        whole = self.effect(column, what, current[""], self._reference)
        after = {
            segment: self.effect(column, what, current[""] - current[segment], self.without(segment, current, own))
            for segment, own in sorted(references.items())
            if segment in current
        }
        fields: dict[str, list[str]] = {}
        for segment in after:
            fields.setdefault(segment.partition("=")[0], []).append(segment)
        for peers in fields.values():
            best, *others = sorted(peers, key=lambda s: (after[s], s))
            clear = all(after[s] >= _STILL_THERE * whole for s in others) and bool(others)
            if whole >= 0.02 and clear and after[best] <= _DISAPPEARED * whole:
                return best, whole, after[best]
            hit = sorted(struck.intersection(peers))
            if whole < 0.02 and len(hit) == 1:
                return hit[0], whole, after[hit[0]]
        return None

    def state(self) -> list[Any]:
        self._fold()
        return [
            [tick, rows, [[s, v.astype("<i8").tobytes()] for s, v in sorted(sums.items())]]
            for tick, rows, sums in self._buckets
        ]

    def restore(self, state: list[Any]) -> None:
        self._buckets = [
            (tick, rows, {s: np.frombuffer(v, "<i8").astype(np.int64) for s, v in sums}) for tick, rows, sums in state
        ]


class Facts:
    """What a stream notes for its incidents.

    Args:
        plan, stream: whose.
    """

    def __init__(self, plan: MonitorPlan, stream: StreamPlan) -> None:
        self._plan, self._stream = plan, stream
        self._versions: dict[str, list[int]] = {}
        self._recent: dict[str, RecentRows] = {}
        self._full: dict[str, int] = {}
        self._due: dict[tuple[str, str, str, str], list[Any]] = {}

    def note(
        self,
        tick: int,
        pane: Mapping[Group, GroupPane],
        groups: Mapping[Group, GroupJudge],
        events: list[DriftEvent],
    ) -> list[Fact]:
        """Take a judged pane; what is worth telling.

        Args:
            tick: the pane.
            pane: its content.
            groups: all groups, as the pane left them.
            events: what it led to.
        """
        moved = {e.version for e in events}
        self._full |= dict.fromkeys(moved, 0)
        versions = [g.version for g in pane if not g.segment]
        for version in versions:
            self._versions.setdefault(version, [tick, tick])[1] = tick
        if self._stream.segments:
            for version in versions:
                moved |= {version} if self._add(tick, version, pane) else set()
        facts: list[Fact] = []
        if events:
            facts += [["version", version, *span] for version, span in sorted(self._versions.items())]
        for version in sorted(moved & self._recent.keys()):
            facts += self._explain(version, groups)
        return facts + self._pictures(tick, groups, events)

    def _pictures(self, tick: int, groups: Mapping[Group, GroupJudge], events: list[DriftEvent]) -> list[Fact]:
        """How open episodes look 8, 16, 32, … panes after they opened: at first there is little to see."""
        facts: list[Fact] = []
        for key, due in sorted(self._due.items()):
            if due[0] > tick:
                continue
            version, segment, column, aspect = key
            judge = groups.get(Group(self._plan.name, self._stream.stream, version, segment))
            _, opened, what, since = due
            histogram, curve = (None, ()) if judge is None else judge.picture(column, aspect, what, since)
            due[0] = opened + 2 * max(_FIRST_PICTURE // 2, tick - opened)
            if histogram is not None:
                bins = [list(part) for part in astuple(histogram)]
                facts.append(["picture", *key, bins, list(curve)])
        for e in events:
            key = (e.version, e.segment, e.column, e.aspect)
            if e.status == "closed":
                self._due.pop(key, None)
            elif e.column:
                opened, since = e.opened_ms // self._plan.pane_ms, e.since_ms // self._plan.pane_ms
                due_at = self._due[key][0] if key in self._due else opened + _FIRST_PICTURE
                self._due[key] = [due_at, opened, e.what, since]
        return facts

    def _add(self, tick: int, version: str, pane: Mapping[Group, GroupPane]) -> bool:
        """Take a version's rows; whether to look which segments explain what is open: 1, 2, 4, 8, 16, 24, ... full
        buckets after its latest event."""
        if version not in self._recent:
            self._recent[version] = RecentRows(self._stream.of(version).profile, self._plan.settings)
        mine = {g.segment: content for g, content in pane.items() if g.version == version}
        full = self._recent[version].add(tick, mine[""].rows, {s: content.counts for s, content in mine.items()})
        self._full[version] = after = self._full.get(version, 0) + full
        return full and (after in _EARLY or after % _PARTS == 0)

    def _explain(self, version: str, groups: Mapping[Group, GroupJudge]) -> list[Fact]:
        """Of each column with an open episode: the segment that explains it."""
        recent, mine = self._recent[version], {g.segment: j for g, j in groups.items() if g.version == version}
        names = [column.name for column in self._stream.of(version).profile.columns]
        struck: dict[tuple[str, str], dict[str, tuple[str, int]]] = {}
        for segment, judge in sorted(mine.items()):
            for episode in judge.open_episodes():
                if episode.column:
                    found = struck.setdefault((episode.column, episode.aspect), {})
                    found[segment] = (episode.what, episode.since_tick)
        if not struck:
            return []
        references = {segment: judge.reference for segment, judge in mine.items() if segment}
        facts: list[Fact] = []
        for (column, aspect), hit in sorted(struck.items()):
            what, since = min(hit.values(), key=lambda value: value[1])
            if column not in names or (aspect == "quality" and what not in _RATES):
                continue
            # a segment's own field has one value in it: leaving the segment out says nothing there
            able = {s: own for s, own in references.items() if s.partition("=")[0] != column}
            explained = recent.explanation(names.index(column), what, since, able, hit.keys() & able.keys())
            if explained is not None:
                facts.append(["share", version, column, aspect, *explained])
        return facts

    def forget(self, version: str) -> None:
        """A version is compared with another profile from here on."""
        self._recent.pop(version, None)

    def state(self) -> list[Any]:
        return [
            sorted(map(list, self._versions.items())),
            [[v, self._full[v], self._stream.of(v).mark, r.state()] for v, r in sorted(self._recent.items())],
            [[*key, *due] for key, due in sorted(self._due.items())],
        ]

    def restore(self, state: list[Any]) -> None:
        versions, recent, due = state
        self._due = {(v, s, c, a): [*rest] for v, s, c, a, *rest in due}
        self._versions = {version: list(span) for version, span in versions}
        for version, full, mark, saved in recent:
            self._full[version] = full
            stream = self._stream.of(version)
            if mark == stream.mark:
                self._recent[version] = RecentRows(stream.profile, self._plan.settings)
                self._recent[version].restore(saved)
