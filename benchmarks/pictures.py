"""The pictures of docs/detectors, drawn from the detectors themselves on seeded streams.

`python -m benchmarks.pictures [NAME ...]` or `make pictures`. Every module in benchmarks/drawn adds
some with `@picture("name")`; equal code gives equal bytes. Backgrounds are transparent and lines
mid-toned, so that a page may be light or dark.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "docs/detectors/img"
REFERENCE, CURRENT, LIMIT, ALARM, INK = "#8a8f98", "#3b82f6", "#f59e0b", "#ef4444", "#7d828a"
"""Colours: what was, what is, thresholds, alarms, everything written."""

Draw = Callable[[], Figure]
PICTURES: dict[str, Draw] = {}

STYLE = {
    "svg.hashsalt": "driftbus", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.transparent": True,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlecolor": INK, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False,
    "lines.linewidth": 1.2, "legend.frameon": False, "legend.fontsize": 8, "path.simplify": True,
    "path.simplify_threshold": 1.0, "agg.path.chunksize": 0,
}  # fmt: skip


def picture(name: str) -> Callable[[Draw], Draw]:
    """Register a function that draws docs/detectors/img/NAME.svg and returns the figure."""

    def register(draw: Draw) -> Draw:
        PICTURES[name] = draw
        return draw

    return register


def panels(columns: int, rows: int = 1, *, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    """An empty figure of equal panels, 8 inches wide, `height` inches a row."""
    figure, axes = plt.subplots(rows, columns, figsize=(8, height * rows), layout="constrained", squeeze=False)
    return figure, list(axes.ravel())


def known() -> dict[str, Draw]:
    """Every picture by name."""
    import benchmarks.drawn

    for module in iter_modules(benchmarks.drawn.__path__):
        import_module(f"benchmarks.drawn.{module.name}")
    return dict(sorted(PICTURES.items()))


def save(name: str, folder: Path = FOLDER) -> Path:
    """Draw one picture.

    Raises:
        KeyError: there is none of that name.
    """
    draw = known()[name]
    with mpl.rc_context(STYLE):
        figure = draw()
        file = folder / f"{name}.svg"
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = "\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n"
    file.write_text(text)
    return file


def main(names: Sequence[str]) -> None:
    """Draw the pictures of these names, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or known():
        print(save(name))


if __name__ == "__main__":
    from benchmarks import pictures  # the module that drawings import, not __main__

    pictures.main(sys.argv[1:])
