"""A SOCKS5 proxy on loopback (RFC 1928) that resolves host names by a table."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import ClassVar, Self


class SocksProxy:
    """A proxy without a login; a context manager. routes: `host:port` of requests -> `host:port` to connect to."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self.routes = routes
        self.asked: list[str] = []
        self._server = ThreadingTCPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(StreamRequestHandler):
    proxy: ClassVar[SocksProxy]

    def handle(self) -> None:
        methods = self.rfile.read(self.rfile.read(2)[1])
        assert 0 in methods
        self.wfile.write(b"\x05\x00")
        _, command, _, kind = self.rfile.read(4)
        assert command == 1
        if kind == 3:
            host = self.rfile.read(self.rfile.read(1)[0]).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET, self.rfile.read(4))
        asked = f"{host}:{struct.unpack('>H', self.rfile.read(2))[0]}"
        self.proxy.asked.append(asked)
        name, _, port = self.proxy.routes.get(asked, asked).rpartition(":")
        with socket.create_connection((name, int(port))) as onward:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=_carry, args=(onward, self.connection), daemon=True)
            back.start()
            _carry(self.connection, onward)
            back.join()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
