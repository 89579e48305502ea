"""What a person reads first: a transition as one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from driftbus.detectors.profile import ColumnProfile
from driftbus.detectors.verdict import Transition

_WHAT = {
    "shift": "values have shifted {}",
    "spread": "the spread has gone {}",
    "shape": "the distribution has changed {}",
    "category": "category shares have changed {}",
    "nulls": "the share of nulls has gone {}",
    "invalid": "the share of invalid values has gone {}",
    "unseen": "unknown categories have come, their share has gone {}",
    "range": "the share of values outside the reference's range has gone {}",
    "distinct": "the number of different values has gone {}",
    "stuck": "one value comes again and again",
    "volume": "the number of rows an hour has gone {}",
    "duplicates": "ids come more than once, their share has gone {}",
    "freshness": "records come late, the delay has gone {}",
    "correlation": "the correlation has gone {}",
    "joint": "the columns no longer belong together as they did",
    "reconstruction": "what the columns share has changed, the error of rebuilding rows has gone {}",
}
_SCORED = frozenset({"shift", "spread", "shape"})
_AHEAD = "records claim to have happened after Kafka received them, their share has gone up"
_FORMS = {"share": "{:.2%}", "score": "{:+.2f}σ", "rows": "{:,.0f}", "ms": "{:,.0f} ms", "r": "{:+.2f}"}
_DIGITS = {"share": 4, "score": 2, "rows": 0, "ms": 0, "r": 2}
_COUNTED = {"volume": "rows", "distinct": "rows", "freshness": "ms", "correlation": "r"}
_PROCESSES = frozenset({"volume", "duplicates", "freshness"})
"""Aspects that have no reference among the rows of the profile."""


def unit_of(t: Transition, column: ColumnProfile | None) -> str:
    """How a value is to be read: ``share``, ``score`` (in standard deviations), ``rows``, ``ms``, ``r``."""
    if t.what in _COUNTED:
        return "share" if t.what == "freshness" and t.direction == "down" else _COUNTED[t.what]
    if t.what == "reconstruction":
        return "score"
    scored = column is not None and column.kind == "numeric" and column.bins > 2 and t.what in _SCORED
    return "score" if scored else "share"


def sentence(t: Transition, column: ColumnProfile | None, names: Sequence[str]) -> str:
    """The sentence of a transition.

    Args:
        t: the transition.
        column: of the profile, None when it is about the group as a whole.
        names: unknown categories of the pane, most frequent first.
    """
    if t.what == "schema":
        return _schema(t)
    unit = unit_of(t, column)
    subject = ("training/serving skew: " if t.nature == "skew" else "") + (t.column or "the stream")
    if t.status == "closed":
        return f"{subject}: over" if t.aspect in _PROCESSES else f"{subject}: back to the reference"
    told = f"the share of {t.category!r} has gone {{}}" if t.category else _WHAT[t.what]
    if t.what == "freshness" and t.direction == "down":
        told = _AHEAD
    text = f"{subject}: {told.format(t.direction).strip()}"
    if t.status == "changed":
        text = f"{subject} moved again: {told.format(t.direction).strip()}"
    if t.reference_value is not None and t.current_value is not None:
        # rounded first and with zero added, or a tiny negative number would read -0.00
        values = (_FORMS[unit].format(round(v, _DIGITS[unit]) + 0.0) for v in (t.reference_value, t.current_value))
        text += f", {' → '.join(values)}"
    if t.among:
        text += f", most of all {', '.join(t.among)}"
    if names:
        text += f" (among them {', '.join(repr(name) for name in names[:3])})"
    return f"{text}; {t.severity}, {t.detector} {t.statistic:.3g} against {t.threshold:.3g}"


def _schema(t: Transition) -> str:
    if t.status == "closed":
        return f"the stream: the change of its schema is over ({t.detail})"
    return f"the stream: records with another schema have come: {t.detail or 'fields unknown'}; {t.severity}"
