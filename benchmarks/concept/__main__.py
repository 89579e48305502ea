"""The tables of docs/detectors/concept.md: `python -m benchmarks.concept FOLDER [PART ...] [--quick] [--write]`.

FOLDER holds the public data sets (for the part `real`). Everything together takes about an hour.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.concept import real, trials
from driftbus.detectors.concept_settings import ConceptSettings

_RUNS = 20
PAGE = Path(__file__).parents[2] / "docs/detectors/concept.md"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def rate(count: float, labels: int) -> str:
    """Per million."""
    per_million = count / (labels / 1e6)
    return "0" if not count else f"{per_million:.2g}" if per_million < 100 else f"{per_million:,.0f}"


def delay(found: Sequence[int], runs: int) -> str:
    """Median over all runs, and how many were found."""
    if len(found) * 2 <= runs:
        return f"{len(found)} of {runs} found" if found else "-"
    every = [*found, *[np.inf] * (runs - len(found))]
    missed = f" ({1 - len(found) / runs:.0%} missed)" if len(found) < runs else ""
    return f"{np.median(every):,.0f}{missed}"


def nulls(_: Path, quick: bool) -> str:
    """False alarms."""
    labels, rows = (500_000 if quick else 5_000_000), []
    for name in trials.NULLS:
        free, held = trials.false_alarms(name, labels), trials.false_alarms(name, labels, trials.BUDGET)
        rows.append(
            [name, *(rate(free[c], labels) for c in trials.COLUMNS), rate(free.total(), labels), str(held.total())]
        )
        print(rows[-1], file=sys.stderr, flush=True)
    last = f"in {labels / 1e6:g}M labels at the budget"
    return table(["per million labels, undivided", *(f"`{c}`" for c in trials.COLUMNS), "all", last], rows)


def changes(_: Path, quick: bool) -> str:
    """Delays and names."""
    runs, rows = (6 if quick else 40), []
    for name in trials.CHANGES:
        free, _first = trials.changes(name, runs, 1.0)
        held, first = trials.changes(name, runs, trials.BUDGET)
        cells = [f"{delay(free[c], runs)} / {delay(held[c], runs)}" if free[c] else "-" for c in trials.COLUMNS]
        names = Counter(", ".join(t.moved).replace("|", "\\|") or "none" for t in first)
        rows.append([name, *cells, "; ".join(f"{said} {n / runs:.0%}" for said, n in names.most_common(2))])
        print(rows[-1], file=sys.stderr, flush=True)
    head = ["change after 20,000 labels", *(f"`{c}`" for c in trials.COLUMNS), "what moved, said at the first opening"]
    return table(head, rows)


def peers(_: Path, quick: bool) -> str:
    """river's detectors of errors."""
    rows, runs = [], 4 if quick else 20
    for name in trials.RIVER:
        slow = name == "kswin"
        labels, some = (50_000 if quick else 50_000 if slow else 300_000), min(runs, 4) if slow else runs
        cells = [f"`{name}`"]
        for divisor in (1.0, trials.BUDGET):
            cells += [
                rate(trials.river_false_alarms(name, e, labels, divisor) * labels / 1e6, labels)
                for e in (0.01, 0.05, 0.2)
            ]
        cells += [delay(trials.river_delays(name, later, some), some) for later in (0.10, 0.08)]
        rows.append(cells)
        print(rows[-1], file=sys.stderr, flush=True)
    free = ["false alarms per million, error .01", ".05", ".2"]
    head = ["at river's defaults", *free, "at the budget, .01", ".05", ".2", ".05 → .10", ".05 → .08"]
    return table(head, rows)


def public(folder: Path, _: bool) -> str:
    """Public data sets."""
    rows = []
    for name, pane in (("car_loan", 50), ("abrupt_insects", 25), ("insects_gradual", 50), ("elec2", 50)):
        data: real.Labelled = getattr(real, name)(folder)
        for divisor in (1.0, trials.BUDGET):
            said = real.told(data, pane, ConceptSettings(divisor=divisor))
            errors = [f"{at:,} {t.status} {t.direction}" for at, t in said if t.column == "error"]
            others = Counter(t.column for _, t in said if t.column != "error" and t.status != "closed")
            river = real.river_adwin(data)
            shown = ", ".join(f"{at:,}" for at in river[:3]) + (f" … {len(river)} alarms" if len(river) > 3 else "")
            rest = ", ".join(f"{column} {n}" for column, n in sorted(others.items()))
            rows.append([f"{name}, levels / {divisor:g}", "; ".join(errors) or "nothing", rest or "nothing", shown])
    for name, pane in (("car_loan", 50), ("abrupt_insects", 25)):
        data, counts = getattr(real, name)(folder), []
        for divisor in (1.0, trials.BUDGET):
            shuffled = [real.told(data.shuffled(seed), pane, ConceptSettings(divisor=divisor)) for seed in range(_RUNS)]
            counts.append(sum(t.status == "opened" for said in shuffled for _, t in said))
        labels = f"{_RUNS * data.label.size / 1e6:.1f}M labels"
        rows.append(
            [
                f"{name}, rows shuffled, {labels}",
                f"opened: {counts[0]} undivided, {counts[1]} / {trials.BUDGET:g}",
                "",
                "",
            ]
        )
    return table(["set", "`error`, by row", "transitions of others", "river's ADWIN on the errors"], rows)


PARTS: dict[str, Callable[[Path, bool], str]] = {"nulls": nulls, "changes": changes, "peers": peers, "real": public}


def main(arguments: Sequence[str]) -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.concept")
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--quick", action="store_true", help="a minute, and figures that mean little")
    parser.add_argument("--write", action="store_true", help="into docs/detectors/concept.md")
    options = parser.parse_args(arguments)
    for part in options.parts or PARTS:
        text = PARTS[part](options.folder, options.quick)
        print(f"\n{part}\n{text}", flush=True)
        if options.write:
            page = PAGE.read_text()
            block = f"<!-- {part} -->\n{text}\n<!-- /{part} -->"
            PAGE.write_text(re.sub(f"<!-- {part} -->.*<!-- /{part} -->", lambda _, b=block: b, page, flags=re.DOTALL))


if __name__ == "__main__":
    main(sys.argv[1:])
