"""A registry as a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from mirrorsync.environment import Environment
from mirrorsync.errors import Denied, GrammarError
from mirrorsync.hosts import Pulls
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_repository
from mirrorsync.stores.located import located_at
from mirrorsync.stores.registry.bounds import Seen
from mirrorsync.stores.registry.harbor import Projects
from mirrorsync.stores.registry.http.auth import Find, Troubles
from mirrorsync.stores.registry.http.client import Client
from mirrorsync.stores.registry.http.messages import MAX_PAGE_BYTES, Request
from mirrorsync.stores.registry.http.network import Connections
from mirrorsync.stores.registry.learned import Learned
from mirrorsync.stores.registry.pages import fresh, pages
from mirrorsync.stores.registry.repository import RegistryRepository
from mirrorsync.stores.registry.upload import StagedUpload

_NO_CATALOG = frozenset({401, 403, 404, 405})


class RegistryStore:
    """A registry. Made on the event loop.

    host: as it is named in references, `docker.io` for Docker Hub. find: the credentials of a repository at a host.
    troubles: why those of a host may not have been found.
    """

    shares_blobs = False

    def __init__(self, host: str, environment: Environment, find: Find, troubles: Troubles = lambda _: ()) -> None:
        self.address = host
        self._observer = environment.observer
        self._client = Client(host, environment, lambda other, name: find(other or host, name), troubles)
        self._learned = Learned(self._client.name)
        self._staged: dict[tuple[str, Digest], StagedUpload] = {}
        settings = environment.settings(host)
        self._projects = Projects(self._client, host, self._observer) if settings.create_repository else None
        self.writes_at_once = Connections.within(settings.max_connections).writing

    def repository(self, name: str) -> RegistryRepository:
        """Return the repository of that name, to be read."""
        return self._repository(name, destination=False)

    def destination(self, name: str) -> RegistryRepository:
        """Return the repository of that name, to be written."""
        return self._repository(name, destination=True)

    def _repository(self, name: str, *, destination: bool) -> RegistryRepository:
        name = check_repository(name)
        return RegistryRepository(
            self._client,
            self.address,
            name,
            self._learned,
            self._observer,
            self._staged,
            destination=destination,
            projects=self._projects,
        )

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, from the catalog. Raises: Denied if there is no catalog."""
        doing = "listing its repositories"
        url = f"{self._client.url}/v2/_catalog"
        request = Request("GET", url, ("registry:catalog:*",), limit=MAX_PAGE_BYTES, known=_NO_CATALOG)
        seen = Seen()
        with located_at(self.address):
            async for answer in pages(self._client, request, doing, self._learned.page_size):
                if not answer.ok:
                    raise Denied("the registry does not list its repositories", remedy="name them in the spec")
                for name in fresh(answer, "repositories", seen, doing):
                    try:
                        yield check_repository(name)
                    except GrammarError:
                        continue  # not a valid name

    @property
    def pulls(self) -> Pulls:
        """The manifests that were read in this run, and the limit of that which the registry named last."""
        return self._client.meter.pulls

    def lock(self) -> None:
        """Do nothing: a registry coordinates its writers itself."""

    async def flush(self) -> None:
        """Do nothing: a registry stores content when it accepts it."""

    async def close(self) -> None:
        """Cancel the uploads that were staged and not published, and close all connections."""
        staged = list(self._staged.values())
        self._staged.clear()
        await asyncio.gather(*(asyncio.to_thread(one.cancel) for one in staged))
        await self._client.close()
