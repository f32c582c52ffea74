"""Write manifests to a destination: by digest first, verified there, and then under their tags.

CNCF distribution after a full disk answers 201 over empty files, and an image made of them can never be pulled. So
the content of an image is verified to be at the registry before a tag names it. A manifest that is damaged in transit
is rejected under its digest; under a tag it would be accepted. Layouts, archives and daemons verify their own writes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from mirrorsync.errors import BlobsUnknown, ContentNotFound, NotKept, RegistryFailure
from mirrorsync.events import Retrying
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.sync.pool import Answers
from mirrorsync.sync.run.transfer import Transfer
from mirrorsync.sync.session import Session


class Storing:
    """Writes the manifests of one run, each once to a repository, and copies blobs that turn out to be missing."""

    def __init__(self, session: Session, transfer: Transfer) -> None:
        self._session = session
        self._transfer = transfer
        self._stored: Answers[tuple[Location, Digest], None] = Answers()
        self._seen: set[tuple[Location, Digest]] = set()

    async def put(self, manifest: Manifest, source: Location, target: Location) -> None:
        """Put a manifest by its digest, and verify that the registry has it. Raises: NotKept, MirrorsyncError."""

        async def store() -> None:
            repository = self._session.destination(target)
            await self._written(lambda: repository.put_manifest(manifest), manifest, source, target)

        await self._stored.get((target, manifest.digest), store)

    async def prepare(self, manifest: Manifest, source: Location, target: Location) -> None:
        """Put a manifest by its digest before `tag` names it, unless the store verifies its writes itself.

        If a registry rejects manifests by digest, only the tag is put. Raises: as `put`.
        """
        if self._session.confirming(target) is None:
            return
        try:
            await self.put(manifest, source, target)
        except (RegistryFailure, ContentNotFound) as error:
            if error.transient or isinstance(error, BlobsUnknown | NotKept):
                raise

    async def tag(self, manifest: Manifest, source: Location, target: Location, tag: Tag) -> None:
        """Set a tag to a manifest that was prepared. Raises: NotKept, MirrorsyncError."""
        repository = self._session.destination(target)
        if (target, manifest.digest) in self._seen:
            await repository.tag(manifest, tag)
        else:
            await self._written(lambda: repository.tag(manifest, tag), manifest, source, target)

    async def _written(
        self, write: Callable[[], Awaitable[None]], manifest: Manifest, source: Location, target: Location
    ) -> None:
        await self._complete(write, manifest, source, target)
        try:
            await self._transfer.check_kept(manifest.descriptor, target)
        except NotKept as error:
            self._session.announce(Retrying(f"manifest {manifest.digest.short}", 1, 0.0, error.message))
            await write()
            await self._transfer.check_kept(manifest.descriptor, target)
        self._seen.add((target, manifest.digest))

    async def _complete(
        self, write: Callable[[], Awaitable[None]], manifest: Manifest, source: Location, target: Location
    ) -> None:
        """Write a manifest, and copy the blobs that the registry then reports as missing, each once.

        It confirmed a mount without making it, or collected the blob as garbage. If it does not report which blobs are
        missing, all blobs are copied that this run has not copied there. Raises: BlobsUnknown if this does not help,
        MirrorsyncError.
        """
        copied: set[Digest] = set()
        while True:
            try:
                await write()
            except BlobsUnknown as refusal:
                missing = [blob for blob in manifest.blobs if self._is_missing(blob, refusal, target)]
                missing = [blob for blob in missing if blob.digest not in copied]
                if not missing:
                    raise
                await self._copy(missing, source, target)
                copied.update(blob.digest for blob in missing)
            else:
                return

    async def _copy(self, missing: Iterable[Descriptor], source: Location, target: Location) -> None:
        for blob in missing:
            failures = await self._transfer.copy(blob.bare(), source, [target])
            if failures:
                raise failures[target]

    def _is_missing(self, blob: Descriptor, refusal: BlobsUnknown, target: Location) -> bool:
        if refusal.named:
            return blob.digest in refusal.named
        return not self._transfer.has_written(blob, target)
