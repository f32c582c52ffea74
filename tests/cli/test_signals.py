"""SIGINT and SIGTERM: no new work is started, partial content is not published, and the next run continues."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.proxy import Proxy, path_has
from tests.cli.tools import skopeo_digest
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import Image, digest, image, noise
from tests.parts.mirrorsync import Mirrorsync, Running, Serve, plain
from tests.parts.tiny_registry import Reply, TinyRegistry
from tests.parts.unruly import Unruly
from tests.parts.wire import Registry

MEGABYTE = 1024 * 1024
EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Watched(Running):
    """A running mirrorsync; what it has said on stderr is kept."""

    def __init__(self, mirrorsync: Mirrorsync, *words: str) -> None:
        super().__init__(mirrorsync, *words)
        self._said: list[str] = []
        # A run that hangs fails its test, and not the whole suite.
        self._watchdog = threading.Timer(60, self.process.kill)
        self._watchdog.start()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def until(self, *words: str) -> None:
        """Read stderr until every word has been on a line of its own, in any order."""
        missing = list(words)
        for line in self.stderr:
            self._said.append(line)
            found = next((word for word in missing if word in line), None)
            if found is not None:
                missing.remove(found)
            if not missing:
                return
        raise AssertionError(f"it ended and never said {missing}: {self._said}")

    def ended(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, stdout and stderr."""
        said = "".join(self._said) + self.stderr.read()
        out, code = self.stdout.read(), self.process.wait(30)
        self._watchdog.cancel()
        self.close()
        assert "Traceback" not in said
        assert "never retrieved" not in said
        return code, out, said


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.host) as running:
        yield running


class Site:
    """A small image, and one with two large layers, the second of which is never sent completely."""

    def __init__(self, mirrorsync: Mirrorsync, proxy: Proxy, unique: str, target: str, *hosts: str) -> None:
        self.small = image([noise(f"{unique} small", 1000)])
        self.layers = [noise(f"{unique} {number}", 5 * MEGABYTE + number) for number in (1, 0)]
        self.large = image(self.layers)
        source = Registry(proxy.upstream)
        source.push(f"{unique}/small", self.small, "1")
        source.push(f"{unique}/large", self.large, "1")
        mirrorsync.spec(
            {
                "registries": plain(proxy.host, *hosts),
                "destinations": {"there": target},
                "mirrors": [f"{proxy.host}/{unique}/small:1", f"{proxy.host}/{unique}/large:1"],
            }
        )
        proxy.hold(path_has(digest(self.layers[1])[7:]), after=2 * MEGABYTE)


def read_until_held(running: Watched, proxy: Proxy, site: Site) -> None:
    """Wait until everything is copied except the layer that is never sent completely."""
    # Of small: config, layer; of large: config, and the layer that comes.
    running.until('event="image done"', *['event="blob ended"'] * 4)
    assert proxy.held.wait(30)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("docker-registry", signal.SIGTERM),
        ("serve", signal.SIGTERM),
        ("layout", signal.SIGTERM),
        ("layout", signal.SIGINT),
    ],
)
def test_a_stopped_run_prints_its_report_and_the_next_one_continues(
    mirrorsync: Mirrorsync,
    proxy: Proxy,
    second_registry: DockerRegistry,
    served: Serve,
    unique: str,
    tmp_path: Path,
    kind: str,
    number: signal.Signals,
) -> None:
    hosts = {"docker-registry": second_registry.host, "serve": served.host}
    target = f"{hosts[kind]}/{unique}/there" if kind in hosts else "oci:there"
    site = Site(mirrorsync, proxy, unique, target, *hosts.values())
    running = Watched(mirrorsync, "apply", "--json", "-vv")
    read_until_held(running, proxy, site)
    running.send(number)
    running.until("stopping in order; send the signal again")
    proxy.release()
    code, out, err = running.ended()

    assert code == EXIT[number], err
    report = json.loads(out)
    assert (report["interrupted"], report["exit_code"]) == (True, EXIT[number])
    assert {image["source"]["repository"]: image["outcome"] for image in report["images"]} == {
        f"{unique}/small": "done",
        f"{unique}/large": "skipped",
    }
    assert report["failures"] == []
    assert "failed" not in err
    assert _holds(hosts.get(kind), tmp_path, f"{unique}/small", site.small)
    assert not _holds(hosts.get(kind), tmp_path, f"{unique}/large", site.large)

    again = mirrorsync("apply", "--json", code=0).json()
    # A registry is not asked for small blobs of a repository that it says does not exist: the config comes again.
    assert len(site.layers[1]) <= again["counts"]["read"]["bytes"] < len(site.layers[1]) + 1000
    assert _holds(hosts.get(kind), tmp_path, f"{unique}/large", site.large)


