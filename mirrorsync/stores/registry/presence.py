"""Whether a registry has a blob, and how large it is there."""

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

# What a HEAD may be answered with that has nothing to do with the blob: a storage's URL can be signed for GET alone
# (S3 then says 403, others 400 or 404), and gateways know no HEAD.
_ODD: Final = frozenset({400, 403, 404, 405, 501})
_ABSENT: Final = frozenset({404, 416})
_RANGE = re.compile(r"bytes (?:\d{1,19}-\d{1,19}|\*)/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Found:
    """A blob that the registry has. size: in bytes, None when it is not told."""

    size: int | None


async def find_blob(
    client: Asks, url: str, digest: Digest, scopes: tuple[str, ...], *, expected: int | None = None
) -> Found | None:
    """Ask for a blob by HEAD; None when the registry does not have it. url: of the blob.

    expected: the size that is asked for, and that a HEAD has to name; when it does not, a GET of one byte does. Without
    it, a registry that redirects has the blob, whatever the storage says to a HEAD. Raises: MirrorsyncError.
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
    # 416 to the first byte is what an empty blob is answered with.
    told = _RANGE.fullmatch(answer.header("Content-Range"))
    if told is not None:
        return Found(int(told[1]))
    return Found(0 if answer.status == 416 else None)


def _length(answer: Answer) -> int | None:
    """Return the Content-Length when it is that of the blob, and not of what a proxy makes of it."""
    return None if codings(answer.header("Content-Encoding")) else answer.length


def _is_storage(answer: Answer, client: Asks, digest: Digest) -> bool:
    """Tell whether a registry has led elsewhere, and not just to another registry, which speaks for itself."""
    is_registry = urlsplit(answer.url).path.endswith(f"/blobs/{digest}")
    return not is_registry and not same_origin(answer.url, client.url)
