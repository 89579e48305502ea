"""Plays the car-loan stream into Kafka as a serving process would: with `driftbus.Producer`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from driftbus.stream.client.producer import Producer


@dataclass(frozen=True, slots=True)
class Loan:
    """One scored loan application."""

    id: str
    time_ms: int
    features: dict[str, Any]
    score: float
    prediction: str


class Player(threading.Thread):
    """Sends loans at a steady pace; event time is the loans' own, so the pace compresses time.

    Args:
        producer: where to send.
        loans: in order of time.
        per_second: pace.
    """

    def __init__(self, producer: Producer, loans: Iterable[Loan], per_second: float) -> None:
        super().__init__(daemon=True, name="demo-player")
        self._producer, self._loans, self._per_second = producer, loans, per_second
        self._stop = threading.Event()
        self.sent = 0
        self.finished = False

    def run(self) -> None:
        start = time.monotonic()
        for loan in self._loans:
            ahead = self.sent / self._per_second - (time.monotonic() - start)
            if ahead > 0.02:
                self._stop.wait(ahead)
            if self._stop.is_set():
                return
            self._producer.prediction(
                id=loan.id,
                version="1",
                features=loan.features,
                score=loan.score,
                prediction=loan.prediction,
                time=datetime.fromtimestamp(loan.time_ms / 1000, UTC),
            )
            self.sent += 1
        self._producer.flush(30.0)
        self.finished = True

    def stop(self) -> None:
        """Stop soon; what was sent stays sent."""
        self._stop.set()
