"""What browsers ask a server: the page with its images."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from mirrorsync.errors import ContentNotFound, IntegrityError, Malformed, MirrorsyncError, RepositoryNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import is_repository
from mirrorsync.oci.ref import Tag
from mirrorsync.serve.page import POLICY, Page, Row, Size, html, is_host, next_query
from mirrorsync.serve.shown import Shown
from mirrorsync.stores.base import Repository, Store

_ROWS: Final = 100  # of a page
# Manifests read for the size of one image: official images have up to 40 platforms and attestations.
_MOST_MANIFESTS: Final = 100
_MOST_FIND: Final = 200  # characters
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}


class Browse:
    """The handler of GET and HEAD of the page."""

    def __init__(self, store: Store, shown: Shown, *, writable: bool) -> None:
        self._store = store
        self._shown = shown
        self._writable = writable

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET of the page, for clients that name text/html; others get the 404 that they always got."""
        if "text/html" not in request.headers.get("Accept", ""):
            raise web.HTTPNotFound
        find = request.query.get("find", "").strip()[:_MOST_FIND]
        repository, _, tag = request.query.get("after", "").rpartition(":")
        images = await images_of(self._store, self._shown)
        matching = [one for one in images if find.lower() in f"{one[0]}:{one[1]}".lower()]
        rest = [one for one in matching if one > (repository, tag)]
        rows = [await self._row(*one) for one in rest[:_ROWS]]
        page = Page(
            host=_host(request),
            rows=rows,
            images=sum(bool(tag) for _, tag in images),
            repositories=len({name for name, _ in images}),
            matching=sum(bool(tag) for _, tag in matching),
            find=find,
            next=next_query(rows[-1], find) if len(rest) > _ROWS else "",
            secure=request.secure or request.headers.get("X-Forwarded-Proto", "") == "https",
            writable=self._writable,
            label=self._shown.label,
        )
        return web.Response(text=html(page), content_type="text/html", headers=_HEADERS)

    async def _row(self, name: str, tag: str) -> Row:
        # The manifests of a page can be a thousand small files, and are read on the event loop: others have their turn.
        await asyncio.sleep(0)
        return Row(name, tag, await self._size(self._store.repository(name), Tag(tag)) if tag else Size(None))

    async def _size(self, repository: Repository, tag: Tag) -> Size:
        """Return the size of an image with all its platforms that are present, each blob counted once."""
        try:
            root = await self._shown.resolve(repository, tag)
            return Size(None, "missing") if root is None else await _size_below(repository, root)
        except (IntegrityError, Malformed):
            return Size(None, "damaged")
        except MirrorsyncError:
            return Size(None, "unreadable")


async def images_of(store: Store, shown: Shown) -> list[tuple[str, str]]:
    """Return repository and tag of every image, sorted; the tag is "" in a repository without tags."""
    found: list[tuple[str, str]] = []
    for name in [name async for name in shown.repositories() if is_repository(name)]:
        try:
            tags = [str(tag) async for tag in shown.tags(store.repository(name))]
        except RepositoryNotFound:  # deleted meanwhile
            continue
        found += [(name, tag) for tag in tags or [""]]
    return sorted(found)


async def _size_below(repository: Repository, root: Descriptor) -> Size:
    sizes: dict[Digest, int] = {}
    waiting = [root]
    for _ in range(_MOST_MANIFESTS):
        if not waiting:
            return Size(sum(sizes.values()))
        content = waiting.pop()
        if content.digest in sizes:
            continue
        try:
            manifest = await repository.manifest(content)
        except ContentNotFound:
            continue  # an index may lack platforms
        sizes |= {one.digest: one.size for one in (content, *manifest.blobs)}
        waiting += manifest.children
    return Size(sum(sizes.values()), "over")


def _host(request: web.Request) -> str:
    """Return the host by which the client reaches this server; its address, if the header is not a host."""
    if is_host(request.host):
        return request.host
    address = request.transport.get_extra_info("sockname") if request.transport is not None else None
    host, port = (address or ("localhost", 0))[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
