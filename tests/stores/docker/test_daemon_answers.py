"""Missing daemons, and daemons with invalid answers: sockets of the tests' own."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import socketserver
import tarfile
import threading
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    Malformed,
    MirrorsyncError,
    RegistryFailure,
    TlsFailed,
    Unreachable,
    UsageError,
)
from mirrorsync.oci.manifest import Manifest
from mirrorsync.oci.ref import Tag
from mirrorsync.stores.base import Store
from mirrorsync.stores.docker.daemon_store import DockerDaemonStore
from tests.parts.images import digest
from tests.parts.processes import free_port
from tests.stores.docker.parts import (
    ONE,
    TWO,
    Plain,
    by_nix,
    packed,
    pushed,
    tarball,
    using,
)

# Invalid answers of a daemon: status and body by the prefix of a path.
Answers = Mapping[str, tuple[int, bytes]]
PING: Answers = {"/_ping": (200, b"OK"), "/images/json": (200, b"[]")}
IMAGE = {"Id": ONE.id, "RepoTags": ["app:1"], "RootFS": {"Layers": []}}
TWICE = Plain((*ONE.layers, ONE.layers[0]), "twice")
IMAGE_JSON = json.dumps(IMAGE).encode()


@contextmanager
def answering(answers: Answers, *, version: str | None = "1.41", bodies: list[bytes] | None = None) -> Iterator[str]:
    """Run a server on a unix socket; return its address. bodies: gets the bodies of requests."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if sent and bodies is not None:
                bodies.append(sent)
            path = next((path for path in answers if self.path.startswith(path)), "")
            status, body = answers.get(path, (404, b'{"message":"no such image"}'))
            self.send_response(status)
            if version:
                self.send_header("Api-Version", version)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            return super().get_request()[0], ("local", 0)

    with TemporaryDirectory(prefix="daemon") as home, Server(f"{home}/s", Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"unix://{home}/s"
        finally:
            server.shutdown()


def resolve(store: Store) -> Awaitable[object]:
    return store.repository("app").resolve(Tag("1"))


READING: dict[str, tuple[Answers, type[MirrorsyncError], str]] = {
    "an error": ({"/images": (500, b'{"message":"disk on fire"}')}, RegistryFailure, "disk on fire"),
    "an error that is not JSON": ({"/images": (500, b"oops\x1b[31m")}, RegistryFailure, "oops"),
    "refused by a policy": ({"/images": (403, b'{"message":"by policy"}')}, Denied, "by policy"),
    "not a docker daemon, by its header": ({"/images": (404, b"<html>")}, RegistryFailure, "Docker's API"),
    "a web page": ({"/images": (200, b"<html>")}, RegistryFailure, "Docker's API"),
    "a malformed ID": ({"/images": (200, b'{"Id":"../../x"}')}, RegistryFailure, "Docker's API"),
    "a number": ({"/images": (200, b"1")}, RegistryFailure, "Docker's API"),
    "a missing export": ({"/images/docker.io": (200, IMAGE_JSON)}, ContentNotFound, "no longer has the image"),
    "an export that is not an archive": (
        {"/images/docker.io": (200, IMAGE_JSON), "/images/sha256:": (200, b"junk" * 500)},
        Malformed,
        "archive",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", READING)
def test_invalid_answers_of_the_daemon_are_reported(tmp_path: Path, what: str) -> None:
    answers, kind, message = READING[what]
    with answering(answers) as host, pytest.raises(kind) as caught:
        using(host, tmp_path, resolve)
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert caught.value.store == "docker-daemon:"


def test_an_export_of_another_image_is_rejected(tmp_path: Path) -> None:
    other = tarball(tmp_path / "other.tar", by_nix(TWO, ["app:1"])).read_bytes()
    answers = {"/images/docker.io/": (200, IMAGE_JSON), "/images/sha256:": (200, other)}
    with answering(answers) as host, pytest.raises(RegistryFailure, match="exported image"):
        using(host, tmp_path, resolve)


def test_ids_of_containerds_image_store_which_are_not_configs_are_supported(tmp_path: Path) -> None:
    layers = json.loads(ONE.config)["rootfs"]["diff_ids"]
    image = {"Id": TWO.id, "RepoTags": ["app:1"], "RootFS": {"Layers": layers}}
    exported = tarball(tmp_path / "other.tar", by_nix(ONE, ["app:1"])).read_bytes()
    answers = {"/images/docker.io/": (200, json.dumps(image).encode()), "/images/sha256:": (200, exported)}
    made = packed(ONE)

    async def holds(store: Store) -> object:
        repository: Any = store.repository("app")
        return await repository.holds_image(Tag("1"), Manifest.parse(made.raw, made.media_type))

    with answering(answers) as host:
        assert using(host, tmp_path, resolve) is not None
        assert using(host, tmp_path, holds) is True


WRITING: dict[str, tuple[Answers, type[MirrorsyncError], str]] = {
    "an error in a 200": (
        {"/images/load": (200, b'{"stream":"Loading"}\r\n{"errorDetail":{"message":"x"},"error":"no space left"}\r\n')},
        RegistryFailure,
        "no space left",
    ),
    "an error": ({"/images/load": (500, b'{"message":"archive is unfit"}')}, RegistryFailure, "archive is unfit"),
    "success without an image": ({"/images/load": (200, b"{}")}, RegistryFailure, "did not store"),
    "success with another image": (
        {"/images/load": (200, b"{}"), "/images/docker.io": (200, json.dumps({**IMAGE, "Id": TWO.id}).encode())},
        RegistryFailure,
        "another image",
    ),
}


@pytest.mark.parametrize("what", WRITING)
def test_a_failed_load_is_reported(tmp_path: Path, what: str) -> None:
    answers, kind, message = WRITING[what]
    failures: list[MirrorsyncError] = []

    async def write(store: Store) -> None:
        await pushed(store.repository("app"), packed(ONE), "1")
        try:
            await store.flush()
        except MirrorsyncError as error:
            failures.append(error)

    with answering({**PING, **answers}) as host, pytest.raises(kind):  # closing retries once
        using(host, tmp_path, write)
    assert [type(error) for error in failures] == [kind]
    assert message in failures[0].message


def test_a_load_has_each_layer_once_and_is_deterministic(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def write(store: Store) -> None:
        await pushed(store.repository("app"), packed(TWICE), "1")
        await pushed(store.repository("app"), packed(TWO), "2")

    with answering({**PING, "/images/load": (200, b"{}")}, bodies=bodies) as host:
        for _ in range(2):
            with pytest.raises(RegistryFailure, match="did not store"):
                using(host, tmp_path, write)
    assert len(set(bodies)) == 1
    with tarfile.open(fileobj=io.BytesIO(bodies[0])) as archive:
        layers = [
            digest(file.read())
            for each in archive
            if each.name.endswith(".tar") and (file := archive.extractfile(each))
        ]
    assert sorted(layers) == sorted(digest(data) for data in {*TWICE.layers, *TWO.layers})


def test_a_server_that_is_not_a_docker_daemon_is_not_written_to(tmp_path: Path) -> None:
    with answering(PING, version=None) as host, pytest.raises(Unreachable, match="not a docker daemon"):
        using(host, tmp_path, lambda store: asyncio.to_thread(store.lock))


def test_a_missing_daemon_is_reported_with_a_remedy(tmp_path: Path) -> None:
    for host in (f"unix://{tmp_path}/none.sock", f"unix://{tmp_path}", f"tcp://127.0.0.1:{free_port()}"):
        with pytest.raises(Unreachable) as caught:
            using(host, tmp_path, resolve)
        assert "--daemon-host" in caught.value.remedy


def test_another_kind_of_server_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Unreachable, match="not a docker daemon"):
            using(f"tcp://127.0.0.1:{listener.getsockname()[1]}", tmp_path, resolve)
        thread.join()


def test_a_daemon_without_tls_is_reported_if_tls_is_required(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        variables = {"DOCKER_HOST": f"tcp://127.0.0.1:{listener.getsockname()[1]}", "DOCKER_TLS_VERIFY": "1"}
        with pytest.raises(TlsFailed, match="TLS handshake with the daemon"):
            using(None, tmp_path, resolve, variables)
        thread.join()


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("ssh://root@server", "ssh -nNT -L"),
        ("npipe:////./pipe/docker", "unix:///"),
        ("unix://relative", "unix:///"),
        ("tcp://", "tcp://host:port"),
        ("tcp://user:secret@host", "tcp://host:port"),
        ("tcp://host:99999", "tcp://host:port"),
        ("docker", "unix:///"),
    ],
)
def test_an_invalid_daemon_host_is_rejected_with_a_remedy(tmp_path: Path, host: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        DockerDaemonStore(host, {}, temporary=tmp_path)
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)
