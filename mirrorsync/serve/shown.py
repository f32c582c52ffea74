"""What clients see of a store: all of it, or only the images of one generation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from mirrorsync.errors import MirrorsyncError, RepositoryNotFound
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Where
from mirrorsync.stores.base import Repository, Store


class Shown(Protocol):
    """The names that are shown. Content is read from the store itself."""

    @property
    def label(self) -> str:
        """What is shown, for people; "" for the whole store."""

    def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted."""

    def tags(self, repository: Repository) -> AsyncIterator[Tag]:
        """Yield the tags of a repository. Raises: RepositoryNotFound."""

    async def resolve(self, repository: Repository, ref: Tag | Digest) -> Descriptor | None:
        """Return the descriptor of the manifest that a tag or digest names; None if there is no such manifest."""

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[Descriptor]:
        """Return the descriptors of the manifests whose subject has that digest."""


class WholeStore:
    """All images of a store, as they are now."""

    label = ""

    def __init__(self, store: Store) -> None:
        self._store = store

    def repositories(self) -> AsyncIterator[str]:
        """Yield the repositories of the store."""
        return self._store.repositories()

    def tags(self, repository: Repository) -> AsyncIterator[Tag]:
        """Yield the tags of a repository."""
        return repository.tags()

    async def resolve(self, repository: Repository, ref: Tag | Digest) -> Descriptor | None:
        """Return what a tag or digest names now."""
        return await repository.resolve(ref)

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[Descriptor]:
        """Return the referrers that the repository has."""
        return await repository.referrers(subject)


class Snapshot:
    """Exactly the given tags, each with the digest that it had, and what these images consist of.

    label: which they are, for people. tags: digests by repository and tag.
    """

    def __init__(self, store: Store, label: str, tags: Mapping[str, Mapping[Tag, Digest]]) -> None:
        self.label = label
        self._store = store
        self._tags = tags
        self._members: dict[str, frozenset[Digest]] = {}  # by repository: the manifests of its images

    async def missing(self) -> list[str]:
        """Return the images that the store does not have any more, as `repository:tag`. Raises: MirrorsyncError."""
        gone = []
        for name in sorted(self._tags):
            repository = self._store.repository(name)
            gone += [f"{name}:{tag}" for tag in sorted(self._tags[name]) if await self.resolve(repository, tag) is None]
        return gone

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the repositories that had tags."""
        for name in sorted(self._tags):
            yield name

    async def tags(self, repository: Repository) -> AsyncIterator[Tag]:
        """Yield the tags that a repository had. Raises: RepositoryNotFound."""
        if repository.name not in self._tags:
            place = Where(self._store.address, repository.name)
            raise RepositoryNotFound(f"{self.label} has no such repository").at(place)
        for tag in sorted(self._tags[repository.name]):
            yield tag

    async def resolve(self, repository: Repository, ref: Tag | Digest) -> Descriptor | None:
        """Return what a tag named then, or a manifest that is a part or a referrer of an image of then."""
        if isinstance(ref, Tag):
            digest = self._tags.get(repository.name, {}).get(ref)
            return None if digest is None else await repository.resolve(digest)
        found = await repository.resolve(ref)
        return found if found is not None and await self._belongs(repository, found) else None

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[Descriptor]:
        """Return the referrers that the repository has of an image of then."""
        found = await self.resolve(repository, subject)
        return await repository.referrers(subject) if found is not None else ()

    async def _belongs(self, repository: Repository, content: Descriptor) -> bool:
        """Return whether a manifest is a part of an image of then, or refers to one (to a signature of one, ...)."""
        seen: set[Digest] = set()
        while content.digest not in seen:
            if content.digest in await self._members_of(repository):
                return True
            seen.add(content.digest)
            subject = (await repository.manifest(content)).subject
            found = None if subject is None else await repository.resolve(subject.digest)
            if found is None:
                return False
            content = found
        return False

    async def _members_of(self, repository: Repository) -> frozenset[Digest]:
        known = self._members.get(repository.name)
        if known is None:
            roots = set(self._tags.get(repository.name, {}).values())
            known = self._members[repository.name] = frozenset(await _led_to(repository, roots))
        return known


async def _led_to(repository: Repository, roots: Iterable[Digest]) -> set[Digest]:
    """Return the digests of roots and of all manifests that they lead to. A missing or damaged one leads to nothing."""
    seen: set[Digest] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        try:
            found = await repository.resolve(digest)
            if found is not None and found.media_type in media_types.INDEXES:
                waiting += [child.digest for child in (await repository.manifest(found)).children]
        except MirrorsyncError:
            continue
    return seen
