"""What a gate asks, and whether it is so: by the bound that has to be beyond the limit, or by the point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from driftbus.detectors.measures import LOWER_IS_BETTER
from driftbus.schemas.errors import ConfigError
from driftbus.schemas.outcomeconfig import Limit, Metric

Kind = Literal["rows", "limit", "better", "not_worse", "gap"]

DOWNWARDS = LOWER_IS_BETTER | {"ece"}
NO_SIDE = frozenset({"bias", "quantile_coverage"})


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is asked.

    Args:
        kind: ``rows`` (labelled rows at least), ``limit``, ``better`` (than the champion), ``not_worse`` (than the
            champion by more than the limit) or ``gap`` (between the groups of a column, at most).
        metric: "" for rows.
        side: of a limit: ``min`` or ``max``.
        limit: the number.
        column: of a gap.
    """

    kind: Kind
    metric: str = ""
    side: Literal["min", "max", ""] = ""
    limit: float = 0.0
    column: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return {
            "rows": "rows",
            "limit": f"{self.metric} {self.side}",
            "better": f"{self.metric} better",
            "not_worse": f"{self.metric} not worse",
            "gap": f"{self.metric} gap of {self.column}",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its interval; None where it is undefined.

    Args:
        value: the number.
        low, high: its interval, None: unknown.
        n: rows, or labels, behind it.
        note: what else is to be said.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check."""

    check: Check
    passed: bool
    measured: Measured
    wanted: str


def parsed(option: str, texts: Sequence[str], *, needs_value: bool = True) -> dict[str, float]:
    """Metric → number of options like ``auc=0.8``.

    Raises:
        ConfigError: a metric is unknown, or no number follows.
    """
    found = {}
    for text in texts:
        metric, _, number = text.partition("=")
        if metric not in get_args(Metric):
            raise ConfigError(f"{metric!r} is no metric", key=option, fix=f"choose from {', '.join(get_args(Metric))}")
        try:
            found[metric] = float(number) if number or needs_value else 0.0
        except ValueError as error:
            raise ConfigError(f"{text!r} says no number", key=option, fix=f"write {metric}=0.8") from error
        if not math.isfinite(found[metric]):
            raise ConfigError(f"{text!r} is no number to compare with", key=option)
    return found


def limits_of(minima: Mapping[str, float], maxima: Mapping[str, float], limits: Mapping[str, Limit]) -> list[Check]:
    """The limits of the command line, and of the configuration where that says nothing of a metric's side."""
    low = {m: limit.min for m, limit in limits.items() if limit.min is not None} | dict(minima)
    high = {m: limit.max for m, limit in limits.items() if limit.max is not None} | dict(maxima)
    return [
        *(Check("limit", metric, "min", value) for metric, value in low.items()),
        *(Check("limit", metric, "max", value) for metric, value in high.items()),
    ]


def against_champion(better: Sequence[str], not_worse: Mapping[str, float]) -> list[Check]:
    """What is asked of the difference.

    Raises:
        ConfigError: the metric has no better side, or the margin is negative.
    """
    for metric in (*better, *not_worse):
        if metric in NO_SIDE:
            raise ConfigError(f"{metric} has no better side", key="--better", fix="choose mae or rmse")
    for metric, margin in not_worse.items():
        if margin < 0:
            raise ConfigError(f"the margin of {metric} is negative", key="--not-worse")
    return [
        *(Check("better", metric) for metric in better),
        *(Check("not_worse", metric, limit=margin) for metric, margin in not_worse.items()),
    ]


def decide(check: Check, measured: Measured, *, point: bool) -> Result:
    """Whether it is so.

    Args:
        check: what is asked.
        measured: the metric; of ``better`` and ``not_worse`` the difference challenger minus champion.
        point: decide by the value, not by the bound.
    """
    number, wanted = _form(check.limit), ""
    low, high = (measured.value, measured.value) if point else (measured.low, measured.high)
    if check.kind == "rows":
        return Result(check, measured.n >= check.limit, measured, f"at least {int(check.limit):,}")
    if check.kind == "limit" and check.side == "min":
        passed, wanted = low is not None and low >= check.limit, f"at least {number}"
    elif check.kind in ("limit", "gap"):
        passed, wanted = high is not None and high <= check.limit, f"at most {number}"
    else:
        downwards = check.metric in DOWNWARDS
        worst = high if downwards else low
        gain = None if worst is None else -worst if downwards else worst
        if check.kind == "better":
            passed = gain is not None and gain > 0
            wanted = "below 0" if downwards else "above 0"
        else:
            passed = gain is not None and gain >= -check.limit
            wanted = f"at most {number}" if downwards else f"at least -{number}"
    return Result(check, passed, measured, wanted)


def _form(number: float) -> str:
    return f"{number:.6g}"
