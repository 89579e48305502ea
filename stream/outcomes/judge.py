"""Outcomes of a monitor: sealed by label sources only, on a chain of their own.

Two ways lead out of a sealed pane. What labels say right now, over all cohorts, goes to the detectors of
errors and to whoever else watches. What they say of each cohort of predictions is gathered until it
suffices for a verdict on performance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.conditions import Labels, Measured
from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.intervals import Estimate
from driftbus.detectors.scored import Scored
from driftbus.schemas.codec import decode_performance, encode_performance
from driftbus.schemas.events import DriftEvent, Group, Published, SummaryPart
from driftbus.schemas.outcomeevents import PerformanceReport
from driftbus.stream.chain import Chain, Late
from driftbus.stream.groups import GroupPane
from driftbus.stream.join.outcomeplan import OutcomeSource
from driftbus.stream.outcomes.book import Book
from driftbus.stream.outcomes.cohorts import Cohorts
from driftbus.stream.outcomes.concept import Concepts
from driftbus.stream.outcomes.conceptevents import concept_event
from driftbus.stream.outcomes.content import Content, Key, add_content, add_entry, labelled
from driftbus.stream.outcomes.estimates import Estimates
from driftbus.stream.outcomes.forecast import Forecasts
from driftbus.stream.outcomes.ledger import Ledger
from driftbus.stream.outcomes.moves import Moves
from driftbus.stream.outcomes.openpanes import Names, OpenPanes
from driftbus.stream.outcomes.reference import References
from driftbus.stream.outcomes.verdicts import Verdicts, surely
from driftbus.stream.outcomes.versions import Versions
from driftbus.stream.plan import MonitorPlan

PATH = "labelled"
"""Clock of what labels say right now; verdicts on cohorts are told by that of `Cohorts.name`."""

MOST_VERSIONS = 8
"""Versions whose latest report is kept for metrics: those judged last."""


def judged_last(reports: Mapping[str, PerformanceReport]) -> dict[str, PerformanceReport]:
    """Those of the versions that were judged last: releases go on for years."""
    last = sorted(reports.items(), key=lambda item: (-item[1].decided_ms, item[0]))
    return dict(last[:MOST_VERSIONS])


class Watcher(Protocol):
    """Sees first labels by version, pane by pane of label time, in order."""

    def labels(self, tick: int, first: Mapping[str, Content]) -> Sequence[Published]:
        """A sealed pane: version → pair table of the first labels of all its rows; what is told of them."""

    def state(self) -> Any:
        """Plain data."""

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""


@dataclass(slots=True)
class Clock:
    """How far something has sealed, by name."""

    name: str
    sealed: int


@dataclass(slots=True)
class Told:
    """What a step decided.

    Args:
        path: which clock the tick is of: `PATH` or `Cohorts.name`.
        tick: pane of label time.
        events: episodes.
        others: everything else, to be published as it is.
        news: for retrain rules.
    """

    path: str
    tick: int
    events: list[DriftEvent]
    others: list[Published]
    news: list[Measured | Labels]


@dataclass(slots=True)
class OutcomeCounts:
    """What the outcomes have done so far, for metrics; labels of all rows."""

    panes: int = 0
    labels: int = 0
    orphans: int = 0
    duplicates: int = 0
    late: int = 0
    contradictions: int = 0
    dropped: int = 0


class OutcomeJudge:
    """The outcomes of one monitor.

    Args:
        plan: of the monitor.
        source: of its outcomes.

    Attributes:
        watchers: fed with first labels; in the order of saved state.
        versions: the comparisons among them.
        latest: version → latest report of all rows, for metrics.
        scored: how well estimates did, for metrics.
    """

    name = "outcomes"

    def __init__(self, plan: MonitorPlan, source: OutcomeSource) -> None:
        self._plan, self._source, self._shape = plan, source, source.shape
        config, most = plan.config, plan.config.detection.max_groups
        self.topic = source.topic
        self.chain = Chain(source)
        self.panes = Clock(PATH, -1)
        self.counts = OutcomeCounts()
        self._panes = OpenPanes(self._shape, most, self._known)
        self._used: dict[int, list[int]] = {}
        profile = next((s.profile for s in plan.streams if s.stream == "predictions"), None)
        horizon = config.join.horizon
        keep = 2 * (horizon // source.cohort_ms) + 64
        total = 0 if profile is None else profile.layout().total
        self.ledger = None if profile is None else Ledger(plan.pane_ms, source.cohort_ms, most, keep, total)
        self.cohorts = Cohorts(
            self._shape, config.performance, pane_ms=plan.pane_ms, cohort_ms=source.cohort_ms, horizon_ms=horizon,
            sample=source.sample, ledger=self.ledger, most=most,
        )  # fmt: skip
        told, sure = config.performance.confidence, surely(config.performance.confidence)
        enough = max(config.learn.min_rows, config.performance.min_labels)
        self.references = References(self._shape, profile, enough, told, sure)
        settings = ConceptSettings.of(plan.settings, config.performance.detectors)
        given = self.references.given
        self.concepts = Concepts(self._shape, settings, None if given is None else given.pairs, most)
        identity = (plan.name, plan.pane_ms, "" if profile is None else profile.profile_id, plan.fingerprint)
        self.book, self.expected = Book(*identity), Book(*identity)
        self.verdicts = Verdicts(plan, source, self.book, self.references, settings)
        self.estimates = Estimates(
            self._shape, profile if config.performance.estimate else None, self.references, self.expected,
            pane_ms=plan.pane_ms, rows=max((*config.detection.windows, config.performance.min_labels)),
            told=told, sure=sure, margin=config.performance.margin, most=most,
        )  # fmt: skip
        self.forecasts = Forecasts(plan, source, self.verdicts, self.references)
        self.moves = Moves(plan)
        self._prompt: tuple[list[DriftEvent], list[PerformanceReport]] = ([], [])
        self.versions = Versions(plan, source.topic, self._shape)
        self.watchers: list[Watcher] = [self.versions]
        self.latest: dict[str, PerformanceReport] = {}
        self.scored = Scored(told, most)

    @property
    def waiting(self) -> int:
        """Contents, one for each group, cohort and pane, that wait for their panes to be sealed."""
        return self._panes.size

    @property
    def sealed(self) -> int:
        """Last pane of which everything is told."""
        return min(self.panes.sealed, self.cohorts.sealed)

    # What the other streams say

    def predicted(self, tick: int, pane: Mapping[Group, GroupPane]) -> None:
        """A sealed pane of the predictions, before it is judged."""
        if self.ledger is not None:
            reports = list(self.forecasts.reach(tick, self.ledger))
            self.ledger.add(tick, pane)
            self._prompt = (self.estimates.update(tick, pane), reports)

    def before_labels(self) -> tuple[list[DriftEvent], list[PerformanceReport]]:
        """What the latest pane of the predictions lets expect: episodes and reports, once."""
        said, self._prompt = self._prompt, ([], [])
        return said

    def noticed(self, tick: int, events: Sequence[DriftEvent]) -> None:
        """What the streams of inputs and predictions decided."""
        self.moves.note(tick, events)

    # What the labels say

    def settle(self, part: SummaryPart) -> None:
        """Take the on-time entries of a settled range."""
        for entry, late in self.chain.settle(part):
            if entry.group.monitor != self._plan.name:
                continue
            if late is not Late.ON_TIME:
                self.counts.late += 0 if entry.group.segment else entry.rows
            elif entry.tick <= self.panes.sealed:
                self._check_used(entry.tick, 0 if entry.group.segment else entry.rows)
            else:
                self.counts.dropped += self._panes.add(entry, part.source.partition)

    def advance(self, prompt: int | None, *, silent: bool = False) -> Iterator[Told]:
        """Seal and judge what can be.

        Args:
            prompt: last pane that the streams of predictions and features have sealed; None without any.
            silent: these streams have been read to their ends.
        """
        for tick, pane in self._seal():
            yield self._labels(tick, pane)
        for judged in self.cohorts.advance(self.panes.sealed, prompt, silent=silent):
            moves = self.moves.by(judged.version, judged.start_ms, judged.end_ms)
            reports, events = self.verdicts.judge(judged, moves)
            whole = [report for report in reports if not report.segment]
            self.latest = judged_last({**self.latest, **{report.version: report for report in whole}})
            if judged.enough and judged.stage == "first":
                for report in whole:
                    self.scored.realise(report.version, *estimated_and_realised(report))
            yield Told(Cohorts.name, judged.tick, events, list(reports), measured(reports) if judged.enough else [])
        self._forget()

    def open_episodes(self) -> list[OpenEpisode]:
        """Open episodes of performance, estimates and errors."""
        return [*self.book.open_episodes(), *self.expected.open_episodes(), *self.concepts.open_episodes()]

    def state(self) -> dict[str, Any]:
        return {
            "chain": self.chain.state(),
            "sealed": self.panes.sealed,
            "counts": [getattr(self.counts, name) for name in OutcomeCounts.__slots__],
            "panes": self._panes.state(),
            "used": sorted([tick, *rows] for tick, rows in self._used.items()),
            "ledger": None if self.ledger is None else self.ledger.state(),
            "cohorts": self.cohorts.state(),
            "references": self.references.state(),
            "concepts": self.concepts.state(),
            "books": [self.book.state(), self.expected.state()],
            "verdicts": self.verdicts.state(),
            "estimates": self.estimates.state(),
            "forecasts": self.forecasts.state(),
            "moves": self.moves.state(),
            "scored": self.scored.state(),
            "latest": [encode_performance(report) for _, report in sorted(self.latest.items())],
            "watchers": [watcher.state() for watcher in self.watchers],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.chain.restore(state["chain"])
        self.panes.sealed = state["sealed"]
        self.counts = OutcomeCounts(*state["counts"])
        self._panes.restore(state["panes"])
        self._used = {tick: rows for tick, *rows in state["used"]}
        if self.ledger is not None:
            self.ledger.restore(state["ledger"])
        self.cohorts.restore(state["cohorts"])
        self.references.restore(state["references"])
        self.concepts.restore(state["concepts"])
        for book, saved in zip((self.book, self.expected), state["books"], strict=True):
            book.restore(saved)
        self.verdicts.restore(state["verdicts"])
        self.estimates.restore(state["estimates"])
        self.forecasts.restore(state["forecasts"])
        self.moves.restore(state["moves"])
        self.scored.restore(state["scored"])
        self.latest = {report.version: report for report in map(decode_performance, state["latest"])}
        for watcher, saved in zip(self.watchers, state["watchers"], strict=True):
            watcher.restore(saved)

    def _seal(self) -> Iterator[tuple[int, dict[Key, Content]]]:
        """Every pane that all label sources have passed, in order."""
        frontier = self.chain.frontier()
        if frontier <= self.panes.sealed:
            return
        ahead: dict[int, dict[Key, Content]] = {}
        for partition, entry in self.chain.overlay_entries():
            if entry.group.monitor == self._plan.name and self.panes.sealed < entry.tick <= frontier:
                add_entry(ahead.setdefault(entry.tick, {}), entry, partition, self._shape)
        for tick in sorted(t for t in {*self._panes, *ahead} if t <= frontier):
            pane = self._panes.pop(tick)
            settled = _rows(pane)
            for key, content in ahead.get(tick, {}).items():
                add_content(pane, key, content)
            if self.chain.forced:
                self._used[tick] = [_rows(pane), settled]
            self._panes.narrow(pane)
            yield tick, pane
        self.panes.sealed = frontier
        horizon = self.chain.expired_before()
        self._used = {tick: rows for tick, rows in self._used.items() if tick >= horizon}

    def _labels(self, tick: int, pane: dict[Key, Content]) -> Told:
        """One sealed pane of label time."""
        self.counts.panes += 1
        for (_, segment, _), content in pane.items():
            if not segment:
                self.counts.labels += labelled(self._shape, content.counts[self._shape.first])
                self.counts.orphans += int(content.counts[self._shape.orphan])
                self.counts.duplicates += int(content.counts[self._shape.dup])
        self.cohorts.add(tick, pane)
        events = [
            concept_event(self._plan, self._source, version, tick, t, self.concepts.marks[version])
            for version, t in self.concepts.update(tick, pane)
        ]
        first = self.concepts.firsts(pane)
        others = [told for watcher in self.watchers for told in watcher.labels(tick, first)] if first else []
        come = sum(labelled(self._shape, content.counts) for content in first.values())
        return Told(PATH, tick, events, others, [Labels(come)] if come else [])

    def _forget(self) -> None:
        """Drop what no cohort needs any more that labels may still come for."""
        if self.panes.sealed < 0:
            return
        since_ms = self.panes.sealed * self._plan.pane_ms - self._plan.config.join.horizon - 2 * self._source.cohort_ms
        waiting = self.cohorts.oldest
        oldest = min(since_ms // self._source.cohort_ms, self.forecasts.told + 1)
        oldest = oldest if waiting is None else min(oldest, waiting)
        if self.ledger is not None:
            self.ledger.forget(oldest)
        self.moves.forget(oldest * self._source.cohort_ms)

    def _known(self) -> set[Names]:
        """Versions and segments that are judged already, as many as can be."""
        segments = {names for cohort in self.cohorts.open.values() for names in cohort.groups if names[1]}
        most = self._plan.config.detection.max_groups
        return {(version, "") for version in self.concepts.marks} | set(sorted(segments)[:most])

    def _check_used(self, tick: int, rows: int) -> None:
        """Content of a sealed pane must be what an overlay showed when it was sealed; more contradicts it."""
        used = self._used.setdefault(tick, [0, 0])
        used[1] += rows
        if used[1] > used[0]:
            self.counts.contradictions += used[1] - used[0]
            used[0] = used[1]


def estimated_and_realised(report: PerformanceReport) -> tuple[dict[str, Estimate], dict[str, float]]:
    """What was estimated of a cohort's metrics, and what its labels said."""
    estimates = {
        m.name: Estimate(m.estimated, m.estimated_low, m.estimated_high, report.labels)
        for m in report.metrics
        if m.estimated is not None and m.estimated_low is not None and m.estimated_high is not None
    }
    return estimates, {m.name: m.value for m in report.metrics if m.value is not None}


def measured(reports: Sequence[PerformanceReport]) -> list[Measured | Labels]:
    """Metrics of all rows, for retrain rules."""
    return [
        Measured(m.name, m.value, m.low, m.high, report.labels, report.cohort_end_ms, report.version)
        for report in reports
        for m in report.metrics
        if not report.segment and m.value is not None and m.low is not None and m.high is not None
    ]


def _rows(pane: Mapping[Key, Content]) -> int:
    return sum(content.rows for (_, segment, _), content in pane.items() if not segment)
