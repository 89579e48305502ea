"""A worker for the tests of the transport: counts and sums records per partition.

State travels in the commit's metadata, so that state and offset are one atom and any record lost or
read twice shows. Started by test_transport.py with one JSON argument; says what happens as JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
import time
from typing import Any

from faust.types import TP

from driftbus.schemas.config import KafkaConfig
from driftbus.stream.transport.app import BusApp, Plan
from driftbus.stream.transport.batch import Batch
from driftbus.stream.transport.poller import Committed, Starts


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


class Counting(BusApp):
    """State per partition: [next offset, count, sum]."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config["group"], KafkaConfig(**config["kafka"]), commit_s=config.get("commit_s", 0.5))
        self.options = config
        self.counts: dict[TP, list[int]] = {}
        self.known: dict[TP, Committed] = {}
        self.consume("count", config["topics"], self.count)

    async def count(self, batch: Batch) -> None:
        state = self.counts[batch.tp]
        records = batch.records()
        if int(records.offsets[0]) < state[0]:
            say("overlap", tp=batch.tp, first=int(records.offsets[0]), expected=state[0])
        if batch.tp.partition == 0 and batch.first <= self.options.get("poison", -1) <= batch.last:
            raise RuntimeError("poison")
        await asyncio.sleep(self.options.get("slow_s", 0))
        if self.options.get("block_s"):
            time.sleep(self.options["block_s"])
        total = sum(struct.unpack_from("<q", value)[0] for value in records.values if value is not None)
        self.counts[batch.tp] = [batch.last + 1, state[1] + len(batch), state[2] + total]

    async def watch(self) -> None:
        """Say once when the brake has paused all partitions, and how late the event loop was at worst."""
        late, said = 0.0, False
        while not self.should_stop:
            start = time.monotonic()
            await asyncio.sleep(0.02)
            late = max(late, time.monotonic() - start - 0.02)
            if self.started and self.delivery.poller.choked and not said:
                said = True
                say("choked", batches=self.delivery.poller.brake.under_way[0])
        say("loop", late_s=round(late, 3))

    async def restore(self, new: Starts) -> dict[TP, int]:
        await asyncio.sleep(self.options.get("restore_s", 0))
        for tp, committed in new.items():
            count, total = map(int, committed.metadata.split("|")) if committed else (0, 0)
            self.counts[tp] = [committed.offset if committed else 0, count, total]
            self.known.pop(tp, None)
        say("restored", partitions=sorted(tp.partition for tp in new))
        return {tp: start for tp in new if (start := self.options.get("start_at")) is not None}

    async def checkpoint(self, assignment: set[TP]) -> Plan:
        plan = {tp: Committed(s[0], f"{s[1]}|{s[2]}") for tp, s in self.counts.items() if tp in assignment and s[1]}
        await asyncio.sleep(0.005)
        return {tp: committed for tp, committed in plan.items() if self.known.get(tp) != committed}

    def committed(self, plan: Plan) -> None:
        self.known.update(plan)

    async def forget(self, tps: set[TP]) -> None:
        for tp in tps:
            self.counts.pop(tp, None)
        say("gave up", partitions=sorted(tp.partition for tp in tps))


async def run(config: dict[str, Any]) -> int:
    app = Counting(config)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    watch = asyncio.create_task(app.watch())
    boot = asyncio.create_task(app.boot())
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(app.wait_poisoned())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    say("stopping", poisoned=repr(app.poisoned))
    await asyncio.wait_for(app.stop(), 30)
    boot.cancel()
    await watch
    say("stopped", count=sum(c for _, c, _ in app.counts.values()))
    return 1 if app.poisoned else 0


if __name__ == "__main__":
    code = asyncio.run(run(json.loads(sys.argv[1])))
    sys.stdout.flush()
    os._exit(code)
