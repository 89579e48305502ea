"""Where a source partition stands in the group's commits: ``epoch:base`` beside the offset."""

from __future__ import annotations

from typing import NamedTuple

from driftbus.stream.transport.poller import Committed


class Start(NamedTuple):
    """How to take up a source partition.

    Args:
        base: offset at which the present epoch of the source began.
        position: first offset to read.
        announce: whether base has to be committed before anything is produced.
    """

    base: int
    position: int
    announce: bool


def metadata(epoch: str, base: int) -> str:
    """What is committed beside an offset."""
    return f"{epoch}:{base}"


def start_of(committed: Committed | None, epoch: str) -> Start:
    """How to take up a partition from what is committed for it.

    Without a commit the epoch begins with the log. When the commit is of another epoch, or of
    something else than driftbus, the epoch begins where that one ended.
    """
    if committed is None:
        return Start(0, 0, announce=False)
    known, _, base = committed.metadata.partition(":")
    if known == epoch and base.isdecimal() and int(base) <= committed.offset:
        return Start(int(base), committed.offset, announce=False)
    return Start(committed.offset, committed.offset, announce=True)
