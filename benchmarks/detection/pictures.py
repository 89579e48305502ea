"""Results as pictures in docs/img: equal results give equal bytes; for light pages and dark ones."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from benchmarks.detection.candidates import CANDIDATES, Candidate
from benchmarks.detection.results import Results
from benchmarks.detection.streams import CHANGES, NULLS
from benchmarks.detection.tasks import SHUFFLED, horizon
from benchmarks.pictures import INK, STYLE

FOLDER = Path(__file__).parents[2] / "docs" / "img"
COLOURS = {
    "": "#3b82f6", "river": "#e07b39", "frouros": "#a855c8", "evidently": "#d64560", "nannyml": "#2fa37c",
    "whylogs": "#b8932f", "alibi_detect": "#8a8f98",
}  # fmt: skip
MARKERS = "os^Dv<>P"
TRADED = ("shift_.25", "shift_1", "sd_x1.5", "nulls_.2", "ratio_.50_.55", "shift_1_ar_.95")
LEAST = 0.05


def draw(results: Results, folder: Path = FOLDER) -> list[Path]:
    """Draw everything there are results for."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with plt.rc_context(STYLE):
        pictures = {"tradeoff": _tradeoff, "false-alarms": _false_alarms, "change-point": _change_point}
        if results.sets:
            pictures["real"] = _real
        for name, picture in pictures.items():
            figure = picture(results)
            path = folder / f"detection-{name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            plt.close(figure)
            path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
            drawn.append(path)
    return drawn


def style(candidate: Candidate) -> tuple[str, str]:
    """Colour of the project, marker of the detector in it."""
    family = [one.name for one in CANDIDATES if one.peer == candidate.peer]
    return COLOURS[candidate.peer], MARKERS[family.index(candidate.name)]


def _tradeoff(results: Results) -> Figure:
    """Median delay against false alarms: down and left is better; hollow: no false alarm seen, drawn at the bound."""
    figure, axes = plt.subplots(2, 3, figsize=(8, 6.4), layout="constrained", sharex=True)
    for axis, stream in zip(axes.ravel(), TRADED, strict=True):
        for one in CANDIDATES:
            found = results.found.get(one.name, {}).get(stream)
            quiet = results.quiet.get(one.name, {}).get(CHANGES[stream].base)
            if not found or not quiet:
                continue
            colour, marker = style(one)
            rate = max(LEAST, quiet.per_million if quiet.alarms else 3e6 / quiet.values)
            delay = min(found.quantile(0.5), 1.3 * horizon(stream))
            axis.plot(rate, delay, marker, color=colour, markerfacecolor=colour if quiet.alarms else "none", ms=6)
        axis.axhline(horizon(stream), color=INK, lw=0.6, ls=":")
        axis.set(xscale="log", yscale="log", title=stream.replace("_", " "))
    for axis in axes[1]:
        axis.set_xlabel("false alarms per million values")
    for row in axes:
        row[0].set_ylabel("median delay, values")
    _legend(figure, [one for one in CANDIDATES if one.name in results.found])
    return figure


def _false_alarms(results: Results) -> Figure:
    """False alarms per million, as colours."""
    chosen = [one for one in CANDIDATES if one.name in results.quiet]
    streams = [stream for stream in NULLS if any(stream in results.quiet[one.name] for one in chosen)]
    figure, axis = plt.subplots(figsize=(8, 6.2), layout="constrained")
    rates = [[_rate(results, one.name, stream) for one in chosen] for stream in streams]
    mesh = axis.pcolormesh(rates, norm=LogNorm(0.1, 10_000), cmap="RdYlBu_r", edgecolors="none", rasterized=False)
    axis.set_xticks([i + 0.5 for i in range(len(chosen))], [one.name for one in chosen], rotation=60, ha="right")
    axis.set_yticks([i + 0.5 for i in range(len(streams))], streams)
    axis.invert_yaxis()
    axis.tick_params(length=0)
    figure.colorbar(mesh, ax=axis, label="false alarms per million values (none seen: half of one)", pad=0.01)
    return figure


def _rate(results: Results, name: str, stream: str) -> float:
    quiet = results.quiet[name].get(stream)
    if not quiet:
        return math.nan
    return max(0.1, quiet.per_million if quiet.alarms else 5e5 / quiet.values)


def _change_point(results: Results) -> Figure:
    """Where a candidate says that the change was: median and the middle 80 %, who says it at all."""
    streams = ("shift_.25", "shift_1", "sd_x1.5")
    chosen = [
        one for one in CANDIDATES
        if any(s in results.found.get(one.name, {}) and results.found[one.name][s].errors for s in streams)
    ]  # fmt: skip
    figure, axes = plt.subplots(1, len(streams), figsize=(8, 0.32 * len(chosen) + 1), layout="constrained", sharey=True)
    for axis, stream in zip(axes, streams, strict=True):
        for row, one in enumerate(chosen):
            found = results.found.get(one.name, {}).get(stream)
            if not found or not found.errors:
                continue
            errors, colour = sorted(found.errors), style(one)[0]
            low, middle, high = (errors[min(len(errors) - 1, int(q * len(errors)))] for q in (0.1, 0.5, 0.9))
            axis.plot([low, high], [row, row], color=colour, lw=2)
            axis.plot(middle, row, "o", color=colour, ms=5)
        axis.axvline(0, color=INK, lw=0.6, ls=":")
        axis.set_xscale("symlog", linthresh=100)
        axis.set(title=stream.replace("_", " "), xlabel="estimate − truth, values")
        axis.tick_params(axis="x", labelsize=7)
    axes[0].set_yticks(range(len(chosen)), [one.name for one in chosen])
    axes[0].invert_yaxis()
    return figure


def _real(results: Results) -> Figure:
    """Alarms on real sets, in their order (filled) and shuffled (hollow)."""
    names = list(results.sets)
    chosen = [one for one in CANDIDATES if one.name in results.real]
    figure, axes = plt.subplots(1, len(names), figsize=(8, 0.24 * len(chosen) + 1.2), layout="constrained", sharey=True)
    for axis, name in zip(axes, names, strict=True):
        for row, one in enumerate(chosen):
            pair = [results.real[one.name].get(name + suffix) for suffix in ("", SHUFFLED)]
            colour = style(one)[0]
            for seen, face in zip(pair, (colour, "none"), strict=True):
                if seen and seen.rows:
                    axis.plot(max(0.001, seen.rate), row, "o", color=colour, markerfacecolor=face, ms=4.5)
        axis.set(xscale="log", title=name.replace("_", "\n"), xlim=(0.0006, 40))
        axis.set_xticks([0.001, 0.1, 10], ["0", ".1", "10"])
        axis.minorticks_off()
    axes[0].set_yticks(range(len(chosen)), [one.name for one in chosen])
    axes[0].invert_yaxis()
    figure.supxlabel("alarms per 1,000 rows and column: as they came (filled), rows shuffled (hollow)", fontsize=8)
    return figure


def _legend(figure: Figure, chosen: list[Candidate]) -> None:
    handles = [
        Axes.plot(figure.axes[0], [], [], style(one)[1], color=style(one)[0], label=one.name, ms=6)[0] for one in chosen
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=7)
