"""Three brokers behind proxies, and one on a small disk: whatever happens to them, events are those of the log."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from kafka.scenario import Scenario, rows

from harness.broker import Broker
from harness.cluster import BROKERS, Cluster
from harness.missing import running
from harness.nursery import Nursery
from harness.process import wait_for
from harness.proxy import Proxy
from harness.smalldisk import SmallDisk

pytestmark = pytest.mark.kafka

ROWS, DRIFT_AT = 9_000, 3_000
PER_SECOND = 1_500.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Tests leave it with all brokers and no faults."""
    with running(Cluster) as three:
        yield three


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    with running(lambda: SmallDisk(48)) as disk:
        yield disk


def test_brokers_that_lead_are_killed_one_after_another(cluster: Cluster, nursery: Nursery) -> None:
    scenario = Scenario(cluster, nursery=nursery)
    try:
        for worker in (scenario.start(), scenario.start()):
            worker.wait_ready()
        sending = scenario.producing(rows(ROWS, 2, DRIFT_AT), PER_SECOND)
        topics = scenario.config.topics
        for topic in (topics.summaries, topics.state):
            leader = cluster.leader(topic)
            cluster.brokers[leader].kill()
            wait_for(lambda topic=topic, was=leader: cluster.leader(topic) != was, 30, "another leader")
            cluster.restart(leader)
            cluster.wait_for_brokers()
            cluster.wait_in_sync(topics.summaries, topics.state, scenario.source)
        # with one left of three nothing can be written: the workers wait
        coordinator = cluster.coordinator(scenario.tag)
        gone = [coordinator, next(number for number in BROKERS if number != coordinator)]
        for number in gone:
            cluster.brokers[number].kill()
        for number in gone:
            cluster.restart(number)
        sending.join(120)
        scenario.settle()
    finally:
        cluster.wait_for_brokers()
        scenario.close()


def test_the_network_hangs_breaks_and_crawls(cluster: Cluster, nursery: Nursery) -> None:
    scenario = Scenario(cluster, nursery=nursery)
    everyone = list(cluster.proxies.values())
    try:
        for worker in (scenario.start(), scenario.start()):
            worker.wait_ready()
        sending = scenario.producing(rows(ROWS, 3, DRIFT_AT), PER_SECOND)
        lead = cluster.proxies[cluster.leader(scenario.config.topics.summaries)]
        for fault in (
            lambda: lead.hang("answers"),
            lambda: [proxy.hang() for proxy in everyone],
            lambda: [proxy.cut() for proxy in everyone],
            lambda: [proxy.tear(50_000) for proxy in everyone],
            lambda: [proxy.slow(0.1) for proxy in everyone],
        ):
            fault()
            sending.join(1.5)
            for proxy in everyone:
                proxy.heal()
            sending.join(0.5)
        sending.join(120)
        scenario.settle()
    finally:
        for proxy in everyone:
            proxy.heal()
        scenario.close()


def test_a_broker_whose_disk_is_full_is_waited_for(small_disk: SmallDisk) -> None:
    with running(lambda: Broker(data=small_disk.path / "data")) as broker:
        scenario = Scenario(broker)
        try:
            worker = scenario.start()
            worker.wait_ready()
            sending = scenario.producing(rows(ROWS, 4, DRIFT_AT), PER_SECOND)
            wait_for(lambda: bool(scenario.published()), 60, "events")
            small_disk.fill()
            wait_for(lambda: not broker.alive, 60, "the broker to give up")
            small_disk.make_room()
            broker.start()
            sending.join(120)
            scenario.settle()
        finally:
            scenario.close()


class TestProxy:
    def test_it_does_what_it_says(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(10)
            proxy = Proxy(server.getsockname()[1])
            proxy.start()
            client, behind = _connected(proxy, server)
            assert _passes(client, behind)
            proxy.hang()
            assert not _passes(client, behind)
            proxy.heal()
            assert behind.recv(100) == b"hello"  # what hung goes on
            proxy.hang("answers")
            assert _passes(client, behind)
            assert not _passes(behind, client)
            proxy.cut()
            assert _rest(client) is None
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
            proxy.tear(3)
            client, behind = _connected(proxy, server)
            behind.sendall(b"hello")
            assert len(_rest(client) or b"") <= 3
            proxy.close()


def _connected(proxy: Proxy, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    behind, _ = server.accept()
    behind.settimeout(10)
    return client, behind


def _rest(client: socket.socket) -> bytes | None:
    """What comes until the other side closes; None when it resets the connection."""
    got = b""
    try:
        while data := client.recv(100):
            got += data
    except ConnectionError:
        return None
    return got


def _passes(one: socket.socket, other: socket.socket) -> bool:
    """Whether bytes arrive within a moment that is long for a loopback."""
    one.sendall(b"hello")
    other.settimeout(0.5)
    try:
        return other.recv(100) == b"hello"
    except TimeoutError:
        return False
    finally:
        other.settimeout(10)
