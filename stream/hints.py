"""What may be the cause of an incident: patterns among its members, each a plain rule.

A rule that rests on what is missing (only outputs, only one source) waits until the joining horizon
is over. No rule guesses: each says what it saw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from driftbus.schemas.events import DriftEvent, Hint
from driftbus.schemas.vectorparts import split_name
from driftbus.stream.outcomes.hints import outcome_hints
from driftbus.stream.plan import column_path
from driftbus.stream.scene import Scene

_BROKEN = {
    "nulls": "Nulls came in",
    "invalid": "Invalid values came in",
    "unseen": "Unknown categories came in",
    "stuck": "One value only in",
}
_OUTPUTS = frozenset({"score", "prediction"})
_MOST_COLUMNS = 0.8
_FEWEST_COLUMNS = 5
_NAMED = 3


def hints_of(scene: Scene, low_ms: int, high_ms: int) -> tuple[Hint, ...]:
    """The hints that hold, the most telling first.

    Args:
        scene: the incident.
        low_ms, high_ms: its change point's interval.
    """
    found = [
        *outcome_hints(scene),
        _schema_change(scene),
        _nulls_first(scene),
        _skew(scene),
        _new_version(scene, low_ms, high_ms),
        _one_segment(scene),
        _everything(scene),
        _one_source(scene),
        _outputs_only(scene),
        _inputs_only(scene),
    ]
    return tuple(hint for hint in found if hint is not None)


def _schema_change(scene: Scene) -> Hint | None:
    """A writer's schema changed."""
    changes = [e for e in scene.events if e.aspect == "schema"]
    if not changes:
        return None
    first = changes[0]
    detail = first.message.partition("have come: ")[2].partition(";")[0] or first.message
    words = set(re.split(r"[\s,;]+", detail))
    named = [c for s, c, _ in scene.watched() if s == first.stream and words & _names(scene, s, c)]
    return Hint("schema_change", f"The producer's schema changed: {detail}", tuple(named))


def _nulls_first(scene: Scene) -> Hint | None:
    """Nulls, invalid, unknown or stuck values of a column began before its values shifted, or with it."""
    shifted: dict[tuple[str, str], int] = {}
    for e in scene.events:
        if e.aspect == "distribution":
            key = (e.stream, e.column)
            shifted[key] = min(shifted.get(key, e.since_high_ms), e.since_high_ms)
    broken: dict[tuple[str, str], DriftEvent] = {}
    for e in scene.events:
        key = (e.stream, e.column)
        grew = e.what == "stuck" or (e.what in _BROKEN and e.direction == "up")
        if grew and e.since_low_ms <= shifted.get(key, e.since_low_ms):
            broken.setdefault(key, e)
    if not broken:
        return None
    first = next(iter(broken.values()))
    values = ""
    if first.aspect == "quality" and first.reference_value is not None and first.current_value is not None:
        values = f" ({first.reference_value:.1%} → {first.current_value:.1%})"
    more = f" and in {len(broken) - 1} more columns" if len(broken) > 1 else ""
    order = "before or with the shift" if shifted.keys() & broken.keys() else "and nothing else of the column moved"
    text = f"{_BROKEN[first.what]} {first.column}{values}{more}, {order}: look upstream, at what fills it"
    return Hint("nulls_first", text, tuple(column for _, column in broken))


def _skew(scene: Scene) -> Hint | None:
    """Serving has differed from training all along."""
    if any(e.nature != "skew" for e in scene.events):
        return None
    text = "The stream has differed from its training data since the first rows: serving skew, not drift"
    return Hint("skew", text, _columns(scene.events))


def _new_version(scene: Scene, low_ms: int, high_ms: int) -> Hint | None:
    """All of it is one version, which came with it; or which alone moved while another was there."""
    versions = {e.version for e in scene.events}
    if len(versions) != 1 or "" in versions:
        return None
    version, stream = versions.pop(), scene.events[0].stream
    others = {v: span for (s, v), span in scene.versions.items() if s == stream and v not in ("", version)}
    span, pane_ms = scene.versions.get((stream, version)), scene.plan.pane_ms
    older = [v for v, other in others.items() if span is not None and other[0] < span[0]]
    if span is not None and older and low_ms - pane_ms <= span[0] <= high_ms + pane_ms:
        return Hint("new_version", f"It began with version {version}, whose first rows came then", ())
    beside = sorted(v for v, other in others.items() if other[1] > high_ms)
    if scene.settled and beside:
        return Hint("new_version", f"Only version {version} has moved; {_listed(beside)} has not", ())
    return None


