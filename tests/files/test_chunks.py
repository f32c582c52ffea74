"""Content is verified while it is read, whether the caller hashes it or, if it is large, a thread of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from mirrorsync.errors import Mismatch
from mirrorsync.files.chunks import CHUNK_BYTES, VerifiedChunks
from mirrorsync.oci import media_types
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest

SIZES = {"hashed by the caller": 3000, "hashed in a thread": 9 * CHUNK_BYTES // 2}
Chunks = list[bytes]


def _content(size: int, step: int) -> Chunks:
    data = bytes(range(256)) * (size // 256 + 1)
    return [data[at : min(at + step, size)] for at in range(0, size, step)]


def _flipped(at: int) -> Callable[[Chunks], Chunks]:
    def flip(chunks: Chunks) -> Chunks:
        bad = bytearray(chunks[at])
        bad[-1] ^= 1
        return [bytes(bad) if one is chunks[at] else one for one in chunks]

    return flip


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_flipped(0), "does not match its digest"),
        (_flipped(-1), "does not match its digest"),
        (lambda chunks: chunks[:-1], "ends after"),
        (lambda chunks: [*chunks, b"x"], "has more than the"),
        (lambda chunks: [*chunks[:-1], chunks[-1] + b"x"], "has more than the"),
    ],
    ids=["first chunk differs", "last chunk differs", "chunk lacks", "chunk too many", "byte too many"],
)
def test_wrong_content_ends_with_an_error_before_its_last_chunk(
    size: int, damage: Callable[[Chunks], Chunks], message: str
) -> None:
    chunks = _content(size, size // 9)
    whole = b"".join(chunks)
    blob = Descriptor(media_types.ANY_BYTES, Digest.of(whole), size)
    assert b"".join(VerifiedChunks(blob, chunks)) == whole
    taken: Chunks = []
    with pytest.raises(Mismatch, match=message):
        taken.extend(VerifiedChunks(blob, damage(chunks)))
    assert sum(map(len, taken)) < size


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_an_error_of_the_source_passes_through(size: int) -> None:
    chunks = _content(size, size // 9)
    blob = Descriptor(media_types.ANY_BYTES, Digest.of(b"".join(chunks)), size)

    def broken() -> Iterator[bytes]:
        yield from chunks[:4]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        list(VerifiedChunks(blob, broken()))


# Held while a thread begins or ends, in Pythons that have it; the garbage collector may run then.
_ABANDONED = """
import threading
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest

data = bytes(4 << 20)
stream = iter(VerifiedChunks(Descriptor("a/b", Digest.of(data), len(data)), iter([data[:1 << 20], data[1 << 20:]])))
next(stream)
with getattr(threading, "_shutdown_locks_lock", threading.Lock()):
    del stream
"""


def test_a_large_stream_that_is_given_up_waits_for_nothing() -> None:
    """Its thread was joined: if the collector gave it up while another thread began, both waited for ever."""
    subprocess.run([sys.executable, "-c", _ABANDONED], check=True, timeout=60)
