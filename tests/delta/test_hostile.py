"""Damaged, foreign and hostile deltas and blobs: an error of ours, never other content, never much memory."""

from __future__ import annotations

import io
import random
import zlib

import pytest

from mirrorsync.delta import form, make, read_head, zstd
from mirrorsync.delta._deflate import Fingerprints, NotDeflate
from mirrorsync.delta.limits import CHUNK_BYTES, SEGMENT_BYTES, SEGMENT_PIECES
from mirrorsync.delta.model import Blob, Head
from mirrorsync.delta.numbers import number, string
from mirrorsync.delta.old import read_old
from mirrorsync.delta.walk import Walk
from mirrorsync.errors import IntegrityError, Malformed, Mismatch
from mirrorsync.oci.digest import Digest
from tests.delta.samples import applied, blob, changed, content, delta, gnu, igzip, zlib_like

OLD = content(60_000)
NEW = changed(OLD)


@pytest.fixture(scope="module", params=["zlib", "isal", "plain"])
def case(request: pytest.FixtureRequest) -> tuple[bytes, bytes, bytes]:
    """Return an old blob, a new one, and the delta."""
    compress = {"zlib": gnu(6), "isal": igzip(2), "plain": bytes}[request.param]
    old, new = compress(OLD), compress(NEW)
    made = delta(old, new)
    assert made is not None
    return old, new, made


def outcome(old: bytes, change: bytes) -> bytes | None:
    """Return what a delta makes, None if it fails with an error of ours."""
    try:
        return applied(old, change)
    except (Malformed, IntegrityError):
        return None


def test_a_flipped_byte_anywhere_is_found(case: tuple[bytes, bytes, bytes]) -> None:
    old, new, made = case
    chance = random.Random(4)
    for at in [*range(0, 250, 6), *(chance.randrange(len(made)) for _ in range(30))]:
        flipped = made[:at] + bytes((made[at] ^ 1 << chance.randrange(8),)) + made[at + 1 :]
        assert outcome(old, flipped) in (None, new)


def test_a_truncated_delta_is_found(case: tuple[bytes, bytes, bytes]) -> None:
    old, _, made = case
    for length in [*range(0, len(made), 997), len(made) - 1]:
        with pytest.raises(Malformed):
            applied(old, made[:length])
    with pytest.raises(Malformed, match="follows the end"):
        applied(old, made + b"x")


def test_a_wrong_or_damaged_old_blob_is_found_before_any_output(case: tuple[bytes, bytes, bytes]) -> None:
    old, _, made = case
    for wrong in (old[:-1], old + b"x", b"", b"other", old[:3000] + b"?" + old[3001:], gnu(6)(content(9000, 5))):
        with pytest.raises(Mismatch, match="the old blob has the digest sha256:"):
            applied(wrong, made)


def test_a_blob_without_its_digest_is_not_made_into_a_delta(case: tuple[bytes, bytes, bytes]) -> None:
    old, new, _ = case
    other = Digest.of(b"other")
    with pytest.raises(Mismatch, match="the old blob"):
        make(Blob(io.BytesIO(old), other, len(old)), blob(new), io.BytesIO(), len(new))
    with pytest.raises(Mismatch, match="the new blob"):
        make(blob(old), Blob(io.BytesIO(new), other, len(new)), io.BytesIO(), len(new))


def forged(segment: bytes, *, new_size: int = 10, gzip: bool = True, chunk_bytes: int = CHUNK_BYTES) -> bytes:
    head = Head(Digest.of(b"old"), 3, False, Digest.of(b"new"), new_size, gzip, chunk_bytes)
    return form.head_bytes(head) + segment


def written(pieces: bytes, residual: bytes = b"", size: int = 0) -> bytes:
    """Return a segment of zeros that were written so, and the end."""
    writing = string(pieces) + residual
    packed = [zstd.compressed(bytes(size), zstd.Prefix(), 3), zstd.compressed(writing, zstd.Prefix(), 3)]
    segment = form.Segment(size, [], packed[0], 0, len(writing), packed[1], by_old=False)
    return form.segment_bytes(segment) + form.end_bytes()


