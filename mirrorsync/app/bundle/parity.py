"""Parity files of bundles: made next to the parts, and used to compute those that are lost or damaged."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.findings import Repaired
from mirrorsync.environment import Environment
from mirrorsync.errors import MirrorsyncError, StorageError, UsageError
from mirrorsync.events import BytesMoved, ReadPlanned
from mirrorsync.files.disk import make_directory, regular_size, translated
from mirrorsync.files.parity.document import read_percent
from mirrorsync.files.parity.make import document_name, protect
from mirrorsync.files.parity.slices import Watch
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.transports import BUNDLE as SCHEME
from mirrorsync.stores.bundle import find_names
from mirrorsync.sync.bundle.publish import list_more
from mirrorsync.sync.bundle.repairing import repair_files

_PARITY: Final = ".parity"
_NOT_WRITTEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM})


def read_share(text: str) -> Fraction:
    """Return the share of parity that `10%` means. Raises: GrammarError if it is not a number from 1% to 100%."""
    return read_percent(text)


async def add_parity(
    directory: Path, document: bytes, files: Sequence[str], share: Fraction, environment: Environment, stop: Stop
) -> tuple[str, ...]:
    """Write parity files for the files of a whole bundle, and return their names.

    document: of the bundle. files: the names of its parts, document and signatures. share: of parity. Raises:
    StorageError; Interrupted.
    """
    parts = [name for name in files if name.endswith(".tar")]
    others = [name for name in files if name not in parts]
    stem = next(name for name in others if name.endswith(".json")).removesuffix(".json")
    watch = _watch(directory, files, environment, stop)

    def make() -> list[str]:
        try:
            made = protect(directory, stem, parts, others, share=share, subject=Digest.of(document), watch=watch)
        except StorageError as error:
            raise error.with_(
                message=f"the bundle is complete, but without parity files: {error.message}",
                remedy="use it without them, or make another one where there is more room",
            ) from error
        list_more(directory, stem, made)
        return made

    return tuple(await asyncio.to_thread(make))


async def repair_bundle(
    path: str | os.PathLike[str],
    output: str | None = None,
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> Repaired:
    """Compute what is damaged or missing of a bundle, with its parity files, and write it anew.

    path: a directory (its newest bundle), or one of the bundle's files. output: the directory to write to, None =
    where the files are. A file gets its name only if it is what the document names. Raises: NotFound if there is no
    parity; Malformed; StorageError; IntegrityError; Interrupted.
    """
    given, stop = environment or process_environment(), stop or Stop()
    if os.fspath(path) == "-":
        raise UsageError("a part from a pipe cannot be repaired", remedy="name the directory with its parity files")
    directory, stem = _named(path)
    into = absolute(output) if output is not None else None
    if into is not None:
        with translated(f"writing {into}"):
            make_directory(into)
    with translated(f"reading {directory}"):
        files = [one.name for one in directory.iterdir() if one.name.startswith(f"{stem}.")]
    watch = _watch(directory, files, given, stop)
    try:
        async with stop.listening():
            return await stop.interruptible(asyncio.to_thread(repair_files, directory, stem, into, watch))
    except StorageError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _NOT_WRITTEN:
            raise
        raise error.with_(remedy="write the repaired files to another directory: --output DIR") from error


def has_parity(path: str | os.PathLike[str]) -> bool:
    """Return whether there are parity files for a bundle. path: as for `repair_bundle`; `-` has none."""
    if os.fspath(path) == "-":
        return False
    try:
        directory, stem = _named(path)
        return any(
            one.name == document_name(stem) or (one.name.startswith(f"{stem}{_PARITY}-") and one.suffix == ".par")
            for one in directory.iterdir()
        )
    except (MirrorsyncError, OSError):
        return False


def _named(path: str | os.PathLike[str]) -> tuple[Path, str]:
    return find_names(absolute(os.fspath(path).removeprefix(SCHEME)))


def _watch(directory: Path, files: Iterable[str], environment: Environment, stop: Stop) -> Watch:
    """Announce that files are read, and return what announces their bytes; it raises Interrupted."""
    sizes = [regular_size(directory / name) or 0 for name in files]
    environment.observer(ReadPlanned(len(sizes), sum(sizes)))

    def watch(size: int) -> None:
        if stop.event.is_set():
            raise stop.interrupted()
        environment.observer(BytesMoved(directory.name, size))

    return watch
