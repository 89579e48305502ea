"""Stage 1's loops over the rows of a batch: where ranges end, and what each row belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftbus.detectors.sampling import NO_DELAY
from driftbus.schemas.kernel import kernel


@kernel
def arrival_delays(timestamps: NDArray[np.int64], times: NDArray[np.int64], delays: NDArray[np.int64]) -> None:
    """Into `delays`: Kafka timestamp minus event time, `NO_DELAY` where either is unknown."""
    for i in range(delays.size):
        known = timestamps[i] >= 0 and times[i] >= 0
        delays[i] = timestamps[i] - times[i] if known else NO_DELAY


@kernel
def renumber(entry: NDArray[np.int64], entries: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries that occur, in order of first occurrence, and each row's place among them (-1 for none)."""
    place = np.full(entries, -1, np.int64)
    used = np.empty(entries, np.int64)
    local = np.empty(entry.size, np.int64)
    count = 0
    for i in range(entry.size):
        e = entry[i]
        if e >= 0 and place[e] < 0:
            place[e], used[count] = count, e
            count += 1
        local[i] = place[e] if e >= 0 else -1
    return local, used[:count]


@kernel
def extents(
    entry_of: NDArray[np.int64], offsets: NDArray[np.int64], entries: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Per entry: rows, first offset, last offset."""
    rows = np.zeros(entries, np.int64)
    first = np.zeros(entries, np.int64)
    last = np.zeros(entries, np.int64)
    for s in range(entry_of.shape[0]):
        for i in range(entry_of.shape[1]):
            e = entry_of[s, i]
            if e >= 0:
                if rows[e] == 0:
                    first[e] = offsets[i]
                last[e] = offsets[i]
                rows[e] += 1
    return rows, first, last


@kernel
def cut_ranges(
    ticks: NDArray[np.int64],
    good: NDArray[np.bool_],
    groups: NDArray[np.int64],
    open_keys: NDArray[np.int64],
    records: int,
    max_tick: int,
    most_records: int,
    most_entries: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, int]:
    """Where ranges end, and which (group, pane) of which range each row belongs to.

    A range is cut before a record iff it is not empty and the record's tick is greater than all
    of the range's, or it holds `most_records` records or `most_entries` entries.

    Returns:
        rows before which the range is cut; greatest tick of each range so closed; entry of each
        (slot, row), -1 for none; (group, tick) of each entry in order of first occurrence; range
        of each entry; records and greatest tick of the range left open.
    """
    n = ticks.size
    slots = groups.shape[0]
    cuts = np.empty(n, np.int64)
    cut_ticks = np.empty(n, np.int64)
    entry_of = np.full((slots, n), -1, np.int64)
    keys = np.empty((slots * n, 2), np.int64)
    ranges = np.empty(slots * n, np.int64)
    size = 64
    while size < 4 * (most_entries + slots + open_keys.shape[0]):
        size *= 2
    # open addressing on (group, tick); a slot belongs to the current range iff its stamp says so
    stamp = np.full(size, -1, np.int64)
    at_group = np.empty(size, np.int64)
    at_tick = np.empty(size, np.int64)
    at_entry = np.empty(size, np.int64)
    current = 0
    cut_count = 0
    count = 0
    distinct = 0
    for k in range(open_keys.shape[0]):
        g, t = open_keys[k, 0], open_keys[k, 1]
        slot = (g + t * np.int64(0x9E3779B1)) & (size - 1)
        while stamp[slot] == current:
            slot = (slot + 1) & (size - 1)
        stamp[slot], at_group[slot], at_tick[slot], at_entry[slot] = current, g, t, -1
        distinct += 1
    for i in range(n):
        if not good[i]:
            continue
        t = ticks[i]
        if records > 0 and (t > max_tick or records >= most_records or distinct >= most_entries):
            cuts[cut_count], cut_ticks[cut_count] = i, max_tick
            cut_count += 1
            current += 1
            records, distinct, max_tick = 0, 0, -1
        records += 1
        max_tick = max(max_tick, t)
        for s in range(slots):
            g = groups[s, i]
            if g < 0:
                continue
            slot = (g + t * np.int64(0x9E3779B1)) & (size - 1)
            while stamp[slot] == current and (at_group[slot] != g or at_tick[slot] != t):
                slot = (slot + 1) & (size - 1)
            if stamp[slot] != current:
                stamp[slot], at_group[slot], at_tick[slot], at_entry[slot] = current, g, t, -1
                distinct += 1
            if at_entry[slot] < 0:
                at_entry[slot] = count
                keys[count, 0], keys[count, 1] = g, t
                ranges[count] = current
                count += 1
            entry_of[s, i] = at_entry[slot]
    return cuts[:cut_count], cut_ticks[:cut_count], entry_of, keys[:count], ranges[:count], records, max_tick