def plain(size: int, window: bytes = b"\0", after: bytes = b"\0\0\0") -> bytes:
    """Return a segment of zeros that are no gzip, and the end. window: as it is written; after: what follows them."""
    zeros = zstd.compressed(bytes(size), zstd.Prefix(), 3)
    return b"\x01" + number(size) + window + string(zeros) + after + form.end_bytes()


BLOCK = b"\x02"
FORGERIES = {
    "a bomb": (plain(SEGMENT_BYTES), False),
    "content beyond its limit": (b"\x01" + number(SEGMENT_BYTES + 259), True),
    "a chunk that is not there": (b"\x01\x05\x01\x07\x01" + string(b"") + b"\0\0\0", True),
    "more chunks than a window": (b"\x01\x05" + number(1 << 40), True),
    "an unknown predictor": (b"\x01\x05\x00" + string(b"") + b"\x63\0\0", True),
    "an unknown piece": (written(b"\x07"), True),
    "a block of kind 3": (written(BLOCK + b"\x1b\x00"), True),
    "a block that never begins": (written(BLOCK + b"\x02\x00"), True),
    "a block inside another": (written(BLOCK + b"\x09\x00" + BLOCK + b"\x09\x00"), True),
    "a block longer than its content": (written(BLOCK + b"\x0b\x10", size=3), True),
    "content in no block": (written(b"", size=3), True),
    "a header without its counts": (written(BLOCK + b"\x13\x00\x01\x00"), True),
    "a header that ends early": (written(BLOCK + b"\x13\x00\x07\x1d\x1d\x0f\x07\x07\x07\x07"), True),
    "a repeat beyond the codes": (written(BLOCK + b"\x13\x00" + string(b"\0\0\0\1\1\1\1\x12\xff\x12\xff")), True),
    "corrections that end early": (written(BLOCK + b"\x0b\x05", b"\xff", size=5), True),
    "a match longer than its block": (written(BLOCK + b"\x0b\x05", b"\x02\xff\x00\x00", size=5), True),
    "a length for a literal": (written(BLOCK + b"\x0b\x05", b"\x01\x01", size=5), True),
    "only length 258 in two ways": (written(BLOCK + b"\x0b\x05", b"\x02\x00\x00\x80", size=5), True),
    "many empty blocks": (written((BLOCK + b"\x0b\x00") * 20_000), True),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_delta_is_rejected(name: str) -> None:
    segment, gzip = FORGERIES[name]
    with pytest.raises((Malformed, Mismatch)):
        applied(b"old", forged(segment, gzip=gzip))


EMPTY = written(b"")[:-1]
# What would be much work, or much memory, for what makes nothing; and a word of the message.
ENDLESS = {
    "parts of blocks": (forged(written(BLOCK + b"\x09\x00" + BLOCK + b"\x00\x00")), "an empty part of a block"),
    "bytes between blocks": (forged(written(b"\0\0" * 2)), "an empty piece"),
    "segments": (forged(EMPTY * 70 + form.end_bytes()), "segments that make too little"),
    "a chunk twice": (forged(plain(5, b"\x02\x00\x01\x00\x01"), gzip=False), "chunks are not in order"),
    "a writing of no gzip": (forged(plain(5, after=b"\x00\x01" + string(b"?")), gzip=False), "above its limit of 0"),
    "chunks": (forged(b"", chunk_bytes=CHUNK_BYTES - 1), "chunks that are too small"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_makes_nothing_is_rejected(name: str) -> None:
    change, message = ENDLESS[name]
    with pytest.raises(Malformed, match=message):
        applied(b"old", change)


def test_empty_blocks_are_not_all_in_one_segment() -> None:
    empty = (0x2008_0200_802).to_bytes(6, "little")[:5]  # four blocks with fixed codes, which have 10 bits each
    file = io.BytesIO(b"\x1f\x8b\x08\0\0\0\0\0\0\3" + empty * (SEGMENT_PIECES // 4 + 100) + b"\3\0" + bytes(8))
    walk = Walk(file.read, CHUNK_BYTES, keep=False)
    assert [len(walk.segment()) for _ in range(2)] == [SEGMENT_PIECES, 403]


def test_an_old_blob_that_expands_without_end_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirrorsync.delta.old.MOST_CHUNKS", 20)
    old = gnu(6)(bytes(30 * CHUNK_BYTES))
    with pytest.raises(NotDeflate, match="too much content"):
        read_old(io.BytesIO(old), Digest.of(old), gzip=True, chunk_bytes=CHUNK_BYTES, seen=lambda *_: None)
    change = delta(old, old + b"x")
    assert change is not None
    assert not read_head(io.BytesIO(change)).old_gzip


def test_content_in_which_searches_take_long_is_rejected_and_made_with_another_predictor() -> None:
    # Zeros with a one now and then: nearly every candidate is like what is looked for, for a hundred bytes.
    chance = random.Random(1)
    sparse = bytes(chance.random() < 0.01 for _ in range(40_000))
    literals = zlib_like(9, strategy=zlib.Z_HUFFMAN_ONLY)(sparse)
    made = delta(OLD, literals)
    assert made is not None
    assert applied(OLD, made) == literals
    writing = string(BLOCK + b"\x0f" + number(len(sparse))) + bytes(len(sparse))
    frames = [zstd.compressed(data, zstd.Prefix(), 3) for data in (sparse, writing)]
    segment = form.Segment(len(sparse), [], frames[0], 2, len(writing), frames[1], by_old=False)
    with pytest.raises(Malformed, match="takes too long"):
        applied(b"old", forged(form.segment_bytes(segment) + form.end_bytes(), new_size=1 << 20))


def test_content_whose_fingerprints_collide_is_not_searched_for_long() -> None:
    # Windows of 32 bytes whose keys all belong into the first places of the table; as Fingerprints computes them.
    word, gear = (1 << 64) - 1, []
    for number_ in range(1, 257):
        value = (0x6D6972726F72 + number_ * 0x9E3779B97F4A7C15) & word
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & word
        value = (value ^ value >> 27) * 0x94D049BB133111EB & word
        gear.append(value ^ value >> 31)
    stream, rolling, found = random.Random(1).randbytes(600_000), 0, {}
    for at, byte in enumerate(stream):
        rolling = ((rolling << 1) + gear[byte]) & word
        key = rolling & 0xFFFFFFFF | 1
        if not rolling & 63 << 26 and (key * 0x9E3779B97F4A7C15 & word) >> 32 & 1023 < 32:
            found[key] = stream[at - 31 : at + 1]
    windows = [window for window in found.values() if votes([window], window) == [1]]
    assert len(windows) > 130
    assert votes(windows, windows[0])[0] == 1
    assert votes(windows, windows[-1])[-1] == 0  # all places for it are taken


def votes(chunks: list[bytes], content: bytes) -> list[int]:
    index = Fingerprints(6, 10)
    for chunk in chunks:
        index.add(chunk, 0, len(chunk))
    return index.vote(content, 0, len(content))


def test_a_bomb_stops_at_the_size_that_the_delta_says() -> None:
    with pytest.raises(Malformed, match="more than it says"):
        applied(b"old", forged(FORGERIES["a bomb"][0], gzip=False))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends early"),
        (b"not a delta, but long enough for the magic", "not a delta"),
        (form.MAGIC + b"\x02", "version 2; this mirrorsync reads 1"),
        (form.MAGIC + b"\x01\x00" + string(b"md5:00"), "names no digest"),
    ],
)
def test_what_is_not_a_delta_says_so(data: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        read_head(io.BytesIO(data))


def test_the_head_says_what_a_delta_is_for(case: tuple[bytes, bytes, bytes]) -> None:
    old, new, made = case
    head = read_head(io.BytesIO(made))
    assert (head.old, head.old_size, head.new, head.new_size) == (Digest.of(old), len(old), Digest.of(new), len(new))


def test_random_bytes_as_gzip_never_crash() -> None:
    chance = random.Random(6)
    for _ in range(150):
        data = bytearray(gnu(6)(OLD[:3000])) if _ == 0 else bytearray(chance.randbytes(2000))
        data[:10] = b"\x1f\x8b\x08\0\0\0\0\0\0\3"
        delta(bytes(data), b"\x1f\x8b\x08" + bytes(data[3:]))
