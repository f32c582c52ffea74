"""A docker daemon as source and destination: podman's service, and a server of the tests' own that misbehaves."""

from __future__ import annotations

import asyncio
import json
import socket
import socketserver
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mirrorsync.errors import (
    ContentNotFound,
    Denied,
    IntegrityError,
    MirrorsyncError,
    RegistryFailure,
    RepositoryNotFound,
    TlsFailed,
    Unreachable,
    UsageError,
)
from mirrorsync.oci.manifest import Manifest
from mirrorsync.stores.base import Store
from mirrorsync.stores.docker.daemon import DockerDaemonStore
from tests.parts.daemon import Daemon
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import multi_platform
from tests.parts.processes import free_port
from tests.stores.docker.parts import (
    BASE,
    ONE,
    TWO,
    Plain,
    Result,
    by_nix,
    packed,
    pulled,
    pushed,
    tarball,
    within,
)
from tests.stores.docker.test_remembering import DAEMON, Runs


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as service:
        yield service


@pytest.fixture
def ask(daemon: Daemon, tmp_path: Path) -> Callable[[Callable[[Store], Awaitable[Any]]], Any]:
    """Return what runs something with a store of the daemon."""
    return lambda work: using(daemon.host, tmp_path, work)


Asking = Callable[[Callable[[Store], Awaitable[Any]]], Any]


def using(
    host: str | None,
    directory: Path,
    work: Callable[[Store], Awaitable[Result]],
    variables: Mapping[str, str] | None = None,
) -> Result:
    temporary = directory / "temporary"
    temporary.mkdir(exist_ok=True)

    async def run() -> Result:
        store = DockerDaemonStore(host, variables or {}, temporary=temporary, cache_directory=directory / "cache")
        try:
            return await work(store)
        finally:
            await store.close()
            assert not list(temporary.iterdir()), "temporary files are left"

    return asyncio.run(run())


async def pull(repository: str, reference: str, store: Store) -> tuple[Manifest, dict[str, bytes]]:
    return await pulled(store.repository(repository), reference)


def load(daemon: Daemon, directory: Path, made: Plain, name: str) -> None:
    daemon("load", "-q", "-i", tarball(directory / "load.tar", by_nix(made, [name])))


def test_an_image_of_the_daemon_is_read_by_name_and_by_id(
    daemon: Daemon, ask: Asking, tmp_path: Path, unique: str
) -> None:
    made = Plain(label=unique)
    load(daemon, tmp_path, made, f"docker.io/library/{unique}:1")
    archive = tmp_path / "load.tar"
    expected = within(archive, lambda store: pulled(store.repository(unique), "1"))
    for repository, reference in ((unique, "1"), ("", f"@{made.id}"), ("", f"@{made.id[:19]}")):
        found = ask(partial(pull, repository, reference))
        assert found == expected
        assert found[1][made.id] == made.config


@pytest.mark.parametrize("name", ["quay.io/corp/{}:1", "localhost/{}:1", "docker.io/user/{}:1", "localhost:5000/{}:1"])
def test_names_are_familiar_ones(daemon: Daemon, ask: Asking, tmp_path: Path, unique: str, name: str) -> None:
    load(daemon, tmp_path, Plain(label=unique), name.format(unique))
    repository = name.format(unique).removeprefix("docker.io/").removesuffix(":1")

    async def look(store: Store) -> tuple[list[str], bool]:
        assert repository in [each async for each in store.repositories()]
        tags = [tag async for tag in store.repository(repository).tags()]
        return tags, await store.repository(repository).resolve("1") is not None

    assert ask(look) == (["1"], True)


def test_what_is_not_there_is_absent(ask: Asking, unique: str) -> None:
    async def look(store: Store) -> list[object]:
        named, by_id = store.repository(unique), store.repository("")
        return [await named.resolve("1"), await by_id.resolve("@sha256:" + "a" * 64)]

    assert ask(look) == [None, None]


def test_an_unknown_name_is_told_with_what_is_close(daemon: Daemon, ask: Asking, tmp_path: Path, unique: str) -> None:
    load(daemon, tmp_path, Plain(label=unique), f"docker.io/library/{unique}-webserver:1")

    async def tags(store: Store) -> None:
        _ = [tag async for tag in store.repository(f"{unique}-webservr").tags()]

    with pytest.raises(RepositoryNotFound) as caught:
        ask(tags)
    assert f"{unique}-webserver:1" in caught.value.remedy


