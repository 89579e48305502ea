"""A study as a self-contained page: no script, nothing from elsewhere, the same bytes for the same study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log10, sqrt

from driftbus.stream.backtest.drifts import POWER, Drift, Kind
from driftbus.stream.backtest.study import Result, Study
from driftbus.stream.backtest.told import least_words, per_week, sentences
from driftbus.stream.report.markup import Html, el, join, name

_WIDTH, _HEIGHT = 280, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 14, 34
_MOST_COLUMNS = 200
_CLASS: dict[Kind, str] = {"shift": "a", "swap": "b", "nulls": "c"}
_KINDS: dict[Kind, str] = {"shift": "shift, σ", "swap": "moved between categories", "nulls": "nulls"}

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2430;--soft:#5d6675;--line:#d9dee6;--page:#fbfcfd;--card:#fff;
--best:#0b7a53;--a:#2457a8;--b:#b4540a;--c:#7a3fa0}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf0;--soft:#a0a9b8;--line:#333b48;--page:#14181f;--card:#1b212a;
--best:#45c795;--a:#7fb0ff;--b:#f0a35e;--c:#c79aec}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1180px;padding:2rem 1.2rem 4rem;background:var(--page);
color:var(--ink);font:15px/1.5 system-ui,sans-serif}h1{font-size:1.5rem;margin:0 0 .3rem}
h2{font-size:1.1rem;margin:2.4rem 0 .4rem}p{margin:.3rem 0;max-width:75ch}.soft,figcaption{color:var(--soft)}
.best{color:var(--best);font-weight:600}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px}
th,td{padding:.35rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.charts{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(250px,1fr))}figure{margin:0;padding:.7rem;background:var(--card);
border:1px solid var(--line);border-radius:8px}figcaption{font-size:13px;overflow-wrap:anywhere}
figcaption b{color:var(--ink)}svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:10px}
.axis{stroke:var(--line)}.dot{fill:var(--soft);opacity:.75}.dot.best{fill:var(--best);opacity:1}
.power{fill:none;stroke-width:2}.a{stroke:var(--a)}.b{stroke:var(--b)}.c{stroke:var(--c)}
.full.a{fill:var(--a)}.full.b{fill:var(--b)}.full.c{fill:var(--c)}.part{fill:var(--card)}
.key{display:inline-block;width:1.4em;border-top:3px solid;margin:0 .4em .2em 1em;vertical-align:middle}
.key.a{border-color:var(--a)}.key.b{border-color:var(--b)}.key.c{border-color:var(--c)}
@media print{body{max-width:none}figure{break-inside:avoid}}
"""


def study_page(study: Study, source: str) -> str:
    """The page.

    Args:
        study: what was found.
        source: file or topic.
    """
    first, *rest = sentences(study)
    drifts = [drift for drift in study.drifts if any(result.delays(drift).asked for result in study.results)]
    columns = study.columns[:_MOST_COLUMNS]
    body = el(
        "main",
        el("h1", "Backtest of ", name(source)),
        el("p", f"{study.rows:,} rows, {study.days:.3g} days, {len(study.columns)} columns.", class_="soft"),
        el("p", f"{first[0].upper()}{first[1:]}", class_="best"),
        *(el("p", f"{text[0].upper()}{text[1:]}.") for text in rest),
        el("h2", "Alarms against delay"),
        el(
            "p",
            "Each dot is a configuration: episodes that it opened a day on the rows as they are, and the median number "
            "of rows until it found a drift that was put in. Lower left is better.",
            class_="soft",
        ),
        el("div", *(_scatter(study, drift) for drift in drifts), class_="charts"),
        el("h2", "The configurations"),
        el("div", _grid(study, drifts), class_="wide"),
        el("h2", "What the recommended one finds"),
        el(
            "p",
            "Median number of rows until a drift is found, against its size: ",
            *(join([el("span", class_=f"key {_CLASS[kind]}"), text]) for kind, text in _KINDS.items()),
            ". Hollow dots: not found in every trial.",
            class_="soft",
        ),
        el("div", *(_power(study, column) for column in columns), class_="charts"),
        el("p", f"and {len(study.columns) - len(columns)} more columns", class_="soft")
        if len(columns) < len(study.columns)
        else None,
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("title", f"Backtest of {source}"),
        el("style", Html(_STYLE)),
    )
    return f"<!doctype html>\n{el('html', head, el('body', body), lang='en')}\n"


