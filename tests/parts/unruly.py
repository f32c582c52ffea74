"""An HTTP server that misbehaves on purpose, by name: which request, which fault, at which byte."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

from tests.parts.tiny_registry import App, Asked, Reply


@dataclass
class Fault:
    """One fault. name: its key in the table `FAULTS`. hits: which of the matching requests, None = all."""

    name: str
    method: str
    pattern: str
    hits: frozenset[int] | None
    detail: Mapping[str, Any]
    seen: int = 0

    def matches(self, method: str, target: str) -> bool:
        """Return whether the fault applies to requests like this one."""
        return self.method in ("*", method) and re.search(self.pattern, target) is not None


class HangUp(Exception):
    """Close the connection without an answer. reset: with RST instead of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


@dataclass
class Exchange:
    """One request on its way through the server: `ask` returns the answer of the app behind it, once."""

    asked: Asked
    app: App

    def ask(self) -> Reply:
        """Pass the request to the app, and return its answer."""
        return self.app(self.asked)


def _answer(exchange: Exchange, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Reply:
    return Reply(status, dict(headers or {}), body)


def _hang_up(exchange: Exchange, reset: bool = False) -> Reply:
    raise HangUp(reset=reset)


def _lose_answer(exchange: Exchange) -> Reply:
    exchange.ask()
    raise HangUp


def _cut(exchange: Exchange, at: int, sized: bool = True) -> Reply:
    reply = exchange.ask()
    reply.cut, reply.sized = at, sized
    return reply


def _body(exchange: Exchange, change: Callable[[bytes], bytes], sized: bool = True) -> Reply:
    del exchange.asked.headers["Range"]
    reply = exchange.ask()
    reply.body, reply.sized = change(reply.body), sized
    return reply


def _flip(exchange: Exchange, at: int) -> Reply:
    return _body(exchange, lambda body: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])


def _unsized(exchange: Exchange) -> Reply:
    reply = exchange.ask()
    reply.sized = False
    return reply


def _headers(exchange: Exchange, change: Mapping[str, str | None]) -> Reply:
    reply = exchange.ask()
    for name, value in change.items():
        reply.headers.pop(name, None)
        if value is not None:
            reply.headers[name] = value
    return reply


def _more_headers(exchange: Exchange, headers: list[tuple[str, str]]) -> Reply:
    reply = exchange.ask()
    reply.more += headers
    return reply


_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 9, mtime=0),
    "x-gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "deflate": zlib.compress,
    "bare deflate": lambda body: zlib.compress(body)[2:-4],
    "br": lambda body: b"\x1b" + body[::-1],  # not real brotli: only the name matters
    "zstd": lambda body: b"\x28\xb5\x2f\xfd" + body[::-1],
    "two members": lambda body: gzip.compress(body[:100], mtime=0) + gzip.compress(body[100:], mtime=0),
}


def _compress(exchange: Exchange, coding: str = "gzip", sized: bool = True) -> Reply:
    del exchange.asked.headers["Range"]
    reply = exchange.ask()
    name = {"bare deflate": "deflate", "two members": "gzip"}.get(coding, coding)
    reply.headers["Content-Encoding"] = name
    reply.body, reply.sized = _COMPRESS[coding](reply.body), sized
    return reply


def _ignore_range(exchange: Exchange) -> Reply:
    del exchange.asked.headers["Range"]
    return exchange.ask()


def _wait(exchange: Exchange, arrived: Callable[[], None]) -> Reply:
    arrived()
    return exchange.ask()


def _raw(exchange: Exchange, pieces: Callable[[Reply], Iterable[bytes]], kept: bool = False) -> Reply:
    reply = exchange.ask()
    reply.raw, reply.kept = pieces(reply), kept
    return reply


def _close_unsaid(exchange: Exchange) -> Reply:
    reply = exchange.ask()
    head = [f"{name}: {value}\r\n" for name, value in reply.headers.items() if name != "Content-Length"]
    sized = f"Content-Length: {reply.headers.get('Content-Length', len(reply.body))}\r\n"
    body = b"" if exchange.asked.method == "HEAD" else reply.body
    reply.raw = [f"HTTP/1.1 {reply.status} X\r\n{''.join(head)}{sized}\r\n".encode() + body]
    return reply


# Faults for which the request's body is read first. The others are `unread` and `stop_reading`.
FAULTS: Mapping[str, Callable[..., Reply]] = {
    "answer": _answer,  # status, headers, body: instead of the app's answer
    "hang_up": _hang_up,  # reset: before the app gets the request
    "lose_answer": _lose_answer,  # after the app has handled the request
    "cut": _cut,  # at, sized: the answer ends after so many bytes of the body
    "body": _body,  # change, sized: another body, always sent whole
    "flip": _flip,  # at: one bit of the body
    "unsized": _unsized,  # the body has no length, and ends with the connection
    "headers": _headers,  # change: header -> value, None to leave it out
    "more_headers": _more_headers,  # headers: pairs, the same name as often as it comes
    "compress": _compress,  # coding, sized: as a CDN compresses, whatever the request accepts; no ranges
    "ignore_range": _ignore_range,
    "raw": _raw,  # pieces, kept: the bytes to send, made from the app's answer
    "close_unsaid": _close_unsaid,  # the answer is right, and its connection is closed without `Connection: close`
    "wait": _wait,  # arrived: is called before the app gets the request, and may block
}
_WITHOUT_BODY = frozenset({"unread", "stop_reading"})


