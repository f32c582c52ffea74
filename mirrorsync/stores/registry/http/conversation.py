"""One request from beginning to end, without I/O: credentials, redirects, and the one second try after a 401.

Both engines drive the same conversation: it yields what to do next (`Authorize` or `Outgoing`), is sent what came of
it, and returns the final answer.
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
# How storages say that a presigned URL has run out, or was signed for another moment than theirs.
_RUN_OUT: Final = frozenset({400, 403})
_STORAGE_REMEDY: Final = "the registry's storage does not take the URLs that it signs: see to the clocks of both"


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
    """Lead the conversation about one request. registry: the URL of the registry, whose origin gets the credentials.

    A redirect is followed by hand: never from https to http, never with credentials to another origin (a subdomain is
    another), five at most. Another registry at its end, which wants to know who asks, has a conversation of its own:
    with the credentials for that host, or none (go-containerregistry#2333). Raises: RegistryFailure; Transient for a
    presigned URL that is refused: the registry signs a new one when it is asked again.
    """
    place = _Place(request, registry, request.url)
    url, redirects, again = request.url, 0, set[str]()
    while True:
        if place.header is None:
            place.header = yield from place.ask()
        authorization = place.header
        sent = request if url is request.url else request.to(url)
        answer = cast("Answer", (yield Outgoing(sent, authorization)))
        if answer.status == 401 and place.scopes and place.base not in again:
            again.add(place.base)
            place.header = yield from place.ask(authorization, answer.all("WWW-Authenticate"))
            if place.header == authorization:
                return answer  # a password that was refused is not said twice: accounts are locked for that
            url = request.url if place.at_home else url
        elif answer.status in REDIRECTS and answer.header("Location"):
            if request.stays and _leads_away(url, answer.header("Location"), registry):
                return answer
            redirects += 1
            if redirects > _MAX_REDIRECTS:
                raise RegistryFailure(f"the registry redirects more than {_MAX_REDIRECTS} times")
            url = resolved(url, answer.header("Location"), registry)
            place = place if same_origin(url, place.base) else _Place(request, registry, url)
        else:
            return _final(answer, request, place)


@dataclass(slots=True)
class _Place:
    """An origin that a request goes to. url: where the request came there; header: how it is told who asks."""

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
            # Elsewhere nothing is written by anybody's leave, and a repository may have another name.
            asks = self.scopes and self.request.method in _READING
            self.scopes = of_url(self.url) if asks else ()

    def ask(self, rejected: str | None = None, challenges: Sequence[str] = ()) -> Generator[Move, str | Answer, str]:
        """Ask for the Authorization header; see `Authorize`."""
        if not self.scopes:
            return ""
        reads = self.request.method in _READING
        elsewhere = "" if self.at_home else self.base
        return cast("str", (yield Authorize(self.scopes, rejected, challenges, elsewhere, reads)))


def _final(answer: Answer, request: Request, place: _Place) -> Answer:
    """Return the answer that a request ends with. Raises: Transient, RegistryFailure."""
    if not place.at_home and answer.status in _RUN_OUT and request.method == "GET" and not codes(answer):
        # Signed for a minute, and held up for two; or the storage's clock is not the registry's.
        told = f"the storage that the registry leads to answered {answer.status}"
        raise Transient(RegistryUnavailable(told, remedy=_STORAGE_REMEDY), status=answer.status)
    if place.at_home:
        refuse_web_page(answer, request)
    return answer


def refuse_web_page(answer: Answer, request: Request) -> None:
    """See that no page of a firewall or a login stands where an API was asked to write. Raises: RegistryFailure.

    What a registry made has a Location or another status than 200; Quay says text/html of its own empty answers.
    """
    if request.method in _READING or answer.status != 200 or answer.header("Location"):
        return
    if answer.media_type == "text/html":
        raise RegistryFailure("it answers with a web page", remedy=WEB_PAGE_REMEDY)


def _leads_away(url: str, location: str, registry: str) -> bool:
    try:
        return not same_origin(resolved(url, location, registry), registry)
    except RegistryFailure:
        return True
