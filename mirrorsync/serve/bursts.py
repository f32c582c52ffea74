"""A file into a socket, as fast as the client takes it: in a thread, while the event loop does something else.

Measured on loopback with curl, 64 MiB: sendfile for all of it 2.0 GB/s, and CNCF distribution, which reads and writes
32 KiB at a time, 2.6 GB/s: the receiver copies pages that are in nobody's cache. Pieces that stay in the cache from the
read to the receiver's copy, and a socket that does not queue megabytes (TCP_NOTSENT_LOWAT), give 4 GB/s. A thread does
it, since a read may wait for the disk, and a hop to the event loop for every piece costs as much as the piece.
"""

from __future__ import annotations

import os
import select
from typing import Final

# Read and sent at a time, and what may lie in the socket unsent.
PIECE_BYTES: Final = 256 * 1024
# What one client gets until it is another's turn: downloads share the threads with uploads.
BURST_BYTES: Final = 16 * 1024 * 1024
# A client that is behind has this long to catch up before the event loop waits for it instead of a thread: one that has
# kept up until now, and one that has not. 500 slow ones then cost six threads a tenth of a second a turn.
PATIENCE_MILLISECONDS: Final = 5
LITTLE_PATIENCE_MILLISECONDS: Final = 1
# How much the event loop then waits with. Small, so that a slow client is seen to take something.
_REST_BYTES: Final = 128 * 1024


def burst(descriptor: int, file: int, start: int, end: int, patience: int = PATIENCE_MILLISECONDS) -> tuple[int, bytes]:
    """Send bytes of a file to a non-blocking socket while it takes them; return how many, and some of the next.

    descriptor: the socket's, -1 to send nothing. start, end: offsets in the file. patience: milliseconds. The second is
    empty when all were sent. Blocking. Raises: OSError when the client is gone, when reading fails, or when the file
    ends early.
    """
    buffer = bytearray(min(PIECE_BYTES, end - start))
    offset = start
    while offset < end:
        piece = memoryview(buffer)[: os.preadv(file, [memoryview(buffer)[: end - offset]], offset)]
        if not piece:
            raise OSError("the blob ends early")
        sent = _send(descriptor, piece, patience)
        offset += sent
        if sent < len(piece):
            return offset - start, bytes(piece[sent : sent + _REST_BYTES])
    return offset - start, b""


def _send(descriptor: int, piece: memoryview, patience: int) -> int:
    sent = 0
    while descriptor != -1 and sent < len(piece):
        try:
            sent += os.write(descriptor, piece[sent:])
        except BlockingIOError:
            ready = select.poll()
            ready.register(descriptor, select.POLLOUT)
            if not ready.poll(patience):
                break
    return sent
