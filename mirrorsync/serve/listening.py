"""Accept connections as long as there are file descriptors for them and their requests.

asyncio's own servers, when out of descriptors, write a traceback for every waiting connection, and retry ever more
often. Here a client that cannot be served gets 503, and its connection is closed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from mirrorsync.errors import StorageError
from mirrorsync.events import Noticed, Observer

# A connection has its socket and, while it moves a blob, a file.
_DESCRIPTORS_OF_A_CONNECTION: Final = 2
# For the interpreter, the layout, and files that worker threads open briefly.
_DESCRIPTORS_OF_OURS: Final = 32
_BACKLOG: Final = 128
_ACCEPTED_AT_ONCE: Final = 32  # then the open connections have their turn
_RETRY_SECONDS: Final = 1.0
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BUSY_BODY: Final = b'{"errors": [{"code": "UNAVAILABLE", "message": "too many connections are open"}]}'
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_BUSY_BODY), _BUSY_BODY)
_MOST_UNREAD: Final = 64 * 1024  # bytes that are read of a rejected request


async def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address of `host`. Raises: StorageError."""
    listeners: list[socket.socket] = []
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in listeners:
            listener.close()
        unknown = isinstance(error, socket.gaierror) or error.errno is None
        reason = "unknown address" if unknown else os.strerror(error.errno or 0).lower()
        remedy = "name another address with --listen HOST:PORT"
        raise StorageError(f"cannot listen on {host}:{port}: {reason}", remedy=remedy) from error
    return listeners


def is_exposed(listeners: Iterable[socket.socket]) -> bool:
    """Return whether other machines may reach one of these sockets."""
    # A link-local address has its interface at its end: fe80::1%eth0.
    names = (str(listener.getsockname()[0]).partition("%")[0] for listener in listeners)
    return any(not ip_address(name).is_loopback for name in names)


class Listener:
    """Accepts connections of listening sockets, which `close` closes.

    connect: creates the protocol of a connection. connected: returns the number of connections. observer: gets one
    notice when connections begin to be rejected. tls: returns the context of a new connection, None to speak no TLS.
    """

    def __init__(
        self,
        listeners: list[socket.socket],
        connect: Callable[[], asyncio.BaseProtocol],
        connected: Callable[[], int],
        observer: Observer,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.port = int(listeners[0].getsockname()[1])
        self._listeners = listeners
        self._connect = connect
        self._connected = connected
        self._observer = observer
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[object]] = set()
        self._refusing = False
        # Closed to accept a connection that cannot be served, so that it can be answered.
        self._spare = _spare()
        for listener in listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._accept_with_the_spare_one(listener)
                return  # no connection is waiting, or the client is gone
            open_now, most = self._connected() + len(self._beginning), most_connections()
            if open_now >= most:
                self._refuse(connection)
                continue
            if open_now < most / 2:
                self._refusing = False  # only now, so that a server at its limit does not repeat the notice
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        context = None if self._tls is None else self._tls()
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(self._connect, connection, ssl=context)
        )
        self._beginning.add(task)
        task.add_done_callback(self._begun)

    def _begun(self, task: asyncio.Task[object]) -> None:
        self._beginning.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved and dropped: the client is gone already, or does not like the certificate

    def _accept_with_the_spare_one(self, listener: socket.socket) -> None:
        if self._spare is not None:
            os.close(self._spare)
            with suppress(OSError):
                self._refuse(listener.accept()[0])
        self._spare = _spare()
        if self._spare is None:
            # Another thread took the descriptor first. Without one, waiting clients can only go on waiting.
            self._report()
            self._loop.remove_reader(listener)
            self._loop.call_later(_RETRY_SECONDS, self._again, listener)

    def _again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _refuse(self, connection: socket.socket) -> None:
        self._report()
        with connection, suppress(OSError):
            connection.setblocking(False)
            connection.send(_BUSY)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(_MOST_UNREAD)  # closing a socket with unread bytes resets it, and the answer is lost

    def _report(self) -> None:
        if not self._refusing:
            self._refusing = True
            self._observer(
                Noticed(
                    "serve",
                    f"out of file descriptors with {self._connected()} open connections: rejecting new ones with 503"
                    " (raise the limit: ulimit -n, or LimitNOFILE of systemd)",
                )
            )

    def close(self) -> None:
        """Stop accepting connections."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            self._loop.remove_reader(listener)
            listener.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def most_connections() -> int:
    """Return how many connections the current limit of descriptors allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (soft - _DESCRIPTORS_OF_OURS) // _DESCRIPTORS_OF_A_CONNECTION)


def _spare() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
