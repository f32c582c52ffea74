"""What a destination had after an earlier run: the images of a generation, with all that their manifests name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mirrorsync.bundle.held import Held
from mirrorsync.errors import ContentNotFound, MirrorsyncError, UsageError
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.ref import Tag, written
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.spec.model import Mirror
from mirrorsync.state import ByDigest, Generation, ManifestKey
from mirrorsync.sync.gather.roots import root_of, unselected
from mirrorsync.sync.pool import for_each
from mirrorsync.sync.session import Session, located


@dataclass(frozen=True, slots=True)
class RememberedSide:
    """What a generation says of a destination. digest: of its tags there. left_out: why some images are not in it."""

    held: Held
    digest: Digest
    left_out: Mapping[str, str]


async def held_in(
    generation: Generation,
    destination: Location,
    session: Session,
    *,
    mirrors: Callable[[Location], Sequence[Mirror]],
) -> RememberedSide:
    """Return the content of a destination, if it still has the images of a generation, and all that belongs to them.

    The destination is not asked. What a manifest names is read in the cache of manifests, or at the source that its
    image was read from. An index that was made here, of some platforms, is made again if neither has it: its digest
    tells whether it is the same. mirrors: those of a source. An image of which a manifest cannot be read any more is
    left out, and so goes whole; so is a sparse index of which it is not remembered which platforms were mirrored.
    Raises: UsageError if the generation has no image there.
    """
    prefix = f"{destination.repository}/" if destination.repository else ""

    def is_there(target: Location) -> bool:
        return target.store == destination.store and target.repository.startswith(prefix)

    tags = {key: owned for key, owned in generation.tags.items() if is_there(key[0])}
    if not tags:
        others = sorted({target.store for target, _ in generation.tags})
        raise UsageError(
            f"generation {generation.number} has no images at {destination}",
            remedy=f"it has images at {', '.join(others)}" if others else "it is empty",
        )
    reading = _Reading(session, prefix, mirrors, generation.platforms)
    named = [_Image(target, tag, owned.digest, owned.source) for (target, tag), owned in tags.items()]
    await for_each(named, reading.add)
    by_digest = {key: one for key, one in generation.by_digest.items() if is_there(key[0])}
    while ready := [key for key, one in by_digest.items() if reading.has_subject(key[0], one)]:
        untagged = [_Image(target, digest, digest, by_digest.pop((target, digest)).source) for target, digest in ready]
        await for_each(untagged, reading.add)
    lines = sorted(f"{reading.name(one)} {one.digest}\n" for one in named)
    return RememberedSide(reading.held, Digest.of("".join(lines).encode()), dict(sorted(reading.left_out.items())))


@dataclass(frozen=True, slots=True)
class _Image:
    """An image of a generation. ref: its tag, or its digest if it has none. source: where it was read, if known."""

    target: Location
    ref: Tag | Digest
    digest: Digest
    source: Location | None


@dataclass(slots=True)
class _Reading:
    session: Session
    prefix: str
    mirrors: Callable[[Location], Sequence[Mirror]]
    platforms: Mapping[ManifestKey, tuple[Platform, ...]]
    held: Held = field(default_factory=Held)
    left_out: dict[str, str] = field(default_factory=dict)

    def name(self, image: _Image) -> str:
        return written(self._repository(image.target), image.ref)

    def _repository(self, target: Location) -> str:
        return target.repository.removeprefix(self.prefix)

    def has_subject(self, target: Location, one: ByDigest) -> bool:
        """Return whether a manifest without a tag refers to none, or to one that the destination has."""
        repository = self.held.repositories.get(self._repository(target))
        return one.subject is None or (repository is not None and one.subject in repository.manifests)

    async def add(self, image: _Image) -> None:
        """Add an image with all its content, or the reason why it is left out."""
        found: dict[Digest, Manifest] = {}
        try:
            source = image.source
            if source is None:
                raise ContentNotFound("its source is not remembered")
            with located("source", source, image.digest):
                root = await self._root(source, image)
                lacking = await self._lacking(source, image.target, root)
                await self._walk(source, root, lacking, found, 1)
        except MirrorsyncError as error:
            self.left_out[self.name(image)] = error.message
            return
        repository = self.held.repository(self._repository(image.target))
        if isinstance(image.ref, Tag):
            repository.tags[image.ref] = image.digest
        repository.manifests |= {digest: manifest.descriptor.bare() for digest, manifest in found.items()}
        repository.blobs |= {blob.digest: blob.bare() for manifest in found.values() for blob in manifest.blobs}
        if lacking:
            repository.sparse.add(image.digest)

    async def _lacking(self, source: Location, target: Location, root: Descriptor) -> frozenset[Digest]:
        """Return what a sparse index lists and its destination did not have. Raises: ContentNotFound if not known."""
        platforms = self.platforms.get((target, root.digest))
        if platforms is not None:
            return await unselected(self.session, source, root, platforms)
        if root.media_type in media_types.INDEXES and any(mirror.sparse for mirror in self.mirrors(source)):
            raise ContentNotFound("it is not remembered which platforms of its index were mirrored")
        return frozenset()

    async def _root(self, source: Location, image: _Image) -> Descriptor:
        known = self.session.cached(image.digest)
        if known is not None:
            return known.descriptor.bare()
        root = await self.session.repository(source).resolve(image.digest) or await self._made(source, image)
        if root is None:
            raise ContentNotFound("its source does not have it any more")
        return root.bare()

    async def _made(self, source: Location, image: _Image) -> Descriptor | None:
        """Return an index of some platforms that is made of what the source has now, None if that is another one."""
        if not isinstance(image.ref, Tag):
            return None
        for mirror in self.mirrors(source):
            if mirror.platforms and not mirror.sparse:
                with suppress(ContentNotFound):
                    made = await root_of(self.session, source, image.ref, mirror.platforms, mirror.index)
                    if made is not None and made.digest == image.digest:
                        return made
        return None

    async def _walk(
        self,
        source: Location,
        content: Descriptor,
        lacking: frozenset[Digest],
        found: dict[Digest, Manifest],
        depth: int,
    ) -> None:
        if content.digest in found or content.digest in lacking:
            return
        check_bounds(depth, len(found) + 1)
        manifest = await self.session.manifest(source, content.bare())
        found[content.digest] = manifest
        for child in manifest.children:
            await self._walk(source, child, lacking, found, depth + 1)
