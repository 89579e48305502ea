"""The product without one of its rules, to see that the checker finds out; called in the nursery, before it forks."""

from __future__ import annotations

import mmap
import os
import signal

from driftbus.stream.transport.brake import Brake
from driftbus.stream.transport.poller import Committed
from driftbus.stream.worker.sourcestate import Place, commit_of
from driftbus.stream.worker.summarise_agent import SummariseAgent
from driftbus.stream.worker.worker import Worker

BEHIND = 600
"""Offset behind which something has changed in every partition."""


def commit_what_was_read() -> None:
    """Rule 4 gone: the offset of the next record is committed, though the open range is nowhere but in memory.

    The first worker that has done so stands still, so that it can be killed there.
    """
    stood_still, committed = mmap.mmap(-1, 1), Worker.committed  # memory that forks have in common

    def commits(agent: SummariseAgent) -> dict[object, Committed]:
        places = {
            tp: Place(s.machine.plan.epoch, s.machine.base, s.machine.position) for tp, s in agent.sources.items()
        }
        return {tp: commit_of(place) for tp, place in places.items()}

    def stand_still(worker: Worker, plan: dict[object, Committed]) -> None:
        committed(worker, plan)  # type: ignore[arg-type]
        for tp, source in worker.summarising.sources.items():
            kept = source.machine.commit_offset or source.start.position
            if tp in plan and not stood_still[0] and BEHIND < kept < plan[tp].offset:
                stood_still[0] = 1
                os.kill(os.getpid(), signal.SIGSTOP)

    SummariseAgent.commits = commits  # type: ignore[method-assign,assignment]  # that is the point
    Worker.committed = stand_still  # type: ignore[method-assign,assignment]


def no_brake() -> None:
    """No back-pressure: whatever comes is taken."""
    Brake._full = lambda self: False  # type: ignore[method-assign]
