"""Several stores as one, for reading: their repositories under one namespace, or each store's under a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from mirrorsync.errors import ContentNotFound, Denied, RepositoryNotFound
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.stores.base import Repository, Store
from mirrorsync.stores.unwritable import Unwritable


@dataclass(frozen=True, slots=True)
class Part:
    """One of the stores. prefix: what the names of its repositories begin with, followed by a slash; "" for nothing."""

    store: Store
    prefix: str = ""

    def inside(self, name: str) -> str | None:
        """Return the name that a repository has in this store, None if it has another prefix."""
        if not self.prefix:
            return name
        inside = name.removeprefix(f"{self.prefix}/")
        return inside if inside and inside != name else None

    def outside(self, name: str) -> str:
        """Return the name under which a repository of this store is shown."""
        return f"{self.prefix}/{name}" if self.prefix and name else name


@dataclass(frozen=True, slots=True)
class Hidden:
    """An image that is not shown, because an earlier store has another one of its name."""

    name: str
    store: str
    shown: str


class UnitedStore:
    """Several stores as one. If two have the same name for different images, the first store counts.

    It cannot be written (`stores.base.ReadOnly`): a client that is told that a blob is present would not upload it, and
    the image in the store that is written would lack it.
    """

    shares_blobs = False
    read_only = "several stores are served as one"

    def __init__(self, parts: Sequence[Part]) -> None:
        self.address = ", ".join(part.store.address for part in parts)
        self._parts = parts

    def repository(self, name: str) -> UnitedRepository:
        """Return the repository of that name."""
        found = [(part, inside) for part in self._parts if (inside := part.inside(name)) is not None]
        return UnitedRepository(name, [part.store.repository(inside) for part, inside in found])

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted."""
        for name in sorted({part.outside(name) for part in self._parts async for name in part.store.repositories()}):
            yield name

    async def hidden(self) -> list[Hidden]:
        """Return the images that are not shown, sorted by name."""
        found = []
        async for name in self.repositories():
            shown: dict[Tag, tuple[Descriptor | None, str]] = {}
            for part in self._parts:
                inside = part.inside(name)
                if inside is None:
                    continue
                one = part.store.repository(inside)
                for tag in await _tags(one):
                    content = await one.resolve(tag)
                    first, store = shown.setdefault(tag, (content, part.store.address))
                    if first is not None and content is not None and first.digest != content.digest:
                        found.append(Hidden(f"{name}:{tag}", part.store.address, store))
        return found

    def lock(self) -> None:
        """Raise Denied."""
        raise _unwritable()

    async def flush(self) -> None:
        """Do nothing: nothing was written."""

    async def close(self) -> None:
        """Close all stores."""
        for part in self._parts:
            await part.store.close()


class UnitedRepository(Unwritable):
    """The repositories of one name in several stores (`stores.base.Combined`), the first of which counts."""

    def __init__(self, name: str, ones: Sequence[Repository]) -> None:
        self.name = name
        self._ones = ones

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return what the first store that has the tag or digest names with it."""
        for one in self._ones:
            found = await one.resolve(ref)
            if found is not None:
                return found
        return None

    async def tags(self) -> AsyncIterator[Tag]:
        """Yield the tags of all stores. Raises: RepositoryNotFound if no store has the repository."""
        tags: set[Tag] = set()
        missing: RepositoryNotFound | None = None
        known = False
        for one in self._ones:
            try:
                tags.update([tag async for tag in one.tags()])
                known = True
            except RepositoryNotFound as error:
                missing = missing or error
        if not known:
            raise missing or RepositoryNotFound("no store has a repository of this prefix")
        for tag in sorted(tags):
            yield tag

    async def has(self, blob: Descriptor) -> bool:
        """Return whether one of the stores has the blob."""
        for one in self._ones:
            if await one.has(blob):
                return True
        return False

    async def holder(self, blob: Digest) -> Repository | None:
        """Return the repository of the first store that has the blob."""
        for one in self._ones:
            if await one.blob(blob) is not None:
                return one
        return None

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a blob that one of the stores has."""
        one = await self.holder(digest)
        return None if one is None else await one.blob(digest)

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest of the first store that has it. Raises: ContentNotFound, IntegrityError."""
        for one in self._ones:
            if await one.resolve(content.digest) is not None:
                return await one.manifest(content)
        raise ContentNotFound("no store has such a manifest")

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the referrers that the stores have, each once."""
        found: dict[Digest, Descriptor] = {}
        for one in self._ones:
            for referrer in await one.referrers(subject):
                found.setdefault(referrer.digest, referrer)
        return list(found.values())

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob. Raises: ContentNotFound, IntegrityError."""
        one = await self.holder(blob.digest)
        if one is None:
            raise ContentNotFound("no store has such a blob")
        return await one.read(blob)

    @contextmanager
    def open(self, blob: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Read a blob of the first store that has it. Raises: ContentNotFound."""
        with ExitStack() as stack:
            for one in self._ones:
                with suppress(ContentNotFound):
                    chunks = stack.enter_context(one.open(blob, offset))
                    break
            else:
                raise ContentNotFound("no store has such a blob")
            yield chunks

    def refusal(self) -> Denied:
        """Return the error for whatever is to be written."""
        return _unwritable()


async def _tags(repository: Repository) -> list[Tag]:
    try:
        return [tag async for tag in repository.tags()]
    except RepositoryNotFound:
        return []


def _unwritable() -> Denied:
    return Denied("several stores as one cannot be written", remedy="name the one store that is to be written")
