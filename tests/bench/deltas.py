"""`python -m tests.bench.deltas OLD NEW [OLD NEW ...]`: make and apply deltas of real blobs, and print the figures.

Each is made and applied in a process of its own; memory is the peak of what it has above the interpreter's. OLD and NEW
are files: layers as registries have them (`python -m tests.bench.updates` makes some), tar files, models.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from mirrorsync.delta import Blob, apply, make
from mirrorsync.oci.digest import Digest


def _digest(path: str) -> Digest:
    with Path(path).open("rb") as file:
        return Digest(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


def _memory() -> int:
    """Return the largest memory that this process has had, in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _made(old: str, new: str, out: str, told: SimpleQueue[tuple[int | None, float, int]]) -> None:
    with Path(old).open("rb") as old_file, Path(new).open("rb") as new_file, Path(out).open("wb") as file:
        before = Blob(old_file, _digest(old), Path(old).stat().st_size)
        after = Blob(new_file, _digest(new), Path(new).stat().st_size)
        begun, memory = time.process_time(), _memory()
        made = make(before, after, file, after.size)
        told.put((made.size if made else None, time.process_time() - begun, (_memory() - memory) // 1024))


def _applied(old: str, delta: str, told: SimpleQueue[tuple[str, float, int]]) -> None:
    hashed = hashlib.sha256()
    begun, memory = time.process_time(), _memory()
    with Path(old).open("rb") as old_file, Path(delta).open("rb") as file:
        for data in apply(old_file, file):
            hashed.update(data)
    seconds = time.process_time() - begun
    told.put((f"sha256:{hashed.hexdigest()}", seconds, (_memory() - memory) // 1024))


def row(old: str, new: str) -> str:
    """Return one line of the table."""
    spawn = multiprocessing.get_context("spawn")
    size = Path(new).stat().st_size
    name = f"| {Path(old).name} -> {Path(new).name} | {size / 1e6:.1f} | "
    with tempfile.NamedTemporaryFile() as file:
        making: SimpleQueue[tuple[int | None, float, int]] = spawn.SimpleQueue()
        process = spawn.Process(target=_made, args=(old, new, file.name, making))
        process.start()
        made, seconds, memory = making.get()
        process.join()
        name += f"{made} | {made / size:.2%} | " if made else "whole | | "
        name += f"{seconds / size * 2**20:.2f} | {memory} | "
        if not made:
            return name + "| | |"
        applying: SimpleQueue[tuple[str, float, int]] = spawn.SimpleQueue()
        process = spawn.Process(target=_applied, args=(old, file.name, applying))
        process.start()
        digest, seconds, memory = applying.get()
        process.join()
    return name + f"{seconds / size * 2**20:.2f} | {memory} | {'yes' if digest == _digest(new) else 'NO'} |"


def main() -> None:
    """Print the table of the pairs of files that the command line names."""
    paths = sys.argv[1:]
    if not paths or len(paths) % 2:
        sys.exit(__doc__)
    print("| old -> new | MB | delta | of it | making s/MiB | MB | applying s/MiB | MB | equal |\n|" + "---|" * 9)
    for old, new in zip(paths[::2], paths[1::2], strict=True):
        print(row(old, new), flush=True)


if __name__ == "__main__":
    main()
