"""A worker that runs out of memory, of file descriptors, of disk for its log: nothing past it is committed, and the
next one goes on."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.broker import Broker
from harness.missing import running
from harness.process import wait_for
from harness.smalldisk import SmallDisk

from .scenario import Scenario, rows
from .workers import start_worker

pytestmark = pytest.mark.kafka


def limit(pid: int, what: int, soft: int) -> None:
    """Set the soft limit of a process that runs; 0: back to its hard one."""
    hard = resource.prlimit(pid, what)[1]
    resource.prlimit(pid, what, (soft or hard, hard))


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with running(lambda: SmallDisk(1)) as made:
        yield made


def test_memory_files_and_a_full_disk_under_the_log(kafka: Broker, disk: SmallDisk) -> None:
    scenario = Scenario(kafka)
    applications = rows(16_000, seed=19, drift_at=6_000)
    try:
        worker = scenario.start()
        worker.wait_ready(180)
        pid = worker.child.pid

        # as many files as there are: connections that come are refused until there is room again
        limit(pid, resource.RLIMIT_NOFILE, len(list(Path(f"/proc/{pid}/fd").iterdir())))
        scenario.produce(applications[:4_000])
        limit(pid, resource.RLIMIT_NOFILE, 0)
        wanted = scenario.expected().keys()
        wait_for(lambda: scenario.published().keys() >= wanted or worker.child.returncode is not None, 120, "events")
        assert worker.child.returncode in (None, 3, 4), worker.child.tail()

        # no memory any more: whatever gives way first, it ends, and what it did not finish is not committed
        if worker.child.returncode is None:
            status = Path(f"/proc/{pid}/status").read_text()
            in_use = int(next(line for line in status.splitlines() if line.startswith("VmData")).split()[1]) << 10
            limit(pid, resource.RLIMIT_DATA, in_use + (1 << 20))  # of addresses, RLIMIT_AS, glibc keeps plenty
        for row in applications[4_000:4_060]:  # what it has in reserve may be enough for small ones
            row["id"] = row["id"].ljust(800_000)
        scenario.produce(applications[4_000:10_000])
        wait_for(lambda: worker.child.returncode is not None, 300, "the end of a worker without memory")
        assert worker.child.returncode != 0
        scenario.workers.clear()

        # nowhere to write a log to
        last = start_worker(disk.path, scenario._document(), 1)
        scenario.workers.append(last)
        last.wait_ready(180)
        disk.fill()
        scenario.produce(applications[10_000:])
        scenario.settle()
        assert last.child.returncode == 0, "it has ended as it should"
    finally:
        scenario.close()
