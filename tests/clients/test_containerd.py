"""containerd itself pulls by the names of the sources, through the files that `client-config` writes for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.parts.bundles import pack
from tests.parts.images import Image, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync, Serve
from tests.parts.processes import Server, command, free_port, run
from tests.serve.secured import PASSWORD, USER, secured

APP, WHOLE = image([layer({"a": b"app"})]), multi_platform("whole")


class Containerd(Server):
    """A containerd with all its files in one directory, and its command `ctr`."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        (home / "config.toml").write_text(
            f'version = 2\nroot = "{home}/root"\nstate = "{home}/state"\n'
            # What runs containers is not needed, and looks for directories outside of this one.
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\naddress = "{home}/grpc"\ntcp_address = "127.0.0.1:{port}"\n[ttrpc]\naddress = "{home}/ttrpc"\n'
        )
        self._home = home
        super().__init__(command("containerd", "--config", home / "config.toml"), port, home / "log")

    def ctr(self, *words: str | Path) -> str:
        """Run a command of the client; return what it printed."""
        return run("ctr", "--address", self._home / "grpc", *words)

    def fetch(self, name: str, hosts: Path) -> None:
        """Fetch all content of an image. hosts: the directory with a hosts.toml for each registry."""
        login = f"{USER}:{PASSWORD}"
        self.ctr("content", "fetch", "--all-platforms", "--hosts-dir", hosts, "--user", login, name)

    def has(self, made: Image) -> bool:
        """Return whether all content of an image is there, byte for byte."""
        content = {one.digest: one.raw for one in made.manifests()} | made.all_blobs()
        listed = self.ctr("content", "ls", "--quiet").split()
        return content.keys() <= set(listed) and self.ctr("content", "get", made.digest).encode() == made.raw

    def names(self) -> set[str]:
        """Return the names of the images."""
        return set(self.ctr("images", "ls", "--quiet").split())


@pytest.fixture
def containerd() -> Iterator[Containerd]:
    """Return a running containerd; pytest's paths are too long for its sockets."""
    with TemporaryDirectory(prefix="containerd") as home, Containerd(Path(home)) as server:
        yield server


def hosts_of(mirrorsync: Mirrorsync, directory: str, *words: str) -> Path:
    """Write the files of a node below a directory, and return the one with the registries."""
    mirrorsync("client-config", "--for", "containerd", "--output", directory, *words, code=0)
    hosts = mirrorsync.directory / directory / "etc/containerd/certs.d"
    for file in hosts.glob("*/hosts.toml"):  # a node has them below /
        file.write_text(file.read_text().replace('"/etc/containerd/certs.d', f'"{hosts}'))
    return hosts


def test_containerd_pulls_with_tls_and_a_login_and_asks_the_sources_only_if_it_may(
    mirrorsync: Mirrorsync, containerd: Containerd
) -> None:
    write_layout(mirrorsync.directory / "layout", {"corp/library/app:1": APP, "corp/team/whole:2": WHOLE})
    site = secured(mirrorsync.directory, writable=False)
    with site.server:
        mirrorsync.spec(
            {
                "registries": {site.host: {"ca_file": str(site.authority.path)}},
                "destinations": {"corp": f"{site.host}/corp"},
                "mirrors": [
                    "docker.io/library/app:1",
                    {"from": "registry.invalid:5000/team/*", "tags": {"all": True}},
                ],
            }
        )
        open_hosts, closed_hosts = hosts_of(mirrorsync, "open"), hosts_of(mirrorsync, "closed", "--no-fallback")
        containerd.fetch("docker.io/library/app:1", open_hosts)
        containerd.fetch("registry.invalid:5000/team/whole:2", closed_hosts)
        assert containerd.has(APP)
        assert containerd.has(WHOLE)
        with pytest.raises(AssertionError, match="team/lacks:1: not found"):
            containerd.fetch("registry.invalid:5000/team/lacks:1", closed_hosts)


def test_containerd_pulls_in_plain_http_what_keeps_the_host_in_its_name(
    mirrorsync: Mirrorsync, containerd: Containerd
) -> None:
    write_layout(mirrorsync.directory / "layout", {"docker.io/library/app:1": APP})
    with Serve(mirrorsync.directory / "layout", writable=False) as server:
        mirrors = [{"from": "docker.io/library/app:1", "name": "{host}/{repository}"}]
        mirrorsync.spec({"destinations": {"disk": "oci:layout"}, "mirrors": mirrors})
        hosts = hosts_of(mirrorsync, "node", "--no-fallback", "--address", f"http://{server.host}")
        containerd.fetch("docker.io/library/app:1", hosts)
    assert containerd.has(APP)


def test_containerd_imports_what_a_bundle_exports_under_the_names_of_the_sources(
    mirrorsync: Mirrorsync, containerd: Containerd
) -> None:
    pack({"library/app:1": APP, "team/whole:2": WHOLE}).write(mirrorsync.directory / "usb")
    done = mirrorsync("bundle", "export", "usb", "--for", "containerd", "--output", "node", "--json", code=0).json()
    for one in done["archives"]:
        containerd.ctr("images", "import", "--no-unpack", "--all-platforms", one["file"])
        assert one["image"] in containerd.names(), json.dumps(done)
    assert containerd.has(APP)
    assert containerd.has(WHOLE)
