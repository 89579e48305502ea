"""Where the events come from that are explained: our own topics, or a file of JSON lines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from driftbus.schemas.config import Config
from driftbus.schemas.errors import ConfigError
from driftbus.stream.explain.published import Event, Published, read_published

_MOST_LISTED = 5


@dataclass(slots=True)
class Known:
    """Events as JSON values.

    Attributes:
        incidents: by incident, its events in order, each once.
        episodes: by episode, its drift events in order, each once.
        unreadable: records that are no event of ours.
    """

    incidents: dict[str, list[Event]] = field(default_factory=dict)
    episodes: dict[str, list[Event]] = field(default_factory=dict)
    unreadable: int = 0

    def take(self, event: Event) -> None:
        """The next event; repetitions are passed over."""
        if event.get("kind") == "incident":
            mine = self.incidents.setdefault(event["incident_id"], [])
        elif event.get("kind") == "drift":
            mine = self.episodes.setdefault(event["episode_id"], [])
        else:
            return
        if all(known["id"] != event["id"] for known in mine):
            mine.append(event)

    def find(self, prefix: str) -> tuple[Event | None, list[Event]]:
        """What an id means: the latest event of its incident (None: it has none), and the events of its episode.

        Args:
            prefix: the beginning of an incident's, an episode's or an event's id.

        Raises:
            ConfigError: nothing begins so, or several things do.
        """
        named: dict[tuple[str, str], None] = {}
        for kind, groups in (("incident", self.incidents), ("episode", self.episodes)):
            for name, events in groups.items():
                if name.startswith(prefix) or any(event["id"].startswith(prefix) for event in events):
                    named[kind, name] = None
        if not named:
            raise ConfigError(f"no incident, episode or event begins with {prefix!r}", fix="`driftbus explain` lists")
        if len(named) > 1:
            listed = ", ".join(f"{kind} {name[:12]}" for kind, name in list(named)[:_MOST_LISTED])
            raise ConfigError(f"{prefix!r} is the beginning of {len(named)} ids ({listed})", fix="Write more of it")
        ((kind, name),) = named
        if kind == "incident":
            return self.incidents[name][-1], []
        for events in reversed(self.incidents.values()):
            if any(member["episode_id"] == name for member in events[-1]["members"]):
                return events[-1], self.episodes[name]
        return None, self.episodes[name]

    def latest(self) -> list[Event]:
        """The latest event of each incident, the newest incident first."""
        return sorted((events[-1] for events in self.incidents.values()), key=lambda e: (e["opened"], e["id"]))[::-1]


def from_file(path: Path) -> Known:
    """Events of a file that ``driftbus replay --out`` wrote.

    Raises:
        ConfigError: it can't be read, or a line is no event.
    """
    known = Known()
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    _take_line(known, path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}", key="--events") from error
    return known


def _take_line(known: Known, path: Path, number: int, line: str) -> None:
    fix = "It takes what `driftbus replay --out` writes"
    try:
        event = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"line {number} of {path} is no JSON: {error}", key="--events", fix=fix) from error
    if not isinstance(event, dict) or "kind" not in event:
        raise ConfigError(f"line {number} of {path} is no event", key="--events", fix=fix)
    try:
        known.take(event)
    except KeyError as error:
        raise ConfigError(f"line {number} of {path} has no {error}", key="--events", fix=fix) from error


def from_topics(config: Config, *, episodes: bool) -> Known:
    """What stands on the topics of a configuration.

    Args:
        config: names of topics, how to connect.
        episodes: whether drift events are read too.

    Raises:
        ConfigError: a topic does not exist.
        Unavailable: brokers or the registry can't be reached.
    """
    return _known(read_published(config, [config.topics.incidents, *([config.topics.drift] if episodes else [])]))


def _known(found: Published) -> Known:
    known = Known(unreadable=found.unreadable)
    for event in found.events:
        try:
            known.take(event)
        except (KeyError, TypeError):
            known.unreadable += 1
    return known
