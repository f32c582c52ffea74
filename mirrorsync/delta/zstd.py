"""zstd with earlier content at hand: a frame refers to it as if it had been decompressed before."""

from __future__ import annotations

import sys
from typing import Final

from mirrorsync.errors import Malformed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# zstd takes no less for a prefix.
_SHORTEST: Final = 8
# Offsets reach back over a segment and its windows, which are 96 MiB at most. A frame that asks for more is rejected.
_WINDOW_LOG: Final = 27


def compressed(data: bytes | bytearray | memoryview, prefix: bytes | bytearray, level: int) -> bytes:
    """Return one frame with the data, which is compressed with the prefix before it."""
    size = len(data) + len(prefix)
    window = min(max(size.bit_length(), 10), _WINDOW_LOG)
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.window_log: window,
        zstd.CompressionParameter.checksum_flag: 0,  # the whole blob has a digest
    }
    if len(prefix) > 1 << 20:
        # Matches are found anywhere in the prefix, not only among the last entries of small tables.
        options[zstd.CompressionParameter.enable_long_distance_matching] = 1
        options[zstd.CompressionParameter.hash_log] = min(window - 2, 23)
        options[zstd.CompressionParameter.chain_log] = min(window - 2, 23)
    packer = zstd.ZstdCompressor(options=options)
    if len(prefix) >= _SHORTEST:
        known = zstd.ZstdDict(prefix, is_raw=True)
        packer = zstd.ZstdCompressor(options=options, zstd_dict=known.as_prefix)
    return packer.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def decompressed(frame: bytes, prefix: bytes | bytearray, size: int) -> bytes:
    """Return the data of one frame, exactly `size` bytes.

    Raises: Malformed if it is damaged, has another size or needs a larger window.
    """
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    known = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= _SHORTEST else None
    unpacker = zstd.ZstdDecompressor(zstd_dict=known, options=options)
    try:
        data = unpacker.decompress(frame, size + 1)
    except (zstd.ZstdError, ValueError, EOFError) as error:
        raise Malformed(f"a frame of the delta is damaged: {error}") from error
    if len(data) != size or not unpacker.eof or unpacker.unused_data:
        raise Malformed("a frame of the delta has another size than it says")
    return data
