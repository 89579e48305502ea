"""The rows of the page: a line per column, and behind it the pictures and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from driftbus.stream.report import charts
from driftbus.stream.report.markup import Child, Html, cut, el, join, name
from driftbus.stream.report.model import Row, Step
from driftbus.stream.report.ruler import Ruler
from driftbus.stream.report.shares import Bars

_OPEN = 3
_POINTS = ((24, 160), (80, 96), (200, 64))
_FEWEST = 32

T = TypeVar("T")


def drifted_rows(rows: Sequence[Row], ruler: Ruler, top: float) -> Html:
    """Columns that drifted, worst first; the first ones are unfolded.

    Args:
        rows: the columns.
        ruler: the page's axis.
        top: the largest index on the page.
    """
    # many columns have pictures of fewer points: the file stays small
    points = next((points for most, points in _POINTS if len(rows) <= most), _FEWEST)
    items = []
    for rank, row in enumerate(rows):
        thin = _thinned(row, points)
        line = el("summary", *_line(thin, top))
        details = el("details", line, _body(thin, ruler, top), class_="row", id=row.key, open=rank < _OPEN)
        items.append(_item(details, row, rank))
    return el("ol", *items, class_="rows", id="drifted")


def stable_rows(rows: Sequence[Row], ruler: Ruler, top: float, *, folded: bool) -> Html:
    """Columns that did not drift, a line each; see `drifted_rows`.

    Args:
        folded: whether they are behind a summary.
    """
    del ruler
    items = [
        _item(el("div", *_line(_thinned(row, 48), top), class_="flat", id=row.key), row, rank)
        for rank, row in enumerate(rows)
    ]
    what = f"{len(rows):,} {'column' if len(rows) == 1 else 'columns'} stable"
    return el(
        "details",
        el("summary", what),
        el("ol", *items, class_="rows"),
        class_="fold stable",
        open=not folded or len(rows) <= _OPEN,
    )


def _item(content: Html, row: Row, rank: int) -> Html:
    since = round(1_000_000 * min((s.start for s in row.spans), default=1.0))
    return el("li", content, data_name=cut(row.column.lower(), 120), data_rank=rank, data_since=since)


def _line(row: Row, top: float) -> list[Child]:
    label = name(row.column) if row.column else Html("all rows")
    kind = el("span", row.kind, class_="sub") if row.kind else None
    place = el("span", name(row.where), class_="where") if row.where else None
    if row.state == "stable":
        verdict = el("span", el("span", "stable", class_="chip stable"), class_="verdict")
    else:
        over = " · over" if row.state == "over" else ""
        verdict = el(
            "span",
            el("span", row.severity, class_=f"chip {row.severity}"),
            " ",
            row.what,
            el("span", f"{row.size} · {row.since}{over}", class_="sub"),
            class_="verdict",
        )
    short = cut(row.column, 60) or "all rows"
    spark = charts.sparkline(row.curve, row.spans, top, f"index of {short} over the replay") if row.curve else None
    bars = charts.histogram(row.bars, f"{short} before and after", small=True) if row.bars else None
    return [el("span", label, " ", place, kind, class_="title"), verdict, el("span", spark), el("span", bars)]


def _body(row: Row, ruler: Ruler, top: float) -> Html:
    short = cut(row.column, 60) or "all rows"
    axis, figures = charts.axis(ruler, 3), []
    if row.bars:
        figures.append(_figure("Before and after", _bars(row.bars, short), _before_after(row)))
    if row.band:
        picture = charts.band_chart(row.band, row.spans, f"quantiles of {short} over time")
        figures.append(
            _figure("Values over time", picture, axis, _note("median, middle 50 % and 80 %; dashed: reference"))
        )
    if row.layers and row.layers.steps:
        picture = charts.layers_chart(row.layers, f"shares of the categories of {short} over time")
        figures.append(_figure("Shares over time", picture, axis, _layer_key(row)))
    if row.curve:
        words = f"index of {short} over time, with episodes"
        picture = charts.index_chart(row.curve, row.spans, row.changes, top, words)
        figures.append(_figure("Index over time", picture, axis, _note("PSI on a square-root scale; shaded: drift")))
    if row.numbers:
        figures.append(_figure("Numbers", _numbers(row.numbers)))
    if row.missing:
        picture = charts.missing_chart(row.missing, row.spans, f"missing values of {short} over time")
        figures.append(_figure("Missing or invalid", picture, axis))
    story = el("ul", *(el("li", cut(sentence, 900)) for sentence in row.more), class_="story")
    return el("div", story, el("div", *figures, class_="charts"), class_="body")


def _figure(title: str, *content: Child) -> Html:
    return el("figure", el("figcaption", title), *content)


def _note(words: str) -> Html:
    return el("div", words, class_="key")


def _bars(bars: Bars, short: str) -> Html:
    if bars.even or all(len(label) <= 6 for label in bars.labels):
        return join([charts.histogram(bars, f"histogram of {short} before and after"), charts.histogram_axis(bars)])
    return _shares_table(bars)


def _shares_table(bars: Bars) -> Html:
    """Categories with their shares: long names need lines of their own."""
    top = float(max(bars.before.max(initial=0), bars.after.max(initial=0))) or 1.0
    rows = []
    for label, a, b in zip(bars.labels, bars.before.tolist(), bars.after.tolist(), strict=True):
        cells = [
            el("td", f"{v:.1%}", el("i", class_=c, style=f"width:{80 * v / top:.0f}%"), class_="share")
            for v, c in ((a, "b"), (b, "a"))
        ]
        rows.append(el("tr", el("th", name(label, 32), scope="row"), *cells))
    return el("table", _table_head(), el("tbody", *rows), class_="shares")


def _before_after(row: Row) -> Html:
    scale = el("i", "log scale") if row.bars and row.bars.scale else None
    return el(
        "div",
        el("i", el("span", class_="swatch before"), "reference"),
        el("i", el("span", class_="swatch after"), row.after),
        scale,
        class_="key",
    )


def _layer_key(row: Row) -> Html:
    assert row.layers is not None
    last = len(row.layers.names) - 1
    used = [i for i in range(last + 1) if max(s[2][i] for s in row.layers.steps) > 1e-9]
    return el(
        "div",
        *(
            el("i", el("span", class_=f"swatch {'rest' if i == last else f'l{i}'}"), name(row.layers.names[i], 24))
            for i in used
        ),
        class_="key",
    )


def _numbers(numbers: Sequence[tuple[str, str, str]]) -> Html:
    body = [el("tr", el("th", key, scope="row"), el("td", a), el("td", b)) for key, a, b in numbers]
    return el("table", _table_head(), el("tbody", *body))


def _table_head() -> Html:
    return el("thead", el("tr", el("td"), el("th", "before", scope="col"), el("th", "after", scope="col")))


def _thinned(row: Row, points: int) -> Row:
    return replace(
        row,
        curve=_averaged(row.curve, points),
        missing=_averaged(row.missing, points),
        band=replace(row.band, steps=_every(row.band.steps, points)) if row.band else None,
        layers=replace(row.layers, steps=_every(row.layers.steps, points)) if row.layers else None,
    )


def _averaged(steps: tuple[Step, ...], points: int) -> tuple[Step, ...]:
    if len(steps) <= points:
        return steps
    found = []
    for i in range(points):
        part = steps[i * len(steps) // points : (i + 1) * len(steps) // points]
        values = [v for _, _, v in part if v is not None]
        found.append((part[0][0], part[-1][1], sum(values) / len(values) if values else None))
    return tuple(found)


def _every(steps: tuple[T, ...], points: int) -> tuple[T, ...]:
    return steps if len(steps) <= points else tuple(steps[i * len(steps) // points] for i in range(points))
