"""The image cache of Talos: a directory of images, which a node reads at its start instead of registries.

The layout is that which `talosctl image cache-create --layout flat` writes (pkg/imager/cache in siderolabs/talos), and
the registry of a node reads (registryd): `blob/sha256-HEX`, and below `manifests/HOST/REPOSITORY` every manifest as
`digest/sha256-HEX` and the one that a tag names once more as `reference/TAG`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mirrorsync.bundle.model import Image, Object
from mirrorsync.errors import UsageError
from mirrorsync.files.disk import discard_file, make_directory, open_regular, regular_size, translated
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import check_host, check_repository
from mirrorsync.sync.bundle.exporting import Archive
from mirrorsync.sync.bundle.reading import Contents, Slice
from mirrorsync.sync.bundle.writing import PARTIAL, PartFile


class ImageCache:
    """Writes images into a cache. directory: of the cache. What is there already, with the right size, stays."""

    def __init__(self, directory: Path, contents: Contents) -> None:
        self._directory = directory
        self._contents = contents

    async def add(self, image: Image, name: str, objects: Mapping[Digest, Object]) -> Archive:
        """Add an image, its tag last. name: at its source. Raises: UsageError, MirrorsyncError, StorageError."""
        return await asyncio.to_thread(self._add, image, name, objects)

    def _add(self, image: Image, name: str, objects: Mapping[Digest, Object]) -> Archive:
        repository = self._directory / "manifests" / repository_path(name, image)
        written = False
        for one in sorted(objects.values(), key=lambda one: one.manifest):  # a manifest after its blobs
            folder = repository / "digest" if one.manifest else self._directory / "blob"
            written |= self._write(folder / file_of(one.digest), one)
        root = objects[image.content.digest]
        # A repository is known by this directory, also if it has no tags.
        path = repository / "reference" / str(image.tag or "")
        if image.tag is not None:
            written |= self._write(path, root, same=self._is_root(path, root))
        else:
            with translated(f"writing {path}"):
                make_directory(path)
            path = repository / "digest" / file_of(root.digest)
        return Archive(path, name, root.digest, sum(one.content.size for one in objects.values()), written)

    def _write(self, path: Path, one: Object, *, same: bool = True) -> bool:
        """Write content, unless it is there; return whether it was written. same: a file of this size is the same."""
        if same and regular_size(path) == one.content.size:
            return False
        with translated(f"writing {path}"):
            make_directory(path.parent)
        partial = path.with_name(f"{path.name}{PARTIAL}")
        file = PartFile(partial, one.content.size)
        try:
            for chunk in self._contents.stream(Slice(one, one.content)):
                file.write(chunk)
            file.finish()
            with translated(f"writing {path}"):
                partial.rename(path)
        except BaseException:
            discard_file(partial)
            raise
        finally:
            file.close()
        return True

    def _is_root(self, path: Path, root: Object) -> bool:
        """Return whether a tag's file has a manifest, whose size another one may have, too."""
        try:
            with open_regular(path) as file, translated(f"reading {path}"):
                return Digest.of(file.read(root.content.size + 1)) == root.digest
        except FileNotFoundError:
            return False


def file_of(digest: Digest) -> str:
    """Return the name of the file of a manifest or blob. Raises: UsageError if Talos does not know its algorithm."""
    if digest.algorithm != "sha256":
        raise UsageError(f"the image cache of Talos has no {digest.algorithm} digests, and this is {digest.short}")
    return f"sha256-{digest.encoded}"


def repository_path(name: str, image: Image) -> PurePosixPath:
    """Return the directory of a repository. name: of an image at its source, with its tag or digest.

    A port is written `_5000_`, because FAT has no colons. Raises: GrammarError for a name that could be another path.
    """
    joint = f":{image.tag}" if image.tag else f"@{image.content.digest}"
    registry, _, path = name.removesuffix(joint).partition("/")
    host, colon, port = check_host(registry).rpartition(":")
    return PurePosixPath(f"{host}_{port}_" if colon else registry) / check_repository(path)
