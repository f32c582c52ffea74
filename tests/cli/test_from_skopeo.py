"""The table of docs/copying.md, row by row: skopeo's command and ours, on the same images, with the same result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.site import Site
from tests.cli.tools import skopeo_digest
from tests.conftest import Locked
from tests.parts.daemon import Daemon
from tests.parts.images import Image, image, layer, multi_platform, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.processes import run

PAGE = (Path(__file__).parents[2] / "docs/copying.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(skopeo [^`]+)` \| `(mirrorsync [^`]+)` \|$", PAGE, re.MULTILINE)
VERBS = {ours.split()[1]: (theirs, ours) for theirs, ours in reversed(ROWS)}


def row(part: str) -> tuple[str, str]:
    """Return the only row whose commands both contain these words."""
    ((theirs, ours),) = [(theirs, ours) for theirs, ours in ROWS if part in theirs and part in ours]
    return theirs, ours


@pytest.fixture
def site(mirrorsync: Mirrorsync, tls_registry: Locked, unique: str) -> Site:
    made = Site(mirrorsync, tls_registry, unique)
    made.login()
    return made


def test_a_public_image_goes_into_a_private_registry(site: Site) -> None:
    site.seed("hub/library/alpine:3.20", multi_platform("alpine"))
    theirs, ours = row("harbor.corp.example/base/alpine")
    site.theirs(theirs)
    site.ours(ours)
    digests = {site.digest(f"{place}/base/alpine:3.20") for place in ("ours", "theirs")}
    assert digests == {multi_platform("alpine").digest}


def test_a_private_image_goes_with_credentials_on_both_sides(site: Site) -> None:
    site.seed("quay/team/app:1", image([layer({"a": b"private"})]))
    theirs, ours = row("quay.io/team/app:1")
    assert "secret" not in ours
    site.auth_file.unlink()
    site.theirs(theirs)
    password = site.registry.password
    refused = site.ours(ours, env={"MIRRORSYNC_SRC_PASSWORD": password}, code=2)
    assert "MIRRORSYNC_DEST_PASSWORD" in refused.err
    site.ours(ours, env={"MIRRORSYNC_SRC_PASSWORD": password, "MIRRORSYNC_DEST_PASSWORD": password})
    site.login()
    assert site.digest("ours/app:1") == site.digest("theirs/app:1")


def test_an_image_of_the_daemon_goes_to_a_registry(site: Site, daemon: Daemon) -> None:
    made = image([layer({"bin/app": b"built here"}, compress=False), layer({"etc/app": b"too"}, compress=False)])
    write_layout(site.mirrorsync.directory / "built", {"app:dev": made})
    archive = site.mirrorsync.directory / "built.tar"
    run("skopeo", "copy", "-q", f"oci:{site.mirrorsync.directory}/built:app:dev", f"docker-archive:{archive}:app:dev")
    daemon("load", "-i", archive)
    theirs, ours = row("docker-daemon:app:dev")
    environment = {"DOCKER_HOST": daemon.host}
    site.theirs(theirs.replace("copy ", f"copy --src-daemon-host {daemon.host} "))
    site.ours(ours, env=environment)
    configs = [
        json.loads(site.theirs(f"skopeo inspect --config docker://{site.prefix}/{place}/app:dev"))
        for place in ("ours", "theirs")
    ]
    assert configs[0] == configs[1]
    assert configs[0]["rootfs"]["diff_ids"] == [key for key in made.blobs if key != _config(made)]
    again = site.ours(ours.replace("copy ", f"copy --daemon-host {daemon.host} "))
    assert again.out == "nothing to do: 1 image up to date at 1 destination\n"


def _config(made: Image) -> str:
    return str(json.loads(made.raw)["config"]["digest"])


def test_a_remote_image_is_inspected_without_pulling_it(site: Site) -> None:
    root = multi_platform("alpine")
    site.seed("hub/library/alpine:3.20", root)
    theirs, ours = row("inspect docker://docker.io/library/alpine")
    told = json.loads(site.theirs(theirs))
    before = len(site.registry.server.requests()) if site.registry.server else 0
    shown = site.ours(f"{ours} --json").json()
    page = site.ours(ours).out
    assert told["Digest"] == shown["root"]["digest"] == root.digest
    assert root.digest in page
    for child in root.children:
        assert child.digest in page
    requests = site.registry.server.requests()[before:] if site.registry.server else []
    layers = {key for child in root.children for key in child.blobs if key != _config(child)}
    assert requests
    assert not [request.path for request in requests if request.path.rpartition("/")[2] in layers]


def test_an_image_is_deleted(site: Site) -> None:
    theirs, ours = row("delete")
    site.seed("ours/app:dev", image([layer({"a": b"to go"})]))
    site.seed("theirs/app:dev", image([layer({"a": b"to go"})]))
    site.seed("ours/app:stays", image([layer({"a": b"to stay"})]))
    site.ours(ours)
    site.theirs(theirs.replace("--yes ", ""))
    for place in ("ours", "theirs"):
        assert site.ours(f"mirrorsync inspect docker://{site.prefix}/{place}/app:dev", code=1).err
    assert site.digest("ours/app:stays")


def test_tags_are_listed(site: Site) -> None:
    for tag in ("3.19", "3.20", "edge"):
        site.seed(f"hub/library/alpine:{tag}", image([layer({"a": b"tags"})]))
    theirs, ours = row("list-tags")
    assert sorted(site.ours(ours).out.split()) == sorted(json.loads(site.theirs(theirs))["Tags"])


def test_a_login_is_read_by_skopeo(site: Site) -> None:
    site.auth_file.unlink()
    _, ours = row("login")
    assert site.ours(f"{ours} -u {site.registry.username}", env={"MIRRORSYNC_PASSWORD": "wrong"}, code=1).err
    assert not site.auth_file.exists()
    site.ours(f"{ours} -u {site.registry.username}", env={"MIRRORSYNC_PASSWORD": site.registry.password})
    site.seed("ours/app:dev", image([layer({"a": b"1"})]))
    assert site.digest("ours/app:dev")


def test_every_row_of_the_table_is_run_here() -> None:
    assert sorted(VERBS) == ["copy", "delete", "inspect", "list-tags", "login"]
    assert len(ROWS) == 7


def test_a_layout_and_its_archive_keep_every_digest_on_the_way_round(site: Site) -> None:
    root = multi_platform("round")
    site.seed("hub/round:1", root)
    directory = site.mirrorsync.directory
    site.ours(f"mirrorsync copy docker://{site.prefix}/hub/round:1 oci:disk:round:1")
    site.ours("mirrorsync copy oci:disk:round:1 oci-archive:disk.tar:round:1")
    site.ours(f"mirrorsync copy oci-archive:disk.tar:round:1 docker://{site.prefix}/back/round:1")
    assert skopeo_digest(f"oci:{directory}/disk:round:1") == root.digest
    assert skopeo_digest(f"oci-archive:{directory}/disk.tar:round:1") == root.digest
    assert site.digest("back/round:1") == root.digest
    run("skopeo", "copy", "-q", "--all", f"oci-archive:{directory}/disk.tar:round:1", f"dir:{directory}/whole")
    held = {path.name for path in (directory / "whole").iterdir()}
    assert held >= {key.removeprefix("sha256:") for key in root.all_blobs()}


@pytest.mark.parametrize("way", ["docker-archive:there.tar:app:1", "docker-daemon:app:1"])
def test_docker_stores_keep_config_and_layers_and_a_second_push_copies_nothing(
    site: Site, daemon: Daemon, way: str
) -> None:
    made = image([layer({"bin/app": b"one"}), layer({"etc/app": b"two"})])
    site.seed("hub/app:1", made)
    environment = {"DOCKER_HOST": daemon.host}
    site.ours(f"mirrorsync copy docker://{site.prefix}/hub/app:1 {way}", env=environment)
    again = site.ours(f"mirrorsync copy docker://{site.prefix}/hub/app:1 {way}", env=environment)
    assert again.out.startswith("nothing to do")
    push = f"mirrorsync copy {way} docker://{site.prefix}/back/app:1"
    site.ours(push, env=environment)
    config = json.loads(site.theirs(f"skopeo inspect --raw docker://{site.prefix}/back/app:1"))["config"]
    assert config["digest"] == _config(made)
    assert site.ours(push, env=environment).out.startswith("nothing to do")
    to_other = push.replace("back/app:1", "back/app:2")
    done = site.ours(to_other, env={**environment, "HOME": str(site.mirrorsync.home)})
    assert "copy" not in done.out.replace("copy 0", "")
