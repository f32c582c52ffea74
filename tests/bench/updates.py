"""`python -m tests.bench.updates SIZE OLD NEW DIRECTORY...`: make a layer of files, and its update a month later.

SIZE: of the content in MB. Files are taken from DIRECTORY (as /usr), folder by folder as a hash of their names says.
In the update 5 % of them are changed as a rebuild changes them, 1 % are absent, and 1 % are only there. Both are tar
files if their names end so, otherwise what the command MIRRORSYNC_BENCH_GZIP makes of them (`gzip -6n`).
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

_MONTH: Final = 30 * 24 * 3600


def _chance(name: str) -> random.Random:
    return random.Random(hashlib.sha256(name.encode(errors="surrogateescape")).digest())


def _files(roots: list[str], size: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield regular files, folder by folder in an order that only names decide, until they have that size."""
    directories = [at for root in roots for at, _, names in os.walk(root) if names]
    for directory in sorted(directories, key=lambda at: _chance(at).random()):
        for path in sorted(Path(directory).iterdir()):
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield str(path), path.stat()
                size -= path.stat().st_size
                if size <= 0:
                    return


def changed(data: bytes, chance: random.Random) -> bytes:
    """Return the next version of a file: every 40th line of a text or 4 of 512 bytes are others, some are inserted."""
    if b"\0" not in data[:1024]:
        lines = data.split(b"\n")
        for at in range(chance.randrange(40), len(lines), 40):
            lines[at] = lines[at][: len(lines[at]) // 2] + b" %x" % chance.getrandbits(32)
        lines[len(lines) // 3 : len(lines) // 3] = lines[-4:]
        return b"\n".join(lines)
    new = bytearray(data)
    for at in range(chance.randrange(512), len(new) - 4, 512):
        new[at : at + 4] = chance.randbytes(4)
    new[len(new) // 3 : len(new) // 3] = chance.randbytes(300)
    return bytes(new)


def write(size: int, old: IO[bytes], new: IO[bytes], roots: list[str]) -> None:
    """Write both versions as tar. size: of the old one, in bytes."""
    with tarfile.open(fileobj=old, mode="w|") as before, tarfile.open(fileobj=new, mode="w|") as after:
        for name, stat in _files(roots, size):
            chance = _chance(name + " changed")
            kind = chance.random()
            data = Path(name).read_bytes()
            if kind >= 0.01:  # 1 % are added
                _add(before, name, stat, data, 0)
            if kind < 0.07 and kind >= 0.02:  # 5 % are changed
                _add(after, name, stat, changed(data, chance), _MONTH)
            elif kind < 0.01 or kind >= 0.02:  # 1 % are removed
                _add(after, name, stat, data, 0)


def _add(archive: tarfile.TarFile, name: str, stat: os.stat_result, data: bytes, later: int) -> None:
    member = tarfile.TarInfo(name.lstrip("/"))
    member.size, member.mode, member.mtime = len(data), stat.st_mode & 0o7777, int(stat.st_mtime) + later
    archive.addfile(member, io.BytesIO(data))


def _opened(path: str, files: ExitStack) -> IO[bytes]:
    file: IO[bytes] = files.enter_context(Path(path).open("wb"))  # noqa: SIM115 # closed by `files`
    if path.endswith(".tar"):
        return file
    command = shlex.split(os.environ.get("MIRRORSYNC_BENCH_GZIP", "gzip -6n"))
    process = files.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file))
    assert process.stdin is not None
    return process.stdin


def main() -> None:
    """Write the two files that the command line names."""
    if len(sys.argv) < 5 or not sys.argv[1].isdecimal():
        sys.exit(__doc__)
    with ExitStack() as files:
        write(int(sys.argv[1]) * 10**6, _opened(sys.argv[2], files), _opened(sys.argv[3], files), sys.argv[4:])


if __name__ == "__main__":
    main()
