"""One request from beginning to end, without I/O: credentials, redirects, and the one second try after a 401.

Both engines drive the same conversation: it yields what to do next (`Authorize` or `Outgoing`), is sent what came of
it, and returns the final answer.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from mirrorsync.errors import RegistryFailure
from mirrorsync.stores.registry.messages import Answer, Outgoing, Request
from mirrorsync.stores.registry.origins import resolved, same_origin

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Authorize:
    """Find the Authorization header for `scopes`; rejected: the one that got a 401 with these `challenges`."""

    scopes: tuple[str, ...]
    rejected: str | None = None
    challenges: Sequence[str] = ()


Move = Authorize | Outgoing
Conversation = Generator[Move, str | Answer, Answer]


def converse(request: Request, registry: str) -> Conversation:
    """Lead the conversation about one request. registry: the URL of the registry, whose origin gets the credentials.

    A redirect is followed by hand: never from https to http, never with credentials to another origin (a subdomain is
    another), five at most. A presigned URL that is refused is asked for again once: they expire. Raises:
    RegistryFailure.
    """
    authorization = yield from _authorized(Authorize(request.scopes))
    url, redirects, again, renewed = request.url, 0, False, False
    while True:
        at_home = same_origin(url, registry)
        answer = cast("Answer", (yield Outgoing(request.to(url), authorization if at_home else "")))
        if answer.status == 401 and at_home and not again:
            again = True
            refused, challenges = authorization, answer.all("WWW-Authenticate")
            authorization = yield from _authorized(Authorize(request.scopes, refused, challenges))
            if authorization == refused:
                return answer  # a password that was refused is not said twice: accounts are locked for that
            url = request.url
        elif answer.status in _REDIRECTS and answer.header("Location"):
            if request.stays and _leads_away(url, answer.header("Location"), registry):
                return answer
            redirects += 1
            if redirects > _MAX_REDIRECTS:
                raise RegistryFailure(f"the registry redirects more than {_MAX_REDIRECTS} times")
            url = resolved(url, answer.header("Location"), registry)
        elif answer.status == 403 and not at_home and not renewed:
            renewed, url = True, request.url
        else:
            return answer


def _leads_away(url: str, location: str, registry: str) -> bool:
    try:
        return not same_origin(resolved(url, location, registry), registry)
    except RegistryFailure:
        return True


def _authorized(wanted: Authorize) -> Generator[Move, str | Answer, str]:
    return cast("str", (yield wanted))
