"""What monitors ask a server: whether it is healthy, and its metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from mirrorsync.errors import MirrorsyncError
from mirrorsync.serve.browse import images_of
from mirrorsync.serve.metrics import CONTENT_TYPE, Family, Traffic, exposition, of_process, one
from mirrorsync.serve.shown import Shown
from mirrorsync.stores.base import Store

_HEADERS = {"Cache-Control": "no-store"}


class Monitoring:
    """Handlers of GET and HEAD for monitors. state: what the server is doing now, asked for each answer."""

    def __init__(self, store: Store, shown: Shown, traffic: Traffic, state: Callable[[], list[Family]]) -> None:
        self._store = store
        self._shown = shown
        self._traffic = traffic
        self._state = state

    async def health(self, _: web.Request) -> web.StreamResponse:
        """GET of the health: 200 if the store can be read, otherwise the answer that clients get."""
        async for _name in self._store.repositories():
            break
        return web.Response(text="ok\n", headers=_HEADERS)

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        """GET of the metrics. A store that cannot be read is one of them: its images are left out then."""
        families = [*self._traffic.families(), *self._state(), *await self._content(), *of_process()]
        return web.Response(text=exposition(families), headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    async def _content(self) -> list[Family]:
        try:
            images = await images_of(self._store, self._shown)
        except MirrorsyncError:
            return [one("store_readable", "Whether the store can be read.", 0)]
        return [
            one("store_readable", "Whether the store can be read.", 1),
            one("repositories", "Repositories that are shown.", len({name for name, _ in images})),
            one("tags", "Tags that are shown.", sum(bool(tag) for _, tag in images)),
        ]
