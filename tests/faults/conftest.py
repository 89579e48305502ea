"""What schedules and single faults share: a Kafka that may be harmed, and workers that start at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.surroundings import make_broker
from harness.broker import Broker
from harness.missing import running
from harness.nursery import Nursery


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A Kafka that may be harmed, with short sessions."""
    with running(make_broker) as started:
        yield started


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()
