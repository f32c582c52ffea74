"""A store that is written by a process, which is killed at each of its system calls in turn.

As in `watched`, a child is forked for each run. `python -m tests.stores.layout.watched_store KIND DIRECTORY` copies
DIRECTORY/before to DIRECTORY/1, 2, 3... and updates the store in it, killed one event later each time, until
a run ends by itself. KIND is oci-archive or dir.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from mirrorsync.stores.base import Store
from mirrorsync.stores.directory import DirStore
from mirrorsync.stores.layout.archive import LayoutArchive
from mirrorsync.stores.layout.store import LayoutStore
from tests.parts.images import Image, index, layer
from tests.parts.images import image as single
from tests.stores.layout.parts import store_image
from tests.stores.layout.watched import _watch


def made(version: str) -> Image:
    """Return an image of two platforms."""
    parts = [single([layer({"base": b"base"}), layer({"etc/version": f"{version} {one}".encode()})]) for one in "ab"]
    return index(parts)


OLD, NEW = made("old"), made("new")


def opened(kind: str, directory: Path) -> Store:
    if kind == "dir":
        return DirStore(directory / "place")
    return LayoutStore(LayoutArchive(directory / "place", directory))


async def write(kind: str, directory: Path, image: Image) -> None:
    store = opened(kind, directory)
    repository = store.repository("" if kind == "dir" else "app")
    await store_image(repository, image, "1")
    await store.flush()
    await store.close()


def sweep(kind: str, directory: Path) -> int:
    """Return how many runs were killed."""
    for number in range(1, 1000):
        place = directory / str(number)
        shutil.copytree(directory / "before", place)
        child = os.fork()
        if child == 0:
            count = 0

            def saw(_: str, __: list[str]) -> None:
                nonlocal count
                count += 1
                if count == number:  # noqa: B023 - the child ends in this turn of the loop
                    os.kill(os.getpid(), signal.SIGKILL)

            _watch(str(place), saw)
            asyncio.run(write(kind, place, NEW))
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return number - 1
    raise AssertionError("no run came to its end")


if __name__ == "__main__":
    print(sweep(sys.argv[1], Path(sys.argv[2])))
