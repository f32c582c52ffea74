"""Find out whether a registry has a blob, and its size there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.oci.digest import Digest
from mirrorsync.stores.registry.http.encoding import codings
from mirrorsync.stores.registry.http.messages import Answer, Request
from mirrorsync.stores.registry.http.origins import same_origin
from mirrorsync.stores.registry.pages import Asks

# Answers to a HEAD that say nothing about the blob: a storage's URL can be signed for GET only (S3 then answers 403,
# others 400 or 404), and some gateways do not support HEAD.
_ODD: Final = frozenset({400, 403, 404, 405, 501})
_ABSENT: Final = frozenset({404, 416})
_RANGE = re.compile(r"bytes (?:\d{1,19}-\d{1,19}|\*)/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Found:
    """A blob that the registry has. size: in bytes, None if the answer has no size."""

    size: int | None


async def find_blob(
    client: Asks, url: str, digest: Digest, scopes: tuple[str, ...], *, expected: int | None = None
) -> Found | None:
    """Ask for a blob by HEAD; None if the registry does not have it. url: of the blob.

    expected: the size to check; if the HEAD does not confirm it, a GET of one byte decides. Without it, a registry that
    redirects has the blob, whatever the storage answers to a HEAD. Raises: MirrorsyncError.
    """
    doing = f"asking for blob {digest.short}"
    answer = await client.ask(Request("HEAD", url, scopes, known=_ODD), doing)
    if answer.ok:
        size = _length(answer)
        if size == expected or expected is None:
            return Found(size)
    elif _is_storage(answer, client, digest):
        if expected is None:
            return Found(None)
    elif answer.status == 404:
        return None
    return await _first_byte(client, url, scopes, doing)


async def _first_byte(client: Asks, url: str, scopes: tuple[str, ...], doing: str) -> Found | None:
    request = Request("GET", url, scopes, {"Range": "bytes=0-0"}, limit=1, known=_ABSENT, as_sent=True)
    answer = await client.ask(request, doing)
    if answer.status == 404:
        return None
    if answer.status == 200:
        return Found(_length(answer))
    # An empty blob is answered with 416 to a request for its first byte.
    content_range = _RANGE.fullmatch(answer.header("Content-Range"))
    if content_range is not None:
        return Found(int(content_range[1]))
    return Found(0 if answer.status == 416 else None)


def _length(answer: Answer) -> int | None:
    """Return the Content-Length if it is the blob's, and not that of a compressed form."""
    return None if codings(answer.header("Content-Encoding")) else answer.length


def _is_storage(answer: Answer, client: Asks, digest: Digest) -> bool:
    """Return whether a registry has redirected to a storage, and not to another registry, whose answer counts."""
    is_registry = urlsplit(answer.url).path.endswith(f"/blobs/{digest}")
    return not is_registry and not same_origin(answer.url, client.url)
