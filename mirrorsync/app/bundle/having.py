"""What `--have` names: inventories, older bundles, generations, and what was sent."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mirrorsync.app.bundle.sending import Answered, Sender
from mirrorsync.app.history import read_generation
from mirrorsync.app.reading import absolute
from mirrorsync.app.session import query
from mirrorsync.app.stop import Stop
from mirrorsync.bundle.held import Held, held_after, merged
from mirrorsync.bundle.layout import DOCUMENT_NAME, INDEX_NAME, LAYOUT_NAME
from mirrorsync.bundle.model import Source
from mirrorsync.bundle.packing import SIGNATURE_BYTES
from mirrorsync.bundle.reading import MAX_DOCUMENT_BYTES, parse
from mirrorsync.documents.inventory import is_inventory, parse_inventory
from mirrorsync.environment import Environment
from mirrorsync.errors import Malformed, UsageError
from mirrorsync.events import Noticed
from mirrorsync.files.disk import translated
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.reference import Location
from mirrorsync.signing import BUNDLE, INVENTORY, MAX_SIGNATURE_BYTES
from mirrorsync.spec.model import Mirror, Spec
from mirrorsync.state import Generation
from mirrorsync.stores.bundle import newest_in
from mirrorsync.sync.bundle.remembered import RememberedSide, held_in
from mirrorsync.sync.session import Session
from mirrorsync.text import printable, some_of

SENT: Final = "sent"
_GENERATION: Final = "generation:"
_SHOWN: Final = 3  # images in a notice
_PART: Final = re.compile(r"\.\d+of\d+\.tar$")
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Having:
    """What the far side has. sources: from which it is known. destination: None = any.

    incomplete: names of inventories that lack what could not be read. doubts: those that may be of another site, and
    why. answered: what an answer code says, if one tells.
    """

    held: Held
    sources: tuple[Source, ...] = ()
    destination: str | None = None
    incomplete: tuple[str, ...] = ()
    doubts: tuple[tuple[str, str], ...] = ()
    answered: Answered | None = None


# Is given a document, the signatures over it, what these are for, and the name of the file; may reject it.
Vouch = Callable[[bytes, Sequence[bytes], str, str], object]


@dataclass(frozen=True, slots=True)
class RememberedAs:
    """A generation that `--have` names, what it says of the destination, and the destination's address."""

    generation: Generation
    side: RememberedSide
    destination: str


async def read_generations(
    written: Iterable[str], spec: Spec, destination: Location, environment: Environment, stop: Stop
) -> Mapping[str, RememberedAs]:
    """Read the generations that `--have` names, by their words, and report the images that they do not vouch for.

    Raises: UsageError for a word without a number, or a generation that is not remembered or has nothing there.
    """
    named = dict.fromkeys(text for text in written if text.startswith(_GENERATION))
    return {text: await _remembered(text, spec, destination, environment, stop) for text in named}


async def _remembered(
    text: str, spec: Spec, destination: Location, environment: Environment, stop: Stop
) -> RememberedAs:
    number = text.removeprefix(_GENERATION)
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise UsageError(f"{printable(text)} is not the number of a generation", remedy="write generation:3")
    generation = read_generation(spec, int(number), environment=environment)

    def mirrors(source: Location) -> list[Mirror]:
        return [mirror for mirror in spec.mirrors if mirror.covers(source)]

    async def ask(session: Session) -> RememberedSide:
        return await held_in(generation, destination, session, mirrors=mirrors)

    side = await query(ask, environment, stop, spec.registries, signers=spec.signers)
    if side.left_out:
        reasons = [f"{name}: {why}" for name, why in side.left_out.items()]
        images = "1 image counts" if len(reasons) == 1 else f"{len(reasons)} images count"
        message = f"{images} as absent, and would go whole: {some_of(reasons, _SHOWN)}"
        environment.observer(Noticed(text, message))
    return RememberedAs(generation, side, str(destination))


def read_having(
    written: Iterable[str],
    sender: Sender,
    vouch: Vouch | None = None,
    generations: Mapping[str, RememberedAs] = MappingProxyType({}),
) -> Having:
    """Read all that `--have` names; content is the union of all, and the tags are those of the newest.

    written: the path of an inventory, of the document or a part of a bundle, of a directory with bundles, `sent`, or a
    key of `generations`. vouch: checks the signatures of each document before anything is read from it, but for those
    of bundles that this sender remembers to have made; None = unsigned is right. Raises: UsageError, Malformed,
    StorageError, and what `vouch` raises.
    """
    held: list[tuple[str, Held]] = []
    sources: list[Source] = []
    inventories: list[tuple[str, str]] = []
    incomplete: list[str] = []
    doubts: list[tuple[str, str]] = []
    for text in written:
        if text == SENT:
            sent, source = sender.held()
            held.append((source.created, sent))
            sources.append(source)
            continue
        if (known := generations.get(text)) is not None:
            held.append((known.generation.created, known.side.held))
            sources.append(Source("generation", known.side.digest, known.generation.created))
            continue
        raw = document_at(absolute(text))
        is_of_far_side = is_inventory(raw[:65536]) or is_inventory(raw[-65536:])
        if vouch is not None and not sender.made(raw):
            vouch(raw, _all_signatures(absolute(text)), INVENTORY if is_of_far_side else BUNDLE, text)
        if is_of_far_side:
            inventory = parse_inventory(raw, printable(text))
            held.append((inventory.created, inventory.held))
            sources.append(Source("inventory", Digest.of(raw), inventory.created))
            inventories.append((inventory.created, inventory.location))
            incomplete += [text] * bool(inventory.unread)
            doubts += [(text, why)] if (why := sender.doubt(inventory.applied)) else []
        else:
            bundle = parse(raw, printable(text))
            held.append((bundle.created, held_after(bundle)))
            sources.append(Source("bundle", Digest.of(raw), bundle.created))
    destination = max(inventories)[1] if inventories else next((one.destination for one in generations.values()), None)
    return Having(merged(held), tuple(sources), destination, tuple(incomplete), tuple(doubts))


