"""Find the old blobs that deltas can be made against: layers of older images that the far side has, at the source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from mirrorsync.bundle.bases import LEAST_BYTES, Layer, diff_ids_of, previous, ranked
from mirrorsync.bundle.held import Held
from mirrorsync.bundle.model import Image
from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.platform import Platform
from mirrorsync.oci.reference import Location, parse_repository
from mirrorsync.sync.bundle.draft import Draft
from mirrorsync.sync.bundle.reading import ReadFrom
from mirrorsync.sync.pool import SMALL_BYTES, for_each
from mirrorsync.sync.session import Session

_MAX_DEPTH: Final = 4

_Leaves = Sequence[tuple[Platform | None, Manifest]]


async def find_bases(draft: Draft, held: Held, session: Session) -> Mapping[Digest, Sequence[ReadFrom]]:
    """Return old blobs for the large layers of a draft, the best first, with the repository where each is read.

    An old image that its source does not have any more is left out.
    """
    finding = _Finding(draft, held, session)
    carried = {one.digest for one in draft.objects}
    await for_each([image for image in draft.images if image.content.digest in carried], finding.look)
    return finding.found()


class _Finding:
    def __init__(self, draft: Draft, held: Held, session: Session) -> None:
        self._held = held
        self._session = session
        self._manifests = {one.digest for one in draft.objects if one.manifest}
        self._carried = {one.digest for one in draft.objects if not one.manifest}
        self._large = {
            one.digest for one in draft.objects if not one.manifest and one.content.size >= LEAST_BYTES
        }  # fmt: skip
        self._new: dict[Digest, Layer] = {}
        self._old: defaultdict[Digest, dict[Layer, Location]] = defaultdict(dict)

    async def look(self, image: Image) -> None:
        """Note the old layers for the layers of an image."""
        source = parse_repository(image.source)
        try:
            leaves = await self._leaves(source, image.content)
        except MirrorsyncError:
            return
        wanted = [(platform, manifest) for platform, manifest in leaves if self._is_wanted(manifest)]
        for age, old in enumerate(previous(image, self._held)) if wanted else ():
            try:
                before = await self._leaves(source, old, old=True)
            except MirrorsyncError:
                continue
            for platform, manifest in wanted:
                for other in _of_platform(platform, before):
                    await self._compare(source, manifest, other, age)

    def found(self) -> Mapping[Digest, Sequence[ReadFrom]]:
        """Return the best of all old layers for each new one."""
        result = {}
        for digest, layer in sorted(self._new.items()):
            old = self._old[digest]
            if best := ranked(layer, old):
                result[digest] = [ReadFrom(old[one], one.content) for one in best]
        return result

    async def _compare(self, source: Location, new: Manifest, old: Manifest, age: int) -> None:
        layers = await self._layers(source, new, 0)
        others = [layer for layer in await self._layers(source, old, age) if self._is_base(layer.content)]
        for layer in layers:
            if layer.content.digest in self._large:
                self._new.setdefault(layer.content.digest, layer)
                self._old[layer.content.digest].update(dict.fromkeys(others, source))

    def _is_wanted(self, manifest: Manifest) -> bool:
        return any(blob.digest in self._large for blob in manifest.blobs)

    def _is_base(self, blob: Descriptor) -> bool:
        return blob.digest not in self._carried and bool(self._held.where(blob.digest))

    async def _leaves(self, source: Location, root: Descriptor, *, old: bool = False, depth: int = 0) -> _Leaves:
        """Return the images of a root with their platforms: those of the bundle, or old ones that the far side has."""
        manifest = await self._session.manifest(source, root.bare())
        if not manifest.children:
            return [(root.platform, manifest)]
        found: list[tuple[Platform | None, Manifest]] = []
        for child in manifest.children if depth < _MAX_DEPTH else ():
            if self._held.where(child.digest) if old else child.digest in self._manifests:
                found += await self._leaves(source, child, old=old, depth=depth + 1)
        return found

    async def _layers(self, source: Location, manifest: Manifest, age: int) -> list[Layer]:
        known: tuple[str, ...] = ()
        config = next((blob for blob in manifest.blobs if blob.media_type.endswith("json")), None)
        if config is not None and config.size <= SMALL_BYTES:
            try:
                known = diff_ids_of(await self._session.repository(source).read(config))
            except MirrorsyncError:
                known = ()
        layers = manifest.layers
        if len(known) != len(layers):
            known = ()
        return [Layer(blob.bare(), place, known[: place + 1], age) for place, blob in enumerate(layers)]


def _of_platform(platform: Platform | None, leaves: _Leaves) -> list[Manifest]:
    """Return the old images of a platform; if there is only one image, it is that."""
    if len(leaves) == 1:
        return [leaves[0][1]]
    return [manifest for other, manifest in leaves if other == platform]
