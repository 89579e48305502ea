"""Cohorts of predictions: when enough labels have come to judge one, in an order that only the logs decide.

A cohort is looked at at the ends of eighths of a cohort of label time. It is judged first at the first
look behind its own end at which its labels suffice, and for good when the horizon is over. Looks, and
cohorts within a look, go in order, so that what one judgement says of another is the same however parts
of predictions and of labels are interleaved on the summaries log. A cohort whose predictions are not
sealed yet holds that order up only if it could be judged by now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from driftbus.detectors.outcomes import OutcomeShape, pairs_now
from driftbus.schemas.outcomeconfig import PerformanceConfig
from driftbus.stream.crowding import OTHER
from driftbus.stream.outcomes.content import Content, Int, Key, add_content, labelled
from driftbus.stream.outcomes.ledger import Ledger, Rows

LOOKS = 8
"""Looks in a cohort's length of label time."""

MOST_OPEN = 400
"""Open cohorts; beyond that the oldest one is given up, and its labels are counted as expired."""


@dataclass(slots=True)
class Cohort:
    """Labels of the predictions of one stretch of event time.

    Attributes:
        groups: (version, segment) → labels so far.
        judged: versions that have had their first judgement.
    """

    groups: dict[tuple[str, str], Content] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Judged:
    """A version's cohort that is to be judged now.

    Args:
        cohort: number.
        start_ms, end_ms: event time of its predictions.
        version: of the model.
        stage: ``first`` or ``final``.
        tick: pane of label time at which it is judged.
        groups: segment ("" for all rows) → labels.
        predictions: segment → predictions; None when nobody counts them.
        counts: int64, all its predictions in the layout of their profile; None when nobody counts them.
        coverage: labels among the predictions, None when nobody counts them.
        enough: whether coverage suffices for a verdict.
    """

    cohort: int
    start_ms: int
    end_ms: int
    version: str
    stage: str
    tick: int
    groups: Mapping[str, Content]
    predictions: Mapping[str, int] | None
    counts: Int | None
    coverage: float | None
    enough: bool


