"""Requests to a destination, with the scope of the later writes.

Quay grants no rights to read a repository that does not exist, and creates it for a token with push rights (helm#31567,
containers/image#1265); a virtual repository of Artifactory answers 403 for a missing tag
(go-containerregistry#1691). Such an answer counts as absent here, and the write decides.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.ref import Tag, ref_type
from mirrorsync.stores.registry.bounds import Seen
from mirrorsync.stores.registry.http.answers import failure
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import MAX_PAGE_BYTES, Answer, Request
from mirrorsync.stores.registry.http.origins import same_origin
from mirrorsync.stores.registry.http.scopes import Scopes
from mirrorsync.stores.registry.pages import PageSize, pages, strings

_HIDDEN: Final = frozenset({401, 403})
_ABSENT: Final = 404
_LIST: Final = "/tags/list"


class DestinationQuestions:
    """Sends requests as `Client` does, and returns 404 for a repository or tag that the registry hides until a write.

    name: of the repository. scopes: those of the later writes.
    """

    def __init__(self, client: Client, name: str, scopes: Scopes, page_size: PageSize) -> None:
        self._client = client
        self._name = name
        self._scopes = scopes
        self._page_size = page_size
        self._listed: asyncio.Task[frozenset[str]] | None = None

    @property
    def url(self) -> str:
        """The URL of the registry."""
        return self._client.url

    def resolved(self, base: str, location: str) -> str:
        """Return the absolute URL of a Location or Link; see `Client.resolved`."""
        return self._client.resolved(base, location)

    async def ask(self, request: Request, doing: str) -> Answer:
        """Return the answer to a request; see `Client.ask`.

        401 and 403 count as 404 if the login is known to be valid and no other answer of the registry contradicts.
        """
        answer = await self._client.ask(replace(request, known=request.known | _HIDDEN), doing)
        if answer.status not in _HIDDEN:
            return answer
        if same_origin(answer.url, self.url) and await self._may_be_absent(answer):
            return replace(answer, status=_ABSENT)
        if answer.status in request.known:
            return answer
        raise failure(answer, doing)

    async def _may_be_absent(self, answer: Answer) -> bool:
        if answer.media_type == "text/html":
            return False  # from a firewall or a login page, and not from the registry
        if not await self._client.check_login(self._scopes):
            return False
        if answer.status == 401:
            return True
        if answer.url.partition("?")[0].endswith(_LIST):
            return False  # a registry may allow reads and deny lists: that says nothing about a repository
        return not await self._is_listed(answer.url)

    async def _is_listed(self, url: str) -> bool:
        """Return whether the registry lists the tag in a URL: then the tag exists, and 403 really means denied."""
        _, found, tag = urlsplit(url).path.rpartition("/manifests/")
        if not found or ref_type(tag) is not Tag:
            return False
        if self._listed is None:
            self._listed = asyncio.create_task(self._list())
        return tag in await asyncio.shield(self._listed)

    async def _list(self) -> frozenset[str]:
        doing = "listing its tags"
        request = Request(
            "GET", f"{self.url}/v2/{self._name}{_LIST}", self._scopes, limit=MAX_PAGE_BYTES, known=_HIDDEN | {_ABSENT}
        )
        found = Seen()
        try:
            async for answer in pages(self._client, request, doing, self._page_size):
                if answer.ok:
                    found.take(strings(answer, "tags", doing), doing)
        except MirrorsyncError:
            pass  # no list contradicts
        return frozenset(found)
