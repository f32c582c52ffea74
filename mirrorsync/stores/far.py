"""The far side of an air gap as a store: it answers from what is known of it, and cannot be read or written.

A plan with it as the destination holds what the far side lacks. Its repositories share their blobs, as those of the
bundle do: what one of them has is mounted, or read, there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager

from mirrorsync.bundle.held import Held
from mirrorsync.errors import ContentNotFound, RepositoryNotFound, StorageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Pick, Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.stores.base import Store, WritableRepository
from mirrorsync.stores.unwritable import Unwritable


class FarStore:
    """The store of a destination that cannot be reached. prefix: of the names of its repositories, "" for none.

    held: what it has. near: opens the store at the same address as a source, for repositories without the prefix.
    """

    shares_blobs = True

    def __init__(self, destination: Location, held: Held, near: Callable[[], Store]) -> None:
        self.address = destination.store
        self._prefix = f"{destination.repository}/" if destination.repository else ""
        self._held = held
        self._near = near
        self._opened: Store | None = None

    def name_of(self, repository: str) -> str:
        """Return the name of a repository without the destination's prefix."""
        return repository.removeprefix(self._prefix)

    def repository(self, name: str) -> WritableRepository:
        """Return the repository of that name: of the far side, or if it has another prefix, of the source."""
        if name.startswith(self._prefix):
            return FarRepository(self._held, Location(self.address, name), self.name_of(name))
        if self._opened is None:
            self._opened = self._near()
        return self._opened.repository(name)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories that it has."""
        for name in sorted(self._held.repositories):
            yield f"{self._prefix}{name}"

    def sparse(self, repository: str) -> Collection[Digest]:
        """Return the digests of the indexes of a repository that lack images there."""
        held = self._held.repositories.get(self.name_of(repository))
        return held.sparse if held is not None and repository.startswith(self._prefix) else ()

    def lock(self) -> None:
        """Do nothing: nothing is written."""

    async def flush(self) -> None:
        """Do nothing: nothing is written."""

    async def close(self) -> None:
        """Close the source's store, if it was opened."""
        if self._opened is not None:
            await self._opened.close()


class FarRepository(Unwritable):
    """A repository of a FarStore. name: without the destination's prefix."""

    def __init__(self, held: Held, location: Location, name: str) -> None:
        self.name = location.repository
        self._location = location
        self._all = held
        self._held = held.repositories.get(name)

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the descriptor that a tag or digest names, None if it is not known."""
        if self._held is None or isinstance(ref, Pick):
            return None
        digest = self._held.tags.get(ref) if isinstance(ref, Tag) else ref
        return self._held.manifests.get(digest) if digest is not None else None

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, sorted. Raises: RepositoryNotFound."""
        if self._held is None:
            raise RepositoryNotFound("the far side is not known to have it", place=self._location.at())
        for tag in sorted(self._held.tags):
            yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Return whether any repository of the far side has the blob."""
        return blob.digest in self._all.index()

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a blob of this repository, None if it is not known."""
        return self._held.blobs.get(digest) if self._held else None

    async def manifest(self, content: Descriptor) -> Manifest:
        """Raise ContentNotFound: only the digests of the far side are known."""
        raise ContentNotFound("the far side cannot be read", place=self._location.at(content.digest))

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:  # noqa: ARG002 - lists are not known
        """Return nothing: lists of referrers are not known."""
        return ()

    async def read(self, blob: Descriptor) -> bytes:
        """Raise ContentNotFound."""
        raise ContentNotFound("the far side cannot be read", place=self._location.at(blob.digest))

    def open(self, blob: Descriptor, offset: int = 0) -> AbstractContextManager[Iterator[bytes]]:  # noqa: ARG002
        """Raise ContentNotFound."""
        raise ContentNotFound("the far side cannot be read", place=self._location.at(blob.digest))

    def refusal(self) -> StorageError:
        """Return the error for whatever is to be written."""
        return StorageError("the far side cannot be written; a bundle is imported there", place=self._location.at())
