"""Digests of large content, computed in a thread."""

from __future__ import annotations

import sys

from tests.parts.processes import run

# Chunks of the sizes of a download, read by a worker thread, in a process of its own: what an allocator keeps depends
# on all that was freed before.
_FAULTS = """
import hashlib, resource, threading
from mirrorsync.files.chunks import VerifiedChunks
from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.digest import Digest

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

sizes = [(16 + number * 7 % 20) * 16384 for number in range(200)]
digest = Digest("sha256:" + hashlib.sha256(bytes(sum(sizes))).hexdigest())
piece = bytes(16384)

def read():
    chunks = (b"".join([piece] * (size // len(piece))) for size in sizes)
    for number, _ in enumerate(VerifiedChunks(Descriptor("application/x", digest, sum(sizes)), chunks)):
        if number == 50:
            begun = faults()
    print(faults() - begun)

thread = threading.Thread(target=read)
thread.start()
thread.join()
"""


def test_a_stream_reuses_the_memory_of_its_chunks() -> None:
    # glibc gives it back at first, and each chunk faults in a hundred pages that the kernel has to clear.
    assert int(run(sys.executable, "-c", _FAULTS)) < 500
