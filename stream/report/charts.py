"""Pictures as inline SVG: stretched to the width there is, with words in HTML so that they keep their size.

Places on the x axis are from 0 to 1. Every picture has a name for those who can't see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from driftbus.stream.report.markup import Html, el
from driftbus.stream.report.model import Band, Layers, Span, Step
from driftbus.stream.report.ruler import Ruler
from driftbus.stream.report.shares import Bars, number

W, H = 1000, 100
MODERATE, SEVERE = 0.1, 0.25


def axis(ruler: Ruler, most: int = 7) -> Html:
    """Ticks below a picture."""

    def tick(place: float, words: str) -> Html:
        end = "first" if place < 0.06 else "last" if place > 0.94 else None
        return el("span", words, style=f"left:{place:.1%}", class_=end)

    words = [tick(place, words) for place, words in ruler.ticks(most)]
    return el("div", *words, class_="axis", aria_hidden="true")


def timeline(
    ruler: Ruler, volume: Sequence[Step], top: str, incidents: Sequence[Span], triggers: Sequence[tuple[float, str]]
) -> Html:
    """The whole replay: a bar per incident in lanes, triggers as marks, volume below."""
    lanes, placed = _lanes(incidents)
    bars = [
        el(
            "a",
            el("b", str(i + 1)),
            span.words.partition(":")[2],
            href=f"#incident-{i + 1}",
            class_=f"bar {span.severity}{' open' if span.open else ''}",
            style=f"left:{span.start:.2%};width:{max(0.008, span.end - span.start):.2%};top:calc({lane}*1.7rem)",
            title=span.words,
            aria_label=span.words,
        )
        for i, (span, lane) in enumerate(zip(incidents, placed, strict=True))
    ]
    marks = [
        el("i", "▲", class_="trigger", style=f"left:{x:.2%}", title=f"retrain trigger, {words}")
        for x, words in triggers
    ]
    held = [(a, b, 0.7 * v if v is not None else None) for a, b, v in volume]
    area = el("svg", _area(held, "volume"), viewBox=f"0 0 {W} {H}", preserveAspectRatio="none", role="img",
              aria_label=f"volume over time, at most {top}" if top else "volume over time")  # fmt: skip
    return el(
        "div",
        el("div", *bars, *_rules(ruler), class_="lanes", style=f"height:calc({max(1, lanes)}*1.7rem)"),
        el("div", *marks, class_="triggers") if marks else None,
        el("div", area, el("span", f"at most {top}" if top else "", class_="top"), class_="volume"),
        axis(ruler),
        class_="timeline",
    )


def sparkline(curve: Sequence[Step], spans: Sequence[Span], top: float, label: str) -> Html:
    """The index, small: a line with its episodes shaded."""
    line = _line(_scaled(curve, top), "line")
    return _svg(label, *_shades(spans), *_thresholds(top), line, class_="spark")


def index_chart(curve: Sequence[Step], spans: Sequence[Span], changes: Sequence[float], top: float, label: str) -> Html:
    """The index with thresholds, episodes and change points."""
    scaled = _scaled(curve, top)
    marks = [el("path", d=f"M{_x(s.start)} 0V{H}", class_="since") for s in spans]
    marks += [el("path", d=f"M{_x(place)} 0V{H}", class_="since again") for place in changes]
    whiskers = [
        el("rect", x=_x(s.low), y=0, width=max(1, _x(s.high) - _x(s.low)), height=H, class_="interval") for s in spans
    ]
    svg = _svg(
        label, *_shades(spans), *whiskers, *marks, *_thresholds(top), _area(scaled, "under"), _line(scaled, "line")
    )
    return el("div", svg, *_levels(((SEVERE, "severe"), (MODERATE, "moderate")), top), class_="plot")


def histogram(bars: Bars, label: str, *, small: bool = False) -> Html:
    """Before (grey) and after (colour); stretches of a scale as outlines, values and categories side by side."""
    top = float(max(bars.before.max(initial=0), bars.after.max(initial=0))) or 1.0
    if bars.even:
        content: list[Html] = [_outline(bars.before / top, "before"), _outline(bars.after / top, "after")]
    else:
        content = [_pairs(bars.before / top, 0.10, "before"), _pairs(bars.after / top, 0.50, "after")]
    if not small:
        content += _targets(bars)
    return _svg(label, *content, class_="spark hist" if small else "hist")


def histogram_axis(bars: Bars) -> Html:
    """Labels of the ends and the middle; of each bar where there are few and short ones."""
    n = len(bars.labels)
    if not bars.even and n <= 12 and all(len(label) <= 6 for label in bars.labels):
        words = [el("span", bars.labels[i], style=f"left:{(i + 0.5) / n:.1%}") for i in range(n)]
        return el("div", *words, class_="axis", aria_hidden="true")
    ends = [bars.labels[0].split(" – ")[0], bars.labels[n // 2].split(" – ")[0], bars.labels[-1].split(" – ")[-1]]
    places = ("first", None, "last")
    words = [
        el("span", text, style=f"left:{x}%", class_=c) for text, x, c in zip(ends, (0, 50, 100), places, strict=True)
    ]
    return el("div", *words, class_="axis", aria_hidden="true")


def band_chart(band: Band, spans: Sequence[Span], label: str) -> Html:
    """The middle 80 % and 50 % and the median over time; the reference's as dashes."""
    values = np.array([q for _, _, q in band.steps] + [band.reference])
    # one wild step must not flatten the rest
    low = min(float(np.quantile(values[:, 0], 0.02)), band.reference[0])
    high = max(float(np.quantile(values[:, -1], 0.98)), band.reference[-1])
    room = 0.06 * (high - low) or 1.0
    low, high = low - room, high + room

    def place(v: float) -> float:
        return (v - low) / (high - low)

    def ribbon(a: int, b: int, class_: str) -> Html:
        upper = [(x0, x1, place(q[b])) for x0, x1, q in band.steps]
        lower = [(x0, x1, place(q[a])) for x0, x1, q in band.steps]
        there = " ".join(f"{_x((x0 + x1) / 2)} {_y(v)}" for x0, x1, v in upper)
        back = " ".join(f"{_x((x0 + x1) / 2)} {_y(v)}" for x0, x1, v in reversed(lower))
        return el("path", d=f"M{there}L{back}Z", class_=class_)

    dashes = [el("path", d=f"M0 {_y(place(band.reference[i]))}H{W}", class_="ref") for i in (0, 2, 4)]
    middle = _line([(x0, x1, place(q[2])) for x0, x1, q in band.steps], "line")
    svg = _svg(label, *_shades(spans), ribbon(0, 4, "wide"), ribbon(1, 3, "narrow"), *dashes, middle)
    return el("div", svg, *_ends(number(high - room), number(low + room)), class_="plot")


