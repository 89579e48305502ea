"""Detectors of errors and labels, fed with each sealed pane of label time, one per version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from driftbus.detectors.concept import ConceptDetector
from driftbus.detectors.concept_settings import ConceptSettings
from driftbus.detectors.episodes import OpenEpisode
from driftbus.detectors.outcomes import OutcomeShape, pairs_first
from driftbus.detectors.verdict import Transition
from driftbus.stream.crowding import OTHER
from driftbus.stream.groups import OffsetMarks
from driftbus.stream.outcomes.content import Content, Int, Key, widen


class Concepts:
    """The detectors of a monitor's versions.

    Args:
        shape: of the outcomes.
        settings: their constants.
        reference: int64[pairs] of training rows, None without one.
        most: versions with a detector of their own.
    """

    def __init__(self, shape: OutcomeShape, settings: ConceptSettings, reference: Int | None, most: int) -> None:
        self._shape, self._settings, self._reference, self._most = shape, settings, reference, most
        self._detectors: dict[str, ConceptDetector] = {}
        self.marks: dict[str, OffsetMarks] = {}

    def update(self, tick: int, pane: Mapping[Key, Content]) -> list[tuple[str, Transition]]:
        """Take a sealed pane; (version, what changed)."""
        first = self.firsts(pane)
        found: list[tuple[str, Transition]] = []
        for version in sorted(first):
            content = first[version]
            if version not in self._detectors:
                self._detectors[version] = ConceptDetector(self._shape, self._settings, self._reference)
                self.marks[version] = OffsetMarks()
            self.marks[version].add(tick, content.offsets)
            found += [(version, t) for t in self._detectors[version].update(tick, content.counts)]
        return found

    def firsts(self, pane: Mapping[Key, Content]) -> dict[str, Content]:
        """Version → first labels of a pane, over all cohorts: `Content.counts` is a pair table."""
        found: dict[str, Content] = {}
        for (version, segment, cohort), content in sorted(pane.items()):
            pairs = pairs_first(self._shape, content.counts)
            if segment or cohort < 0 or not pairs.any():
                continue
            of = version if version in self._detectors or version in found else self._admitted(version, found)
            known = found.setdefault(of, Content(np.zeros(self._shape.pairs, np.int64)))
            known.counts = known.counts + pairs
            known.rows += content.rows
            widen(known.offsets, content.offsets)
        return found

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes of all versions."""
        return [episode for _, detector in sorted(self._detectors.items()) for episode in detector.open_episodes()]

    def state(self) -> list[Any]:
        return [[v, d.dump(), self.marks[v].state()] for v, d in sorted(self._detectors.items())]

    def restore(self, state: list[Any]) -> None:
        self._detectors = {
            v: ConceptDetector.load(self._shape, self._settings, self._reference, dump) for v, dump, _ in state
        }
        self.marks = {v: OffsetMarks.restored(marks) for v, _, marks in state}

    def _admitted(self, version: str, more: Mapping[str, Content]) -> str:
        return version if len({*self._detectors, *more}) < self._most else OTHER
