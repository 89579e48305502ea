"""Plays car loans into Kafka as a serving process would, with `driftbus.Producer`; labels when they are due."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from driftbus.stream.client.producer import Producer


@dataclass(frozen=True, slots=True)
class Loan:
    """One scored loan application, and what became of it later."""

    id: str
    time_ms: int
    features: dict[str, Any]
    score: float
    prediction: str
    label: str = ""
    label_ms: int = 0


def in_order(loans: Iterable[Loan]) -> Iterator[tuple[bool, Loan]]:
    """(whether it is its label's turn, loan) in order of event time: predictions when made, labels when known.

    Args:
        loans: in order of time; those without a label get none.
    """
    due: list[tuple[int, int, Loan]] = []
    for number, loan in enumerate(loans):
        while due and due[0][0] <= loan.time_ms:
            yield True, heapq.heappop(due)[2]
        yield False, loan
        if loan.label:
            heapq.heappush(due, (loan.label_ms, number, loan))
    while due:
        yield True, heapq.heappop(due)[2]


class Player(threading.Thread):
    """Sends loans and labels at a steady pace; event time is the loans' own, so the pace compresses time.

    Args:
        predictions, labels: where to send.
        loans: in order of time.
        per_second: predictions and labels together.

    Attributes:
        sent, labelled: predictions and labels so far.
    """

    def __init__(self, predictions: Producer, labels: Producer, loans: Iterable[Loan], per_second: float) -> None:
        super().__init__(daemon=True, name="demo-player")
        self._predictions, self._labels = predictions, labels
        self._loans, self._per_second = loans, per_second
        self._stop = threading.Event()
        self.sent = self.labelled = 0
        self.finished = False

    def run(self) -> None:
        start = time.monotonic()
        for is_label, loan in in_order(self._loans):
            ahead = (self.sent + self.labelled) / self._per_second - (time.monotonic() - start)
            if ahead > 0.02:
                self._stop.wait(ahead)
            if self._stop.is_set():
                return
            if is_label:
                self._labels.label(id=loan.id, label=loan.label, time=_moment(loan.label_ms))
                self.labelled += 1
                continue
            self._predictions.prediction(
                id=loan.id,
                version="1",
                features=loan.features,
                score=loan.score,
                prediction=loan.prediction,
                time=_moment(loan.time_ms),
            )
            self.sent += 1
        self._predictions.flush(30.0)
        self._labels.flush(30.0)
        self.finished = True

    def stop(self) -> None:
        """Stop soon; what was sent stays sent."""
        self._stop.set()


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
