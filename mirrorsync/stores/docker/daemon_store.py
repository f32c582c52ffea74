"""A docker daemon as a store: dockerd, or podman's service, over Docker's Engine API.

An image is read by exporting it into a temporary file, once, and only if its layers are needed; its manifest is cached
by its ID, so that the second push exports nothing. At the flush, all images are written with one load.
"""

from __future__ import annotations

import asyncio
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from mirrorsync.errors import ContentNotFound, Denied, Interrupted, RegistryFailure
from mirrorsync.events import Observer, ignore
from mirrorsync.files.disk import translated
from mirrorsync.files.tar.reader import ArchiveFile
from mirrorsync.files.tar.scan import BLOCK
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import Pick, Tag
from mirrorsync.stores.docker.api import DaemonApi, DaemonImage
from mirrorsync.stores.docker.cache import KnownImage
from mirrorsync.stores.docker.endpoint import find_endpoint
from mirrorsync.stores.docker.manifests import known_image
from mirrorsync.stores.docker.outgoing import prove_layer
from mirrorsync.stores.docker.reader import GRAMMAR, DamagedImage, Name, SavedImage, SavedLayer, read_images
from mirrorsync.stores.docker.repository import DockerRepository
from mirrorsync.stores.docker.staging import Assembled
from mirrorsync.stores.docker.store import DockerStore
from mirrorsync.stores.docker.writer import Content, Contents, Entry

ADDRESS: Final = "docker-daemon:"
_ID_DIGITS: Final = 64
_END: Final = bytes(2 * BLOCK)


