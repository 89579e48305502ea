"""river's detectors with their defaults, value by value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol import Sequential, serve
from river import drift


def _feed(back: Callable[[Any], int | None]) -> Callable[[Any, float], tuple[bool, int | None]]:
    def feed(detector: Any, value: float) -> tuple[bool, int | None]:
        detector.update(value)
        # river's detectors start anew by themselves at the value after an alarm.
        return detector.drift_detected, back(detector) if detector.drift_detected else None

    return feed


def _nothing(detector: Any) -> None:
    return None


if __name__ == "__main__":
    serve(
        ["river", "numpy", "scipy"],
        {
            "ADWIN": Sequential(lambda seed: drift.ADWIN(), _feed(lambda d: int(d.width))),
            "KSWIN": Sequential(lambda seed: drift.KSWIN(seed=seed), _feed(lambda d: d.stat_size)),
            "PageHinkley": Sequential(lambda seed: drift.PageHinkley(), _feed(_nothing)),
            "DDM": Sequential(lambda seed: drift.binary.DDM(), _feed(_nothing)),
            "HDDM_A": Sequential(lambda seed: drift.binary.HDDMA(), _feed(_nothing)),
            "HDDM_W": Sequential(lambda seed: drift.binary.HDDMW(), _feed(_nothing)),
        },
    )
