"""The engine for bytes: blocking requests in worker threads, httpx over urllib3.

httpx as it is shipped reads at 457 MiB/s with 4 s of CPU for a GiB copied; over urllib3, with reads of 1 MiB, it is
1369 MiB/s and 1.2 s (two cores, loopback). So httpx is the interface here, and urllib3 moves the bytes.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import httpx
import urllib3
from multidict import CIMultiDict

from mirrorsync.errors import MirrorsyncError, RegistryFailure, printable
from mirrorsync.stores.base import CHUNK_BYTES
from mirrorsync.stores.registry.messages import MAX_ERROR_BYTES, Answer, Outgoing, Reply
from mirrorsync.stores.registry.network import CONNECT_SECONDS, SILENCE_SECONDS, Network, Proxy
from mirrorsync.stores.registry.retry import Transient

_FAILURES = (urllib3.exceptions.HTTPError, OSError, ValueError)
# Room for two chunks on the way: with the kernel's default a thread is woken for every 100 KiB (a third more CPU).
_SOCKET_BYTES = 2 * CHUNK_BYTES


class Streams:
    """Sends requests with long bodies and reads long answers, over one pool of connections. Methods block."""

    def __init__(self, network: Network, connections: int) -> None:
        # Without an httpx.Client before it: that would keep cookies, and read (and trip over) every Location.
        self._transport = _Urllib3Transport(network, connections)

    @contextmanager
    def exchange(self, outgoing: Outgoing, body: Iterable[bytes] | None = None, size: int = 0) -> Iterator[Reply]:
        """Send a request once; body: `size` bytes in chunks, each taken once; None = the body in the request.

        Reading on raises Transient when the connection breaks. Raises: Transient, TlsFailed; what `body` raises
        passes through.
        """
        request = outgoing.request
        headers = request.sent_with(outgoing.authorization)
        content: Iterable[bytes] | bytes | None = request.body
        if body is not None:
            headers["Content-Length"] = str(size)
            # httpx has b"" for "no body", and http.client sends no length for an empty iterator.
            content = body if size else b""
        try:
            sent = httpx.Request(request.method, request.url, headers=headers, content=content)
        except (httpx.InvalidURL, ValueError) as error:
            raise RegistryFailure(f"the registry gave a malformed URL: {printable(str(error), 100)}") from error
        response = self._transport.handle_request(sent)
        try:
            chunks = response.iter_raw()
            failed = response.status_code >= 300
            received = CIMultiDict(response.headers.multi_items())
            answer = Answer(response.status_code, received, request.url, _head(chunks) if failed else b"")
            yield Reply(answer, iter(()) if failed else chunks)
        finally:
            response.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def _head(chunks: Iterator[bytes]) -> bytes:
    """Return the beginning of a refusal's body; a connection that breaks there says no less."""
    body = b""
    try:
        for chunk in chunks:
            body += chunk
            if len(body) >= MAX_ERROR_BYTES:
                break
    except Transient:
        pass
    return body[:MAX_ERROR_BYTES]


class _Urllib3Transport(httpx.BaseTransport):
    def __init__(self, network: Network, connections: int) -> None:
        self._network = network
        self._connections = connections
        self._pools: dict[tuple[ssl.SSLContext | None, Proxy | None], urllib3.PoolManager] = {}
        self._making = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self._pool(request.url).urlopen(
                request.method,
                str(request.url),
                # The host is urllib3's to say; httpx has put it in for its own engine.
                headers={name: value for name, value in request.headers.items() if name.lower() != "host"},
                body=_content(request),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        except MirrorsyncError:
            raise
        except _FAILURES as error:
            raise _transient(self._network.broken(error, str(request.url)), silent=True) from error
        # As bytes: a header may hold any of them, and httpx takes text only when it is ASCII.
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        return httpx.Response(response.status, headers=headers, stream=self._body(response, str(request.url)))

    def _body(self, response: urllib3.BaseHTTPResponse, url: str) -> _Body:
        return _Body(cast("urllib3.HTTPResponse", response), lambda error: self._network.broken(error, url))

    def _pool(self, url: httpx.URL) -> urllib3.PoolManager:
        proxy = self._network.proxy(str(url))
        tls = self._network.tls(str(url)) if url.scheme == "https" else None
        with self._making:
            if (tls, proxy) not in self._pools:
                self._pools[tls, proxy] = self._made(tls, proxy)
            return self._pools[tls, proxy]

    def _made(self, tls: ssl.SSLContext | None, proxy: Proxy | None) -> urllib3.PoolManager:
        if tls is not None and tls.verify_mode == ssl.CERT_NONE:
            # The spec says so for this host; a warning for every connection, on stderr, helps nobody.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        options: dict[str, Any] = {
            "maxsize": self._connections,
            "block": True,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS),
            "ssl_context": tls,
            "socket_options": [
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES),
                (socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES),
            ],
            "blocksize": CHUNK_BYTES,
        }
        if proxy is None:
            return urllib3.PoolManager(**options)
        login = urllib3.make_headers(proxy_basic_auth=proxy.login) if proxy.login else None
        return urllib3.ProxyManager(proxy.url, proxy_headers=login, **options)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: urllib3.HTTPResponse, translate: Callable[[BaseException], MirrorsyncError]) -> None:
        self._response = response
        self._translate = translate
        self._broken = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._response.read(CHUNK_BYTES, decode_content=False):
                yield chunk
        except _FAILURES as error:
            self._broken = True
            raise _transient(self._translate(error), silent=False) from error

    def close(self) -> None:
        # Only a connection that was read to its end goes back to the pool, and a short rest (of an answer to an upload)
        # costs less to read than a new connection.
        rest = self._response.length_remaining
        if not self._broken and rest is not None and rest <= MAX_ERROR_BYTES:
            with suppress(*_FAILURES):
                self._response.read(rest + 1, decode_content=False)
        self._response.close()
        self._response.release_conn()


def _content(request: httpx.Request) -> bytes | Iterable[bytes] | None:
    """Return a request's body for urllib3: None for none, so that a GET has no length."""
    if "Content-Length" not in request.headers or request.headers["Content-Length"] == "0":
        return None if request.method in ("GET", "HEAD") else b""
    return cast("httpx.SyncByteStream", request.stream)


def _transient(failure: MirrorsyncError, *, silent: bool) -> Exception:
    return Transient(failure, silent=silent) if failure.transient else failure
