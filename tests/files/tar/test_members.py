"""Scan the headers of archives: valid ones are read, and ambiguous members are rejected by name."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrorsync.errors import Malformed
from mirrorsync.files.tar.scan import scan
from tests.files.tar.parts import BLOCK, GRAMMAR, archive, head, member, packed, pax, record

LONG = f"long/{'x' * 120}"
FILES = [("a", b"one"), ("d/b", bytes(range(256)) * 10), ("empty", b""), ("block", bytes(BLOCK)), (LONG, b"long")]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_at_their_offsets_in_every_tar_format(form: int) -> None:
    files = FILES if form != tarfile.USTAR_FORMAT else FILES[:-1]
    raw = packed(files, form)
    found = scan(io.BytesIO(raw), GRAMMAR)
    assert {name: raw[place.offset : place.offset + place.size] for name, place in found.items()} == dict(files)


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "pax"])
def test_archives_that_gnu_tar_makes_of_a_directory_are_read(tmp_path: Path, form: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "d/b").write_bytes(b"two")
    packing = ["tar", f"--format={form}", "-C", str(tmp_path), "-cf", "-", "--exclude=./x", "."]
    raw = subprocess.run(packing, check=True, capture_output=True).stdout
    found = scan(io.BytesIO(raw), GRAMMAR)
    assert {name: raw[place.offset : place.offset + place.size] for name, place in found.items()} == {
        "a": b"one",
        "d/b": b"two",
    }


def read(*parts: bytes) -> dict[str, bytes]:
    """Return the content of the files that are found in an archive."""
    raw = archive(*parts)
    whole = raw.getvalue()
    return {name: whole[place.offset : place.offset + place.size] for name, place in scan(raw, GRAMMAR).items()}


def symbolic(name: str, target: str) -> bytes:
    return head(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> bytes:
    return head(name, type=tarfile.LNKTYPE, linkname=target)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_links_with_names_of_more_than_100_bytes_are_read(tmp_path: Path, form: str) -> None:
    (tmp_path / "long").mkdir()
    (tmp_path / LONG).write_bytes(b"long")
    (tmp_path / "a").symlink_to(LONG)
    (tmp_path / "b").hardlink_to(tmp_path / LONG)
    packing = ["tar", f"--format={form}", "-C", str(tmp_path), "-cf", "-", LONG, "a", "b"]
    raw = subprocess.run(packing, check=True, capture_output=True).stdout
    found = scan(io.BytesIO(raw), GRAMMAR)
    assert found["a"] == found["b"] == found[LONG]


def test_a_symbolic_link_is_an_alias_of_its_file_and_may_precede_it() -> None:
    links = symbolic("d/layer.tar", "../b"), symbolic("c", "./d/x"), symbolic("d/y", "x"), symbolic("e", "d/../c")
    files = {"a": b"1", "b": b"22", "d/x": b"333"}
    found = read(*links, *(member(name, data) for name, data in files.items()))
    assert found == {**files, "d/layer.tar": b"22", "c": b"333", "d/y": b"333", "e": b"333"}


def test_a_hard_link_is_an_alias_of_the_file_before_it() -> None:
    files = member("a", b"one"), hard("b", "a"), hard("./d/x", "./b"), member("a", b"another")
    assert read(*files) == {"a": b"another", "b": b"one", "d/x": b"one"}


def test_a_hard_link_that_gnu_tar_makes_is_read_under_both_names(tmp_path: Path) -> None:
    """bazel's rules make such trees (rules_oci#805). The first name has the content, and no reader may need it."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/layer.tar").write_bytes(b"content")
    (tmp_path / "COPY").hardlink_to(tmp_path / "d/layer.tar")
    packing = ["tar", "-C", str(tmp_path), "-cf", "-", "./COPY", "./d"]
    raw = subprocess.run(packing, check=True, capture_output=True).stdout
    found = scan(io.BytesIO(raw), GRAMMAR)
    assert {name: raw[place.offset : place.offset + place.size] for name, place in found.items()} == {
        "d/layer.tar": b"content"
    }


