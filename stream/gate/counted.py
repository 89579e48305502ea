"""A gate over counts of outcomes, as a topic gives them: intervals in closed form instead of draws.

Source of differences: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, Statistics in
Medicine 27 (2008): MOVER, from an interval of each side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import hypot

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.intervals import Estimate
from driftbus.detectors.metrics import metrics
from driftbus.detectors.outcomes import OutcomeShape
from driftbus.schemas.errors import ConfigError
from driftbus.stream.gate.checks import Check, Measured, decide
from driftbus.stream.gate.told import Verdict

Int = NDArray[np.int64]


def judge_counts(
    shape: OutcomeShape,
    versions: Mapping[str, Int],
    groups: Mapping[str, Mapping[str, Int]],
    checks: Sequence[Check],
    *,
    source: str,
    confidence: float,
    point: bool,
    least: int,
    notes: Sequence[str] = (),
) -> Verdict:
    """Ask everything of counts.

    Args:
        shape: of the outcomes.
        versions: name → int64[shape.pairs], the candidate last.
        groups: column → value → pairs of the candidate.
        checks: what is asked.
        source: what was looked at, for people.
        confidence: of the intervals.
        point: decide by values, not by bounds.
        least: groups of fewer labels are passed over.
        notes: sentences for people.

    Raises:
        ConfigError: a version is compared with none.
    """
    wanted = list(dict.fromkeys(c.metric for c in checks if c.metric))
    found = {name: metrics(shape, pairs, wanted, confidence) for name, pairs in versions.items()}
    rows = {name: labelled(shape, pairs) for name, pairs in versions.items()}

    def measured(check: Check) -> Measured:
        n, last = list(rows.values())[-1], list(found.values())[-1]
        if check.kind == "rows":
            return Measured(None, None, None, n)
        if check.kind == "gap":
            parts = {v: p for v, p in groups.get(check.column, {}).items() if labelled(shape, p) >= least}
            return gap_of(shape, check, parts, n, confidence)
        if check.kind == "limit":
            return _of(last.get(check.metric), n)
        if len(found) < 2:
            raise ConfigError("there is no champion to compare with", key="--champion", fix="name a version")
        return difference_of(next(iter(found.values())).get(check.metric), last.get(check.metric), n)

    return Verdict(
        source=source,
        kind=shape.kind,
        versions=rows,
        paired=False,
        method="from counts",
        confidence=confidence,
        decides="point" if point else "bound",
        results=[decide(check, measured(check), point=point) for check in checks],
        metrics={name: {m: _of(e, rows[name]) for m, e in of.items()} for name, of in found.items()},
        notes=list(notes),
    )


def labelled(shape: OutcomeShape, pairs: Int) -> int:
    """Predictions that have a label."""
    if shape.kind == "regression":
        return int(shape.table("label", pairs)[0])
    table = shape.table("confusion" if shape.kind == "multiclass" else "score", pairs)
    return int(table[:, : shape.labels + 1].sum())


def difference_of(champion: Estimate | None, challenger: Estimate | None, n: int) -> Measured:
    """Challenger minus champion, of different rows."""
    if champion is None or challenger is None:
        return Measured(None, None, None, n, "undefined")
    value, low, high = _minus(challenger, champion)
    return Measured(value, low, high, n, f"{champion.value:.4f} -> {challenger.value:.4f}")


def gap_of(shape: OutcomeShape, check: Check, parts: Mapping[str, Int], n: int, confidence: float) -> Measured:
    """The largest difference between two groups; its interval holds for all pairs at once (Bonferroni)."""
    pairs = max(1, len(parts) * (len(parts) - 1) // 2)
    each = 1 - (1 - confidence) / pairs
    found = {value: metrics(shape, counts, [check.metric], each).get(check.metric) for value, counts in parts.items()}
    held = {value: e for value, e in found.items() if e is not None}
    if len(held) < 2:
        return Measured(None, None, None, n, f"fewer than two groups of {check.column} have rows enough")
    least, most = min(held, key=lambda v: held[v].value), max(held, key=lambda v: held[v].value)
    value, low, _ = _minus(held[most], held[least])
    ends = [abs(end) for a, b in combinations(held, 2) for end in _minus(held[a], held[b])[1:]]
    told = f"{least!r} {held[least].value:.4f}, {most!r} {held[most].value:.4f}, {len(held)} groups"
    return Measured(value, max(0.0, low), max(ends), n, told)


def _minus(one: Estimate, other: Estimate) -> tuple[float, float, float]:
    value = one.value - other.value
    low = value - hypot(one.value - one.low, other.high - other.value)
    return value, low, value + hypot(one.high - one.value, other.value - other.low)


def _of(estimate: Estimate | None, n: int) -> Measured:
    if estimate is None:
        return Measured(None, None, None, n, "undefined")
    return Measured(estimate.value, estimate.low, estimate.high, n)
