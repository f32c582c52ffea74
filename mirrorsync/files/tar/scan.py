"""Find the members of a tar archive by reading its headers in order, against a closed grammar.

Nothing is extracted, so no name of an archive ever becomes a path. The headers are parsed one by one, with the standard
library for the 512 bytes of each, but not by its TarFile: that trusts sizes (CVE-2025-8194) and reads pax headers as
large as the file into memory. What readers of tar parse in different ways is rejected (CVE-2025-62518: two sizes for
one member hide an archive in an archive).
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from mirrorsync.errors import IntegrityError, printable

BLOCK: Final = 512
MAX_MEMBERS: Final = 1_000_000  # a mirror of 100,000 tags has about half as many blobs
_MAX_EXTENSION: Final = 1024 * 1024  # of a pax or long name header; extended attributes have up to 64 KiB each
_USTAR_MAX: Final = 8**11 - 1  # libarchive writes this size if only the pax header has room for the real one
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n\0]+)=")
_PAX_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
# Pax records that change the meaning of names or data; no archive of images has them.
_PAX_REFUSED: Final = re.compile(r"GNU\.sparse\..*|SCHILY\.realsize|hdrcharset")
_KINDS: Final = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a fifo",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Member(NamedTuple):
    """A regular file in an archive: the offset of its bytes, and how many there are."""

    offset: int
    size: int


def _no_links(name: str, target: str) -> str | None:  # noqa: ARG001 - the signature of Grammar.links
    return None


@dataclass(frozen=True, slots=True)
class Grammar:
    """The names that one kind of archive may have; all others are rejected.

    what: the kind, for messages, as in "an OCI archive". files, directories: must match whole names, which have no
    slash at the end and no "./" at the beginning. links: takes the name and the target of a symbolic link, and returns
    the name of the file that it is an alias of (in the table; no file system is asked), None if it is not allowed.
    """

    what: str
    files: re.Pattern[str]
    directories: re.Pattern[str]
    links: Callable[[str, str], str | None] = _no_links


def scan(file: BinaryIO, grammar: Grammar, *, limit: int = MAX_MEMBERS) -> Mapping[str, Member]:
    """Return the regular files of an archive by name; a link that the grammar allows has its file's offset and size.

    file: seekable. limit: the most members it may have. Raises: IntegrityError, which names the member, for an archive
    that is incomplete, ambiguous, or breaks the grammar; OSError.
    """
    return _Scan(file, grammar, limit).table()


class _Scan:
    """One pass over the headers."""

    def __init__(self, file: BinaryIO, grammar: Grammar, limit: int) -> None:
        self._file = file
        self._grammar = grammar
        self._limit = limit
        self._end = file.seek(0, 2)
        self._offset = 0
        self._table: dict[str, Member] = {}
        self._directories: set[str] = set()
        self._links: dict[str, str] = {}

    def table(self) -> dict[str, Member]:
        """Read all headers, and return the table."""
        count = 0
        while (header := self._header()) is not None:
            count += 1
            if count > self._limit:
                raise IntegrityError(f"the archive has more than {self._limit} members")
            self._take(*self._extended(header))
        for name, target in self._links.items():
            if target not in self._table:
                raise _refused(name, f"is a link to {printable(target, 200)!r}, which is missing")
        self._table.update({name: self._table[target] for name, target in self._links.items()})
        return self._table

    def _header(self) -> tarfile.TarInfo | None:
        """Return the next header, None at the end of the archive. Raises: IntegrityError, also if that is missing."""
        block = self._read(BLOCK, "the archive's headers")
        if block == bytes(BLOCK):
            if self._offset < self._end and any(self._read(min(BLOCK, self._end - self._offset), "the end")):
                raise IntegrityError(f"the archive continues after its end, at byte {self._offset - BLOCK}")
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError, OverflowError) as error:
            what = "not a tar archive" if self._offset == BLOCK else f"no header at byte {self._offset - BLOCK}"
            raise IntegrityError(f"{what}: {printable(str(error), 100)}") from error

    def _extended(self, header: tarfile.TarInfo) -> tuple[tarfile.TarInfo, str]:
        """Return the header of a member, with the values of its pax and long name headers, and its name."""
        name: str | None = None
        extensions: set[bytes] = set()
        records: dict[str, str] = {}
        while header.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            if header.type in extensions:
                raise _refused(header.name, "has two extended headers of the same kind")
            extensions.add(header.type)
            data = self._extension(header)
            if header.type == tarfile.XHDTYPE:
                records = _pax_records(header.name, data)
            else:
                name = _text(header.name, data.removesuffix(b"\0"))
            following = self._header()
            if following is None:
                raise _refused(header.name, "is an extended header without a member")
            header = following
        if name is not None and "path" in records:
            raise _refused(name, "has two names")
        name = records.get("path", header.name if name is None else name)
        header.linkname = records.get("linkpath", header.linkname)
        header.size = _size(name, header.size, records.get("size"))
        return header, name

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 < header.size <= _MAX_EXTENSION:
            raise _refused(header.name, f"is an extended header of {header.size} bytes; the limit is {_MAX_EXTENSION}")
        data = self._read(header.size, printable(header.name, 200))
        self._skip(header.name, header.size)
        return data

    def _take(self, header: tarfile.TarInfo, written: str) -> None:
        """Add a member to the table. Raises: IntegrityError if it is not allowed."""
        name = written.removeprefix("./")
        if header.type == tarfile.DIRTYPE:
            self._take_directory(written, name.rstrip("/"), header.size)
            return
        if name in self._table or name in self._links or name in self._directories:
            raise _refused(written, "is in the archive twice")
        if header.type == tarfile.SYMTYPE:
            target = self._grammar.links(name, header.linkname) if header.size == 0 else None
            if target is None:
                raise _refused(written, f"is a symbolic link to {printable(header.linkname, 200)!r}")
            self._links[name] = target
            return
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = _KINDS.get(header.type, f"a member of type {header.type!r}")
            raise _refused(written, f"is {kind}")
        if self._grammar.files.fullmatch(name) is None:
            raise _refused(written, f"does not belong in {self._grammar.what}")
        if header.size > self._end - self._offset:
            raise _refused(written, f"claims {header.size} bytes, but the archive ends before that")
        self._table[name] = Member(self._offset, header.size)
        self._offset += header.size
        self._skip(written, header.size)

    def _take_directory(self, written: str, name: str, size: int) -> None:
        if size:
            raise _refused(written, "is a directory with content")
        if name in self._table or name in self._links:
            raise _refused(written, "is in the archive twice")
        if written.rstrip("/") != "." and self._grammar.directories.fullmatch(name) is None:
            raise _refused(written, f"does not belong in {self._grammar.what}")
        self._directories.add(name)  # a directory may be listed twice: it has no content

    def _skip(self, name: str, size: int) -> None:
        """Go to the next header, past the padding that follows `size` bytes."""
        self._offset += -size % BLOCK
        if self._offset > self._end:
            raise _refused(name, "is truncated")

    def _read(self, size: int, what: str) -> bytes:
        self._file.seek(self._offset)
        data = b""
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                raise IntegrityError(f"the archive is truncated: it ends at byte {self._end}, inside {what}")
            data += more
        self._offset += size
        return data


def _pax_records(name: str, data: bytes) -> dict[str, str]:
    """Return the records of a pax header (POSIX pax, "pax Header Block"): `LENGTH KEYWORD=VALUE\\n` each."""
    records: dict[str, str] = {}
    position = 0
    while position < len(data):
        found = _PAX_RECORD.match(data, position)
        end = position + int(found[1]) if found else 0
        if found is None or not found.end() < end <= len(data) or data[end - 1] != ord("\n"):
            raise _refused(name, "is a pax header with malformed records")
        keyword = _text(name, found[2])
        if keyword in records or _PAX_REFUSED.fullmatch(keyword):
            raise _refused(name, f"is a pax header with {printable(keyword, 80)!r}, which is not allowed")
        # Values of other keywords are any bytes (extended attributes), and are ignored.
        known = keyword in ("path", "linkpath", "size")
        records[keyword] = _text(name, data[found.end() : end - 1]) if known else ""
        position = end
    return records


def _text(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        raise _refused(name, "is an extended header without a readable value")
    return text


def _size(name: str, header: int, pax: str | None) -> int:
    """Return the size of a member from its header and its pax header. Raises: IntegrityError if they disagree."""
    if pax is not None and _PAX_SIZE.fullmatch(pax) is None:
        raise _refused(name, f"has an invalid size: {printable(pax, 40)}")
    size = header if pax is None else int(pax)
    if header not in (0, size) and not (header == _USTAR_MAX < size):
        raise _refused(name, f"has two sizes: {header} and {size}")
    if size < 0:
        raise _refused(name, f"has an invalid size: {size}")
    return size


def _refused(name: str, why: str) -> IntegrityError:
    """Return the error that rejects a member. For an absolute path or one with "..", that is the reason given."""
    if name.startswith("/"):
        why = "is an absolute path"
    elif ".." in name.split("/"):
        why = 'has ".." in its path'
    return IntegrityError(f"member {printable(name, 200)!r} of the archive {why}")
