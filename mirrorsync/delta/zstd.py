"""zstd with earlier content at hand: a frame refers to it as if it had been decompressed before."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

from mirrorsync.delta.walk import room
from mirrorsync.errors import Malformed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# zstd takes no less for a prefix.
_SHORTEST: Final = 8
# Offsets reach back over a segment and its windows, which are 24 MiB at most. A frame that asks for more is rejected.
_WINDOW_LOG: Final = 25
# Entries of the table in which matches are looked for: 2 ** 22 of 4 bytes.
_HASH_LOG: Final = 22
# Matches of this length are found anywhere in the prefix. The shorter ones that long distance matching finds by default
# (64) are worse than those of the table, and take their place: without this, deltas are up to 10 % larger.
_LONG_MATCH: Final = 512
_STEP: Final = 1 << 18


class Prefix:
    """What is before the data of a frame. zstd has the only copy of it."""

    def __init__(self, parts: Iterable[bytes] = (), most: int = 0) -> None:
        """Join the parts until one comes with which they would have more than `most` bytes."""
        space = room(most)
        self.size = 0
        for part in parts:
            if self.size + len(part) > most:
                break
            space[self.size : self.size + len(part)] = part
            self.size += len(part)
        self._dictionary = zstd.ZstdDict(space[: self.size], is_raw=True) if self.size >= _SHORTEST else None

    def compressor(self, options: dict[int, int]) -> zstd.ZstdCompressor:
        """Return a compressor of one frame."""
        if self._dictionary is None:
            return zstd.ZstdCompressor(options=options)
        return zstd.ZstdCompressor(options=options, zstd_dict=self._dictionary.as_prefix)

    def decompressor(self, options: dict[int, int]) -> zstd.ZstdDecompressor:
        """Return a decompressor of one frame."""
        if self._dictionary is None:
            return zstd.ZstdDecompressor(options=options)
        return zstd.ZstdDecompressor(options=options, zstd_dict=self._dictionary.as_prefix)


def compressed(data: bytes | bytearray | memoryview, prefix: Prefix, level: int) -> bytes:
    """Return one frame with the data, which is compressed with the prefix before it."""
    window = min(max((len(data) + prefix.size).bit_length(), 10), _WINDOW_LOG)
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.window_log: window,
        zstd.CompressionParameter.checksum_flag: 0,  # the whole blob has a digest
    }
    if prefix.size > 1 << 20:
        options[zstd.CompressionParameter.enable_long_distance_matching] = 1
        options[zstd.CompressionParameter.ldm_min_match] = _LONG_MATCH
        options[zstd.CompressionParameter.hash_log] = min(window - 2, _HASH_LOG)
        options[zstd.CompressionParameter.chain_log] = min(window - 2, _HASH_LOG)
    packer = prefix.compressor(options)
    return packer.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes, prefix: Prefix, target: memoryview) -> None:
    """Fill `target` with the data of one frame, which is exactly as long.

    Raises: Malformed if it is damaged, has another size or needs a larger window.
    """
    unpacker = prefix.decompressor({zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
    at = read = 0
    view = memoryview(frame)
    try:
        while not unpacker.eof:
            given = view[read : read + _STEP] if unpacker.needs_input else b""
            if unpacker.needs_input and not given:
                break
            read += len(given)
            data = unpacker.decompress(given, min(_STEP, len(target) - at + 1))
            if at + len(data) > len(target):
                break
            target[at : at + len(data)] = data
            at += len(data)
    except (zstd.ZstdError, ValueError, EOFError) as error:
        raise Malformed(f"a frame of the delta is damaged: {error}") from error
    if at != len(target) or not unpacker.eof or unpacker.unused_data or read != len(frame):
        raise Malformed("a frame of the delta has another size than it says")
