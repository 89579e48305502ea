"""What is watched beside the columns' scores: each watch keeps its own episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from driftbus.detectors.cardinality import CardinalityWatch
from driftbus.detectors.duplicates import DuplicatesWatch
from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.freshness import FreshnessWatch
from driftbus.detectors.profile import Profile
from driftbus.detectors.settings import Settings
from driftbus.detectors.sketches import Sketches
from driftbus.detectors.verdict import Transition


class Watch(Protocol):
    """A watch on the sketches of a group."""

    def open_episodes(self) -> list[OpenEpisode]: ...

    def arrays(self) -> dict[str, NDArray[Any]]: ...

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


class Watches:
    """All watches on the sketches of one group.

    Args:
        profile: the reference.
        settings: the constants.
    """

    def __init__(self, profile: Profile, settings: Settings) -> None:
        alpha = settings.watch_alpha / settings.divisor
        self._freshness = FreshnessWatch(settings.pane_ms)
        self._duplicates = DuplicatesWatch(profile.stream != "features", alpha)
        self._cardinality = CardinalityWatch(profile, alpha)

    def update(self, tick: int, rows: int, sketches: Sketches | None) -> list[Transition]:
        """Take one pane: of the group as a whole first, then in the order of the columns."""
        return [
            *self._freshness.update(tick, sketches),
            *self._duplicates.update(tick, rows, sketches),
            *self._cardinality.update(tick, sketches),
        ]

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes, in the same order."""
        return [episode for _, watch in self.parts() for episode in watch.open_episodes()]

    def parts(self) -> tuple[tuple[str, Watch], ...]:
        """Each watch, by the name of its state."""
        return (
            ("freshness", self._freshness), ("duplicates", self._duplicates), ("cardinality", self._cardinality),
        )  # fmt: skip
