"""Repair the files of a bundle with its parity files, and accept only what its document names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from mirrorsync.bundle.findings import HARMLESS, Repaired
from mirrorsync.bundle.layout import BLOCK, LAYOUT_CONTENT, LAYOUT_NAME, span
from mirrorsync.bundle.model import Bundle, Names
from mirrorsync.bundle.reading import MAX_DOCUMENT_BYTES, parse
from mirrorsync.errors import GrammarError, IntegrityError, Malformed, MirrorsyncError
from mirrorsync.files.disk import open_regular, translated
from mirrorsync.files.parity.make import PARTIAL
from mirrorsync.files.parity.repair import examine, repair
from mirrorsync.files.parity.slices import Watch
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.bundle import Found, PartFile, check_bundle

_IN_PART: Final = span(LAYOUT_NAME, len(LAYOUT_CONTENT)) + BLOCK  # where a part has the document
_ANOTHER: Final = "use the parity files that were made with the bundle"


def repair_files(directory: Path, stem: str, output: Path | None, watch: Watch) -> Repaired:
    """Compute the files of a bundle that are damaged or missing, and write them anew, as far as parity suffices.

    Blocking. stem: the beginning of the names of its files. output: where to write, None = to their own directory.
    watch: is called with the bytes that are read and written. Raises: NotFound if there is no parity; Malformed if it
    is of another bundle; StorageError; IntegrityError if what was computed is not what the document names.
    """
    damage = examine(directory, stem, watch)
    sizes = {one.name: one.size for one in damage.parity.files}
    names = Names(stem)
    try:
        files = _Files(directory, output or directory, names, Digest(damage.parity.subject), sizes[names.document])
    except (GrammarError, KeyError):
        files = None
    if files is None or files.size > MAX_DOCUMENT_BYTES:
        raise Malformed(f"the parity files of {stem} are not of a bundle", remedy=_ANOTHER) from None
    files.reject_another()
    repaired: list[str] = []
    if damage.repairable or damage.document:
        repaired = repair(directory, stem, damage, files.accept, output=output, watch=watch)
    shape = damage.parity.shape
    return Repaired(stem, tuple(repaired), damage.hopeless, damage.missing, damage.worst, shape.rows, shape.columns)


@dataclass(frozen=True)
class _Files:
    """The files of a bundle while they are repaired. subject, size: of its document, as the parity files name it."""

    directory: Path
    into: Path
    names: Names
    subject: Digest
    size: int

    def reject_another(self) -> None:
        """Reject parity that is not of this bundle, which it would turn into the other one. Raises: Malformed."""
        here = _read(self.directory / self.names.document, 0, self.size)
        if Digest.of(here) == self.subject:
            return
        for part in self._parts():
            # The document and a part agree about being another bundle: that is not damage.
            if here and _read(part, _IN_PART, len(here)) == here:
                raise Malformed(f"the parity files of {self.names.stem} are of another bundle", remedy=_ANOTHER)

    def accept(self, name: str, path: Path) -> None:
        """Check a file that was computed. Raises: IntegrityError, Malformed."""
        if name == self.names.document:
            if Digest.of(_read(path, 0, self.size)) != self.subject:
                raise IntegrityError(f"{name} as it was repaired does not match its digest {self.subject.short}")
        elif (number := self._numbers.get(name)) is not None:
            self._accept_part(number, path)
        elif not (name.startswith(f"{self.names.document}.") and name.endswith(".sig")):
            raise Malformed(f"the parity files are for {name}, which is not a file of the bundle", remedy=_ANOTHER)

    def _accept_part(self, number: int, path: Path) -> None:
        bundle, document = self._bundle
        part = PartFile(path, bundle, document, number)
        found = check_bundle(Found(bundle, document, None, {number: part}))
        wrong = [one for one in found.findings if one.damage not in HARMLESS]
        if wrong:
            about = f"{wrong[0].member}: {wrong[0].message}" if wrong[0].member else wrong[0].message
            raise IntegrityError(
                f"the bytes of {part.name} as it was repaired are not those that the document names: {about}"
            )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {part.name: number for number, part in enumerate(self._bundle[0].parts, 1)}

    @cached_property
    def _bundle(self) -> tuple[Bundle, bytes]:
        """The document with the digest that the parity files name: its file, perhaps a repaired one, or in a part."""
        name = self.names.document
        for path, offset in (
            (self.directory / name, 0),
            (self.into / f"{name}{PARTIAL}", 0),
            *((part, _IN_PART) for part in self._parts()),
        ):
            raw = _read(path, offset, self.size)
            if Digest.of(raw) == self.subject:
                return parse(raw, name), raw
        raise IntegrityError(
            f"no copy of {name} has the bytes that were signed, and it cannot be repaired: nothing vouches for parts"
        )

    def _parts(self) -> Iterator[Path]:
        yield from sorted(self.directory.glob(f"{self.names.stem}.*.tar"))


def _read(path: Path, offset: int, size: int) -> bytes:
    """Return up to `size` bytes of a file, "" if it cannot be read."""
    try:
        with translated(f"reading {path}"), open_regular(path, offset) as file:
            data = b""
            while len(data) < size and (more := file.read(size - len(data))):
                data += more
            return data
    except (MirrorsyncError, FileNotFoundError):
        return b""
