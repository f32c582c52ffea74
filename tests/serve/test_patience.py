"""Clients that keep a connection open and stall: half a request, half a body, an answer that is not read."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from mirrorsync.serve.patience import Patience
from mirrorsync.stores.base import Store
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from mirrorsync.stores.memory import MemoryStore
from tests.parts.images import digest, noise
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, InProcessServer, code_of, path_of
from tests.serve.test_push import begin, close, where

SHORT = Patience(head_seconds=0.3, stall_seconds=0.3, stall_bytes=1000)
LARGE = noise("large", 40_000_000)  # more than fits into the kernel's buffers of both sides


@pytest.fixture(scope="module", params=["files", "chunks"])
def hasty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Our server, with little patience, over files and over chunks."""
    layout = tmp_path_factory.mktemp("hasty") / "layout"
    store: Store = LayoutDirectoryStore(layout) if request.param == "files" else MemoryStore()
    with InProcessServer(store, patience=SHORT) as server:
        yield Registry(server.host)


def ended(line: Connection) -> bool:
    """Wait until the server ends the connection; return whether it did so without an answer."""
    try:
        return line.socket.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("start", [b"", b"G", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_connection_without_a_request_is_closed(hasty: Registry, start: bytes) -> None:
    with Connection(hasty.host) as line:
        line.send(start)
        assert ended(line)


def test_a_slow_request_head_does_not_extend_its_time_limit(hasty: Registry) -> None:
    with Connection(hasty.host) as line:
        line.socket.settimeout(0.02)
        line.send(b"GET /v2/ HTTP/1.1\r\n")
        sent = 0
        while True:
            try:
                line.send(b"X: y\r\n")
                sent += 1
                if line.socket.recv(1) == b"":
                    break
            except TimeoutError:
                assert sent < 500
            except OSError:
                break


def test_a_connection_that_is_idle_after_an_answer_is_closed(hasty: Registry) -> None:
    with Connection(hasty.host) as line:
        assert line.ask("GET", "/v2/").status == 200
        assert line.ask("GET", "/v2/").status == 200
        assert ended(line)


def test_a_body_that_stalls_is_rejected_and_its_upload_can_be_continued(hasty: Registry, unique: str) -> None:
    data = noise(unique, 1000)
    upload = begin(hasty, unique)
    with Connection(hasty.host) as line:
        line.begin("PATCH", path_of(upload), {"Content-Length": 1000})
        line.send(data[:400])
        answer = line.answer()
        assert (answer.status, code_of(answer)) == (408, "SIZE_INVALID")
        assert answer.headers["Connection"] == "close"
    assert where(upload) == "0-399"  # the upload is not locked any more
    assert close(upload, data, data[400:]).status == 201


def test_a_body_that_is_too_slow_is_rejected(hasty: Registry, unique: str) -> None:
    upload = begin(hasty, unique)
    with Connection(hasty.host) as line:
        line.begin("PATCH", path_of(upload), {"Content-Length": 100_000})
        line.socket.settimeout(0.02)
        answered = b""
        for _ in range(1000):
            line.send(b".")
            try:
                answered = line.socket.recv(1000)
            except TimeoutError:
                continue
            break
        assert answered.startswith(b"HTTP/1.1 408 ")


def test_a_body_just_fast_enough_is_accepted(unique: str) -> None:
    data = noise(unique, 12_000)
    with InProcessServer(MemoryStore(), patience=Patience(stall_seconds=2, stall_bytes=1000)) as around:
        upload = begin(Registry(around.host), unique)
        with Connection(around.host) as line:
            line.begin("PUT", f"{path_of(upload)}?digest={digest(data)}", {"Content-Length": len(data)})
            line.socket.settimeout(0.25)  # 12 pieces at this pace take longer than a stall may last
            for start in range(0, len(data), 1000):
                line.send(data[start : start + 1000])
                if start + 1000 < len(data):
                    with pytest.raises(TimeoutError):
                        line.socket.recv(1)
            line.socket.settimeout(60)
            assert line.answer("PUT").status == 201


def test_a_manifest_that_stalls_is_rejected(hasty: Registry, unique: str) -> None:
    with Connection(hasty.host) as line:
        line.begin("PUT", f"/v2/{unique}/manifests/1", {"Content-Length": 100})
        line.send(b"{")
        assert line.answer().status == 408


def test_the_connection_of_a_client_that_reads_nothing_is_reset(hasty: Registry, unique: str) -> None:
    name = hasty.push_blob(unique, LARGE)
    with Connection(hasty.host) as line:
        line.send(f"GET /v2/{unique}/blobs/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = line.socket.recv(1000)
        assert head.startswith(b"HTTP/1.1 200 ")
        wait_for_reset(line.socket)
    assert ask("GET", f"{hasty.url}/").status == 200


def wait_for_reset(connection: socket.socket) -> None:
    """Return when the other side has reset a connection. Nothing is read: that would open the window again."""
    waiting = select.poll()
    waiting.register(connection, 0)  # errors alone
    assert waiting.poll(60_000)


def test_unread_small_answers_reset_the_connection(hasty: Registry) -> None:
    request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
    with Connection(hasty.host) as line:

        def ask_for_ever() -> None:
            while True:  # until the server reads no more, and then ends it
                line.send(request * 1000)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask_for_ever()
    assert ask("GET", f"{hasty.url}/").status == 200
