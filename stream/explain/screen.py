"""An incident on a terminal: the headline, why, who is in it, before and after, where to look next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from driftbus.stream.explain.runbook import page_of
from driftbus.stream.replay.summary import sparkline
from driftbus.stream.replay.words import plain

Event = Mapping[str, Any]

_STYLE = {"minor": "yellow", "moderate": "dark_orange", "severe": "bold red"}
_BAR = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MOST_ROWS, _MOST_DRAWN, _MOST_RANGES = 30, 5, 8
_VALUES = re.compile(r"[^\s,]+ → [^\s;(]+")
_FULL_SCALE = 0.25

NEXT = {
    "schema_change": "What did the producer release then? Its old and new schema are in the registry",
    "nulls_first": "Ask who fills {columns}: nulls rarely come from the world, and a retrain would learn the error",
    "skew": "Compare how training and serving compute {columns}; make the profile from serving data if that is right",
    "new_version": "Compare the releases: features, preprocessing and thresholds of the new version",
    "one_segment": "Look at that segment alone: its source, its release, its customers",
    "everything": "Is it other traffic (a load test, a new market), another unit, or a wrong join?",
    "one_source": "Ask the owner of that source what changed then",
    "outputs_only": "Inputs are as they were: look at the model's release and at its serving code",
    "estimated": "Watch the labels: an estimate knows what moved inputs do, not what they have come to mean",
    "with_inputs": "Look at the incident of the inputs first; a retrain on rows since then is likely to help",
    "concept": "The world has changed: retrain on labels since then, older ones teach what is no longer so",
    "prior": "Look at what the labels count: a new definition, another population, or the world",
    "inputs_only": "The outputs hold so far; watch the labels before retraining",
}


def shown(value: Any) -> Any:
    """An event as a terminal may have it: control characters in its texts are spelled out."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(key): shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value


def moment(iso: str) -> str:
    """A time for people: ``2025-10-16 02:10``, with seconds where there are some."""
    text = iso.replace("T", " ").removesuffix("Z").removesuffix(".000")
    return text.removesuffix(":00")


def values_of(e: Event) -> str:
    """Before and after of a member in its unit, as its sentence has them: ``1.0% → 22.0%``."""
    found = _VALUES.search(e["message"])
    return found[0] if found else ""