@dataclass
class Seen:
    """All requests in the order received, whether they were answered or not."""

    requests: list[Asked] = field(default_factory=list)
    served: int = 0  # bytes of bodies that were sent
    connections: int = 0
    open_now: int = 0
    most_open: int = 0

    def of(self, method: str, pattern: str = "") -> list[Asked]:
        """Return the requests with that method whose target matches the pattern."""
        return [asked for asked in self.requests if asked.method == method and re.search(pattern, asked.target)]

    def lines(self) -> list[str]:
        """Return methods and targets."""
        return [f"{asked.method} {asked.target}" for asked in self.requests]


class Unruly:
    """Serves `app` on a loopback port, with faults; a context manager.

    tls: the context if it speaks TLS. clock: for the times of requests. name: the host name in `host`. peers: gets the
    certificate of each client, None without one. no_handshakes: how many connections are closed before the handshake.
    """

    def __init__(
        self,
        app: App,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        name: str = "127.0.0.1",
        peers: list[object] | None = None,
        no_handshakes: int = 0,
    ) -> None:
        self.app = app
        self.clock = clock
        self.seen = Seen()
        self.no_handshakes = no_handshakes
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(self, tls, [] if peers is None else peers)
        self.port = self._server.server_port
        self.host = f"{name}:{self.port}"
        self.url = f"{'http' if tls is None else 'https'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def fault(
        self, name: str, method: str = "*", pattern: str = "", *, hits: Iterable[int] | None = None, **detail: Any
    ) -> None:
        """Add a fault; the last one added comes first. hits: 1 is the first matching request from now on."""
        assert name in FAULTS or name in _WITHOUT_BODY, name
        chosen = None if hits is None else frozenset(hits)
        with self._lock:
            self._faults.insert(0, Fault(name, method, pattern, chosen, detail))

    def heal(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def fault_for(self, method: str, target: str) -> Fault | None:
        """Return the fault for a request."""
        with self._lock:
            fitting = [fault for fault in self._faults if fault.matches(method, target)]
            for fault in fitting:
                fault.seen += 1
            return next((fault for fault in fitting if fault.hits is None or fault.seen in fault.hits), None)

    def ends_before_tls(self) -> bool:
        """Return whether the next connection is to be closed before the handshake."""
        with self._lock:
            self.no_handshakes -= 1
            return self.no_handshakes >= 0

    def note(self, asked: Asked) -> None:
        """Record a request."""
        with self._lock:
            self.seen.requests.append(asked)

    def count(self, *, sent: int = 0, opened: int = 0) -> None:
        """Count bytes sent, and connections opened (1) and closed (-1)."""
        with self._lock:
            self.seen.served += sent
            self.seen.open_now += opened
            self.seen.connections += opened > 0
            self.seen.most_open = max(self.seen.most_open, self.seen.open_now)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read_on(connection: ssl.SSLSocket) -> None:
    """Read what a client has sent, then close: closing over unread bytes resets, and our alert is lost with it."""
    with suppress(OSError), connection:
        connection.settimeout(5)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: Unruly, tls: ssl.SSLContext | None, peers: list[object]) -> None:
        self.owner, self.tls, self.peers = owner, tls, peers
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": owner}))

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake runs in the connection's thread: a client that does not finish it must not block the others.
        if self.tls is not None:
            if self.owner.ends_before_tls():
                return
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            try:
                request.do_handshake()
            except OSError:
                _read_on(request)
                return
            self.peers.append(request.getpeercert())
        super().finish_request(request, client_address)
        with suppress(OSError):
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients hang up here as a matter of course


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    owner: ClassVar[Unruly]

    def handle(self) -> None:
        self.owner.count(opened=1)
        try:
            super().handle()
        finally:
            self.owner.count(opened=-1)

    def do_GET(self) -> None:
        fault = self.owner.fault_for(self.command, self.path)
        length = int(self.headers.get("Content-Length", 0))
        if fault is not None and fault.name in _WITHOUT_BODY:
            self._refuse_body(fault, **fault.detail)
            return
        asked = self._asked(self.rfile.read(length))
        exchange = Exchange(asked, self.owner.app)
        try:
            reply = exchange.ask() if fault is None else FAULTS[fault.name](exchange, **fault.detail)
            self._send(reply)
        except HangUp as end:
            self._hang_up(reset=end.reset)

    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the standard library's names

    def _asked(self, body: bytes) -> Asked:
        asked = Asked(self.command, self.path, self.headers, body, self.owner.clock())
        self.owner.note(asked)
        return asked

    def _refuse_body(
        self, fault: Fault, at: int = 0, status: int = 0, headers: Mapping[str, str] | None = None
    ) -> None:
        """Read `at` bytes of the request's body; then hang up, or answer and hang up."""
        self._asked(self.rfile.read(at))
        if status:
            self._send(Reply(status, {**(headers or {}), "Connection": "close"}))
            # An orderly end: the answer must not be lost to a reset for what was not read.
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(65536):
                pass
            self.close_connection = True
        else:
            self._hang_up(reset=fault.name == "stop_reading")

    def _send_raw(self, pieces: Iterable[bytes], *, kept: bool) -> None:
        with suppress(OSError):  # the client may hang up early
            for piece in pieces:
                self.wfile.write(piece)
        if not kept:
            self._hang_up()

    def _send(self, reply: Reply) -> None:
        if reply.raw is not None:
            self._send_raw(reply.raw, kept=reply.kept)
            return
        self.send_response_only(reply.status)
        for name, value in (*reply.headers.items(), *reply.more):
            self.send_header(name, value)
        if reply.sized and reply.status != 204 and "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        if not reply.sized:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD" or reply.status == 204:
            return
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        self.owner.count(sent=len(body))  # before it is sent: the client may send its next request at once
        self.wfile.write(body)
        if reply.cut is not None or not reply.sized:
            self._hang_up()

    def _hang_up(self, *, reset: bool = False) -> None:
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass
