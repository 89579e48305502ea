"""A worker's wall clock that jumps by hours: verdicts stay those of the log, and the worker goes on or asks to be
started again."""

from __future__ import annotations

import pytest

from driftbus.schemas.errors import Unavailable
from driftbus.stream.worker.wallclock import WallClock
from harness.broker import Broker
from harness.jumpingclock import Clock
from harness.missing import skipped_when_missing
from harness.process import wait_for

from .scenario import Scenario, rows

HOUR_S = 3_600


def test_a_step_back_is_noticed_and_other_ways_of_time_are_not() -> None:
    wall = monotonic = 1_000.0
    clock = WallClock(lambda: wall, lambda: monotonic)
    for passed, more in ((1, 0), (1, -2), (1, HOUR_S), (900, 0), (1, -4)):
        monotonic, wall = monotonic + passed, wall + passed + more
        clock.look()
    monotonic, wall = monotonic + 1, wall + 1 - HOUR_S
    with pytest.raises(Unavailable, match=r"set back by 3600 s"):
        clock.look()


@pytest.mark.kafka
def test_jumps_of_hours_change_no_verdict(kafka: Broker) -> None:
    scenario = Scenario(kafka)
    try:
        with skipped_when_missing():
            clock = Clock(scenario.home / "clock")
        applications = rows(12_000, seed=9, drift_at=6_000)
        scenario.produce(applications[:4_000])
        clock.jump(-7 * HOUR_S)
        worker = scenario.start(environment=clock.environment)
        worker.wait_ready(180)
        clock.jump(5 * HOUR_S)
        scenario.produce(applications[4_000:8_000])
        wanted = scenario.expected().keys()
        wait_for(lambda: wanted <= scenario.published().keys(), 120, "events after a jump forward")
        assert worker.child.returncode is None, worker.child.tail()
        clock.jump(2 * HOUR_S)
        assert worker.child.wait(90) == 3, worker.child.tail()
        assert "this computer's clock was set back" in worker.child.tail()
        scenario.workers.clear()
        scenario.produce(applications[8_000:])
        scenario.start(environment=clock.environment)
        scenario.settle()
    finally:
        scenario.close()