def answered_having(code: str, written: Iterable[str], sender: Sender) -> Having:
    """Return what the far side has by its answer code, and by nothing else. written: as for `read_having`.

    Raises: UsageError if anything but `sent` is written, or the code is about a bundle that is not remembered;
    GrammarError; Malformed; StorageError.
    """
    if other := next((text for text in written if text != SENT), None):
        raise UsageError(
            f"--answer tells what the far side has, and so does --have {printable(other)}",
            remedy="leave out one of them",
        )
    answered = sender.answered(code)
    source = Source(SENT, answered.document, answered.bundle.created)
    return Having(answered.held, (source,), answered.bundle.destination, answered=answered)


def document_at(path: Path) -> bytes:
    """Return the bytes of a document: of an inventory, or of the bundle that a path names.

    path: the document, a part, or a directory, where the newest bundle is meant. Raises: UsageError, NotFound,
    StorageError, Malformed.
    """
    if not path.exists():
        raise UsageError(f"{printable(os.fspath(path))} does not exist", remedy="check the path")
    if path.is_dir():
        path = newest_in(path)
    with translated(f"reading {path}"), path.open("rb") as file:
        start = file.read(512)
        if start.startswith(_GZIP):
            return _unzipped(path)
        if start[257:262] == b"ustar":
            return _inside(path)
        return start + file.read(MAX_DOCUMENT_BYTES + 1 - len(start))


def signatures_at(path: Path) -> list[bytes]:
    """Return the signatures in the parts of the bundle that a path names: those next to its document, or in a part.

    path: as for `document_at`. Signatures that were made later are next to the document, too, and not in its parts:
    if parts are there, one of them tells. Raises: as `document_at`.
    """
    if path.is_dir():
        path = newest_in(path)
    if path.suffix != ".tar":
        parts = sorted(path.parent.glob(f"{path.stem}.*of*.tar"))
        if not parts:
            with translated(f"reading {path}.sig"):
                return [one.read_bytes() for one in _next_to(path)]
        path = parts[0]
    try:
        with tarfile.open(path, "r:") as archive:
            found = []
            for member in archive:
                if member.name == INDEX_NAME:
                    break
                file = archive.extractfile(member)
                if member.name.startswith(f"{DOCUMENT_NAME}.") and file is not None:
                    found.append(file.read(SIGNATURE_BYTES))
            return found
    except (tarfile.TarError, OSError) as error:
        raise Malformed(f"{printable(os.fspath(path))} is not a part of a bundle") from error


def _all_signatures(path: Path) -> list[bytes]:
    """Return all signatures over a document, also those that were added later. path: as for `document_at`."""
    if path.is_dir():
        path = newest_in(path)
    document = path.with_name(_PART.sub(".json", path.name))
    with translated(f"reading {document}.sig"):
        beside = [_start(one) for one in _next_to(document)]
    return list(dict.fromkeys([*beside, *signatures_at(path)]))


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SIGNATURE_BYTES + 1)


def _next_to(document: Path) -> list[Path]:
    """Return the files of the signatures of a document, in order."""
    named = [document.with_name(f"{document.name}.{'' if at == 1 else f'{at}.'}sig") for at in range(1, 100)]
    return list(takewhile(Path.exists, named))


def _unzipped(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Malformed(f"{printable(os.fspath(path))} cannot be decompressed") from error


def _inside(path: Path) -> bytes:
    """Return the document in a part, which is its second member."""
    try:
        with tarfile.open(path, "r:") as archive:
            first, second = archive.next(), archive.next()
            if first is None or second is None or (first.name, second.name) != (LAYOUT_NAME, DOCUMENT_NAME):
                raise Malformed(f"{printable(os.fspath(path))} is not a part of a bundle")
            file = archive.extractfile(second)
            return file.read(MAX_DOCUMENT_BYTES + 1) if file is not None else b""
    except tarfile.TarError as error:
        raise Malformed(f"{printable(os.fspath(path))} is not a part of a bundle") from error
