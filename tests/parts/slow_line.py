"""A relay on loopback that forwards so many bytes per second, with small buffers like an uplink's."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Final, Self

_PIECES: Final = 20  # a second


class SlowLine:
    """Relays to `target` (host:port); a context manager.

    up: bytes per second to the target on each connection, None for no limit. connections: how many were opened.
    """

    def __init__(self, target: str, up: int | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._up = up
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Small buffers: with a buffer of megabytes, every line would look fast to the client.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._carry, sock=self._listener, limit=8192)

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        onward, back = await asyncio.open_connection(*self._target)
        with suppress(asyncio.CancelledError):  # at the end; asyncio's streams would print it
            await asyncio.gather(_pipe(reader, back, self._up), _pipe(onward, writer, None), return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: int | None) -> None:
    try:
        while data := await reader.read(rate // _PIECES if rate else 65536):
            writer.write(data)
            await writer.drain()
            if rate:
                await asyncio.sleep(len(data) / rate)
    finally:
        writer.close()
