"""What may be sent to one host, and when: both engines take their turns here, the event loop and the threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Final

from mirrorsync.environment import Clock
from mirrorsync.hosts import HostSettings
from mirrorsync.stores.registry.http.messages import Request
from mirrorsync.stores.registry.http.network import Connections
from mirrorsync.stores.registry.http.rate import Rate
from mirrorsync.stores.registry.http.retry import Gate
from mirrorsync.stores.registry.http.width import Width

# How many requests are in flight at a time on an HTTP/2 connection: up to this number libcurl opens no second one, and
# servers accept it (nginx 128, Go 250).
_MULTIPLEXED: Final = 100


class Traffic:
    """Limits the requests to one host to what it stands, and to what the spec allows.

    questions: the turns on the event loop; reading, writing: those of the threads. Their number follows the host,
    except for writing: a blob with several destinations on one host is written by as many threads at the same pace, so
    that one without a turn would stop those that have one. bandwidth: None = as much as there is.
    """

    def __init__(self, clock: Clock, gate: Gate, settings: HostSettings) -> None:
        self._clock = clock
        connections = Connections.within(settings.max_connections)
        self._width = Width(connections.questions)
        self._learning = threading.Lock()
        start = Start(clock, gate, Rate(settings.requests_per_second) if settings.requests_per_second else None)
        self.questions = Turns(start, self._width)
        self.reading = ThreadTurns(start, self._width, connections.reading)
        self.writing = ThreadTurns(start, self._width, connections.writing, follows=False)
        self.bandwidth = Bandwidth(clock, settings.bandwidth) if settings.bandwidth else None

    def now(self) -> float:
        """Return the time, by the clock of the run, in seconds."""
        return self._clock.monotonic()

    def answered(self, turns: Turns | ThreadTurns, sent_in: int, *, throttled: bool) -> None:
        """Record that the host answered a request, which still has its turn. sent_in: what `acquire` returned."""
        if throttled or self._width.limit < self._width.ceiling:
            with self._learning:
                if throttled:
                    self._width.throttled(sent_in, turns.load)
                else:
                    self._width.succeeded(sent_in)

    def broke(self, turns: Turns | ThreadTurns, sent_in: int) -> None:
        """Record that a request got no answer. Alone, it says nothing about how much the host stands."""
        if turns.in_flight > 1:
            self.answered(turns, sent_in, throttled=True)

    def multiplexes(self) -> None:
        """Record that a connection to the host carries many requests at a time."""
        if self._width.ceiling < _MULTIPLEXED:
            with self._learning:
                self._width.raise_ceiling(_MULTIPLEXED)


class Start:
    """When a request that has its turn may be sent. rate: of requests; None = any."""

    def __init__(self, clock: Clock, gate: Gate, rate: Rate | None) -> None:
        self.clock = clock
        self._gate = gate
        self._rate = rate

    def pause(self) -> float:
        """Return for how many seconds the host is to be left alone. Raises: the error that closed the gate."""
        return self._gate.delay()

    def delay(self, *, counts: bool) -> float:
        """Return the seconds until the request is to be sent. counts: whether the rate is for requests like it."""
        return self._rate.take(self.clock.monotonic()) if self._rate is not None and counts else 0.0


class Turns:
    """The turns of requests on the event loop. libcurl would queue them, too, but their timeouts would run meanwhile.

    A request that got its turn while the host asked for a pause gives it back, and takes another one afterwards: when
    the pause ends, no more are sent than the host stands by then.
    """

    def __init__(self, start: Start, width: Width) -> None:
        self._start = start
        self._width = width
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0

    @property
    def load(self) -> int:
        """The requests in flight."""
        return self.in_flight

    async def acquire(self, *, counts: bool = True) -> int:
        """Wait for a turn; return the round it is in (see `Width`). Raises: the error that closed the gate.

        counts: whether the request counts for the rate of requests.
        """
        while True:
            if self.in_flight < self._width.limit:
                self.in_flight += 1
            else:
                await self._turn()
            try:
                pause = self._start.pause()
                if not pause and (delay := self._start.delay(counts=counts)):
                    await self._start.clock.asleep(delay)
                    pause = self._start.pause()
            except BaseException:
                self.release()
                raise
            if not pause:
                return self._width.round
            self.release()
            await self._start.clock.asleep(pause)

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the turn came at the same moment
            raise

    def release(self) -> None:
        """Release a turn."""
        self.in_flight -= 1
        while self._waiting and self.in_flight < self._width.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class ThreadTurns:
    """The turns of exchanges in threads; blocking. most: how many there may be at a time; follows: fewer if the host
    throttles.
    """

    def __init__(self, start: Start, width: Width, most: int, *, follows: bool = True) -> None:
        self._start = start
        self._width = width
        self._most = most
        self._follows = follows
        self._free = threading.Condition()
        self.in_flight = 0

    @property
    def load(self) -> int:
        """The exchanges in flight, as that number of requests which is the same part of all that may be."""
        return max(1, self.in_flight * self._width.ceiling // self._most)

    def _limit(self) -> int:
        return self._width.part(self._most) if self._follows else self._most

    def acquire(self, *, counts: bool = True) -> int:
        """Do the same as `Turns.acquire`."""
        while True:
            with self._free:
                waits = self.in_flight >= self._limit()
                self._free.wait_for(lambda: self.in_flight < self._limit())
                self.in_flight += 1
            try:
                if waits:
                    self._start.clock.sleep(0.0)  # the run may have been stopped meanwhile
                pause = self._start.pause()
                if not pause and (delay := self._start.delay(counts=counts)):
                    self._start.clock.sleep(delay)
                    pause = self._start.pause()
            except BaseException:
                self.release()
                raise
            if not pause:
                return self._width.round
            self.release()
            self._start.clock.sleep(pause)

    def release(self) -> None:
        """Release a turn."""
        with self._free:
            self.in_flight -= 1
            self._free.notify_all()


class Bandwidth:
    """The bytes of bodies that go to and from a host, of all its transfers together.

    piece: how many bytes a thread moves at a time: those of a quarter of a second, so that neither side takes the
    other one for dead.
    """

    def __init__(self, clock: Clock, per_second: int) -> None:
        self._clock = clock
        self._rate = Rate(per_second)
        self.piece = max(1, per_second // 4)

    def moved(self, size: int) -> None:
        """Wait, in a thread, until as many bytes may be moved; they may have been already."""
        if delay := self._rate.take(self._clock.monotonic(), size):
            self._clock.sleep(delay)

    async def before(self, request: Request) -> None:
        """Wait, on the event loop, until the body of a request and that of its answer may be moved."""
        if request.method != "HEAD":
            size = len(request.body or b"") + request.expects
            if delay := self._rate.take(self._clock.monotonic(), size):
                await self._clock.asleep(delay)

    def after(self, request: Request, received: int) -> None:
        """Count the bytes of an answer that were not expected; the next transfers wait for them."""
        self._rate.take(self._clock.monotonic(), max(0, received - request.expects))
