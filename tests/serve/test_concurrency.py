"""Many clients at once at our own server: the same blob, the same upload, the same repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import TypeVar
from urllib.parse import urljoin

import pytest

from tests.parts.images import digest, image, layer, multi_platform, noise
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask

R = TypeVar("R")
CLIENTS = 16


def together(calls: Iterable[Callable[[], R]]) -> list[R]:
    """Make all calls at once; return what each returned."""
    waiting = list(calls)
    barrier = Barrier(len(waiting))

    def run(call: Callable[[], R]) -> R:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(waiting)) as pool:
        return list(pool.map(run, waiting))


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_many_clients_push_the_same_blob_at_once(server: Registry, unique: str, size: int) -> None:
    data = noise(unique, size)
    assert together([lambda: server.push_blob(unique, data)] * CLIENTS) == [digest(data)] * CLIENTS
    assert together([lambda: server.blob(unique, digest(data)).body] * CLIENTS) == [data] * CLIENTS


def test_one_of_two_concurrent_requests_finishes_an_upload(server: Registry, unique: str) -> None:
    data = noise(unique, 500_000)
    for _ in range(5):
        begun = ask("POST", f"{server.url}/{unique}/blobs/uploads/")
        upload = urljoin(f"{server.url}/", begun.headers["Location"])
        answers = together([partial(ask, "PUT", f"{upload}?digest={digest(data)}", data)] * 4)
        assert sorted(answer.status for answer in answers) == [201, 404, 404, 404]
        assert server.blob(unique, digest(data)).body == data


def test_many_clients_push_to_one_repository_at_once(server: Registry, unique: str) -> None:
    images = {f"v{number}": multi_platform("app", str(number)) for number in range(8)}
    together(partial(server.push, unique, made, tag) for tag, made in images.items())
    assert server.tags(unique) == sorted(images)
    for tag, made in images.items():
        assert server.holds(unique, made, tag)


def test_a_tag_pushed_by_many_clients_names_one_of_their_manifests(server: Registry, unique: str) -> None:
    images = [image([layer({"etc/number": str(number).encode()})]) for number in range(CLIENTS)]
    for made in images:
        server.push(unique, made)
    together(partial(server.put_manifest, unique, made, "latest") for made in images)
    assert server.tags(unique) == ["latest"]
    assert server.manifest(unique, "latest").body in [made.raw for made in images]
    for made in images:
        assert server.holds(unique, made)


def test_many_clients_push_first_to_a_new_server(tmp_path: Path) -> None:
    base = image([layer({"etc/none": b""})])
    with Serve(tmp_path / "layout") as server:
        Registry(server.host).push("app", base, "0")
    # The blobs are there: all that is left is to put the manifests, which takes the lock.
    images = [image([layer({"etc/none": b""})], annotations={"number": str(number)}) for number in range(CLIENTS)]
    for _ in range(3):
        with Serve(tmp_path / "layout") as server:
            registry = Registry(server.host)
            together(partial(registry.put_manifest, "app", made, made.digest) for made in images)
            for made in images:
                assert ask("DELETE", f"{registry.url}/app/manifests/{made.digest}").status == 202
                (tmp_path / "layout/blobs/sha256" / made.digest[7:]).unlink()
