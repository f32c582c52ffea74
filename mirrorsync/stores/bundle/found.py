"""Find the files of one bundle: its document, and its parts by what is in them. Those of other bundles stay closed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrorsync.bundle.findings import Damage, Finding
from mirrorsync.bundle.model import FORMAT, Bundle, Names
from mirrorsync.bundle.packing import head_bytes
from mirrorsync.bundle.reading import MAX_DOCUMENT_BYTES, parse
from mirrorsync.errors import Malformed, MirrorsyncError, NotFound, StorageError, UsageError
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.disk import open_regular, regular_size, translated
from mirrorsync.oci.digest import Digest
from mirrorsync.stores.bundle.part import (
    MAX_SIGNATURE_BYTES,
    MAX_SIGNATURES,
    FileReader,
    Opener,
    PartFile,
    embedded_document,
    why_unreadable,
)
from mirrorsync.text import some_of

_DOCUMENT: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)-(?P<sequence>\d{6,})\.json")
_PART: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)-(?P<sequence>\d{6,})\.\d{3,}of\d{3,}\.tar")
_ANY: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*)-(?P<sequence>\d{6,})\."
    r"(json|sha256|\d{3,}of\d{3,}\.tar|parity\.json|parity-\d+\.par)"
)
# As every document has it, since its JSON has one spelling; inside a text of other JSON the quotes are escaped.
_FORMAT: Final = f'"format":"{FORMAT}"'.encode()
_REMEDY: Final = "give the directory of a bundle, its .json file, or one of its parts"


@dataclass(frozen=True, slots=True)
class Found:
    """The files of one bundle. document: its bytes. parts: those that are here, by number. findings: about files.

    directory: None = it comes from a pipe.
    """

    bundle: Bundle
    document: bytes
    directory: Path | None
    parts: Mapping[int, PartFile]
    findings: tuple[Finding, ...] = ()

    def signatures(self) -> list[bytes]:
        """Return the signatures over the document: those of files next to it, and those inside a part, each once.

        Blocking. They are not verified. Raises: StorageError.
        """
        found: list[bytes] = []
        names = Names(self.bundle.stem, len(self.bundle.parts))
        for number in range(1, MAX_SIGNATURES + 1) if self.directory else ():
            try:
                with open_regular((self.directory or Path()) / names.signature(number)) as file:
                    found.append(file.read(MAX_SIGNATURE_BYTES))
            except FileNotFoundError:
                break
        for part in self.parts.values():
            with suppress(StorageError), part.opened() as reader:
                found += part.signatures(reader)
                break  # those of every part are the same; the next one is for a part that cannot be read
        return list(dict.fromkeys(found))

    @property
    def digest(self) -> Digest:
        """The digest of the document."""
        return Digest.of(self.document)


def find_bundle(path: Path, opener: Opener = FileReader) -> Found:
    """Return the bundle at a path: a directory (its newest bundle), the .json file of a bundle, or one of its parts.

    Blocking; of the parts only their heads are read. Raises: NotFound, UsageError if the directory has bundles of
    several names, Malformed, StorageError.
    """
    with translated(f"reading {path}"):
        where = _newest(path) if path.is_dir() else path
        if not where.exists():
            raise NotFound(f"{path} does not exist", remedy=_REMEDY)
        named = where if where.suffix != ".json" else None
        siblings = sorted(one for one in where.parent.iterdir() if _may_be_a_part(one) or one == named)
    findings: list[Finding] = []
    bundle, document = _document(where, siblings, findings, opener)
    parts = _Search(bundle, document, siblings, findings, opener).parts()
    return Found(bundle, document, where.parent, parts, tuple(findings))


def _may_be_a_part(path: Path) -> bool:
    """Return whether a file may be a part by its name. One of which the medium tells nothing may be it."""
    try:
        return path.suffix.lower() == ".tar" and path.is_file()
    except OSError:
        return True


def find_names(path: Path) -> tuple[Path, str]:
    """Return the directory of a bundle, and how the names of its files begin, also if none of them can be read.

    path: as for `find_bundle`, or any other file of the bundle. Raises: as `find_bundle`.
    """
    with translated(f"reading {path}"):
        where = _newest(path, (_ANY,)) if path.is_dir() else path
    if match := _ANY.fullmatch(where.name):
        return where.parent, f"{match['name']}-{match['sequence']}"
    return where.parent, find_bundle(where).bundle.stem


def highest_number(directory: Path, name: str) -> int:
    """Return the highest number of the bundles of a name that a directory has files of; 0 without any. Blocking.

    Raises: StorageError.
    """
    with translated(f"reading {directory}"):
        found = _named(directory, _ANY) if directory.is_dir() else []
    return max((int(match["sequence"]) for match in found if match["name"] == name), default=0)


def bundles_in(directory: Path) -> list[str]:
    """Return the beginnings of the names of all bundles that a directory has documents or parts of, sorted. Blocking.

    Raises: StorageError.
    """
    with translated(f"reading {directory}"):
        found = [*_named(directory, _DOCUMENT), *_named(directory, _PART)]
    return sorted({_stem(match) for match in found})


def newest_in(directory: Path) -> Path:
    """Return the document of the newest bundle in a directory, or a part of it if there are no documents. Blocking.

    Raises: NotFound; UsageError if the directory has bundles of several names; StorageError.
    """
    with translated(f"reading {directory}"):
        return _newest(directory)


def _newest(directory: Path, patterns: Sequence[re.Pattern[str]] = (_DOCUMENT, _PART)) -> Path:
    """Return the document of the newest bundle in a directory; a part of it if there are no documents."""
    for pattern in patterns:
        found = _named(directory, pattern)
        bundles = sorted({match["name"] for match in found})
        if len(bundles) > 1:
            raise UsageError(
                f"{directory} has bundles of {some_of(bundles, 4)}",
                remedy=f"name one of its files, such as {directory / max(match[0] for match in found)}",
            )
        if found:
            return directory / max(found, key=lambda match: int(match["sequence"]))[0]
    raise NotFound(f"there is no bundle in {directory}", remedy=_REMEDY)


def _named(directory: Path, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Return the files of bundles in a directory whose names match a pattern, sorted. Raises: OSError.

    Whoever writes an inventory or a report puts the date into its name: `far-20261126.json` is a document only if there
    are parts that belong to it, or if that is in it. A damaged document, which a part repairs, has such parts.
    """
    matches = [match for name in sorted(one.name for one in directory.iterdir()) if (match := _ANY.fullmatch(name))]
    own = {_stem(match) for match in matches if match[0].endswith((".tar", ".par", ".parity.json"))}
    doubtful = {_stem(match) for match in matches} - own
    own |= {stem for stem in doubtful if _is_document(directory / f"{stem}.json")}
    return [match for match in matches if _stem(match) in own and pattern.fullmatch(match[0])]


