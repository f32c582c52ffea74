"""The file of one part of a bundle: where its members are, and their bytes, read in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from mirrorsync.bundle.layout import (
    BLOCK,
    DOCUMENT_NAME,
    INDEX_NAME,
    LAYOUT_CONTENT,
    LAYOUT_NAME,
    Entry,
    Layout,
    header,
    index_json,
    layout,
    signature_name,
    span,
)
from mirrorsync.bundle.model import Bundle, Member
from mirrorsync.bundle.reading import MAX_DOCUMENT_BYTES
from mirrorsync.errors import Malformed, Mismatch, StorageError, StoreChanged
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import open_regular, regular_size, storage_error
from mirrorsync.oci.digest import Digest

# Of an SSH signature in its armor; those of RSA keys with 16 Kibit have 6 KiB.
MAX_SIGNATURE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 100
_AGAIN: Final = "check the medium, or put it back in, and run again: what is complete is not copied twice"


class ReadsAt(Protocol):
    """Bytes at offsets: of a file, or of a pipe, from which each byte can be read once, in order."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end. Raises: OSError."""

    def passed(self, offset: int) -> None:
        """Hear that no byte before `offset` is read again."""

    def close(self) -> None:
        """Release it."""


class FileReader:
    """A regular file. Several threads may read at a time. Raises: FileNotFoundError, StorageError."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes."""
        data = b""
        while len(data) < size and (more := os.pread(self._file.fileno(), size - len(data), offset + len(data))):
            data += more
        return data

    def passed(self, offset: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class PipeReader:
    """Standard input, or another stream. Only what is not passed is in memory; one thread reads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._begin = 0
        self._held = bytearray()

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes. offset: not before what is passed."""
        lacking = offset + size - self._begin - len(self._held)
        while lacking > 0 and (more := self._stream.read(min(lacking, CHUNK_BYTES))):
            self._held += more
            lacking -= len(more)
        return bytes(self._held[offset - self._begin : offset - self._begin + size])

    @property
    def position(self) -> int:
        """The offset of the first byte that is not passed."""
        return self._begin

    def passed(self, offset: int) -> None:
        """Drop the bytes before `offset`."""
        dropped = min(max(offset - self._begin, 0), len(self._held))
        del self._held[:dropped]
        self._begin += dropped

    def close(self) -> None:
        """Do nothing: the stream is the caller's."""


Opener = Callable[[Path], ReadsAt]


def why_unreadable(error: OSError | StorageError) -> str:
    """Return what is wrong without the name of the file, so that the same of several files is told once."""
    if isinstance(error, StoreChanged):
        return "it is not there any more" if isinstance(error.__cause__, FileNotFoundError) else error.message
    cause = error if isinstance(error, OSError) else error.__cause__
    return cause.strerror or str(cause) if isinstance(cause, OSError) else str(error)


def embedded_document(reader: ReadsAt, what: str) -> bytes:
    """Return the document inside a part. what: the part, for messages. Raises: Malformed, OSError."""
    start = span(LAYOUT_NAME, len(LAYOUT_CONTENT))
    block = reader.read_at(start, BLOCK)
    name, size = named(block)
    if name != DOCUMENT_NAME or size > MAX_DOCUMENT_BYTES:
        raise Malformed(
            f"{what} is not a part of a bundle", remedy="name a bundle's directory, its .json file, or one of its parts"
        )
    data = reader.read_at(start + BLOCK, size)
    if len(data) != size:
        raise Malformed(f"{what} ends inside the document")
    return data


def named(block: bytes) -> tuple[str, int]:
    """Return the name and size that a header has, ("", 0) if it is not one that parts have."""
    name = block[:100].rstrip(b"\0").decode("utf-8", "replace")
    digits = block[124:136].strip(b"\0 ")
    if not name or len(block) != BLOCK or not digits.isdigit():
        return "", 0
    try:
        size = int(digits, 8)
    except ValueError:
        return "", 0
    return (name, size) if header(name, size) == block else ("", 0)


class PartFile:
    """One part in a file, which is opened for each read; all methods block.

    bundle, document: of the bundle, and its bytes. number: of the part, from 1.
    """

    def __init__(self, path: Path, bundle: Bundle, document: bytes, number: int, opener: Opener = FileReader) -> None:
        self.path = path
        self.number = number
        self._bundle = bundle
        self._document = document
        self._opener = opener

    @property
    def name(self) -> str:
        """The name that its file should have."""
        return self._bundle.parts[self.number - 1].name

    @property
    def digest(self) -> Digest:
        """The digest of the list of its members."""
        return self._bundle.parts[self.number - 1].digest

    @property
    def members(self) -> tuple[Member, ...]:
        """Its members, as the document lists them."""
        return self._bundle.parts[self.number - 1].members

    @contextmanager
    def opened(self) -> Iterator[ReadsAt]:
        """Open the file while the block runs. Raises: StorageError; StoreChanged if the file is not there any more."""
        try:
            reader = self._opener(self.path)
        except FileNotFoundError as error:
            self.check_there()
            raise StoreChanged(f"{self.path.name} is not there any more", remedy=_AGAIN) from error
        except StorageError as error:
            self.check_there()
            raise error.with_(remedy=error.remedy or _AGAIN) from error.__cause__
        try:
            yield reader
        except OSError as error:
            self.check_there()
            failed = storage_error(error, f"reading {self.path}")
            raise failed.with_(remedy=failed.remedy or _AGAIN) from error
        finally:
            reader.close()

    def check_there(self) -> None:
        """Reject a directory that has no parts any more: the medium was pulled away. Raises: StoreChanged."""
        directory = self.path.parent
        try:
            there = any(one == self.path or one.suffix.lower() == ".tar" for one in directory.iterdir())
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreChanged(f"{directory} cannot be read any more: {why}", remedy=_AGAIN) from error
        if not there:
            raise StoreChanged(f"the parts are not in {directory} any more", remedy=_AGAIN)

    @cached_property
    def layout(self) -> Layout:
        """Where each byte should be. Raises: StorageError."""
        with self.opened() as reader:
            return self.layout_of(reader)

    def layout_of(self, reader: ReadsAt) -> Layout:
        """Return where each byte should be. reader: the open file. Raises: OSError."""
        return layout(self._bundle, self.number, self._document, self.signatures(reader))

    def signatures(self, reader: ReadsAt) -> list[bytes]:
        """Return the signatures inside the part, as far as they are found. reader: the open file. Raises: OSError."""
        return list(signatures_in(reader, self._document, len(index_json(self._bundle, self.number))))

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {entry.member.name: entry for entry in self.layout.entries}

    def has_headers(self, *, whole: bool = False) -> bool:
        """Return whether the headers of the first and the last member are those of this part. whole: all headers."""
        entries = self.layout.entries
        some = entries if whole else (entries[-len(self.members) or -1], entries[-1])
        with self.opened() as reader:
            return all(reader.read_at(entry.offset, len(entry.header)) == entry.header for entry in some)

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a member from `offset` on.

        Raises: Mismatch if its header is damaged, or the file ends before; StorageError.
        """
        entry = self._entries[name]
        with self.opened() as reader:
            head = reader.read_at(entry.offset, len(entry.header))
            if len(head) < len(entry.header):
                raise self._truncated()
            if head != entry.header:
                raise Mismatch(f"{self.path.name}: the header of {name} has other bytes than the document says")
            while offset < entry.member.size:
                chunk = reader.read_at(entry.start + offset, min(CHUNK_BYTES, entry.member.size - offset))
                if not chunk:
                    raise self._truncated()
                offset += len(chunk)
                yield chunk

    def _truncated(self) -> Mismatch:
        size = regular_size(self.path) or 0
        error = Mismatch(f"{self.path.name} is truncated: it has {size} of {self.layout.size} bytes")
        again = "`mirrorsync bundle create --only-parts N`"
        return error.with_(remedy=f"copy the file again, or have the part written again with {again}")


def signatures_in(reader: ReadsAt, document: bytes, index_size: int) -> Iterator[bytes]:
    """Yield the signatures between the document and index.json, in order. Raises: OSError.

    A damaged header of a signature ends them, unless index.json is found behind it: then its content is yielded as the
    layout of an undamaged part would have it, so that all members after it are found at their places.
    """
    offset = span(LAYOUT_NAME, len(LAYOUT_CONTENT)) + span(DOCUMENT_NAME, len(document))
    index = header(INDEX_NAME, index_size)
    for number in range(1, MAX_SIGNATURES + 1):
        block = reader.read_at(offset, BLOCK)
        name, size = named(block)
        if block == index:
            return
        if name != signature_name(number) or size > MAX_SIGNATURE_BYTES:
            size = _until(reader, offset, index)
            if size < 0:
                return  # the header of index.json is damaged, or all of the head
        yield reader.read_at(offset + BLOCK, size)
        offset += span(signature_name(number), size)


def _until(reader: ReadsAt, offset: int, index: bytes) -> int:
    """Return how many bytes the content has whose header is at `offset`, by where index.json is; -1 if unknown."""
    ahead = reader.read_at(offset, MAX_SIGNATURE_BYTES)
    found = next((at for at in range(BLOCK, len(ahead), BLOCK) if ahead[at : at + BLOCK] == index), -1)
    return found - BLOCK if found > 0 else -1
