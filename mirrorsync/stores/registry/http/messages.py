"""What is said to a registry and what it says back: the values that both HTTP engines send and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from multidict import MultiMapping

from mirrorsync.version import __version__

# What is read of a body, in bytes, at most. A page of tags may be large: distribution 2.8 sends all of a repository at
# once when it is not asked for less; this is room for 400,000 tags.
MAX_ERROR_BYTES: Final = 64 * 1024
MAX_TOKEN_BYTES: Final = 128 * 1024
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024

# Digests are over the bytes as they are stored: a proxy that compresses on the way breaks them (oras-go#1176).
_ALWAYS: Final = {"User-Agent": f"mirrorsync/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request that can be sent again: its body is bytes or nothing.

    scopes: what it needs to be allowed, as the token specification writes it; () when no credentials may be sent.
    limit: how many bytes of a successful answer's body are taken. known: statuses of 300 and above that are answers
    and not failures here (404 for "is it there?"). stays: a redirect to another origin is an answer too, and not
    followed. as_sent: the body is taken as it came, even when its Content-Encoding says that it is compressed.
    """

    method: str
    url: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    limit: int = MAX_ERROR_BYTES
    known: frozenset[int] = frozenset()
    stays: bool = False
    as_sent: bool = False

    def sent_with(self, authorization: str) -> dict[str, str]:
        """Return the headers to send, with an Authorization header unless `authorization` is ""."""
        if authorization:
            return {**_ALWAYS, **self.headers, "Authorization": authorization}
        return {**_ALWAYS, **self.headers}

    def to(self, url: str) -> Request:
        """Return the same request to another place."""
        return self if url == self.url else replace(self, url=url)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes over the wire: with the Authorization header that it may carry, "" for none."""

    request: Request
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: status, headers (any case), and the body as far as it was read.

    url: the place that answered, after redirects. whole: False when the body is longer than was asked for.
    """

    status: int
    headers: MultiMapping[str]
    url: str
    body: bytes = field(default=b"", repr=False)
    whole: bool = True

    @property
    def ok(self) -> bool:
        """Whether the status is one of success (2xx)."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        """Return a header's value, "" when it is not there."""
        return self.headers.get(name, "")

    def all(self, name: str) -> list[str]:
        """Return the values of a header that may stand more than once."""
        return self.headers.getall(name, [])

    @property
    def length(self) -> int | None:
        """The Content-Length in bytes, None when there is none or it is no number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, which the distribution spec tells clients to ignore."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body is still to be read; the body of a failure is in `answer` already."""

    answer: Answer
    chunks: Iterator[bytes]


def shown(url: str) -> str:
    """Return a URL fit for a message: without userinfo and query, which hold signatures and tokens."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
