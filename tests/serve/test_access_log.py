"""The access log of `mirrorsync serve`: who asked for what, how many bytes that were, and how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.images import Image, digest, image, layer, noise
from tests.parts.mirrorsync import Serve
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, path_of

IMAGE = image([layer({"etc/none": b"none"})])
LARGE = noise("large", 40_000_000)


class Log:
    """A server that logs its requests as JSON, with one image in it, and one blob that no socket takes whole."""

    def __init__(self, server: Serve) -> None:
        self.server = server
        self.registry = Registry(server.host)

    def lines(self, path: str) -> list[dict[str, Any]]:
        """Return the lines of the requests for a path so far."""
        # The server writes the line of an answer before it takes up another request.
        ask("GET", f"{self.registry.url}/")
        lines = [json.loads(line) for line in self.server.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "request" and line["path"] == path]

    def last(self, path: str, method: str = "", status: int = 0) -> dict[str, Any]:
        """Return the line of the last request for a path. method, status: wait for a line with these."""
        for _ in range(100):  # a client may have all bytes of an answer before the server has noticed it
            line = self.lines(path)[-1]
            if (method or line["method"], status or line["status"]) == (line["method"], line["status"]):
                break
        return line


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    with Serve(tmp_path_factory.mktemp("access") / "layout", "-v", "--log-format", "json") as server:
        log = Log(server)
        log.registry.push("app", IMAGE, "1")
        log.registry.push_blob("app", LARGE)
        yield log


@pytest.mark.parametrize(
    ("method", "headers", "status", "sent"),
    [
        ("GET", {}, 200, len(LARGE)),
        ("HEAD", {}, 200, 0),
        ("GET", {"Range": "bytes=100-149"}, 206, 50),
        ("GET", {"If-None-Match": f'"{digest(LARGE)}"'}, 304, 0),
    ],
)
def test_the_bytes_of_a_blob_that_were_sent_are_logged(
    log: Log, method: str, headers: dict[str, str], status: int, sent: int
) -> None:
    path = f"/v2/app/blobs/{digest(LARGE)}"
    assert len(ask(method, f"http://{log.server.host}{path}", headers=headers).body) == sent
    line = log.last(path, method, status)
    assert (line["method"], line["status"], line["sent"], line["received"]) == (method, status, sent, 0)
    assert line["level"] == "debug"


def test_the_bytes_of_documents_and_errors_are_logged(log: Log) -> None:
    for path, status in {"/v2/app/manifests/1": 200, "/v2/app/manifests/2": 404, "/v2/none/tags/list": 404}.items():
        body = ask("GET", f"http://{log.server.host}{path}").body
        assert [log.last(path)[key] for key in ("status", "sent")] == [status, len(body)]
        ask("HEAD", f"http://{log.server.host}{path}")
        assert [log.last(path)[key] for key in ("status", "sent")] == [status, 0]


def test_the_bytes_of_a_push_are_logged(log: Log) -> None:
    made: Image = image([layer({"etc/more": b"more"})])
    path = f"/v2/app/manifests/{made.digest}"
    for data in made.all_blobs().values():
        log.registry.push_blob("app", data)
    log.registry.put_manifest("app", made, made.digest)
    line = log.last(path)
    assert (line["method"], line["status"], line["received"], line["sent"]) == ("PUT", 201, len(made.raw), 0)


def test_the_address_of_the_client_is_logged(log: Log) -> None:
    for origin in ("127.0.0.1", "127.0.0.7"):
        with Connection(log.server.host, origin) as line:
            assert line.ask("GET", "/v2/app/tags/list").status == 200
        assert log.last("/v2/app/tags/list")["client"] == origin


def test_the_duration_is_from_the_head_of_the_request_to_the_end_of_the_answer(log: Log) -> None:
    data = noise("slow", 1000)
    started = ask("POST", f"{log.registry.url}/app/blobs/uploads/")
    path = path_of(started.headers["Location"])
    with Connection(log.server.host) as line:
        before = time.monotonic()
        line.begin("PUT", f"{path}?digest={digest(data)}", {"Content-Length": len(data)})
        begun = time.monotonic()
        for number in range(len(data)):
            line.send(data[number : number + 1])
        sent = time.monotonic()
        assert line.answer("PUT").status == 201
    logged = log.last(path)["seconds"]
    # Both ends have the same clock; the log has four digits.
    assert sent - begun - 0.0001 <= logged <= time.monotonic() - before + 0.0001


def test_a_client_that_hangs_up_is_logged_with_the_bytes_that_it_was_sent(log: Log) -> None:
    path = f"/v2/app/blobs/{digest(LARGE)}"
    before = len(log.lines(path))
    with Connection(log.server.host) as line:
        line.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert line.socket.recv(1000)
    while len(log.lines(path)) == before:
        pass
    assert 0 < log.last(path)["sent"] < len(LARGE)


def test_what_is_not_http_is_logged_too(log: Log) -> None:
    with Connection(log.server.host) as line:
        line.send(b"nonsense\r\n\r\n")
        assert line.answer().status == 400
    last = log.lines("/")[-1]
    assert (last["status"], last["client"]) == (400, "127.0.0.1")


def test_a_line_of_text_has_the_same_fields_as_one_of_json(served: Serve) -> None:
    # A path of its own: other tests use the same server.
    path = f"/v2/{Path(__file__).stem}/tags/list"
    body = ask("GET", f"http://{served.host}{path}").body
    ask("GET", f"http://{served.host}/v2/")
    (line,) = [line for line in served.log.read_text().splitlines() if f"path={path} " in line]
    fields = dict(field.split("=", 1) for field in line.split())
    assert [fields[key] for key in ("client", "method", "status", "received", "sent")] == [
        "127.0.0.1", "GET", "404", "0", str(len(body))
    ]  # fmt: skip
    assert float(fields["seconds"]) >= 0


def test_requests_are_logged_only_if_verbose(tmp_path: Path) -> None:
    with Serve(tmp_path / "layout") as quiet:
        for _ in range(2):
            assert ask("GET", f"http://{quiet.host}/v2/").status == 200
        assert "/v2/" not in quiet.log.read_text()
