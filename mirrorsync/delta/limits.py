"""The numbers of the format: what is in memory at once, and what compressors search for."""

from __future__ import annotations

from typing import Final

# The content before a segment that its matches refer to: the window of deflate.
HISTORY: Final = 32768
# Content of a segment: what is in memory at once, together with its tokens and the windows of the old content.
SEGMENT_BYTES: Final = 8 << 20
SEGMENT_TOKENS: Final = 4 << 20
# Bytes outside of deflate streams (headers, trailers, data at the end) in one segment; a header is never split.
RAW_BYTES: Final = 1 << 20
HEADER_BYTES: Final = 1 << 17
# Blocks, headers and trailers in one segment: empty blocks have neither content nor tokens.
SEGMENT_PIECES: Final = 1 << 14
# Bytes of the new blob that a segment makes at least, but for the last one: 258 bytes of content have 2 bits, a token
# has 1, a piece has 10.
LEAST_SEGMENT_BYTES: Final = 1 << 12
# The content of a chunk of the old blob; larger for large blobs, so that there are at most about CHUNKS.
CHUNK_BYTES: Final = 1 << 19
CHUNKS: Final = 8192
# An old blob that has more chunks expands without end, and is not read as gzip.
MOST_CHUNKS: Final = 1 << 15
# Places in the old blob from which it can be read, each with the content before it; an even number.
CHECKPOINTS: Final = 1024
# The old content that one segment refers to.
WINDOW_BYTES: Final = 16 << 20
# Pieces and corrections of a segment, and those of the old chunks before them: at most 4 bytes for a token, 350 for a
# piece, and what is outside of deflate streams.
WRITING_BYTES: Final = 24 << 20
# Steps of searches for each byte of content, on average: candidates that are looked at, and bytes of them that are
# compared. Compressors need a few hundred; content can be made for which they need a million.
SEARCH_STEPS: Final = 2048
# What compressors search for, by the number that the delta has: hash (0 of three bytes as zlib, 1 of four as Go),
# shortest match, length from which a quarter of the chain is enough, length up to which the next position is tried
# (greedy: up to which a match is put into the chains), length that ends a search, length of the chain, largest
# distance, largest distance of a shortest match, greedy.
PREDICTORS: Final[tuple[tuple[int, int, int, int, int, int, int, int, bool], ...]] = (
    (0, 3, 8, 16, 128, 128, 32506, 4096, False),  # zlib and GNU gzip, level 6
    (1, 4, 512, 16, 128, 128, 32768, 4096, False),  # Go, level 6
    (0, 3, 32, 258, 258, 4096, 32506, 4096, False),  # zlib and GNU gzip, level 9
    (0, 3, 8, 16, 32, 32, 32506, 4096, False),  # 5
    (0, 3, 4, 4, 16, 16, 32506, 4096, False),  # 4
    (0, 3, 8, 32, 128, 256, 32506, 4096, False),  # 7
    (0, 3, 32, 128, 258, 1024, 32506, 4096, False),  # 8
    (1, 4, 512, 258, 258, 4096, 32768, 4096, False),  # Go, level 9
    (0, 3, 4, 6, 32, 32, 32506, 32768, True),  # zlib and GNU gzip, level 3
    (0, 3, 4, 4, 8, 4, 32506, 32768, True),  # 1
)
