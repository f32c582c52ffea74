"""What a session has read: each manifest once, and what was remembered of images in earlier runs."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.digest import Digest
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import Location
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.sync.manifest_cache import DiskCache
from mirrorsync.sync.session import Session
from tests.parts.images import image

MADE = image([b"app"])
MANIFEST = Manifest.parse(MADE.raw, MADE.media_type)
SOURCE, TARGET = Location("source", "app"), Location("target", "app")


def test_a_manifest_that_its_source_lacks_is_read_at_the_destination_that_has_it() -> None:
    stores = {address: MemoryStore(address) for address in ("source", "target")}
    stores["target"].made("app").manifests[MANIFEST.digest] = MANIFEST

    async def read() -> Manifest:
        async with Session(stores.__getitem__) as session:
            for _ in range(2):
                with pytest.raises(MirrorsyncError) as caught:
                    await session.manifest(SOURCE, MANIFEST.descriptor)
                assert caught.value.store == "source"
            return await session.manifest(TARGET, MANIFEST.descriptor)

    assert asyncio.run(read()) == MANIFEST


def test_the_times_of_many_images_are_remembered_and_a_damaged_one_is_not_believed(tmp_path: Path) -> None:
    digests = [Digest.of(str(number).encode()) for number in range(1200)]
    cache = DiskCache(tmp_path / "cache", pytest.fail)
    for digest in digests[:1100]:
        cache.add_created(digest, f"time of {digest}")
    cache.close()
    with sqlite3.connect(tmp_path / "cache") as file:
        file.execute("UPDATE created SET time = 'another' WHERE digest = ?", (digests[7],))
    cache = DiskCache(tmp_path / "cache", pytest.fail)
    known = cache.created(digests)
    cache.close()
    assert known == {digest: f"time of {digest}" for digest in digests[:1100] if digest != digests[7]}
