"""Lists in pages: tags, referrers and the catalog, from servers that may be wrong, endless or hostile."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final

from mirrorsync.errors import RegistryFailure
from mirrorsync.stores.registry.client import Client
from mirrorsync.stores.registry.messages import Answer, Request
from mirrorsync.stores.registry.origins import same_origin

# 1000 is what every registry takes; ECR and Quay refuse more. At this size 10,000 pages are ten million entries.
PAGE_ENTRIES: Final = 1000
_MAX_PAGES: Final = 10_000
# Possessive throughout: eight thousand spaces in a header must not take minutes to be found no link.
_LINK = re.compile(r'<([^<>]*+)>((?:\s*+;[^,;"]*+(?:"[^"]*+"[^,;"]*+)*+)*+)')
_PARAMETER = re.compile(r';\s*+([^\s,;="]*+)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s",;]*+)))?+')


async def pages(client: Client, first: Request, doing: str) -> AsyncIterator[Answer]:
    """Yield the answers of all pages, following `Link: <...>; rel="next"` (RFC 8288) on the registry's own origin.

    An answer of a `known` status is yielded too, and ends the list. Raises: RegistryFailure for links that lead away
    or in a circle, and for a list that does not end.
    """
    url, seen = first.url, {first.url}
    for _ in range(_MAX_PAGES):
        answer = await client.ask(first.to(url), doing)
        if not answer.whole:
            raise RegistryFailure(f"{doing}: a page is larger than {first.limit} bytes")
        yield answer
        following = next_link(answer)
        if following is None or not answer.ok:
            return
        url = client.resolved(answer.url, following)
        if not same_origin(url, client.url):
            raise RegistryFailure(f"{doing}: the next page is on another host")
        if url in seen:
            raise RegistryFailure(f"{doing}: the pages lead in a circle")
        seen.add(url)
    raise RegistryFailure(f"{doing}: the list does not end after {_MAX_PAGES} pages")


def next_link(answer: Answer) -> str | None:
    """Return the target of the first link with rel="next", None without one."""
    for value in answer.all("Link"):
        for target, parameters in _LINK.findall(value):
            for name, quoted, plain in _PARAMETER.findall(parameters):
                if name.lower() == "rel" and "next" in (quoted or plain).lower().split():
                    return str(target)
    return None


def fresh(answer: Answer, member: str, seen: set[str], doing: str) -> list[str]:
    """Return the strings of a page (as `strings` does) that are not in `seen`, and put them there.

    Raises: RegistryFailure when a page with a next one brings only what was there before: so they would go on.
    """
    entries = strings(answer, member, doing)
    new = [entry for entry in dict.fromkeys(entries) if entry not in seen]
    if entries and not new and next_link(answer) is not None:
        raise RegistryFailure(f"{doing}: the pages lead in a circle")
    seen.update(new)
    return new


def document(answer: Answer, doing: str) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises: RegistryFailure when there is none."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
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
