"""A relay that adds a round-trip time to every connection through it: `python -m tests.bench.relay PORT TARGET MS`.

It delays what it carries by half the time in each direction, and the first bytes by one round trip more, as the
handshake of a real connection would. Throughput is not limited.
"""

from __future__ import annotations

import asyncio
import sys


class _Side(asyncio.Protocol):
    """One end of a connection; what it receives goes to the other end, later."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._hang_up)

    def _pass_on(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def _hang_up(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def join(self, other: _Side) -> None:
        self.other = other
        for data in self._early:
            self._pass_on(data)


class _Entrance(_Side):
    """The client's end: opens the way to the target when a client comes."""

    def __init__(self, delay: float, host: str, port: int) -> None:
        super().__init__(delay)
        self._target = (host, port)
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        await asyncio.sleep(2 * self._delay)
        _, exit_side = await asyncio.get_running_loop().create_connection(lambda: _Side(self._delay), *self._target)
        exit_side.join(self)
        self.join(exit_side)


async def main(port: int, target: str, milliseconds: float) -> None:
    """Relay from a loopback port to `target` (host:port) until the process ends."""
    host, _, target_port = target.rpartition(":")
    delay = milliseconds / 2000
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Entrance(delay, host, int(target_port)), "127.0.0.1", port, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
