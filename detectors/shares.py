"""Whether traffic is split as it should be: a sample-ratio mismatch makes every comparison doubtful.

Source: M. Lindon and A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022.
"""

from __future__ import annotations

from math import log
from typing import Any

from driftbus.detectors.sequential import log_share_evidence, share_interval

NEAR = 0.1
"""A mismatch is over when the share since then is known to within this part of what it should be."""


class Shares:
    """Looks at the shares of two versions after every pane.

    A mismatch is told; from then on the newer rows are looked at alone, until they show that the share is right,
    or that it still is not. Each new beginning has half the error probability of the one before, so that all of
    them together keep to alpha.

    Args:
        share: of the challenger, if all is well.
        alpha: bound on the probability of ever telling a mismatch while there is none.
    """

    def __init__(self, share: float, alpha: float) -> None:
        self._share, self._alpha = share, alpha
        self._rows = [0, 0]
        self._beginnings = 0
        self._open = False
        self._last: float | None = None

    def update(self, challenger: int, champion: int) -> str:
        """The rows of a pane: ``mismatch`` or ``resolved`` when that changes, else ""."""
        self._rows[0] += challenger
        self._rows[1] += champion
        one, other = self._rows
        alpha = self._alpha / 2 ** (self._beginnings + 1)
        if log_share_evidence(one, other, self._share, self._share) > log(1 / alpha):
            told, self._open = not self._open, True
            self._begin()
            return "mismatch" if told else ""
        if self._open and challenger + champion:
            low, high = share_interval(one, other, alpha, self._share)
            if self._share * (1 - NEAR) < low and high < self._share * (1 + NEAR):
                self._open = False
                self._begin()
                return "resolved"
        return ""

    def value(self) -> float | None:
        """The challenger's share since the last beginning, None without rows."""
        return self._last if sum(self._rows) == 0 else self._rows[0] / sum(self._rows)

    def state(self) -> list[Any]:
        """Plain data that `restore` takes back."""
        return [list(self._rows), self._beginnings, self._open, self._last]

    def restore(self, state: list[Any]) -> None:
        """Continue from `state` of the same share and alpha."""
        rows, self._beginnings, self._open, self._last = state
        self._rows = list(rows)

    def _begin(self) -> None:
        self._last = self.value()
        self._rows = [0, 0]
        self._beginnings += 1