def _stem(match: re.Match[str]) -> str:
    return f"{match['name']}-{match['sequence']}"


def _is_document(path: Path) -> bool:
    """Return whether a file says that it is the document of a bundle; one that cannot be read may be it."""
    if regular_size(path) is None:
        return False
    end, left = b"", MAX_DOCUMENT_BYTES
    try:
        with open_regular(path) as file:
            while chunk := file.read(min(CHUNK_BYTES, left)):
                if _FORMAT in end + chunk:
                    return True
                end, left = chunk[-len(_FORMAT) :], left - len(chunk)
    except (OSError, StorageError):
        return True
    return False


def _document(where: Path, siblings: list[Path], findings: list[Finding], opener: Opener) -> tuple[Bundle, bytes]:
    """Return the document and its bytes: from its file, else, if that is damaged, from a part with its name."""
    if where.suffix != ".json":
        data = _embedded(where, opener)
        return parse(data, str(where)), data
    try:
        data = _beginning(where, opener)
        return parse(data, str(where)), data
    except (Malformed, StorageError) as error:
        for part in siblings:
            if not part.name.startswith(f"{where.stem}."):
                continue
            try:
                data = _embedded(part, opener)
                found = parse(data, str(part)), data
            except MirrorsyncError:
                continue
            if isinstance(error, Malformed):
                why = error.message.removeprefix(str(where)).lstrip(": ")
                findings.append(Finding(Damage.DAMAGED, where.name, why))
            else:
                findings.append(Finding(Damage.UNREADABLE, where.name, why_unreadable(error)))
            return found
        raise


