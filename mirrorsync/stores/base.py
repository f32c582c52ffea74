"""The protocols of stores and repositories, which the engine is written against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from mirrorsync.hosts import Pulls
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, Outline
from mirrorsync.oci.ref import Pick, Ref, Tag


class Repository(Protocol):
    """One named set of blobs and manifests with tags, for reading.

    Every failure of network, disk or registry is raised as a MirrorsyncError: Unreachable, Unauthorized, Denied,
    IntegrityError and so on, with store and repository filled in. Small requests are async, and thousands of them run
    on one event loop; `open` (and `put`, below) block, and are for worker threads.
    """

    @property
    def name(self) -> str:
        """The name of the repository inside its store."""

    async def resolve(self, ref: Ref) -> Descriptor | None:
        """Return the descriptor of the manifest that a tag or digest names; None if there is no such manifest.

        None also if the repository does not exist. A pick finds an image without a name, in the repository "" of stores
        that can have such images. Raises: UsageError if the only image is asked for and there are several.
        """

    def tags(self) -> AsyncIterator[Tag]:
        """Yield every tag, each once and each valid by the grammar. Raises: RepositoryNotFound."""

    async def has(self, blob: Descriptor) -> bool:
        """Return whether this repository has the blob (a config or layer; for a manifest call `resolve`)."""

    async def blob(self, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a blob by its digest, None if there is none.

        Its media type is that of any bytes: repositories do not know the types of their blobs.
        """

    async def manifest(self, content: Descriptor) -> Manifest:
        """Return a manifest, whole and verified. Raises: ContentNotFound, IntegrityError."""

    async def referrers(self, subject: Digest) -> Sequence[Descriptor]:
        """Return the descriptors of the manifests whose subject has that digest."""

    async def read(self, blob: Descriptor) -> bytes:
        """Return a small blob, whole and verified. Raises: ContentNotFound, IntegrityError."""

    def open(self, blob: Descriptor, offset: int = 0) -> AbstractContextManager[Iterator[bytes]]:
        """Read a blob's bytes from `offset` on, in chunks of about CHUNK_BYTES. Blocking; the reader verifies.

        A broken connection is resumed if the store supports that; no byte is yielded twice or out of order. Raises:
        ContentNotFound, on entry.
        """


