"""A gate over rows: measures, resamples, decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from driftbus.detectors.intervals import Estimate
from driftbus.detectors.metrics import metrics
from driftbus.schemas.errors import ConfigError
from driftbus.stream.gate.bootstrap import Drawn, Spread, difference, draw, gap
from driftbus.stream.gate.checks import Check, Measured, decide
from driftbus.stream.gate.exact import Exact
from driftbus.stream.gate.rows import Material
from driftbus.stream.gate.task import Scored
from driftbus.stream.gate.told import Verdict

LEADING = {"binary": ("auc", "accuracy"), "multiclass": ("accuracy",), "regression": ("mae",)}
"""What a challenger has to be better by when nothing is said: the first that is defined."""


def judge(
    material: Material,
    checks: Sequence[Check],
    *,
    source: str,
    confidence: float,
    point: bool,
    least: int,
    draws: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Verdict:
    """Ask everything of the rows.

    Args:
        material: the rows.
        checks: what is asked.
        source: what was looked at, for people.
        confidence: of the intervals.
        point: decide by values, not by bounds.
        least: groups of fewer rows are passed over.
        draws, seed: of the bootstrap.
        progress: called with the number of draws done.

    Raises:
        ConfigError: a metric is not defined for outcomes of this kind.
    """
    rows = [*([] if material.champion is None else [material.champion]), material.candidate]
    _refuse(checks, material)
    wanted = list(dict.fromkeys(c.metric for c in checks if c.metric and c.kind != "gap"))
    gaps = list(dict.fromkeys((c.metric, c.column) for c in checks if c.kind == "gap"))
    drawn = draw(rows, wanted, gaps, least, material.paired, draws, seed, progress)
    pairs = [each.pairs() for each in rows]
    counted = [metrics(material.shape, each, wanted, confidence) for each in pairs]
    results = [decide(check, _measure(check, drawn, counted, rows, confidence), point=point) for check in checks]
    names = [name for name in material.names if name]
    return Verdict(
        source=source,
        kind=material.shape.kind,
        versions={name: each.n for name, each in zip(names, rows, strict=True)},
        paired=material.paired,
        method=f"bootstrap, {draws:,} draws, seed {seed}",
        confidence=confidence,
        decides="point" if point else "bound",
        results=results,
        metrics={
            name: {m: _of(spread, estimates.get(m), each.n, confidence) for m, spread in found.items()}
            for name, found, estimates, each in zip(names, drawn.metrics, counted, rows, strict=True)
        },
        notes=material.notes,
    )


def default_better(material: Material) -> str:
    """The leading metric that these rows define."""
    exact = Exact(material.candidate)
    return next((m for m in LEADING[material.shape.kind] if not math.isnan(exact.value(m))), "accuracy")


def _measure(
    check: Check, drawn: Drawn, counted: Sequence[dict[str, Estimate]], rows: Sequence[Scored], confidence: float
) -> Measured:
    n = rows[-1].n
    if check.kind == "rows":
        return Measured(None, None, None, n)
    if check.kind == "limit":
        return _of(drawn.metrics[-1][check.metric], counted[-1].get(check.metric), n, confidence)
    if check.kind == "gap":
        return _gap(check, drawn, n, confidence)
    spread = difference(drawn.metrics[0][check.metric], drawn.metrics[1][check.metric])
    found, interval = [s[check.metric] for s in drawn.metrics], spread.interval(confidence)
    if math.isnan(spread.value):
        return Measured(None, None, None, n, "undefined")
    low, high = interval or (None, None)
    if interval is None and spread.value == 0 and not spread.draws.any():
        low = high = 0.0  # both versions say the same of every row
    return Measured(spread.value, low, high, n, f"{found[0].value:.4f} -> {found[1].value:.4f}")


def _of(spread: Spread, counted: Estimate | None, n: int, confidence: float) -> Measured:
    """The bootstrap's interval; where it has none, because no draw differs, the one from counts."""
    if math.isnan(spread.value):
        return Measured(None, None, None, n, "undefined: a class or a prediction is missing")
    interval = spread.interval(confidence)
    if interval is not None:
        return Measured(spread.value, *interval, n)
    if counted is None:
        return Measured(spread.value, None, None, n, "too few rows for an interval")
    return Measured(spread.value, counted.low, counted.high, n, "interval from counts")


def _gap(check: Check, drawn: Drawn, n: int, confidence: float) -> Measured:
    groups = drawn.groups[check.metric, check.column]
    found = gap(groups, confidence)
    if found is None:
        return Measured(None, None, None, n, f"fewer than two groups of {check.column} have rows enough")
    value, low, high, worst, best = found
    told = f"{worst!r} {groups[worst].value:.4f}, {best!r} {groups[best].value:.4f}, {len(groups)} groups"
    return Measured(value, low, high, n, told)


def _refuse(checks: Sequence[Check], material: Material) -> None:
    known = Exact(material.candidate).names
    for check in checks:
        if check.metric and check.metric not in known:
            raise ConfigError(
                f"{check.metric} is not defined for {material.shape.kind} outcomes of rows",
                fix=f"choose from {', '.join(known)}",
            )
        if check.kind in ("better", "not_worse") and material.champion is None:
            raise ConfigError(
                "there is no champion to compare with",
                key="--better",
                fix="give --champion FILE, or --version COLUMN --champion NAME --challenger NAME",
            )