def _beginning(path: Path, opener: Opener) -> bytes:
    """Return a file, or as much of it as no document has. A bad sector ends no single read: it shortens it."""
    with translated(f"reading {path}"):
        reader = opener(path)
        try:
            return reader.read_at(0, MAX_DOCUMENT_BYTES + 1)
        finally:
            reader.close()


def _embedded(path: Path, opener: Opener) -> bytes:
    with translated(f"reading {path}"):
        reader = opener(path)
        try:
            return embedded_document(reader, str(path))
        finally:
            reader.close()


class _Search:
    """Which file is which part."""

    def __init__(
        self, bundle: Bundle, document: bytes, files: list[Path], findings: list[Finding], opener: Opener
    ) -> None:
        self._bundle = bundle
        self._document = document
        self._files = files
        self._findings = findings
        self._opener = opener
        self._found: dict[int, PartFile] = {}
        self._mixed: set[int] = set()

    def parts(self) -> dict[int, PartFile]:
        """Return the parts that are here; note what is missing, renamed, there twice, or of another bundle.

        A file of another bundle is left alone if the part that it has the name of is here under another name.
        """
        own = {part.name: number for number, part in enumerate(self._bundle.parts, 1)}
        doubtful = [(own[file.name], file) for file in self._files if file.name in own and not self._taken(file, own)]
        for number, file in doubtful:
            # Two parts whose names were swapped; otherwise it is damaged, and verified under its name.
            if not self._identified(file):
                self._found.setdefault(number, self._as(file, number))
        for file in self._files:
            if file.name not in own and not self._is_of_another(file, damaged=True):
                self._identified(file)
        for number, one in enumerate(self._bundle.parts, 1):
            if number not in self._found:
                mixed = number in self._mixed
                why = "it is a part of another bundle" if mixed else "it is not here"
                self._findings.append(Finding(Damage.MIXED if mixed else Damage.MISSING, one.name, why, number))
        return self._found

    def _taken(self, file: Path, own: Mapping[str, int]) -> bool:
        """Take a file for the part that it has the name of; return False if it may be another part, or is damaged."""
        number = own[file.name]
        if self._is_of_another(file):
            self._mixed.add(number)
            return True
        part = self._as(file, number)
        if _fits(part):
            self._found[number] = part
        return number in self._found

    def _as(self, file: Path, number: int) -> PartFile:
        return PartFile(file, self._bundle, self._document, number, self._opener)

    def _is_of_another(self, file: Path, *, damaged: bool = False) -> bool:
        """Return whether a file has the document of another bundle. damaged: the answer if it has no document."""
        try:
            document = _embedded(file, self._opener)
            if document != self._document:
                parse(document)
                return True
        except MirrorsyncError:
            return damaged
        return False

    def _identified(self, file: Path) -> bool:
        """Take a file for the part whose headers it has; return whether it has those of one."""
        for number, part in self._candidates(file):
            if number in self._found and part.name != file.name:
                self._findings.append(Finding(Damage.DUPLICATE, file.name, f"it is {part.name} once more", number))
            else:
                self._found[number] = part
                self._findings.append(Finding(Damage.RENAMED, file.name, f"it is {part.name}", number))
            return True
        return False

    def _candidates(self, file: Path) -> Iterator[tuple[int, PartFile]]:
        """Yield the parts whose headers a file has. Those of its size are tried first: a hundred renamed parts would
        otherwise be compared with ten thousand lists of headers.
        """
        body = (regular_size(file) or 0) - head_bytes(len(self._document), 0)
        ranked = sorted(
            (abs(part.body - body), number in self._found, number) for number, part in enumerate(self._bundle.parts, 1)
        )
        for _, _, number in ranked:
            part = self._as(file, number)
            try:
                if part.has_headers() and part.has_headers(whole=True):
                    yield number, part
            except StorageError:
                return  # a drive tries for seconds to read a bad sector, and there may be thousands of parts
            except MirrorsyncError:
                continue


def _fits(part: PartFile) -> bool:
    """Return whether the first and the last header are those of a part."""
    try:
        return part.has_headers()
    except MirrorsyncError:
        return False
