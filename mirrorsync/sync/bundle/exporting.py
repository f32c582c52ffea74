"""Write images of a bundle as files that container runtimes import: an archive for each image, or a cache of all."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.bundle.archives import archive_layout, closure, file_name, source_name
from mirrorsync.bundle.layout import Layout, padding
from mirrorsync.bundle.model import Delta, Image, Object, blob_name
from mirrorsync.errors import ContentNotFound, ExitCode, IntegrityError, MirrorsyncError, StorageError
from mirrorsync.files.disk import make_directory, open_regular, sync_directory, translated
from mirrorsync.oci import media_types
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.names import is_attachment_tag
from mirrorsync.oci.reference import Location
from mirrorsync.stores.bundle import BundleStore
from mirrorsync.sync.bundle.reading import Contents, ReadFrom, Slice
from mirrorsync.sync.bundle.writing import PARTIAL, PartFile, PartWriter
from mirrorsync.sync.session import Session

_WHOLE: Final = "have its sender make the bundle with --deltas off"
_NOT_CARRIED: Final = "the bundle does not carry all of it: it was at the destination when the bundle was made"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive, or an image in a cache. name: of the image. written: False if it was there already.

    path: of the archive, or of the file with the manifest that the name stands for. size: of all of it, in bytes.
    """

    path: Path
    name: str
    content: Digest
    size: int
    written: bool


@dataclass(frozen=True, slots=True)
class Unwritten:
    """An image without an archive, and why. error: None if it is not meant to have one."""

    name: str
    reason: str
    error: MirrorsyncError | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """The archives of a bundle's images. unwritten: images without one."""

    archives: tuple[Archive, ...]
    unwritten: tuple[Unwritten, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 4 if content is damaged, 3 if some images could not be written, 1 if none could."""
        errors = [one.error for one in self.unwritten if one.error is not None]
        if any(isinstance(error, IntegrityError) for error in errors):
            return ExitCode.INTEGRITY
        if not errors:
            return ExitCode.DONE
        return ExitCode.PARTLY if self.archives else ExitCode.FAILED


def contents_of(store: BundleStore, session: Session, stop: threading.Event) -> Contents:
    """Return the content of a bundle, read from its own parts. Raises: as `BundleStore.found`."""

    async def at_once(_: float) -> None:
        """Do not wait before a retry: a file on a disk does not become better with time."""

    origins = {
        one.digest: ReadFrom(Location(store.address, next(iter(one.repositories), "")), one.content)
        for one in store.bundle.objects
    }
    return Contents(session, origins, stop, at_once)


# Is given an image, its name at its source, and its objects; writes it unless it is there.
Write = Callable[[Image, str, Mapping[Digest, Object]], Awaitable[Archive]]


def archives_in(directory: Path, contents: Contents) -> Write:
    """Return what writes an archive of an image into a directory.

    A file that has the image already stays as it is, so that nothing is imported again because of it.
    """

    async def write(image: Image, name: str, objects: Mapping[Digest, Object]) -> Archive:
        return await _archive(image, name, objects, directory, contents)

    return write


async def write_images(store: BundleStore, directory: Path, write: Write, session: Session) -> Exported:
    """Write every image that a cluster runs and the bundle carries, below a directory.

    Signatures and other artifacts are left out. A failure is of one image. Raises: StorageError if the directory cannot
    be written.
    """
    with translated(f"writing {directory}"):
        make_directory(directory)
    archives: list[Archive] = []
    unwritten: list[Unwritten] = []
    for image in store.bundle.images:
        if image.subject is not None or (image.tag is not None and is_attachment_tag(image.tag)):
            continue
        name = ""
        try:
            name = source_name(image)
            planned = await _planned(image, name, store, session)
            if isinstance(planned, Unwritten):
                unwritten.append(planned)
            else:
                archives.append(await write(image, name, planned))
        except StorageError:
            raise
        except MirrorsyncError as error:
            reason = f"{error.message}; {error.remedy}" if error.remedy else error.message
            unwritten.append(Unwritten(name or image.name, reason, error))
    with translated(f"writing {directory}"):
        sync_directory(directory)
    return Exported(tuple(archives), tuple(unwritten))


async def _planned(
    image: Image, name: str, store: BundleStore, session: Session
) -> Mapping[Digest, Object] | Unwritten:
    """Return the objects of an image's archive, or why it gets none. Raises: MirrorsyncError if they are not here."""
    root = image.content.digest
    if root not in store.bundle.by_digest:
        return Unwritten(name or image.name, "unchanged: the bundle does not carry it")
    if not name:
        return Unwritten(image.name, f"{image.source} says of no registry that it is from there")
    objects = closure(store.bundle, root)
    if objects is None:
        raise ContentNotFound(_NOT_CARRIED)
    for one in objects.values():
        if isinstance(one.form, Delta) and not store.has(one):
            raise ContentNotFound(f"{store.why_not(one)}, which only the destination has", remedy=_WHOLE)
        store.object(one.digest)
    manifest = await session.manifest(Location(store.address, image.repository), image.content)
    if manifest.media_type in media_types.IMAGES and manifest.artifact_type not in media_types.IMAGE_CONFIGS:
        return Unwritten(name, f"not an image that runs: {manifest.artifact_type}")
    return objects


async def _archive(
    image: Image, name: str, objects: Mapping[Digest, Object], directory: Path, contents: Contents
) -> Archive:
    layout = archive_layout(image, name, objects)
    path = directory / file_name(name)
    there = await asyncio.to_thread(_is_there, path, layout)
    if not there:
        await _write(path, layout, objects, contents)
    return Archive(path, name, image.content.digest, layout.size, not there)


async def _write(path: Path, layout: Layout, objects: Mapping[Digest, Object], contents: Contents) -> None:
    partial = path.with_name(f"{path.name}{PARTIAL}")
    file = PartFile(partial, layout.size)
    try:
        known = {blob_name(one.digest): Slice(one, one.content) for one in objects.values()}
        await PartWriter(contents, file).write(layout, known)
        await asyncio.to_thread(file.finish)
        with translated(f"writing {path}"):
            partial.rename(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    finally:
        file.close()


def _is_there(path: Path, layout: Layout) -> bool:
    """Return whether a file is of the right size and begins with the index.json of the image: it was renamed whole."""
    head = b"".join(one.header + one.data + padding(len(one.data)) for one in layout.entries if one.data is not None)
    try:
        with open_regular(path) as file, translated(f"reading {path}"):
            return os.fstat(file.fileno()).st_size == layout.size and file.read(len(head)) == head
    except FileNotFoundError:
        return False
