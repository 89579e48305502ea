"""Realised against estimated performance: a picture per metric, cohort by cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from driftbus.stream.outcomes.words import moment, named, number, span
from driftbus.stream.replay.history import History
from driftbus.stream.replay.performance import MetricTrack, Point, metric_tracks
from driftbus.stream.report.charts import H, W, axis
from driftbus.stream.report.markup import Html, el
from driftbus.stream.report.model import Bounds, MetricRow
from driftbus.stream.report.ruler import Ruler

Place = Callable[[float], int]


def metric_rows(history: History, ruler: Ruler) -> tuple[MetricRow, ...]:
    """The rows of a replay, () without labels."""
    tracks = metric_tracks(history)
    several = len({t.version for t in tracks}) > 1
    return tuple(_row(track, ruler, several) for track in tracks)


def performance_section(rows: Sequence[MetricRow], ruler: Ruler) -> list[Html]:
    """The section of the page."""
    if not rows:
        return []
    key = el(
        "p",
        el("span", "■ ", class_="key-realised"),
        "by labels, with bounds · ",
        el("span", "■ ", class_="key-estimated"),
        "estimated from scores before labels came · dashes: the reference. A bar is a cohort of predictions.",
        class_="soft",
    )
    return [
        el("h2", "Performance", el("small", "by labels, and estimated before they came"), id="performance"),
        el("section", key, *(_drawn(row, ruler) for row in rows), class_="panel performance"),
    ]


def _row(track: MetricTrack, ruler: Ruler, several: bool) -> MetricRow:
    reference = track.reference
    known = None
    if reference is not None and reference.reference_low is not None and reference.reference_high is not None:
        known = (reference.reference_low, reference.reference_high)
    fallen = track.fallen_ms is not None
    state = f"worse since the cohort of {moment(track.fallen_ms)}" if track.fallen_ms is not None else "stable"
    measured = [(p, p.metric) for p in track.points]
    realised = [_bounds(p, ruler, m.value, m.low, m.high, f"{p.labels:,} labels") for p, m in measured]
    estimated = [_bounds(p, ruler, m.estimated, m.estimated_low, m.estimated_high, "estimated") for p, m in measured]
    return MetricRow(
        title=named(track.name) + (f", version {track.version}" if several else ""),
        state=state,
        severity=track.severity if fallen else "",
        realised=tuple(b for b in realised if b is not None),
        estimated=tuple(b for b in estimated if b is not None),
        reference=known,
    )


def _bounds(
    point: Point, ruler: Ruler, value: float | None, low: float | None, high: float | None, of: str
) -> Bounds | None:
    if value is None or low is None or high is None:
        return None
    words = f"{span(point.start_ms, point.end_ms)}: {number(value)} ({number(low)} to {number(high)}), {of}"
    return Bounds(ruler.at(point.start_ms), ruler.at(point.end_ms), value, low, high, words)


def _drawn(row: MetricRow, ruler: Ruler) -> Html:
    drawn = [*row.realised, *row.estimated]
    ends = [v for b in drawn for v in (b.low, b.high)] + list(row.reference or ())
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = 0.06 * (high - low) or 0.01
    low, high = low - room, high + room

    def place(v: float) -> int:
        return round(H - H * (v - low) / (high - low))

    dashes = [el("path", d=f"M0 {place(v)}H{W}", class_="ref") for v in row.reference or ()]
    marks = [_mark(b, place, 0.0, 0.45, "estimated") for b in row.estimated]
    marks += [_mark(b, place, 0.5, 0.95, "realised") for b in row.realised]
    label = f"{row.title}, by labels and estimated, cohort by cohort"
    svg = el("svg", *dashes, *marks, viewBox=f"0 0 {W} {H}", preserveAspectRatio="none", role="img", aria_label=label)
    chip = el("span", row.severity, class_=f"chip {row.severity}") if row.severity else None
    return el(
        "figure",
        el("figcaption", el("b", row.title), " ", chip, " ", el("span", row.state, class_="soft")),
        el(
            "div",
            svg,
            el("span", number(high), class_="high", aria_hidden="true"),
            el("span", number(low), class_="low", aria_hidden="true"),
            class_="plot",
        ),
        axis(ruler),
    )


def _mark(b: Bounds, place: Place, begin: float, end: float, class_: str) -> Html:
    """A bar from bound to bound with its value as a line."""
    x0, x1 = (round(W * (b.start + part * (b.end - b.start))) for part in (begin, end))
    top, bottom, middle = place(b.high), place(b.low), place(b.value)
    return el(
        "g",
        el("title", b.words),
        el("rect", x=x0, y=top, width=max(1, x1 - x0), height=max(1, bottom - top)),
        el("path", d=f"M{x0} {middle}H{max(x0 + 1, x1)}"),
        class_=class_,
    )
