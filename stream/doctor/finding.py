"""What a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from driftbus.schemas.errors import ConfigError, DriftbusError
from driftbus.schemas.secrets import masked

Status = Literal["ok", "wrong", "advice", "not_checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor.

    Args:
        id: name of the check, stable: ``topic.driftbus.state``.
        status: ``ok``; ``wrong``: it won't work like this; ``advice``: it works, and could be better;
            ``not_checked``: it could not be looked at, `found` says why.
        what: what was looked at.
        found: what was seen.
        fix: what to do, exactly; "" where there is nothing to do.
    """

    id: str
    status: Status
    what: str
    found: str
    fix: str = ""

    def plain(self) -> dict[str, Any]:
        """As plain values, secrets masked."""
        return {name: masked(value) for name, value in asdict(self).items()}


def ok(id_: str, what: str, found: str) -> Finding:
    """All is well."""
    return Finding(id_, "ok", what, found)


def wrong(id_: str, what: str, found: str, fix: str) -> Finding:
    """It has to be mended."""
    return Finding(id_, "wrong", what, found, fix)


def advice(id_: str, what: str, found: str, fix: str) -> Finding:
    """It works, and could be better."""
    return Finding(id_, "advice", what, found, fix)


def not_checked(id_: str, what: str, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(id_, "not_checked", what, f"not checked, because {why}")


def from_error(id_: str, what: str, error: DriftbusError, fix: str = "") -> Finding:
    """What an exception says."""
    if isinstance(error, ConfigError):
        said = f"{error.key}: {error.message}" if error.key else error.message
        return wrong(id_, what, said, error.fix or fix)
    return wrong(id_, what, str(error), fix)


def counted(count: int, word: str) -> str:
    """``1 column``, ``2,000 rows``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