def layers_chart(layers: Layers, label: str) -> Html:
    """Shares of categories, one on the other."""
    found, below = [], np.zeros(len(layers.steps))
    for i in range(len(layers.names)):
        above = np.minimum(1.0, below + np.array([s[2][i] for s in layers.steps]))
        if (above - below).max(initial=0) > 1e-9:
            xs = [_x((a + b) / 2) for a, b, _ in layers.steps]
            xs[0], xs[-1] = _x(layers.steps[0][0]), _x(layers.steps[-1][1])
            there = " ".join(f"{x} {_y(v)}" for x, v in zip(xs, above.tolist(), strict=True))
            back = " ".join(f"{x} {_y(v)}" for x, v in zip(reversed(xs), reversed(below.tolist()), strict=True))
            last = " rest" if i == len(layers.names) - 1 else f" l{i}"
            found.append(el("path", el("title", layers.names[i]), d=f"M{there}L{back}Z", class_=f"layer{last}"))
        below = above
    return el("div", _svg(label, *found), *_ends("100 %", "0"), class_="plot")


def missing_chart(steps: Sequence[Step], spans: Sequence[Span], label: str) -> Html:
    """Share of missing values over time, from 0 to the largest."""
    top = max((v for _, _, v in steps if v is not None), default=0.0) or 1.0
    scaled = _scaled(steps, top * 1.08, root=False)
    svg = _svg(label, *_shades(spans), _area(scaled, "under"), _line(scaled, "line"))
    return el("div", svg, *_ends(f"{top:.3g}" if top > 1 else f"{100 * top:.3g} %", "0"), class_="plot")


def whisker(span: Span, label: str) -> Html:
    """A change point with its interval."""
    low, high = 100 * span.low, 100 * max(span.high, span.low)
    return el(
        "span",
        el("i", class_="range", style=f"left:{low:.1f}%;width:{max(0.4, high - low):.1f}%"),
        el("i", class_="dot", style=f"left:{100 * span.start:.1f}%"),
        class_=f"whisker {span.severity}",
        role="img",
        aria_label=label,
        title=label,
    )


