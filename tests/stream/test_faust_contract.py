"""What the transport relies on inside Faust. When one of these fails, read stream/transport before anything else.

Faust is pinned because private names are used and because the order of its calls matters; a new
version has to be looked at, then pinned here and in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from faust import App
from faust.app.base import App as BaseApp
from faust.channels import Channel
from faust.streams import Stream
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, Fetcher
from mode import Service
from mode.utils.queues import ThrowableQueue

from driftbus.schemas.config import KafkaConfig
from driftbus.stream.transport.app import BusApp
from driftbus.stream.transport.consumer import BusConsumer, BusTransport

LOOKED_AT = "0.15.3"

OWN_OF_CONSUMER = {
    "poller", "ends", "fail", "put", "finished", "is_current", "follows", "caught_up", "assigned_soon", "restore_new",
    "revoked", "commit_now", "_spawn", "_assigned", "_commit_plan", "_unused",
}  # fmt: skip
OWN_OF_APP = {
    "consume", "poison", "wait_poisoned", "boot", "restore", "checkpoint", "committed", "forget", "delivery",
    "_batches", "_restore_new",
}  # fmt: skip


def test_version_is_the_one_that_was_looked_at() -> None:
    assert version("faust-streaming") == LOOKED_AT


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Consumer, "_clean_unacked_messages"),
        (Consumer, "_wait_for_ack"),
        (Consumer, "on_partitions_assigned"),
        (Fetcher, "_fetcher"),
        (Recovery, "_resume_streams"),
        (BaseApp, "_new_transport"),
        (BaseApp, "_new_producer_transport"),
        (BaseApp, "_create_directories"),
        (BaseApp, "on_rebalance_start"),
        (Service, "crash"),
    ],
)
def test_private_names_are_there(owner: type, name: str) -> None:
    assert hasattr(owner, name)


def test_names_in_the_books_that_are_cleared() -> None:
    source = inspect.getsource(Consumer)
    for name in ("_acked:", "_acked_index:", "_unacked_messages:", "_commit_handler", "commit_interval"):
        assert name in source


def test_streams_resume_in_the_order_we_rely_on() -> None:
    source = inspect.getsource(Recovery._resume_streams)
    order = [source.index(call) for call in ("on_rebalance_complete.send", "resume_partitions", "perform_seek")]
    assert order == sorted(order)


def test_the_fetcher_drains_through_the_consumer() -> None:
    assert "consumer._drain_messages(self)" in inspect.getsource(Fetcher)


def test_all_commits_go_through_consumer_commit() -> None:
    source = inspect.getsource(Consumer)
    assert source.count("self.force_commit(") == 1
    assert "await self.commit()" in inspect.getsource(Consumer._commit_handler.fun)
    assert "self.commit)" in inspect.getsource(Consumer.wait_empty)


def test_a_finished_rebalance_leaves_what_streams_hold() -> None:
    """Faust empties queues when flow is resumed: batches of kept partitions were lost, and commits went past them."""
    assert "self.app.FlowControlQueue(" in inspect.getsource(Channel)
    assert "self.app.FlowControlQueue(" in inspect.getsource(Stream)
    lost, kept = [App.FlowControlQueue, BusApp.FlowControlQueue]

    async def held(make: Callable[..., ThrowableQueue[Any]]) -> int:
        app = BusApp("contract", KafkaConfig(bootstrap="none:1"))
        queue = make(app, 8, clear_on_resume=True)
        queue.put_nowait("a batch")
        app.flow_control.resume()
        return queue.qsize()

    assert asyncio.run(held(lost)) == 0, "Faust has changed: look again whether our own queues are needed"
    assert asyncio.run(held(kept)) == 1


def test_streams_skip_what_comes_while_flow_is_suspended() -> None:
    """Which is why partitions are released only after flow is resumed: see `BusConsumer.resume_partitions`."""
    assert "not self.app.flow_control.is_active()" in inspect.getsource(Stream)
    source = inspect.getsource(BusConsumer.resume_partitions)
    assert source.index("flow_control.resume()") < source.index("poller.release(")


def test_streams_compare_generations() -> None:
    assert "consumer_generation_id" in inspect.getsource(inspect.getmodule(Stream))  # type: ignore[arg-type]


def test_our_own_names_hide_nothing_of_faust_s() -> None:
    assert not [name for name in OWN_OF_CONSUMER if hasattr(Consumer, name)]
    assert not [name for name in OWN_OF_APP if hasattr(App, name)]
    assert {*dir(BusConsumer), "poller", "ends"} >= OWN_OF_CONSUMER
    assert {*dir(BusApp)} >= OWN_OF_APP


def test_the_transport_is_complete() -> None:
    assert not inspect.isabstract(BusConsumer)
    assert BusTransport.Consumer is BusConsumer
