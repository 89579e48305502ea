"""The outbox against librdkafka's mock cluster: tickets, order, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from driftbus.schemas.config import KafkaConfig
from driftbus.schemas.errors import DriftbusError, StateError, Unavailable
from driftbus.stream.worker.outbox import Outbox, producer_properties
from driftbus.stream.worker.readback import read_to_end
from harness.mockcluster import MockCluster


def with_outbox(
    bootstrap: str, body: Callable[[Outbox, list[DriftbusError]], Awaitable[None]], **options: object
) -> None:
    async def main() -> None:
        failures: list[DriftbusError] = []
        kafka = KafkaConfig(bootstrap=bootstrap, options=options)
        outbox = Outbox(producer_properties(kafka, "test"), failures.append)
        try:
            await asyncio.wait_for(body(outbox, failures), 20)
        finally:
            outbox.close(0.5)

    asyncio.run(main())


def test_a_ticket_covers_what_was_sent_before_it(mock_cluster: MockCluster) -> None:
    async def body(outbox: Outbox, failures: list[DriftbusError]) -> None:
        for i in range(1_000):
            await outbox.send("out", b"%d" % i, key=b"k", partition=1, headers=[("h", None)])
        ticket = outbox.cut()
        await outbox.send("out", b"later", partition=2)
        await outbox.acked(ticket)
        await outbox.flush()
        assert outbox.pending == 0
        assert not failures

    with_outbox(mock_cluster.bootstrap, body)
    kept = list(read_to_end({"bootstrap.servers": mock_cluster.bootstrap}, "out", range(4)))
    assert [m.value() for m in kept if m.partition() == 1] == [b"%d" % i for i in range(1_000)]


def test_a_full_queue_makes_the_sender_wait(mock_cluster: MockCluster) -> None:
    async def body(outbox: Outbox, failures: list[DriftbusError]) -> None:
        for _ in range(500):
            await outbox.send("out", b"x" * 100)
        await outbox.flush()

    with_outbox(mock_cluster.bootstrap, body, **{"queue.buffering.max.messages": 10})


def test_nothing_sent_is_acknowledged_at_once(mock_cluster: MockCluster) -> None:
    async def body(outbox: Outbox, failures: list[DriftbusError]) -> None:
        await outbox.acked(outbox.cut())

    with_outbox(mock_cluster.bootstrap, body)


def test_a_record_that_is_too_large_stops_everything(mock_cluster: MockCluster) -> None:
    async def body(outbox: Outbox, failures: list[DriftbusError]) -> None:
        with pytest.raises(StateError, match=r"17000000 bytes is too large for topic out"):
            await outbox.send("out", b"x" * 17_000_000)
        for later in (outbox.send("out", b"small"), outbox.acked(outbox.cut())):
            with pytest.raises(StateError, match="too large"):
                await later
        await asyncio.sleep(0)
        assert len(failures) == 1

    with_outbox(mock_cluster.bootstrap, body)


def test_waiting_for_brokers_that_are_gone_is_not_a_failure() -> None:
    async def body(outbox: Outbox, failures: list[DriftbusError]) -> None:
        await outbox.send("out", b"x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.flush(), 1)
        assert not failures
        assert outbox.pending == 1

    with_outbox("127.0.0.1:1", body)


def test_a_record_that_is_not_acknowledged_in_the_time_that_is_configured_is_nobody_s_refusal() -> None:
    async def body(outbox: Outbox, failures: list[DriftbusError]) -> None:
        await outbox.send("out", b"x")
        with pytest.raises(Unavailable, match=r"did not acknowledge a record .*delivery\.timeout\.ms"):
            await outbox.flush()
        assert [type(failure) for failure in failures] == [Unavailable]

    with_outbox("127.0.0.1:1", body, **{"delivery.timeout.ms": 500})