class WritableRepository(Repository, Protocol):
    """A repository that can be written. Content is verified before it becomes visible under its digest."""

    async def mount(self, blob: Descriptor, origin: str) -> bool:
        """Add a blob of repository `origin` of the same store to this one. False = it was not mounted: copy it."""

    async def write(self, blob: Descriptor, data: bytes) -> None:
        """Store a small blob. Raises: IntegrityError if the data does not match the descriptor."""

    def put(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store a blob from its chunks, in order, each taken once. Blocking.

        An exception of `chunks` passes through, and no content becomes visible. Raises: IntegrityError.
        """

    async def put_manifest(self, manifest: Manifest) -> None:
        """Store a manifest under its digest, without a tag. Its blobs and children must have been stored before."""

    async def tag(self, manifest: Manifest, tag: Tag) -> None:
        """Store a manifest and set `tag` to it, atomically."""

    async def delete(self, ref: Tag | Digest) -> None:
        """Delete a tag (and nothing else), or a manifest by digest together with its tags.

        Raises: ContentNotFound; Denied or RegistryFailure if the store does not support it.
        """


@runtime_checkable
class Confirming(Protocol):
    """A repository whose answers can be wrong and can be verified: that of a registry; files need no such check.

    Some registries answer 404 to a HEAD for content that they have, and 201 to a write that they did not store.
    """

    async def confirm(self, ref: Ref) -> Descriptor | None:
        """Ask again, and more thoroughly, for a ref that `resolve` did not find. None = it is really missing."""

    async def kept(self, content: Descriptor) -> bool:
        """Return whether a blob or manifest that was just written is stored with all its bytes."""


@runtime_checkable
class LogsIn(Protocol):
    """A repository that is read with an account, or without one: that of a registry."""

    def login(self) -> str | None:
        """Return a name for the account that it was read with, "" without one; to be compared with that of other runs.

        None if it was not read, or if the login itself is rejected.
        """


@runtime_checkable
class Converting(Protocol):
    """A repository that stores an image's config and layers, but not its manifest: docker's archives and daemons."""

    async def holds_image(self, ref: Tag | Digest, image: Manifest) -> bool:
        """Return whether a tag has the config of `image`, a manifest of a source. Raises: Denied if it is an index."""


@runtime_checkable
class ReadsBack(Protocol):
    """A repository on this machine, whose content is read where it is stored to verify it. A registry is not one:
    reading its content is a pull.
    """

    def prove(self, content: Descriptor, watch: Callable[[int], object]) -> None:
        """Read a blob or manifest as it is stored, and compare it with its descriptor. Blocking.

        watch: is called with the number of bytes that were read, in chunks, and may raise. Raises: ContentNotFound,
        Mismatch, StorageError.
        """


@runtime_checkable
class Unpacked(Protocol):
    """A repository that stores images without manifests, with uncompressed layers: docker's archives and daemons."""

    async def unpacked(self, ref: Ref) -> Outline | None:
        """Return an image as it is stored: its config, and as blobs its layers by diff_id; None if it is missing.

        Sizes are those of the stored bytes, which can be compressed. Raises: IntegrityError if the image is damaged.
        """


class Store(Protocol):
    """A set of repositories at one address."""

    @property
    def address(self) -> str:
        """The canonical address, as in `Location.store`."""

    @property
    def shares_blobs(self) -> bool:
        """Whether all repositories of the store share their blobs, so that no mount is needed."""

    def repository(self, name: str) -> WritableRepository:
        """Return the repository of that name, whether it exists yet or not. No I/O."""

    def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted. Raises: Denied, RegistryFailure if it does not list them."""

    def lock(self) -> None:
        """Prepare for writing: create the store if it does not exist, and lock it against other runs until `close`.

        A registry does nothing: it coordinates its writers itself. Raises: Locked, StorageError.
        """

    async def flush(self) -> None:
        """Make everything written so far durable and visible to others, if the store defers that."""

    async def close(self) -> None:
        """Flush, and release connections, files and locks."""


@runtime_checkable
class ReadOnly(Protocol):
    """A store that cannot be written; its `lock` raises Denied."""

    @property
    def read_only(self) -> str:
        """Why it cannot be written, for a message."""


@runtime_checkable
class OpensDestinations(Protocol):
    """A store that must know which repositories are written: a registry grants rights by the requested scope."""

    def destination(self, name: str) -> WritableRepository:
        """Return the repository of that name, for writing, whether it exists yet or not. No I/O."""


class Unnamed(NamedTuple):
    """An image without a name. ref: a pick in a docker archive, a digest in a layout.

    written: what is in the place of its name, "" if that is nothing: `1.0+build5` is not a tag.
    """

    ref: Digest | Pick
    written: str = ""


@runtime_checkable
class HoldsUnnamed(Protocol):
    """A store that can have images without a name."""

    async def unnamed(self) -> Sequence[Unnamed]:
        """Return its images without a name."""


@runtime_checkable
class Deferring(Protocol):
    """A store that writes the names of images at a flush, and not when a tag is set."""

    def is_published(self, repository: str, tag: Tag) -> bool:
        """Return whether a tag that was set is durable and visible to others."""

    async def flush_if_due(self) -> None:
        """Flush, if the last flush is so long ago that another one costs little; never if it can only be done once."""


@runtime_checkable
class Untags(Protocol):
    """A repository that sweeps manifests without a name, and can keep one whose tag is removed."""

    async def untag(self, tag: Tag) -> None:
        """Remove a tag; its manifest stays under its digest. Raises: ContentNotFound."""


@runtime_checkable
class ListsRoots(Protocol):
    """A store that names the root of every image in one file, so that an image is known whose manifest is missing."""

    async def roots(self) -> Mapping[tuple[str, Ref], Descriptor]:
        """Return the root of every image, by repository and name; by digest if it has no name.

        Manifests that another root leads to are left out, if they have no name of their own.
        """


@runtime_checkable
class KnowsSparse(Protocol):
    """A store that knows which of its indexes lack images, because it is a description of another one."""

    def sparse(self, repository: str) -> Collection[Digest]:
        """Return the digests of the indexes of a repository that lack images."""


@runtime_checkable
class Sweeping(Protocol):
    """A store that keeps unreferenced content until `drop_unreferenced` is called. Registries collect it themselves."""

    async def drop_unreferenced(self) -> tuple[int, int]:
        """Remove all content that no entry references. Return the number of blobs, and their bytes."""


@runtime_checkable
class Metered(Protocol):
    """A store that counts pulls, and may limit them: a registry."""

    @property
    def pulls(self) -> Pulls:
        """The pulls of this run, and what the registry said last about its limit."""


@runtime_checkable
class LimitsWrites(Protocol):
    """A store that takes only some blobs at a time, and lets the writers of others wait: a registry."""

    @property
    def writes_at_once(self) -> int:
        """How many blobs are written at a time, 1 or more."""


@runtime_checkable
class Combined(Protocol):
    """A repository whose content is in several others."""

    async def holder(self, blob: Digest) -> Repository | None:
        """Return the repository that has a blob."""


@runtime_checkable
class Stages(Protocol):
    """A repository that takes blobs before it is known whether they will be needed. Methods block."""

    def stage(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write a blob from its chunks, in order, each taken once, where nothing finds it until `publish`.

        What is not published is removed when the store is closed. An exception of `chunks` passes through, and nothing
        is staged. Raises: IntegrityError.
        """

    def publish(self, blob: Descriptor) -> bool:
        """Store a blob that was staged; return whether it was."""


@runtime_checkable
class BlobFiles(Protocol):
    """A repository whose blobs are files of their own: a server can send them, and move uploads in."""

    def open_file(self, blob: Descriptor) -> BinaryIO:
        """Open a blob's file for reading. Raises: ContentNotFound."""

    def adopt(self, blob: Descriptor, path: Path) -> None:
        """Make the file at `path` (same file system, verified by the caller) the blob, durably.

        The file is moved, or after an error removed.
        """

    @property
    def incoming(self) -> Path:
        """A directory on the same file system, for files to be adopted."""
