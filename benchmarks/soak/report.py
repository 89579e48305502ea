"""Whether something grew: slopes after the warm-up, robust to saw teeth, a table and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import theilslopes

from benchmarks.measure import Figure, Report
from benchmarks.soak.watch import Sample
from benchmarks.soak.world import HORIZON_DAYS, SOURCES

PICTURE = Path(__file__).parents[2] / "docs" / "img" / "soak.svg"
WARM_UP_DAYS = HORIZON_DAYS * 1.125 + 4
"""Until the store of predictions is as full as it gets (the horizon, and an eighth of it), and as many versions as are
told apart have been judged."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended.

    Args:
        days: of event time.
        seconds: that it took.
        records: produced.
        events: published, by id.
        different: how they differ from a replay's; empty: not at all.
        codes: exit codes of the workers that ran last.
        restarts: of the worker beside the watched one.
    """

    days: float
    seconds: float
    records: int
    events: int
    different: str
    codes: list[int]
    restarts: int


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that must not grow.

    Args:
        name: for people.
        of: its value.
        limit: by how much it may be growing in the time of the run, as a share of its median.
        unit: what a value is divided by and called.
    """

    name: str
    of: Callable[[Sample], float]
    limit: float
    unit: tuple[float, str] = (1.0, "")


_MIB = (2**20, " MiB")
QUANTITIES = (
    Quantity("resident memory", lambda s: s.resident, 0.05, _MIB),
    Quantity("private memory", lambda s: s.private, 0.05, _MIB),
    Quantity("file descriptors", lambda s: s.descriptors, 0.05),
    Quantity("threads", lambda s: s.threads, 0.05),
    Quantity("series of metrics", lambda s: s.series, 0.05),
    Quantity("predictions that wait for labels", lambda s: s.waiting, 0.1),
    Quantity("disk of the store", lambda s: s.store, 0.1, _MIB),
    Quantity("state topic on disk", lambda s: s.state, 0.25, _MIB),
    Quantity("newest snapshots on it", lambda s: s.live, 0.1, _MIB),
    Quantity("keys of it", lambda s: s.keys, 0.25),
)


def slope(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """Growth per day of event time: the median of the slopes of all pairs of samples (Theil and Sen)."""
    return float(theilslopes([of(s) for s in samples], [s.day for s in samples])[0])


def report(samples: Sequence[Sample], run: Run) -> Report:
    """Level and slope of each quantity after the warm-up, at the moments at which the worker judges everything."""
    late = [sample for sample in samples if sample.day >= min(WARM_UP_DAYS, run.days / 2)]
    warm = [sample for sample in late if sample.judged == len(SOURCES)]
    share = len(warm) / len(late)
    rows = [Figure("moments at which it judged everything", f"{share:.0%}", ">= 50%", share >= 0.5)]
    warm = warm if len(warm) > 1 else late  # what the line above says is not worth much then
    for quantity in QUANTITIES:
        values = [quantity.of(sample) for sample in warm]
        level, grown = statistics.median(values), slope(warm, quantity.of) * run.days
        growth = grown / level if level else 0.0
        by, unit = quantity.unit
        rows.append(
            Figure(
                quantity.name,
                f"{level / by:,.4g}{unit}, {grown / by:+,.3g} ({growth:+.1%}) a run",
                f"<= +{quantity.limit:.0%}",
                growth <= quantity.limit,
                note=f"{min(values) / by:,.4g} to {max(values) / by:,.4g}{unit}",
            )
        )
    cpu = (samples[-1].cpu - samples[0].cpu) / (samples[-1].seconds - samples[0].seconds)
    rows += [
        Figure("events published, against a replay", run.different[:200] or f"{run.events}, the same", "the same",
               not run.different),
        Figure("contradictions", f"{max(sample.contradictions for sample in samples):g}", "0",
               all(sample.contradictions == 0 for sample in samples)),
        Figure("exit codes", ", ".join(map(str, run.codes)), "0", not any(run.codes)),
        Figure("share of a core", f"{cpu:.1%}"),
    ]  # fmt: skip
    title = (
        f"soak: {run.days:g} days in {run.seconds / 60:.0f} minutes, {run.records:,} records, {run.restarts} restarts "
        f"of another worker beside; slopes from day {warm[0].day:.1f} on"
    )
    return Report(title, list(rows))


def draw(samples: Sequence[Sample], run: Run) -> None:
    """docs/img/soak.svg."""
    from benchmarks.pictures import CURRENT, REFERENCE, STYLE, panels, plt

    with plt.rc_context(STYLE):
        figure, axes = panels(5, 2, height=1.5)
        for axis, quantity in zip(axes, QUANTITIES, strict=True):
            by, unit = quantity.unit
            axis.plot([s.day for s in samples], [quantity.of(s) / by for s in samples], color=CURRENT)
            axis.axvline(WARM_UP_DAYS, color=REFERENCE, linewidth=0.6, linestyle=":")
            axis.set_title(f"{quantity.name}{',' + unit if unit else ''}", fontsize=6)
            axis.set_ylim(bottom=0)
            axis.tick_params(labelsize=6)
        figure.savefig(PICTURE, metadata={"Date": None})
