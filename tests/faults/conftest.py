"""What schedules and single faults share: a Kafka that may be harmed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.surroundings import make_broker
from harness.broker import Broker
from harness.missing import running


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """A Kafka that may be harmed, with short sessions."""
    with running(make_broker) as started:
        yield started
