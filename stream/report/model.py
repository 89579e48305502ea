"""What stands on the page, as plain values: no markup, and nothing more to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from driftbus.stream.report.ruler import Ruler
from driftbus.stream.report.shares import Bars

Step = tuple[float, float, float | None]
"""From and to (places on the ruler, 0 to 1), and the value there, None where there is none."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the ruler that is marked.

    Args:
        start, end: places from 0 to 1.
        severity: its colour.
        words: what it is.
        low, high: interval of the start.
        open: whether it still goes on at the end.
    """

    start: float
    end: float
    severity: str
    words: str
    low: float = 0.0
    high: float = 0.0
    open: bool = False


@dataclass(frozen=True, slots=True)
class Layers:
    """Shares of categories over time.

    Args:
        names: of the categories; the last one is all others.
        steps: (from, to, shares in the order of the names).
    """

    names: tuple[str, ...]
    steps: tuple[tuple[float, float, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Band:
    """A numeric column over time.

    Args:
        steps: (from, to, 10 %, 25 %, 50 %, 75 % and 90 % quantile).
        reference: the same quantiles of the reference.
    """

    steps: tuple[tuple[float, float, tuple[float, ...]], ...]
    reference: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One column of one group.

    Args:
        key: unique on the page.
        column: its name, "" for the rows as a whole.
        kind: ``numeric, feature``, ``categorical, label``, ...
        where: which group, "" when there is only one.
        state: ``drift``, ``over`` or ``stable``.
        severity, what, since, size: of the episode that counts most, "" when stable.
        effect: of it, in units of the index; 0 when stable.
        more: sentences on all its episodes, in order of opening.
        curve: population stability index over time.
        spans: its episodes.
        changes: places at which it changed again.
        bars: before and after, None without counts.
        after: what "after" is.
        band, layers: the values over time.
        missing: share of rows that are null or invalid over time, empty when there are none.
        numbers: (name, before, after).
    """

    key: str
    column: str
    kind: str
    where: str
    state: str
    severity: str = ""
    what: str = ""
    since: str = ""
    size: str = ""
    effect: float = 0.0
    more: tuple[str, ...] = ()
    curve: tuple[Step, ...] = ()
    spans: tuple[Span, ...] = ()
    changes: tuple[float, ...] = ()
    bars: Bars | None = None
    after: str = ""
    band: Band | None = None
    layers: Layers | None = None
    missing: tuple[Step, ...] = ()
    numbers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A column of an incident: its row's key, its words, and where its change point lies."""

    key: str
    column: str
    where: str
    severity: str
    what: str
    since: str
    size: str
    effect: float
    span: Span


@dataclass(frozen=True, slots=True)
class IncidentCard:
    """Episodes that belong together.

    Args:
        id: first characters of its id, as `driftbus explain` takes it.
        title: ``5 columns, severe``.
        severity: the worst.
        since, until: in words; until is "" while it is open.
        lead: one sentence.
        hints: what may be behind it, sentences.
        members: the columns, worst first.
        left_out: number of members beyond those.
        span: on the page's ruler.
        ruler: a closer look at the change points.
    """

    id: str
    title: str
    severity: str
    since: str
    until: str
    lead: str
    hints: tuple[str, ...]
    members: tuple[Member, ...]
    left_out: int
    span: Span
    ruler: Ruler


@dataclass(frozen=True, slots=True)
class Facts:
    """What a replay knows of its source; all of it texts for people.

    Args:
        source: file or topics.
        reference: what it is compared with.
        summary: (name, value): rows, time, pane, ...
        left_out: (column, why it is not watched).
        notes: sentences.
        settings: (name, value): the configuration.
        next: commands with what they are for.
        version: of driftbus.
    """

    source: str
    reference: str
    summary: Sequence[tuple[str, str]] = ()
    left_out: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    settings: Sequence[tuple[str, str]] = ()
    next: Sequence[tuple[str, str]] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A value with its bounds over a stretch of the ruler.

    Args:
        start, end: places from 0 to 1.
        value, low, high: in the unit of the metric.
        words: what stands there on hovering.
    """

    start: float
    end: float
    value: float
    low: float
    high: float
    words: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of a version on the page.

    Args:
        title: its name, and the version where there are several.
        state: in words: ``stable`` or since when it is worse.
        severity: its colour, "" when stable.
        realised, estimated: by labels, and by scores before them.
        reference: low and high, None without one.
    """

    title: str
    state: str
    severity: str
    realised: tuple[Bounds, ...]
    estimated: tuple[Bounds, ...]
    reference: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Page:
    """The page.

    Args:
        headline: the result in a sentence.
        severity: the worst, "" without drift.
        facts: of the source.
        ruler: event time or rows.
        incidents: in order of time.
        triggers: (place, sentence) of retrain triggers.
        volume: rows per step, relative to the largest.
        volume_top: rows per hour of the largest, in words.
        rows: drifted columns, worst first, then the stable ones.
        performance: a row per metric, () without labels.
    """

    headline: str
    severity: str
    facts: Facts
    ruler: Ruler
    incidents: tuple[IncidentCard, ...]
    triggers: tuple[tuple[float, str], ...]
    volume: tuple[Step, ...]
    volume_top: str
    rows: tuple[Row, ...]
    performance: tuple[MetricRow, ...] = ()
