"""When images say they were created: facts for `newest: {by: created}`, read once for each image and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mirrorsync.durations import timestamp
from mirrorsync.errors import ContentNotFound, Malformed, MirrorsyncError
from mirrorsync.oci import media_types
from mirrorsync.oci.config import MAX_CONFIG_BYTES, ImageConfig
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest, refuse_schema_1
from mirrorsync.oci.narrowing import ATTESTATION_KIND
from mirrorsync.oci.ref import Ref, Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.spec.created import EARLIEST, Creation
from mirrorsync.spec.selection import Selection, Wanted
from mirrorsync.sync.gather.named import named_at
from mirrorsync.sync.pool import Answers, MemoryBudget, for_each
from mirrorsync.sync.session import Session, located
from mirrorsync.sync.suggest import missing

# Image spec, annotations.md.
_CREATED: Final = "org.opencontainers.image.created"
_READ_BYTES: Final = 16 * 1024 * 1024  # of configs that are read at a time


class Creations:
    """The creations of one run. roots: what each ref that was asked for names; it need not be resolved again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._resolved: Answers[tuple[Location, Ref], Descriptor] = Answers()
        self._times: Answers[Digest, str] = Answers()
        self._budget = MemoryBudget(_READ_BYTES)
        self.roots: dict[tuple[Location, Ref], Descriptor] = {}

    async def dated(
        self,
        selection: Selection,
        source: Location,
        listed: Sequence[Tag],
        failed: Callable[[Wanted, MirrorsyncError], None],
    ) -> Selection:
        """Return a selection with the creations that it needs of a repository with these tags.

        failed: is called for each candidate whose creation could not be read, which is not chosen.
        """
        found: dict[Tag, Creation] = {}

        async def read(wanted: Wanted) -> None:
            assert wanted.tag is not None  # noqa: S101 - candidates have tags
            try:
                found[wanted.tag] = await self._of(source, wanted.ref, listed)
            except MirrorsyncError as error:
                message = f"newest cannot tell when it was created: {error.message}"
                remedy = error.remedy or "exclude the tag if it is not needed"
                failed(wanted, error.with_(message=message, remedy=remedy))

        await for_each(selection.candidates(listed), read)
        return selection.dated(found)

    async def time_of(self, location: Location, root: Descriptor) -> float | None:
        """Return when an image says it was created (seconds since the epoch), None if it does not, or not credibly.

        location: a repository that has it. Raises: MirrorsyncError if it cannot be read.
        """
        return credible(await self._times.get(root.digest, lambda: self._time(location, root)))

    async def _of(self, source: Location, ref: Ref, listed: Sequence[Tag]) -> Creation:
        with located("source", source, ref):
            root = await self._resolved.get((source, ref), lambda: self._resolve(source, ref, listed))
            text = await self._times.get(root.digest, lambda: self._time(source, root))
        return Creation(root.digest, timestamp(text))

    async def _resolve(self, source: Location, ref: Ref, listed: Sequence[Tag]) -> Descriptor:
        async def list_tags() -> Sequence[Tag]:
            return listed

        root = await named_at(self._session, source, ref)
        if root is None:
            raise await missing(source, ref, list_tags)
        refuse_schema_1(root.media_type)
        self.roots[source, ref] = root
        return root

    async def _time(self, source: Location, root: Descriptor) -> str:
        known = self._session.creations((root.digest,)).get(root.digest)
        if known is None:
            known = await self._read(source, root, 1)
            self._session.remember_creation(root.digest, known)
        return known

    async def _read(self, source: Location, content: Descriptor, depth: int) -> str:
        """Return the time as written in an image's config or an annotation, "" if it is not given."""
        check_bounds(depth, depth)
        manifest = await self._session.manifest(source, content)
        annotated = manifest.annotations.get(_CREATED, "")
        if manifest.media_type in media_types.INDEXES:
            return annotated or await self._of_first(source, manifest, depth)
        config = manifest.blobs[0] if manifest.media_type in media_types.IMAGES else None
        if config is None or config.media_type not in media_types.IMAGE_CONFIGS:
            return annotated
        if config.size > MAX_CONFIG_BYTES:
            raise Malformed(f"the image's config is larger than {MAX_CONFIG_BYTES} bytes")
        async with self._budget.reserve(config.size):
            raw = await self._session.repository(source).read(config)
            return ImageConfig.parse(raw).created or annotated

    async def _of_first(self, source: Location, index: Manifest, depth: int) -> str:
        """Return the time of the first image of an index that the source has: docker saves only some of them."""
        lost: ContentNotFound | None = None
        for child in _images(index.children):
            try:
                return await self._read(source, child, depth + 1)
            except ContentNotFound as error:
                lost = lost or error
        if lost is not None:
            raise lost
        return ""


def credible(text: str) -> float | None:
    """Return a written time of creation in seconds since the epoch, None if it cannot be one."""
    time = timestamp(text)
    return time if time is not None and time >= EARLIEST else None


def _images(children: Iterable[Descriptor]) -> list[Descriptor]:
    return [child for child in children if ATTESTATION_KIND not in child.annotations]
