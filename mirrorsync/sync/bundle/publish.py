"""The files of a bundle in a directory: written under temporary names, published when all of them are whole."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from mirrorsync.bundle.layout import Layout, layout
from mirrorsync.bundle.model import Bundle, Names
from mirrorsync.errors import StorageError
from mirrorsync.files.disk import make_directory, open_regular, sync_directory, translated
from mirrorsync.sync.bundle.reading import Contents, slices
from mirrorsync.sync.bundle.writing import PARTIAL, PartFile, PartStream, PartWriter


async def write_parts(
    bundle: Bundle,
    document: bytes,
    directory: Path,
    contents: Contents,
    *,
    signatures: Sequence[bytes] = (),
    site: Mapping[str, bytes] = MappingProxyType({}),
    only: Iterable[int] | None = None,
) -> tuple[str, ...]:
    """Write the parts of a bundle, and publish them with its document; return the names of the files.

    site: the content of the files of the site, by name. only: numbers of the parts to write, None = all. After a
    failure nothing is published, and nothing is left. Raises: StorageError, which names the part and its size;
    MirrorsyncError if content cannot be read.
    """
    is_new = _prepared(bundle.name, directory)
    numbers = sorted(set(only)) if only is not None else list(range(1, len(bundle.parts) + 1))
    layouts = {number: _with(site, layout(bundle, number, document, signatures)) for number in numbers}
    _check_space(directory, layouts)
    names = Names(bundle.stem, len(bundle.parts))
    sums: dict[str, str] = {}
    try:
        known = slices(bundle)
        for number, places in layouts.items():
            file = PartFile(directory / f"{names.part(number)}{PARTIAL}", places.size)
            try:
                await PartWriter(contents, file).write(places, known)
                sums[names.part(number)] = await asyncio.to_thread(file.finish)
            finally:
                file.close()
        small = {names.signature(number): data for number, data in enumerate(signatures, 1)}
        small[names.document] = document
        sized = {**sums, **{name: hashlib.sha256(data).hexdigest() for name, data in small.items()}}
        if only is None:
            small[names.checksums] = "".join(f"{sized[name]}  {name}\n" for name in sorted(sized)).encode()
        await asyncio.to_thread(_write_small, directory, small)
        # Parts, signatures, the document, checksums; not in a thread, so that a stop comes between no two of them.
        _publish(directory, (*sums, *small))
    except BaseException as error:
        with suppress(OSError):
            _give_up(bundle.name, directory, is_new=is_new)
        if isinstance(error, StorageError) and (remedy := _remedy(error)):
            raise error.with_(remedy=remedy) from error
        raise
    return (*sums, *sorted(small.keys() - {names.checksums}))


def _remedy(error: StorageError) -> str:
    """Return what helps if files cannot be written, "" if that was not the reason."""
    number = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
    if number == errno.EFBIG:
        return "make smaller parts (FAT32: --part-size 3GiB), or write to another directory; nothing was published"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or write to another directory; nothing was published"
    return ""


async def stream_part(
    bundle: Bundle,
    document: bytes,
    descriptor: int,
    contents: Contents,
    *,
    signatures: Sequence[bytes] = (),
    site: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Send the only part of a bundle to an open file. Raises: StorageError, MirrorsyncError."""
    places = _with(site, layout(bundle, 1, document, signatures))
    await PartWriter(contents, PartStream(descriptor)).write(places, slices(bundle))


def _with(site: Mapping[str, bytes], places: Layout) -> Layout:
    """Return a layout with the content of the files of the site, which no source has."""
    entries = (replace(one, data=site[one.member.name]) if one.member.name in site else one for one in places.entries)
    return replace(places, entries=tuple(entries))


def _write_small(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write small files under temporary names, on disk: a stick may be pulled out as soon as the verb ends."""
    with translated(f"publishing the bundle in {directory}"):
        for name, data in files.items():
            with (directory / f"{name}{PARTIAL}").open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())


def _publish(directory: Path, names: Iterable[str]) -> None:
    """Give files that are on disk their names, in order. Raises: StorageError."""
    with translated(f"publishing the bundle in {directory}"):
        for name in names:
            (directory / f"{name}{PARTIAL}").rename(directory / name)
        sync_directory(directory)


def list_more(directory: Path, stem: str, files: Iterable[str]) -> None:
    """Add files to the list for `sha256sum -c` of a bundle, if it has one. Raises: StorageError."""
    path = directory / Names(stem).checksums
    with translated(f"writing {path}"):
        if not path.exists():
            return
        lines = path.read_text().splitlines(keepends=True)
        for name in files:
            with open_regular(directory / name) as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
        text = "".join(sorted(lines, key=lambda line: line.partition("  ")[2]))
        _write_small(directory, {path.name: text.encode()})
        _publish(directory, [path.name])


def _prepared(name: str, directory: Path) -> bool:
    """Make a directory for a bundle; return whether it is new. Raises: StorageError."""
    with translated(f"writing {directory}"):
        is_new = not directory.exists()
        make_directory(directory)
        _remove_leftovers(name, directory)
    return is_new


def _give_up(name: str, directory: Path, *, is_new: bool) -> None:
    """Remove what was written, and the directory if it was made for that."""
    _remove_leftovers(name, directory)
    if is_new:
        directory.rmdir()


def _remove_leftovers(name: str, directory: Path) -> None:
    """Remove what a killed run of the same bundle's name has left."""
    own = re.compile(rf"{re.escape(name)}-[0-9]{{6,}}\.[a-z0-9.-]+{re.escape(PARTIAL)}")
    for path in directory.iterdir():
        if own.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _check_space(directory: Path, layouts: Mapping[int, Layout]) -> None:
    needed = sum(places.size for places in layouts.values())
    with translated(f"writing {directory}"):
        free = shutil.disk_usage(directory).free
    if needed > free:
        raise StorageError(
            f"{directory} has {free} bytes free; the bundle needs {needed}",
            remedy="free some space, or write to another directory",
        )
