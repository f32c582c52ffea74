"""Uploads that nobody finishes: forgotten after an hour of silence, never while somebody sends, never too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.serve.refusals import Refusal
from mirrorsync.serve.uploads import Uploads
from mirrorsync.stores.layout.store import LayoutStore


class Time:
    """A clock that stands until somebody moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def _bytes(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_an_upload_is_forgotten_after_an_hour_of_silence(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, time = LayoutStore(tmp_path / "layout"), Time()
        uploads, repository = Uploads(time), store.repository("app")
        store.lock()
        silent, busy = uploads.begin(repository), uploads.begin(repository)
        time.seconds = 3000
        uploads.get("app", busy.id)
        time.seconds = 3700
        uploads.begin(repository)
        assert uploads.get("app", busy.id) is busy
        with pytest.raises(Refusal, match="no such upload"):
            uploads.get("app", silent.id)
        assert len(list(repository.incoming.iterdir())) == 2
        uploads.close()
        assert list(repository.incoming.iterdir()) == []
        await store.close()

    asyncio.run(scenario())


def test_an_upload_is_not_forgotten_while_somebody_sends_however_slowly(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, time = LayoutStore(tmp_path / "layout"), Time()
        uploads, repository = Uploads(time), store.repository("app")
        store.lock()
        slow = uploads.begin(repository)

        async def slowly() -> AsyncIterator[bytes]:
            yield b"begin"
            time.seconds += 10_000
            uploads.begin(repository)
            yield b" and end"

        async with uploads.alone(slow):
            await slow.append(slowly())
        uploads.begin(repository)  # the hour begins when the sender ends
        async with uploads.alone(uploads.get("app", slow.id)):
            await slow.finish(Digest.of(b"begin and end"))
        assert await repository.blob(Digest.of(b"begin and end")) is not None
        uploads.close()
        await store.close()

    asyncio.run(scenario())


def test_there_is_an_end_to_the_number_of_open_uploads(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutStore(tmp_path / "layout")
        uploads, repository = Uploads(), store.repository("app")
        store.lock()
        opened = [uploads.begin(repository) for _ in range(1000)]
        with pytest.raises(Refusal) as caught:
            uploads.begin(repository)
        assert (caught.value.status, caught.value.code) == (429, "TOOMANYREQUESTS")
        uploads.end(opened[0])
        uploads.begin(repository)
        uploads.close()
        await store.close()

    asyncio.run(scenario())


def test_one_of_two_who_finish_the_same_upload_hears_that_it_is_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutStore(tmp_path / "layout")
        uploads, repository = Uploads(), store.repository("app")
        store.lock()
        upload = uploads.begin(repository)

        async def finish() -> str:
            try:
                async with uploads.alone(upload):
                    await upload.append(_bytes(b"content"))
                    await upload.finish(Digest.of(b"content"))
                    uploads.end(upload)
            except Refusal as refused:
                return refused.code
            return "done"

        assert sorted(await asyncio.gather(finish(), finish())) == ["BLOB_UPLOAD_UNKNOWN", "done"]
        assert await repository.blob(Digest.of(b"content")) is not None
        await store.close()

    asyncio.run(scenario())
