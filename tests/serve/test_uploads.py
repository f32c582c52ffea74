"""Unfinished uploads: they end after an hour of idleness, never while bytes arrive, and their number is limited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirrorsync.oci.digest import Digest
from mirrorsync.serve.refusals import Refusal
from mirrorsync.serve.turns import network_of
from mirrorsync.serve.uploads import Upload, Uploads
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection
from tests.serve.test_push import begin


class Time:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def _bytes(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_an_idle_upload_ends_after_an_hour(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, time = LayoutDirectoryStore(tmp_path / "layout"), Time()
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


def test_an_upload_does_not_end_while_bytes_arrive_slowly(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, time = LayoutDirectoryStore(tmp_path / "layout"), Time()
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


async def send_for_ever(uploads: Uploads, upload: Upload, sending: asyncio.Event) -> None:
    async with uploads.alone(upload):
        sending.set()
        await asyncio.Event().wait()


def test_a_client_with_too_many_uploads_loses_the_least_recently_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path / "layout")
        uploads, repository = Uploads(most=100, most_of_one=3), store.repository("app")
        store.lock()
        other = uploads.begin(repository, client="192.0.2.2")
        first, second, third = (uploads.begin(repository, client="192.0.2.1") for _ in range(3))
        uploads.get("app", first.id)
        fourth = uploads.begin(repository, client="192.0.2.1")
        assert uploads.all() == [other, third, first, fourth]
        with pytest.raises(Refusal) as caught:
            uploads.get("app", second.id)
        assert (caught.value.status, caught.value.code) == (404, "BLOB_UPLOAD_UNKNOWN")
        async with uploads.alone(third):
            pass  # used now
        uploads.begin(repository, client="192.0.2.1")
        assert first not in uploads.all()
        assert {other, third, fourth} < set(uploads.all())
        assert len(list(repository.incoming.iterdir())) == 4
        uploads.close()
        await store.close()

    asyncio.run(scenario())


def test_a_busy_upload_does_not_end_and_only_its_client_gets_429(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path / "layout")
        uploads, repository = Uploads(most=100, most_of_one=3), store.repository("app")
        store.lock()
        sent = [uploads.begin(repository, client="192.0.2.1") for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            tasks = []
            for upload in sent:
                sending = asyncio.Event()
                tasks.append(group.create_task(send_for_ever(uploads, upload, sending)))
                await sending.wait()
            idle = uploads.begin(repository, client="192.0.2.1")
            sent.append(uploads.begin(repository, client="192.0.2.1"))
            assert uploads.all() == sent  # the idle one went, though it was used last
            assert idle not in uploads.all()
            sending = asyncio.Event()
            tasks.append(group.create_task(send_for_ever(uploads, sent[2], sending)))
            await sending.wait()
            with pytest.raises(Refusal) as caught:
                uploads.begin(repository, client="192.0.2.1")
            assert (caught.value.status, caught.value.code) == (429, "TOOMANYREQUESTS")
            assert uploads.begin(repository, client="192.0.2.2") in uploads.all()
            for task in tasks:
                task.cancel()
        assert uploads.begin(repository, client="192.0.2.1") in uploads.all()
        uploads.close()
        await store.close()

    asyncio.run(scenario())


def test_the_number_of_all_uploads_is_limited_and_the_least_recently_used_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path / "layout")
        uploads, repository = Uploads(), store.repository("app")
        store.lock()
        opened = [uploads.begin(repository, client=f"192.0.2.{number % 100}") for number in range(1000)]
        uploads.get("app", opened[0].id)
        new = uploads.begin(repository, client="198.51.100.1")
        assert uploads.all() == [*opened[2:], opened[0], new]
        assert len(list(repository.incoming.iterdir())) == 1000
        uploads.close()
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("unix", "", False),
    ],
)
def test_a_client_is_identified_by_its_address_or_network(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_uploads_are_counted_for_each_client_address(served: Serve, unique: str) -> None:
    """Linux has all of 127.0.0.0/8 on loopback, and connects from the address that is bound."""
    server = Registry(served.host)
    first = begin(server, unique)
    with Connection(served.host, "127.0.0.2") as line:
        for _ in range(300):
            assert line.ask("POST", f"/v2/{unique}/blobs/uploads/", {"Content-Length": 0}).status == 202
    assert ask("GET", first).status == 204


def test_the_second_of_two_requests_that_finish_an_upload_gets_404(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LayoutDirectoryStore(tmp_path / "layout")
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
