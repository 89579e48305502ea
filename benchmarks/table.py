"""Results as one table: for a terminal, and as Markdown for docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.measure import Figure, Ratio, Report

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = ("what", "ours", "theirs", "ratio", "range", "wanted", "")


def machine() -> str:
    """What the figures were measured on; absolute ones travel no further."""
    load = f"load average {os.getloadavg()[2]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"{os.cpu_count()} cores ({load}), {platform.machine()}, Python {platform.python_version()}"


def cells(row: Ratio | Figure) -> tuple[str, ...]:
    """A result as the cells under `HEAD`."""
    if isinstance(row, Figure):
        verdict = "" if row.holds is None else "yes" if row.holds else "NO"
        return (row.name, row.value, "", "", "", row.wanted, verdict)
    spread = f"{_short(min(row.ratios))}-{_short(max(row.ratios))}"
    wanted = "" if row.wanted is None else f">= {row.wanted:g}"
    verdict = "" if row.wanted is None else "yes" if row.median >= row.wanted else "NO"
    ours, theirs = (f"{_short(_median(values))} {row.unit}" for values in (row.ours, row.theirs))
    return (row.name, ours, theirs, _short(row.median), spread, wanted, verdict)


def as_text(reports: Iterable[tuple[str, Report]]) -> str:
    """All results, aligned."""
    lines: list[tuple[str, ...] | str] = [HEAD]
    for _, report in reports:
        lines += ["", report.title, *(cells(row) for row in report.rows)]
        lines += [f"  {row.name}: {row.note}" for row in report.rows if row.note]
        lines += [f"  {line}" for line in report.lines]
    widths = [max(len(line[i]) for line in lines if isinstance(line, tuple)) for i in range(len(HEAD))]
    return "\n".join(
        line if isinstance(line, str) else "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_markdown(report: Report) -> str:
    """One benchmark's results."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in report.rows]
    lines += ["", *(f"- {row.name}: {row.note}" for row in report.rows if row.note)]
    if report.lines:
        lines += ["", "```", *report.lines, "```"]
    return "\n".join(lines).rstrip()


def write(reports: Sequence[tuple[str, Report]]) -> None:
    """Put the tables into docs/benchmarks.md, each between its ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        LookupError: the document has no place for one.
    """
    text = DOCUMENT.read_text()
    for name, body in [("machine", machine()), *((name, as_markdown(report)) for name, report in reports)]:
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not place.search(text):
            raise LookupError(f"{DOCUMENT} has no <!-- {name} --> … <!-- /{name} -->")
        text = place.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)  # type: ignore[misc]
    DOCUMENT.write_text(text)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _short(value: float) -> str:
    """Three digits: 0.412, 6.54, 1,230, 45.6k, 1.24M."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
