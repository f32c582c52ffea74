"""Signatures next to what they are over: FILE.sig, FILE.2.sig ..., of the documents of bundles and of inventories."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from mirrorsync.app.bundle.applying import open_bundle
from mirrorsync.app.process import process_environment
from mirrorsync.app.reading import absolute
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.model import Names
from mirrorsync.environment import Environment
from mirrorsync.errors import UsageError
from mirrorsync.events import Noticed
from mirrorsync.files.disk import replace_file, translated
from mirrorsync.signing import BUNDLE, INVENTORY, sign, verify
from mirrorsync.stores.bundle import Found
from mirrorsync.sync.bundle.publish import list_more

_MOST: Final = 32  # as many as are examined


async def sign_bundle(
    path: str | os.PathLike[str],
    keys: Sequence[str],
    *,
    environment: Environment | None = None,
    stop: Stop | None = None,
) -> list[str]:
    """Add signatures to a bundle that others may have signed already; return the names of their new files.

    path: a directory (its newest bundle), its .json file, or one of its parts. keys: paths of SSH keys; one that has
    signed before is named in a notice, and adds nothing. Raises: SshKeygenFailed; NotFound; UsageError if its document
    is damaged; StorageError.
    """
    given, stop = environment or process_environment(), stop or Stop()
    if os.fspath(path) == "-":
        raise UsageError(
            "a part from a pipe cannot be signed", remedy="sign it before it is sent: bundle create --sign"
        )
    found = open_bundle(path)
    document = (found.directory or Path()) / Names(found.bundle.stem).document
    wrong = next((one for one in found.findings if one.file == document.name), None)
    if wrong is not None:
        raise UsageError(f"{document.name} is damaged: {wrong.message}", remedy="sign a copy that is whole")
    async with stop.listening():
        return await stop.interruptible(asyncio.to_thread(_sign, found, document, keys, given))


def _sign(found: Found, document: Path, keys: Sequence[str], environment: Environment) -> list[str]:
    """Sign the document of a bundle, and return the names of the new files. Blocking."""
    written: list[str] = []
    known = found.signatures()
    for key in keys:
        made = sign(found.document, absolute(key), BUNDLE, environment.variables)
        now = datetime.fromtimestamp(environment.clock.now(), UTC)
        signers = verify(found.document, [*known, made], None, BUNDLE, now, environment.variables).signers
        if any(one.key == signers[-1].key for one in signers[:-1]):
            environment.observer(Noticed(found.bundle.stem, f"{signers[-1].key} has signed it already"))
            continue
        if not document.exists():  # a part alone: `ssh-keygen -Y verify` needs the document as a file
            _write(document, found.document)
        written.append(add_signature(document, made))
        known.append(made)
    list_more(document.parent, found.bundle.stem, written)
    return written


def sign_inventory(document: bytes, path: str, keys: Sequence[str], environment: Environment) -> list[bytes]:
    """Return a signature by each key over an inventory that is to be written, and remove those of the one before it.

    document: uncompressed, also if the file is not. Blocking. Raises: SshKeygenFailed, NotFound, StorageError.
    """
    made = [sign(document, absolute(key), INVENTORY, environment.variables) for key in keys]
    with translated(f"writing {path}"):
        for old in list(_beside(absolute(path))):
            old.unlink()
    return made


def add_signature(document: Path, signature: bytes) -> str:
    """Write a signature next to a document, durably, as the next one; return the name of its file."""
    number = sum(1 for _ in _beside(document)) + 1
    path = _named(document, number)
    _write(path, signature)
    return path.name


def _write(path: Path, data: bytes) -> None:
    with translated(f"writing {path}"):
        replace_file(path, [data])


def _beside(document: Path) -> Iterator[Path]:
    for number in count(1):
        if number > _MOST or not (path := _named(document, number)).exists():
            return
        yield path


def _named(document: Path, number: int) -> Path:
    return document.with_name(f"{document.name}.{'' if number == 1 else f'{number}.'}sig")