def test_images_are_written_and_their_ids_stay(daemon: Daemon, ask: Asking, unique: str) -> None:
    async def write(store: Store) -> None:
        store.lock()
        for repository, tag, made in ((unique, "1", ONE), (f"quay.io/{unique}", "2", TWO), (unique, "3", ONE)):
            await pushed(store.repository(repository), packed(made), tag)

    ask(write)
    for name, made in ((f"docker.io/library/{unique}:1", ONE), (f"quay.io/{unique}:2", TWO), (f"{unique}:3", ONE)):
        assert daemon("inspect", "--format", "{{.Id}}", name) == made.id.removeprefix("sha256:")


def test_it_knows_what_it_holds_and_a_tag_is_deleted_alone(ask: Asking, unique: str) -> None:
    image = packed(ONE)

    async def write(store: Store) -> None:
        for tag in ("1", "2"):
            await pushed(store.repository(unique), image, tag)

    async def holds(store: Store) -> list[bool]:
        repository: Any = store.repository(unique)
        return [await repository.holds_image(tag, Manifest.parse(image.raw, image.media_type)) for tag in ("1", "2")]

    ask(write)
    assert ask(holds) == [True, True]
    ask(lambda store: store.repository(unique).delete("1"))
    assert ask(holds) == [False, True]
    with pytest.raises(ContentNotFound):
        ask(lambda store: store.repository(unique).delete("1"))


def test_an_index_is_refused_with_what_to_do(ask: Asking, unique: str) -> None:
    made = multi_platform(unique)
    with pytest.raises(Denied) as caught:
        ask(lambda store: store.repository(unique).tag(Manifest.parse(made.raw, made.media_type), "1"))
    assert "--platform" in caught.value.remedy


def test_an_image_of_the_daemon_gets_another_name_there(daemon: Daemon, tmp_path: Path, unique: str) -> None:
    load(daemon, tmp_path, Plain(label=unique), f"docker.io/library/{unique}:1")
    runs = Runs(tmp_path, daemon.host)
    for _ in range(2):
        report = runs(f"{DAEMON}{unique}:1", f"{DAEMON}other", "x.example")[1]
        assert not report.failures
    assert daemon("inspect", "--format", "{{.Id}}", f"docker.io/other/{unique}:1") == Plain(label=unique).id[7:]


def test_a_second_push_exports_and_copies_nothing(
    daemon: Daemon, registry: DockerRegistry, tmp_path: Path, unique: str
) -> None:
    load(daemon, tmp_path, Plain((BASE,), unique), f"docker.io/library/{unique}:1")
    runs = Runs(tmp_path, daemon.host)
    source, to = f"{DAEMON}{unique}:1", f"{registry.host}/mirror"
    assert runs(source, to, registry.host)[1].counts.blobs_written == 2
    exports = daemon.log.count("Copying config")
    plan, report = runs(source, to, registry.host)
    assert not report.failures
    assert not plan.steps
    assert daemon.log.count("Copying config") == exports
    runs.cache = None  # what is not remembered is exported again, and is the same
    assert not runs(source, to, registry.host)[0].steps
    assert daemon.log.count("Copying config") == exports + 1


# What a daemon should not answer: by the beginning of a path, status and body.
Answers = Mapping[str, tuple[int, bytes]]
PING = {"/_ping": (200, b"OK")}
IMAGE = {"Id": ONE.id, "RepoTags": ["app:1"], "RootFS": {"Layers": []}}
IMAGE_JSON = json.dumps(IMAGE).encode()


