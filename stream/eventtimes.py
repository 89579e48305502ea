"""Which event times are refused: by the record's own Kafka timestamp, never by a clock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.schemas.columns import MISSING_TIME


def refused_times(
    times: NDArray[np.int64], timestamps: NDArray[np.int64], good: NDArray[np.bool_], future_ms: int, field: str
) -> tuple[NDArray[np.bool_], list[tuple[int, str]]]:
    """What of a batch has no event time that can be used.

    Args:
        times: int64[n], event times in milliseconds, MISSING_TIME for none.
        timestamps: int64[n], Kafka timestamps in milliseconds, -1 for none.
        good: bool[n], False for rows that are refused anyway: no reason is given for them.
        future_ms: how far an event time may be beyond its Kafka timestamp.
        field: where event times come from, "" for the Kafka timestamp.

    Returns:
        (bool[n], (row, why) of each).
    """
    missing, negative = times == MISSING_TIME, times < 0
    # written as a difference so that a wild event time can't overflow the sum
    future = (timestamps >= 0) & ~negative & (times - np.maximum(timestamps, 0) > future_ms)
    bad: NDArray[np.bool_] = missing | negative | future
    reasons = []
    for row in np.flatnonzero(bad & good).tolist():
        if missing[row]:
            why = f"field {field!r} is missing, null or not a time" if field else "no Kafka timestamp"
        elif negative[row]:
            why = f"event time {times[row]} ms lies before 1970"
        else:
            why = f"event time {times[row]} ms is beyond Kafka timestamp {timestamps[row]} ms by more than allowed"
        reasons.append((row, why))
    return bad, reasons
