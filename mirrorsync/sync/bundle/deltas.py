"""Make deltas of the blobs of a bundle: in temporary files, each applied once before it is relied on."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from mirrorsync.bundle.held import Held
from mirrorsync.bundle.model import Assumed, Bundle, Delta, Object
from mirrorsync.delta import KIND, Blob, apply, make
from mirrorsync.errors import ContentNotFound, Interrupted, MirrorsyncError, StorageError
from mirrorsync.events import Noticed, PhaseAdvanced, PhaseStarted
from mirrorsync.files.chunks import CHUNK_BYTES, VerifiedChunks
from mirrorsync.files.disk import translated
from mirrorsync.files.unnamed import large_directory, unnamed_file
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.sync.bundle.bases import find_bases
from mirrorsync.sync.bundle.draft import Draft
from mirrorsync.sync.bundle.reading import ReadFrom
from mirrorsync.sync.session import Session, located

# What is saved otherwise is not worth the time at the far side.
_LARGEST_PART: Final = 0.9
# A second old blob is tried only if the first one has left more than this part of the new one.
_GOOD_PART: Final = 0.3
_DOING: Final = "making a delta in temporary files"


@dataclass(frozen=True, slots=True)
class _Made:
    start: int
    size: int
    digest: Digest


class Spool:
    """Deltas that were made, one after the other in a file without a name. directory: of it, None = for large files."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or large_directory()
        self._file: IO[bytes] | None = None
        self._made: dict[Digest, _Made] = {}
        self._lock = threading.Lock()

    def add(self, blob: Digest, delta: IO[bytes], size: int) -> Digest:
        """Keep the delta of a blob; return its digest. Raises: OSError."""
        if self._file is None:
            self._file = unnamed_file(self.directory)
        start = self._file.seek(0, 2)
        hasher = blob.hasher()
        delta.seek(0)
        while chunk := delta.read(min(CHUNK_BYTES, size - self._file.tell() + start)):
            hasher.update(chunk)
            self._file.write(chunk)
        self._file.flush()
        self._made[blob] = _Made(start, size, Digest(f"{blob.algorithm}:{hasher.hexdigest()}"))
        return self._made[blob].digest

    def __contains__(self, blob: Digest) -> bool:
        return blob in self._made

    def chunks(self, blob: Digest) -> Iterator[bytes]:
        """Yield the bytes of the delta of a blob; blocking. Raises: StorageError."""
        made = self._made[blob]
        position, end = made.start, made.start + made.size
        while position < end and self._file is not None:
            with translated("reading a delta from a temporary file"), self._lock:
                self._file.seek(position)
                chunk = self._file.read(min(CHUNK_BYTES, end - position))
            if not chunk:
                raise StorageError("a temporary file with deltas is shorter than what was written to it")
            position += len(chunk)
            yield chunk

    def close(self) -> None:
        """Give the room on disk back."""
        if self._file is not None:
            self._file.close()


class _Heeding:
    """A file whose reader is stopped: a delta of a large layer takes minutes. heed: raises if the run is stopped."""

    def __init__(self, file: IO[bytes], heed: Callable[[], None]) -> None:
        self._file = file
        self._heed = heed
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        self._heed()
        return self._file.read(size)


