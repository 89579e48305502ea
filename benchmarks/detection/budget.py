"""False alarms measured against those promised: `python -m benchmarks.detection.budget [--quick]`.

No stream drifts, so every episode is false. Columns are independent, half of them Gaussian, the
rest exponential, two-valued, categories; or AR(1). A budget of many alarms a week shows whether the
rate is what was promised; a budget of one whether the promise holds where it matters.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from benchmarks.detection.ours import panes_of, profile_of, settings_for
from benchmarks.detection.streams import PANE, Values, sample
from driftbus.detectors.group import GroupDetector
from driftbus.detectors.profile import Profile

WEEK_ROWS = 10 * 604_800
"""Ten events per second."""

VALUES = 50_000_000
"""Of each line, over all columns."""

_FAMILIES = ("gauss", "exponential", "gauss", "bernoulli_.2", "gauss", "categories_8")
_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Line:
    """One monitor without drift.

    Args:
        kind: of its columns.
        columns, segments: how many.
        budget: false alarms accepted a week.
        values: seen by columns, over all rows.
        promised, measured: false alarms in that time.
    """

    kind: str
    columns: int
    segments: int
    budget: float
    values: int
    promised: float
    measured: int

    def interval(self) -> tuple[float, float]:
        """95 % interval of the measured rate over the promised one (Garwood, 1936)."""
        low = chi2.ppf(0.025, 2 * self.measured) / 2 if self.measured else 0.0
        return float(low) / self.promised, float(chi2.ppf(0.975, 2 * self.measured + 2) / 2) / self.promised


def lines(values: int, seed: int = 70_000) -> Iterator[Line]:
    """The measurement, line by line."""
    for kind, families in (("iid", _FAMILIES), ("AR(1) .5", ("ar_.5",)), ("AR(1) .9", ("ar_.9",))):
        for columns, segments in ((5, 0), (5, 10), (50, 0), (500, 0)):
            # a budget that is wider than the undivided levels says nothing
            budgets = [b for b in _BUDGETS if settings_for(columns * (2 if segments else 1), budget=b).divisor > 1]
            counts = [0] * len(budgets)
            rows, run = max(_ROWS, values // columns), 0
            for run in range(max(1, rows // _ROWS)):
                stream = _stream(families, columns, _ROWS, seed + run)
                for i, budget in enumerate(budgets):
                    counts[i] += false_alarms(*stream, kind != "iid", budget, segments, seed + run)
            seen = (run + 1) * _ROWS
            for budget, measured in zip(budgets, counts, strict=True):
                yield Line(kind, columns, segments, budget, seen * columns, budget * seen / WEEK_ROWS, measured)


_BUDGETS = (1.0, 30.0, 1_000.0)


def false_alarms(
    reference: dict[str, Values], stream: dict[str, Values], ordered: bool, budget: float, segments: int, seed: int
) -> int:
    """Episodes that one monitor opens on a stream without drift.

    Args:
        reference, stream: column → values.
        ordered: whether the reference is in order of time.
        budget: false alarms accepted a week.
        segments: values of one segment field, spread over rows by lot; 0 for no such field.
        seed: of the lot.
    """
    profile = profile_of(reference, ordered=ordered)
    settings = settings_for(len(reference) * (2 if segments else 1), budget=budget)
    opened = _opened(profile, GroupDetector(profile, settings), stream)
    if segments:
        lot = np.random.default_rng(seed).integers(0, segments, next(iter(stream.values())).size)
        for segment in range(segments):
            own = {name: values[lot == segment] for name, values in stream.items()}
            opened += _opened(profile, GroupDetector(profile, settings), own, PANE // 2)
    return opened


def _opened(profile: Profile, group: GroupDetector, stream: dict[str, Values], pane: int = PANE) -> int:
    return sum(
        t.status == "opened" and t.aspect != "volume"
        for tick, counts in enumerate(panes_of(profile, stream, pane))
        for t in group.update(tick, counts, pane)
    )


def _stream(families: Sequence[str], columns: int, rows: int, seed: int) -> tuple[dict[str, Values], dict[str, Values]]:
    reference, stream = {}, {}
    for i in range(columns):
        run = sample(families[i % len(families)], 1_000 * seed + i, rows)
        reference[f"c{i}"], stream[f"c{i}"] = run.reference, run.values
    return reference, stream


def table(found: Sequence[Line]) -> str:
    """Markdown."""
    text = [
        "| columns | segments | series | values | accepted a week | promised | measured | measured / promised, 95 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in found:
        low, high = line.interval()
        ratio = f"{line.measured / line.promised:.2f} ({low:.2f} to {high:.2f})"
        cells = (
            line.columns, line.segments or "", line.kind, f"{line.values / 1e6:.0f} M", f"{line.budget:,.0f}",
            f"{line.promised:.2f}", line.measured, ratio,
        )  # fmt: skip
        text.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(text)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{VALUES // 50:,} values a line instead of {VALUES:,}")
    found = []
    for line in lines(VALUES // 50 if parser.parse_args().quick else VALUES):
        found.append(line)
        print(line, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