def _svg(label: str, *content: Html, class_: str = "") -> Html:
    return el("svg", *content, viewBox=f"0 0 {W} {H}", preserveAspectRatio="none", role="img", aria_label=label,
              class_=class_ or None)  # fmt: skip


def _x(place: float) -> int:
    return round(W * place)


def _y(value: float) -> int:
    return round(H - H * min(1.0, max(0.0, value)))


def _scaled(steps: Iterable[Step], top: float, *, root: bool = True) -> list[Step]:
    """Heights from 0 to 1; an index grows with the square root, so that small changes can be seen."""
    power = 0.5 if root else 1.0
    return [(a, b, None if v is None else (max(0.0, v) / top) ** power) for a, b, v in steps]


def _runs(steps: Sequence[Step]) -> Iterable[list[tuple[int, int]]]:
    run: list[tuple[int, int]] = []
    for a, b, v in steps:
        if v is None:
            if run:
                yield run
            run = []
        else:
            run.append((_x((a + b) / 2), _y(v)))
    if run:
        yield run


def _line(steps: Sequence[Step], class_: str) -> Html:
    d = "".join(f"M{' '.join(f'{x} {y}' for x, y in run)}{'h1' if len(run) == 1 else ''}" for run in _runs(steps))
    return el("path", d=d, class_=class_) if d else Html("")


def _area(steps: Sequence[Step], class_: str) -> Html:
    parts = []
    for run in _runs(steps):
        points = " ".join(f"{x} {y}" for x, y in run)
        parts.append(f"M{run[0][0]} {H}L{points}L{run[-1][0]} {H}Z")
    return el("path", d="".join(parts), class_=class_) if parts else Html("")


def _shades(spans: Sequence[Span]) -> list[Html]:
    return [
        el("rect", el("title", s.words), x=_x(s.start), y=0, width=max(2, _x(s.end) - _x(s.start)), height=H,
           class_=f"shade {s.severity}")
        for s in spans
    ]  # fmt: skip


def _thresholds(top: float) -> list[Html]:
    return [el("path", d=f"M0 {_y((v / top) ** 0.5)}H{W}", class_="threshold") for v in (MODERATE, SEVERE) if v < top]


def _levels(levels: Iterable[tuple[float, str]], top: float) -> list[Html]:
    return [
        el("span", words, class_="level", style=f"bottom:{100 * (v / top) ** 0.5:.1f}%", aria_hidden="true")
        for v, words in levels
        if v < top
    ]


def _ends(high: str, low: str) -> list[Html]:
    return [el("span", high, class_="high", aria_hidden="true"), el("span", low, class_="low", aria_hidden="true")]


def _rules(ruler: Ruler) -> list[Html]:
    return [el("i", class_="rule", style=f"left:{place:.1%}") for place, _ in ruler.ticks()]


def _outline(heights: NDArray[np.float64], class_: str) -> Html:
    n = heights.size
    steps = "".join(f"V{_y(h)}H{_x((i + 1) / n)}" for i, h in enumerate((0.94 * heights).tolist()))
    return el("path", d=f"M0 {H}{steps}V{H}Z", class_=class_)


def _pairs(heights: NDArray[np.float64], shift: float, class_: str) -> Html:
    n, width = heights.size, 0.40
    d = []
    for i, h in enumerate((0.94 * heights).tolist()):
        a, b = _x((i + shift) / n), _x((i + shift + width) / n)
        d.append(f"M{a} {H}V{_y(h)}H{b}V{H}Z")
    return el("path", d="".join(d), class_=class_)


def _targets(bars: Bars) -> list[Html]:
    """Invisible columns that say on hovering what a bar holds."""
    n, found = len(bars.labels), []
    for i, label in enumerate(bars.labels):
        words = f"{label}: {bars.before[i]:.1%} before, {bars.after[i]:.1%} after"
        found.append(el("rect", el("title", words), x=_x(i / n), y=0, width=round(W / n), height=H, class_="target"))
    return found


def _lanes(spans: Sequence[Span]) -> tuple[int, list[int]]:
    """As few lanes as there are spans at once; a lane per span."""
    ends: list[float] = []
    placed = []
    for span in spans:
        lane = next((i for i, end in enumerate(ends) if end <= span.start), len(ends))
        if lane == len(ends):
            ends.append(0.0)
        ends[lane] = max(span.end, span.start + 0.02)
        placed.append(lane)
    return len(ends), placed
