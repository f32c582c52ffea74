"""A proxy in front of a real registry that misbehaves on purpose: it delays responses, or replaces them."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self

Which = Callable[[str, str], bool]  # of a method and a path
Answer = tuple[int, Mapping[str, str], bytes]


class Proxy:
    """Forwards to the registry at `upstream` (host:port), unless a rule matches; a context manager."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.requests: list[tuple[str, str]] = []
        self.held = threading.Event()  # a client waits for a response
        self._go_on = threading.Event()
        self._holds: list[tuple[Which, int]] = []
        self._answers: list[tuple[Which, Answer]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def hold(self, which: Which, after: int = -1) -> None:
        """Hold responses back until `release`: completely, or after so many bytes of the body."""
        self._holds.append((which, after))

    def answer(self, which: Which, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer some requests here; the newest rule that matches wins."""
        self._answers.insert(0, (which, (status, headers or {}, body)))

    def recover(self) -> None:
        """Forget the rules: every request goes to the registry again."""
        self._answers.clear()

    def release(self) -> None:
        """Release all responses, and hold no more."""
        self._holds.clear()
        self._go_on.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def held_after(self, method: str, path: str) -> int | None:
        """Return after how many bytes a response is held back, None if it is not."""
        return next((after for which, after in self._holds if which(method, path)), None)

    def wait(self) -> None:
        """Hold a request's thread."""
        self.held.set()
        self._go_on.wait(60)

    def answered(self, method: str, path: str) -> Answer | None:
        """Return the response of a rule, None if the request goes to the registry."""
        return next((answer for which, answer in self._answers if which(method, path)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ClassVar[Proxy]

    def do_GET(self) -> None:
        self.proxy.requests.append((self.command, self.path))
        held = self.proxy.held_after(self.command, self.path)
        if held is not None and held < 0:
            self.proxy.wait()
        own = self.proxy.answered(self.command, self.path)
        try:
            self._send(own or self._forwarded(), held)
        except ConnectionError:
            self.close_connection = True  # the client has closed the connection

    def do_POST(self) -> None:
        self.proxy.requests.append((self.command, self.path))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(self.proxy.answered(self.command, self.path) or (405, {}, b""), None)

    do_HEAD = do_GET  # noqa: N815 - the standard library's name

    def _forwarded(self) -> Answer:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        kept = {key: value for key, value in answer.getheaders() if key.lower() not in ("connection", "date")}
        return answer.status, kept, body

    def _send(self, answer: Answer, held: int | None) -> None:
        status, headers, body = answer
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if held is not None and held >= 0:
            self.wfile.write(body[:held])
            self.proxy.wait()
            body = body[held:]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def path_has(part: str, method: str = "") -> Which:
    """Return the rule that matches all requests with `part` in their path."""
    return lambda asked, path: part in path and method in ("", asked)
