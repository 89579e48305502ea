"""The product without one of its rules, to see that the checker finds out; called in the nursery, before it forks."""

from __future__ import annotations

from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.sourcestate import Place, commit_of
from driftbus.stream.worker.summarise_agent import SummariseAgent


def commit_what_was_read() -> None:
    """Rule 4 gone: the offset of the next record is committed, though the open range is nowhere but in memory."""

    def commits(agent: SummariseAgent) -> dict[object, Committed]:
        places = {
            tp: Place(s.machine.plan.epoch, s.machine.base, s.machine.position) for tp, s in agent.sources.items()
        }
        return {tp: commit_of(place) for tp, place in places.items()}

    SummariseAgent.commits = commits  # type: ignore[method-assign,assignment]  # that is the point
