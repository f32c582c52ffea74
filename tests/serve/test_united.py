"""`mirrorsync serve` over several stores: one namespace, or a prefix for each, and the first store counts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.parts.bundles import pack
from tests.parts.images import artifact, image, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import COMMAND, Mirrorsync
from tests.parts.processes import Server, command, free_port, run
from tests.parts.wire import Registry, ask
from tests.serve.harness import code_of

LARGE = image([layer({"large": noise("united", 400_000)})])
BOTH, FIRST, SECOND = (multi_platform(name) for name in ("both", "first", "second"))
SIGNED = artifact(FIRST, b"signature")


@dataclass(frozen=True)
class Site:
    """A server over two layouts in one namespace, and an archive and a layout under prefixes."""

    server: Server
    registry: Registry


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    at = tmp_path_factory.mktemp("united")
    write_layout(at / "a", {"app:1": FIRST, "app:both": BOTH, "only/a:1": BOTH})
    write_layout(
        at / "b", {"app:1": SECOND, "app:2": SECOND, "app:both": BOTH, "app:signature": SIGNED, "only/b:1": LARGE}
    )
    write_layout(at / "c", {"app:1": SECOND})
    run("tar", "-C", at / "c", "-cf", at / "c.tar", ".")
    stores = [f"oci:{at}/a", f"oci:{at}/b", f"usb=oci-archive:{at}/c.tar", f"team/x=oci:{at}/b"]
    port = free_port()
    words = [*COMMAND, "serve", *stores, "--listen", f"127.0.0.1:{port}"]
    with Server(command(*words), port, at / "log") as server:
        yield Site(server, Registry(server.host))


def test_the_repositories_of_all_stores_are_one_namespace(site: Site) -> None:
    names = ask("GET", f"{site.registry.url}/_catalog").json()["repositories"]
    assert names == ["app", "only/a", "only/b", "team/x/app", "team/x/only/b", "usb/app"]
    assert site.registry.tags("app") == ["1", "2", "both", "signature"]
    for name, made, tag in (("app", FIRST, "1"), ("app", SECOND, "2"), ("app", BOTH, "both"), ("only/b", LARGE, "1")):
        assert site.registry.holds(name, made, tag)
    (referrer,) = ask("GET", f"{site.registry.url}/app/referrers/{FIRST.digest}").json()["manifests"]
    assert referrer["digest"] == SIGNED.digest


def test_a_prefix_is_a_part_of_the_names(site: Site) -> None:
    assert site.registry.holds("usb/app", SECOND, "1")
    assert site.registry.tags("usb/app") == ["1"]
    assert site.registry.holds("team/x/only/b", LARGE, "1")
    name = next(iter(LARGE.blobs))
    part = site.registry.blob("team/x/only/b", name, {"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, LARGE.blobs[name][10:20])
    for path in ("usb/tags/list", "team/app/tags/list", "x/app/tags/list", "none/tags/list", "team/x/none/tags/list"):
        answer = ask("GET", f"{site.registry.url}/{path}")
        assert (answer.status, code_of(answer)) == (404, "NAME_UNKNOWN"), path
    assert site.registry.manifest("app", "3").status == 404
    assert site.registry.blob("app", f"sha256:{'0' * 64}").status == 404


def test_what_is_hidden_is_said_at_the_start_and_what_is_equal_is_not(site: Site) -> None:
    lines = [line for line in site.server.log.read_text().splitlines() if "not shown" in line]
    assert len(lines) == 1
    assert "1 image is not shown" in lines[0]
    assert "/a has others of these names: app:1" in lines[0]
    assert "/b" in lines[0]


def test_it_is_read_only_and_says_so(site: Site, mirrorsync: Mirrorsync) -> None:
    assert ask("POST", f"{site.registry.url}/app/blobs/uploads/").status == 405
    (mirrorsync.directory / "a").mkdir()
    for stores in (["oci:a", "oci:b"], ["x=oci:a"]):
        line, remedy = mirrorsync("serve", *stores, "--writable", "--listen", "127.0.0.1:0", code=2).err.splitlines()
        assert "several stores, or one under a prefix, cannot be written" in line
        assert "--writable" in remedy


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("dir:image", "dir:image cannot be served"),
        ("docker-archive:a.tar", "docker-archive:a.tar cannot be served"),
        ("registry.example:5000", "registry.example:5000 cannot be served"),
        ("oci:a:app", "oci:a:app names a repository"),
        ("UP=oci:a", "UP"),
        ("x=oci:none", "none does not exist"),
    ],
)
def test_stores_that_cannot_be_served_are_refused(mirrorsync: Mirrorsync, store: str, message: str) -> None:
    done = mirrorsync("serve", store, "--listen", "127.0.0.1:0")
    assert done.code in (1, 2)
    line, remedy = done.err.splitlines()
    assert message in line
    assert remedy.strip()


def test_an_equals_sign_in_a_path_is_not_a_prefix(tmp_path: Path) -> None:
    write_layout(tmp_path / "a=b", {"app:1": FIRST})
    port = free_port()
    words = [*COMMAND, "serve", f"oci:{tmp_path}/a=b", "--listen", f"127.0.0.1:{port}"]
    with Server(command(*words), port, tmp_path / "log") as server:
        assert Registry(server.host).tags("app") == ["1"]


def test_a_bundle_is_served_before_it_is_imported(tmp_path: Path) -> None:
    other = image([layer({"other": b"1"})])
    pack({"app:1": FIRST, "db:1": other}, has={next(iter(other.blobs))}).write(tmp_path / "usb")
    words = [*COMMAND, "serve", f"bundle:{tmp_path}/usb"]
    port = free_port()
    with Server(command(*words, "--listen", f"127.0.0.1:{port}"), port, tmp_path / "log") as server:
        assert Registry(server.host).tags("app") == ["1"]
        assert Registry(server.host).holds("app", FIRST, "1")
        log = (tmp_path / "log").read_text()
    assert "1 image is not whole in it, and cannot be pulled before it is imported: db:1" in log
    write_layout(tmp_path / "site", {"db:0": other})
    with Server(
        command(*words, f"oci:{tmp_path}/site", "--listen", f"127.0.0.1:{port}"), port, tmp_path / "log"
    ) as server:
        assert Registry(server.host).holds("db", other, "1"), "the layout that it was made for has the rest"
        assert "whole" not in (tmp_path / "log").read_text()
    refused = subprocess.run([*words, "--writable"], capture_output=True, text=True, timeout=60)
    assert (refused.returncode, "a bundle is only read" in refused.stderr) == (2, True)