@contextmanager
def answering(answers: Answers, *, version: str | None = "1.41") -> Iterator[str]:
    """Run a server on a unix socket; return its address."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0:
                left -= len(self.rfile.read(min(left, 65536)))
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
    return store.repository("app").resolve("1")


READING: dict[str, tuple[Answers, type[MirrorsyncError], str]] = {
    "an error": ({"/images": (500, b'{"message":"disk on fire"}')}, RegistryFailure, "disk on fire"),
    "an error that is no JSON": ({"/images": (500, b"oops\x1b[31m")}, RegistryFailure, "oops"),
    "refused by a policy": ({"/images": (403, b'{"message":"by policy"}')}, Denied, "by policy"),
    "no docker daemon": ({"/images": (404, b"<html>")}, RegistryFailure, "Docker's API"),
    "a web page": ({"/images": (200, b"<html>")}, RegistryFailure, "Docker's API"),
    "an id that is none": ({"/images": (200, b'{"Id":"../../x"}')}, RegistryFailure, "Docker's API"),
    "a number": ({"/images": (200, b"1")}, RegistryFailure, "Docker's API"),
    "an export that is gone": ({"/images/docker.io": (200, IMAGE_JSON)}, ContentNotFound, "no such image"),
    "an export that is no archive": (
        {"/images/docker.io": (200, IMAGE_JSON), "/images/sha256:": (200, b"junk" * 500)},
        IntegrityError,
        "archive",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", READING)
def test_answers_that_are_wrong_are_told(tmp_path: Path, what: str) -> None:
    answers, kind, said = READING[what]
    with answering(answers) as host, pytest.raises(kind) as caught:
        using(host, tmp_path, resolve)
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert caught.value.store == "docker-daemon:"


def test_an_export_of_another_image_is_refused(tmp_path: Path) -> None:
    other = tarball(tmp_path / "other.tar", by_nix(TWO, ["app:1"])).read_bytes()
    answers = {"/images/docker.io/": (200, IMAGE_JSON), "/images/sha256:": (200, other)}
    with answering(answers) as host, pytest.raises(IntegrityError, match="exported image"):
        using(host, tmp_path, resolve)


def test_containerds_image_store_whose_ids_are_not_configs_is_understood(tmp_path: Path) -> None:
    layers = json.loads(ONE.config)["rootfs"]["diff_ids"]
    image = {"Id": TWO.id, "RepoTags": ["app:1"], "RootFS": {"Layers": layers}}
    exported = tarball(tmp_path / "other.tar", by_nix(ONE, ["app:1"])).read_bytes()
    answers = {"/images/docker.io/": (200, json.dumps(image).encode()), "/images/sha256:": (200, exported)}
    made = packed(ONE)

    async def holds(store: Store) -> object:
        repository: Any = store.repository("app")
        return await repository.holds_image("1", Manifest.parse(made.raw, made.media_type))

    with answering(answers) as host:
        assert using(host, tmp_path, resolve) is not None
        assert using(host, tmp_path, holds) is True


WRITING: dict[str, tuple[Answers, type[MirrorsyncError], str]] = {
    "an error inside of a 200": (
        {"/images/load": (200, b'{"stream":"Loading"}\r\n{"errorDetail":{"message":"x"},"error":"no space left"}\r\n')},
        RegistryFailure,
        "no space left",
    ),
    "an error": ({"/images/load": (500, b'{"message":"archive is unfit"}')}, RegistryFailure, "archive is unfit"),
    "success, and nothing there": ({"/images/load": (200, b"{}")}, RegistryFailure, "did not keep"),
    "success, and another image there": (
        {"/images/load": (200, b"{}"), "/images/docker.io": (200, json.dumps({**IMAGE, "Id": TWO.id}).encode())},
        RegistryFailure,
        "another image",
    ),
}


@pytest.mark.parametrize("what", WRITING)
def test_a_load_that_fails_is_told(tmp_path: Path, what: str) -> None:
    answers, kind, said = WRITING[what]

    async def write(store: Store) -> None:
        await pushed(store.repository("app"), packed(ONE), "1")
        with pytest.raises(kind, match=said):
            await store.flush()

    with answering({**PING, **answers}) as host, pytest.raises(kind):  # closing tries once more
        using(host, tmp_path, write)


def test_what_is_no_docker_daemon_is_not_written_to(tmp_path: Path) -> None:
    with answering(PING, version=None) as host, pytest.raises(Unreachable, match="no docker daemon"):
        using(host, tmp_path, lambda store: asyncio.to_thread(store.lock))


def test_no_daemon_is_told_with_what_to_do(tmp_path: Path) -> None:
    for host in (f"unix://{tmp_path}/none.sock", f"unix://{tmp_path}", f"tcp://127.0.0.1:{free_port()}"):
        with pytest.raises(Unreachable) as caught:
            using(host, tmp_path, resolve)
        assert "--daemon-host" in caught.value.remedy


def test_something_else_that_listens_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Unreachable, match="no docker daemon"):
            using(f"tcp://127.0.0.1:{listener.getsockname()[1]}", tmp_path, resolve)
        thread.join()


def test_a_daemon_without_tls_is_told_where_tls_was_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        variables = {"DOCKER_HOST": f"tcp://127.0.0.1:{listener.getsockname()[1]}", "DOCKER_TLS_VERIFY": "1"}
        with pytest.raises(TlsFailed, match="no TLS"):
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
def test_a_host_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path, host: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        DockerDaemonStore(host, {}, temporary=tmp_path)
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


def test_the_daemon_is_found_by_host_by_docker_host_and_by_podmans_socket(daemon: Daemon, tmp_path: Path) -> None:
    async def ping(store: Store) -> None:
        await asyncio.to_thread(store.lock)

    wrong = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    using(daemon.host, tmp_path, ping, wrong)
    using(str(daemon.socket), tmp_path, ping, wrong)
    using(None, tmp_path, ping, {"DOCKER_HOST": daemon.host})
    runtime = daemon.socket.parent / "runtime"
    (runtime / "podman").mkdir(parents=True)
    (runtime / "podman/podman.sock").symlink_to(daemon.socket)
    using(None, tmp_path, ping, {"XDG_RUNTIME_DIR": str(runtime)})
