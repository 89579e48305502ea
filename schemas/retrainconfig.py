"""When to retrain: the section ``retrain`` of a monitor."""

from __future__ import annotations

import re

from pydantic import ConfigDict, Field, model_validator

from driftbus.schemas.configtypes import CronLine, DurationMs, Model, Severity


class DriftPolicy(Model):
    """Retrain when enough columns have drifted."""

    columns: int = Field(default=3, ge=1, description="at least so many columns with an open episode")
    any_of: list[str] = Field(default_factory=list, description="only these columns count; empty: all")
    severity: Severity = "moderate"
    window: DurationMs = Field(default=0, description="length of a policy window; 0: ten panes")
    for_: str = Field(default="2 windows", alias="for", description="'2 windows' or '2 of 3 windows'")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def m_of_n(self) -> tuple[int, int]:
        """(M, N): the condition holds in M of the last N windows."""
        match = re.fullmatch(r"\s*(\d+)(?:\s*of\s*(\d+))?\s*(?:windows?)?\s*", self.for_)
        if match is None:
            raise ValueError(f"{self.for_!r}: write '2 windows' or '2 of 3 windows'")
        m, n = int(match[1]), int(match[2] or match[1])
        if not 1 <= m <= n <= 1000:
            raise ValueError(f"{self.for_!r}: need 1 <= M <= N <= 1000")
        return m, n

    @model_validator(mode="after")
    def _readable(self) -> DriftPolicy:
        self.m_of_n  # noqa: B018 - raises when it can't be read
        return self


class PolicyRule(Model):
    """One reason to retrain: exactly one of the keys."""

    drift: DriftPolicy | None = None
    schedule: CronLine | None = Field(default=None, description="cron line, in event time, UTC")

    @model_validator(mode="after")
    def _exactly_one(self) -> PolicyRule:
        if (self.drift is None) == (self.schedule is None):
            raise ValueError("write exactly one of drift, schedule")
        return self


class RetrainConfig(Model):
    """When a retrain trigger is published."""

    any: list[PolicyRule] = Field(default_factory=lambda: [PolicyRule(drift=DriftPolicy())])
    cooldown: DurationMs = Field(default=86_400_000, description="no second trigger within this event time")
    dry_run: bool = False
