"""Find out how content is compressed (gzip, xz, bzip2, zstd), and decompress it in bounded memory."""

from __future__ import annotations

import bz2
import lzma
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from mirrorsync.errors import Malformed
from mirrorsync.files.chunks import CHUNK_BYTES
from mirrorsync.files.gzip import decompressed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# `xz -9` needs 65 MiB, and a header can ask for 4 GiB. zstd itself stops at a window of 128 MiB (`--ultra -22`).
_XZ_MEMORY: Final = 256 * 1024 * 1024


class _Stream(Protocol):
    """One compressed stream: with a limit for the output of each call, so that a bomb needs no memory."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


# By name: what begins a stream. Each kind can have several streams, one after the other (pzstd, pbzip2, pixz).
_STREAMS: Final[dict[str, Callable[[], _Stream]]] = {
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    "bzip2": bz2.BZ2Decompressor,
    "zstd": zstd.ZstdDecompressor,
}
# A layer that is not compressed begins with the name of a file, which can begin as the first four bytes of bzip2 do.
_MAGIC: Final = re.compile(
    rb"(?P<gzip>\x1f\x8b)|(?P<xz>\xfd7zXZ\0)|(?P<bzip2>BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90))"
    rb"|(?P<zstd>\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18)"  # pzstd begins with a skippable frame
)
MAGIC_BYTES: Final = 10
_DAMAGED: Final = (lzma.LZMAError, zstd.ZstdError, OSError, ValueError, EOFError)


def compression_of(start: bytes) -> str:
    """Return how content is compressed, by its first MAGIC_BYTES: gzip, xz, bzip2 or zstd; "" if it is not."""
    found = _MAGIC.match(start)
    return (found.lastgroup or "") if found else ""


def unpacked(chunks: Iterable[bytes], compression: str, what: str) -> Iterator[bytes]:
    """Yield the content of one or several compressed streams, in pieces of at most CHUNK_BYTES.

    compression: as compression_of returns it; "" yields the chunks as they are. what: names the data in messages.
    Raises: Malformed if it is not complete and valid, or needs too much memory; exceptions of the chunks pass through.
    """
    if compression in _STREAMS:
        yield from _content(chunks, compression, what)
    elif compression:
        yield from decompressed(chunks, what)
    else:
        yield from chunks


def _content(chunks: Iterable[bytes], compression: str, what: str) -> Iterator[bytes]:
    begin = _STREAMS[compression]
    stream = begin()
    for chunk in chunks:
        data = chunk
        while data or not (stream.eof or stream.needs_input):
            if stream.eof:
                data = data.lstrip(b"\0")  # the padding that xz allows after a stream, and tape drives write
                if not data:
                    break
                stream = begin()
            try:
                piece = stream.decompress(data, CHUNK_BYTES)
            except _DAMAGED as error:
                raise Malformed(f"{what} is damaged {compression} data: {error}") from error
            data = stream.unused_data if stream.eof else b""
            if piece:
                yield piece
    if not stream.eof:
        raise Malformed(f"{what} is damaged {compression} data: it has no end")
