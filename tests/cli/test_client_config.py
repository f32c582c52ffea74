"""`mirrorsync client-config`: podman and skopeo pull by the names of the sources, and from the destination alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.tools import Podman, skopeo_seed
from tests.conftest import Locked
from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import digest, image, layer
from tests.parts.mirrorsync import Mirrorsync, Serve, plain
from tests.parts.processes import run

APP, BASE = image([layer({"a": b"app"})]), image([layer({"a": b"base"})])


def conf(mirrorsync: Mirrorsync, *words: str) -> Path:
    """Return the path of the registries.conf that a spec becomes; no client may fall back to the sources."""
    done = mirrorsync("client-config", "--for", "podman", "--no-fallback", "--output", "node", *words, code=0)
    (written,) = re.findall(r"^wrote (.*registries\.conf\.d/.*\.conf)$", done.out, re.MULTILINE)
    return Path(written)


def skopeo_reads(written: Path, name: str) -> str:
    """Return the digest of what skopeo reads by a name of a source."""
    # Without --raw, skopeo lists the tags of the source, too, and has no mirrors for that.
    return digest(run("skopeo", "--registries-conf", written, "inspect", "--raw", f"docker://{name}").encode())


def test_podman_pulls_the_names_of_the_sources_from_a_registry(
    mirrorsync: Mirrorsync, registry: DockerRegistry, fresh_registry: DockerRegistry, unique: str, tmp_path: Path
) -> None:
    skopeo_seed(tmp_path / "seed", registry.host, f"{unique}/team/app", {"1": APP})
    skopeo_seed(tmp_path / "seed2", registry.host, f"{unique}/base", {"2": BASE})
    mirrors = [
        {"from": f"{registry.host}/{unique}/team/*", "tags": {"all": True}, "name": "teams/{host}/{repository}"},
        {"from": f"{registry.host}/{unique}/base:2", "name": "renamed/altogether"},
    ]
    mirrorsync.spec(
        {
            "registries": plain(registry.host, fresh_registry.host),
            "destinations": {"corp": f"{fresh_registry.host}/mirror"},
            "mirrors": mirrors,
        }
    )
    mirrorsync("apply", code=0)
    written = conf(mirrorsync)
    registry.new_requests()
    with Podman() as podman:  # of each image it keeps the name of the source
        app = f"{registry.host}/{unique}/team/app"
        pulled = podman("pull", "--quiet", f"{app}:1", env={"CONTAINERS_REGISTRIES_CONF": str(written)})
        assert f"sha256:{pulled}" == json.loads(APP.raw)["config"]["digest"]
        assert podman("images", "--format", "{{.Repository}}") == app
    assert skopeo_reads(written, f"{registry.host}/{unique}/base:2") == BASE.digest
    assert registry.new_requests() == []


def test_skopeo_pulls_the_names_of_docker_hub_from_a_served_layout(
    mirrorsync: Mirrorsync, served: Serve, unique: str, tmp_path: Path
) -> None:
    skopeo_seed(tmp_path / "seed", served.host, f"{unique}/hub/library/app", {"1": APP})
    skopeo_seed(tmp_path / "seed2", served.host, f"{unique}/tool", {"2": BASE})
    hub: dict[str, Any] = {"from": "docker.io/library/app:1", "name": f"{unique}/hub/{{repository}}"}
    mirrors = [hub, {"from": "example.test/team/tool:2", "name": f"{unique}/{{basename}}"}]
    mirrorsync.spec({"destinations": {"disk": "oci:disk"}, "mirrors": mirrors})
    written = conf(mirrorsync, "--address", f"http://{served.host}")
    for name, made in (("app:1", APP), ("example.test/team/tool:2", BASE)):
        assert skopeo_reads(written, name) == made.digest
    missing = run("skopeo", "--registries-conf", written, "inspect", "--raw", "docker://app:2", check=False)
    assert missing == ""


def test_a_client_that_cannot_express_a_mirror_names_it_and_exits_with_3(mirrorsync: Mirrorsync) -> None:
    mirrors = ["quay.io/team/app:1", {"from": "quay.io/team/tool:1", "name": "tools/{basename}"}]
    mirrorsync.spec({"destinations": {"corp": "corp.example/mirror"}, "mirrors": mirrors})
    done = mirrorsync("client-config", "--for", "containerd", "--quiet", code=3)
    assert done.err == (
        "containerd cannot express /mirrors/1: quay.io/team/tool (at corp.example/mirror/tools/tool): the names at the "
        "destination must be those of the source behind one path; use name: '{repository}' or '{host}/{repository}'\n"
    )
    assert done.out.startswith("==> /etc/containerd/certs.d/quay.io/hosts.toml <==\n# Pull from corp.example ")
    (lost,) = mirrorsync("client-config", "--for", "containerd", "--json", code=3).json()["lost"]
    assert lost["mirrors"] == ["/mirrors/1"]
    none = mirrorsync("client-config", "--for", "docker", "--output", "node", code=1)
    assert none.err.startswith("mirrorsync: docker can express none of the mirrors: quay.io/team/tool (at ")
    assert not (mirrorsync.directory / "node").exists()


def test_files_are_replaced_only_if_that_is_asked_for(mirrorsync: Mirrorsync) -> None:
    words = ("client-config", "--for", "k3s", "--output", "node")
    mirrorsync.spec({"destinations": {"corp": "corp.example/mirror"}, "mirrors": ["quay.io/team/app:1"]})
    path = mirrorsync.directory / "node/etc/rancher/k3s/registries.yaml"
    assert mirrorsync(*words, code=0).out == f"wrote {path}\n"
    first = path.read_text()
    assert yaml.safe_load(first)["mirrors"]["quay.io"]["rewrite"] == {"^team/app$": "mirror/team/app"}
    document = mirrorsync(*words, "--json", code=0).json()
    assert document["files"] == [
        {"path": "/etc/rancher/k3s/registries.yaml", "written": str(path), "text": first}
    ]  # it is the same, and nothing is replaced
    path.write_text("edited")
    refused = mirrorsync(*words, "--no-fallback", code=2)
    assert refused.err.splitlines()[0] == "mirrorsync: etc/rancher/k3s/registries.yaml in node would be replaced"
    assert path.read_text() == "edited"
    assert [one.name for one in path.parent.iterdir()] == ["registries.yaml"]
    assert mirrorsync(*words, "--force", "--quiet", code=0).out == ""
    assert path.read_text() == first


def test_the_settings_of_the_destination_are_those_of_the_clients(mirrorsync: Mirrorsync, tls_registry: Locked) -> None:
    ca = Path(str(tls_registry.ca_file))
    key = "-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----\n"
    (mirrorsync.directory / "ca.pem").write_text(key + ca.read_text())
    settings: dict[str, Any] = {"ca_file": "ca.pem", "username": "robot", "password": "hunter2"}
    mirrorsync.spec(
        {
            "registries": {"corp.example": settings, "lan.example:5000": {"insecure_skip_verify": True}},
            "destinations": {"corp": "corp.example/mirror", "disk": "oci:disk"},
            "defaults": {"to": ["corp", "disk"]},
            "mirrors": ["quay.io/team/app:1"],
        }
    )
    for client in ("podman", "k3s", "talos", "openshift", "containerd"):
        done = mirrorsync("client-config", "--for", client, "--destination", "corp", code=0)
        assert "hunter2" not in done.out
        assert "robot" not in done.out
        assert "MIIsecret" not in done.out
        assert "corp.example wants a login" in done.out
        assert ca.read_text().split("\n")[1] in done.out
    words = ("client-config", "--for", "containerd", "--destination", "disk", "--address", "lan.example:5000")
    text = mirrorsync(*words, code=0).out
    assert '[host."https://lan.example:5000/v2"]' in text
    assert "skip_verify = true" in text
    words = ("client-config", "--for", "podman", "--destination", "corp", "--address", "http://lan.example/other")
    text = mirrorsync(*words, code=0).out  # as for relocate, the address is in the place of host and prefix
    assert 'location = "lan.example/other/team/app"\ninsecure = true' in text
    (mirrorsync.directory / "ca.pem").write_text(key)
    refused = mirrorsync("client-config", "--for", "podman", "--destination", "corp", code=2)
    assert "has no certificate" in refused.err
    assert "MIIsecret" not in refused.err


WRONG = [
    (["--destination", "disk"], "disk is not a registry", "serve it with `mirrorsync serve`"),
    (["--destination", "tar", "--address", "h.example"], "app.tar cannot be served", "mirror to a registry"),
    (["--destination", "nowhere"], "'nowhere' is not a destination", "choose one: corp or disk or tar or unused"),
    (["--destination", "unused"], "no mirror of a registry goes to unused", "--destination NAME"),
    ([], "the spec has several destinations", "--destination corp or disk or tar"),
    (["--destination", "corp", "--address", "http://"], "'http://' has no host", "HOST:PORT"),
    (["--destination", "corp", "--address", "oci:x"], "'oci:x' is not an address", "HOST:PORT"),
    (["--destination", "corp", "--address", "s3://h.example"], "this is a URL", ""),
    (["--destination", "corp", "--force"], "--force has no effect", "--output DIR"),
]


@pytest.mark.parametrize(
    ("words", "message", "remedy"), WRONG, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_what_cannot_be_done_is_refused_with_a_remedy(
    mirrorsync: Mirrorsync, words: list[str], message: str, remedy: str
) -> None:
    mirrorsync.spec(
        {
            "destinations": {
                "corp": "corp.example",
                "disk": "oci:disk",
                "tar": "docker-archive:app.tar",
                "unused": "h.example",
            },
            "defaults": {"to": ["corp", "disk", "tar"]},
            "mirrors": ["quay.io/team/app:1"],
        }
    )
    refused = mirrorsync("client-config", "--for", "podman", *words, code=2)
    first, second = refused.err.splitlines()
    assert message in first
    assert remedy in second
    assert refused.out == ""


def test_docker_cannot_be_kept_from_docker_hub(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec({"destinations": {"corp": "corp.example"}, "mirrors": ["docker.io/library/alpine:3.20"]})
    mirrorsync("client-config", "--for", "docker", code=0)
    refused = mirrorsync("client-config", "--for", "docker", "--no-fallback", code=2)
    assert "docker always falls back to Docker Hub" in refused.err


def test_what_users_should_know_is_a_note_and_not_a_failure(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(
        {
            "destinations": {"here": "localhost:5000"},
            "mirrors": [
                {"from": "quay.io/team/app:1", "platforms": ["linux/amd64", "linux/arm64"]},
                {"from": "quay.io/team/sparse:1", "platforms": {"only": ["linux/amd64"], "index": "sparse"}},
                {"from": "oci:built:mine:1"},
                {"from": "oci:built:quay.io/team/kept:1"},
            ],
        }
    )
    done = mirrorsync("client-config", "--for", "podman", code=0)
    here, built, narrowed = done.err.splitlines()
    assert here.startswith("note: localhost:5000 is each client itself: --address HOST:PORT")
    assert built.startswith(f"note: oci:{mirrorsync.directory}/built:mine is not a registry's: ")
    assert narrowed.startswith("note: only some platforms are mirrored of quay.io/team/app: their indexes have other")
    assert 'prefix = "quay.io/team/kept"' in done.out
    assert 'location = "localhost:5000/quay.io/team/kept"' in done.out
    assert "mine" not in done.out
    assert mirrorsync("client-config", "--for", "podman", "--quiet", code=0).err == ""
