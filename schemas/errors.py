"""The ways in which things go wrong, one exception for what each asks of the caller."""

from __future__ import annotations


class DriftbusError(Exception):
    """Base of every error that driftbus raises on purpose."""


class ConfigError(DriftbusError):
    """The configuration can't work: refuse to start. Names the key and the fix.

    Args:
        message: what is wrong, in one sentence.
        key: dotted path of the offending key (``monitors.credit.predictions.time``), or "".
        fix: what to write instead, or "".
    """

    def __init__(self, message: str, *, key: str = "", fix: str = "") -> None:
        self.message, self.key, self.fix = message, key, fix
        text = f"{key}: {message}" if key else message
        super().__init__(f"{text}. {fix}" if fix else text)


class DecodeError(DriftbusError):
    """One record can't be read: it goes to the dead-letter topic and is counted.

    Args:
        reason: machine-readable reason (``truncated``, ``bad_magic``, ``unknown_schema``, ...).
        message: the detail for a person.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class StateError(DriftbusError):
    """Own state can't be trusted or written: stop the worker rather than go on with wrong state."""


class Unavailable(DriftbusError):
    """Something outside can't be reached now: wait and try again, nothing is lost."""
