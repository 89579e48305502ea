"""Values that sections of driftbus.yaml are made of: durations, instants, cron lines, severities."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from croniter import croniter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)")


def parse_duration_ms(value: Any) -> int:
    """Milliseconds in a duration like ``10s``, ``1.5h`` or ``7d``.

    Raises:
        ValueError: it is not a number followed by ms, s, m, min, h, d or w.
    """
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit: 10s, 5m, 1h, 7d")
    return round(float(match[1]) * _UNITS_MS[match[2]])


def format_duration(ms: int) -> str:
    """The shortest exact form of a duration: ``90000`` → ``90s``."""
    for unit in ("w", "d", "h", "m", "s"):
        if ms and ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms"


def _duration_in(value: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else parse_duration_ms(value)


_DURATION_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": f"^{_DURATION.pattern}$"}, {"type": "integer", "minimum": 0}]
}

DurationMs = Annotated[
    int,
    BeforeValidator(_duration_in),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema(_DURATION_SCHEMA),
    Field(ge=0),
]
"""Milliseconds, written in YAML as ``10s``, ``5m``, ``1h`` or ``7d``."""


def parse_instant_ms(value: Any) -> int:
    """Milliseconds since 1970 of an ISO 8601 date or time; without a zone it is UTC.

    Raises:
        ValueError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError(f"{value!r} is not a time; write 2026-11-20T14:00:00Z")
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def format_instant(ms: int) -> str:
    """ISO 8601 in UTC, to the next whole second."""
    return datetime.fromtimestamp(-(-ms // 1000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


InstantMs = Annotated[
    int,
    BeforeValidator(lambda value: value if type(value) is int else parse_instant_ms(value)),
    PlainSerializer(format_instant, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}),
    Field(ge=0),
]
"""Milliseconds since 1970, written in YAML as ``2026-11-20T14:00:00Z``."""


def _cron(line: str) -> str:
    advice = "write minute, hour, day of month, month and day of week: '0 2 * * SUN'"
    if len(line.split()) != 5:
        raise ValueError(f"{line!r} is not a cron line; {advice}")
    try:
        croniter(line, 0.0).get_next()
    except ValueError as e:  # croniter's errors are all ValueErrors, also that of a date that never comes
        raise ValueError(f"{line!r} is not a cron line ({str(e).removeprefix(f'[{line}] ')}); {advice}") from e
    return line


CronLine = Annotated[str, AfterValidator(_cron)]
"""Five fields, in UTC."""

Severity = Literal["minor", "moderate", "severe"]
SEVERITIES: tuple[Severity, ...] = ("minor", "moderate", "severe")


class Model(BaseModel):
    """A section: unknown keys are refused, values are frozen and never shown in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