def _holds(host: str | None, directory: Path, repository: str, made: Image) -> bool:
    unique = repository.partition("/")[0]
    if host is not None:
        there = Registry(host)
        name = f"{unique}/there/{repository}"
        assert not list(directory.glob("there"))
        return there.holds(name, made, "1") if there.manifest(name, "1").status == 200 else False
    entries = json.loads((directory / "there/index.json").read_text())["manifests"]
    if all(entry["digest"] != made.digest for entry in entries):
        # Nothing half-written is anywhere.
        layer = directory / "there/blobs/sha256" / list(made.blobs)[-1][7:]
        assert not layer.exists() or len(layer.read_bytes()) == len(list(made.blobs.values())[-1])
        assert list((directory / "there").glob(".incoming/*")) == []
        return False
    return all(
        (directory / "there/blobs/sha256" / key[7:]).read_bytes() == data for key, data in made.all_blobs().items()
    )


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_a_second_signal_ends_a_run_at_once(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    site = Site(mirrorsync, proxy, unique, "oci:there")
    running = Watched(mirrorsync, "apply", "-vv")
    read_until_held(running, proxy, site)
    running.send(first)
    running.until("stopping")
    running.send(second)
    code, out, _ = running.ended()  # the layer is still held back
    assert (code, out) == (EXIT[second], "")
    proxy.release()
    mirrorsync("apply", code=0)
    assert _holds(None, tmp_path, f"{unique}/large", site.large)
    assert list((tmp_path / "there").glob(".incoming/*")) == []


def test_a_killed_run_leaves_no_tag_and_no_partial_content(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, tmp_path: Path
) -> None:
    site = Site(mirrorsync, proxy, unique, "oci:there")
    running = Watched(mirrorsync, "apply", "-vv")
    read_until_held(running, proxy, site)
    running.send(signal.SIGKILL)
    assert running.ended()[0] == -signal.SIGKILL
    proxy.release()
    for path in (tmp_path / "there/blobs/sha256").iterdir():
        assert digest(path.read_bytes()) == f"sha256:{path.name}"
    again = mirrorsync("apply", "--json", code=0).json()
    assert again["counts"]["read"]["bytes"] == len(site.layers[1])
    assert _holds(None, tmp_path, f"{unique}/small", site.small)
    assert _holds(None, tmp_path, f"{unique}/large", site.large)


@pytest.mark.parametrize(
    ("verb", "part"),
    [
        ("plan", "/tags/list"),
        ("plan", "/manifests/1"),
        ("apply", "/manifests/sha256"),
        ("images", "/tags/list"),
        ("verify", "/manifests/1"),
    ],
)
def test_a_run_before_its_first_change_stops_although_the_source_never_answers(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, verb: str, part: str
) -> None:
    Registry(proxy.upstream).push(f"{unique}/app", image([noise(unique, 100)]), "1")
    mirrorsync.spec(
        {
            "registries": plain(proxy.host),
            "destinations": {"there": "oci:there"},
            "mirrors": [{"from": f"{proxy.host}/{unique}/app", "tags": {"all": True}}],
        }
    )
    proxy.hold(path_has(part))
    running = Watched(mirrorsync, verb, "--json")
    assert proxy.held.wait(30)
    running.send(signal.SIGTERM)
    code, out, err = running.ended()  # nothing was released
    assert (code, json.loads(out)["error"]["exit_code"]) == (143, 143)
    assert "stopping" in err
    assert not (mirrorsync.directory / "there").exists()


def test_a_verification_stops_while_it_reads_a_blob(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> None:
    Registry(proxy.upstream).push(f"{unique}/app", image([noise(unique, 3 * MEGABYTE)]), "1")
    proxy.hold(lambda method, path: method == "GET" and "/blobs/" in path, after=MEGABYTE)
    words = ("verify", "--content", "--tls-verify=false", "--json", f"{proxy.host}/{unique}/app")
    running = Watched(mirrorsync, *words)
    assert proxy.held.wait(30)
    running.send(signal.SIGTERM)
    code, out, _ = running.ended()  # nothing was released
    assert (code, json.loads(out)["error"]["exit_code"]) == (143, 143)


def test_a_run_stops_during_the_delay_of_a_retry(mirrorsync: Mirrorsync, proxy: Proxy, unique: str) -> None:
    proxy.answer(path_has(unique), 503, headers={"Retry-After": "100"})
    mirrorsync.spec(
        {
            "registries": plain(proxy.host),
            "destinations": {"there": "oci:there"},
            "mirrors": [f"{proxy.host}/{unique}/app:1"],
        }
    )
    for verb in ("plan", "apply"):
        running = Watched(mirrorsync, verb)
        running.until("retrying")
        running.send(signal.SIGINT)
        assert running.ended()[0] == 130


def test_serve_exits_with_0_after_a_signal(mirrorsync: Mirrorsync) -> None:
    for number in EXIT:
        running = Watched(mirrorsync, "serve", "oci:there", "--writable", "--listen", "127.0.0.1:0", "--json", "-v")
        # The document says which port it was given; it is there before the first request could be.
        document = json.loads("".join(iter(running.stdout.readline, "}\n")) + "}")
        assert document["kind"] == "mirrorsync.serving"
        assert Registry(f"127.0.0.1:{document['port']}").tags("nothing") == []
        running.send(number)
        assert running.ended()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_copy_exits_with_the_code_of_the_signal(
    mirrorsync: Mirrorsync, proxy: Proxy, unique: str, number: signal.Signals
) -> None:
    site = Site(mirrorsync, proxy, unique, "oci:there")
    words = ("--src-tls-verify=false", f"docker://{proxy.host}/{unique}/large:1", "oci:there:large:1")
    running = Watched(mirrorsync, "copy", "--json", "-vv", *words)
    running.until(*['event="blob ended"'] * 2)  # the config, and the layer that comes
    assert proxy.held.wait(30)
    running.send(number)
    running.until("stopping in order; send the signal again")
    proxy.release()
    code, out, err = running.ended()
    assert code == EXIT[number], err
    report = json.loads(out)
    assert (report["interrupted"], report["exit_code"]) == (True, EXIT[number])
    mirrorsync("copy", *words, code=0)
    assert skopeo_digest(f"oci:{mirrorsync.directory}/there:large:1") == site.large.digest


@pytest.mark.parametrize("size", [100_000, 3 * MEGABYTE], ids=["a small blob", "a large blob"])
@pytest.mark.parametrize("drips", [False, True], ids=["a silent source", "a source that drips"])
def test_a_run_stops_during_a_request(mirrorsync: Mirrorsync, size: int, drips: bool) -> None:
    """A source may take minutes to answer; a user or systemd does not wait that long for a run to stop."""
    arrived, leave = threading.Semaphore(0), threading.Event()
    blobs = rf"/blobs/{digest(noise('slow', size))}"

    def hold() -> None:
        arrived.release()
        leave.wait(60)

    def dripped(reply: Reply) -> Iterator[bytes]:
        arrived.release()
        yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply.body)
        while not leave.wait(0.02):
            yield b"x" * 100  # more than what counts as a stall

    tiny = TinyRegistry()
    tiny.hold("app", image([noise("slow", size)]), "1")
    with Unruly(tiny) as server:
        if drips:
            server.fault("raw", "GET", blobs, pieces=dripped)
        else:
            server.fault("wait", "GET", blobs, arrived=hold)
        mirrorsync.spec(
            {
                "registries": plain(server.host),
                "destinations": {"disk": "oci:layout"},
                "defaults": {"to": ["disk"]},
                "mirrors": [f"{server.host}/app:1"],
            }
        )
        running = Watched(mirrorsync, "apply")
        try:
            assert arrived.acquire(timeout=30)
            running.send(signal.SIGTERM)
            code, _, said = running.ended()
        finally:
            leave.set()
        assert code == 143, said
        assert "Traceback" not in said
