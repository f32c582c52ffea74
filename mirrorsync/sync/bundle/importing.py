"""Plan the import of a bundle: what of it the destinations lack, by the ordinary difference; and what waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag
from mirrorsync.oci.reference import Location
from mirrorsync.plan.diff import diff
from mirrorsync.plan.inventory import Desired, Observed
from mirrorsync.plan.model import Amount, Change, Failure, Image, Origin, SpecStamp, State
from mirrorsync.stores.bundle import BundleStore
from mirrorsync.sync.bundle.availability import Availability, joined
from mirrorsync.sync.bundle.early import Early, with_early_blobs
from mirrorsync.sync.bundle.imported import Import, Lack, Waiting
from mirrorsync.sync.bundle.rebuilding import Rebuilding
from mirrorsync.sync.clock import now
from mirrorsync.sync.content import ContentReader
from mirrorsync.sync.gather.destination_tags import DestinationTags
from mirrorsync.sync.gather.observe import observe
from mirrorsync.sync.gather.roots import unselected
from mirrorsync.sync.gather.sightings import NothingSeen
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session

# What stands in place of a mirror's pointer, and of a policy's key, for the images of a bundle.
POINTER = "/bundle"
POLICY = "bundle"


async def plan_import(
    store: BundleStore, destinations: Sequence[Location], session: Session, *, clock: Callable[[], str] = now
) -> Import:
    """Return the plan that brings the images of a bundle to some destinations, at most one of each store.

    destinations: the repository of each is a prefix. Content that the parts lack is taken from the destination. Images
    that are not complete wait, and their blobs are imported. Failures of single images are in the plan.
    """
    async with ContentReader(session.announce) as reader:
        return await _Importing(store, destinations, session, reader).planned(clock())


async def waiting_images(store: BundleStore, destinations: Sequence[Location], session: Session) -> tuple[Waiting, ...]:
    """Return the images of a bundle that its parts and the destinations do not complete, with what they lack.

    Raises: MirrorsyncError if a destination does not tell.
    """
    async with ContentReader(session.announce) as reader:
        return await _Importing(store, destinations, session, reader).asked()


class _Carried(NothingSeen):
    """Nothing is remembered of destinations. Their indexes may lack images, if the bundle carries these indexes."""

    def __init__(self, indexes: Iterable[tuple[Location, Digest]]) -> None:
        super().__init__()
        self._indexes = frozenset(indexes)

    def sparse(self) -> frozenset[tuple[Location, Digest]]:
        """Return these indexes."""
        return self._indexes


class _Importing:
    def __init__(
        self, store: BundleStore, destinations: Sequence[Location], session: Session, reader: ContentReader
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._session = session
        self._tags = DestinationTags(session)
        prefixes = {one.store: one.repository for one in destinations}
        self._available = Availability(store, session, self._tags, Rebuilding(session, reader), prefixes)
        self._present: dict[Image, Descriptor | None] = {}
        self._waiting: dict[Image, tuple[Lack, ...]] = {}
        self._platforms: dict[Image, tuple[Platform, ...]] = {}
        # Of indexes that are carried: what they list and are mirrored without.
        self._left_out: dict[Image, frozenset[Digest]] = {}
        self._failures: list[Failure] = []
        self._early: list[Early] = []

    async def asked(self) -> tuple[Waiting, ...]:
        wanted = await self._ask()
        if self._failures:
            raise self._failures[0].error
        return self._waits(wanted)

    async def planned(self, created: str) -> Import:
        wanted = await self._ask()
        ready = (image for image in wanted if image in self._present and image not in self._waiting)
        narrowed = tuple(replace(image, left_out=self._left_out.get(image, frozenset())) for image in ready)
        desired = Desired(narrowed, tuple(self._failures))
        carried = _Carried((image.target, image.root.digest) for image in self._left_out)
        observed = self._completed(await observe(desired, self._session, self._tags, sightings=carried))
        plan = diff(desired, observed, spec=self._stamp(), created=created)
        waiting = self._waits(wanted)
        plan = replace(plan, changes=(*self._with_platforms(plan.changes), *map(self._change, waiting)))
        shared = {one.store for one in self._destinations if self._session.store(one.store).shares_blobs}
        plan = with_early_blobs(plan, self._early, shared)
        blobs = {one.blob.digest: one.blob.size for one in self._early}
        return Import(plan, waiting, Amount(len(blobs), sum(blobs.values())))

    async def _ask(self) -> list[Image]:
        """Ask the destinations about all images, and return these."""
        wanted = list(self._wanted())
        by_target: defaultdict[Location, list[Tag | Digest]] = defaultdict(list)
        for image in wanted:
            by_target[image.target].append(image.tag or image.root.digest)
            if image.tag is None and image.origin.subject is not None:
                self._tags.subjects[image.target, image.root.digest] = image.origin.subject  # an import may be killed
        await self._tags.ask(by_target)
        await for_each(wanted, self._look)
        return wanted

    def _waits(self, wanted: Sequence[Image]) -> tuple[Waiting, ...]:
        return tuple(Waiting(image, self._waiting[image]) for image in wanted if image in self._waiting)

    def _wanted(self) -> Iterator[Image]:
        for destination in self._destinations:
            for image in self._store.bundle.images:
                target = Location(destination.store, joined(destination.repository, image.repository))
                origin = Origin(Location(self._store.address, image.repository), image.tag, subject=image.subject)
                found = Image(origin, target, image.tag, image.content, POINTER)
                if image.platforms:
                    self._platforms[found] = image.platforms
                yield found

    async def _look(self, image: Image) -> None:
        """Find out what a tag names at its destination, and whether the image can be completed if it changes."""
        try:
            present = await self._tags.named(image.target, image.tag or image.root.digest)
            is_index = image.root.media_type in media_types.INDEXES and self._carries(image)
            if is_index or present is None or present.digest != image.root.digest:
                lacks = await self._available.lacks(image, sparse=is_index)
                if lacks:
                    self._waiting[image] = lacks
                    self._early += [
                        Early(blob, image.source, image.target) for blob in await self._available.early(image)
                    ]
                elif is_index:
                    await self._leave_out(image)
            self._present[image] = present
        except MirrorsyncError as error:
            self._waiting.pop(image, None)
            self._failures.append(Failure.of(image, error))

    def _carries(self, image: Image) -> bool:
        return image.root.digest in self._store.bundle.by_digest

    async def _leave_out(self, image: Image) -> None:
        """Find out what an index lists that it is mirrored without, if its manifest is in the parts here.

        If it is not, and nothing is lacking, the destination has the index with all that this bundle mirrors of it.
        """
        if self._store.has(self._store.bundle.by_digest[image.root.digest]):
            self._left_out[image] = frozenset()
            if chosen := self._platforms.get(image):
                self._left_out[image] = await unselected(self._session, image.source, image.root, chosen)

    def _completed(self, observed: Observed) -> Observed:
        """Return what was observed with what was found out here of the destinations."""
        contents = dict(observed.contents)
        for target, digests in self._available.contents.items():
            contents[target] = contents.get(target, frozenset()) | digests
        elsewhere: dict[str, Mapping[Digest, str]] = dict(observed.elsewhere)
        for store, found in self._available.elsewhere.items():
            elsewhere[store] = {**elsewhere.get(store, {}), **found}
        return replace(observed, contents=contents, elsewhere=elsewhere)

    def _with_platforms(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Yield changes, of sparse indexes with the platforms that they are mirrored for."""
        chosen = {(image.target, image.tag or image.root.digest): found for image, found in self._platforms.items()}
        for change in changes:
            platforms, origin = chosen.get((change.target, change.tag or change.digest)), change.origin
            if platforms is None or origin is None:
                yield change
            else:
                yield replace(change, origin=replace(origin, platforms=platforms, index="sparse"))

    def _change(self, waiting: Waiting) -> Change:
        image = waiting.image
        return Change(
            image.target,
            image.tag,
            self._present[image],
            image.root,
            State.DELAYED,
            reason=waiting.reason,
            mirror=image.mirror,
            origin=image.origin,
            policy=POLICY,
            verdict="delay",
        )

    def _stamp(self) -> SpecStamp:
        names = {str(one): one for one in self._destinations}
        return SpecStamp(self._store.address, self._store.found.digest, destinations=names)
