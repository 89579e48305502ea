"""All detectors of one group of rows, fed with one vector of counts per pane."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from math import log
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors import psi
from driftbus.detectors.adwin import AdwinBank, AdwinRules
from driftbus.detectors.cusum import CusumBank, cusum_reference
from driftbus.detectors.distancebank import DistanceBank
from driftbus.detectors.episodes import SEVERITIES, EpisodeBook, Evidence, OpenEpisode
from driftbus.detectors.evidence import Evidences, detector_names, distances_on, sums_on
from driftbus.detectors.folding import Folding
from driftbus.detectors.histogram import Illustrator, Picture
from driftbus.detectors.joint import JointWatch
from driftbus.detectors.joint_reference import reference_of
from driftbus.detectors.longrun import LongRun
from driftbus.detectors.nulls import LAWS, STATIC
from driftbus.detectors.profile import Profile
from driftbus.detectors.scores import ScoreTable, score_table
from driftbus.detectors.season_tables import SeasonClock, SeasonTables, season_tables
from driftbus.detectors.settings import Settings as Settings
from driftbus.detectors.sketches import Sketches
from driftbus.detectors.state import pack, select, unpack
from driftbus.detectors.verdict import ColumnView, Transition
from driftbus.detectors.volume import VolumeChange, VolumeWatch
from driftbus.detectors.watches import Watches
from driftbus.detectors.windows import SlidingWindows
from driftbus.schemas.kernel import kernel

_KIND = "group"


class _Part(Protocol):
    def arrays(self) -> dict[str, NDArray[Any]]: ...

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None: ...


class GroupDetector:
    """Drift of the columns and of the volume of one group.

    ADWIN on every score and the index of every column see each pane once; what they say is folded
    into episodes. The same panes give the same transitions and the same state, bit by bit.

    Args:
        profile: the reference.
        settings: the constants.
    """

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self._profile, self._settings = profile, settings
        table = self._table = score_table(profile, settings)
        columns, scores = len(profile.columns), len(table.scores)
        shown, self._channel = _coarse(profile, settings)
        seasons = season_tables(profile, settings, shown)
        self._clock = None if seasons is None else SeasonClock(seasons, profile, settings)
        coarse, more, held = shown, [], table.ref_n
        if seasons is not None:  # what people see of a column are its values, not its ranks inside a slot
            table = self._table = seasons.table
            coarse, more = seasons.coarse, [max(1, r.size) for r in shown]
            held = np.where(seasons.of_score, 0.0, table.ref_n)
        channels = np.array([*(max(1, r.size) for r in coarse), *([1] * scores), *more], np.int64)
        self._variances = _static_variances(profile, table, seasons)
        sizes = settings.psi_windows or (settings.close_values,)
        self._bank = AdwinBank(
            table.delta,
            _rules(settings),
            (held, table.ref_sum, table.ref_m2),
            self._variances,
            np.array([score.is_share for score in table.scores], np.bool_),
            np.array([score.name in ("loc", "skw") for score in table.scores], np.bool_),
            np.array([settings.cap_spread if score.name == "skw" else 1.0 for score in table.scores]),
        )
        self._windows = SlidingWindows(sizes, channels)
        alpha = settings.psi_alpha / settings.divisor
        self._designs = {
            name: _static_designs(profile, name, seasons)
            for name in dict.fromkeys(("psi", *(STATIC[LAWS[name]] for name in distances_on(settings))))
        }
        least = settings.psi_min if "psi" in settings.detectors else np.inf  # still the measure of every effect
        self._index = psi.PsiBank(coarse, len(settings.psi_windows), alpha, least, self._designs["psi"])
        ordered = [column.kind == "numeric" for column in profile.columns]
        self._distances = {
            name: DistanceBank(name, coarse, ordered, settings.psi_windows, alpha, self._designs[STATIC[LAWS[name]]])
            for name in distances_on(settings)
        }
        self._cumulated = {
            name: CusumBank(name == "page_hinkley", *cusum_reference(profile, settings), self._bank)
            for name in sums_on(settings)
        }
        self._watches = Watches(profile, settings)
        self._volume = VolumeWatch(settings.pane_ms, settings.volume_alpha)
        self._book = EpisodeBook(
            [column.name for column in profile.columns],
            detector_names(settings),
            scores,
            [score.category for score in table.scores],
        )
        self._evidences = Evidences(
            table, settings, self._bank, self._windows, self._index,
            tuple(self._distances.values()), tuple(self._cumulated.values()),
        )  # fmt: skip
        self._folding = Folding(table, settings, self._book, self._evidences, self._windows, self._index)
        self._illustrator = Illustrator(
            profile, table, settings.psi_bins, shown, self._windows, self._index, columns + scores if more else 0
        )
        relations = reference_of(profile) if settings.relations else None
        self._joint = None if relations is None else JointWatch(relations, settings)
        self._tick = np.full(1, -1, np.int64)
        self._n = np.zeros(channels.size)
        self._sums = np.zeros(int(channels.sum()))
        self._m2 = np.zeros(scores)
        self._valid = np.zeros(columns, np.int64)

    def update(
        self, tick: int, counts: NDArray[np.int64], rows: int, sketches: Sketches | None = None
    ) -> list[Transition]:
        """Take one sealed pane.

        Args:
            tick: pane number; must increase. Gaps are empty panes.
            counts: int64[total], in the order of the profile's layout.
            rows: records of the pane.
            sketches: of the pane, None when none were taken.

        Returns:
            Episodes that opened, escalated, changed or closed: volume first, then the other watches, then in
            the order of the columns, then relations between them.

        Raises:
            ValueError: the tick does not increase.
        """
        if tick <= self._tick[0]:
            raise ValueError(f"pane {tick} after pane {self._tick[0]}")
        self._tick[0] = tick
        transitions = [_of_volume(change) for change in self._volume.update(tick, rows)]
        transitions += self._watches.update(tick, rows, sketches)
        if rows <= 0:
            return transitions
        self._book.rows += rows
        columns, scores = self._valid.size, self._m2.size
        first = int(self._windows.start[columns])
        n, sums, coarse = self._n[columns : columns + scores], self._sums[first : first + scores], self._sums[:first]
        if self._clock is None:
            self._table.moments(counts, n, sums, self._m2, self._valid)
            _fold(counts, self._channel, coarse)
        else:
            if self._clock.visit(tick, rows):
                self._set_floor()
            self._clock.moments(tick, counts, n, sums, self._m2, self._valid)
            self._clock.fold(tick, counts, self._valid, self._channel, coarse)
            _fold(counts, self._channel, self._sums[first + scores :])
            self._n[columns + scores :] = self._valid
        self._n[:columns] = self._valid
        alarms = self._bank.update(tick, n, sums, self._m2)
        self._windows.update(tick, self._n, self._sums)
        judged = self._windows.judged[: self._index.open.shape[0]]
        pane = (self._n, self._sums, self._windows.start, judged, self._windows.n, self._windows.sums)
        opened = self._index.update(*pane)
        found: dict[int, list[Evidence]] = {}
        for alarm in alarms:
            evidence = self._evidences.of_alarm(alarm)
            found.setdefault(self._folding.episode_of(alarm.score), []).append(evidence)
        if opened:
            for window, column in zip(*np.nonzero(self._index.opened), strict=True):
                evidence = self._evidences.of_index(tick, int(window), int(column))
                found.setdefault(2 * int(column), []).append(evidence)
        for place, sums_bank in enumerate(self._cumulated.values(), 1):
            for alarm in sums_bank.update(tick, n, sums):
                evidence = self._evidences.of_alarm(alarm, place)
                found.setdefault(self._folding.episode_of(alarm.score), []).append(evidence)
        for number, bank in enumerate(self._distances.values()):
            if bank.update(*pane):
                for window, column in zip(*np.nonzero(bank.opened), strict=True):
                    evidence = self._evidences.of_distance(tick, number, int(window), int(column))
                    found.setdefault(2 * int(column), []).append(evidence)
        held = self._clock.held(tick, found.keys(), self._index.open) if self._clock is not None else ()
        transitions += [self._illustrator.illustrated(t) for t in self._folding.fold(tick, found, held)]
        if self._joint is not None and sketches is not None:
            transitions += self._joint.update(tick, sketches.sample.cells)
        return transitions

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episodes: volume first, then the other watches, then the columns, then relations."""
        volume = []
        if self._volume.severity:
            severity, opened, since = self._volume.severity, self._volume.opened_tick, self._volume.since_tick
            volume.append(OpenEpisode("", "volume", SEVERITIES[severity], "volume", 0.0, opened, since))
        relations = self._joint.book.open_episodes() if self._joint is not None else []
        return volume + self._watches.open_episodes() + self._book.open_episodes() + relations

    def picture(self, column: str, aspect: str, what: str, since: int) -> Picture:
        """What an open episode looks like now, see `driftbus.detectors.histogram.Illustrator.picture`."""
        return self._illustrator.picture(column, aspect, what, since)

    def views(self) -> list[ColumnView]:
        """The present state of each column, for eyes only."""
        views = []
        for c, column in enumerate(self._profile.columns):
            worst = max((2 * c, 2 * c + 1), key=lambda number: (self._book.severity(number), -number))
            severity = self._book.severity(worst)
            at = {s.name: i for i, s in enumerate(self._table.scores) if s.column == c}
            full = self._windows.n[0, c] > 0
            judged = full and self._index.open.shape[0] > 0
            seen = "nulls" in at and self._windows.n[0, self._valid.size + at["nulls"]] > 0
            views.append(
                ColumnView(
                    column=column.name,
                    severity=SEVERITIES[severity],
                    what=self._book.what(worst) if severity else "",
                    psi=float(self._index.judgement[0, c, psi.INDEX]) if judged else None,
                    mean=self._evidences.window_mean(0, at["loc"]) if full and "loc" in at else None,
                    null_rate=self._evidences.window_mean(0, at["nulls"]) if seen else None,
                )
            )
        return views

    def dump(self) -> bytes:
        """The state as bytes; `load` goes on from there as if nothing had happened."""
        arrays = {f"{prefix}.{name}": array for prefix, part in self._parts() for name, array in part.arrays().items()}
        return pack(_KIND, self._fingerprint(), arrays | {"group.tick": self._tick})

    @classmethod
    def load(cls, profile: Profile, settings: Settings, data: bytes) -> GroupDetector:
        """The detector whose state `dump` wrote.

        Raises:
            StateError: the bytes are damaged, or of another version, profile or settings.
        """
        group = cls(profile, settings)
        arrays = unpack(_KIND, group._fingerprint(), data)
        for prefix, part in group._parts():
            part.restore(select(arrays, prefix, part.arrays()))
        if group._clock is not None:
            group._set_floor()
        group._tick = select(arrays, "group", {"tick": group._tick})["tick"]
        return group

    def _parts(self) -> tuple[tuple[str, _Part], ...]:
        return (
            ("adwin", self._bank), ("windows", self._windows), ("psi", self._index),
            ("volume", self._volume), ("episodes", self._book), *self._distances.items(),
            *self._cumulated.items(),
            *self._watches.parts(),
            *((("season", self._clock),) if self._clock is not None else ()),
            *([("joint", self._joint)] if self._joint is not None else []),
        )  # fmt: skip

    def _set_floor(self) -> None:
        """The long-run variance that the errors of the slots' references cause: the first step of a seasonal column."""
        assert self._clock is not None
        table, tables = self._table, self._clock.tables
        floor = self._clock.floor()
        for i in np.flatnonzero(tables.of_score):
            self._variances[i, 0] = 1.0, floor[table.column[i]] * tables.variance[i]
        for c in np.flatnonzero(tables.seasonal):
            for designs in self._designs.values():
                designs[c, 0] = 1.0, floor[c], max(1.0, tables.coarse[c].size - 1.0)

    def _fingerprint(self) -> str:
        text = f"{self._settings.fingerprint()} {self._profile.profile_id}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _rules(s: Settings) -> AdwinRules:
    return AdwinRules(s.clock, s.buckets, s.least_side, s.grace, s.longrun, alarms="adwin" in s.detectors)


