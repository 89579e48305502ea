"""What the detectors of outcomes say of streams of known nature: false alarms, delays, names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.concept import streams
from benchmarks.concept.streams import CHANGES, Rows
from driftbus.detectors.concept import ConceptDetector
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.river_engine import NAMES, RiverEngine
from driftbus.detectors.verdict import Transition

Float = NDArray[np.float64]

FIRST_SEED = 70_000
"""Constants were chosen on others."""

PANE, BEFORE, AFTER, BUDGET = 50, 20_000, 10_000, 90.0
"""Labels of a pane, before and after a change; the divisor of 13 columns with outcomes, one false alarm a week."""

NULLS: dict[str, Callable[[np.random.Generator, int], Rows]] = {
    "independent, error .01": lambda rng, n: streams.calibrated(rng, n, 0.01),
    "independent, error .05": lambda rng, n: streams.calibrated(rng, n, 0.05),
    "independent, error .2": lambda rng, n: streams.calibrated(rng, n, 0.2),
    "errors AR .5, .05": lambda rng, n: streams.clustered(rng, n, 0.05, 0.5),
    "errors AR .9, .05": lambda rng, n: streams.clustered(rng, n, 0.05, 0.9),
    "errors AR .9, .2": lambda rng, n: streams.clustered(rng, n, 0.2, 0.9),
    "labels AR .9, error .05": lambda rng, n: streams.sided(rng, n, 0.05, 0.9),
}
COLUMNS = ("error", "log_loss", "calibration", "label")


def told(rows: Rows, settings: ConceptSettings) -> Iterator[tuple[int, Transition]]:
    """(labels so far, what was said) of panes of `PANE` labels, without a reference."""
    detector = ConceptDetector(streams.SHAPE, settings)
    for tick, pane in enumerate(streams.panes(rows, PANE)):
        for transition in detector.update(tick, pane):
            yield (tick + 1) * PANE, transition


def false_alarms(name: str, labels: int, divisor: float = 1.0) -> Counter[str]:
    """Column → transitions but closings, of streams of half a million labels."""
    found: Counter[str] = Counter()
    for run in range(max(1, labels // 500_000)):
        rng = np.random.default_rng([FIRST_SEED, run, len(name)])
        rows = NULLS[name](rng, min(labels, 500_000))
        found.update(t.column for _, t in told(rows, ConceptSettings(divisor=divisor)) if t.status != "closed")
    return found


def changes(name: str, runs: int, divisor: float) -> tuple[dict[str, list[int]], list[Transition]]:
    """Of runs of a change: column → delays of its first opening; and the first transition of each run."""
    delays: dict[str, list[int]] = {column: [] for column in COLUMNS}
    first: list[Transition] = []
    for run in range(runs):
        rng = np.random.default_rng([FIRST_SEED, 1, run])
        rows = streams.joined(streams.calibrated(rng, BEFORE), CHANGES[name](rng, AFTER))
        seen: set[str] = set()
        for at, t in told(rows, ConceptSettings(divisor=divisor)):
            if at > BEFORE and t.status == "opened" and t.column not in seen:
                if not seen:
                    first.append(t)
                seen.add(t.column)
                delays[t.column].append(at - BEFORE)
    return delays, first


def river_alarms(name: str, errors: Float, divisor: float = 1.0) -> list[int]:
    """Labels so far at each alarm of one of river's detectors, fed through the adapter."""
    engine = RiverEngine((name,), divisor)
    panes = errors[: errors.size // PANE * PANE].reshape(-1, PANE)
    return [(tick + 1) * PANE for tick, pane in enumerate(panes) if engine.update(tick, pane)]


def river_false_alarms(name: str, error: float, labels: int, divisor: float = 1.0) -> float:
    """Per million labels."""
    errors = (np.random.default_rng([FIRST_SEED, 2]).random(labels) < error) * 1.0
    return len(river_alarms(name, errors, divisor)) / (labels / 1e6)


def river_delays(name: str, later: float, runs: int, divisor: float = 1.0) -> list[int]:
    """Delays of the first alarm after a change from .05 at `BEFORE`."""
    found = []
    for run in range(runs):
        rng = np.random.default_rng([FIRST_SEED, 3, run])
        chance = np.where(np.arange(BEFORE + AFTER) < BEFORE, 0.05, later)
        late = [
            at - BEFORE for at in river_alarms(name, (rng.random(chance.size) < chance) * 1.0, divisor) if at > BEFORE
        ]
        found += late[:1]
    return found


RIVER = NAMES
