"""`mirrorsync serve` as a process: its address, startup and shutdown, and concurrent writers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parts.images import digest, image, layer, multi_platform, noise
from tests.parts.mirrorsync import COMMAND, Mirrorsync, Serve, plain
from tests.parts.processes import free_port
from tests.parts.wire import Registry, ask
from tests.serve.harness import Connection, code_of, path_of

SMALL = image([layer({"etc/none": b""})])


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


@contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run `mirrorsync serve` without knowing its port; it is killed at the end."""
    process = subprocess.Popen([*COMMAND, "serve", *map(str, words)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_it_listens_on_loopback_unless_told_otherwise(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    assert "[default: 127.0.0.1:5000]" in " ".join(mirrorsync("serve", "--help", code=0).out.split())
    with Serve(tmp_path / "here") as server:
        # 127.0.0.2 is this machine too, and not the address that was named.
        assert not connects("127.0.0.2", server.port)
    with Serve(tmp_path / "everywhere", listen="0.0.0.0") as server:
        assert connects("127.0.0.2", server.port)


def test_the_address_is_printed_at_startup(tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    for mode, options in {"read-only": (), "writable": ("--writable",)}.items():
        with started(f"oci:{tmp_path}/layout", "--listen", "127.0.0.1:0", *options) as process:
            assert line_of(process).startswith(f"serving oci:{tmp_path}/layout ({mode}) at http://127.0.0.1:")
    with started(f"oci:{tmp_path}/layout", "--listen", "127.0.0.1:0") as process:
        line = line_of(process)
        assert ask("GET", f"{line.split()[-1]}/v2/").status == 200
    with started(f"oci:{tmp_path}/layout", "--listen", "127.0.0.1:0", "--json") as process:
        document = json.loads("".join(iter(lambda: line_of(process), "}\n")) + "}")
        assert ask("GET", f"http://127.0.0.1:{document['port']}/v2/").status == 200


def test_no_file_is_created_before_the_first_push(tmp_path: Path) -> None:
    with Serve(tmp_path / "layout") as server:
        assert ask("GET", f"http://{server.host}/v2/_catalog").json() == {"repositories": []}
        assert not (tmp_path / "layout").exists()


def test_a_port_in_use_is_reported_in_one_line(mirrorsync: Mirrorsync, served: Serve) -> None:
    done = mirrorsync("serve", "oci:layout", "--writable", "--listen", served.host, code=1)
    line, remedy = done.err.splitlines()
    assert "--listen" in remedy
    assert f"cannot listen on {served.host}: address already in use" in line
    assert done.out == ""


@pytest.mark.parametrize(
    ("listen", "code"),
    [("5000", 2), (":5000", 2), ("127.0.0.1:", 2), ("127.0.0.1:70000", 2), ("127.0.0.1:http", 2), ("192.0.2.1:0", 1)],
)
def test_an_invalid_address_is_reported_in_one_line(mirrorsync: Mirrorsync, listen: str, code: int) -> None:
    done = mirrorsync("serve", "oci:layout", "--writable", "--listen", listen, code=code)
    line, remedy = done.err.splitlines()
    assert listen in line
    assert "HOST:PORT" in line + remedy


@pytest.mark.parametrize("place", ["oci:nowhere/at/all", "oci-archive:none.tar"])
def test_a_place_that_does_not_exist_is_rejected_unless_pushes_may_create_it(
    mirrorsync: Mirrorsync, tmp_path: Path, place: str
) -> None:
    for option in ("--read-only", "--json"):
        done = mirrorsync("serve", place, option, "--listen", "127.0.0.1:0", code=1)
        line, remedy = done.err.splitlines()
        scheme, _, path = place.partition(":")
        assert f"{scheme}:{mirrorsync.directory}/{path} does not exist" in line
        assert "--writable" in remedy
    with started(place.replace(":", f":{tmp_path}/new/", 1), "--writable", "--listen", "127.0.0.1:0") as process:
        Registry(line_of(process).rpartition("//")[2].strip()).push("app", SMALL, "1")
        assert (tmp_path / "new" / place.partition(":")[2]).exists()


@pytest.mark.parametrize(("writable", "right"), [(False, "can pull all images"), (True, "can pull, push and delete")])
def test_an_address_that_other_machines_reach_is_warned_about(tmp_path: Path, writable: bool, right: str) -> None:
    (tmp_path / "layout").mkdir()
    for listen in ("0.0.0.0", "127.0.0.1", "localhost"):
        with Serve(tmp_path / "layout", writable=writable, listen=listen) as server:
            assert ask("GET", f"http://{server.host}/v2/").status == 200
            warnings = [line for line in server.log.read_text().splitlines() if "without TLS and passwords" in line]
        assert len(warnings) == (listen == "0.0.0.0")
        assert all("level=warning" in line and f"listening on {listen}" in line and right in line for line in warnings)


def test_a_directory_that_is_not_a_layout_is_rejected_at_startup(mirrorsync: Mirrorsync, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"")
    done = mirrorsync("serve", "oci:photos", "--listen", "127.0.0.1:0", code=1)
    line, remedy = done.err.splitlines()
    assert "photos is not empty and not an OCI layout" in line
    assert remedy.strip() == "name a new or an empty directory"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_finished_before_it_stops(tmp_path: Path, unique: str, number: signal.Signals) -> None:
    data = noise(unique, 3_000_000)
    with Serve(tmp_path / "layout") as server, Connection(server.host) as idle, Connection(server.host) as line:
        assert idle.ask("GET", "/v2/").status == 200  # an idle connection does not delay the shutdown
        started = ask("POST", f"http://{server.host}/v2/app/blobs/uploads/")
        target = f"{path_of(started.headers['Location'])}?digest={digest(data)}"
        line.begin("PUT", target, {"Content-Length": len(data)})
        line.send(data[:2_000_000])
        server.process.send_signal(number)
        while connects("127.0.0.1", server.port):
            pass
        line.send(data[2_000_000:])
        assert line.answer().status == 201
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.log.read_text()
    assert (tmp_path / "layout/blobs/sha256" / digest(data)[7:]).read_bytes() == data
    assert not (tmp_path / "layout/.incoming").exists()


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with Serve(tmp_path / "layout") as server, Connection(server.host) as line:
        started = ask("POST", f"http://{server.host}/v2/app/blobs/uploads/")
        line.begin("PATCH", path_of(started.headers["Location"]), {"Content-Length": 1000})
        server.process.send_signal(signal.SIGTERM)
        while connects("127.0.0.1", server.port):
            pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 143


def test_pushed_content_survives_a_kill_and_restart(tmp_path: Path) -> None:
    made = multi_platform("app")
    with Serve(tmp_path / "layout") as server:
        registry = Registry(server.host)
        registry.push("app", made, "1")
        begun = ask("POST", f"{registry.url}/app/blobs/uploads/")
        assert ask("PATCH", f"http://{server.host}{path_of(begun.headers['Location'])}", b"half").status == 202
        assert len(list((tmp_path / "layout/.incoming").iterdir())) == 1
    with Serve(tmp_path / "layout") as server:
        registry = Registry(server.host)
        assert registry.holds("app", made, "1")
        registry.push("app", SMALL, "2")
        assert list((tmp_path / "layout/.incoming").iterdir()) == []  # incomplete files of the killed one are removed
        assert registry.tags("app") == ["1", "2"]


def test_a_push_is_durable_before_it_is_answered(tmp_path: Path) -> None:
    with Serve(tmp_path / "layout") as server:
        registry = Registry(server.host)
        for number in range(3):
            registry.push("app", SMALL, f"v{number}")
            entries = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"]
            names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]
            assert names == [f"app:v{tag}" for tag in range(number + 1)]
        assert ask("DELETE", f"{registry.url}/app/manifests/v0").status == 202
        assert b"app:v0" not in (tmp_path / "layout/index.json").read_bytes()


def mirror_into(mirrorsync: Mirrorsync, source: Serve, directory: Path) -> Path:
    return mirrorsync.spec(
        {
            "registries": plain(source.host),
            "destinations": {"disk": f"oci:{directory}"},
            "mirrors": [f"{source.host}/{directory.parent.name}/app:1"],
        }
    )


def test_there_is_one_writer_and_others_get_an_error(mirrorsync: Mirrorsync, served: Serve, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    Registry(served.host).push(f"{tmp_path.name}/app", SMALL, "1")
    mirror_into(mirrorsync, served, layout)
    with Serve(layout) as writer, Serve(layout) as other:
        Registry(writer.host).push("mine", SMALL, "1")
        url = Registry(other.host).url
        for answer in (
            ask("POST", f"{url}/app/blobs/uploads/"),
            ask("POST", f"{url}/app/blobs/uploads/?digest={digest(b'x')}", b"x"),
            ask("PUT", f"{url}/mine/manifests/2", SMALL.raw, {"Content-Type": SMALL.media_type}),
            ask("DELETE", f"{url}/mine/manifests/1"),
        ):
            assert (answer.status, code_of(answer)) == (503, "UNAVAILABLE")
        assert Registry(other.host).holds("mine", SMALL, "1")
        assert Registry(other.host).tags("mine") == ["1"]
        done = mirrorsync("apply", code=6)
        assert f"another run is working on {layout}" in done.err
        assert json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"] == SMALL.digest
        writer.stop()  # killed
        Registry(other.host).push("mine", SMALL, "2")
        assert Registry(other.host).tags("mine") == ["1", "2"]


def test_content_written_by_apply_is_served_at_once(mirrorsync: Mirrorsync, served: Serve, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    name = f"{tmp_path.name}/app"
    mirror_into(mirrorsync, served, layout)
    with Serve(layout, writable=False) as reader:
        for version in ("1", "2"):
            made = multi_platform("app", version)
            Registry(served.host).push(name, made, "1")
            mirrorsync("apply", code=0)
            assert Registry(reader.host).holds(name, made, "1")


def test_a_read_only_server_takes_no_lock_and_writes_nothing(tmp_path: Path) -> None:
    with Serve(tmp_path / "layout") as writer:
        Registry(writer.host).push("app", SMALL, "1")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "layout").rglob("*"))
    for options in ((), ("--read-only",)):  # the default, and the default named
        with Serve(tmp_path / "layout", *options, writable=False) as reader:
            registry = Registry(reader.host)
            refused = ask("POST", f"{registry.url}/app/blobs/uploads/")
            assert (refused.status, code_of(refused)) == (405, "UNSUPPORTED")
            assert "--writable" in refused.json()["errors"][0]["message"]
            assert registry.holds("app", SMALL, "1")
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "layout").rglob("*")) == before


def test_ipv6_loopback_is_served(tmp_path: Path) -> None:
    port = free_port()
    with started(f"oci:{tmp_path}/layout", "--writable", "--listen", f"[::1]:{port}") as process:
        assert line_of(process).endswith(f"http://[::1]:{port}\n")
        assert ask("GET", f"http://[::1]:{port}/v2/").status == 200
