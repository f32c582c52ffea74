"""A line for blobs: libcurl in a worker thread, one exchange after the other, with kept connections."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import pycurl

from mirrorsync.errors import MirrorsyncError, Unreachable
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.stores.registry.http import handles
from mirrorsync.stores.registry.http.failures import failed
from mirrorsync.stores.registry.http.handles import Exchange, Handle
from mirrorsync.stores.registry.http.messages import MAX_ERROR_BYTES, Outgoing
from mirrorsync.stores.registry.http.multi import Multi
from mirrorsync.stores.registry.http.network import Network, Route
from mirrorsync.stores.registry.http.pace import Pace
from mirrorsync.stores.registry.http.retry import unanswered
from mirrorsync.stores.registry.http.traffic import Bandwidth

# Two chunks: with the kernel's default size a thread is woken for every 100 KiB (a third more CPU).
_SOCKET_BYTES: Final = 2 * CHUNK_BYTES
# Bytes per read of libcurl: no more than it passes on at once (CURL_MAX_WRITE_SIZE), so that they are still in the
# CPU's cache when they are copied. It does some 40 in a row, so that chunks have up to 700 KiB. With 32 KiB a download
# costs 5 % less CPU, and four of them for two destinations 26 MB more memory.
_READ_BYTES: Final = 16 * 1024
# Larger chunks are split, which copies them once more. With 1 MiB an upload costs 10 % less CPU, no less time, since
# registries are slower, and four of them 12 MB more memory.
_SEND_BYTES: Final = CHUNK_BYTES // 2
# Chunks are yielded from this size on, in bytes.
_CHUNK_BYTES: Final = CHUNK_BYTES // 4
# How often a thread checks whether the exchange makes progress and the run goes on, in seconds.
_CHECK_SECONDS: Final = 1.0


class Line:
    """Carries out one exchange at a time.

    bandwidth: what all exchanges with the host share, None = any. check: raises when the run is to end; called about
    once a second. connections: how many it keeps.
    """

    def __init__(
        self, network: Network, bandwidth: Bandwidth | None, check: Callable[[], None], connections: int
    ) -> None:
        self.network = network
        self.bandwidth = bandwidth
        self.check = check
        self.multi = Multi(connections, lambda _: None)
        self._handles: dict[Route, Handle] = {}

    def handle(self, route: Route) -> Handle:
        """Return the handle for a route."""
        if route not in self._handles:
            handle = self._handles[route] = handles.made(route)
            # One connection per stream: with HTTP/2 its windows would be the limit, and a lost packet stops them all.
            handle.curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            handle.curl.setopt(pycurl.BUFFERSIZE, _READ_BYTES)
            handle.curl.setopt(pycurl.UPLOAD_BUFFERSIZE, _SEND_BYTES)
            handle.curl.setopt(pycurl.SOCKOPTFUNCTION, self._set_buffers)
        return self._handles[route]

    def _set_buffers(self, descriptor: int, _purpose: int) -> int:
        # What is in a buffer has used the line already: it is no larger than the bandwidth needs.
        size = _SOCKET_BYTES if self.bandwidth is None else min(_SOCKET_BYTES, self.bandwidth.piece)
        opened = socket.socket(fileno=descriptor)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, size)
        opened.detach()
        return 0

    def close(self) -> None:
        """Close the connections."""
        self.multi.close()


class Stream:
    """One exchange on a line: it begins when it is constructed, and ends when it is closed.

    content: the body in chunks, each taken once, of `size` bytes together; None for the request's own body.
    """

    def __init__(self, line: Line, outgoing: Outgoing, content: Iterator[bytes] | None, size: int) -> None:
        network = line.network
        self._line = line
        self._url = outgoing.request.url
        self._route = network.route(self._url)
        self._content = content
        self._rest = memoryview(b"")
        self._bandwidth = line.bandwidth
        self._chunk = min(_CHUNK_BYTES, line.bandwidth.piece) if line.bandwidth is not None else _CHUNK_BYTES
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._result: tuple[int, str] | None = None
        self._raised: BaseException | None = None
        self._pace = Pace(time.monotonic(), network.patience(outgoing.request.method), network.least)
        self._stalled = ""
        self._checked = time.monotonic()
        self.exchange = Exchange(
            line.handle(self._route),
            outgoing,
            self._take,
            body=self._next if content is not None else None,
            size=size,
        )
        # A kept connection may be closed just when it is reused; a long body cannot be sent twice, and compared to it a
        # new connection costs nothing.
        self.exchange.handle.curl.setopt(pycurl.FRESH_CONNECT, int(content is not None and size > CHUNK_BYTES))
        line.multi.add(self.exchange.handle.curl, self._over)

    def _take(self, data: bytes) -> int | None:
        if self._bandwidth is not None and self._size >= self._chunk:
            self._paused = True  # libcurl would read as long as something comes
            return pycurl.WRITEFUNC_PAUSE
        self._parts.append(data)
        self._size += len(data)
        return None

    def _go_on(self) -> None:
        """Let libcurl read on, after a pause."""
        if self._paused:
            self._paused = False
            self.exchange.handle.curl.pause(pycurl.PAUSE_CONT)

    def _next(self, room: int) -> bytes | int:
        """Return the next bytes to send. An exception must not pass through libcurl: it is stored, and raised later."""
        try:
            if self._bandwidth is None:
                return self._piece(room)
            piece = self._piece(min(room, self._chunk))
            self._bandwidth.moved(len(piece))
        except BaseException as error:  # noqa: BLE001 - raised again in `_wait`
            self._raised = error
            return pycurl.READFUNC_ABORT
        self._pace.resume(time.monotonic())  # the time was spent on waiting
        return piece

    def _piece(self, room: int) -> bytes:
        if not self._rest:
            chunk = next(self._content, b"") if self._content is not None else b""
            self._pace.resume(time.monotonic())  # the time was spent on reading the source
            if len(chunk) <= room:
                return chunk
            self._rest = memoryview(chunk)
        piece, self._rest = self._rest[:room], self._rest[room:]
        return bytes(piece)

    def _over(self, number: int, words: str) -> None:
        self._result = number, words

    def until_answered(self) -> None:
        """Send the request, and return when the headers of its answer were received.

        Raises: Transient, TlsFailed, RegistryFailure; what the content raises.
        """
        while self._result is None and not self.exchange.answered:
            self._wait(_CHECK_SECONDS)
        if not self.exchange.answered:
            self._raise(silent=not self.exchange.heard)
        self._line.network.answered(self._url)
        self._line.network.connected(self._route, self.exchange.handle.curl)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body of the answer as it arrives, in chunks of about _CHUNK_BYTES, smaller ones on a slow line."""
        while self._result is None or self._parts:
            begun = time.monotonic()
            self._pace.resume(begun)  # the consumer of the chunks may have been busy
            self._go_on()
            while self._result is None and self._size < self._chunk:
                self._wait(_CHECK_SECONDS)
                if self._parts and time.monotonic() - begun > _CHECK_SECONDS:
                    break
            if self._parts:
                if self._bandwidth is not None:
                    self._bandwidth.moved(self._size)
                yield self._buffered()
        if self._result[0]:
            self._raise(silent=False)

    def _buffered(self) -> bytes:
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data

    def _wait(self, seconds: float) -> None:
        """Let libcurl work; wait at most so many seconds for an event."""
        moved = self._line.multi.wait(seconds)
        now = time.monotonic()
        if not moved or now - self._checked > _CHECK_SECONDS:
            self._checked = now
            self._line.check()
        if self._raised is not None:
            raise self._raised
        if self._result is None:
            self._stalled = self._pace.stalled(now, *self.exchange.progress())
            if self._stalled:
                self._line.multi.abandon(self.exchange.handle.curl)

    def _raise(self, *, silent: bool) -> None:
        network, (number, words) = self._line.network, self._result or (pycurl.E_RECV_ERROR, "")
        error: MirrorsyncError
        if self._stalled:
            error = network.named(Unreachable(self._stalled), self._url, self._route)
        else:
            error = failed(number, words, self.exchange.handle.curl, self._route, self._url, network)
        raise unanswered(error, silent=silent) from error

    def close(self) -> None:
        """End the exchange. If the answer was not read to its end, its connection is closed.

        A short rest (of an answer to an upload) is read, since that costs less than a new connection.
        """
        rest = self.exchange.rest
        try:
            self._chunk = sys.maxsize
            self._go_on()
            while self._result is None and self._raised is None and rest is not None and rest <= MAX_ERROR_BYTES:
                self._wait(_CHECK_SECONDS)
        except MirrorsyncError:
            pass
        self._line.multi.remove(self.exchange.handle.curl)
