"""Run the server in this process, over any store, and send raw requests that urllib would not send."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Self

from mirrorsync.serve.patience import Patience
from mirrorsync.serve.server import Settings, serving
from mirrorsync.stores.base import Store
from tests.parts.wire import Response


class InProcessServer:
    """The distribution API over a store, in a thread of this process; use it as a context manager."""

    def __init__(self, store: Store, *, writable: bool = True, patience: Patience | None = None) -> None:
        self._store = store
        self._writable = writable
        self._patience = patience or Patience()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.host = ""

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        settings = Settings(writable=self._writable, patience=self._patience)
        async with serving(self._store, "127.0.0.1", 0, settings) as port:
            self.host = f"127.0.0.1:{port}"
            self._started.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class Connection:
    """One connection, for requests in pieces; use it as a context manager."""

    def __init__(self, host: str, origin: str = "127.0.0.1") -> None:
        name, _, port = host.rpartition(":")
        self.socket = socket.create_connection((name, int(port)), timeout=60, source_address=(origin, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self, method: str, target: str, headers: Mapping[str, Any]) -> None:
        """Send the head of a request, and wait for the server's 100 Continue."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Expect: 100-continue"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            assert piece, head
            head += piece
        assert head.startswith(b"HTTP/1.1 100 "), head

    def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.socket.sendall(data)

    def answer(self, method: str = "GET") -> Response:
        """Return the answer to the request that was sent."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return Response(response.status, response.headers, response.read())

    def ask(self, method: str, target: str, headers: Mapping[str, Any] | None = None) -> Response:
        """Send a request without a body, unchanged, and return the answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        return self.answer(method)


def raw(host: str, method: str, target: str, headers: Mapping[str, Any] | None = None) -> Response:
    """Send one request with exactly this target, on a connection of its own."""
    with Connection(host) as line:
        return line.ask(method, target, headers)


def chunked(host: str, method: str, target: str, pieces: Iterable[bytes]) -> Response:
    """Send a body of unknown length, as docker and podman do (Transfer-Encoding: chunked)."""
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(method, target, body=pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())
    finally:
        connection.close()


def path_of(url: str) -> str:
    """Return the path of a Location, which may be absolute."""
    return "/" + url.split("/", 3)[3] if "://" in url else url


def code_of(answer: Response) -> str:
    """Return the error code of an answer, after checking that it has the format of the distribution spec."""
    assert answer.status >= 400, answer
    assert answer.headers.get_content_type() == "application/json", answer
    (error,) = answer.json()["errors"]
    assert set(error) <= {"code", "message", "detail"}
    assert error["message"]
    return str(error["code"])
