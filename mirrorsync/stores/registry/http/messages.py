"""HTTP requests and answers: the values that both engines send and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from multidict import MultiMapping

from mirrorsync.version import __version__

# Limits for the bodies of answers, in bytes. A page of tags may be large: distribution 2.8 sends all tags of a
# repository at once, unless it is asked for fewer; this is enough for 400,000 tags.
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_TOKEN_BYTES: Final = 128 * 1024
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024

# Digests are of the bytes as stored: a proxy that compresses on the way breaks them (oras-go#1176).
_ALWAYS: Final = {"User-Agent": f"mirrorsync/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request that can be sent again: its body is bytes or nothing.

    scopes: those it needs, in the format of the token specification; () if no credentials may be sent. limit: how many
    bytes of a successful answer's body are read. expects: how many it has, if that is known. known: statuses of 300 and
    above that are not failures here (404 to a HEAD that asks whether content exists). stays: a redirect to another
    origin is returned, and not followed. as_sent: the body is not decoded, even if its Content-Encoding says that it is
    compressed.
    """

    method: str
    url: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: int = MAX_ERROR_BYTES
    expects: int = 0
    known: frozenset[int] = frozenset()
    stays: bool = False
    as_sent: bool = False

    def sent_with(self, authorization: str) -> dict[str, str]:
        """Return the headers to send, with an Authorization header unless `authorization` is ""."""
        if authorization:
            return {**_ALWAYS, **self.headers, "Authorization": authorization}
        return {**_ALWAYS, **self.headers}

    def to(self, url: str) -> Request:
        """Return the same request to another URL."""
        return self if url == self.url else replace(self, url=url)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent, with its Authorization header, "" without one. redirected: to another origin."""

    request: Request
    authorization: str = field(default="", repr=False)
    redirected: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: status, headers (any case), and the body as far as it was read.

    url: of the response, after redirects. whole: False if the body is longer than the request's limit. proxy: the host
    and port of the proxy that may have answered itself, "" if the registry has. sent: when the request was, as in
    `Transient`.
    """

    status: int
    headers: MultiMapping[str]
    url: str
    body: bytes = field(default=b"", repr=False)
    whole: bool = True
    proxy: str = ""
    sent: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is one of success (2xx)."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        """Return a header's value, "" if it is missing."""
        return self.headers.get(name, "")

    def all(self, name: str) -> list[str]:
        """Return the values of a header that may occur more than once."""
        return self.headers.getall(name, [])

    @property
    def length(self) -> int | None:
        """The Content-Length in bytes, None if it is missing or not a number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, which the distribution spec tells clients to ignore."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body is still to be read; the body of an error is already in `answer`."""

    answer: Answer
    chunks: Iterator[bytes]


def shown(url: str) -> str:
    """Return a URL for a message: without userinfo and query, which may have signatures and tokens."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