def _one_segment(scene: Scene) -> Hint | None:
    """The change disappears when one segment is left out."""
    changes = {(e.stream, e.version, e.column, e.aspect) for e in scene.events if e.column}
    segments = {e.segment for e in scene.events}
    known = {key: value for key, value in scene.shares.items() if key in changes}
    names = {segment for segment, _, _ in known.values()}
    only = scene.settled and len(segments) == 1 and "" not in segments
    explained = len(names) == 1 and 2 * len(known) > len(changes)
    if not only and not explained:
        return None
    segment = next(iter(segments)) if only else next(iter(names))
    mine = [value for value in known.values() if value[0] == segment]
    before = sum(b for _, b, _ in mine) / len(mine) if mine else None
    after = sum(a for _, _, a in mine) / len(mine) if mine else None
    numbers = f" (PSI {before:.3f} over all rows, {after:.3f} without it)" if before is not None else ""
    text = f"Only {segment}: " + (
        f"all other rows are as they were{numbers}" if only else f"without it the change disappears{numbers}"
    )
    return Hint("one_segment", text, _columns(scene.events), before, after)


def _everything(scene: Scene) -> Hint | None:
    """Most columns moved at once."""
    watched, moved = len(scene.watched()), scene.moved()
    if watched < _FEWEST_COLUMNS or len(moved) < _MOST_COLUMNS * watched:
        return None
    volume = [e for e in scene.events if e.aspect == "volume"]
    also = f", and the number of rows has gone {volume[0].direction}" if volume else ""
    text = f"{len(moved)} of {watched} columns moved at once{also}: other traffic, another unit, or another join"
    return Hint("everything", text, ())


def _one_source(scene: Scene) -> Hint | None:
    """The columns that moved come from one stream or one part of the record, and the others are quiet."""
    moved = scene.moved()
    if not scene.settled or len(moved) < 2:
        return None
    streams = {s for s, _ in moved}
    if len(streams) == 1 and len({s for s, _, _ in scene.watched()}) > 1:
        stream = next(iter(streams))
        text = f"All of it comes from the {stream} stream (topic {_topic(scene, stream)}); the other streams are quiet"
        return Hint("one_source", text, _columns(scene.events))
    paths = {(s, c): _path(scene, s, c) for s, c, role in scene.watched() if role == "feature"}
    inputs = [paths[key] for key in sorted(moved) if key in paths]
    for split in (".", "_"):
        sources = {p.rpartition(split)[0] if split == "." else p.partition(split)[0] for p in inputs}
        source = next(iter(sources)) if len(sources) == 1 else ""
        if not source:
            continue
        siblings = [p for p in paths.values() if p.startswith(source + split)]
        others = len(paths) - len(siblings)
        if len(inputs) >= 2 and 2 * len(inputs) >= len(siblings) and others >= max(2, len(inputs) // 2):
            text = f"The inputs that moved are all of {source}{split}*; {others} other inputs are quiet"
            return Hint("one_source", text, tuple(c for key, c in sorted(moved) if (key, c) in paths))
    return None


def _outputs_only(scene: Scene) -> Hint | None:
    """The model's answers moved, what goes into it did not."""
    outputs, inputs, moved = _roles(scene)
    if not (scene.settled and inputs and moved and moved <= outputs):
        return None
    text = "Only the model's outputs moved, its inputs did not: the model or its serving code, or a relation of inputs"
    return Hint("outputs_only", text, tuple(sorted(c for _, c in moved)))


def _inputs_only(scene: Scene) -> Hint | None:
    """What goes into the model moved, its answers did not."""
    outputs, inputs, moved = _roles(scene)
    if not (scene.settled and outputs and moved and moved <= inputs):
        return None
    return Hint("inputs_only", "Only inputs moved, the model's outputs did not", ())


def _roles(scene: Scene) -> tuple[set[tuple[str, str]], set[tuple[str, str]], set[tuple[str, str]]]:
    """Outputs, inputs, and what moved, as (stream, column)."""
    outputs = {(s, c) for s, c, role in scene.watched() if role in _OUTPUTS}
    inputs = {(s, c) for s, c, role in scene.watched() if role == "feature"}
    return outputs, inputs, scene.moved()


def _path(scene: Scene, stream: str, column: str) -> str:
    plan = next(s for s in scene.plan.streams if s.stream == stream)
    return column_path(scene.plan.config.streams[stream], plan.columns[column])


def _names(scene: Scene, stream: str, column: str) -> set[str]:
    """What a column may be called in a schema: by itself, by its path, by the embedding that it is a part of."""
    path = _path(scene, stream, column)
    part = split_name(path)
    return {column, path, part[0] if part else path}


def _topic(scene: Scene, stream: str) -> str:
    return scene.plan.config.streams[stream].topic


def _columns(events: Sequence[DriftEvent]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.column for e in events if e.column))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
