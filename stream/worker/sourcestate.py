"""Where the machines of a source partition stand, in the group's commits.

One machine: ``epoch:base`` beside the committed offset, which is its position. Several read a label
partition, each at its own pace: ``epoch:base:position`` of each, in a fixed order, and the committed
offset is the smallest position.
"""

from __future__ import annotations

from typing import NamedTuple

from driftbus.stream.transport.poller import Committed


class Place(NamedTuple):
    """Where one machine stands.

    Args:
        epoch: of its source.
        base: offset at which that epoch began.
        position: start of its open range: where the next owner begins.
    """

    epoch: str
    base: int
    position: int


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


def commit_of(*places: Place) -> Committed:
    """What to commit for the machines of a partition, the summariser first."""
    if len(places) == 1:
        ((epoch, base, position),) = places
        return Committed(position, f"{epoch}:{base}")
    texts = [f"{place.epoch}:{place.base}:{place.position}" for place in places]
    return Committed(min(place.position for place in places), " ".join(texts))


def start_of(committed: Committed | None, epoch: str, number: int = 0) -> Start:
    """How to take up a partition from what is committed for it.

    Without a commit the epoch begins with the log. When the commit is of another epoch, or of
    something else than driftbus, the epoch begins where that one ended.

    Args:
        committed: of the group, None without a commit.
        epoch: present epoch of the machine.
        number: which of the partition's machines it is.
    """
    if committed is None:
        return Start(0, 0, announce=False)
    known = _places(committed)
    place = known[number] if number < len(known) else None
    if place is not None and place.epoch == epoch:
        return Start(place.base, place.position, announce=False)
    # a machine that is new here begins where the partition's first one stands
    ended = place or (known[0] if known else None)
    position = committed.offset if ended is None else ended.position
    return Start(position, position, announce=True)


def _places(committed: Committed) -> list[Place]:
    """The places in a commit; none at all when one of them can't be read."""
    places = []
    for text in committed.metadata.split(" "):
        epoch, _, numbers = text.partition(":")
        base, _, position = numbers.partition(":")
        if not epoch or not base.isdecimal() or not (position.isdecimal() or ":" not in numbers):
            return []
        place = Place(epoch, int(base), int(position) if position else committed.offset)
        if place.base > place.position or place.position < committed.offset:
            return []
        places.append(place)
    return places
