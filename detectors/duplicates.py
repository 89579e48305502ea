"""Ids that come more than once, among the sampled ids of a window.

The ids with the smallest hashes are a simple random sample of the ids, and how often each occurs is
known exactly (Cohen and Kaplan, 2007), so the share of sampled ids that occur more than once is that
of all ids. It alarms when it exceeds what is usual and significantly so: Chernoff's bound, with ids as
the units, because the copies of one id come together.

Known bias: a copy is seen when both records lie in one window of 5,000 rows, and none of them is
late. A stream whose ids recur by nature (customers) must map none, or show it in its first window.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.episodes import SEVERITIES, OpenEpisode
from driftbus.detectors.sketches import IdSample, Sketches
from driftbus.detectors.verdict import Transition, share_effect

_WINDOW = 5_000
_KEPT = 1_024
_LEAST_IDS = 100
_USUAL, _FACTOR, _RECURRING = 0.01, 3.0, 0.1
_MODERATE, _SEVERE = 0.05, 0.25
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)

_ROWS, _START, _SEVERITY, _OPENED, _SINCE, _LOW, _KNOWN = range(7)


def chernoff(repeated: int, ids: int, usual: float) -> float:
    """Bound on the probability that so many of `ids` ids are repeated when each is with probability `usual`."""
    share = repeated / ids
    if share <= usual:
        return 1.0
    rest = 0.0 if repeated == ids else (1 - share) * log((1 - share) / (1 - usual))
    return exp(-ids * (share * log(share / usual) + rest))


class DuplicatesWatch:
    """The ids of one group.

    Args:
        unique: whether an id names one event (predictions, labels): then 1 % is the yardstick from the first
            window on. Otherwise (features) three times the share of the first window is, when that is more.
        alpha: significance level of one look. Raising it finds smaller shares.
    """

    def __init__(self, unique: bool, alpha: float) -> None:
        self._unique, self._alpha = unique, alpha
        self._state = np.zeros(7, np.int64)
        self._usual = np.zeros(1)
        self._limit = np.array([-1], np.int64)  # ids with larger hashes are not all known; -1: all are
        self._hashes, self._counts = np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64)

    def update(self, tick: int, rows: int, sketches: Sketches | None) -> list[Transition]:
        """Take the sampled ids of one pane.

        Args:
            tick: pane number.
            rows: records of the pane.
            sketches: of the pane.
        """
        state = self._state
        if sketches is None or not sketches.ids.hashes.size:
            return []
        if not state[_ROWS]:
            state[_START] = tick
        state[_ROWS] += rows
        sample = self._merged(sketches.ids, sketches.shape.k)
        ids, repeated = sample.counts.size, int((sample.counts > 1).sum())
        full = state[_ROWS] >= _WINDOW
        changes = self._judge(tick, ids, repeated, full) if ids >= _LEAST_IDS and (full or state[_KNOWN]) else []
        if full:
            state[_ROWS], self._limit[0] = 0, -1
            self._hashes, self._counts = np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64)
        return changes

    def open_episodes(self) -> list[OpenEpisode]:
        """The open episode, if there is one."""
        s = self._state
        severity, opened, since = SEVERITIES[s[_SEVERITY]], int(s[_OPENED]), int(s[_SINCE])
        return [OpenEpisode("", "duplicates", severity, "duplicates", 0.0, opened, since)] if s[_SEVERITY] else []

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, by name."""
        return {
            "state": self._state, "usual": self._usual, "limit": self._limit,
            "hashes": self._hashes, "counts": self._counts,
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a state that `arrays` gave."""
        for name in ("state", "usual", "limit", "hashes", "counts"):
            setattr(self, f"_{name}", arrays[name].copy())

    def _merged(self, fresh: IdSample, k: int) -> IdSample:
        known = IdSample(self._hashes[0].view(np.uint64), self._counts[0])
        sample = known.merged(fresh, _KEPT)
        limit = self._limit.view(np.uint64)
        for ids, most in ((fresh, k), (sample, _KEPT)):
            if ids.hashes.size >= most:
                limit[0] = min(limit[0], ids.hashes[-1])
        sure = int(np.searchsorted(sample.hashes, limit[0], side="right"))
        self._hashes = sample.hashes[:sure].view(np.int64).reshape(1, -1).copy()
        self._counts = sample.counts[:sure].reshape(1, -1).copy()
        return IdSample(sample.hashes[:sure], sample.counts[:sure])

    def _judge(self, tick: int, ids: int, repeated: int, full: bool) -> list[Transition]:
        state, share = self._state, repeated / ids
        if not state[_KNOWN]:
            state[_KNOWN] = 1
            recurring = share >= _RECURRING or not self._unique
            self._usual[0] = max(_USUAL, _FACTOR * share) if recurring else _USUAL
        usual = float(self._usual[0])
        if usual >= 1:
            return []
        p_value = chernoff(repeated, ids, usual)
        severity = 1 + (share >= _MODERATE) + (share >= _SEVERE)
        if p_value < self._alpha and severity > state[_SEVERITY]:
            status = "escalated" if state[_SEVERITY] else "opened"
            if status == "opened":
                state[_OPENED], state[_SINCE], state[_LOW] = tick, (state[_START] + tick) // 2, state[_START]
            state[_SEVERITY] = severity
        elif full and state[_SEVERITY] and share <= usual:
            status = "closed"
        else:
            return []
        change = self._transition(status, usual, share, ids, p_value)
        if status == "closed":
            state[_SEVERITY] = 0
        return [change]

    def _transition(self, status: str, usual: float, share: float, ids: int, p_value: float) -> Transition:
        state = self._state
        return Transition(
            column="",
            aspect="duplicates",
            status=status,
            severity=SEVERITIES[state[_SEVERITY]],
            detector="duplicates",
            what="duplicates",
            direction="up",
            statistic=share / usual,
            threshold=1.0,
            p_value=p_value,
            effect=share_effect(usual, share),
            reference_value=usual,
            current_value=share,
            opened_tick=int(state[_OPENED]),
            window_start_tick=int(state[_START]),
            since_tick=int(state[_SINCE]),
            since_low_tick=int(state[_LOW]),
            since_high_tick=int(state[_OPENED]),
            count=ids,
            reference_count=0,
        )
