"""Fixtures of the real services. Each is started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from harness.broker import Broker
from harness.browser import Browser
from harness.browser import browser as open_browser
from harness.missing import running, skipped_when_missing
from harness.mockcluster import MockCluster
from harness.node import Node
from harness.nursery import Nursery
from harness.registry import Registry

# The first example pays for compiling kernels, and machines differ: no test asserts a speed.
settings.register_profile("driftbus", deadline=None)
settings.load_profile("driftbus")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that start processes first: they take longest, and whoever gets the last one is waited for."""
    items.sort(key=lambda item: item.path.parent.name not in ("kafka", "faults"))


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A real Apache Kafka, shared by all tests: use topics and groups of your own."""
    with running(Broker) as broker:
        yield broker


@pytest.fixture
def fragile_kafka() -> Iterator[Broker]:
    """A real Apache Kafka of this test's own, to be killed, frozen and restarted."""
    with running(Broker) as broker:
        yield broker


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks workers, each of which would take seconds to start as a program."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A real schema registry, shared by all tests: use subjects of your own."""
    with running(Registry) as server:
        yield server


@pytest.fixture
def fragile_registry() -> Iterator[Registry]:
    """A real schema registry of this test's own, to be killed and restarted."""
    with running(Registry) as server:
        yield server


@pytest.fixture
def mock_cluster() -> Iterator[MockCluster]:
    """librdkafka's imitation of a cluster: instant, but not the real thing."""
    cluster = MockCluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def node() -> Node:
    """JavaScript with Kafka and Avro clients."""
    with skipped_when_missing():
        return Node()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser; its driver holds the thread's event loop, so it ends with the module."""
    with skipped_when_missing(), open_browser() as found:
        yield found
