"""Clients of other projects at our server: skopeo and podman push, pull, list and delete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.tools import Podman, skopeo_digest
from tests.parts.images import BUSYBOX, DOCKER_LIST, DOCKER_MANIFEST, image, layer, multi_platform, noise, write_layout
from tests.parts.mirrorsync import Serve
from tests.parts.processes import run
from tests.parts.wire import Registry
from tests.serve.secured import PASSWORD, USER, Secured, basic

NO_TLS = "--tls-verify=false"


def test_skopeo_pushes_an_image_with_all_its_platforms_and_reads_it_back(
    server: Registry, unique: str, tmp_path: Path
) -> None:
    images = {
        "oci": multi_platform("oci"),
        "large": image([layer({"large": noise("large", 3_000_000)})]),
    }
    write_layout(tmp_path / "seed", images)
    for tag, made in images.items():
        there = f"docker://{server.host}/{unique}/app:{tag}"
        run("skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/seed:{tag}", there)
        assert server.holds(f"{unique}/app", made, tag)
        assert skopeo_digest(there) == made.digest
        back = f"docker://{server.host}/{unique}/back:{tag}"
        run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", there, back)
        assert server.holds(f"{unique}/back", made, tag)
        run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", back, f"oci:{tmp_path}/out:{tag}")
        assert skopeo_digest(f"oci:{tmp_path}/out:{tag}") == made.digest


def test_skopeo_copies_a_docker_manifest_list_unchanged(server: Registry, unique: str) -> None:
    made = multi_platform("docker", manifest=DOCKER_MANIFEST, list_type=DOCKER_LIST)
    server.push(f"{unique}/app", made, "1")
    there, back = (f"docker://{server.host}/{unique}/{name}:1" for name in ("app", "back"))
    run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", there, back)
    assert server.holds(f"{unique}/back", made, "1")


def test_skopeo_lists_inspects_and_deletes(server: Registry, unique: str) -> None:
    made, other = multi_platform("app"), multi_platform("app", "other")
    for tag in ("1", "2", "3"):
        server.push(unique, made, tag)
    server.push(unique, other, "other")
    listed = json.loads(run("skopeo", "list-tags", NO_TLS, f"docker://{server.host}/{unique}"))
    assert listed["Tags"] == ["1", "2", "3", "other"]
    inspected = json.loads(run("skopeo", "inspect", NO_TLS, f"docker://{server.host}/{unique}:1"))
    assert inspected["Digest"] == made.digest
    assert (inspected["Os"], inspected["Architecture"]) == ("linux", "amd64")
    run("skopeo", "delete", NO_TLS, f"docker://{server.host}/{unique}:1")
    assert server.tags(unique) == ["other"]  # skopeo deletes the manifest behind the tag


def test_podman_pulls_inspects_and_pushes(served: Serve, unique: str) -> None:
    server = Registry(served.host)
    made = multi_platform("app")
    server.push(f"{unique}/app", made, "1")
    name = f"{served.host}/{unique}/app:1"
    with Podman() as podman:
        podman("pull", "--quiet", NO_TLS, name)
        root = Path(podman("image", "mount", name))
        assert (root / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
        podman("image", "unmount", name)
        digests = json.loads(podman("image", "inspect", name))[0]["RepoDigests"]
        assert f"{served.host}/{unique}/app@{made.digest}" in digests

        pushed = f"{served.host}/{unique}/pushed:1"
        podman("tag", name, pushed)
        podman("push", "--quiet", NO_TLS, pushed)
        answer = server.manifest(f"{unique}/pushed", "1")
        assert answer.status == 200
        config = server.blob(f"{unique}/pushed", answer.json()["config"]["digest"]).json()
        assert config == json.loads(next(data for data in made.children[0].blobs.values() if data[:1] == b"{"))
        podman("rmi", "--all", "--force")
        podman("pull", "--quiet", NO_TLS, pushed)
        root = Path(podman("image", "mount", pushed))
        assert (root / "etc/version").read_text() == "app 1 amd64"
        podman("image", "unmount", pushed)


def test_podman_and_skopeo_log_in_pull_and_push_with_tls_and_an_authority_of_their_own(
    secured_server: Secured, unique: str, tmp_path: Path
) -> None:
    made = multi_platform("app")
    secured_server.push(f"{unique}/app", made, "1")
    certificates, logins = tmp_path / "certs.d", tmp_path / "auth.json"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(secured_server.authority.path.read_bytes())
    trusting = f"--cert-dir={certificates}"
    name, pushed = (f"{secured_server.host}/{unique}/{one}:1" for one in ("app", "pushed"))
    with Podman() as podman:
        login = ("login", trusting, f"--authfile={logins}", "--username", USER, "--password")
        with pytest.raises(AssertionError, match="invalid username/password"):
            podman(*login, "wrong", secured_server.host)
        with pytest.raises(AssertionError, match="certificate signed by unknown authority"):
            podman("pull", "--quiet", name)
        (tmp_path / "none.json").write_text("{}")
        with pytest.raises(AssertionError, match="a login is needed"):
            podman("pull", "--quiet", trusting, f"--authfile={tmp_path}/none.json", name)
        podman(*login, PASSWORD, secured_server.host)
        podman("pull", "--quiet", trusting, f"--authfile={logins}", name)
        podman("tag", name, pushed)
        podman("push", "--quiet", trusting, f"--authfile={logins}", pushed)
    copied = f"docker://{secured_server.host}/{unique}/copied:1"
    words = ("skopeo", "copy", "-q", "--all", f"--src-cert-dir={certificates}", f"--dest-cert-dir={certificates}")
    run(*words, f"--authfile={logins}", f"docker://{name}", copied)
    listed = secured_server.ask("GET", "/v2/_catalog", headers=basic()).json()["repositories"]
    assert [f"{unique}/{one}" in listed for one in ("app", "pushed", "copied")] == [True] * 3
    answer = secured_server.ask("GET", f"/v2/{unique}/copied/manifests/1", headers=basic())
    assert answer.body == made.raw


def test_podman_pulls_without_a_login_and_pushes_with_one_if_reading_is_open(
    open_to_readers: Serve, unique: str, tmp_path: Path
) -> None:
    write_layout(tmp_path / "seed", {"1": multi_platform("app")})
    there = f"docker://{open_to_readers.host}/{unique}:1"
    words = ("skopeo", "copy", "-q", "--all")
    to, back = f"oci:{tmp_path}/seed:1", f"oci:{tmp_path}/back:1"
    with pytest.raises(AssertionError, match="a login is needed"):
        run(*words, "--dest-tls-verify=false", "--dest-no-creds", to, there)
    run(*words, "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}", to, there)
    for login in ("--src-no-creds", f"--src-creds={USER}:{PASSWORD}"):
        run(*words, "--src-tls-verify=false", login, there, back)
    assert skopeo_digest(back) == multi_platform("app").digest
