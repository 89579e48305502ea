"""Whether a replay says what the workers said, event by event and byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterable

from driftbus.schemas.config import Config
from driftbus.stream.explain.published import read_published
from driftbus.stream.plan import Plans
from driftbus.stream.replay.canonical import Differences, Event, canonical_key, differences
from driftbus.stream.worker.publish import topics_of

_MOST_SHOWN = 5


def against_live(config: Config, plans: Plans, monitors: Iterable[str], replayed: Iterable[Event]) -> Differences:
    """Live events on the left, replayed ones on the right.

    Of the live events those of these monitors and of the present configuration are compared. Triggers that a person
    asked for are left out: the command is not on the topics that are replayed.

    Args:
        config: names the topics of results.
        plans: those that were replayed.
        monitors: names of monitors.
        replayed: what the replay decided.

    Raises:
        ConfigError: a topic of results does not exist.
        StateError: one id stands on a topic with two contents.
        Unavailable: brokers or the registry can't be reached.
    """
    ours = {(name, plans.monitors[name].fingerprint) for name in monitors}
    live = read_published(config, topics_of(config).values()).events
    mine = [e for e in live if (e["monitor"], e["fingerprint"]) in ours and e.get("policy") != "manual"]
    return differences(mine, (e for e in replayed if e["monitor"] in {name for name, _ in ours}))


def verdict(found: Differences) -> list[str]:
    """The comparison in lines for people, the first one whether they are equal; live is on the left."""
    if found.equal:
        return [f"live and replay are equal: {len(found.same):,} events, byte for byte"]
    counts = f"{len(found.same):,} events are equal, {len(found.left):,} are live only, "
    counts += f"{len(found.right):,} are in the replay only, {len(found.changed):,} have other contents"
    lines = [f"live and replay differ: {counts}"]
    latest = max((_decided(line) for line in (*found.same, *found.left)), default="")
    ahead = sum(_decided(line) > latest for line in found.right)
    if ahead:
        lines.append(f"{ahead:,} of the replay's lie behind the latest live event: the workers may not be there yet")
    for title, some in (("live only", found.left), ("replay only", found.right)):
        lines += [f"{title}: {_told(line)}" for line in some[:_MOST_SHOWN]]
    for ours, theirs in found.changed[:_MOST_SHOWN]:
        lines += [f"live   {ours}", f"replay {theirs}"]
    return lines


def _decided(line: str) -> str:
    return canonical_key(json.loads(line))[0]


def _told(line: str) -> str:
    event = json.loads(line)
    said = event["reason"] if event["kind"] == "retrain" else event["message"]
    return f"{_decided(line)} {event['kind']} {event['id'][:8]} {said}"