class Cohorts:
    """The open cohorts of a monitor.

    Args:
        shape: of the outcomes.
        config: when a cohort is judged.
        pane_ms: length of a pane.
        cohort_ms: length of a cohort.
        horizon_ms: labels come no later than this.
        sample: share of the ids that are joined.
        ledger: predictions; None when the labels carry what was predicted and nobody else counts.
        most: versions, and as many segments, that a cohort tells apart.
    """

    name = "cohorts"

    def __init__(
        self,
        shape: OutcomeShape,
        config: PerformanceConfig,
        *,
        pane_ms: int,
        cohort_ms: int,
        horizon_ms: int,
        sample: float,
        ledger: Ledger | None,
        most: int,
    ) -> None:
        self._shape, self._config, self._sample, self._ledger = shape, config, sample, ledger
        self._pane_ms, self._cohort_ms, self._horizon_ms, self._most = pane_ms, cohort_ms, horizon_ms, most
        self._step = max(1, cohort_ms // LOOKS // pane_ms)
        self.sealed = -1
        self.open: dict[int, Cohort] = {}
        self._queue: dict[int, dict[Key, Content]] = {}
        self._look = -1  # whose content has been added
        self._after = -1  # cohorts up to this one have been looked at in that look; -1: the look is done
        self.expired = 0

    @property
    def oldest(self) -> int | None:
        """The oldest cohort that is not judged for good."""
        queued = (cohort for waiting in self._queue.values() for _, _, cohort in waiting)
        return min((*self.open, *queued), default=None)

    def add(self, tick: int, pane: Mapping[Key, Content]) -> None:
        """A sealed pane of label time."""
        queued = self._queue.setdefault(tick // self._step, {})
        for key, content in pane.items():
            if key[2] >= 0 and key[0] != OTHER:  # nobody counts the predictions of those together
                add_content(queued, key, content)

    def advance(self, frontier: int, sealed: int | None, *, silent: bool = False) -> Iterator[Judged]:
        """Judge what can be judged.

        Args:
            frontier: last pane that all label sources have passed.
            sealed: last pane that the predictions' streams have sealed; None: there are none.
            silent: all predictions that there are have been read.
        """
        while True:
            if self._after < 0 and not self._begin(frontier):
                self.sealed = max(self.sealed, frontier)
                return
            yield from self._go_on(frontier, sealed, silent)
            if self._after >= 0:
                self.sealed = max(self.sealed, self._end_tick(self._look) - 1)
                return

    def state(self) -> list[Any]:
        return [
            self.sealed,
            self._look,
            self._after,
            self.expired,
            [
                [c, sorted(one.judged), [[*key, content.state()] for key, content in sorted(one.groups.items())]]
                for c, one in sorted(self.open.items())
            ],
            [
                [look, [[*key, content.state()] for key, content in sorted(queued.items())]]
                for look, queued in sorted(self._queue.items())
            ],
        ]

    def restore(self, state: list[Any]) -> None:
        self.sealed, self._look, self._after, self.expired, cohorts, queue = state
        size = self._shape.size
        self.open = {
            c: Cohort({(v, s): Content.restored(content, size) for v, s, content in groups}, set(judged))
            for c, judged, groups in cohorts
        }
        self._queue = {
            look: {(v, s, c): Content.restored(content, size) for v, s, c, content in queued} for look, queued in queue
        }

    def _end_tick(self, look: int) -> int:
        return (look + 1) * self._step - 1

    def _look_at(self, ms: int) -> int:
        """The first look whose end is at or after a time."""
        return (-(-ms // self._pane_ms) - 1) // self._step

    def _final_look(self, cohort: int) -> int:
        return self._look_at((cohort + 1) * self._cohort_ms + self._horizon_ms)

    def _begin(self, frontier: int) -> bool:
        """Add the content of the next look that is complete; whether there is one."""
        ends = (self._look_at((c + 1) * self._cohort_ms) for c in self.open)
        finals = (self._final_look(c) for c in self.open)
        due = [look for look in (*self._queue, *ends, *finals) if look > self._look]
        look = min(due, default=None)
        if look is None or self._end_tick(look) > frontier:
            return False
        for (version, segment, cohort), content in sorted(self._queue.pop(look, {}).items()):
            if self._final_look(cohort) < look:
                self.expired += 0 if segment else content.rows
                continue
            groups = self.open.setdefault(cohort, Cohort()).groups
            peers = sum(bool(s) is bool(segment) for _, s in groups)
            if (version, segment) in groups:
                groups[version, segment].merge(content)
            elif peers < self._most:
                groups[version, segment] = content
        for number in sorted(self.open)[: max(0, len(self.open) - MOST_OPEN)]:
            given_up = self.open.pop(number)
            self.expired += sum(content.rows for (_, segment), content in given_up.groups.items() if not segment)
        self._look, self._after = look, 0
        return True

    def _go_on(self, frontier: int, sealed: int | None, silent: bool) -> Iterator[Judged]:
        """Look at the cohorts in order; leaves `_after` at the one that has to wait, or at -1.

        How far predictions are behind labels says nothing while they are read: after an outage, anything.
        """
        waited_ms = (frontier + 1) * self._pane_ms - 2 * self._horizon_ms
        end_ms = (self._end_tick(self._look) + 1) * self._pane_ms
        for number in sorted(c for c in self.open if c >= self._after):
            cohort, over_ms = self.open[number], (number + 1) * self._cohort_ms
            final = self._final_look(number) <= self._look
            if over_ms > end_ms:
                continue
            due = [version for version in self._versions(cohort) if self._is_due(number, cohort, version, final)]
            complete = sealed is None or (sealed + 1) * self._pane_ms >= over_ms
            if due and not complete and (over_ms > waited_ms or not silent):
                self._after = number
                return
            for version in due:
                yield self._judged(number, cohort, version, final)
            if final:
                del self.open[number]
        self._after = -1

    @staticmethod
    def _versions(cohort: Cohort) -> list[str]:
        return sorted(version for version, segment in cohort.groups if not segment)

    def _labels(self, content: Content) -> int:
        return labelled(self._shape, pairs_now(self._shape, content.counts))

    def _coverage(self, number: int, version: str, labels: int) -> float | None:
        """Labels among the predictions; of those sealed so far, a bound from above."""
        if self._ledger is None:
            return None
        known = self._ledger.of(number).get((version, ""))
        predictions = (known.rows if known is not None else 0) * self._sample
        return min(1.0, labels / predictions) if predictions > 0 else 1.0

    def _is_due(self, number: int, cohort: Cohort, version: str, final: bool) -> bool:
        """Whether a version is judged at this look; of unsealed predictions whether it might be."""
        if final:
            return self._labels(cohort.groups[version, ""]) >= self._config.min_labels
        return version not in cohort.judged and self._suffices(number, cohort, version)

    def _suffices(self, number: int, cohort: Cohort, version: str) -> bool:
        labels = self._labels(cohort.groups[version, ""])
        coverage = self._coverage(number, version, labels)
        return labels >= self._config.min_labels and (coverage is None or coverage >= self._config.min_coverage)

    def _judged(self, number: int, cohort: Cohort, version: str, final: bool) -> Judged:
        labels = self._labels(cohort.groups[version, ""])
        cohort.judged.add(version)
        rows = {} if self._ledger is None else self._ledger.of(number)
        whole: Rows | None = rows.get((version, ""))
        predictions = {s: one.rows for (v, s), one in sorted(rows.items()) if v == version}
        return Judged(
            cohort=number,
            start_ms=number * self._cohort_ms,
            end_ms=(number + 1) * self._cohort_ms,
            version=version,
            stage="final" if final else "first",
            tick=self._end_tick(self._look),
            groups={s: content for (v, s), content in sorted(cohort.groups.items()) if v == version},
            predictions=None if self._ledger is None else predictions,
            counts=None if whole is None else whole.counts,
            coverage=self._coverage(number, version, labels),
            enough=self._suffices(number, cohort, version),
        )
