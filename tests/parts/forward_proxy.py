"""An HTTP proxy on loopback. It also resolves host names for the tests' servers that are in no DNS."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self
from urllib.parse import urlsplit

_HOP = frozenset({"proxy-authorization", "proxy-connection", "connection", "keep-alive", "transfer-encoding"})


class ForwardProxy:
    """Forwards plain HTTP and CONNECT tunnels; a context manager.

    routes: `host:port` of requests -> `host:port` to connect to; other hosts are connected to by their own address.
    login: the `user:password` that it requires, "" for none. tls: the context if clients must use TLS.
    """

    def __init__(
        self, routes: Mapping[str, str] | None = None, login: str = "", *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.routes = dict(routes or {})
        self.login = login
        self.asked: list[str] = []  # `METHOD target` of each request
        self.headers: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def route(self, host: str) -> str:
        """Return the address to connect to for a host."""
        return self.routes.get(host, host)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    proxy: ClassVar[ForwardProxy]

    def _admitted(self) -> bool:
        self.proxy.asked.append(f"{self.command} {self.path}")
        self.proxy.headers.append({name.lower(): value for name, value in self.headers.items()})
        expected = "Basic " + base64.b64encode(self.proxy.login.encode()).decode()
        if not self.proxy.login or self.headers.get("Proxy-Authorization") == expected:
            return True
        self._refuse(407, b"<html>this proxy wants to know who you are</html>")
        return False

    def _refuse(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        if status == 407:
            self.send_header("Proxy-Authenticate", 'Basic realm="the proxy"')
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        host, _, port = self.proxy.route(self.path).rpartition(":")
        try:
            upstream = socket.create_connection((host, int(port)), timeout=60)
        except OSError:
            self._refuse(502, b"<html>no such host</html>")
            return
        self.send_response_only(200)
        self.end_headers()
        self.close_connection = True
        with upstream:
            _relay(self.connection, upstream)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._admitted():
            return
        parts = urlsplit(self.path)
        target = self.path.partition("://")[2].partition("/")[2]
        connection = http.client.HTTPConnection(self.proxy.route(parts.netloc), timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            connection.request(self.command, f"/{target}", body=body or None, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
        except OSError:
            self._refuse(502, b"<html>no such host</html>")
            return
        finally:
            connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        if answer.status != 204 and "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the standard library's names

    def log_message(self, *_: object) -> None:
        pass


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends."""
    with suppress(OSError):
        while True:
            readable, _, _ = select.select([one, other], [], [], 60)
            if not readable:
                return
            for side in readable:
                data = side.recv(65536)
                if not data:
                    return
                (other if side is one else one).sendall(data)
