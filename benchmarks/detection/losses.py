"""Where driftbus loses: drawn from the results, not chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.detection.candidates import OURS, PEERS
from benchmarks.detection.results import Results
from benchmarks.detection.scoring import Found, Quiet
from benchmarks.detection.streams import CHANGES
from benchmarks.detection.tasks import SHUFFLED, horizon


@dataclass(frozen=True, slots=True)
class Losses:
    """Lines of Markdown.

    Args:
        changes: a peer finds a change earlier, or more often, at no more false alarms.
        faster: the fastest peer of each change when that is none of the above, and what its speed costs.
        quieter: a peer has fewer false alarms on a stream without drift.
        real: a peer is quieter on a real set, or finds more of its known changes.
    """

    changes: list[str]
    faster: list[str]
    quieter: list[str]
    real: list[str]


def losses(results: Results) -> Losses:
    """All four lists."""
    return Losses(
        [line for ours in OURS for line in _dominated(results, ours.name)],
        list(_faster(results)),
        list(_quieter(results)),
        list(_real(results)),
    )


def _pairs(results: Results, stream: str) -> Iterator[tuple[str, Found, Quiet]]:
    for one in PEERS:
        found = results.found.get(one.name, {}).get(stream)
        quiet = results.quiet.get(one.name, {}).get(CHANGES[stream].base)
        if found and quiet:
            yield one.name, found, quiet


def no_more_alarms(theirs: Quiet, ours: Quiet) -> bool:
    """In doubt for the peer: none seen is no more, however few values it judged."""
    return not theirs.alarms or theirs.per_million <= ours.per_million


def better(theirs: Found, ours: Found) -> bool:
    """Earlier in the median or in the 95th percentile, or fewer misses."""
    return (
        theirs.quantile(0.5) < ours.quantile(0.5)
        or theirs.quantile(0.95) < ours.quantile(0.95)
        or theirs.missed < ours.missed
    )


def _dominated(results: Results, name: str) -> Iterator[str]:
    for stream in CHANGES:
        ours = results.found.get(name, {}).get(stream)
        quiet = results.quiet.get(name, {}).get(CHANGES[stream].base)
        if not ours or not quiet:
            continue
        for peer, found, theirs in _pairs(results, stream):
            if no_more_alarms(theirs, quiet) and better(found, ours):
                yield (f"- {stream}: {peer} {_words(found, theirs, stream)}; {name} {_words(ours, quiet, stream)}")


def _faster(results: Results) -> Iterator[str]:
    name = OURS[0].name
    for stream in CHANGES:
        ours = results.found.get(name, {}).get(stream)
        quiet = results.quiet.get(name, {}).get(CHANGES[stream].base)
        if not ours or not quiet:
            continue
        better_ones = [
            (found.quantile(0.5), peer, found, theirs)
            for peer, found, theirs in _pairs(results, stream)
            if not no_more_alarms(theirs, quiet) and found.quantile(0.5) < ours.quantile(0.5)
        ]
        if better_ones:
            _, peer, found, theirs = min(better_ones, key=lambda one: (one[0], one[1]))
            yield f"- {stream}: {peer} {_words(found, theirs, stream)}; {name} {_words(ours, quiet, stream)}"


def _quieter(results: Results) -> Iterator[str]:
    name = OURS[0].name
    for stream, ours in results.quiet.get(name, {}).items():
        for one in PEERS:
            theirs = results.quiet.get(one.name, {}).get(stream)
            if theirs and ours.alarms and theirs.per_million < ours.per_million and (
                theirs.alarms or 3e6 / theirs.values < ours.per_million
            ):  # fmt: skip
                yield f"- {stream}: {one.name} {_alarms(theirs)}; {name} {_alarms(ours)}"


def _real(results: Results) -> Iterator[str]:
    name = OURS[0].name
    for stream, about in results.sets.items():
        ours = results.real.get(name, {}).get(stream)
        if not ours:
            continue
        for one in PEERS:
            theirs = results.real.get(one.name, {}).get(stream)
            if not theirs:
                continue
            if not about["changes"]:
                if theirs.rate < ours.rate:
                    yield (
                        f"- {stream}: {one.name} alarms {theirs.rate:.3f} times per 1,000 rows and column "
                        f"({theirs.rows * theirs.columns:,} values), {name} {ours.rate:.3f}"
                    )
            elif theirs.found and len(theirs.found) == len(ours.found):
                shares = [(t / theirs.columns, o / ours.columns) for t, o in zip(theirs.found, ours.found, strict=True)]
                quiet = theirs.before / theirs.columns <= ours.before / ours.columns
                if quiet and any(t > o for t, o in shares):
                    yield (
                        f"- {stream}: {one.name} finds {_list(theirs.found)} of {theirs.columns} columns, "
                        f"{name} {_list(ours.found)} of {ours.columns}"
                    )
    shuffled = {s: r for s, r in results.real.get(name, {}).items() if s.endswith(SHUFFLED) and r.episodes}
    for stream, seen in shuffled.items():
        yield f"- {stream}: {name} alarms {seen.episodes} times in {seen.rows * seen.columns:,} values without drift"


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _alarms(quiet: Quiet) -> str:
    if not quiet.alarms:
        return f"none in {quiet.values:,} values"
    return f"{quiet.per_million:.3g} false alarms per million"


def _words(found: Found, quiet: Quiet, stream: str) -> str:
    median, high = (
        f"> {horizon(stream):,}" if math.isinf(x) else f"{x:,.0f}" for x in (found.quantile(0.5), found.quantile(0.95))
    )
    missed = f", {found.missed * 100:.0f} % missed" if found.missed else ""
    return f"{median} / {high} values{missed}, {_alarms(quiet)}"
