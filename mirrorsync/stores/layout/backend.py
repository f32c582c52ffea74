"""The protocol of a layout's files: the backend of a layout store, a directory or an archive."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Set
from typing import NamedTuple, Protocol

from mirrorsync.files.disk import Readable
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest


class Dropped(NamedTuple):
    """The number of removed blobs, and their bytes."""

    blobs: int
    size: int

    def plus(self, other: Dropped) -> Dropped:
        """Return the sum."""
        return Dropped(self.blobs + other.blobs, self.size + other.size)


NOTHING = Dropped(0, 0)


class IndexChanged(Exception):
    """Another program wrote index.json while it was being replaced: its version has to be merged first.

    replaced: its version, if ours has just replaced it; None if it was not replaced. signature: of ours.
    """

    def __init__(self, replaced: bytes | None = None, signature: Hashable | None = None) -> None:
        super().__init__("index.json was written by another program")
        self.replaced = replaced
        self.signature = signature


class Written(NamedTuple):
    """The result of replacing index.json: its signature, and how much content was left out."""

    signature: Hashable | None
    dropped: Dropped = NOTHING


class LayoutBackend(Protocol):
    """The files of one layout. Methods block, may be called from several threads, and raise StorageError.

    address: as in `Location.store`. index_path: the path of index.json, for messages. flush_seconds: how often
    index.json is written during a run.
    """

    address: str
    index_path: str
    flush_seconds: float

    def exists(self) -> bool:
        """Return whether there is a layout; False if the path is absent or empty. Raises: StorageError otherwise."""

    def lacks_version(self) -> bool:
        """Return whether there is a layout without its oci-layout file, which is read and not written."""

    def check_writable(self) -> None:
        """Raise StorageError if the path can never be written, whatever its content. Nothing is read."""

    def lock(self) -> None:
        """Create the layout if it does not exist, and lock it against other runs until `close`. Raises: Locked."""

    def holds(self, content: Descriptor) -> bool:
        """Return whether the layout has the content, by name and size."""

    def size(self, digest: Digest) -> int | None:
        """Return the size of content in bytes, None if it is missing."""

    def reject_link(self, digest: Digest) -> None:
        """Raise StorageError if content is a symbolic link, and is therefore not read."""

    def open(self, content: Descriptor, offset: int = 0) -> Readable:
        """Open content for reading from `offset` on. Raises: ContentNotFound."""

    def store(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write content that is verified by its chunks (VerifiedChunks); after an error no content is left."""

    def read_index(self) -> bytes | None:
        """Return the bytes of index.json, None if there is no such file."""

    def write_index(self, data: bytes, keep: Callable[[], Set[Digest] | None], based_on: Hashable | None) -> Written:
        """Replace index.json, after all content that it names is durable.

        keep: returns the content that must stay, None for all of it; an archive, which is rewritten, leaves out the
        rest. based_on: the signature of the index.json that the data is based on. Raises: IndexChanged.
        """

    def index_signature(self) -> Hashable | None:
        """Return a signature that changes whenever index.json is written, None if there is no such file."""

    def drop(self, keep: Set[Digest]) -> Dropped:
        """Remove the content that is not in `keep`. Only the holder of the lock may."""

    def close(self) -> None:
        """Release files and the lock. Content that was stored since the last `write_index` may be lost."""
