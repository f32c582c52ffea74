"""A source and destinations in memory, for tests of the engine by itself."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mirrorsync.oci.descriptor import Descriptor
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.plan.model import Plan
from mirrorsync.spec.load import load
from mirrorsync.spec.model import Spec
from mirrorsync.stores.memory import MemoryStore
from mirrorsync.sync.road import make_plan
from mirrorsync.sync.run.apply import apply
from mirrorsync.sync.run.report import Report
from mirrorsync.sync.session import Session
from tests.parts.images import Image, image, noise
from tests.sync.recording import RecordingStore

SOURCE, FIRST, SECOND = "source.example", "first.example", "second.example"


def fill(store: MemoryStore, repository: str, tag: str, made: Image) -> None:
    async def push() -> None:
        target = store.repository(repository)
        for data in made.all_blobs().values():
            await target.write(Descriptor.of(data, "application/octet-stream"), data)
        for manifest in made.manifests():
            await target.put_manifest(Manifest.parse(manifest.raw, manifest.media_type))
        await target.tag(Manifest.parse(made.raw, made.media_type), Tag(tag))

    asyncio.run(push())


async def no_wait(seconds: float) -> None:
    """Return at once, in place of a sleep."""


@dataclass
class InMemorySetup:
    """A source and two destinations in memory, each with a log of its operations."""

    wanted: Mapping[str, Image]  # `repository:tag` at the source
    stores: dict[str, RecordingStore] = field(init=False)
    to: tuple[str, ...] = ("first",)

    def __post_init__(self) -> None:
        self.stores = {name: RecordingStore(MemoryStore(name), name) for name in (SOURCE, FIRST, SECOND)}
        for name, made in self.wanted.items():
            repository, _, tag = name.partition(":")
            inner = self.stores[SOURCE].inner
            assert isinstance(inner, MemoryStore)
            fill(inner, repository, tag, made)

    @property
    def spec(self) -> Spec:
        document = {
            "version": 1,
            "destinations": {"first": FIRST, "second": SECOND},
            "defaults": {"to": list(self.to)},
            "mirrors": [f"{SOURCE}/{name}" for name in self.wanted],
        }
        return load(json.dumps(document).encode(), source="/mirror.yaml", environment={}, base="/")

    def run(self, work: Callable[[Session], Awaitable[Any]]) -> Any:
        async def within() -> Any:
            async with Session(lambda address: self.stores[address]) as session:
                return await work(session)

        return asyncio.run(within())

    def apply(self, stop: threading.Event | None = None) -> Report:
        async def work(session: Session) -> Report:
            plan = await make_plan(self.spec, session)
            return await apply(plan, session, stop=stop, sleep=no_wait)

        report: Report = self.run(work)
        return report

    def plan(self) -> Plan:
        plan: Plan = self.run(lambda session: make_plan(self.spec, session))
        return plan

    def tags(self, address: str, repository: str) -> list[str]:
        async def listed() -> list[str]:
            return [tag async for tag in self.stores[address].inner.repository(repository).tags()]

        return asyncio.run(listed())

    def has_image(self, address: str, repository: str, made: Image) -> bool:
        async def is_complete() -> bool:
            target = self.stores[address].inner.repository(repository)
            blobs = [Descriptor.of(data, "application/octet-stream") for data in made.all_blobs().values()]
            manifests = [Manifest.parse(each.raw, each.media_type) for each in made.manifests()]
            return all([await target.has(blob) for blob in blobs]) and all(
                [await target.resolve(each.digest) for each in manifests]
            )

        return asyncio.run(is_complete())


GOOD, BAD = image([noise("good", 100)]), image([noise("bad", 100), noise("bad, and large", 1_500_000)])
SMALL_BLOB, LARGE_BLOB = list(BAD.blobs)[1:]
