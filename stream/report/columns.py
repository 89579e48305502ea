"""Rows of the page: what there is to show of one column of one group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.profile import ColumnProfile
from driftbus.schemas.events import DriftEvent, Group, Member
from driftbus.stream.replay.history import Episode
from driftbus.stream.replay.tracks import Aftermath, Track, Tracks
from driftbus.stream.replay.words import order, size
from driftbus.stream.report.markup import cut
from driftbus.stream.report.model import Band, Layers, Row, Span, Step
from driftbus.stream.report.ruler import Ruler
from driftbus.stream.report.shares import REST, bars_of, number, quantiles, rate, shares

Where = Callable[[Group], str]
"""A group in words."""

_LAST_ROWS = 5_000
_FEW_ROWS = 200
_LAYERS = 5
_TOLD_CHANGES = 3
_DRAWN_CHANGES = 20
_QUANTILES = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
_TOLD = np.array([0.05, 0.5, 0.95])


def drifted_row(
    group: Group, episodes: Sequence[Episode], tracks: Tracks, where: str, ruler: Ruler, pane_ms: int
) -> Row:
    """The row of a column with episodes.

    Args:
        group: whose column.
        episodes: of the column, at least one.
        tracks: what the groups held.
        where: the group in words.
        ruler: the page's axis.
        pane_ms: pane length.
    """
    lead = min(episodes, key=lambda e: order([e]))
    event, name = lead.worst, lead.opened.column
    track = tracks.tracks.get(group)
    known = track is not None and name in track.layout.columns
    shown = _shown(track, name, tracks.after.get(lead.opened.episode_id), ruler, pane_ms) if track and known else {}
    return Row(
        key="",
        column=name,
        kind=_kind(track, name) if track and known else "",
        where=where,
        state="drift" if any(e.closed_ms is None for e in episodes) else "over",
        severity=event.severity,
        what=what_of(event),
        since=ruler.since(event.since_low_ms, event.since_ms, event.since_high_ms),
        size=size(event),
        effect=event.effect,
        more=tuple(_story(e, ruler) for e in sorted(episodes, key=lambda e: (e.opened.opened_ms, e.opened.aspect))),
        spans=tuple(span_of(e.worst, e.closed_ms, ruler) for e in episodes),
        changes=tuple(ruler.at(c.since_ms) for e in episodes for c in e.changes[-_DRAWN_CHANGES:]),
        **shown,  # type: ignore[arg-type]
    )


def stable_row(group: Group, name: str, track: Track, where: str, ruler: Ruler, pane_ms: int) -> Row:
    """The row of a column without episodes; see `drifted_row`."""
    shown = _shown(track, name, None, ruler, pane_ms)
    del group
    return Row(
        key="",
        column=name,
        kind=_kind(track, name),
        where=where,
        state="stable",
        **{k: v for k, v in shown.items() if k not in ("band", "layers")},  # type: ignore[arg-type]
    )


def what_of(event: DriftEvent | Member) -> str:
    """What changed, in two words."""
    return f"{event.what} {event.direction}".strip()


def span_of(event: DriftEvent | Member, closed_ms: int | None, ruler: Ruler) -> Span:
    """The stretch of an episode, from its change point on; it goes on to the end unless it was closed."""
    return Span(
        start=ruler.at(event.since_ms),
        end=1.0 if closed_ms is None else ruler.at(closed_ms),
        severity=event.severity,
        words=f"{cut(event.column) or 'rows'}: {what_of(event)}, {event.severity}",
        low=ruler.at(event.since_low_ms),
        high=ruler.at(event.since_high_ms),
        open=closed_ms is None,
    )


def sentence_of(event: DriftEvent | Member) -> str:
    """The event's sentence without the column's name, which stands beside it and has no bound."""
    sentence = event.message.removeprefix(f"{event.column}: ").replace(event.column or "\0", cut(event.column))
    return cut(sentence or f"{what_of(event)}; {event.severity}", 400)


def _story(episode: Episode, ruler: Ruler) -> str:
    opened, worst = episode.opened, episode.worst
    sentence = sentence_of(worst)
    sentence = sentence[:1].upper() + sentence[1:]
    since = ruler.since(worst.since_low_ms, worst.since_ms, worst.since_high_ms)
    end = "still open" if episode.closed_ms is None else f"over {ruler.point(episode.closed_ms)}"
    again = "".join(
        f" Then: {sentence_of(e)}, since {ruler.since(e.since_low_ms, e.since_ms, e.since_high_ms)}."
        for e in episode.changes[-_TOLD_CHANGES:]
    )
    return f"{sentence}. Since {since}; opened {ruler.point(opened.opened_ms)}, {end}.{again}"


def _kind(track: Track, name: str) -> str:
    if track.reference is None:
        return ""
    column = track.reference.column(name)
    return column.kind if column.role == "feature" else f"{column.kind}, {column.role}"


def _shown(track: Track, name: str, after: Aftermath | None, ruler: Ruler, pane_ms: int) -> dict[str, object]:
    """The fields of a row that are pictures and numbers."""
    if track.reference is None or not track.size:
        return {}
    column = track.reference.column(name)
    cells, c = track.column(name), track.layout.columns.index(name)
    counts = track.counts[: track.size, cells]
    before = np.array([*column.counts, column.nulls, column.invalid], np.int64)
    now, words = _after(counts, track.rows[: track.size], after)
    missing = rate(column, counts, column.value_cells) + rate(column, counts, column.value_cells + 1)
    is_missing = before[column.value_cells :].any() or counts[:, column.value_cells :].any()
    edges = _edges(track, ruler, pane_ms)
    numeric = column.kind == "numeric"
    return {
        "curve": _steps(edges, track.index[: track.size, c]),
        "bars": bars_of(column, before, now),
        "after": words,
        "band": _band(column, before, counts, edges) if numeric else None,
        "layers": None if numeric else _layers(column, before, now, counts, edges),
        "missing": _steps(edges, missing) if is_missing else (),
        "numbers": _numbers(column, before, now),
    }


def _after(
    counts: NDArray[np.int64], rows: NDArray[np.int64], after: Aftermath | None
) -> tuple[NDArray[np.int64], str]:
    """Counts after the change, or at the end, and what they are."""
    if after is not None and after.counts.sum() >= _FEW_ROWS:
        end = "to the end" if after.open else "until it was over"
        return after.counts, f"from the last alarm {end}, {int(after.counts.sum()):,} rows"
    held, steps = 0, 0
    while steps < rows.size and held < _LAST_ROWS:
        steps += 1
        held += int(rows[-steps])
    last: NDArray[np.int64] = counts[counts.shape[0] - steps :].sum(axis=0)
    return last, f"last {held:,} rows"


def _edges(track: Track, ruler: Ruler, pane_ms: int) -> list[tuple[float, float]]:
    """From and to of the steps; a step reaches to the next one, so that there are no gaps between panes."""
    starts = [ruler.at(int(tick) * pane_ms) for tick in track.first[: track.size]]
    last = ruler.at((int(track.last[track.size - 1]) + 1) * pane_ms)
    return list(zip(starts, [*starts[1:], last], strict=True))


def _steps(edges: Sequence[tuple[float, float]], values: NDArray[np.float64]) -> tuple[Step, ...]:
    return tuple((a, b, None if v != v else v) for (a, b), v in zip(edges, values.tolist(), strict=True))


def _band(
    column: ColumnProfile, before: NDArray[np.int64], counts: NDArray[np.int64], edges: Sequence[tuple[float, float]]
) -> Band:
    values = quantiles(column, counts, _QUANTILES)
    steps = [(a, b, tuple(q)) for (a, b), q in zip(edges, values.tolist(), strict=True) if q[0] == q[0]]
    return Band(tuple(steps), tuple(quantiles(column, before, _QUANTILES).tolist()))


def _layers(
    column: ColumnProfile,
    before: NDArray[np.int64],
    now: NDArray[np.int64],
    counts: NDArray[np.int64],
    edges: Sequence[tuple[float, float]],
) -> Layers:
    values = column.value_cells
    weight = np.maximum(shares(before[:values]), shares(now[:values]))[:-1]
    chosen = sorted(sorted(range(weight.size), key=lambda i: (-weight[i], i))[:_LAYERS])
    steps = []
    for (a, b), row in zip(edges, counts[:, :values], strict=True):
        if row.sum():
            share = shares(row)
            picked = [float(share[i]) for i in chosen]
            steps.append((a, b, (*picked, max(0.0, 1.0 - sum(picked)))))
    return Layers((*(column.categories[i] for i in chosen), REST), tuple(steps))


def _numbers(
    column: ColumnProfile, before: NDArray[np.int64], now: NDArray[np.int64]
) -> tuple[tuple[str, str, str], ...]:
    values = column.value_cells
    found = [("rows", f"{int(before.sum()):,}", f"{int(now.sum()):,}")]
    for label, cell in (("nulls", values), ("invalid", values + 1)):
        if before[cell] or now[cell]:
            found.append((label, _percent(before[cell], before), _percent(now[cell], now)))
    if column.kind == "numeric":
        sides = quantiles(column, np.stack([before, now]), _TOLD)
        spread = column.high - column.low
        for label, i in (("median", 1), ("5 %", 0), ("95 %", 2)):
            found.append((label, number(float(sides[0][i]), spread), number(float(sides[1][i]), spread)))
        outside = [0, values - 1]
        if now[outside].any():
            found.append(("out of range", _percent(before[outside].sum(), before), _percent(now[outside].sum(), now)))
        return tuple(found)
    seen = [int(np.count_nonzero(side[: values - 1])) for side in (before, now)]
    found.append(("categories", f"{seen[0]:,}", f"{seen[1]:,}"))
    if not before[values - 1] and now[values - 1]:
        found.append(("unseen before", "0 %", _percent(now[values - 1], now)))
    return tuple(found)


def _percent(part: np.int64, whole: NDArray[np.int64]) -> str:
    return f"{100 * float(part) / max(1, int(whole.sum())):.3g} %"
