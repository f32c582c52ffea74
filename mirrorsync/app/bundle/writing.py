"""Write a bundle of which it is decided what it carries: sign it, write its parts, and remember that it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.sending import Sender
from mirrorsync.app.reading import absolute
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.encoding import encode
from mirrorsync.bundle.model import Bundle, Delta, Pieces, Whole
from mirrorsync.bundle.packing import with_pieces
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError
from mirrorsync.events import Noticed, TagSet, TransferPlanned
from mirrorsync.oci.digest import Digest
from mirrorsync.plan.model import Plan
from mirrorsync.signing import BUNDLE, sign
from mirrorsync.sync.bundle.deltas import Spool
from mirrorsync.sync.bundle.draft import Draft
from mirrorsync.sync.bundle.publish import stream_part, write_parts
from mirrorsync.sync.bundle.reading import Contents
from mirrorsync.sync.bundle.unreadable import absent_blobs
from mirrorsync.sync.session import Session

_STDOUT: Final = 1


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle for a plan, without the digests of pieces. site: the content of its files of the site, by name."""

    plan: Plan
    bundle: Bundle
    draft: Draft
    site: Mapping[str, bytes]


class LostContent(Exception):
    """Sources do not give some content of a bundle, and nothing of it was published. content: with why."""

    def __init__(self, content: Mapping[Digest, MirrorsyncError]) -> None:
        super().__init__(", ".join(digest.short for digest in content))
        self.content = content


@dataclass(frozen=True, slots=True)
class BundleWriting:
    """Writes a bundle. output: a directory, or `-`. keys: the files of the keys that sign it. spool: has its deltas."""

    output: str
    keys: Sequence[Path]
    sender: Sender
    session: Session
    spool: Spool
    environment: Environment
    stop: Stop

    async def write(self, packed: Packed) -> tuple[Bundle, bytes, tuple[str, ...]]:
        """Write a bundle; return it whole, its document, and the names of the files.

        Raises: LostContent; StorageError; Interrupted; MirrorsyncError if content cannot be read and was sent in part.
        """
        contents = Contents(self.session, packed.draft.origins, self.stop.event, self.stop.asleep, self.spool)
        # What was sent through a pipe cannot be taken back, so sources are asked before.
        lost = await self._absent(packed.draft) if self.output == "-" else {}
        if lost:
            raise LostContent(lost)
        try:
            return await self.stop.interruptible(self._written(packed, contents))
        except MirrorsyncError:
            if self.output == "-" or not contents.unreadable:
                raise
        # All others that are absent are found out now: each that is found by reading costs what was written before it.
        lost = contents.unreadable | await self._absent(packed.draft)
        blobs = "1 blob" if len(lost) == 1 else f"{len(lost)} blobs"
        message = f"{blobs} cannot be read: it is written from the start, without the images that need them"
        self.session.announce(Noticed("bundle", message))
        raise LostContent(lost)

    async def _absent(self, draft: Draft) -> dict[Digest, MirrorsyncError]:
        return await self.stop.interruptible(absent_blobs(draft, self.session))

    async def _written(self, packed: Packed, contents: Contents) -> tuple[Bundle, bytes, tuple[str, ...]]:
        changed = list(packed.plan.changed())
        self.session.announce(TransferPlanned(_bytes_to_read(packed.bundle), len(changed)))
        bundle = await _whole(packed.bundle, contents)
        document = encode(bundle)
        variables = self.environment.variables
        signatures = [await asyncio.to_thread(sign, document, key, BUNDLE, variables) for key in self.keys]
        sender = self.sender.reserve()
        files: tuple[str, ...] = ()
        if self.output == "-":
            await stream_part(bundle, document, _STDOUT, contents, signatures=signatures, site=packed.site)
        else:
            directory = absolute(self.output)
            files = await write_parts(bundle, document, directory, contents, signatures=signatures, site=packed.site)
        sender.remember(document, packed.site)
        for change in changed:
            self.session.announce(TagSet(str(change), change.digest))
        return bundle, document, files


def _bytes_to_read(bundle: Bundle) -> int:
    """Return the bytes that are still read at sources: blobs in pieces twice; manifests and deltas are here already."""
    times = {Whole: 1, Pieces: 2, Delta: 0}
    return sum(one.content.size * times[type(one.form)] for one in bundle.objects if not one.manifest)


async def _whole(bundle: Bundle, contents: Contents) -> Bundle:
    """Find out the digests of pieces, which the document has: blobs larger than a part are read twice."""
    pieces = {}
    for one in bundle.objects:
        if isinstance(one.form, Pieces):
            pieces[one.digest] = await contents.digests_of_pieces(one)
    return with_pieces(bundle, pieces) if pieces else bundle