def _scatter(study: Study, drift: Drift) -> Html:
    points = [
        (result.alarms / study.days if study.days else 0.0, result.delays(drift).median_rows, result)
        for result in study.results
    ]
    most = max([x for x, _, _ in points] + [1e-9])
    found = [y for _, y, _ in points if y]
    top = max([*found, 10.0])
    low = min([*found, top]) / 1.5
    x_of = _scale(0.0, sqrt(most), _LEFT + 8, _WIDTH - _RIGHT - 8)
    y_of = _scale(log10(low), log10(max(top, low * 2)), _HEIGHT - _BOTTOM - 8, _TOP + 8)
    missed = [result.variant.name for _, y, result in points if not y]
    # the recommended one is drawn last, on top
    ordered = sorted(points, key=lambda p: p[2] is study.results[study.best])
    dots = [_dot(study, x_of(sqrt(x)), y_of(log10(y)), y, result) for x, y, result in ordered if y]
    marks = [
        el("text", "0", x=x_of(0), y=_HEIGHT - 18, text_anchor="middle"),
        el("text", f"{most:.2g}", x=x_of(sqrt(most)), y=_HEIGHT - 18, text_anchor="middle") if most > 1e-6 else None,
        el("text", "alarms a day", x=(_LEFT + _WIDTH) / 2, y=_HEIGHT - 5, text_anchor="middle"),
        *(
            el("text", f"{value:,.0f}", x=_LEFT - 5, y=round(y_of(log10(value)) + 3, 1), text_anchor="end")
            for value in sorted({min(found), max(found)} if found else ())
        ),
    ]
    note = f"; not found by {len(missed)} of {len(points)}" if missed else ""
    return el(
        "figure",
        el("svg", _axes(), *marks, *dots, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"{drift}{note}"),
        el("figcaption", el("b", str(drift)), f", rows until found{note}"),
    )


def _dot(study: Study, x: float, y: float, rows: float, result: Result) -> Html:
    text = f"{result.variant.name}: {per_week(study, result.alarms):.2g} alarms a week, {rows:,.0f} rows"
    best = result is study.results[study.best]
    kind = "dot best" if best else "dot"
    return el("circle", el("title", text), cx=round(x, 1), cy=round(y, 1), r=6 if best else 4.5, class_=kind)


def _grid(study: Study, drifts: Sequence[Drift]) -> Html:
    heads = ["configuration", "alarms", "a week", "false", *(str(drift) for drift in drifts)]
    lines = [
        el(
            "tr",
            el("th", result.variant.name, scope="row"),
            el("td", str(result.alarms)),
            el("td", f"{per_week(study, result.alarms):.2g}"),
            el("td", str(result.null)),
            *(el("td", _cell(result, drift)) for drift in drifts),
            class_="best" if result is study.results[study.best] else None,
        )
        for result in study.results
    ]
    return el("table", el("thead", el("tr", *(el("th", text, scope="col") for text in heads))), el("tbody", *lines))


def _cell(result: Result, drift: Drift) -> str:
    delays = result.delays(drift)
    return f"{delays.median_rows:,.0f}" if delays.median_rows is not None else f"{delays.share:.0%} found"


def _power(study: Study, column: str) -> Html:
    curves, words = [], []
    y_of = _scale(1.0, log10(2 * study.horizon), _HEIGHT - _BOTTOM, _TOP)
    for kind, sizes in POWER.items():
        points = [(size, study.delays_of_power(column, Drift(kind, size))) for size in sizes]
        if not any(delays.asked for _, delays in points):
            continue
        x_of = _scale(log10(sizes[0]), log10(sizes[-1]), _LEFT + 6, _WIDTH - _RIGHT - 6)
        found = [(x_of(log10(s)), y_of(log10(max(10, d.median_rows))), s, d) for s, d in points if d.median_rows]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in found)
        curves.append(el("polyline", points=line, class_=f"power {_CLASS[kind]}"))
        for x, y, size, delays in found:
            text = f"{Drift(kind, size)}: {delays.share:.0%} found, median {delays.median_rows:,.0f} rows"
            whole = delays.found == delays.asked
            dot = el("circle", el("title", text), cx=round(x, 1), cy=round(y, 1), r=4 if whole else 3)
            curves.append(el("g", dot, class_=f"{_CLASS[kind]} {'full' if whole else 'part'}"))
        words.append(f"{_KINDS[kind]}: {least_words(study, column, kind)}")
    ticks = [value for value in (10, 100, 1_000, 10_000) if value <= study.horizon]
    marks = [
        *(el("text", f"{v:,}", x=_LEFT - 5, y=round(y_of(log10(v)) + 3, 1), text_anchor="end") for v in ticks),
        el("text", "small", x=_LEFT, y=_HEIGHT - 18),
        el("text", "large", x=_WIDTH - _RIGHT, y=_HEIGHT - 18, text_anchor="end"),
    ]
    caption = [el("b", name(column)), *(join([el("br"), text]) for text in words)]
    svg = el(
        "svg", _axes(), *marks, *curves, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=f"power: {column}"
    )
    return el("figure", svg, el("figcaption", *caption))


def _axes() -> Html:
    left, bottom = _LEFT, _HEIGHT - _BOTTOM
    return join(
        [
            el("line", x1=left, y1=_TOP, x2=left, y2=bottom, class_="axis"),
            el("line", x1=left, y1=bottom, x2=_WIDTH - _RIGHT, y2=bottom, class_="axis"),
        ]
    )


def _scale(low: float, high: float, a: float, b: float) -> Callable[[float], float]:
    width = high - low or 1.0
    return lambda value: a + (value - low) / width * (b - a)
