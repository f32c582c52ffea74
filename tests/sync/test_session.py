"""The manifests of a session: each is read once, but a failure at one repository says nothing about another."""

from __future__ import annotations

import asyncio

import pytest

from mirrorsync.errors import MirrorsyncError
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.reference import Location
from mirrorsync.stores.memory import MemoryStore
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
