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

    def missing_ms(self, topic: str, first_offset: int, first_ms: int) -> int:
        """How much of what has to be read a log no longer has, in milliseconds of Kafka timestamps; 0: nothing.

        Outcomes of labels whose predictions lay there become orphans, and differ from what a worker that
        still had them would have said.

        Args:
            topic: of predictions.
            first_offset: first offset that is left in the log's partition.
            first_ms: Kafka timestamp of the record there.
        """
        wanted = self.predictions_ms.get(topic, -1)
        return max(0, first_ms - wanted) if first_offset > 0 and wanted >= 0 else 0
