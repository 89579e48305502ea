"""How far the logs of a join have been read, and from where they have to be read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Side:
    """How far one topic of predictions has been read."""

    position: int = 0
    clock: int = -1
    seen_end_ms: int = -1


@dataclass(frozen=True, slots=True)
class Rebuild:
    """From where both logs have to be read when nothing is stored.

    Args:
        labels_ms: the first label whose Kafka timestamp is at least this; -1: from the beginning.
        predictions_ms: topic → the same for its predictions.
    """

    labels_ms: int
    predictions_ms: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def missing_ms(wanted_ms: int, first_offset: int, first_ms: int) -> int | None:
        """How much of what has to be read a log no longer has, in milliseconds of Kafka timestamps.

        Outcomes of labels whose predictions lay there would become orphans, and differ from what a worker that
        still had them would have said.

        Args:
            wanted_ms: from where it has to be read, -1 for the beginning.
            first_offset: first offset that is left in the log's partition.
            first_ms: Kafka timestamp of the record there, -1 when none is left.

        Returns:
            0: nothing; None: nobody can say, because all of it was deleted.
        """
        if first_offset <= 0:
            return 0
        return None if first_ms < 0 else max(0, first_ms - wanted_ms) if wanted_ms >= 0 else 0
