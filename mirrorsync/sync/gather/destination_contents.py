"""The manifests and blobs that destinations have of images that are to change."""

from __future__ import annotations

from collections import defaultdict

from mirrorsync.errors import ContentNotFound, IntegrityError
from mirrorsync.events import Noticed
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, Outline
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import Desired, Sparse, blobs_of, check_bounds
from mirrorsync.plan.model import Image
from mirrorsync.sync.content import ContentReader
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.sparse import lacking, lacks_layers
from mirrorsync.sync.pool import SMALL_BYTES, Answers, all_of
from mirrorsync.sync.session import Session, located


class DestinationContents:
    """What is known of the content of destinations, and of the manifests that were read at sources.

    present: by location, what it has. manifests: by digest. sparse: the indexes that do not vouch for the images that
    they list. reader: reads present content on this machine, None = what a present manifest names counts as present.
    """

    def __init__(self, session: Session, tags: DestinationTags, reader: ContentReader | None) -> None:
        self._session = session
        self._tags = tags
        self._reader = reader
        self.present: defaultdict[Location, set[Digest]] = defaultdict(set)
        self.manifests: dict[Digest, Outline] = {}
        self.sparse = Sparse()
        self._has: Answers[tuple[Location, Digest], bool] = Answers()

    def note(self, desired: Desired, sparse: Sparse) -> None:
        """Remember which indexes do not vouch; with a reader also what referrers are about, to check its lists."""
        self.sparse = sparse
        for image in desired.carriers if self._reader is not None else ():
            if image.tag is None and image.origin.subject is not None:
                self._tags.subjects[image.target, image.root.digest] = image.origin.subject

    def add(self, target: Location, digest: Digest) -> None:
        """Note that a destination has some content."""
        self.present[target].add(digest)

    async def look_into(self, image: Image) -> None:
        """Find out which manifests and blobs of an image its destination has. Raises: MirrorsyncError."""
        await self._walk(image, image.root, 1, _Walked())

    async def _walk(self, image: Image, content: Descriptor, depth: int, walked: _Walked) -> None:
        if content.digest in walked.manifests:
            return
        walked.manifests.add(content.digest)
        check_bounds(depth, len(walked.manifests))
        vouches = (image.target, content) not in self.sparse
        if await self.has(image.target, content, is_manifest=True) and vouches and self._reader is None:
            return  # a registry accepts a manifest only after its content
        with located("source", image.source, image.origin.reference(image.root.digest).asked):
            found = await self._session.manifest(image.source, content)
            if content.digest not in self.manifests and (
                notice := await lacks_layers(self._session, image.source, found)
            ):
                self._session.announce(Noticed(str(image), notice))
            manifest = self._outline(found, image)
        wanted = blobs_of(image, manifest)
        walked.blobs.update(blob.digest for blob in wanted)
        check_bounds(depth, len(walked.manifests), len(walked.blobs))
        # In a repository that does not exist only large blobs are worth a request: an earlier run may have left them.
        absent = image.target in self._tags.absent
        blobs = [blob for blob in wanted if not absent or blob.size > SMALL_BYTES]
        try:
            children = [child for child in manifest.children if child.digest not in image.left_out]
            await all_of(self._walk(image, child, depth + 1, walked) for child in children)
        except ContentNotFound as error:
            raise await lacking(self._session, image.source, content, error) from error.__cause__
        await all_of(self.has(image.target, blob, is_manifest=False) for blob in blobs)

    def _outline(self, manifest: Manifest, image: Image) -> Outline:
        if manifest.foreign and not image.foreign and manifest.digest not in self.manifests:
            # They may not be distributed (Windows base layers), so they are neither fetched nor pushed; clients that
            # pull the image fetch them from their URLs.
            count = len(manifest.foreign)
            layers = "1 foreign layer is" if count == 1 else f"{count} foreign layers are"
            message = f"{layers} not mirrored: the publisher does not allow others to distribute it"
            self._session.announce(Noticed(str(image), message))
        return self.manifests.setdefault(manifest.digest, manifest.outline)

    async def has(self, target: Location, content: Descriptor, *, is_manifest: bool) -> bool:
        """Return whether a destination has a manifest or blob, asked once. Raises: MirrorsyncError."""
        if is_manifest and target in self._tags.absent:
            return False
        if content.digest in self.present[target]:
            return True

        async def ask() -> bool:
            repository = self._session.destination(target)
            if is_manifest and await repository.resolve(content.digest) is None:
                return False
            if not is_manifest and not await repository.has(content):
                return False
            # A run that was killed, or another client, may have left a referrer that the list of its subject lacks.
            if is_manifest and not await self._tags.is_listed(target, content.digest):
                return False
            return await self._is_intact(target, content)

        with located("destination", target):
            present = await self._has.get((target, content.digest), ask)
        if present:
            self.present[target].add(content.digest)
        return present

    async def _is_intact(self, target: Location, content: Descriptor) -> bool:
        """Return whether present content matches its digest, as far as it is on this machine and has to be read."""
        repository = self._session.reads_back(target)
        if self._reader is None or repository is None:
            return True
        try:
            await self._reader.prove(self._session.blobs_of(target), repository, content)
        except (ContentNotFound, IntegrityError):
            return False
        return True


class _Walked:
    """The manifests and blobs of an image that were visited so far."""

    def __init__(self) -> None:
        self.manifests: set[Digest] = set()
        self.blobs: set[Digest] = set()
