"""What the event loop asks of the poll thread, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Poller, Starts


class Quiet:
    """A listener that keeps what went wrong."""

    def __init__(self) -> None:
        self.failed: list[BaseException] = []

    def put(self, batches: list[Batch], ends: Mapping[TP, int]) -> None: ...

    def assigned_soon(self, starts: Starts) -> None: ...

    async def revoked(self, tps: set[TP], lost: bool) -> None: ...

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


def test_a_question_that_nobody_waits_for_any_more_harms_nobody() -> None:
    """A worker that was stopped inside a rebalance crashed: the answer met a cancelled future."""

    async def scenario() -> tuple[list[Any], list[BaseException]]:
        listener, asked = Quiet(), []
        poller = Poller(listener, asyncio.get_running_loop(), {})
        poller._consumer = object()  # type: ignore[assignment]
        given_up, kept = poller.call(lambda _: asked.append("given up")), poller.call(lambda _: "answer")
        given_up.cancel()
        await asyncio.sleep(0)
        poller._serve()
        return [*asked, await kept], listener.failed

    assert asyncio.run(scenario()) == (["answer"], [])


def test_a_commit_whose_caller_is_gone_is_answered_to_nobody() -> None:
    async def scenario() -> list[BaseException]:
        listener = Quiet()
        poller = Poller(listener, asyncio.get_running_loop(), {})

        class Consumer:
            def commit(self, **_: object) -> None:
                """Answered later."""

        poller._consumer = Consumer()  # type: ignore[assignment]
        waiting = poller.commit([])
        poller._serve()
        waiting.cancel()
        await asyncio.sleep(0)
        poller._on_commit(None, [])
        following = poller.commit([])
        poller._serve()
        poller._on_commit(None, [])
        assert await following == []
        return listener.failed

    assert asyncio.run(scenario()) == []
