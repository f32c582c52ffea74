"""How long the server waits for its clients: for their requests, for their bytes, and until they take ours."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

# tcpi_bytes_acked in Linux's struct tcp_info (linux/tcp.h): bytes that the other side has confirmed. In the kernel's
# own buffer, megabytes can lie that nobody has taken.
_BYTES_ACKED: Final = struct.Struct("120xQ")
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: on, for no time
_LOOKS: Final = 4  # at every connection, in the time that a stall may last


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the server waits.

    head_seconds: from the beginning of a connection, or from the last answer, until the head of the next request is
    complete. It is longer than what clients and proxies keep an idle connection for (Go 90 s, nginx 60 s), so that they
    close it first: a server that does may close it under a request.
    stall_seconds, stall_bytes: a client that is waited for has to send or take so many bytes in so many seconds. That
    is 0.5 KiB/s: who is slower will not end a layer of 10 MiB in five hours. A kernel that reads at 20 KB/s may open
    its window in steps of 400 KB, so that for 20 seconds nothing moves.
    """

    head_seconds: float = 120.0
    stall_seconds: float = 120.0
    stall_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Since when the other side has had bytes to take, and how many it had taken then."""

    since: float
    taken: int


class Stalls:
    """Finds the connections whose client does not take what it asked for.

    clock: monotonic seconds.
    """

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._waiting: WeakKeyDictionary[asyncio.WriteTransport, _Waiting] = WeakKeyDictionary()

    async def watch(self, connections: Callable[[], Collection[asyncio.WriteTransport]]) -> None:
        """Break off what stalls, until cancelled."""
        while True:
            await asyncio.sleep(self._patience.stall_seconds / _LOOKS)
            for transport in connections():
                with suppress(OSError):  # it has ended meanwhile
                    if self.stalled(transport):
                        # Closed at once, and not when the kernel has delivered what nobody takes.
                        connection = transport.get_extra_info("socket")
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        transport.abort()

    def stalled(self, transport: asyncio.WriteTransport) -> bool:
        """Look at a connection; tell whether its client has taken too little since bytes have waited for it."""
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
    """Return how many bytes the other side of a connection has confirmed (Linux 4.1 and newer tell)."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(info)[0])
