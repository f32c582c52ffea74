"""One exchange on one easy handle of libcurl: the options of a request, and its answer so far."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable, Mapping
from typing import Any, Final

import pycurl
from multidict import CIMultiDict

from mirrorsync.stores.registry.http.messages import Outgoing
from mirrorsync.stores.registry.http.network import CONNECT_SECONDS, Route
from mirrorsync.stores.registry.http.pace import Phase
from mirrorsync.stores.registry.http.trust import Trust, system_trust

# CURLOPT_SUPPRESS_CONNECT_HEADERS, for which pycurl has no name.
_SUPPRESS_CONNECT_HEADERS: Final = 265
_INT: Final = struct.Struct("i")
# The largest body that a handle may keep after it was sent, in bytes.
_KEPT_BYTES: Final = 64 * 1024
# Headers that libcurl would add: Expect before each large body, which costs a second if the server ignores it, and the
# type of a form.
_NOT_ADDED: Final = ("Expect:", "Content-Type:")
_END_OF_HEADERS: Final = (b"\r\n", b"\n")


class Handle:
    """An easy handle that remembers its options: most requests of a run differ from the last one only in their URL.

    said: the method, headers and Authorization header that are set; None if they have to be set.
    """

    __slots__ = ("curl", "said")

    def __init__(self) -> None:
        self.curl = pycurl.Curl()
        self.said: tuple[str, Mapping[str, str], str] | None = None


def made(route: Route) -> Handle:
    """Return a handle with the options that all requests on a route share."""
    made = Handle()
    handle = made.curl
    for option, value in (
        (pycurl.NOSIGNAL, 1),
        (pycurl.CONNECTTIMEOUT_MS, int(CONNECT_SECONDS * 1000)),
        # Presigned URLs are signed as they are written: not even `/../` may be normalised.
        (pycurl.PATH_AS_IS, 1),
        (pycurl.HTTP_CONTENT_DECODING, 0),
        (pycurl.TCP_KEEPALIVE, 1),
        # An empty one also keeps libcurl from reading the environment.
        (pycurl.PROXY, route.proxy.url if route.proxy else ""),
        (pycurl.NOPROXY, ""),
        (_SUPPRESS_CONNECT_HEADERS, 1),  # a proxy's answer to CONNECT is not the answer
    ):
        handle.setopt(option, value)
    if route.proxy is not None and route.proxy.login:
        handle.setopt(pycurl.PROXYUSERPWD, route.proxy.login)
    if route.open_socket is not None:
        handle.setopt(pycurl.OPENSOCKETFUNCTION, route.open_socket)
    if route.trust is not None:
        _set_trust(handle, route.trust)
    if route.proxy is not None and route.proxy.url.startswith("https:"):
        for option, path in zip((pycurl.PROXY_CAINFO, pycurl.PROXY_CAPATH), system_trust(), strict=True):
            handle.setopt(option, path) if path is not None else handle.unsetopt(option)
    return made


def _set_trust(handle: pycurl.Curl, trust: Trust) -> None:
    handle.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    handle.setopt(pycurl.SSL_VERIFYPEER, int(trust.verify))
    handle.setopt(pycurl.SSL_VERIFYHOST, 2 if trust.verify else 0)
    # None replaces a default path, which is that of the machine where libcurl was built.
    for option, path in ((pycurl.CAINFO, trust.file), (pycurl.CAPATH, trust.directory)):
        handle.setopt(option, path) if path is not None else handle.unsetopt(option)
    if trust.authorities:
        handle.setopt(pycurl.CAINFO_BLOB, trust.authorities)
    if trust.certificate is not None:
        handle.setopt(pycurl.SSLCERT, trust.certificate)
        handle.setopt(pycurl.SSLKEY, trust.key or trust.certificate)
    # One connection for all concurrent requests, if the host speaks HTTP/2.
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
    handle.setopt(pycurl.PIPEWAIT, 1)


class Exchange:
    """A request on a handle, and its answer so far. The handle can be reused after the end of the exchange.

    body: returns the body in pieces, instead of the request's own: a function from a number of bytes to at most as
    many bytes, b"" at the end; size: of all of them. receive: called with the pieces of the answer's body.
    """

    def __init__(
        self,
        handle: Handle,
        outgoing: Outgoing,
        receive: Callable[[bytes], int | None],
        *,
        body: Callable[[int], bytes | int] | None = None,
        size: int = 0,
    ) -> None:
        self.handle = handle
        curl = handle.curl
        self.received = 0
        self._lines: list[bytes] = []
        self._size = size if body is not None else len(outgoing.request.body or b"")
        self._receive = receive
        curl.setopt(pycurl.URL, outgoing.request.url)
        curl.setopt(pycurl.WRITEFUNCTION, self._take)
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)  # a third of what a method in Python costs
        request = outgoing.request
        said = (request.method, request.headers, outgoing.authorization)
        if handle.said is None or said != handle.said:
            handle.said = None
            self._set_headers(outgoing)
            self._set_method(request.method, request.body, body)
            if self._size == 0 and request.method in ("GET", "HEAD"):
                handle.said = said

    def _set_headers(self, outgoing: Outgoing) -> None:
        headers = outgoing.request.sent_with(outgoing.authorization)
        missing = _NOT_ADDED if "Content-Type" not in headers else _NOT_ADDED[:1]
        self.handle.curl.setopt(pycurl.HTTPHEADER, [*(f"{name}: {value}" for name, value in headers.items()), *missing])

    def _set_method(self, method: str, content: bytes | None, body: Callable[[int], bytes | int] | None) -> None:
        handle = self.handle.curl
        handle.setopt(pycurl.HTTPGET, 1)
        # If a kept connection is closed without an answer, libcurl retries over a new one; that would report "no such
        # tag" for a tag that the first request has deleted.
        handle.setopt(pycurl.FRESH_CONNECT, int(method == "DELETE"))
        if method == "HEAD":
            handle.setopt(pycurl.NOBODY, 1)
        elif body is not None:
            handle.setopt(pycurl.UPLOAD, 1)
            handle.setopt(pycurl.READFUNCTION, body)
            handle.setopt(pycurl.INFILESIZE_LARGE, self._size)
        elif content is not None:
            handle.setopt(pycurl.POST, 1)
            handle.setopt(pycurl.POSTFIELDSIZE_LARGE, len(content))
            handle.setopt(pycurl.POSTFIELDS, content)
        if method in ("GET", "HEAD"):
            handle.unsetopt(pycurl.CUSTOMREQUEST)
        else:
            handle.setopt(pycurl.CUSTOMREQUEST, method)

    def release(self) -> None:
        """Release the receiver of the answer, and a body that was sent: manifests may have 4 MiB.

        A kept handle would hold the body until the next request, and the receiver is in a reference cycle with this.
        """
        self._receive = len
        if self._size > _KEPT_BYTES:
            self.handle.curl.setopt(pycurl.POSTFIELDS, b"")

    def _take(self, data: bytes) -> int | None:
        taken = self._receive(data)
        if taken != pycurl.WRITEFUNC_PAUSE:  # after a pause, the same bytes come once more
            self.received += len(data)
        return taken

    @property
    def answered(self) -> bool:
        """Whether the headers of the final answer are complete; those of 1xx do not count."""
        return bool(self._lines) and self._lines[-1] in _END_OF_HEADERS and self.status >= 200

    @property
    def multiplexed(self) -> bool:
        """Whether the answer came over a connection that carries many exchanges at a time (HTTP/2)."""
        return bool(self._lines) and self._lines[0].startswith(b"HTTP/2")

    @property
    def heard(self) -> bool:
        """Whether any bytes of an answer were received."""
        return bool(self._lines)

    @property
    def status(self) -> int:
        """The status of the last answer that began, 0 before the first."""
        return int(self._lines[self._begin].split(None, 2)[1]) if self._lines else 0  # libcurl has checked it

    @property
    def _begin(self) -> int:
        """The index of the first header of the last answer; there are several if 1xx came before it."""
        if self._lines.count(_END_OF_HEADERS[0]) <= 1 and self._lines[-1] in _END_OF_HEADERS:
            return 0
        numbers = reversed(range(len(self._lines)))
        return next((number for number in numbers if self._lines[number].startswith(b"HTTP/")), 0)

    @property
    def rest(self) -> int | None:
        """How many bytes of the answer's body are still to be received, None if that is not known."""
        if not self.answered:
            return None
        length = int(self.handle.curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T))
        return length - self.received if length >= 0 else None

    def headers(self) -> CIMultiDict[str]:
        """Return the headers of the last answer."""
        text = b"".join(self._lines[self._begin + 1 :]).decode("latin-1")
        parts = (line.partition(":") for line in text.split("\n"))
        return CIMultiDict([(name.strip(), value.strip()) for name, colon, value in parts if colon])

    def progress(self) -> tuple[Phase, int]:
        """Return the phase of the exchange, and how many bytes the server has accepted or sent in it so far."""
        if self.answered or self.received:
            return Phase.RECEIVING, self.received
        taken = self._taken() if self._size else 0
        return (Phase.WAITING, 0) if taken >= self._size else (Phase.SENDING, taken)

    def _taken(self) -> int:
        """Return how many bytes of the body the server has acknowledged: those in the socket's buffer are not sent."""
        sent = int(self.handle.curl.getinfo(pycurl.SIZE_UPLOAD_T))
        descriptor: Any = self.handle.curl.getinfo(pycurl.ACTIVESOCKET)
        if descriptor is None or descriptor < 0:
            return sent
        try:
            queued = _INT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_INT.size)))[0]
        except OSError:
            return sent
        # Headers and TLS records are in the buffer too, so the difference may be negative.
        return max(0, sent - int(queued))
