"""A real server that runs out of file descriptors: clients get 503, the log one line, and it recovers."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.parts.images import digest, multi_platform
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, code_of

MADE = multi_platform("app")
pause = threading.Event()  # never set


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serve]:
    with Serve(tmp_path / "layout") as server:
        Registry(server.host).push("app", MADE, "1")
        yield server


@contextmanager
def limited(server: Serve, descriptors: int) -> Iterator[None]:
    """Let the server have no more descriptors than that, for a while."""
    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (descriptors, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)


def first_free(server: Serve, connections: int) -> int:
    """Return the number that the next descriptor of the server will have, when all others have ended."""
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    for _ in range(600):
        with suppress(FileNotFoundError):  # one that is just closed
            used = {int(path.name): str(path.readlink()) for path in descriptors.iterdir()}
            # Next to its connections, the server has a socket that listens, and the two of its event loop.
            if sum(target.startswith("socket:") for target in used.values()) == 3 + connections:
                return next(number for number in range(len(used) + 1) if number not in used)
        pause.wait(0.05)
    raise AssertionError("connections do not end")


def notices(server: Serve) -> list[str]:
    """Return the lines about descriptors, after looking whether the log is one of events."""
    log = server.log.read_text()
    assert "Traceback" not in log
    assert len(log) < 100_000
    return [line for line in log.splitlines() if "file descriptors" in line]


def serves_again(server: Serve) -> bool:
    """Return whether a new connection is served, now or after closed ones were detected."""
    return any(ask("GET", f"http://{server.host}/v2/").status == 200 for _ in range(1000))


def test_connections_beyond_the_descriptor_limit_get_503_and_others_are_served(server: Serve) -> None:
    with limited(server, 64), ExitStack() as stack:
        lines: list[Connection] = []
        while (line := stack.enter_context(Connection(server.host))).ask("GET", "/v2/").status == 200:
            lines.append(line)
        assert 8 <= len(lines) <= 16
        for _ in range(50):
            answer = ask("GET", f"http://{server.host}/v2/")
            assert (answer.status, code_of(answer), answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
        assert len(notices(server)) == 1
        assert "ulimit -n" in notices(server)[0]
        # A connected client has the descriptors that its request needs.
        for line in lines:
            for name, data in MADE.all_blobs().items():
                assert line.ask("GET", f"/v2/app/blobs/{name}").body == data
        stack.close()
        assert serves_again(server)
        assert Registry(server.host).holds("app", MADE, "1")
    assert len(notices(server)) == 1


def test_a_server_out_of_descriptors_reports_it_and_recovers(server: Serve) -> None:
    blob, data = next(iter(MADE.all_blobs().items()))
    with Connection(server.host) as line:
        assert line.ask("GET", "/v2/").status == 200
        with limited(server, first_free(server, 1)):
            for _ in range(200):
                answer = ask("GET", f"http://{server.host}/v2/")
                assert (answer.status, code_of(answer)) == (503, "UNAVAILABLE")
            for method, path in (
                ("GET", f"/v2/app/blobs/{blob}"),
                ("GET", "/v2/app/manifests/1"),
                ("POST", "/v2/app/blobs/uploads/"),
            ):
                answer = line.ask(method, path, {"Content-Length": 0})
                assert (answer.status, code_of(answer)) == (503, "UNAVAILABLE"), path
            assert len(notices(server)) == 1
            (line_of_the_store,) = [line for line in server.log.read_text().splitlines() if "too many open" in line]
            assert "ulimit -n" in line_of_the_store
        assert line.ask("GET", f"/v2/app/blobs/{blob}").body == data
        assert serves_again(server)
        Registry(server.host).push("other", multi_platform("other"), "1")
    assert Registry(server.host).holds("app", MADE, "1")
    assert Registry(server.host).holds("other", multi_platform("other"), "1")


def test_each_of_many_waiting_connections_gets_503(server: Serve) -> None:
    host, port = "127.0.0.1", server.port
    with limited(server, first_free(server, 0)), ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection((host, port), 60)) for _ in range(100)]
        for one in crowd:
            answered = b"".join(iter(lambda one=one: one.recv(1000), b""))  # type: ignore[misc]
            assert answered.startswith(b"HTTP/1.1 503 ")
        assert len(notices(server)) == 1
    assert serves_again(server)
    assert ask("GET", f"http://{server.host}/v2/app/blobs/{digest(b'none')}").status == 404
