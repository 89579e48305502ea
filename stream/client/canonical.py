"""Values of serving code to fields of the canonical events: whatever comes, something countable results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

MAX_TEXT = 1_000
"""Longest text of a feature, in characters; the rest is cut off."""

MAX_DEPTH = 8
"""Deepest nesting of features; what is deeper becomes text."""

_MAX_NAMES = 10_000
_MISSING_TYPES = frozenset({"NAType", "NaTType"})


@dataclass(slots=True)
class Features:
    """Features by kind.

    Attributes:
        numeric: numbers and missing values by name.
        categorical: texts by name, and missing values of names that have held text before.
        cleaned: how many values were changed to fit, by reason.
    """

    numeric: dict[str, float | None] = field(default_factory=dict)
    categorical: dict[str, str | None] = field(default_factory=dict)
    cleaned: dict[str, int] = field(default_factory=dict)

    def note(self, reason: str) -> None:
        """Count a changed value."""
        self.cleaned[reason] = self.cleaned.get(reason, 0) + 1


class Cleaner:
    """Sorts features into numbers and texts.

    Numbers of any library become floats (NaN and infinities are kept: they are counted as invalid).
    Truth values and enums become texts. None, pandas' NA and NaT are missing. Nested mappings are
    flattened with dots. Anything else becomes its text.
    """

    def __init__(self) -> None:
        self._textual: set[str] = set()

    def features(self, values: Mapping[str, Any]) -> Features:
        """The features of one event.

        Raises:
            TypeError: it is not a mapping and has no ``items()``.
        """
        found = Features()
        self._add(values, "", MAX_DEPTH, found)
        return found

    def _add(self, values: Any, prefix: str, depth: int, found: Features) -> None:
        if not hasattr(values, "items"):
            raise TypeError(f"features are a mapping of names to values, not {type(values).__name__}")
        for key, value in values.items():
            name = prefix + (key if type(key) is str else str(key))
            kind = type(value)
            if kind is float:
                found.numeric[name] = value
            elif kind is str and len(value) <= MAX_TEXT:
                found.categorical[name] = value
                self._remember(name)
            elif isinstance(value, Mapping) and depth > 0:
                self._add(value, f"{name}.", depth - 1, found)
            else:
                self._other(name, value, found)

    def _other(self, name: str, value: Any, found: Features) -> None:
        plain = scalar(value)
        if plain is None:
            (found.categorical if name in self._textual else found.numeric)[name] = None
        elif isinstance(plain, int | float) and not isinstance(plain, bool):
            found.numeric[name] = _number(plain, found)
        else:
            if not isinstance(plain, str | bool):
                found.note("unknown_type")
            text = text_of(plain)
            if len(text) > MAX_TEXT:
                found.note("long_text")
            found.categorical[name] = text[:MAX_TEXT]
            self._remember(name)

    def _remember(self, name: str) -> None:
        if name not in self._textual and len(self._textual) < _MAX_NAMES:
            self._textual.add(name)


def scalar(value: Any) -> Any:
    """None, a bool, an int, a float or a str where the value has such a meaning, else the value itself."""
    if isinstance(value, Enum):
        return scalar(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if isinstance(value, Decimal | Fraction):
        return _wide_float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # scalars of numpy, torch, jax
        inner = value.item()
        return inner if inner is None or isinstance(inner, bool | int | float | str) else value
    return value


def text_of(value: Any) -> str:
    """A value as the text of a category: truth values as true and false, whole numbers without a fraction."""
    plain = scalar(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, datetime):
        return plain.isoformat()
    return plain if isinstance(plain, str) else str(plain)


def optional_text(value: Any) -> str | None:
    """As `text_of`, None for a missing value."""
    return None if scalar(value) is None else text_of(value)[:MAX_TEXT]


def optional_number(value: Any) -> float | None:
    """A number of any library, None for a missing value.

    Raises:
        TypeError, ValueError: it is not a number.
    """
    plain = scalar(value)
    return None if plain is None else _wide_float(plain)


def time_ms(time: datetime | float | None, now_s: float) -> int:
    """Event time in milliseconds since 1970.

    Args:
        time: a datetime (without a zone: local time, as Python has it), seconds since 1970, or None for now.
        now_s: the present, seconds since 1970.

    Raises:
        TypeError, ValueError, OverflowError: it is no point in time.
    """
    if isinstance(time, datetime):
        seconds = time.timestamp()
    else:
        plain = scalar(time)
        seconds = now_s if plain is None else float(plain)
    return math.floor(seconds * 1000 + 0.5)


def with_utf8(value: Any) -> Any:
    """The same record with every text that has no UTF-8 form (lone surrogates) made writable."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {with_utf8(key): with_utf8(item) for key, item in value.items()}
    return value


def _number(value: int | float, found: Features) -> float:
    try:
        return float(value)
    except OverflowError:
        found.note("too_large")
        return math.inf if value > 0 else -math.inf


def _wide_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
