"""Read lists in pages: tags, referrers and the catalog, from servers that may be wrong, endless or hostile."""

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

# Nearly every registry accepts 1000; ECR and Quay reject more. At this size 10,000 pages are ten million entries.
PAGE_ENTRIES: Final = 1000
# Answers of registries to a page size that is too large: PAGINATION_NUMBER_INVALID, a body too large, a crash.
_TOO_MANY: Final = frozenset({400, 413, 500})
_MAX_PAGES: Final = 10_000
# Possessive throughout: a header of eight thousand spaces must not take minutes to parse.
_LINK = re.compile(r'<([^<>]*+)>((?:\s*+;[^,;"]*+(?:"[^"]*+"[^,;"]*+)*+)*+)')
_PARAMETER = re.compile(r';\s*+([^\s,;="]*+)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s",;]*+)))?+')


class Asks(Protocol):
    """Sends the requests for pages: a `Client`, or a wrapper of one with the same members."""

    @property
    def url(self) -> str:
        """The URL of the registry."""

    async def ask(self, request: Request, doing: str) -> Answer:
        """Return the answer to a request."""

    def resolved(self, base: str, location: str) -> str:
        """Return the absolute URL of a Link."""


class PageSize:
    """Learned about one host: whether it accepts a page size (`n`)."""

    def __init__(self, *, refused: bool = False) -> None:
        self.refused = refused

    @staticmethod
    def of(request: Request) -> Request:
        """Return the request for a first page with a page size; an error answer to it is returned and not raised."""
        sized = request.to(f"{request.url}{'&' if '?' in request.url else '?'}n={PAGE_ENTRIES}")
        return replace(sized, known=request.known | _TOO_MANY)


async def pages(
    client: Asks, first: Request, doing: str, size: PageSize | None = None, limit: int = MAX_LIST_BYTES
) -> AsyncIterator[Answer]:
    """Yield the answers of all pages, following `Link: <...>; rel="next"` (RFC 8288) on the registry's own origin.

    size: to request a page size; None = the registry's default. limit: of all pages together, in bytes. An answer with
    a `known` status is yielded too, and ends the list. Raises: RegistryFailure for links to another host or in a
    circle, and for a list that does not end.
    """
    left = PageBytes(limit)
    request, answer = await _first_page(client, first, doing, size or PageSize(refused=True))
    seen = {request.url}
    for _ in range(_MAX_PAGES):
        if not answer.whole:
            raise RegistryFailure(f"{doing}: a page exceeds the limit of {first.limit} bytes")
        left.take(len(answer.body), doing)
        yield answer
        following = next_link(answer)
        if following is None or not answer.ok:
            return
        url = _next_page(client, request.url, answer, following)
        if not same_origin(url, client.url):
            raise RegistryFailure(f"{doing}: the next page is on another host")
        if url in seen:
            raise RegistryFailure(f"{doing}: the links of the pages form a circle")
        seen.add(url)
        request = first.to(url)
        answer = await client.ask(request, doing)
    raise RegistryFailure(f"{doing}: the list does not end after {_MAX_PAGES} pages")


async def _first_page(client: Asks, first: Request, doing: str, size: PageSize) -> tuple[Request, Answer]:
    """Return the first page and the request for it."""
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

    A registry behind a proxy does not know its external path, and leaves the prefix out of the Link or uses its own
    (Nexus, nexus-public#1011; Artifactory). The next page is the same list with another query; so the requested path is
    kept, unless the link leads to a path below it. Pages of a registry behind a gateway are requested at the gateway.
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
    """Return the strings of a page (as `strings` does) that are not in `seen`, and add them.

    Raises: RegistryFailure if a page with a next one has no new entries, since that could go on for ever; and if there
    are too many.
    """
    entries = strings(answer, member, doing)
    new = [entry for entry in dict.fromkeys(entries) if entry not in seen]
    if entries and not new and next_link(answer) is not None:
        raise RegistryFailure(f"{doing}: the pages repeat the same entries")
    seen.take(new, doing)
    return new


def document(answer: Answer, doing: str) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises: RegistryFailure if it is not one."""
    if json_weight(answer.body) > MAX_WEIGHT:
        raise RegistryFailure(f"{doing}: the JSON of a page is too complex")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        if answer.media_type == "text/html":
            raise RegistryFailure(f"{doing}: the answer is a web page", remedy=WEB_PAGE_REMEDY) from error
        raise RegistryFailure(f"{doing}: the answer is not JSON") from error
    if not isinstance(found, dict):
        raise RegistryFailure(f"{doing}: the answer is not a JSON object")
    return found


def strings(answer: Answer, member: str, doing: str) -> list[str]:
    """Return a list of strings in an answer; null is an empty list, and null entries are skipped (Nexus has both)."""
    value = document(answer, doing).get(member)
    if value is None:
        return []
    if not isinstance(value, list) or not all(entry is None or isinstance(entry, str) for entry in value):
        raise RegistryFailure(f"{doing}: {member} is not a list of strings")
    return [entry for entry in value if entry is not None]
