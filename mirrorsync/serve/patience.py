"""How long the server waits for its clients: for requests, for bodies, and until they read answers."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

# tcpi_bytes_acked in Linux's struct tcp_info (linux/tcp.h): bytes that the client's host has acknowledged. Bytes that
# were only written may wait in the kernel's buffer, which can be megabytes.
_BYTES_ACKED: Final = struct.Struct("120xQ")
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: on, for no time
_LOOKS: Final = 4  # how often each connection is checked during stall_seconds


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the server waits.

    head_seconds: from the start of a connection, or from the last answer, until the head of the next request is
    complete. Clients and proxies close idle connections earlier (Go 90 s, nginx 60 s); if the server did it first, it
    might close a connection on which a request is just sent.
    stall_seconds, stall_bytes: a client has to send or read so many bytes in so many seconds. That is 0.5 KiB/s: a
    slower client would not finish a layer of 10 MiB in five hours. A kernel that reads at 20 KB/s may open its window
    in steps of 400 KB, so that nothing moves for 20 seconds.
    """

    head_seconds: float = 120.0
    stall_seconds: float = 120.0
    stall_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Since when bytes have been waiting for the client, and how many it had acknowledged then."""

    since: float
    taken: int


class Stalls:
    """Finds the connections whose client does not read its answer. clock: monotonic seconds."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._waiting: WeakKeyDictionary[asyncio.WriteTransport, _Waiting] = WeakKeyDictionary()

    async def watch(self, connections: Callable[[], Collection[asyncio.WriteTransport]]) -> None:
        """Abort connections that stall, until cancelled."""
        while True:
            await asyncio.sleep(self._patience.stall_seconds / _LOOKS)
            for transport in connections():
                with suppress(OSError):  # it was closed meanwhile
                    if self.stalled(transport):
                        # Reset it: otherwise the kernel would keep it until the client has read all bytes.
                        connection = transport.get_extra_info("socket")
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        transport.abort()

    def stalled(self, transport: asyncio.WriteTransport) -> bool:
        """Check a connection; return whether its client has read too little since bytes began to wait for it."""
        if transport.is_closing() or not transport.get_write_buffer_size():
            self._waiting.pop(transport, None)
            return False
        now, taken = self._clock(), _taken(transport.get_extra_info("socket"))
        before = self._waiting.get(transport)
        if before is None or taken - before.taken >= self._patience.stall_bytes:
            self._waiting[transport] = _Waiting(now, taken)
            return False
        return now - before.since >= self._patience.stall_seconds


def _taken(connection: socket.socket) -> int:
    """Return how many bytes the client's host has acknowledged (Linux 4.1 and newer)."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(info)[0])
