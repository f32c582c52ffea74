"""Lists in pages: tags, referrers and the catalog, from servers that may be wrong, endless or hostile."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from mirrorsync.errors import RegistryFailure
from mirrorsync.oci.json_weight import MAX_WEIGHT, json_weight
from mirrorsync.stores.registry.bounds import MAX_LIST_BYTES, PageBytes, Seen
from mirrorsync.stores.registry.http.answers import WEB_PAGE_REMEDY
from mirrorsync.stores.registry.http.messages import Answer, Request
from mirrorsync.stores.registry.http.origins import same_origin

# 1000 is what nearly every registry takes; ECR and Quay refuse more. At this size 10,000 pages are ten million entries.
PAGE_ENTRIES: Final = 1000
# How registries say that so many are too many: PAGINATION_NUMBER_INVALID, a body too large, a crash.
_TOO_MANY: Final = frozenset({400, 413, 500})
_MAX_PAGES: Final = 10_000
# Possessive throughout: eight thousand spaces in a header must not take minutes to be found no link.
_LINK = re.compile(r'<([^<>]*+)>((?:\s*+;[^,;"]*+(?:"[^"]*+"[^,;"]*+)*+)*+)')
_PARAMETER = re.compile(r';\s*+([^\s,;="]*+)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s",;]*+)))?+')


class Asks(Protocol):
    """What pages are asked of: a client, or what stands before one. Its members are those of `Client`."""

    @property
    def url(self) -> str:
        """The URL of the registry."""

    async def ask(self, request: Request, doing: str) -> Answer:
        """Return the answer to a request."""

    def resolved(self, base: str, location: str) -> str:
        """Return where a Link leads."""


class PageSize:
    """What was learned about one host: whether its lists may be asked for with a size of their pages (`n`)."""

    def __init__(self, *, refused: bool = False) -> None:
        self.refused = refused

    @staticmethod
    def of(request: Request) -> Request:
        """Return the request for a first page with the size that is wanted; that it is refused is an answer."""
        sized = request.to(f"{request.url}{'&' if '?' in request.url else '?'}n={PAGE_ENTRIES}")
        return replace(sized, known=request.known | _TOO_MANY)


async def pages(
    client: Asks, first: Request, doing: str, size: PageSize | None = None, limit: int = MAX_LIST_BYTES
) -> AsyncIterator[Answer]:
    """Yield the answers of all pages, following `Link: <...>; rel="next"` (RFC 8288) on the registry's own origin.

    size: to ask for pages of a size; None = as large as the registry makes them. limit: of all pages together, in
    bytes. An answer of a `known` status is yielded too, and ends the list. Raises: RegistryFailure for links that lead
    away or in a circle, and for a list that does not end.
    """
    left = PageBytes(limit)
    request, answer = await _first_page(client, first, doing, size or PageSize(refused=True))
    seen = {request.url}
    for _ in range(_MAX_PAGES):
        if not answer.whole:
            raise RegistryFailure(f"{doing}: a page is larger than {first.limit} bytes")
        left.take(len(answer.body), doing)
        yield answer
        following = next_link(answer)
        if following is None or not answer.ok:
            return
        url = _next_page(client, request.url, answer, following)
        if not same_origin(url, client.url):
            raise RegistryFailure(f"{doing}: the next page is on another host")
        if url in seen:
            raise RegistryFailure(f"{doing}: the pages lead in a circle")
        seen.add(url)
        request = first.to(url)
        answer = await client.ask(request, doing)
    raise RegistryFailure(f"{doing}: the list does not end after {_MAX_PAGES} pages")


async def _first_page(client: Asks, first: Request, doing: str, size: PageSize) -> tuple[Request, Answer]:
    """Return the first page and the question for it."""
    if not size.refused:
        request = size.of(first)
        answer = await client.ask(request, doing)
        if answer.status not in _TOO_MANY or answer.status in first.known:
            return request, answer
    answer = await client.ask(first, doing)
    size.refused = size.refused or answer.ok
    return first, answer


def _next_page(client: Asks, asked: str, answer: Answer, link: str) -> str:
    """Return the URL of the next page. asked: the URL of the page that has the link.

    A registry behind a proxy does not know the path that it is asked under, and leaves its beginning out of the Link or
    puts its own there (Nexus, nexus-public#1011; Artifactory). The page is the same list with another query; so the
    path that was asked for stands, unless the link leads further down from it. One that is behind a gateway is asked
    for at the gateway again.
    """
    url = client.resolved(answer.url, link)
    if not same_origin(url, answer.url):
        return url
    target, own = urlsplit(url), urlsplit(asked)
    if not target.query or (same_origin(url, asked) and f"{target.path}/".startswith(f"{own.path}/")):
        return url
    return own._replace(query=target.query, fragment="").geturl()


def next_link(answer: Answer) -> str | None:
    """Return the target of the first link with rel="next", None without one."""
    for value in answer.all("Link"):
        for target, parameters in _LINK.findall(value):
            for name, quoted, plain in _PARAMETER.findall(parameters):
                if name.lower() == "rel" and "next" in (quoted or plain).lower().split():
                    return str(target)
    return None


def fresh(answer: Answer, member: str, seen: Seen, doing: str) -> list[str]:
    """Return the strings of a page (as `strings` does) that are not in `seen`, and put them there.

    Raises: RegistryFailure when a page with a next one brings only what was there before: so they would go on; and when
    there are too many.
    """
    entries = strings(answer, member, doing)
    new = [entry for entry in dict.fromkeys(entries) if entry not in seen]
    if entries and not new and next_link(answer) is not None:
        raise RegistryFailure(f"{doing}: the pages lead in a circle")
    seen.take(new, doing)
    return new


def document(answer: Answer, doing: str) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises: RegistryFailure when there is none."""
    if json_weight(answer.body) > MAX_WEIGHT:
        raise RegistryFailure(f"{doing}: a page has more in it than a list that is meant to be read")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        if answer.media_type == "text/html":
            raise RegistryFailure(f"{doing}: it answers with a web page", remedy=WEB_PAGE_REMEDY) from error
        raise RegistryFailure(f"{doing}: the answer is not JSON") from error
    if not isinstance(found, dict):
        raise RegistryFailure(f"{doing}: the answer is not a JSON object")
    return found


def strings(answer: Answer, member: str, doing: str) -> list[str]:
    """Return a list of strings in an answer; null is an empty one, and null entries are left out (Nexus has both)."""
    value = document(answer, doing).get(member)
    if value is None:
        return []
    if not isinstance(value, list) or not all(entry is None or isinstance(entry, str) for entry in value):
        raise RegistryFailure(f"{doing}: {member} is not a list of strings")
    return [entry for entry in value if entry is not None]
