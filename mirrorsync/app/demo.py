"""The demo's source: a registry on a free loopback port, with a few images."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirrorsync.app.demo_images import fill
from mirrorsync.serve import serving
from mirrorsync.stores.layout import LayoutDirectoryStore


@contextmanager
def demo_source(directory: Path) -> Iterator[int]:
    """Serve the demo's images from a thread while the block runs; yields the port."""
    ready = threading.Event()
    started: list[int] = []
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        store = LayoutDirectoryStore(directory)
        await fill(store)
        async with serving(store, "127.0.0.1", 0) as port:
            started.append(port)
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="upstream", daemon=True)
    thread.start()
    ready.wait()
    if failed:
        raise failed[0]
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()