def test_of_members_with_one_name_the_last_one_counts() -> None:
    assert read(GOOD, member("./a", b"new"), member("b", b"2")) == {"a": b"new", "b": b"2"}
    assert read(GOOD, member("b", b"2"), symbolic("a", "b")) == {"a": b"2", "b": b"2"}
    assert read(member("b", b"2"), symbolic("a", "b"), GOOD) == {"a": b"fine", "b": b"2"}


def test_a_member_that_gnu_tar_appended_replaces_the_one_before(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        (tmp_path / "a").write_bytes(content)
        subprocess.run(["tar", "-C", tmp_path, "-rf", tmp_path / "x.tar", "a"], check=True)
    raw = (tmp_path / "x.tar").read_bytes()
    place = scan(io.BytesIO(raw), GRAMMAR)["a"]
    assert raw[place.offset : place.offset + place.size] == b"new"


def test_members_that_the_grammar_does_not_name_are_skipped() -> None:
    foreign = (
        *(member(name, b"x") for name in ("._a", ".DS_Store", "README.txt", "index.json.lock", "ingest/1", "d/._b")),
        *(head(name, type=tarfile.DIRTYPE) for name in ("ingest", "etc", "./x/y/")),
        *(head(name, type=kind) for name, kind in (("dev/null", tarfile.CHRTYPE), ("run/x.sock", tarfile.FIFOTYPE))),
        *(symbolic(name, target) for name, target in (("etc/mtab", "/proc/mounts"), ("bin/x", "../../out"))),
    )
    assert read(*foreign, GOOD, *foreign) == {"a": b"fine"}


def test_global_pax_headers_are_read_over() -> None:
    comment = member("pax_global_header", record("comment", "52 bytes of a commit"), type=tarfile.XGLTYPE)
    assert read(comment, pax(PAX_LONG) + member("b", b"2"), comment, GOOD) == {LONG: b"2", "a": b"fine"}


def test_a_size_beyond_eight_gigabytes_is_read_from_both_formats(tmp_path: Path) -> None:
    size = 9 * 2**30
    path = tmp_path / "large"
    for begin in (pax(record("size", str(size))) + head("a"), head("a", size)):
        with path.open("wb") as file:
            file.write(begin)
            file.truncate(len(begin) + size + 2 * BLOCK)
        with path.open("rb") as file:
            assert scan(file, GRAMMAR)["a"] == (len(begin), size)


GOOD = member("a", b"fine")
PAX_LONG = record("path", LONG)
NEGATIVE = head("a").replace(b"00000000000\0", b"\xff" * 12, 1)


def summed(header: bytes) -> bytes:
    """Return a header with the right checksum for its bytes."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + f"{sum(blank):06o}\0 ".encode() + blank[156:]


REFUSED: dict[str, tuple[bytes, str]] = {
    "a hard link out": (hard("b", "/etc/passwd"), "'b' of the archive is a hard link to '/etc/passwd'"),
    "a hard link that climbs": (hard("b", "../a"), "'b' of the archive is a hard link to '../a'"),
    "a hard link to nothing": (hard("b", "no"), "a link to 'no', which is missing"),
    "a hard link with content": (
        head("b", BLOCK, type=tarfile.LNKTYPE, linkname="a") + bytes(BLOCK),
        "is a hard link",
    ),
    "a foreign link with content": (head("B", BLOCK, type=tarfile.SYMTYPE, linkname="a"), "is a symbolic link"),
    "a foreign device with content": (head("B", BLOCK, type=tarfile.CHRTYPE), "is a device"),
    "a symbolic link": (head("b", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link to '/etc/passwd'"),
    "a link that climbs": (symbolic("d/b", "../../a"), "'d/b' of the archive is a symbolic link to '../../a'"),
    "a link that climbs and returns": (symbolic("b", "../x/a"), "'b' of the archive is a symbolic link to '../x/a'"),
    "a link to itself": (symbolic("b", "b"), "is a link to 'b', which is a link to it"),
    "a hard link to itself": (hard("b", "b"), "is a link to 'b', which is a link to it"),
    "links in a circle": (symbolic("b", "c") + symbolic("c", "b"), "which is a link to it"),
    "a link to a directory": (head("d", type=tarfile.DIRTYPE) + symbolic("b", "d"), "a link to 'd', which is missing"),
    "a link to nothing": (
        head("d/layer.tar", type=tarfile.SYMTYPE, linkname="../no"),
        "a link to 'no', which is missing",
    ),
    "a link to a link": (
        head("d/layer.tar", type=tarfile.SYMTYPE, linkname="../layer")
        + head("d/d/layer.tar", type=tarfile.SYMTYPE, linkname="../x"),
        "which is missing",
    ),
    "a link with content": (
        head("d/layer.tar", BLOCK, type=tarfile.SYMTYPE, linkname="../a") + bytes(BLOCK),
        "is a symbolic link",
    ),
    "a character device": (head("b", type=tarfile.CHRTYPE), "is a device"),
    "a block device": (head("b", type=tarfile.BLKTYPE), "is a device"),
    "a fifo": (head("b", type=tarfile.FIFOTYPE), "is a fifo"),
    "a sparse file": (head("b", type=tarfile.GNUTYPE_SPARSE), "is a sparse file"),
    "a contiguous file": (head("b", type=tarfile.CONTTYPE), "of type b'7'"),
    "a multi-volume part": (head("b", type=b"M"), "of type b'M'"),
    "a long link name alone": (member("b", b"x\0", type=tarfile.GNUTYPE_LONGLINK), "is an extended header without"),
    "a long link name of a file": (
        member("b", b"a\0", type=tarfile.GNUTYPE_LONGLINK) + member("b", b"x"),
        "or one although it is not a link",
    ),
    "two link names": (
        member("b", b"a\0", type=tarfile.GNUTYPE_LONGLINK) + pax(record("linkpath", "c")) + symbolic("b", "a"),
        "has two targets",
    ),
    "a long link that climbs": (
        member("b", b"../" * 40 + b"a\0", type=tarfile.GNUTYPE_LONGLINK) + symbolic("b", "a"),
        "is a symbolic link to '../../",
    ),
    "a global header": (member("b", record("path", "a"), type=tarfile.XGLTYPE), "a global pax header with 'path'"),
    "a global size": (member("b", record("size", "1"), type=tarfile.XGLTYPE), "a global pax header with 'size'"),
    "a global sparse header": (
        member("b", record("GNU.sparse.size", "1"), type=tarfile.XGLTYPE),
        "'GNU.sparse.size', which is not allowed",
    ),
    "a global header after a pax header": (
        pax(PAX_LONG) + member("b", record("comment", "x"), type=tarfile.XGLTYPE),
        "of type b'g'",
    ),
    "a large global header": (
        head("x", 2**21, type=tarfile.XGLTYPE) + bytes(2**21),
        "is an extended header of 2097152 bytes",
    ),
    "a foreign member beyond the archive": (head("README", 10_000), "claims 10000 bytes, but the archive ends"),
    "the same name beyond the archive": (head("a", 10_000), "claims 10000 bytes, but the archive ends"),
    "a file where a directory is": (head("d", type=tarfile.DIRTYPE) + member("d"), "is in the archive twice"),
    "a directory where a file is": (head("a", type=tarfile.DIRTYPE), "is in the archive twice"),
    "a link where a directory is": (head("b", type=tarfile.DIRTYPE) + symbolic("b", "a"), "is in the archive twice"),
    "an absolute path": (member("/a"), "'/a' of the archive is an absolute path"),
    "an absolute directory": (head("/d", type=tarfile.DIRTYPE), "is an absolute path"),
    "the root directory": (head("/", type=tarfile.DIRTYPE), "does not belong in a test archive"),
    "a path that climbs": (member("../a"), "'../a' of the archive has \"..\" in its path"),
    "a path that climbs later": (member("d/../../a"), 'has ".." in its path'),
    "a directory that climbs": (head("..", type=tarfile.DIRTYPE), 'has ".." in its path'),
    "a pax path that climbs": (pax(record("path", "../a")) + member("b"), 'has ".." in its path'),
    "a name with a control character": (member("a\x1b[2J"), r"'a\\x1b[2J'"),
    "a name that is no text": (summed(head("b").replace(b"b", b"\xff", 1)), "does not belong"),
    "no name": (member(""), "'' of the archive does not belong"),
    "dots twice": (member("././a"), "does not belong"),
    "more than the archive": (head("b", 10_000), "'b' of the archive claims 10000 bytes, but the archive ends"),
    "much more than any archive": (head("b", 2**70), "the archive ends before that"),
    "a negative size": (summed(NEGATIVE), "an invalid size: -1"),
    "a size that is no number": (summed(head("b").replace(b"00000000000\0", b"0x000000009\0", 1)), "no header at byte"),
    "a wrong checksum": (head("b")[:148] + b"0000000\0" + head("b")[156:], "no header at byte 1024"),
    "a directory with content": (head("d", BLOCK, type=tarfile.DIRTYPE) + bytes(BLOCK), "is a directory with content"),
    "two sizes": (pax(record("size", "3")) + member("b", b"four"), "has two sizes: 4 and 3"),
    "a pax size of nothing": (pax(record("size", "0")) + member("b", b"four"), "has two sizes: 4 and 0"),
    "a negative pax size": (pax(record("size", "-512")) + member("b"), "an invalid size: -512"),
    "a pax size in words": (pax(record("size", "1e3")) + member("b"), "an invalid size: 1e3"),
    "a pax size with an underscore": (pax(record("size", "1_0")) + member("b"), "an invalid size: 1_0"),
    "a pax size beyond the archive": (pax(record("size", "99999")) + member("b"), "claims 99999 bytes"),
    "a sparse pax header": (
        pax(record("GNU.sparse.size", "9")) + member("b"),
        "'GNU.sparse.size', which is not allowed",
    ),
    "a pax charset": (pax(record("hdrcharset", "BINARY")) + member("b"), "'hdrcharset', which is not allowed"),
    "a pax record twice": (pax(PAX_LONG + PAX_LONG) + member("b"), "'path', which is not allowed"),
    "a pax record that is too long": (pax(b"99 path=b\n") + member("b"), "malformed records"),
    "a pax record that is too short": (pax(b"5 path=b\n") + member("b"), "malformed records"),
    "a pax record of no length": (pax(b"0 path=b\n") + member("b"), "malformed records"),
    "a pax record without an end": (pax(b"9 path=bb") + member("b"), "malformed records"),
    "a pax record without a value": (pax(record("path", "")) + member("b"), "without a readable value"),
    "a pax path with a null": (pax(record("path", "b\0c")) + member("b"), "without a readable value"),
    "a pax path that is no text": (pax(b"9 path=\xff\n") + member("b"), "without a readable value"),
    "an empty pax header": (pax(b"") + member("b"), "is an extended header of 0 bytes"),
    "a large pax header": (
        head("x", 2**21, type=tarfile.XHDTYPE) + bytes(2**21),
        "is an extended header of 2097152 bytes",
    ),
    "two pax headers": (pax(PAX_LONG) + pax(PAX_LONG) + member("b"), "two extended headers"),
    "two long names": (
        member("L", b"b\0", type=b"L") + member("L", b"b\0", type=b"L") + member("b"),
        "two extended headers",
    ),
    "a pax name and a long name": (member("L", b"b\0", type=b"L") + pax(PAX_LONG) + member("b"), "has two names"),
    "a pax header without a member": (pax(PAX_LONG), "is an extended header without a member"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_members_outside_the_grammar_are_rejected_by_name(name: str) -> None:
    raw, message = REFUSED[name]
    with pytest.raises(Malformed) as caught:
        scan(archive(GOOD, raw), GRAMMAR)
    assert message in caught.value.message


def test_an_archive_with_too_many_members_is_rejected() -> None:
    many = archive(*(head("d", type=tarfile.DIRTYPE) for _ in range(11)))
    assert scan(many, GRAMMAR, limit=11) == {}
    with pytest.raises(Malformed, match="more than 10 members"):
        scan(many, GRAMMAR, limit=10)


def test_an_archive_truncated_at_any_offset_is_rejected() -> None:
    whole = packed(FILES)
    end = 1 + max(number for number, byte in enumerate(whole) if byte)
    end += -end % BLOCK
    offsets = {*range(0, end + BLOCK, 97), *range(0, end, BLOCK), end + BLOCK - 1}
    for offset in sorted(offsets):
        with pytest.raises(Malformed, match=r"truncated|the archive ends before|not a tar archive"):
            scan(io.BytesIO(whole[:offset]), GRAMMAR)
    assert len(scan(io.BytesIO(whole[: end + BLOCK]), GRAMMAR)) == len(FILES)


def test_content_after_a_single_empty_block_is_rejected() -> None:
    with pytest.raises(Malformed, match="continues after its end"):
        scan(io.BytesIO(GOOD + bytes(BLOCK) + member("b")), GRAMMAR)


@pytest.mark.parametrize("raw", [b"x" * 2000, b"\x7fELF" + bytes(2000), b"{}", b"PK\3\4" + bytes(700)])
def test_a_file_that_is_not_a_tar_archive_is_rejected(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"not a tar archive|truncated"):
        scan(io.BytesIO(raw), GRAMMAR)


def _flip(raw: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 6)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)


def _splice(raw: bytearray, chance: random.Random) -> None:
    start, size = BLOCK * chance.randrange(len(raw) // BLOCK), chance.choice([1, 511, 512, 1024])
    raw[start : start + size] = bytes(chance.choice([b"", bytes(size), b"\xff" * size, raw[:size]]))


def _field(raw: bytearray, chance: random.Random) -> None:
    """Change a field of a header, and correct its checksum."""
    start = BLOCK * chance.randrange(len(raw) // BLOCK - 1)
    field, size = chance.choice([(0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155)])
    value = chance.choice([b"\xff", b"\x80", b"7", b"x", b"g", b"L", b"S", b"-1", b"\0", b"/", b"..", b"1_1"])
    raw[start + field : start + field + size] = (value * size)[:size]
    raw[start : start + BLOCK] = summed(bytes(raw[start : start + BLOCK]))


@pytest.mark.parametrize("damage", [_flip, _splice, _field])
def test_damaged_archives_are_rejected_or_read_and_never_crash(
    damage: Callable[[bytearray, random.Random], None],
) -> None:
    whole = b"".join([member("a", b"1" * 700), pax(PAX_LONG), member("b", b"2"), member("L", b"d/x\0", type=b"L")])
    whole += member("c", b"3") + head("d/layer.tar", type=tarfile.SYMTYPE, linkname="../a") + bytes(2 * BLOCK)
    refused = 0
    for seed in range(3000):
        raw = bytearray(whole)
        damage(raw, random.Random(f"{damage} {seed}"))
        try:
            found = scan(io.BytesIO(raw), GRAMMAR)
        except Malformed:
            refused += 1
        else:
            assert all(0 <= place.offset <= place.offset + place.size <= len(raw) for place in found.values())
    assert refused > 0


def test_missing_padding_at_the_end_is_rejected() -> None:
    with pytest.raises(Malformed, match="'b' of the archive is truncated"):
        scan(io.BytesIO(GOOD + head("b", 10) + b"0123456789"), GRAMMAR)
