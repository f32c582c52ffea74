"""What a store is: the protocols that every place of images speaks, and that the engine is written against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Pick, Ref, Tag


class Repository(Protocol):
    """One named set of blobs and manifests with tags, to be asked and read.

    Every method raises a MirrorsyncError and nothing else for what the world does wrong: Unreachable, Unauthorized,
    Denied, IntegrityError and so on, with store and repository filled in. Questions are async and run in thousands on
    one event loop; `open` (and `put`, below) block, and are for worker threads.
    """

    @property
    def name(self) -> str:
        """The name of the repository inside its store."""

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return what a tag or a manifest's digest names: media type, digest, size in bytes. None = it is not there.

        That the whole repository is not there is also None. A pick finds what has no name, in the repository "" of
        stores that can hold such images. Raises: UsageError when the only image is asked for and there are several.
        """

    def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, each once and each valid by the grammar. Raises: RepositoryNotFound."""

    async def has(self, blob: Descriptor) -> bool:
        """Tell whether this repository holds the blob (config or layer; for a manifest ask `resolve`)."""

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a blob of which only the digest is known, None when it is not there.

        Its media type is that of any bytes: repositories do not know what their blobs are.
        """

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest, whole and verified. Raises: ContentNotFound, IntegrityError."""

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject has that digest; empty when there are none."""

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob, whole and verified. Raises: ContentNotFound, IntegrityError."""

    def open(self, blob: Descriptor, offset: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        """Read a blob's bytes from `offset` on, in chunks of about CHUNK_BYTES. Blocking; the reader verifies.

        A read that breaks off is resumed inside as far as the store can; it never yields a byte twice or out of order.
        Raises: ContentNotFound, when entered.
        """


class WritableRepository(Repository, Protocol):
    """A repository that can be written. Content is verified before it becomes visible under its digest."""

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        """Make a blob of repository `origin` of the same store part of this one. False = not done, please copy."""

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError when the data is not what the descriptor says."""

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks, in order, each taken once. Blocking.

        An exception out of `chunks` passes through, and nothing stays visible. Raises: IntegrityError.
        """

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under its digest, without a tag. What it names must be there before."""

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Store a manifest and let `tag` name it from now on, in one step."""

    async def delete(self, ref: Tag | Digest) -> None:
        """Remove a tag (and nothing else), or a manifest by digest together with its tags.

        Raises: ContentNotFound; Denied or RegistryFailure where the store does not delete.
        """


@runtime_checkable
class Confirming(Protocol):
    """A repository whose answers can be wrong, and that can be asked again: a registry's. Files need no such question.

    Registries answer 404 to a HEAD for what they have, and 201 to a write that they have not made.
    """

    async def confirm(self, ref: Ref) -> Descriptor | None:
        """Ask once more, and more thoroughly, for what `resolve` has not found. None = it is not there indeed."""

    async def kept(self, content: Descriptor) -> bool:
        """Tell whether a blob or manifest that was just written is there, with all its bytes."""


@runtime_checkable
class Converting(Protocol):
    """A repository that keeps an image's config and layers, and not its manifest: docker's archives and daemons."""

    async def holds_image(self, ref: Tag | Digest, image: Manifest) -> bool:
        """Tell whether a tag has the config of `image`, a manifest of a source. Raises: Denied when it is an index."""


class Store(Protocol):
    """A place that holds repositories."""

    @property
    def address(self) -> str:
        """The canonical address, as `Location.store` has it."""

    @property
    def shares_blobs(self) -> bool:
        """True when all repositories of the store hold the same blobs, so that nothing needs to be mounted."""

    def repository(self, name: str) -> WritableRepository:
        """Return the repository of that name, whether it exists yet or not. No I/O."""

    def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted. Raises: Denied, RegistryFailure where it does not tell."""

    def lock(self) -> None:
        """Get ready to write: make the place where there is none, and keep other runs out until `close`.

        A registry sorts its writers out itself, and does nothing. Raises: Locked, StorageError.
        """

    async def flush(self) -> None:
        """Make what was written so far durable and visible to others, where the store defers that."""

    async def close(self) -> None:
        """Flush, and give back connections, files and locks."""


@runtime_checkable
class OpensDestinations(Protocol):
    """A store that has to know which repositories will be written: a registry grants rights by the scope asked for."""

    def destination(self, name: str) -> WritableRepository:
        """Return the repository of that name, to be written, whether it exists yet or not. No I/O."""


@runtime_checkable
class HoldsUnnamed(Protocol):
    """A store that can hold images without a name."""

    async def unnamed(self) -> Sequence[Digest | Pick]:
        """Return how its images without a name are found: picks in a docker archive, digests in a layout."""


@runtime_checkable
class Sweeping(Protocol):
    """A store that keeps what nothing names any more, until it is told to drop it. Registries do that by themselves."""

    async def drop_unreferenced(self) -> tuple[int, int]:
        """Remove all content that no entry leads to. Returns how many blobs, and how many bytes they had."""


@runtime_checkable
class BlobFiles(Protocol):
    """A repository whose blobs are files of their own: a server can send them with sendfile, and move uploads in."""

    def open_file(self, blob: Descriptor) -> BinaryIO:
        """Open a blob's file for reading. Raises: ContentNotFound."""

    def adopt(self, blob: Descriptor, path: Path) -> None:
        """Make the file at `path` (same file system, already verified by the caller) the blob, durably; it is moved."""

    @property
    def incoming(self) -> Path:
        """A directory on the same file system, for files that are to be adopted."""
