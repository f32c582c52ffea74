"""Send blobs to clients that are fast, slow, or gone: every byte, in order, and no thread waits for ever."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from mirrorsync.serve.bursts import BURST_BYTES, PIECE_BYTES, burst
from tests.parts.images import digest, noise
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry
from tests.serve.harness import Connection
from tests.serve.secured import Secured, basic

DATA = noise("burst", 3 * PIECE_BYTES + 1234)
LARGE = noise("large", 2 * BURST_BYTES + 54321)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    (tmp_path / "blob").write_bytes(DATA)
    with (tmp_path / "blob").open("rb") as file:
        yield file


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection; the first does not block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(60)
        yield ours, theirs


def read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := connection.recv(min(65536, size - len(data)))):
        data += piece
    return bytes(data)


@pytest.mark.parametrize(("start", "end"), [(0, len(DATA)), (0, 1), (7, PIECE_BYTES + 8), (len(DATA) - 1, len(DATA))])
def test_a_client_that_keeps_up_gets_the_whole_range_in_one_burst(
    file: BinaryIO, ends: tuple[socket.socket, socket.socket], start: int, end: int
) -> None:
    ours, theirs = ends
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000_000)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, theirs, end - start)
        sent, rest = 0, b"?"
        while rest:  # a reader that was not scheduled in time gets another burst
            more, rest = burst(ours.fileno(), file.fileno(), start + sent, end)
            sent += more
        assert sent == end - start
        assert reading.result() == DATA[start:end]


def test_a_burst_to_a_client_that_does_not_read_returns_the_next_piece(
    file: BinaryIO, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
    sent, rest = burst(ours.fileno(), file.fileno(), 0, len(DATA))
    assert 0 < sent < len(DATA)
    assert rest
    assert DATA[sent:].startswith(rest)
    assert read(theirs, sent) == DATA[:sent]


def test_without_a_descriptor_a_burst_only_returns_the_next_piece(file: BinaryIO) -> None:
    sent, rest = burst(-1, file.fileno(), 10, len(DATA))
    assert sent == 0
    assert len(rest) > 1000
    assert DATA[10:].startswith(rest)


def test_a_truncated_file_and_a_closed_connection_are_errors(
    file: BinaryIO, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    with pytest.raises(OSError, match="ends early"):
        burst(-1, file.fileno(), len(DATA), len(DATA) + 1)
    theirs.close()
    with pytest.raises(OSError):  # noqa: PT011 - which one, the kernel says
        burst(ours.fileno(), file.fileno(), 0, len(DATA))


def test_slow_and_fast_clients_at_once_get_every_byte(served: Serve, unique: str) -> None:
    name = Registry(served.host).push_blob(unique, LARGE)
    head = f"GET /v2/{unique}/blobs/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    version = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        # More than there are worker threads, and all of them ask before one of them reads.
        slow = [stack.enter_context(Connection(served.host)) for _ in range(20)]
        for line in slow:
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
            line.send(head + version)
        assert Registry(served.host).blob(unique, name).body == LARGE

        def take(line: Connection) -> None:
            with line.socket.makefile("rb") as answers:  # one reader for both: it reads ahead
                for expected in (LARGE, b"{}"):
                    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                    headers = http.client.parse_headers(answers)
                    assert digest(answers.read(int(headers["Content-Length"]))) == digest(expected)

        with ThreadPoolExecutor(len(slow)) as pool:
            list(pool.map(take, slow))
    assert b"Traceback" not in served.log.read_bytes()


def test_clients_that_hang_up_leave_no_descriptor_open(served: Serve, unique: str) -> None:
    server = Registry(served.host)
    name = server.push_blob(unique, LARGE)
    descriptors = Path(f"/proc/{served.process.pid}/fd")

    def files() -> list[str]:
        found = []
        for path in descriptors.iterdir():
            try:
                found.append(str(path.readlink()))
            except FileNotFoundError:
                continue
        return [target for target in found if name[7:] in target]

    for _ in range(20):
        with Connection(served.host) as line:
            line.send(f"GET /v2/{unique}/blobs/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert line.socket.recv(10) == b"HTTP/1.1 2"
    pause = threading.Event()
    for _ in range(600):
        if not files():
            break
        pause.wait(0.1)
    assert files() == []


def test_two_hundred_clients_at_once_pull_with_tls_and_a_login(secured_server: Secured, unique: str) -> None:
    data = noise("many", 200_000)
    path = secured_server.push_blob(unique, data)
    context = secured_server.context()
    with ExitStack() as stack:
        lines = [http.client.HTTPSConnection(secured_server.host, timeout=120, context=context) for _ in range(200)]
        for line in lines:
            stack.callback(line.close)
            line.request("GET", path, headers=basic())  # all of them ask before one of them reads
        for line in lines:
            answer = line.getresponse()
            assert (answer.status, answer.read()) == (200, data)
    assert b"Traceback" not in secured_server.server.log.read_bytes()
