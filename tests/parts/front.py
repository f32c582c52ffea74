"""Several servers behind one address, as most registries and their token services are."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from tests.parts.tiny_registry import App, Asked, Reply

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


def front(backends: Mapping[str, str]) -> App:
    """Return an app that forwards requests. backends: path prefix -> `host:port`; the first match counts.

    The Host header is kept, so that the backends use this address in their own URLs.
    """

    def forward(asked: Asked) -> Reply:
        host = next(host for path, host in backends.items() if asked.target.startswith(path))
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP}
            body = asked.body if asked.body or asked.method not in ("GET", "HEAD") else None
            connection.request(asked.method, asked.target, body, headers)
            answer = connection.getresponse()
            received = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            reply = Reply(answer.status, {}, answer.read(), received)
            if asked.method == "HEAD" and (length := answer.headers["Content-Length"]):
                reply.headers["Content-Length"] = length
            return reply
        finally:
            connection.close()

    return forward
