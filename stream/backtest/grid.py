"""The configurations of a backtest: keys of ``detection`` and the values to try for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import ValidationError

from driftbus.detectors.settings import Settings
from driftbus.schemas.config import DetectionConfig
from driftbus.schemas.errors import ConfigError
from driftbus.stream.backtest.study import Variant

DEFAULT: Mapping[str, tuple[str, ...]] = {
    "false_alarms_per_week": ("0.1", "1", "10", "100"),
    "windows": ("500+2000", "1000+5000", "2000+10000"),
}
MOST = 200
"""Configurations of one backtest."""


def parsed(tries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Keys and values from ``key=value,value`` texts.

    Raises:
        ConfigError: one can't be read.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in tries:
        key, _, values = text.partition("=")
        wanted = tuple(value.strip() for value in values.split(",") if value.strip())
        if key not in DetectionConfig.model_fields or not wanted:
            raise ConfigError(
                f"{text!r} is not a key of detection with values",
                key="--try",
                fix=f"write KEY=VALUE,VALUE with one of {', '.join(DetectionConfig.model_fields)}; lists as 500+2000",
            )
        grid[key] = wanted
    return grid


def variants(base: DetectionConfig, grid: Mapping[str, Sequence[str]], columns: int, pane_ms: int) -> list[Variant]:
    """Every combination, the first key varying slowest.

    Args:
        base: what the grid does not name.
        grid: key of ``detection`` → values as text; a list's items are joined by ``+``, ``null`` is none.
        columns: columns watched, for the budget.
        pane_ms: pane length.

    Raises:
        ConfigError: a value is not allowed, or there are too many combinations.
    """
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST:
        raise ConfigError(f"{count} configurations are too many", key="--try", fix=f"try at most {MOST}")
    found = []
    for values in product(*grid.values()):
        update = dict(zip(grid, values, strict=True))
        try:
            config = DetectionConfig.model_validate(base.model_dump() | {k: _value(k, v) for k, v in update.items()})
        except ValidationError as e:
            problem = e.errors()[0]
            raise ConfigError(f"{problem['loc'][0]}: {problem['msg']}", key="--try") from e
        name = " · ".join(f"{key} {value}" for key, value in update.items()) or "as configured"
        found.append(Variant(name, Settings.from_config(config, columns, pane_ms), config.false_alarms_per_week))
    return found


def _value(key: str, text: str) -> Any:
    if text in ("null", "none"):
        return None
    listed = isinstance(DetectionConfig.model_fields[key].default, (tuple, list))
    return text.split("+") if listed else text
