"""A TCP proxy between clients and a broker: cut, hang, slow, torn, at any moment."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from harness.process import free_ports

Direction = Literal["requests", "answers"]
_CHUNK = 16_384


@dataclass(frozen=True)
class _Weather:
    """How the network is at present."""

    refused: bool = False
    held: frozenset[Direction] = frozenset()
    delay_s: float = 0.0
    torn_after: int | None = None


class Proxy:
    """Listens on a port of its own and passes bytes on, in a thread of its own.

    Args:
        target: port of 127.0.0.1 that connections are passed on to.
    """

    def __init__(self, target: int) -> None:
        (self.port,) = free_ports(1)
        self._target = target
        self._weather = _Weather()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)

    def start(self) -> None:
        """Listen. Once is enough."""
        if not self._thread.is_alive():
            self._thread.start()
            self._run(self._listen())

    def close(self) -> None:
        """End all connections and the thread."""
        if self._thread.is_alive():
            self._become(_Weather(refused=True))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def cut(self) -> None:
        """Connections are reset, new ones refused: as if nobody were there."""
        self._become(_Weather(refused=True))

    def hang(self, *directions: Direction) -> None:
        """A black hole: connections stay, new ones are accepted, and nothing arrives.

        Args:
            directions: which way; none for both. Without "requests", the broker does what it is told to
                and nobody hears of it.
        """
        self._become(_Weather(held=frozenset(directions or ("requests", "answers"))))

    def slow(self, delay_s: float) -> None:
        """Every 16 KiB take so many seconds longer, in both directions."""
        self._become(_Weather(delay_s=delay_s))

    def tear(self, after_bytes: int) -> None:
        """Connections are reset after so many bytes of answers, wherever in a message that is."""
        self._become(_Weather(torn_after=after_bytes))

    def heal(self) -> None:
        """As if nothing had been; bytes that hung go on."""
        self._become(_Weather())

    def _become(self, weather: _Weather) -> None:
        self._run(self._change(weather))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _change(self, weather: _Weather) -> None:
        self._weather = weather
        self._changed.set()  # who waits looks again
        self._changed = asyncio.Event()
        if weather.refused:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._open):
                _reset(writer)
            # so that what was being accepted has been, and is cut too
            await asyncio.sleep(0)
        else:
            await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._weather.refused:
                return
            with suppress(OSError):
                # the answer to a connection in a black hole does not depend on the broker behind it
                await self._until(lambda now: len(now.held) < 2)
                inward, outward = await asyncio.open_connection("127.0.0.1", self._target)
                self._open.add(outward)
                try:
                    pumps = [
                        asyncio.create_task(self._pump(reader, outward, "requests")),
                        asyncio.create_task(self._pump(inward, writer, "answers")),
                    ]
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
                finally:
                    self._open.discard(outward)
                    outward.close()
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        passed = 0
        while data := await reader.read(_CHUNK):
            await self._until(lambda now: direction not in now.held)
            await asyncio.sleep(self._weather.delay_s)
            torn = self._weather.torn_after
            if torn is not None and direction == "answers" and passed + len(data) > torn:
                writer.write(data[: max(0, torn - passed)])
                _reset(writer)
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()

    async def _until(self, holds: Callable[[_Weather], bool]) -> None:
        while not holds(self._weather):
            await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash would, without a goodbye."""
    end: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # it has ended by itself
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
