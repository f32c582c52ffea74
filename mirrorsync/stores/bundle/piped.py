"""A part of a bundle that comes from a pipe: its document and manifests are kept, its blobs go by once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mirrorsync.bundle.findings import Damage, Finding
from mirrorsync.bundle.layout import Entry, Layout, layout
from mirrorsync.bundle.model import Bundle, blob_name
from mirrorsync.bundle.reading import parse
from mirrorsync.errors import IntegrityError, Malformed, MirrorsyncError, Mismatch, StorageError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import translated
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES
from mirrorsync.stores.bundle.found import Found
from mirrorsync.stores.bundle.part import PartFile, PipeReader, ReadsAt, embedded_document, signatures_in

NAME = "standard input"
# Of manifests and files of the site that are kept in memory: those of 100,000 images are less.
_MOST_KEPT: Final = 1024 * 1024 * 1024


class PipedPart(PartFile):
    """A part from a pipe. `keep` reads what is before its blobs; then each blob is read once, in order, or skipped.

    flows: whether blobs may be read. ended: the error of a pipe that has ended too early, None as long as it has not.
    """

    def __init__(self, reader: PipeReader, bundle: Bundle, document: bytes, places: Layout, number: int) -> None:
        super().__init__(Path(NAME), bundle, document, number)
        self._reader = reader
        self._places = places
        self._kept: dict[str, bytes] = {}
        self._next = 0
        self.flows = False  # until the import is planned: what a plan reads ahead would be missing later
        self._errors: dict[str, MirrorsyncError] = {}
        self.ended: Mismatch | None = None
        self.blobs: list[Entry] = []

    @contextmanager
    def opened(self) -> Iterator[ReadsAt]:
        """Return the pipe."""
        with translated(f"reading {NAME}"):
            yield self._reader

    def check_there(self) -> None:
        """Do nothing: a pipe has no directory."""

    @property
    def layout(self) -> Layout:
        """Where each byte should be."""
        return self._places

    def layout_of(self, reader: ReadsAt) -> Layout:  # noqa: ARG002 - the head was read already
        """Return where each byte should be."""
        return self._places

    def keep(self, manifests: frozenset[str]) -> None:
        """Read all members before the first blob. manifests: the names of those to keep, with the files of the site.

        Raises: Mismatch, Malformed, StorageError.
        """
        left = _MOST_KEPT
        for entry in self._places.entries:
            name = entry.member.name
            if entry.data is None and name not in manifests and not name.startswith("site/"):
                self.blobs.append(entry)
                continue
            if name in manifests and entry.member.size > MAX_MANIFEST_BYTES:
                raise Malformed(f"{NAME}: {name} is larger than a manifest may be")
            content = b"".join(self._through(entry))
            if not entry.member.digest.matches(content):
                raise Mismatch(f"{NAME}: {name} does not match its digest {entry.member.digest}")
            if name in manifests or entry.member.size <= MAX_MANIFEST_BYTES:
                self._kept[name] = content
                left -= len(content)
            if left < 0:
                raise Malformed(
                    f"{NAME} has more than {_MOST_KEPT} bytes of manifests", remedy="apply the part from a file"
                )

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a manifest, or of the blob that is next in the pipe. Raises: StorageError for others."""
        if name in self._kept:
            yield self._kept[name][offset:]
            return
        coming = self.blobs[self._next : self._next + 1] if self.flows else []
        entry = next((one for one in coming if one.member.name == name), None)
        if entry is None or offset:
            raise self._errors.get(name) or StorageError(
                f"{name} is not what comes next in the pipe", remedy="send the part again"
            )
        self._next += 1
        hasher, left = entry.member.digest.hasher(), entry.member.size
        try:
            for chunk in self._through(entry):
                hasher.update(chunk)
                left -= len(chunk)
                if not left and hasher.hexdigest() != entry.member.digest.encoded:
                    raise Mismatch(f"{NAME}: {name} does not match its digest {entry.member.digest}")
                yield chunk
        except IntegrityError as error:
            self._errors[name] = error  # of every later attempt, too: nothing in a pipe can be read again
            raise

    def skip(self, entry: Entry) -> None:
        """Read on to the end of a blob, whether any of it was read or not. Raises: Mismatch if the pipe ends before."""
        with translated(f"reading {NAME}"):
            while (left := entry.end - self._reader.position) > 0:
                if not self._reader.read_at(self._reader.position, min(left, CHUNK_BYTES)):
                    raise self._end(self._reader.position)
                self._reader.passed(min(entry.end, self._reader.position + CHUNK_BYTES))
        self._next = max(self._next, self.blobs.index(entry) + 1)

    def _through(self, entry: Entry) -> Iterator[bytes]:
        with translated(f"reading {NAME}"):
            head = self._reader.read_at(entry.offset, len(entry.header))
            if len(head) < len(entry.header):
                raise self._end(entry.offset + len(head))
            if head != entry.header:
                raise Mismatch(f"{NAME}: the header of {entry.member.name} has other bytes than the document says")
            position, stop = entry.start, entry.start + entry.member.size
            while position < stop:
                chunk = self._reader.read_at(position, min(CHUNK_BYTES, stop - position))
                if not chunk:
                    raise self._end(position)
                position += len(chunk)
                self._reader.passed(position)
                yield chunk
            if self._reader.read_at(stop, entry.end - stop).strip(b"\0"):
                raise Mismatch(f"{NAME}: {entry.member.name} has other bytes after it than the document says")
            self._reader.passed(entry.end)

    def _end(self, size: int) -> Mismatch:
        ended = Mismatch(f"{NAME} ends after {size} of {self._places.size} bytes")
        self.ended = ended.with_(remedy="send the part again")
        return self.ended


def piped_bundle(stream: BinaryIO) -> tuple[Found, PipedPart]:
    """Return the bundle of which one part comes from a stream, and that part. Blocking: its document is read.

    Raises: Malformed, StorageError.
    """
    reader = PipeReader(stream)
    with translated(f"reading {NAME}"):
        document = embedded_document(reader, NAME)
        bundle = parse(document, f"the document from {NAME}")
        number, places = _recognised(reader, bundle, document)
    part = PipedPart(reader, bundle, document, places, number)
    missing = [
        Finding(Damage.MISSING, one.name, "it is not here", at)
        for at, one in enumerate(bundle.parts, 1)
        if at != number
    ]
    return Found(bundle, document, None, {number: part}, tuple(missing)), part


def _recognised(reader: PipeReader, bundle: Bundle, document: bytes) -> tuple[int, Layout]:
    """Return which part it is, by the headers from index.json to the first blob: no other part has that blob."""
    for number in range(1, len(bundle.parts) + 1):
        index_size = len(layout(bundle, number, document).entries[2].data or b"")
        signatures = list(signatures_in(reader, document, index_size))
        places = layout(bundle, number, document, signatures)
        ahead = list(_until_blob(bundle, places.entries[2 + len(signatures) :]))
        if all(reader.read_at(one.offset, len(one.header)) == one.header for one in ahead):
            return number, places
    raise Malformed(f"{NAME} is none of the parts that its document names", remedy="send the part again")


def _until_blob(bundle: Bundle, entries: Iterable[Entry]) -> Iterator[Entry]:
    manifests = {blob_name(one.digest) for one in bundle.objects if one.manifest}
    for entry in entries:
        yield entry
        if entry.data is None and entry.member.name not in manifests and not entry.member.name.startswith("site/"):
            return