class DeltaMaker:
    """Makes deltas into a spool. stop: once it is set, the work ends with Interrupted."""

    def __init__(self, session: Session, spool: Spool, stop: threading.Event) -> None:
        self._session = session
        self._spool = spool
        self._stop = stop
        self._failed: dict[Digest, str] = {}
        self._tried: dict[Digest, tuple[Delta, Descriptor] | None] = {}

    async def with_deltas(self, draft: Draft, held: Held, whole: Set[Digest] = frozenset()) -> Draft:
        """Return a draft in which blobs are deltas where that is smaller. held: what the far side has.

        A blob for which anything fails goes whole, and so do those of `whole`. It is made once, for however many drafts
        need it. Raises: Interrupted.
        """
        found = await find_bases(draft, held, self._session)
        bases = {digest: tries for digest, tries in found.items() if digest not in whole}
        if bases:
            self._session.announce(PhaseStarted("deltas", len(bases)))
        made: dict[Digest, tuple[Delta, Descriptor]] = {}
        for one in draft.objects:
            if one.digest in bases:
                if one.digest not in self._tried:
                    origin, tries = draft.origins[one.digest], bases[one.digest]
                    self._tried[one.digest] = await asyncio.to_thread(self._best, one, origin, tries)
                best = self._tried[one.digest]
                made |= {one.digest: best} if best is not None else {}
                self._session.announce(PhaseAdvanced("deltas"))
        if self._failed:
            digest, why = next(iter(self._failed.items()))
            more = f", and {len(self._failed) - 1} more" if len(self._failed) > 1 else ""
            self._session.announce(Noticed("deltas", f"blob {digest.short}{more} without a delta: {why}"))
        return _with(draft, made, held)

    async def again(self, bundle: Bundle, numbers: Sequence[int], sources: Mapping[Digest, Sequence[ReadFrom]]) -> None:
        """Make the deltas of some parts again, with the same bytes. sources: where each blob may be read.

        Raises: ContentNotFound if one does not come out as it was.
        """
        known = {one.digest: one.content for one in bundle.assumes}
        known |= {one.digest: one.content for one in bundle.objects}
        for one in bundle.deltas:
            form = one.form
            if isinstance(form, Delta) and form.part in numbers:
                for origin in sources[one.digest]:
                    tries = [ReadFrom(origin.source, known[form.base])]
                    found = await asyncio.to_thread(self._best, one, origin, tries)
                    if found is not None and found[0].digest == form.digest:
                        break
                else:
                    why = self._failed.get(one.digest, "it comes out otherwise now")
                    raise ContentNotFound(
                        f"the delta of blob {one.digest.short} cannot be made again: {why}",
                        remedy="make a new bundle of what the far side lacks",
                    )

    def _best(self, one: Object, origin: ReadFrom, bases: Sequence[ReadFrom]) -> tuple[Delta, Descriptor] | None:
        """Make the smallest delta of a blob; None if it has to go whole. Blocking."""
        try:
            with translated(_DOING), ExitStack() as files:
                self._check_room(one.content.size, bases)
                new = self._read(files, origin)
                limit = int(one.content.size * _LARGEST_PART)
                best: tuple[IO[bytes], int, Descriptor] | None = None
                for base in bases:
                    if best is not None and best[1] < one.content.size * _GOOD_PART:
                        break
                    if (found := self._made(files, one, new, base, best[1] if best else limit)) is not None:
                        best = (*found, base.content)
                if best is None:
                    return None
                self._failed.pop(one.digest, None)  # of another old blob
                digest = self._spool.add(one.digest, best[0], best[1])
                return Delta(1, best[1], digest, best[2].digest, KIND), best[2]
        except Interrupted:
            raise
        except MirrorsyncError as error:
            self._failed[one.digest] = error.message
        return None

    def _made(
        self, files: ExitStack, one: Object, new: Blob, base: ReadFrom, limit: int
    ) -> tuple[IO[bytes], int] | None:
        """Make one delta, and apply it; None if it is not smaller than `limit`, or something fails."""
        with ExitStack() as own:
            out = own.enter_context(unnamed_file(self._spool.directory))
            try:
                old = self._read(own, base)
                made = make(old, new, cast("BinaryIO", out), limit)
                if made is None:
                    return None
                self._check(old, out, one)
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 - whatever does not rebuild goes whole, for whatever reason
                self._failed[one.digest] = error.message if isinstance(error, MirrorsyncError) else repr(error)
                return None
            files.push(own.pop_all())
            return out, made.size

    def _check(self, old: Blob, out: IO[bytes], one: Object) -> None:
        out.seek(0)
        old.file.seek(0)
        for _ in VerifiedChunks(one.content, apply(old.file, cast("BinaryIO", out))):
            self._heed()

    def _read(self, files: ExitStack, at: ReadFrom) -> Blob:
        """Copy a blob from its source to a temporary file, verified."""
        file = files.enter_context(unnamed_file(self._spool.directory))
        source, content = at
        with located("source", source), self._session.repository(source).open(content) as chunks:
            for chunk in VerifiedChunks(content, chunks):
                self._heed()
                file.write(chunk)
        return Blob(cast("BinaryIO", _Heeding(file, self._heed)), content.digest, content.size)

    def _heed(self) -> None:
        if self._stop.is_set():
            raise Interrupted("the run was stopped")

    def _check_room(self, size: int, bases: Sequence[ReadFrom]) -> None:
        needed = 3 * size + 2 * max(base.content.size for base in bases)
        free = shutil.disk_usage(self._spool.directory).free
        if free < needed:
            raise StorageError(f"{self._spool.directory} has {free} bytes free; it takes {needed} for a while")


def _with(draft: Draft, made: Mapping[Digest, tuple[Delta, Descriptor]], held: Held) -> Draft:
    """Return a draft with deltas; what they are against is assumed at the far side."""
    objects = tuple(replace(one, form=made[one.digest][0]) if one.digest in made else one for one in draft.objects)
    assumes = {one.digest: one for one in draft.assumes}
    for _, base in made.values():
        one = Assumed(base, False, held.where(base.digest), held.sent.get(base.digest, 0))
        assumes.setdefault(base.digest, one)
    listed = sorted(assumes.values(), key=lambda one: (one.sent, one.digest))
    return replace(draft, objects=objects, assumes=tuple(listed))
