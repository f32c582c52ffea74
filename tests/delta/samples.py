"""Content that compresses as layers do, two versions of it, and deflate streams that compressors seldom write."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import zlib
from collections.abc import Callable

import isal.igzip

from mirrorsync.delta import Blob, apply, make
from mirrorsync.oci.digest import Digest

Compress = Callable[[bytes], bytes]


def content(size: int, seed: int = 1) -> bytes:
    """Return text-like content: repeated words, numbers, and a stretch of zeros."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randrange(3, 12)) for _ in range(300)]
    made = bytearray(bytes(3000))
    while len(made) < size:
        made += chance.choice(words) if chance.random() < 0.9 else chance.randbytes(5)
    return bytes(made[:size])


def changed(old: bytes) -> bytes:
    """Return the next version: something inserted early, bytes replaced here and there, a part moved to the end."""
    chance = random.Random(2)
    new = bytearray(old)
    for _ in range(8):
        at = chance.randrange(len(new))
        new[at : at + 4] = chance.randbytes(6)
    new[100:100] = chance.randbytes(500)
    middle = len(new) // 2
    return bytes(new[:middle] + new[middle + 20000 :] + new[middle : middle + 20000])


def gnu(level: int) -> Compress:
    """Return GNU gzip of that level."""
    return lambda data: subprocess.run(["gzip", f"-{level}nc"], input=data, capture_output=True, check=True).stdout


def zlib_like(level: int, *, strategy: int = zlib.Z_DEFAULT_STRATEGY, memory: int = 8) -> Compress:
    """Return zlib with that level, strategy and memory level, as one member."""

    def compress(data: bytes) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, 31, memory, strategy)
        return packer.compress(data) + packer.flush()

    return compress


def synced(data: bytes) -> bytes:
    """Return one member with flushes of both kinds in it, as pigz writes: empty stored blocks, forgotten history."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    made = b""
    for number, at in enumerate(range(0, len(data), 30000)):
        made += packer.compress(data[at : at + 30000])
        made += packer.flush(zlib.Z_FULL_FLUSH if number % 3 == 0 else zlib.Z_SYNC_FLUSH)
    return made + packer.flush()


def members(data: bytes) -> bytes:
    """Return a member for each 25000 bytes, with all that a header can have, an empty one, and data after the last."""
    made = []
    for at in range(0, len(data), 25000):
        member = gzip.compress(data[at : at + 25000], 6, mtime=at)
        # FHCRC, FEXTRA, FNAME, FCOMMENT
        made.append(member[:3] + b"\x1e" + member[4:10] + b"\x04\x00ab\x01\x02name\0comment\0\x12\x34" + member[10:])
    return b"".join(made) + gzip.compress(b"", mtime=0) + b"data after the end" * 3


def wrong_trailer(data: bytes) -> bytes:
    """Return a member whose CRC32 is not that of its content."""
    return gzip.compress(data, 6, mtime=0)[:-8] + b"12345678"


def long_way(data: bytes) -> bytes:
    """Return a fixed block in which length 258 is once coded as 285 and once as 284 with 31, then the data stored."""
    bits = "1" + "10"[::-1]  # not the last block: written below

    def code(symbol: int) -> str:
        if symbol < 144:
            return f"{0x30 + symbol:08b}"
        return f"{symbol - 256:07b}" if symbol < 280 else f"{0xC0 + symbol - 280:08b}"

    bits = "0" + "10" + code(97) + code(285) + "00000" + code(284) + "11111" + "00000" + code(256)
    packed = bytearray()
    for at in range(0, len(bits), 8):
        packed.append(int(bits[at : at + 8][::-1].ljust(0, "0"), 2))
    # The stored block begins in the last byte of the fixed one: its three bits are zero, and the padding, too.
    if len(bits) % 8 > 5:
        packed.append(0)
    blocks = [data[at : at + 60000] for at in range(0, len(data), 60000)]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        if number:
            packed.append(last)
        elif last:
            packed[-1] |= 1 << (len(bits) % 8 or 8) if len(bits) % 8 <= 5 else 1
        packed += len(block).to_bytes(2, "little") + (len(block) ^ 0xFFFF).to_bytes(2, "little") + block
    whole = b"a" * (1 + 258 + 258) + data
    assert zlib.decompress(bytes(packed), -15) == whole
    return (
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        + bytes(packed)
        + zlib.crc32(whole).to_bytes(4, "little")
        + len(whole).to_bytes(4, "little")
    )


def igzip(level: int) -> Compress:
    """Return ISA-L of that level."""
    return lambda data: isal.igzip.compress(data, level)


COMPRESSORS: dict[str, Compress] = {
    **{f"GNU gzip -{level}": gnu(level) for level in (1, 3, 6, 9)},
    **{f"zlib {level}": zlib_like(level) for level in range(1, 10)},
    "zlib stored": zlib_like(0),
    "zlib fixed": zlib_like(6, strategy=zlib.Z_FIXED),
    "zlib rle": zlib_like(6, strategy=zlib.Z_RLE),
    "zlib huffman": zlib_like(6, strategy=zlib.Z_HUFFMAN_ONLY),
    "zlib filtered, much memory": zlib_like(6, strategy=zlib.Z_FILTERED, memory=9),
    **{f"isal {level}": igzip(level) for level in range(4)},
    "flushes": synced,
    "members": members,
    "wrong trailer": wrong_trailer,
    "length 258 both ways": long_way,
    "not compressed": bytes,
}


def blob(data: bytes) -> Blob:
    """Return data as a blob."""
    return Blob(io.BytesIO(data), Digest.of(data), len(data))


def delta(old: bytes, new: bytes) -> bytes | None:
    """Return the delta, None if there is none that is smaller than the new blob."""
    out = io.BytesIO()
    made = make(blob(old), blob(new), out, len(new))
    if made is None:
        return None
    assert (made.size, made.read) == (len(out.getvalue()), len(new))
    return out.getvalue()


def applied(old: bytes, change: bytes) -> bytes:
    """Return the blob that a delta makes of the old one."""
    return b"".join(apply(io.BytesIO(old), io.BytesIO(change)))
