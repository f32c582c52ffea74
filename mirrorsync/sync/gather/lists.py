"""What sources list: the tags of a repository, and the repositories of a namespace. Each is asked for once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mirrorsync.errors import Denied, MirrorsyncError, RepositoryNotFound, TooFewTags, Unauthorized
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.spec.model import Mirror
from mirrorsync.spec.namespace import Namespace
from mirrorsync.sync.pool import Answers
from mirrorsync.sync.session import Session, located

_SHOWN = 3  # of the nearest repositories in one message


class Lists:
    """The tags of source repositories, and the repositories of sources."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: Answers[Location, list[Tag]] = Answers()
        self._catalogs: Answers[str, Sequence[str]] = Answers()
        self._known: dict[Location, frozenset[Tag]] = {}

    def lacks(self, source: Location, ref: Ref | None) -> bool:
        """Return whether a repository was listed, and a tag is not in its list."""
        return isinstance(ref, Tag) and source in self._known and ref not in self._known[source]

    def tags(self, source: Location) -> frozenset[Tag] | None:
        """Return the tags of a repository that was listed in this run, None if it was not."""
        return self._known.get(source)

    async def of(self, source: Location) -> list[Tag]:
        """Return the tags of a repository. Raises: RepositoryNotFound, MirrorsyncError."""

        async def ask() -> list[Tag]:
            tags = [tag async for tag in self._session.repository(source).tags()]
            self._known[source] = frozenset(tags)
            return tags

        return await self._answers.get(source, ask)

    async def sources(self, mirror: Mirror) -> Sequence[Location]:
        """Return the repositories of a mirror's source.

        Raises: RepositoryNotFound for a store on disk without images, TooFewTags if no repository matches and that is
        not allowed, Denied if the registry does not list its repositories, MirrorsyncError.
        """
        namespace, store = mirror.namespace, mirror.source.store
        if namespace is None:
            return [mirror.source]
        if namespace.only:
            return [Location(store, name) for name in namespace.only]
        with located("source", mirror.source):
            listed = await self._catalog(mirror, namespace)
            found = [Location(store, name) for name in listed if namespace.has(name)]
            if not found and (mirror.min_tags or not (listed or mirror.source.transport.is_registry)):
                raise _nothing(mirror, namespace, listed)
            return found

    async def _catalog(self, mirror: Mirror, namespace: Namespace) -> Sequence[str]:
        store = mirror.source.store

        async def ask() -> Sequence[str]:
            return [name async for name in self._session.store(store).repositories()]

        try:
            return await self._catalogs.get(store, ask)
        except (Denied, Unauthorized) as error:
            if not mirror.source.transport.is_registry:
                raise
            # A token service that gives no token for the catalog (ghcr.io) is not distinguished from a wrong login.
            login = f"{error.remedy}; or " if isinstance(error, Unauthorized) else ""
            remedy = f"{login}name them: from: [{namespace.in_words(store)}, ...]"
            raise error.with_(remedy=remedy) from error.__cause__


def _nothing(mirror: Mirror, namespace: Namespace, listed: Sequence[str]) -> MirrorsyncError:
    """Return the error for a namespace without repositories."""
    if not listed and not mirror.source.transport.is_registry:
        return RepositoryNotFound("the store has no images", remedy="check its path")
    number = {0: "no repositories", 1: "1 repository"}.get(len(listed), f"{len(listed)} repositories")
    excluded = " and are not excluded" if namespace.exclude else ""
    nearest = difflib.get_close_matches(namespace.example, listed, n=_SHOWN, cutoff=0.5)
    # An empty catalog is also how registries answer a login that may not list them (quay.io, Harbor, GitLab).
    named = f"the nearest are {', '.join(nearest)}; " if nearest else ""
    written = f"name them: from: [{namespace.in_words(mirror.source.store)}, ...]; " if not nearest else ""
    return TooFewTags(
        f"no repositories match{excluded}; the source lists {number}",
        remedy=f"{named}{written}allow_empty: true accepts it",
        side="source",
        place=mirror.source.at(),
    )
