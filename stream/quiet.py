"""What a new configuration says of the past: nothing, but for what is still open when it begins.

A monitor whose configuration has changed judges the retained summaries again, so that its windows are full from the
first minute. What it decides there is old news under new ids, and would page people and start retrains for what is
long over. The summaries log says since when a configuration is there: its first registration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftbus.schemas.codec import decode_event, encode_event
from driftbus.schemas.events import ComparisonEvent, DriftEvent, Incident, Published


class Quiet:
    """Holds back what a monitor decides before its configuration is registered.

    It begins with a registration of another configuration, ends with the first of its own, and never begins again:
    what a worker with an old configuration still says must not mute anybody.

    Args:
        monitor: name of the monitor.
        fingerprint: of its configuration.
    """

    def __init__(self, monitor: str, fingerprint: str) -> None:
        self._monitor, self._fingerprint = monitor, fingerprint
        self._heard = ""  # "", "other", "mine"
        self._open: dict[str, list[Published]] = {}

    def registered(self, monitors: Mapping[str, str]) -> list[Published]:
        """The next registration on the log; what is to be told now.

        Args:
            monitors: monitor → fingerprint of its configuration.
        """
        if monitors.get(self._monitor) == self._fingerprint:
            told = [event for story in self._open.values() for event in story]
            self._heard, self._open = "mine", {}
            return told
        self._heard = self._heard or "other"
        return []

    def passed(self, decided: Iterable[Published]) -> list[Published]:
        """What of these decisions is told now; of the others, episodes and incidents are kept while they are open."""
        if self._heard != "other":
            return list(decided)
        for event in decided:
            story, over = _story(event)
            if over:
                self._open.pop(story, None)
            elif story:
                self._open.setdefault(story, []).append(event)
        return []

    def state(self) -> list[Any]:
        return [self._heard, [[name, [encode_event(e) for e in story]] for name, story in self._open.items()]]

    def restore(self, state: list[Any]) -> None:
        self._heard, stories = state
        self._open = {name: [decode_event(data) for data in story] for name, story in stories}


def _story(event: Published) -> tuple[str, bool]:
    """What an event belongs to, "" for nothing that stays open; and whether that is over now."""
    if isinstance(event, DriftEvent):
        return event.episode_id, event.status == "closed"
    if isinstance(event, Incident):
        return event.incident_id, event.status == "closed"
    if isinstance(event, ComparisonEvent):
        return event.comparison_id, event.status == "resolved"
    return "", False
