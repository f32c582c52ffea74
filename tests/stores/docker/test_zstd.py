"""Images whose layers are zstd, as buildx and podman write them: into docker archives and daemons, and out of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.tools import Podman
from tests.parts.daemon import Daemon
from tests.parts.images import BUSYBOX, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run


@pytest.fixture
def zstd_layout(tmp_path: Path) -> str:
    """Return the reference of an image whose layers skopeo has compressed with zstd."""
    write_layout(tmp_path / "seed", {"app:1": multi_platform("app").children[0]})
    run(
        "skopeo", "copy", "-q", "--dest-compress-format", "zstd", "--dest-compress",
        f"oci:{tmp_path}/seed:app:1", f"oci:{tmp_path}/zstd:app:1",
    )  # fmt: skip
    assert "+zstd" in run("skopeo", "inspect", "--raw", f"oci:{tmp_path}/zstd:app:1")
    return "oci:zstd:app:1"


def test_an_image_with_zstd_layers_becomes_a_docker_archive_that_podman_runs(
    mirrorsync: Mirrorsync, tmp_path: Path, zstd_layout: str
) -> None:
    mirrorsync("copy", zstd_layout, "docker-archive:a.tar:app:1", code=0)
    with Podman() as podman:
        podman("load", "-q", "-i", f"{tmp_path}/a.tar")
        root = Path(podman("image", "mount", "docker.io/library/app:1"))
        assert (root / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
        podman("image", "unmount", "docker.io/library/app:1")
    mirrorsync("copy", "docker-archive:a.tar", "oci:back:app:1", code=0)


def test_an_image_with_zstd_layers_is_loaded_into_a_daemon_and_found_by_its_short_name(
    mirrorsync: Mirrorsync, daemon: Daemon, tmp_path: Path, zstd_layout: str
) -> None:
    options = ("--daemon-host", daemon.host)
    mirrorsync("copy", *options, zstd_layout, "docker-daemon:localhost/app:dev", code=0)
    mirrorsync("copy", *options, "docker-daemon:app:dev", "oci:back:app:1", code=0)
    assert "it runs" in run("skopeo", "inspect", "--config", f"oci:{tmp_path}/back:app:1")