def _of_volume(change: VolumeChange) -> Transition:
    return Transition(
        column="",
        aspect="volume",
        status=change.status,
        severity=SEVERITIES[change.severity],
        detector="volume",
        what="volume",
        direction=change.direction,
        statistic=change.fold,
        threshold=2.0,
        p_value=change.p_value,
        effect=(1 - 1 / change.fold) * log(change.fold) if change.fold > 0 else 0.0,
        reference_value=float(change.usual),
        current_value=float(change.count),
        opened_tick=change.opened_tick,
        window_start_tick=change.start_tick,
        since_tick=change.since_tick,
        since_low_tick=change.since_tick,
        since_high_tick=change.end_tick,
        count=change.count,
        reference_count=change.usual,
    )


@lru_cache(maxsize=256)
def _coarse(profile: Profile, settings: Settings) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Reference counts on the coarse bins of each column, and the channel of each cell (-1: none)."""
    reference, layout = [], profile.layout()
    channel, first = np.full(layout.total, -1, np.int64), 0
    for column, offset in zip(profile.columns, layout.offsets, strict=True):
        counts = np.array(column.counts, np.int64)
        bins = psi.coarse_bins(counts, settings.psi_bins)
        channel[offset : offset + counts.size] = first + bins
        reference.append(np.bincount(bins, weights=counts).astype(np.float64))
        first += max(1, reference[-1].size)
    return reference, channel


@kernel
def _fold(counts: NDArray[np.int64], channel: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    for c in range(sums.size):
        sums[c] = 0.0
    for k in range(counts.size):
        if channel[k] >= 0:
            sums[channel[k]] += counts[k]


def _static_variances(profile: Profile, table: ScoreTable, seasons: SeasonTables | None) -> NDArray[np.float64]:
    runs = _longruns(profile, seasons)
    longest = max((len(r.lengths) for of in runs for r in of), default=0)
    static = np.zeros((len(table.scores), longest + 2, 2))
    for i, score in enumerate(table.scores):
        for r in runs[score.column]:
            if r.score == score.name:
                first = 0 if seasons is None else int(seasons.of_score[i])
                static[i, first : first + len(r.lengths)] = np.array([r.lengths, r.variances]).T
    return static


def _static_designs(profile: Profile, name: str, seasons: SeasonTables | None) -> NDArray[np.float64]:
    runs = _longruns(profile, seasons)
    longest = max((len(r.lengths) for of in runs for r in of), default=0)
    static = np.zeros((len(profile.columns), longest + 2, 3))
    for i, of in enumerate(runs):
        for r in of:
            if r.score == name:
                first = 0 if seasons is None else int(seasons.seasonal[i])
                static[i, first : first + len(r.lengths)] = np.array([r.lengths, r.variances, r.freedom]).T
    return static


def _longruns(profile: Profile, seasons: SeasonTables | None) -> list[tuple[LongRun, ...]]:
    """Autocorrelation of each column's scores: of the seasonal ones where it has a season."""
    own = {} if seasons is None or profile.season is None else {c.column: c.longrun for c in profile.season.columns}
    return [own.get(column.name, column.longrun) for column in profile.columns]
