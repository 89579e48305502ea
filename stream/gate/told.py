"""What a gate found, for people, for programs and for CI servers (JUnit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from driftbus.stream.gate.checks import Measured, Result


@dataclass(frozen=True)
class Verdict:
    """A gate's answer.

    Args:
        source: what was looked at.
        kind: of the outcomes.
        versions: name → labelled rows, the candidate last.
        paired: whether both versions scored the same rows.
        method: how intervals were made.
        confidence: of the intervals.
        decides: ``bound`` or ``point``.
        results: of the checks.
        metrics: version → metric → measured, for information.
        notes: sentences for people.
    """

    source: str
    kind: str
    versions: dict[str, int]
    paired: bool
    method: str
    confidence: float
    decides: str
    results: Sequence[Result]
    metrics: dict[str, dict[str, Measured]]
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all is as asked."""
        return all(result.passed for result in self.results)


def lines(verdict: Verdict) -> list[str]:
    """The checks as an aligned table, then the answer."""
    rows = [
        [
            "pass" if r.passed else "FAIL",
            r.check.name,
            _value(r.measured) if r.check.metric else f"{r.measured.n:,}",
            r.wanted,
            r.measured.note,
        ]
        for r in verdict.results
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    told = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows]
    failed = sum(not r.passed for r in verdict.results)
    answer = "passed" if not failed else f"{failed} of {len(rows)} checks failed"
    return [*told, "", f"  {answer}"]


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The same as JSON values; numbers that are undefined are null."""
    return {
        "passed": verdict.passed,
        "source": verdict.source,
        "kind": verdict.kind,
        "versions": verdict.versions,
        "paired": verdict.paired,
        "method": verdict.method,
        "confidence": verdict.confidence,
        "decides": verdict.decides,
        "checks": [
            {
                "name": r.check.name,
                "kind": r.check.kind,
                "metric": r.check.metric,
                "column": r.check.column,
                "passed": r.passed,
                "wanted": r.wanted,
                "limit": r.check.limit,
                **_measured(r.measured),
            }
            for r in verdict.results
        ],
        "metrics": {
            version: {metric: _measured(m) for metric, m in found.items()} for version, found in verdict.metrics.items()
        },
        "notes": list(verdict.notes),
    }


def as_junit(verdict: Verdict) -> str:
    """A JUnit report: one test case a check, a failure where the answer is no."""
    failed = sum(not r.passed for r in verdict.results)
    suite = ElementTree.Element(
        "testsuite", name="driftbus gate", tests=str(len(verdict.results)), failures=str(failed), errors="0"
    )
    for r in verdict.results:
        case = ElementTree.SubElement(suite, "testcase", classname="driftbus.gate", name=_printable(r.check.name))
        found = _value(r.measured) if r.check.metric else f"{r.measured.n:,}"
        said = _printable(
            f"{r.check.name}: {found}, wanted {r.wanted}{f' ({r.measured.note})' if r.measured.note else ''}"
        )
        if r.passed:
            ElementTree.SubElement(case, "system-out").text = said
        else:
            ElementTree.SubElement(case, "failure", type=r.check.kind, message=said)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _measured(m: Measured) -> dict[str, Any]:
    return {"value": m.value, "low": m.low, "high": m.high, "rows": m.n, "note": m.note}


def _value(m: Measured) -> str:
    if m.value is None:
        return "undefined"
    interval = "(no interval)" if m.low is None or m.high is None else f"({m.low:.4f} to {m.high:.4f})"
    return f"{m.value:.4f} {interval}"


def _printable(text: str) -> str:
    """XML has no control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)
