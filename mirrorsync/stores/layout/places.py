"""Where the files of a layout are: what a store needs of a directory or an archive that holds one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Set
from typing import NamedTuple, Protocol

from mirrorsync.files.disk import Readable
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest


class Dropped(NamedTuple):
    """How much was removed: blobs, and their bytes."""

    blobs: int
    size: int

    def plus(self, other: Dropped) -> Dropped:
        """Return both together."""
        return Dropped(self.blobs + other.blobs, self.size + other.size)


NOTHING = Dropped(0, 0)


class IndexChanged(Exception):
    """Another program wrote index.json while it was being replaced: what it wrote is to be taken up first.

    replaced: what it wrote, when ours has just taken its place; None when nothing was replaced. signature: of ours.
    """

    def __init__(self, replaced: bytes | None = None, signature: Hashable | None = None) -> None:
        super().__init__("index.json was written by another program")
        self.replaced = replaced
        self.signature = signature


class Written(NamedTuple):
    """That index.json was replaced: its signature, and what was left behind."""

    signature: Hashable | None
    dropped: Dropped = NOTHING


class LayoutPlace(Protocol):
    """The files of one layout. Methods block, may be called from several threads, and raise StorageError.

    address: as `Location.store` has it. index_place: where index.json is, for messages. flush_seconds: how often
    index.json may be written while a run goes on.
    """

    address: str
    index_place: str
    flush_seconds: float

    def exists(self) -> bool:
        """Tell whether there is a layout; False when nothing is there. Raises: StorageError for something else."""

    def lock(self) -> None:
        """Make the layout where there is none, and keep other runs from writing to it until `close`. Raises: Locked."""

    def holds(self, content: Descriptor) -> bool:
        """Tell whether the content is there, by name and size."""

    def size(self, digest: Digest) -> int | None:
        """Return the size of content in bytes, None when it is not there."""

    def open(self, content: Descriptor, offset: int = 0) -> Readable:
        """Open content for reading from `offset` on. Raises: ContentNotFound."""

    def store(self, content: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write content that is verified by its chunks (VerifiedChunks); an error leaves nothing behind."""

    def read_index(self) -> bytes | None:
        """Return the bytes of index.json, None when there is none."""

    def write_index(self, data: bytes, keep: Callable[[], Set[Digest] | None], based_on: Hashable | None) -> Written:
        """Replace index.json, after everything that it names is durable.

        keep: tells what must stay, None for all of it. A place that is written as a whole leaves out the rest.
        based_on: the signature of the index.json that the data was made from. Raises: IndexChanged.
        """

    def index_signature(self) -> Hashable | None:
        """Return what changes whenever somebody writes index.json, None when there is none."""

    def drop(self, keep: Set[Digest]) -> Dropped:
        """Remove the content that is not in `keep`. Only the holder of the lock may."""

    def close(self) -> None:
        """Give back files and the lock. What was stored since the last `write_index` may be gone."""
