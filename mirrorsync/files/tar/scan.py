"""Find the members of a tar archive by reading its headers in order; a grammar says which of them are read.

Nothing is extracted, so no name of an archive ever becomes a path: links are aliases in the table, and members that the
grammar does not name (of Finder, of an editor) are skipped. The headers are parsed one by one, with the standard
library for the 512 bytes of each, but not by its TarFile: that trusts sizes (CVE-2025-8194) and reads pax headers as
large as the file into memory. What readers of tar parse in different ways is rejected (CVE-2025-62518: two sizes for
one member hide an archive in an archive).
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from mirrorsync.errors import Malformed
from mirrorsync.text import printable

BLOCK: Final = 512
MAX_MEMBERS: Final = 1_000_000  # a mirror of 100,000 tags has about half as many blobs
_MAX_EXTENSION: Final = 1024 * 1024  # of a pax or long name header; extended attributes have up to 64 KiB each
_USTAR_MAX: Final = 8**11 - 1  # libarchive writes this size if only the pax header has room for the real one
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n\0]+)=")
_PAX_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
# Pax records that change the meaning of names or data; no archive of images has them.
_PAX_REFUSED: Final = re.compile(r"GNU\.sparse\..*|SCHILY\.realsize|hdrcharset")
# A global pax header applies to all members: one of these records would give all of them the same name or size.
_PAX_OF_ONE_MEMBER: Final = ("path", "linkpath", "size")
_LINKS: Final = {tarfile.LNKTYPE: "a hard link", tarfile.SYMTYPE: "a symbolic link"}
_LONG: Final = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)  # headers for what has more than 100 bytes
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)
# Members without content; the exported file system of a container has them.
_SPECIAL: Final = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_KINDS: Final = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a fifo",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Member(NamedTuple):
    """A regular file in an archive: the offset of its bytes, and how many there are."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Grammar:
    """The names that one kind of archive has; members with other names are skipped.

    what: the kind, for messages, as in "an OCI archive". files: must match whole names, which have no "./" at the
    beginning.
    """

    what: str
    files: re.Pattern[str]


