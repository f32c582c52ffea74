"""One request from beginning to end, without I/O: credentials, redirects, and the one retry after a 401.

Both engines drive the same conversation: it yields what to do next (`Authorize` or `Outgoing`), is sent the result,
and returns the final answer.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from mirrorsync.errors import RegistryFailure, RegistryUnavailable
from mirrorsync.stores.registry.http.answers import WEB_PAGE_REMEDY, codes
from mirrorsync.stores.registry.http.messages import Answer, Outgoing, Request
from mirrorsync.stores.registry.http.origins import base_of, resolved, same_origin
from mirrorsync.stores.registry.http.retry import Transient
from mirrorsync.stores.registry.http.scopes import Scopes, of_url

_MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READING: Final = frozenset({"GET", "HEAD"})
# The answers of storages to a presigned URL that has expired, or that was signed by another clock than theirs.
_RUN_OUT: Final = frozenset({400, 403})
_STORAGE_REMEDY: Final = "the storage rejects URLs that the registry has signed: check the clocks of both"


@dataclass(frozen=True, slots=True)
class Authorize:
    """Find the Authorization header for `scopes`; rejected: the one that got a 401 with these `challenges`.

    elsewhere: the URL of another registry that the header is for, "" for the one that is asked. reads: whether the
    request only reads.
    """

    scopes: Scopes
    rejected: str | None = None
    challenges: Sequence[str] = ()
    elsewhere: str = ""
    reads: bool = False


Move = Authorize | Outgoing
Conversation = Generator[Move, str | Answer, Answer]


def converse(request: Request, registry: str) -> Conversation:
    """Carry out one request. registry: the URL of the registry, whose origin gets the credentials.

    Redirects are followed here: never from https to http, never with credentials to another origin (a subdomain is
    another), five at most. If a redirect leads to another registry that requires a login, that is asked with the
    credentials for its own host, or without (go-containerregistry#2333). Raises: RegistryFailure; Transient for a
    presigned URL that is rejected: on a retry, the registry signs a new one.
    """
    origin = _Origin(request, registry, request.url)
    url, redirects, again = request.url, 0, set[str]()
    while True:
        if origin.header is None:
            origin.header = yield from origin.ask()
        authorization = origin.header
        sent = request if url is request.url else request.to(url)
        answer = cast("Answer", (yield Outgoing(sent, authorization, not origin.at_home)))
        if answer.status == 401 and origin.scopes and origin.base not in again:
            again.add(origin.base)
            origin.header = yield from origin.ask(authorization, answer.all("WWW-Authenticate"))
            if origin.header == authorization:
                return answer  # a rejected password is not sent twice: accounts are locked for that
            url = request.url if origin.at_home else url
        elif answer.status in REDIRECTS and answer.header("Location"):
            if request.stays and _leads_elsewhere(url, answer.header("Location"), registry):
                return answer
            redirects += 1
            if redirects > _MAX_REDIRECTS:
                raise RegistryFailure(f"the registry redirects more than {_MAX_REDIRECTS} times")
            url = resolved(url, answer.header("Location"), registry)
            origin = origin if same_origin(url, origin.base) else _Origin(request, registry, url)
        else:
            return _final(answer, request, origin)


@dataclass(slots=True)
class _Origin:
    """An origin that a request goes to. url: the first URL there; header: the Authorization header for it."""

    request: Request
    registry: str
    url: str
    at_home: bool = field(init=False)
    base: str = field(init=False)
    scopes: Scopes = field(init=False)
    header: str | None = None

    def __post_init__(self) -> None:
        self.at_home = same_origin(self.url, self.registry)
        self.base = self.registry if self.at_home else base_of(self.url)
        self.scopes = self.request.scopes
        if not self.at_home:
            # At another origin nothing is written with credentials, and the repository may have another name.
            asks = self.scopes and self.request.method in _READING
            self.scopes = of_url(self.url) if asks else ()

    def ask(self, rejected: str | None = None, challenges: Sequence[str] = ()) -> Generator[Move, str | Answer, str]:
        """Ask for the Authorization header; see `Authorize`."""
        if not self.scopes:
            return ""
        reads = self.request.method in _READING
        elsewhere = "" if self.at_home else self.base
        return cast("str", (yield Authorize(self.scopes, rejected, challenges, elsewhere, reads)))


def _final(answer: Answer, request: Request, origin: _Origin) -> Answer:
    """Return the answer that a request ends with. Raises: Transient, RegistryFailure."""
    if not origin.at_home and answer.status in _RUN_OUT and request.method == "GET" and not codes(answer):
        # The URL was signed for a minute and used after two; or the clocks of storage and registry differ.
        message = f"the storage that the registry redirects to answered {answer.status}"
        raise Transient(RegistryUnavailable(message, remedy=_STORAGE_REMEDY), status=answer.status)
    if origin.at_home:
        reject_web_page(answer, request)
    return answer


def reject_web_page(answer: Answer, request: Request) -> None:
    """Reject a web page, of a firewall or a login, as the answer to a write. Raises: RegistryFailure.

    A registry's answer has a Location or another status than 200; Quay sends empty answers as text/html.
    """
    if request.method in _READING or answer.status != 200 or answer.header("Location"):
        return
    if answer.media_type == "text/html":
        raise RegistryFailure("the answer is a web page", remedy=WEB_PAGE_REMEDY)


def _leads_elsewhere(url: str, location: str, registry: str) -> bool:
    try:
        return not same_origin(resolved(url, location, registry), registry)
    except RegistryFailure:
        return True
