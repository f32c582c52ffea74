"""`relocate`: images of manifests get the names, and the digests, that they have at the mirror."""

from __future__ import annotations

from tests.parts.docker_registry import DockerRegistry
from tests.parts.images import image, layer
from tests.parts.mirrorsync import Mirrorsync
from tests.parts.wire import Registry

POD = """apiVersion: v1
kind: Pod
metadata: {{name: shop}}
spec:
  containers:
    - image: {}  # first
    - image: ghcr.io/acme/unknown:1
"""
SPEC = {
    "destinations": {"corp": "harbor.corp.example/mirror", "disk": "oci:disk"},
    "mirrors": [
        {"from": "docker.io/library/nginx", "tags": ["1.27"], "to": ["corp"]},
        {"from": "docker.io/library/nginx", "tags": ["1.28"], "to": ["corp"], "name": "next/nginx"},
        {"from": "quay.io/prometheus/*", "tags": {"all": True}, "to": ["corp", "disk"], "name": "prom/{basename}"},
    ],
}


def test_images_get_the_names_that_the_spec_gives_them_and_unknown_ones_are_reported(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(SPEC)
    for written, expected in (
        ("nginx:1.27", "harbor.corp.example/mirror/library/nginx:1.27"),
        ("nginx:1.28", "harbor.corp.example/mirror/next/nginx:1.28"),
        ("quay.io/prometheus/node-exporter:v1", "harbor.corp.example/mirror/prom/node-exporter:v1"),
    ):
        done = mirrorsync("relocate", "--destination", "corp", "-", stdin=POD.format(written), code=3)
        assert done.out == POD.format(expected)
        assert "-:7: ghcr.io/acme/unknown:1: no mirror of the spec has it" in done.err
        assert "stdin: 1 image rewritten, 1 image not rewritten" in done.err
        assert "its tag" not in done.err
    other = mirrorsync("relocate", "--destination", "corp", "-", stdin="image: nginx:1.99\n", code=0)
    assert other.out == "image: harbor.corp.example/mirror/library/nginx:1.99\n"
    assert "-:1: nginx:1.99: no mirror of the spec asks for its tag: ask the destination with --pin" in other.err
    again = mirrorsync("relocate", "--destination", "corp", "-", stdin=done.out, code=1)
    assert again.out == done.out
    assert "1 image unchanged" in again.err


def test_stores_on_disk_keep_the_names_that_images_have_at_registries(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(
        {
            "destinations": {"corp": "harbor.corp.example"},
            "defaults": {"to": ["corp"]},
            "mirrors": [
                "oci:disk:quay.io/team/app:1",
                "docker-archive:a.tar:redis:7",
                {"from": "bundle:usb", "tags": {"all": True}},
            ],
        }
    )
    (mirrorsync.directory / "mirror.lock").write_text(
        f"lock: 1\nimages:\n  oci:{mirrorsync.directory}/disk:quay.io/team/app:1: sha256:{'0' * 64}\n"
    )
    for written, expected in (
        ("quay.io/team/app:1", f"quay.io/team/app:1@sha256:{'0' * 64}"),
        ("redis:7", "redis:7"),
    ):
        lock = ("--lock", "mirror.lock") if "@" in expected else ()
        done = mirrorsync("relocate", *lock, "-", stdin=f"image: {written}\n", code=0)
        assert done.out == f"image: harbor.corp.example/{expected}\n"
    assert "no mirror of the spec has it" in mirrorsync("relocate", "-", stdin="image: nginx\n", code=1).err


def test_a_tag_that_has_another_name_at_the_destination_gets_it(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(
        {
            "destinations": {"corp": "harbor.corp.example"},
            "defaults": {"to": ["corp"]},
            "mirrors": [{"from": "quay.io/team/app:1", "tag": "one"}],
        }
    )
    digest = f"sha256:{'0' * 64}"
    for written, expected in (
        ("image: quay.io/team/app:1", "image: harbor.corp.example/team/app:one"),
        (f"image: quay.io/team/app:1@{digest}", f"image: harbor.corp.example/team/app:one@{digest}"),
        ("{repository: quay.io/team/app, tag: '1'}", "{repository: harbor.corp.example/team/app, tag: 'one'}"),
        (
            "kind: Kustomization\nimages:\n- name: quay.io/team/app\n  newTag: '1'",
            (
                "kind: Kustomization\nimages:\n- name: quay.io/team/app\n"
                "  newName: harbor.corp.example/team/app\n  newTag: 'one'"
            ),
        ),
    ):
        done = mirrorsync("relocate", "-", stdin=f"{written}\n", code=0)
        assert done.out == f"{expected}\n"
        assert "asks for its tag" not in done.err
    assert "asks for its tag" in mirrorsync("relocate", "-", stdin="image: quay.io/team/app:one\n", code=0).err


def test_a_tag_that_another_program_fills_in_must_not_decide(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(SPEC)
    done = mirrorsync("relocate", "--destination", "corp", "-", stdin="repository: nginx\ntag:\n", code=1)
    names = "harbor.corp.example/mirror/library/nginx or harbor.corp.example/mirror/next/nginx"
    assert f"-:1: nginx: it is {names} at the mirror, and its tag, which decides, is not here" in done.err


def test_the_destination_has_to_be_one_that_clients_can_name(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(SPEC)
    pod = POD.format("quay.io/prometheus/node-exporter:v1")
    assert "--destination corp or disk" in mirrorsync("relocate", "-", stdin=pod, code=2).err
    assert "choose one: corp or disk" in mirrorsync("relocate", "--destination", "x", "-", stdin=pod, code=2).err
    assert "--address HOST[:PORT]" in mirrorsync("relocate", "--destination", "disk", "-", stdin=pod, code=2).err
    words = ("--destination", "disk", "--address", "site:5000/own")
    assert "image: site:5000/own/prom/node-exporter:v1  # first" in mirrorsync("relocate", *words, "-", stdin=pod).out


def test_files_change_in_place_with_digests_of_the_mirror_or_of_the_lock(
    mirrorsync: Mirrorsync, registry: DockerRegistry, unique: str
) -> None:
    digest = Registry(registry.host).push(f"{unique}/app", image([layer({"a": b"app"})]), "1")
    host, source = f"localhost:{registry.host.rpartition(':')[2]}", f"{registry.host}/{unique}/app"
    mirrorsync.spec(
        {
            "registries": {name: {"plain_http": True} for name in (host, registry.host)},
            "destinations": {"corp": f"{host}/{unique}-m"},
            "mirrors": [f"{source}:1"],
            "defaults": {"to": ["corp"]},
        }
    )
    file = mirrorsync.directory / "app.yaml"
    file.write_text(f"a: {{image: {source}:1}}\nb: {{image: {source}:2}}\n")
    file.chmod(0o640)
    assert f"the mirror does not have {host}" in mirrorsync("relocate", "--pin", "app.yaml", code=1).err
    mirrorsync("apply", code=0)
    mirrorsync("lock", code=0)
    words = ("relocate", "--pin", "--in-place", "app.yaml")
    assert mirrorsync(*words, code=3).out == ""
    target = f"{host}/{unique}-m/{unique}/app"
    assert file.read_text() == f"a: {{image: {target}:1@{digest}}}\nb: {{image: {source}:2}}\n"
    assert file.stat().st_mode & 0o777 == 0o640
    file.write_text(f"a: {{image: {source}:1}}\nb: {{image: {source}:2}}\n")
    done = mirrorsync("relocate", "--lock", "mirror.lock", "app.yaml", code=3)
    assert f"a: {{image: {target}:1@{digest}}}" in done.out
    assert f"app.yaml:2: {source}:2: the lock does not have it" in done.err
    outcomes = mirrorsync("relocate", "--json", "app.yaml", code=0).json()["files"][0]["images"]
    assert [(one["line"], one["outcome"]) for one in outcomes] == [(1, "rewritten"), (2, "rewritten")]


def test_a_kustomization_and_the_images_that_it_replaces_are_not_both_rewritten(mirrorsync: Mirrorsync) -> None:
    mirrorsync.spec(SPEC)
    kustomization = "images:\n  - name: nginx  # web\n    newTag: '1.27'\n  - name: quay.io/prometheus/x\n"
    for name, text in (("kustomization.yaml", kustomization), ("app.yaml", POD.format("nginx:1.28"))):
        (mirrorsync.directory / name).write_text(text)
    words = ("relocate", "--destination", "corp")
    done = mirrorsync(*words, "--in-place", "app.yaml", "kustomization.yaml", code=3)
    assert "app.yaml:6: nginx:1.28: kustomization.yaml replaces it: relocate only one of the two files" in done.err
    assert (mirrorsync.directory / "app.yaml").read_text() == POD.format("nginx:1.28")
    mirror = "harbor.corp.example/mirror"
    assert (mirrorsync.directory / "kustomization.yaml").read_text() == (
        f"images:\n  - name: nginx  # web\n    newName: {mirror}/library/nginx\n    newTag: '1.27'\n"
        f"  - name: quay.io/prometheus/x\n    newName: {mirror}/prom/x\n"
    )
    (mirrorsync.directory / "mirror.lock").write_text(f"lock: 1\nimages:\n  a.example/z:1: sha256:{'0' * 64}\n")
    (mirrorsync.directory / "kustomization.yaml").write_text("images: [{name: quay.io/prometheus/x}]\n")
    done = mirrorsync(*words, "--lock", "mirror.lock", "kustomization.yaml", code=1)
    assert "quay.io/prometheus/x: its tag is in another file, so that it cannot be pinned here" in done.err
    assert mirrorsync(*words, "--pin", "kustomization.yaml", code=1).err == done.err