class DockerDaemonStore(DockerStore):
    """A daemon as a store. No connection is opened before the first request.

    host: its address, in the format of docker's -H; None = DOCKER_HOST, docker's socket, or podman's. variables: the
    environment. temporary: an existing directory for exports and staged layers. cache_directory: of images and digests
    for the next run, None = no cache. Raises: UsageError for an invalid host.
    """

    kind = "a docker daemon"

    def __init__(
        self,
        host: str | None,
        variables: Mapping[str, str],
        *,
        temporary: Path,
        cache_directory: Path | None = None,
        observer: Observer = ignore,
    ) -> None:
        super().__init__(ADDRESS, temporary, cache_directory, observer)
        self._api = DaemonApi(find_endpoint(host, variables))
        self._temporary = temporary
        self._contents = Contents()
        self._exports: dict[Digest, SavedImage] = {}
        self._archives: list[ArchiveFile] = []
        self._exporting = threading.Lock()
        self._guard = threading.Lock()
        self._stopped = threading.Event()

    def repository(self, name: str) -> DockerRepository:
        """Return the repository of that name; "" has images by their IDs."""
        return DockerRepository(self, name, self.made)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted."""
        with self.located():
            images = await asyncio.to_thread(self._api.images)
        for name in sorted({name.repository for image in images for name in image.names}):
            yield name

    def _close(self) -> None:
        self._stopped.set()  # a running export has the lock that `release` needs
        super()._close()

    def release(self) -> None:
        """Close temporary files."""
        with self._exporting:
            for archive in self._archives:
                archive.close()

    def find(self, repository: str, ref: Tag | Pick) -> KnownImage | None:
        """Return an image by its tag; in "" by its ID or a prefix of it."""
        image = self._described(repository, ref)
        return self._known(image) if image else None

    def saved(self, repository: str, ref: Tag | Pick) -> SavedImage | None:
        """Export an image; it is named as for `find`."""
        image = self._described(repository, ref)
        return self._saved(image) if image else None

    def prove(self, diff_id: Digest, watch: Callable[[int], object]) -> None:
        """Read a layer of an image that was exported, and compare it with its diff_id. Raises: Mismatch."""
        layer = self._export_of(diff_id)
        if layer is None:
            raise ContentNotFound("no exported image has this layer")
        prove_layer(layer, watch)

    def _described(self, repository: str, ref: Tag | Pick) -> DaemonImage | None:
        if isinstance(ref, Tag):
            return self._api.image(Name(repository, ref).full) if repository else None
        image_id = ref.id_digits
        if repository or image_id is None:
            return None
        # podman accepts a full ID only with the prefix `sha256:`, and a part of an ID only without.
        image = self._api.image(f"sha256:{image_id}" if len(image_id) == _ID_DIGITS else image_id)
        # The name of an image can look like an ID; then it is not the image with that ID.
        return image if image and image.id.encoded.startswith(image_id) else None

    def _known(self, image: DaemonImage) -> KnownImage:
        """Return an image from the cache, or export it."""
        return self.cache.image(image.id) or self._exported(image)

    def _saved(self, image: DaemonImage) -> SavedImage:
        with self._exporting:
            saved = self._exports.get(image.id)
            if saved is None:
                saved = self._exports[image.id] = self._export(image)
            return saved

    def _exported(self, image: DaemonImage) -> KnownImage:
        known = known_image(self._saved(image), self.layers)
        self.cache.add_image(image.id, known)
        return known

    def _export(self, image: DaemonImage) -> SavedImage:
        # The file is unlinked as soon as it is open for reading, so that it is removed however the run ends.
        with (
            translated(f"writing an export to {self._temporary}"),
            NamedTemporaryFile(dir=self._temporary, prefix="mirrorsync-", buffering=0) as file,
        ):
            with self._api.export(image.id) as chunks:
                for chunk in chunks:
                    if self._stopped.is_set():
                        raise Interrupted("the run was told to stop")
                    view = memoryview(chunk)
                    while view:
                        view = view[file.write(view) :]
            archive = ArchiveFile(Path(file.name), GRAMMAR, self._temporary)
            self._archives.append(archive)
            images = read_images(archive)
        if len(images) != 1:
            raise RegistryFailure(f"the daemon exported {len(images)} images instead of one")
        found = images[0]
        if isinstance(found, DamagedImage):
            raise found.error
        # With containerd's image store the ID is a manifest's digest; otherwise it is the config's.
        if found.id != image.id and tuple(layer.diff_id for layer in found.layers) != image.layers:
            raise RegistryFailure(f"the daemon exported image {found.id.short} instead of {image.id.short}")
        self.cache.add_config(image.id, found.id)
        return found

    def search(self, repository: str, wanted: Digest | None) -> Iterator[KnownImage]:
        """Yield the images of a repository, exported; those that are known not to have `wanted` are skipped.

        None = all that need not be exported. "" means all images that were read in this run or are in the cache.
        """
        for image in self._api.images():
            known = self.cache.image(image.id)
            if repository and not any(name.repository == repository for name in image.names):
                continue
            if wanted is None:
                if known is not None:
                    yield known
            elif (known is None and (repository or image.id in self._exports)) or (known and _names(known, wanted)):
                described = self._api.image(image.id)
                if described is not None:
                    yield self._exported(described)

    def tags(self, repository: str) -> Sequence[Tag] | None:
        """Return the tags of a repository, sorted; None if no image has that name."""
        names = {name for image in self._api.images() for name in image.names} | set(self._contents.names())
        return sorted(name.tag for name in names if name.repository == repository) or None

    def names(self) -> list[str]:
        """Return all names with their tags."""
        return [f"{name.repository}:{name.tag}" for image in self._api.images() for name in image.names]

    def image_id(self, repository: str, tag: Tag) -> Digest | None:
        """Return the digest of the config of the image with a name."""
        pending = self._contents.id_of(Name(repository, tag))
        image = None if pending else self._api.image(Name(repository, tag).full)
        return pending or (self._config_of(image) if image else None)

    def has_layer(self, diff_id: Digest) -> bool:
        """Return whether the layer is in an export. A load must include all layers, even those that the daemon has."""
        return self._export_of(diff_id) is not None

    def config(self, image_id: Digest) -> bytes | None:
        """Return the config of an image that was exported or is staged."""
        exported = (saved.config for saved in list(self._exports.values()) if saved.id == image_id)
        return self._contents.config(image_id) or next(exported, None)

    def begin(self) -> None:
        """Check that the daemon answers."""
        self._api.ping()

    def rename(self, image_id: Digest, name: Name | None) -> bool:
        """Add a name to an image of the daemon, at once; False if it does not have the image."""
        if name is None:
            return False
        found = next((each for each in self._api.images() if self._config_of(each) == image_id), None)
        if found is not None:
            self._api.tag(found.id, name)
            with self._guard:
                self._contents.remove(name)
        return found is not None

    def _config_of(self, image: DaemonImage) -> Digest:
        """Return the digest of an image's config, which is its ID except with containerd's image store."""
        return self.cache.config(image.id) or image.id

    def keep(self, image: Assembled, name: Name | None) -> None:
        """Stage an image under a name. One without a name is rejected: a daemon would drop it."""
        if name is None:
            raise Denied("a docker daemon stores images by name only", remedy="write docker-daemon:NAME:TAG")
        with self._guard:
            self._contents.add(image, name)

    def forget(self, name: Name) -> bool:
        """Remove a name, at once."""
        with self._guard:
            pending = self._contents.remove(name)
        return self._api.untag(name.full) or pending

    def is_published(self, repository: str, tag: Tag) -> bool:  # noqa: ARG002 - all images are written at once
        """Return whether the staged images are written."""
        with self._guard:
            return not self._contents.changed

    def write_pending(self) -> None:
        """Load the staged images into the daemon."""
        with self._guard:
            if not self._contents.changed or not self._contents.names():
                return
            entries = list(self._contents.entries(self._content))
            sizes = [len(_header(entry)) + entry.size + -entry.size % BLOCK for entry in entries]
            self._api.load(sum(sizes) + len(_END), _tar(entries))
            for name in self._contents.names():
                self._check(name)
            self._contents = Contents()

    def _content(self, diff_id: Digest) -> Content:
        content = self.incoming.piece(diff_id) or self._export_of(diff_id)
        if content is None:
            raise ContentNotFound(f"layer {diff_id.short} is missing")  # impossible: `assembled` has checked it
        return content

    def _export_of(self, diff_id: Digest) -> SavedLayer | None:
        layers = (layer for saved in list(self._exports.values()) for layer in saved.layers)
        return next((layer for layer in layers if layer.diff_id == diff_id), None)

    def _check(self, name: Name) -> None:
        """Check that the daemon has the loaded image under its name."""
        wanted = self._contents.id_of(name)
        found = self._api.image(name.full)
        if found is None or wanted is None:
            raise RegistryFailure(f"the daemon did not store {name.full}, and did not report why")
        if found.id != wanted:
            layers = self._contents.layers_of(wanted)
            if tuple(layers) != found.layers:
                raise RegistryFailure(f"the daemon has another image under {name.full} than was loaded")
        self.cache.add_config(found.id, wanted)


def _names(known: KnownImage, wanted: Digest) -> bool:
    return known.manifest.digest == wanted or any(blob.digest == wanted for blob in known.manifest.blobs)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.size, info.mode = entry.size, 0o444
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8")


def _tar(entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield the bytes of an archive, which is not stored anywhere."""
    for entry in entries:
        yield _header(entry)
        yield from entry.chunks
        yield bytes(-entry.size % BLOCK)
    yield _END
