"""Frouros: value by value with its defaults and a reset after an alarm; KSTest on windows, alpha as in its README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from frouros.detectors.concept_drift import ADWIN, KSWIN, KSWINConfig, PageHinkley
from frouros.detectors.data_drift import ChiSquareTest, KSTest
from protocol import Job, Sequential, Windowed, serve

ALPHA = 0.01


def _feed(back: Callable[[Any], int | None]) -> Callable[[Any, float], tuple[bool, int | None]]:
    def feed(detector: Any, value: float) -> tuple[bool, int | None]:
        detector.update(value=value)
        if not detector.drift:
            return False, None
        since = back(detector)
        detector.reset()
        return True, since

    return feed


def _tests(job: Job) -> Callable[[list[int], np.ndarray], Sequence[bool]]:
    fitted = []
    for kind, reference in zip(job.kinds, job.reference, strict=True):
        detector = ChiSquareTest() if kind == "categorical" else KSTest()
        detector.fit(X=_clean(reference, kind))
        fitted.append(detector)

    def judge(columns: list[int], window: np.ndarray) -> Sequence[bool]:
        return [
            bool(fitted[i].compare(X=_clean(x, job.kinds[i]))[0].p_value < ALPHA)
            for i, x in zip(columns, window, strict=True)
        ]

    return judge


def _clean(values: np.ndarray, kind: str) -> np.ndarray:
    values = values[np.isfinite(values)]
    return values.astype(int).astype(str) if kind == "categorical" else values


if __name__ == "__main__":
    serve(
        ["frouros", "numpy", "scipy"],
        {
            "ADWIN": Sequential(lambda seed: ADWIN(), _feed(lambda d: int(d.width))),
            "KSWIN": Sequential(
                lambda seed: KSWIN(config=KSWINConfig(seed=seed)), _feed(lambda d: d.config.num_test_instances)
            ),
            "PageHinkley": Sequential(lambda seed: PageHinkley(), _feed(lambda d: None)),
            "KSTest": Windowed(_tests),
        },
    )
