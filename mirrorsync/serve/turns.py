"""Turns at scarce work: a client with many requests waits for itself, and not in front of the others."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """A few turns at a time. The clients that wait get theirs one after the other, however many requests each has.

    at_once: turns that may be taken at a time. most: requests that may wait. If more would, the newest request of the
    client that waits with the most is refused: a client that is alone may use the whole queue, and one that floods it
    loses its own requests only. refusal: makes what is raised for a refused request.
    """

    def __init__(self, at_once: int, most: int, refusal: Callable[[], Exception]) -> None:
        self._free = at_once
        self._most = most
        self._refusal = refusal
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # in the order of their turns
        self._count = 0

    @asynccontextmanager
    async def of(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn of this client, and have it while the block runs. Raises: the refusal."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, client: str) -> None:
        if self._count >= self._most:
            self._make_room(client)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(turn)
        self._count += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()  # it was cancelled between getting the turn and knowing of it
            raise

    def _make_room(self, client: str) -> None:
        longest = max(self._queues, key=lambda one: len(self._queues[one]))
        if len(self._queues[longest]) <= len(self._queues.get(client, ())):
            raise self._refusal()
        last = self._queues[longest].pop()  # not the only one: that of the client is shorter
        self._count -= 1
        if not self._queues[longest]:
            del self._queues[longest]
        if not last.done():
            last.set_exception(self._refusal())

    def _pass_on(self) -> None:
        while self._queues:
            client, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self._count -= 1
            if queue:
                self._queues[client] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the smallest IPv6 network of one customer (RFC 6177).

    It has 64 bits, and the client can choose any address in it. An IPv4 address that an IPv6 socket shows
    (::ffff:192.0.2.1) is an IPv4 address.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a socket without addresses
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((int(found), 64), strict=False))
