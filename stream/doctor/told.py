"""Findings as lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.text import Text

from driftbus.schemas.secrets import masked
from driftbus.stream.doctor.finding import Finding, Status
from driftbus.stream.replay.words import plain

_SIGNS: dict[Status, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "wrong": ("✗", "bold red"),
    "advice": ("!", "yellow"),
    "not_checked": ("·", "dim"),
}
_COLUMN = 34
_WORDS: dict[Status, str] = {"wrong": "to mend", "advice": "advice", "not_checked": "not checked", "ok": "fine"}


def line_of(finding: Finding) -> Text:
    """One line, and one more with what to do."""
    sign, style = _SIGNS[finding.status]
    text = Text()
    text.append(f"{sign} ", style)
    what = plain(masked(finding.what))
    text.append(f"{what:<{_COLUMN}}", "" if finding.status == "not_checked" else "bold")
    text.append(f" {plain(masked(finding.found))}", "dim" if finding.status == "not_checked" else "")
    if finding.fix:
        text.append("\n    fix: ", style)
        text.append(plain(masked(finding.fix)))
    return text


def summary_of(findings: Iterable[Finding]) -> Text:
    """How many of each."""
    counts = Counter(finding.status for finding in findings)
    told = [(f"{counts[status]} {word}", _SIGNS[status][1]) for status, word in _WORDS.items() if counts[status]]
    text = Text()
    for number, (said, style) in enumerate(told):
        text.append(", " if number else "")
        text.append(said, style)
    return text
