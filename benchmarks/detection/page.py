"""Results as tables: for a terminal, and into docs/detection-benchmark.md."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.detection.candidates import CANDIDATES, OURS, PEERS, Candidate
from benchmarks.detection.losses import losses
from benchmarks.detection.results import Results
from benchmarks.detection.scoring import Found, OnReal, Quiet
from benchmarks.detection.streams import CHANGES, NULLS
from benchmarks.detection.tasks import SEED, SHUFFLED, horizon

DOCUMENT = Path(__file__).parents[2] / "docs" / "detection-benchmark.md"
GROUPS = {
    "value by value": tuple(c for c in PEERS if c.takes == "numbers"),
    "windows": tuple(c for c in PEERS if c.takes == "columns"),
    "errors": tuple(c for c in PEERS if c.takes == "bits"),
}
Table = list[list[str]]


def number(value: float) -> str:
    """Two or three digits: .42, 6.5, 123, 1,230, 12k."""
    if math.isnan(value):
        return ""
    if value >= 9_999.5:
        return f"{value / 1_000:.0f}k"
    if value >= 99.5 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}".removeprefix("0") if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def rate(quiet: Quiet) -> str:
    """False alarms per million; none seen: what the rate is below with 95 % confidence."""
    if not quiet.alarms:
        return f"< {number(3e6 / quiet.values)}"
    every = quiet.alarms / quiet.values * 1e6
    text = number(quiet.per_million)
    return text if quiet.alarms == quiet.episodes else f"{text} ({number(every)})"


def delay(found: Found, stream: str) -> str:
    """Median / 95th percentile, and misses."""
    limit = f"> {number(horizon(stream))}"
    median, high = (limit if math.isinf(x) else number(x) for x in (found.quantile(0.5), found.quantile(0.95)))
    text = median if median == high == limit else f"{median} / {high}"
    return text + (f"; missed {found.missed * 100:.0f} %" if found.missed else "")


def candidates(results: Results) -> Table:
    """Who takes part, as what."""
    table = [["candidate", "version", "default use", "values per null stream", "runs per change"]]
    for one in CANDIDATES:
        versions = results.versions.get(one.name, {})
        # The first package is the detector's own.
        version = " ".join(next(iter(versions.items()), ("not run",)))
        some = next(iter(results.quiet.get(one.name, {}).values()), None)
        runs = next(iter(results.found.get(one.name, {}).values()), None)
        table.append(
            [one.name, version, one.use, f"{some.values:,}" if some else "", str(len(runs.delays)) if runs else ""]
        )
    return table


def false_alarms(results: Results, group: Sequence[Candidate]) -> Table:
    """Per million values, per stream without drift."""
    chosen = [*OURS, *group]
    table = [["stream", *(c.name for c in chosen)]]
    for stream in NULLS:
        cells = [results.quiet.get(c.name, {}).get(stream) for c in chosen]
        texts = [rate(q) if q else _absent(results, c, stream) for c, q in zip(chosen, cells, strict=True)]
        if any(cells[len(OURS) :]):
            table.append([stream, *texts])
    return table


def delays(results: Results, group: Sequence[Candidate]) -> Table:
    """In values after the change, per stream with a change."""
    chosen = [*OURS, *group]
    table = [["change", *(c.name for c in chosen)]]
    for stream in CHANGES:
        cells = [results.found.get(c.name, {}).get(stream) for c in chosen]
        texts = [delay(f, stream) if f else _absent(results, c, stream) for c, f in zip(chosen, cells, strict=True)]
        if any(cells[len(OURS) :]):
            table.append([stream, *texts])
    return table


POINTS = ("shift_.25", "shift_1", "sd_x1.5", "nulls_.2", "ratio_.50_.55")


def after_the_alarm(results: Results) -> Table:
    """Duplicates, and the error of the change point."""
    table = [["candidate", "duplicates per found change", "every alarm counted",
              *(f"error, {stream}" for stream in POINTS)]]  # fmt: skip
    for one in CANDIDATES:
        runs = results.found.get(one.name, {})
        means = [[f.duplicates_a_run for f in runs.values()], [f.repeats_a_run for f in runs.values()]]
        known = [[x for x in values if not math.isnan(x)] for values in means]
        texts = [number(round(sum(x) / len(x), 2)) if x else "" for x in known]
        errors = [number(runs[s].error) if s in runs else "" for s in POINTS]
        table.append([one.name, *texts, *errors])
    return table


def real_rates(results: Results, group: Sequence[Candidate]) -> Table:
    """Episodes per thousand rows and column: real / row-shuffled."""
    chosen = [*OURS, *group]
    table = [["set", *(c.name for c in chosen)]]
    for name, about in results.sets.items():
        row = [f"{name} ({about['rows']:,} × {about['columns']})"]
        for one in chosen:
            pair = [results.real.get(one.name, {}).get(name + suffix) for suffix in ("", SHUFFLED)]
            row.append(" / ".join(_per_thousand(x) for x in pair if x) or _absent(results, one, name))
        table.append(row)
    return table


def real_changes(results: Results) -> Table:
    """Known changes of real sets: who finds them, and what was said before."""
    known = {name: about for name, about in results.sets.items() if about["changes"]}
    head = [f"{n}: before; columns found after {', '.join(f'{c:,}' for c in a['changes'])} within {a['within']} rows"
            + ("; on controls" if a["controls"] else "") for n, a in known.items()]  # fmt: skip
    table = [["candidate", *head]]
    for one in CANDIDATES:
        row = [one.name]
        for name, about in known.items():
            seen = results.real.get(one.name, {}).get(name)
            row.append(_changes_seen(seen, about["controls"]) if seen else _absent(results, one, name))
        table.append(row)
    return table


def _changes_seen(seen: OnReal, controls: int) -> str:
    text = f"{seen.before}; {', '.join(str(x) for x in seen.found) or 'not judged'} of {seen.columns}"
    return text + (f"; {seen.controls}" if controls else "")


def _per_thousand(seen: OnReal) -> str:
    return "n/a" if math.isnan(seen.rate) else number(round(seen.rate, 3))


def _absent(results: Results, candidate: Candidate, stream: str) -> str:
    """Why there is no figure: it can't take the stream, or it wasn't run on it."""
    return "can't" if stream in results.errors.get(candidate.name, {}) else "n/a"


def sections(results: Results) -> dict[str, str]:
    """Place in the page → Markdown."""
    parts = {"candidates": markdown(candidates(results)) + "\n\n" + _errors(results)}
    for name, group in GROUPS.items():
        key = name.replace(" ", "-")
        parts[f"false-alarms-{key}"] = markdown(false_alarms(results, group))
        parts[f"delays-{key}"] = markdown(delays(results, group))
        if results.sets:
            parts[f"real-{key}"] = markdown(real_rates(results, group))
    parts["after"] = markdown(after_the_alarm(results))
    if results.sets:
        parts["real-changes"] = markdown(real_changes(results))
        parts["losses-real"] = "\n".join(losses(results).real) or "- none in this run"
    lost = losses(results)
    for key, lines in (("losses", lost.changes), ("losses-more", lost.faster), ("losses-quiet", lost.quieter)):
        parts[key] = "\n".join(lines) or "- none in this run"
    return parts


def _errors(results: Results) -> str:
    lines = []
    for name, streams in results.errors.items():
        for text in dict.fromkeys(streams.values()):
            where = [stream for stream, error in streams.items() if error == text and not stream.endswith(SHUFFLED)]
            lines.append(f"- {name} can't judge {', '.join(where)}: `{text}`")
    return "\n".join([f"Seeds {SEED} and following.", "", *lines])


def markdown(table: Table) -> str:
    """As Markdown."""
    return "\n".join(["| " + " | ".join(table[0]) + " |", "|" + "---|" * len(table[0]),
                      *("| " + " | ".join(row) + " |" for row in table[1:])])  # fmt: skip


def as_text(results: Results) -> str:
    """All tables, for a terminal."""
    return "\n\n".join(f"== {name}\n{text}" for name, text in sections(results).items())


def write(results: Results, document: Path = DOCUMENT) -> None:
    """Put the tables into the page, each between its ``<!-- name -->`` and ``<!-- /name -->``.

    Without real sets the page keeps what it has of them.

    Raises:
        LookupError: the page has no place for one.
    """
    text = document.read_text()
    for name, body in sections(results).items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not place.search(text):
            raise LookupError(f"{document} has no <!-- {name} --> … <!-- /{name} -->")
        text = place.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)  # type: ignore[misc]
    document.write_text(text)
