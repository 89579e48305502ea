"""When to retrain: the section ``retrain`` of a monitor. docs/retraining.md has every rule with an example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from driftbus.schemas.configtypes import CronLine, DurationMs, Model, Severity, parse_duration_ms
from driftbus.schemas.outcomeconfig import Metric

Quality = Literal["nulls", "invalid", "unseen", "range", "schema"]
"""What can be wrong with values, and the fields of their records."""


def _m_of_n(text: str, unit: str) -> tuple[int, int]:
    match = re.fullmatch(rf"\s*(\d+)(?:\s*of\s*(\d+))?\s*(?:{unit}s?)?\s*", text)
    if match is None:
        raise ValueError(f"{text!r}: write '2 {unit}s' or '2 of 3 {unit}s'")
    m, n = int(match[1]), int(match[2] or match[1])
    if not 1 <= m <= n <= 1000:
        raise ValueError(f"{text!r}: need 1 <= M <= N <= 1000")
    return m, n


class _Windowed(Model):
    """Looked at in windows of event time."""

    window: DurationMs = Field(default=0, description="length of a policy window; 0: ten panes")
    for_: str = Field(default="2 windows", alias="for", description="'2 windows' or '2 of 3 windows'")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def m_of_n(self) -> tuple[int, int]:
        """(M, N): the condition holds in M of the last N windows."""
        return _m_of_n(self.for_, "window")

    @model_validator(mode="after")
    def _readable(self) -> _Windowed:
        self.m_of_n  # noqa: B018 - raises when it can't be read
        return self


class DriftPolicy(_Windowed):
    """Retrain when enough columns have drifted: so many, or those that matter."""

    columns: int = Field(
        default=3, ge=1, description="at least so many columns with an open episode; 1 when a share is given"
    )
    share: float | None = Field(
        default=None, gt=0, le=1, description="at least this share of the columns, weighted by their importance"
    )
    importance: dict[str, float] = Field(
        default_factory=dict,
        description="weight of each column in the share, others weigh nothing; empty: the profile's, else all alike",
    )
    any_of: list[str] = Field(default_factory=list, description="only these columns count; empty: all")
    severity: Severity = "moderate"

    @model_validator(mode="before")
    @classmethod
    def _one_column_is_enough(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("share") is not None:
            return {"columns": 1, **values}
        return values

    @model_validator(mode="after")
    def _weights(self) -> DriftPolicy:
        if self.importance and self.share is None:
            raise ValueError("importance weighs a share: write share as well")
        if self.importance and (min(self.importance.values()) < 0 or not sum(self.importance.values()) > 0):
            raise ValueError("importance: weights are not negative, and some are above 0")
        return self


class QualityPolicy(_Windowed):
    """Retrain, or rather repair, when values or schemas are wrong."""

    of: tuple[Quality, ...] = Field(
        default=("nulls", "invalid", "range", "schema"), min_length=1, description="which problems count"
    )
    columns: int = Field(default=1, ge=1, description="at least so many columns; a schema change counts as one")
    severity: Severity = "moderate"


class PerformancePolicy(Model):
    """Retrain when a metric is bad for sure: its confidence bound has passed the limit."""

    metric: Metric
    below: float | None = Field(default=None, description="holds for a cohort when the upper bound is below")
    above: float | None = Field(default=None, description="holds for a cohort when the lower bound is above")
    for_: str = Field(default="1 cohort", alias="for", description="'2 cohorts' or '2 of 3 cohorts'")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def m_of_n(self) -> tuple[int, int]:
        """(M, N): the condition holds for M of a version's last N cohorts."""
        return _m_of_n(self.for_, "cohort")

    @model_validator(mode="after")
    def _readable(self) -> PerformancePolicy:
        self.m_of_n  # noqa: B018 - raises when it can't be read
        if self.below is not None and self.above is not None:
            raise ValueError("write below or above, not both")
        return self


class PolicyRule(Model):
    """One reason to retrain: exactly one of the keys."""

    drift: DriftPolicy | None = None
    schedule: CronLine | None = Field(default=None, description="cron line, in event time, UTC")
    performance: PerformancePolicy | None = None
    quality: QualityPolicy | None = None
    labels: int | None = Field(default=None, ge=1, description="so many new labels since the last training")
    any: list[PolicyRule] | None = Field(default=None, min_length=1, description="one of these rules holds")
    all: list[PolicyRule] | None = Field(
        default=None, min_length=1, description="all of these hold; with a schedule: at its times"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> PolicyRule:
        if sum(getattr(self, name) is not None for name in PolicyRule.model_fields) != 1:
            raise ValueError(f"write exactly one of {', '.join(PolicyRule.model_fields)}")
        return self

    @property
    def leaves(self) -> Iterator[PolicyRule]:
        """The rules that it is made of, itself if it is made of none."""
        inner = self.any or self.all
        if inner is None:
            yield self
            return
        for rule in inner:
            yield from rule.leaves


class RetrainConfig(Model):
    """When a retrain trigger is published."""

    any: list[PolicyRule] = Field(default_factory=lambda: [PolicyRule(drift=DriftPolicy())])
    all: list[PolicyRule] = Field(default_factory=list, description="instead of any: all of these have to hold")
    cooldown: DurationMs = Field(default=86_400_000, description="no second trigger within this event time")
    at_most: str = Field(default="", description="'2 per 30d': no more triggers in any such stretch; empty: no limit")
    pending: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="whether a trigger holds back others until a new version appears, `driftbus retrain --done` or its "
        "deadline; auto: when a stream maps the model's version",
    )
    deadline: DurationMs = Field(default=7 * 86_400_000, description="by when a new version should be there")
    outcomes_wait: DurationMs = Field(
        default=600_000, description="how long rules wait for what silent labels say, when one of them is about labels"
    )
    model: dict[str, str] = Field(
        default_factory=dict, description="references that triggers pass on; those of the version's profile come first"
    )
    dry_run: bool = False

    @model_validator(mode="after")
    def _any_or_all(self) -> RetrainConfig:
        if self.all and "any" in self.model_fields_set:
            raise ValueError("write any or all; they can be nested: any: [{all: [...]}, ...]")
        return self

    @field_validator("at_most")
    @classmethod
    def _limit_readable(cls, text: str) -> str:
        if text:
            _limit(text)
        return text

    @property
    def rules(self) -> list[PolicyRule]:
        """Rules of which any triggers."""
        return [PolicyRule(all=self.all)] if self.all else self.any

    @property
    def limit(self) -> tuple[int, int] | None:
        """(n, milliseconds): at most n triggers in any stretch so long."""
        return _limit(self.at_most) if self.at_most else None

    def identity(self) -> dict[str, Any]:
        """What a decision depends on, as plain data. Keys that came later are left out while they say nothing, so that
        the ids of events stay."""
        default = {name: field.get_default(call_default_factory=True) for name, field in _FIELDS.items()}
        full: dict[str, Any] = _pruned(self.model_dump(mode="json", exclude={"model"}))
        return {k: v for k, v in full.items() if k in _FIRST or getattr(self, k) != default[k]}


_FIELDS = RetrainConfig.model_fields
_FIRST = ("any", "cooldown", "dry_run")


def _pruned(value: Any) -> Any:
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if isinstance(value, dict):
        return {k: _pruned(v) for k, v in value.items() if k in ("drift", "schedule") or v not in (None, {})}
    return value


def _limit(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*(?:per|in)\s*(\S.*?)\s*", text)
    if match is None or int(match[1]) < 1:
        raise ValueError(f"{text!r}: write '2 per 30d'")
    return int(match[1]), parse_duration_ms(match[2])
