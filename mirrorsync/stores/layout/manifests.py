"""The manifests of a layout, and the children that they name."""

from __future__ import annotations

from collections.abc import Iterator

from mirrorsync.errors import ContentNotFound, MirrorsyncError
from mirrorsync.files.disk import translated
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import MAX_MANIFEST_BYTES, Manifest
from mirrorsync.stores.layout.backend import LayoutBackend


def read_raw(files: LayoutBackend, content: Descriptor) -> bytes:
    """Return the bytes of small content, unverified. Raises: ContentNotFound, StorageError."""
    with files.open(content) as file, translated(f"reading {content.digest.short}"):
        return file.read(MAX_MANIFEST_BYTES + 1)


def read_manifest(files: LayoutBackend, content: Descriptor) -> Manifest:
    """Return a manifest of a layout. Raises: ContentNotFound, IntegrityError, StorageError."""
    return Manifest.parse(read_raw(files, content), content.media_type, digest=content.digest, size=content.size)


class Manifests:
    """Reads the manifests of one layout, and remembers their children."""

    def __init__(self, files: LayoutBackend) -> None:
        self._files = files
        self._children: dict[Digest, tuple[Descriptor, ...]] = {}

    def read(self, content: Descriptor) -> Manifest:
        """Return a manifest. Raises: ContentNotFound, IntegrityError, StorageError."""
        self._files.reject_link(content.digest)
        if self._files.size(content.digest) is None:
            raise ContentNotFound("the layout has no such manifest")
        return read_manifest(self._files, content)

    def learn(self, manifest: Manifest) -> None:
        """Remember the children of a manifest that is stored."""
        self._children[manifest.digest] = manifest.children

    def children(self, content: Descriptor) -> tuple[Descriptor, ...]:
        """Return what a manifest names; a damaged one, of another program, has no children: reading it raises."""
        known = self._children.get(content.digest)
        if known is None:
            try:
                known = self.read(content).children
            except MirrorsyncError:
                known = ()
            self._children[content.digest] = known
        return known

    def below(self, root: Descriptor) -> Iterator[Descriptor]:
        """Yield all that a manifest leads to, each once."""
        waiting = list(self.children(root))
        seen: set[Digest] = set()  # an index that names each child twice, thirty levels deep, would never end
        while waiting:
            child = waiting.pop()
            if child.digest not in seen:
                seen.add(child.digest)
                yield child
                waiting += self.children(child)
