"""A docker archive as a store: the format of `docker save` and `docker load`, with any number of images."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from mirrorsync.errors import ContentNotFound, IntegrityError, RepositoryNotFound, StorageError, UsageError
from mirrorsync.events import Observer, ignore
from mirrorsync.files.tar.reader import ArchiveFile, Signature, signature_of
from mirrorsync.files.tar.writer import ArchiveLock, ArchiveWriter, check_replaceable
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.ref import THE_ONLY_ONE, Pick, Tag
from mirrorsync.stores.base import Unnamed
from mirrorsync.stores.docker.cache import KnownImage
from mirrorsync.stores.docker.manifests import known_image
from mirrorsync.stores.docker.outgoing import prove_layer
from mirrorsync.stores.docker.reader import GRAMMAR, DamagedImage, Name, SavedImage, SavedLayer, read_images
from mirrorsync.stores.docker.repository import DockerRepository
from mirrorsync.stores.docker.staging import Assembled
from mirrorsync.stores.docker.store import DockerStore
from mirrorsync.stores.docker.writer import Content, Contents
from mirrorsync.text import some_of

SCHEME: Final = "docker-archive:"
_NAMES_SHOWN: Final = 10


class DockerArchiveStore(DockerStore):
    """A docker archive as a store.

    The file is read on first use, and replaced at a flush if there are changes: a new file is staged next to the old
    one. file: absolute. temporary: an existing directory for staged layers. cache_directory: for the digests of layers,
    which the next run uses; None = no cache.
    """

    kind = "a docker archive"

    def __init__(
        self, file: Path, *, temporary: Path, cache_directory: Path | None = None, observer: Observer = ignore
    ) -> None:
        super().__init__(f"{SCHEME}{file}", temporary, cache_directory, observer)
        self._file = file
        self._temporary = temporary
        self._archive = ArchiveFile(file, GRAMMAR, temporary)
        self._replaced: list[ArchiveFile] = []  # earlier versions, from which known layers are still read
        self._images: tuple[SavedImage | DamagedImage, ...] | None = None
        self._signature: Signature | None = None
        self._contents = Contents()
        self._proved: set[Digest] = set()
        self._damaged: set[Digest] = set()
        self._lock: ArchiveLock | None = None
        self._guard = threading.RLock()

    def repository(self, name: str) -> DockerRepository:
        """Return the repository of that name; "" has the images without a name."""
        return DockerRepository(self, name, self.made)

    async def repositories(self) -> AsyncIterator[str]:
        """Yield the names of all repositories, sorted; "" if there are images without a name."""
        with self.located():
            await asyncio.to_thread(self._load)
        names = {name.repository for name in self._names()}
        unnamed = any(not image.names for image in self._load())
        for name in sorted(names | ({""} if unnamed else set())):
            yield name

    async def unnamed(self) -> Sequence[Unnamed]:
        """Return the images without a name, by their positions."""
        with self.located():
            images = await asyncio.to_thread(self._load)
        found = ((Pick.at(number), image) for number, image in enumerate(images))
        return [Unnamed(pick, image.unread_name) for pick, image in found if not image.names]

    def release(self) -> None:
        """Release files and the lock."""
        for archive in (*self._replaced, self._archive):
            archive.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def find(self, repository: str, ref: Tag | Pick) -> KnownImage | None:
        """Return an image by its tag; in "" by its position, or the only one. Raises: UsageError."""
        image = self.saved(repository, ref)
        return known_image(image, self.layers) if image else None

    def saved(self, repository: str, ref: Tag | Pick) -> SavedImage | None:
        """Return an image by its tag; in "" by its position, or the only one. Raises: UsageError."""
        if isinstance(ref, Tag):
            image = self._named(Name(repository, ref))
        else:
            image = self._picked(ref) if not repository else None
        if isinstance(image, DamagedImage):
            raise image.error
        return image

    def _named(self, name: Name) -> SavedImage | DamagedImage | None:
        return next((image for image in self._load() if name in image.names), None)

    def _picked(self, pick: Pick) -> SavedImage | DamagedImage | None:
        images = self._load()
        if pick != THE_ONLY_ONE:
            position = pick.position
            return images[position] if position is not None and position < len(images) else None
        if len({image.id if isinstance(image, SavedImage) else image for image in images}) > 1:
            names = [image.names[0] if image.names else None for image in images]
            shown = [f"{name.repository}:{name.tag}" if name else Pick.at(number) for number, name in enumerate(names)]
            raise UsageError(
                f"the archive has {len(images)} images", remedy=f"name one: {some_of(shown, _NAMES_SHOWN)}"
            )
        return images[0] if images else None

    def search(self, repository: str, wanted: Digest | None) -> Iterator[KnownImage]:
        """Yield the images of a repository; "" means all, since `@N` can name each. None = those already known."""
        for image in self._intact():
            inside = not repository or any(name.repository == repository for name in image.names)
            if inside and (wanted or self.layers.knows(image.layers)):
                yield known_image(image, self.layers)

    def tags(self, repository: str) -> Sequence[Tag] | None:
        """Return the tags of a repository, sorted, including unwritten ones. Raises: RepositoryNotFound."""
        images = self._load()
        if not self._contents.names() and not self._archive.exists():
            raise RepositoryNotFound("the path does not exist or is empty", remedy="check the path")
        tags = sorted(name.tag for name in self._names() if name.repository == repository)
        return tags if tags or (not repository and images) else None

    def names(self) -> list[str]:
        """Return all names with their tags."""
        self._load()
        return [f"{name.repository}:{name.tag}" for name in self._names()]

    def _names(self) -> list[Name]:
        """Return all names, including unwritten ones and those of damaged images."""
        damaged = (image for image in self._load() if isinstance(image, DamagedImage))
        return [*self._contents.names(), *(name for image in damaged for name in image.names)]

    def image_id(self, repository: str, tag: Tag) -> Digest | None:
        """Return the ID of the image with a name."""
        self._load()
        return self._contents.id_of(Name(repository, tag))

    def has_layer(self, diff_id: Digest) -> bool:
        """Return whether an image has that layer, and it is not known to be damaged."""
        self._load()
        return diff_id in self._contents.layers() and diff_id not in self._damaged

    def config(self, image_id: Digest) -> bytes | None:
        """Return the config of an image."""
        self._load()
        return self._contents.config(image_id)

    def check_writable(self) -> None:
        """Raise StorageError for a pipe or a device, such as /dev/stdout."""
        check_replaceable(self._file)

    def begin(self) -> None:
        """Lock the archive.

        Raises: Locked, StorageError; Malformed if it is not a docker archive, or if one of its images is damaged,
        since a new archive would be without that image.
        """
        with self._guard:
            if self._lock is None:
                lock = ArchiveLock(self._file)
                try:
                    for image in self._load(again=True):
                        if isinstance(image, DamagedImage):
                            raise image.error
                except BaseException:
                    lock.release()
                    raise
                self._lock = lock

    def rename(self, image_id: Digest, name: Name | None) -> bool:
        """Add a name to an image of the archive; False if it does not have the image, or the image is damaged."""
        with self._guard:
            known = self._contents.config(image_id) is not None
            if known and self._damaged.intersection(self._contents.layers_of(image_id)):
                return False
            return self._contents.rename(image_id, name)

    def keep(self, image: Assembled, name: Name | None) -> None:
        """Stage an image under a name. Raises: IntegrityError if one of its layers is damaged in the archive."""
        for layer in image.layers:
            if self.incoming.piece(layer) is None:
                self._prove(layer)
        with self._guard:
            self._contents.add(image, name)
            # An image that is there already is written again to replace its damaged layers by new ones.
            self._contents.changed |= not self._damaged.isdisjoint(image.layers)

    def forget(self, name: Name) -> bool:
        """Remove a name; an image without names is dropped."""
        with self._guard:
            self._load()
            return self._contents.remove(name)

    def _intact(self) -> list[SavedImage]:
        return [image for image in self._load() if isinstance(image, SavedImage)]

    def _load(self, *, again: bool = False) -> tuple[SavedImage | DamagedImage, ...]:
        """Return the images of the file, which is read if that was not done yet, or if it has changed since."""
        with self._guard:
            if again and self._signature != signature_of(self._file):
                self._renew()
            if self._images is None:
                self._signature = signature_of(self._file)
                self._images = read_images(self._archive)
                self._contents = Contents([image for image in self._images if isinstance(image, SavedImage)])
            return self._images

    def _saved(self, diff_id: Digest) -> SavedLayer:
        return next(layer for image in self._intact() for layer in image.layers if layer.diff_id == diff_id)

    def prove(self, diff_id: Digest, watch: Callable[[int], object]) -> None:
        """Read every copy of a layer in the file, and verify it. Raises: ContentNotFound, Mismatch."""
        copies = {layer.member: layer for image in self._intact() for layer in image.layers if layer.diff_id == diff_id}
        if not copies:
            raise ContentNotFound("the archive has no such layer")
        try:
            for layer in copies.values():
                prove_layer(layer, watch)
        except IntegrityError:
            with self._guard:
                self._damaged.add(diff_id)
            raise

    def _prove(self, diff_id: Digest) -> None:
        """Verify a layer of the file that a new image reuses."""
        if diff_id not in self._proved:
            try:
                prove_layer(self._saved(diff_id), lambda _: None)
            except IntegrityError as error:
                raise IntegrityError(
                    f"layer {diff_id.short} is damaged in the archive: {error.message}",
                    remedy="remove the archive, or copy into another one",
                ) from error
            self._proved.add(diff_id)

    def _content(self, diff_id: Digest) -> Content:
        return self.incoming.piece(diff_id) or self._saved(diff_id)

    def is_published(self, repository: str, tag: Tag) -> bool:  # noqa: ARG002 - all images are written at once
        """Return whether the staged images are written."""
        with self._guard:
            return not self._contents.changed

    def write_pending(self) -> None:
        """Replace the file by one with all images. Raises: StorageError."""
        with self._guard:
            if self._lock is None or not self._contents.changed:
                return
            if self._signature != signature_of(self._file):
                raise StorageError(
                    "the archive was changed by another program during the run", remedy="run again: nothing was written"
                )
            writer = ArchiveWriter(self._lock)
            try:
                for entry in self._contents.entries(self._content):
                    with writer.filling(entry.name, entry.size) as filling:
                        for chunk in entry.chunks:
                            filling.write(chunk)
                writer.publish()
            except BaseException:
                writer.discard()
                raise
            self._renew()
            self._load()

    def _renew(self) -> None:
        """Read the file again on next use; known layers are still read from the old one."""
        self._replaced.append(self._archive)
        self._damaged.clear()
        self._archive, self._images = ArchiveFile(self._file, GRAMMAR, self._temporary), None