def incident_list(incidents: Sequence[Event], most: int) -> RenderableType:
    """The latest incidents, a line each."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name in ("id", "monitor", "status", "severity", "opened", "columns"):
        table.add_column(name, no_wrap=True)
    table.add_column("story", no_wrap=True, overflow="ellipsis", ratio=1)
    for e in incidents[:most]:
        status = "closed" if e["status"] == "closed" else "open"
        story = e["message"].partition(": ")[2]
        table.add_row(
            e["incident_id"][:8], e["monitor"], status, Text(e["severity"], _STYLE.get(e["severity"], "")),
            moment(e["opened"]), f"{e['columns']}/{e['watched']}", story,
        )  # fmt: skip
    return table


def incident_screen(e: Event, episode: Sequence[Event] = ()) -> RenderableType:
    """All of an incident.

    Args:
        e: its latest event.
        episode: drift events of the one member that was asked for; it is drawn first.
    """
    asked = episode[-1]["episode_id"] if episode else ""
    members = sorted(e["members"], key=lambda m: m["episode_id"] != asked)
    head, _, _ = e["message"].partition(". ")
    parts: list[RenderableType] = [Text(head, "bold"), _facts(e)]
    if e["hints"]:
        parts += [Text(), Text("What speaks for a cause", "bold")]
        parts += [Text(f"  · {hint['text']}") for hint in e["hints"]]
    parts += [Text(), _members(e, asked)]
    drawn = [m for m in members if m["histogram"]][:_MOST_DRAWN]
    for member in drawn:
        parts += [Text(), Text(_who(member), "bold"), _histogram(member["histogram"])]
    if asked:
        parts += [Text(), *_episode(episode)]
    parts += [Text(), Text("Look next", "bold"), *(Text(f"  · {line}") for line in _next(e)), Text(), *_ranges(e)]
    return Group(*parts)


def episode_screen(events: Sequence[Event]) -> RenderableType:
    """An episode that no known incident holds."""
    latest = next((e for e in reversed(events) if e["status"] != "closed"), events[-1])
    parts: list[RenderableType] = [Text(f"{latest['monitor']}: {latest['message']}", "bold"), Text()]
    parts += _episode(events)
    if latest.get("histogram"):
        parts += [Text(), Text(_who(latest), "bold"), _histogram(latest["histogram"])]
    if latest.get("curve"):
        parts += [Text(), Text(f"  index  {_curve(latest['curve'])}")]
    return Group(*parts, Text(), Text(f"Runbook: {page_of(latest)}"), Text(), *_ranges(latest))


def _facts(e: Event) -> Text:
    total = len(e["members"]) + e["left_out"]
    state = "over" if e["status"] == "closed" else f"{e['open']} of {total} episodes open"
    line = Text("  ").append(e["severity"], _STYLE.get(e["severity"], ""))
    line.append(f" · {state} · opened {moment(e['opened'])} · changed {_span(e)} · incident {e['incident_id'][:12]}")
    return line


def _span(e: Event) -> str:
    low, high = moment(e["since_low"]), moment(e["since_high"])
    if low == high:
        return f"at {low}"
    return f"between {low} and {high.removeprefix(low[:11])}"


def _members(e: Event, asked: str) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    several = {key for key in ("stream", "version", "segment") if len({m[key] for m in e["members"]}) > 1}
    table.add_column("  column", no_wrap=True)
    for key in sorted(several):
        table.add_column(key, no_wrap=True)
    for name in ("what", "before → after", "effect", "since", "severity", "index"):
        table.add_column(name, no_wrap=True, justify="right" if name == "effect" else "left")
    for m in e["members"][:_MOST_ROWS]:
        closed = "" if m["status"] == "open" else " (over)"
        what = f"{m['what']} {m['direction']}".strip() + (f" {m['category']!r}" if m["category"] else "")
        mark = "▸ " if m["episode_id"] == asked else "  "
        table.add_row(
            mark + (m["column"] or ("(columns together)" if m["aspect"] == "relation" else "(rows)")),
            *(m[key] for key in sorted(several)),
            what,
            values_of(m),
            f"{m['effect']:.2f}",
            moment(m["since"]),
            Text(m["severity"] + closed, "dim" if closed else _STYLE.get(m["severity"], "")),
            _curve(m["curve"]) if m["curve"] else "",
        )
    left = len(e["members"]) - _MOST_ROWS + e["left_out"]
    return Group(table, Text(f"  and {left} more", "dim")) if left > 0 else table


def _curve(points: Sequence[float]) -> str:
    return sparkline(points, max([_FULL_SCALE, *points])).rstrip()


def _who(m: Event) -> str:
    where = ", ".join(filter(None, [m["stream"], m["version"] and f"version {m['version']}", m["segment"]]))
    return f"{m['column'] or 'rows'}  ({where})"


def bins_of(histogram: Event) -> list[str]:
    """A name for each bin: its categories, or its edges."""
    if histogram["categories"]:
        return list(histogram["categories"])
    edges = [f"{edge:,.6g}" for edge in histogram["edges"]]
    if not edges:
        return ["all values"] * len(histogram["reference"])
    middle = [f"{a} … {b}" for a, b in pairwise(edges)]
    return [f"≤ {edges[0]}", *middle, f"> {edges[-1]}"]


def _histogram(histogram: Event) -> RenderableType:
    before, after = _shares(histogram["reference"]), _shares(histogram["current"])
    top = max([*before, *after, 1e-9])
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("  ")
    table.add_column(f"before  ({sum(histogram['reference']):,})", no_wrap=True)
    table.add_column(f"after  ({sum(histogram['current']):,})", no_wrap=True)
    for name, a, b in zip(bins_of(histogram), before, after, strict=True):
        style = "red" if abs(a - b) > 0.2 * top else ""
        table.add_row(f"  {name}", f"{bar(a / top)} {a:5.1%}", Text(f"{bar(b / top)} {b:5.1%}", style))
    return table


def bar(share: float) -> str:
    """A share of the full width as blocks of eighths."""
    eighths = round(min(1.0, max(0.0, share)) * _BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(_BAR + 1)[: _BAR + 1]


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _episode(events: Sequence[Event]) -> list[RenderableType]:
    lines: list[RenderableType] = [Text("The episode", "bold")]
    return lines + [Text(f"  {e['status']:<9} {moment(e['window_end'])}  {e['message']}") for e in events]


def _next(e: Event) -> Iterable[str]:
    yield f"Runbook: {page_of(e)}"
    for hint in e["hints"]:
        if hint["kind"] in NEXT:
            named = hint["columns"][:3]
            columns = ", ".join(named) + (" and others" if len(hint["columns"]) > 3 else "")
            yield NEXT[hint["kind"]].format(columns=columns or "the columns")
    topics = sorted({r["topic"] for r in e["evidence"]["ranges"]})
    if topics:
        yield f"The records behind it are below; what was released for {', '.join(topics)} {_span(e)}?"
    kinds = {hint["kind"] for hint in e["hints"]}
    if e["status"] != "closed" and not kinds & {"nulls_first", "schema_change", "skew"}:
        yield f'If the world has changed: driftbus retrain {e["monitor"]} --reason "incident {e["incident_id"][:8]}"'


def _ranges(e: Event) -> list[RenderableType]:
    ranges = e["evidence"]["ranges"]
    lines = [Text("Records", "bold")]
    lines += [
        Text(f"  {r['topic']}[{r['partition']}]  {r['from_offset']:,} to {r['to_offset'] - 1:,}")
        for r in ranges[:_MOST_RANGES]
    ]
    if len(ranges) > _MOST_RANGES:
        lines.append(Text(f"  and {len(ranges) - _MOST_RANGES} more partitions", "dim"))
    return [*lines]