def scan(file: BinaryIO, grammar: Grammar, *, limit: int = MAX_MEMBERS) -> Mapping[str, Member]:
    """Return the files of the grammar by name; a link to a file of the archive has that file's offset and size.

    If a name is there twice, the last member counts, as for every tool that extracts it (`tar --append`). file:
    seekable. limit: the most members it may have. Raises: Malformed, which names the member, for an archive that
    is incomplete or ambiguous, names and links that lead out of it, special files with names of the grammar; OSError.
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
        self._members: dict[str, Member | str] = {}  # a string is the target of a link
        self._directories: set[str] = set()

    def table(self) -> dict[str, Member]:
        """Read all headers, and return the table."""
        count = 0
        while (header := self._header()) is not None:
            count += 1
            if count > self._limit:
                raise Malformed(f"the archive has more than {self._limit} members")
            if header.type == tarfile.XGLTYPE:
                self._check_global(header)
            else:
                self._take(*self._extended(header))
        return {name: self._resolved(name) for name in self._members if self._is_read(name)}

    def _is_read(self, name: str) -> bool:
        return self._grammar.files.fullmatch(name) is not None

    def _resolved(self, name: str) -> Member:
        """Follow the links from a name to a file. Raises: Malformed if there is no file at their end."""
        found = self._members[name]
        passed = {name}
        while isinstance(found, str):
            target = found
            if target in passed:
                raise _refused(name, f"is a link to {printable(target, 200)!r}, which is a link to it")
            passed.add(target)
            if target not in self._members:
                raise _refused(name, f"is a link to {printable(target, 200)!r}, which is missing")
            found = self._members[target]
        return found

    def _check_global(self, header: tarfile.TarInfo) -> None:
        """Check a pax header for all members that follow, such as the comment of `git archive`."""
        for keyword in _pax_records(header.name, self._extension(header)):
            if keyword in _PAX_OF_ONE_MEMBER:
                raise _refused(header.name, f"is a global pax header with {keyword!r}, which is not allowed")

    def _header(self) -> tarfile.TarInfo | None:
        """Return the next header, None at the end of the archive. Raises: Malformed, also if that is missing."""
        block = self._read(BLOCK, "the archive's headers")
        if block == bytes(BLOCK):
            if self._offset < self._end and any(self._read(min(BLOCK, self._end - self._offset), "the end")):
                raise Malformed(f"the archive continues after its end, at byte {self._offset - BLOCK}")
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError, OverflowError) as error:
            what = "not a tar archive" if self._offset == BLOCK else f"no header at byte {self._offset - BLOCK}"
            raise Malformed(f"{what}: {printable(str(error), 100)}") from error

    def _extended(self, header: tarfile.TarInfo) -> tuple[tarfile.TarInfo, str]:
        """Return the header of a member, with the values of its pax and long name headers, and its name."""
        name: str | None = None
        extensions: set[bytes] = set()
        records: dict[str, str] = {}
        link: str | None = None
        while header.type in (tarfile.XHDTYPE, *_LONG):
            if header.type in extensions:
                raise _refused(header.name, "has two extended headers of the same kind")
            extensions.add(header.type)
            data = self._extension(header)
            if header.type == tarfile.XHDTYPE:
                records = _pax_records(header.name, data)
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(header.name, data.removesuffix(b"\0"))
            else:
                link = _text(header.name, data.removesuffix(b"\0"))
            following = self._header()
            if following is None:
                raise _refused(header.name, "is an extended header without a member")
            header = following
        if name is not None and "path" in records:
            raise _refused(name, "has two names")
        if link is not None and ("linkpath" in records or header.type not in _LINKS):
            raise _refused(header.name, "has two targets, or one although it is not a link")
        name = records.get("path", header.name if name is None else name)
        header.linkname = records.get("linkpath", header.linkname if link is None else link)
        header.size = _size(name, header.size, records.get("size"))
        return header, name

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 < header.size <= _MAX_EXTENSION:
            raise _refused(header.name, f"is an extended header of {header.size} bytes; the limit is {_MAX_EXTENSION}")
        data = self._read(header.size, printable(header.name, 200))
        self._skip(header.name, header.size)
        return data

    def _take(self, header: tarfile.TarInfo, written: str) -> None:
        """Add a member to the table. Raises: Malformed if it is not allowed."""
        name = written.removeprefix("./")
        if header.type == tarfile.DIRTYPE:
            self._take_directory(written, name.rstrip("/"), header.size)
            return
        self._check_name(written, name)
        if name in self._directories:
            raise _refused(written, "is in the archive twice, as a file and as a directory")
        if header.type in _LINKS:
            self._take_link(written, name, header)
        elif header.type in _FILES:
            self._take_file(written, name, header.size)
        elif header.type not in _SPECIAL or header.size or self._is_read(name):
            raise _refused(written, f"is {_KINDS.get(header.type, f'a member of type {header.type!r}')}")

    def _take_file(self, written: str, name: str, size: int) -> None:
        if size > self._end - self._offset:
            raise _refused(written, f"claims {size} bytes, but the archive ends before that")
        self._members[name] = Member(self._offset, size)
        self._offset += size
        self._skip(written, size)

    def _take_link(self, written: str, name: str, header: tarfile.TarInfo) -> None:
        """Add a link as an alias: a hard link of the member that came before, a symbolic link of the final one."""
        directory = posixpath.dirname(name) if header.type == tarfile.SYMTYPE else ""
        target = posixpath.normpath(posixpath.join(directory, header.linkname))
        if header.size or not header.linkname or target.startswith("/") or target.split("/")[0] == "..":
            if header.size or self._is_read(name):
                raise _refused(written, f"is {_LINKS[header.type]} to {printable(header.linkname, 200)!r}")
            self._members.pop(name, None)
            return
        before = self._members.get(target) if header.type == tarfile.LNKTYPE else None
        self._members[name] = target if before is None else before

    def _take_directory(self, written: str, name: str, size: int) -> None:
        if size:
            raise _refused(written, "is a directory with content")
        if written.rstrip("/") != ".":
            self._check_name(written, name)
        if name in self._members:
            raise _refused(written, "is in the archive twice, as a file and as a directory")
        self._directories.add(name)  # a directory may be listed twice: it has no content

    def _check_name(self, written: str, name: str) -> None:
        """Check that a name is text that can be shown, and means one place inside the archive."""
        if not name.isprintable() or posixpath.normpath(name) != name or name[:1] == "/" or name.split("/")[0] == "..":
            raise _refused(written, f"does not belong in {self._grammar.what}")

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
                raise Malformed(f"the archive is truncated: it ends at byte {self._end}, inside {what}")
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
    """Return the size of a member from its header and its pax header. Raises: Malformed if they disagree."""
    if pax is not None and _PAX_SIZE.fullmatch(pax) is None:
        raise _refused(name, f"has an invalid size: {printable(pax, 40)}")
    size = header if pax is None else int(pax)
    if header not in (0, size) and not (header == _USTAR_MAX < size):
        raise _refused(name, f"has two sizes: {header} and {size}")
    if size < 0:
        raise _refused(name, f"has an invalid size: {size}")
    return size


def _refused(name: str, why: str) -> Malformed:
    """Return the error that rejects a member. For an absolute path or one with "..", that is the reason given."""
    if name.startswith("/"):
        why = "is an absolute path"
    elif ".." in name.split("/"):
        why = 'has ".." in its path'
    return Malformed(f"member {printable(name, 200)!r} of the archive {why}")
