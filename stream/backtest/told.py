"""A study in words and tables, and as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from driftbus.schemas.configtypes import format_duration
from driftbus.stream.backtest.drifts import POWER, Drift, Kind
from driftbus.stream.backtest.study import Delays, Result, Study, mean_delay

_MOST_COLUMNS = 40
_ASKED = {"shift": "smallest shift", "swap": "smallest move between categories", "nulls": "smallest share of nulls"}


def per_week(study: Study, alarms: int) -> float:
    """Alarms as a rate."""
    return alarms * 7 / study.days if study.days else 0.0


def grid_table(study: Study) -> Table:
    """A line per configuration: alarms against delay."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("configuration")
    table.add_column("alarms", justify="right")
    table.add_column("a week", justify="right")
    table.add_column("false", justify="right")
    for drift in study.drifts:
        table.add_column(str(drift), justify="right")
    for i, result in enumerate(study.results):
        table.add_row(
            ("→ " if i == study.best else "  ") + result.variant.name,
            f"{result.alarms}",
            f"{per_week(study, result.alarms):.2g}",
            f"{result.null}",
            *(_delay(result.delays(drift)) for drift in study.drifts),
            style="bold green" if i == study.best else "",
        )
    return table


def power_table(study: Study) -> Table:
    """A line per column: the smallest drift of each kind that the recommended configuration finds, and how fast."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("column")
    for kind in POWER:
        table.add_column(_ASKED[kind])
    table.add_column("alarms", justify="right")
    best = study.results[study.best]
    for column in study.columns[:_MOST_COLUMNS]:
        cells = [least_words(study, column, kind) for kind in POWER]
        table.add_row(column, *cells, str(best.by_column.get(column, 0) or ""))
    return table


def sentences(study: Study) -> Iterator[str]:
    """The recommendation, and what to make of it."""
    best = study.results[study.best]
    yield f"recommended: {best.variant.name}"
    expected = study.budget * study.days / 7
    seen = f"{best.alarms} {'episode' if best.alarms == 1 else 'episodes'} in {study.days:.3g} days"
    yield f"it opened {seen} ({study.budget:g} a week accepted), and {best.null} without drift"
    if best.alarms > max(1.0, 3 * expected) and best.null <= max(1.0, 3 * expected):
        yield "so these rows drift, or have cycles that the reference does not know"
    if best.variant.promised is None or best.variant.promised > study.budget:
        yield f"no configuration that was tried promises at most {study.budget:g} false alarms a week: try a lower one"
    if study.days < 7:
        yield f"{study.days:.2g} days say little of cycles: try it with some weeks"


def study_json(study: Study) -> dict[str, Any]:
    """Everything, as plain values."""
    return {
        "rows": study.rows,
        "days": study.days,
        "false_alarms_per_week": study.budget,
        "horizon_rows": study.horizon,
        "recommended": study.results[study.best].variant.name,
        "configurations": [_result_json(study, result) for result in study.results],
        "power": [
            {
                "column": column,
                "kind": kind,
                "curve": [
                    {"size": size, **_delays_json(study.delays_of_power(column, Drift(kind, size)))} for size in sizes
                ],
            }
            for column in study.columns
            for kind, sizes in POWER.items()
            if study.delays_of_power(column, Drift(kind, sizes[-1])).asked
        ],
    }


def _result_json(study: Study, result: Result) -> dict[str, Any]:
    return {
        "name": result.variant.name,
        "divisor": result.variant.settings.divisor,
        "alarms": result.alarms,
        "alarms_per_day": result.alarms / study.days if study.days else None,
        "false_alarms_of_half": result.null,
        "alarms_by_column": dict(result.by_column),
        "mean_delay_rows": mean_delay(result, study.drifts, study.horizon),
        "drifts": [
            {"kind": d.kind, "size": d.size, **_delays_json(result.delays(d))}
            for d in study.drifts
            if result.delays(d).asked
        ],
    }


def _delays_json(delays: Delays) -> dict[str, Any]:
    return {
        "trials": delays.asked,
        "found": delays.found,
        "median_delay_rows": delays.median_rows,
        "p95_delay_rows": delays.p95_rows,
        "median_delay_ms": delays.median_ms,
    }


def _delay(delays: Delays) -> str:
    if not delays.asked:
        return "·"
    if delays.median_rows is None:
        return f"{delays.share:.0%} found"
    return f"{delays.median_rows:,.0f}" + ("" if delays.found == delays.asked else f" ({delays.share:.0%})")


def least_words(study: Study, column: str, kind: Kind) -> str:
    """The smallest drift of a kind that is found in a column, and how fast."""
    if not study.delays_of_power(column, Drift(kind, POWER[kind][-1])).asked:
        return "·"
    found = study.least_found(column, kind)
    if found is None:
        return f"more than {str(Drift(kind, POWER[kind][-1])).split(' ')[1]}"
    drift, delays = found
    time = f", {format_duration(_round(delays.median_ms))}" if delays.median_ms else ""
    return f"{str(drift).split(' ')[1]} in {delays.median_rows:,.0f} rows{time}"


def _round(ms: float) -> int:
    """To two digits' worth of a readable unit."""
    for unit in (86_400_000, 3_600_000, 60_000, 1_000):
        if ms >= 2 * unit:
            return round(ms / unit) * unit
    return round(ms)
