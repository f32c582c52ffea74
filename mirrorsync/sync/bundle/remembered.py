"""What a destination had after an earlier run: the images of a generation, with all that their manifests name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mirrorsync.bundle.held import Held
from mirrorsync.errors import ContentNotFound, MirrorsyncError, UsageError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag, written
from mirrorsync.oci.reference import Location
from mirrorsync.plan.inventory import check_bounds
from mirrorsync.spec.model import Mirror
from mirrorsync.state import Generation, Owned, TagKey
from mirrorsync.sync.gather.roots import root_of
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
    left out, and so goes whole. So is an index that is mirrored without some of its images (`index: sparse`): it is not
    remembered without which. Raises: UsageError if the generation has no image there.
    """
    prefix = f"{destination.repository}/" if destination.repository else ""
    tags = {
        key: owned
        for key, owned in generation.tags.items()
        if key[0].store == destination.store and key[0].repository.startswith(prefix)
    }
    if not tags:
        others = sorted({target.store for target, _ in generation.tags})
        raise UsageError(
            f"generation {generation.number} has no images at {destination}",
            remedy=f"it has images at {', '.join(others)}" if others else "it is empty",
        )
    reading = _Reading(session, prefix, mirrors)
    await for_each(tags.items(), reading.add)
    lines = sorted(f"{reading.name(key)} {owned.digest}\n" for key, owned in tags.items())
    return RememberedSide(reading.held, Digest.of("".join(lines).encode()), dict(sorted(reading.left_out.items())))


@dataclass(slots=True)
class _Reading:
    session: Session
    prefix: str
    mirrors: Callable[[Location], Sequence[Mirror]]
    held: Held = field(default_factory=Held)
    left_out: dict[str, str] = field(default_factory=dict)

    def name(self, key: TagKey) -> str:
        target, tag = key
        return written(target.repository.removeprefix(self.prefix), tag)

    async def add(self, one: tuple[TagKey, Owned]) -> None:
        """Add an image with all its content, or the reason why it is left out."""
        key, owned = one
        target, tag = key
        found: dict[Digest, Manifest] = {}
        try:
            source = owned.source
            if source is None:
                raise ContentNotFound("its source is not remembered")
            with located("source", source, owned.digest):
                root = await self._root(source, tag, owned.digest)
                await self._walk(source, root, found, 1)
        except MirrorsyncError as error:
            self.left_out[self.name(key)] = error.message
            return
        repository = self.held.repository(target.repository.removeprefix(self.prefix))
        repository.tags[tag] = owned.digest
        repository.manifests |= {digest: manifest.descriptor.bare() for digest, manifest in found.items()}
        repository.blobs |= {blob.digest: blob.bare() for manifest in found.values() for blob in manifest.blobs}

    async def _root(self, source: Location, tag: Tag, digest: Digest) -> Descriptor:
        known = self.session.cached(digest)
        if known is not None:
            return known.descriptor.bare()
        root = await self.session.repository(source).resolve(digest) or await self._made(source, tag, digest)
        if root is None:
            raise ContentNotFound("its source does not have it any more")
        return root.bare()

    async def _made(self, source: Location, tag: Tag, digest: Digest) -> Descriptor | None:
        """Return an index of some platforms that is made of what the source has now, None if that is another one."""
        for mirror in self.mirrors(source):
            if mirror.platforms and not mirror.sparse:
                with suppress(ContentNotFound):
                    made = await root_of(self.session, source, tag, mirror.platforms, mirror.index)
                    if made is not None and made.digest == digest:
                        return made
        return None

    async def _walk(self, source: Location, content: Descriptor, found: dict[Digest, Manifest], depth: int) -> None:
        if content.digest in found:
            return
        check_bounds(depth, len(found) + 1)
        manifest = await self.session.manifest(source, content.bare())
        if manifest.children and any(mirror.sparse for mirror in self.mirrors(source)):
            raise ContentNotFound("its index is mirrored without some of its images")
        found[content.digest] = manifest
        for child in manifest.children:
            await self._walk(source, child, found, depth + 1)
