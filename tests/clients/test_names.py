"""Every client asks the destination for the name that a run gives a repository, or its mirror is named as lost."""

from __future__ import annotations

from typing import Any

import pytest

from mirrorsync.clients.formats import CLIENTS, NAMES
from mirrorsync.oci.reference import Location
from tests.clients import sites
from tests.clients.oracles import ORACLES, cel_pod, go_replaced, kyverno_image
from tests.clients.sites import ALL, CORP, files, spec_of, written

# Repositories that the mirrors of `sites.NAMES` have.
PULLED = (
    ("docker.io", "library/alpine"),
    ("docker.io", "library/busybox"),
    ("docker.io", "grafana/grafana"),
    ("registry.example:8443", "team/app"),
    ("ghcr.io", "owner/tool"),
    ("quay.io", "prometheus/node-exporter"),
    ("quay.io", "prometheus/deep/er"),
    ("quay.io", "special/one"),
    ("quay.io", "special/a/two"),
    ("gcr.io", "a/tool"),
    ("k8s.example", "x/my-image"),
)
# Those that no mirror has.
OTHERS = (
    ("docker.io", "library/alpine2"),
    ("docker.io", "me/alpine"),
    ("docker.io", "grafana/grafana-image-renderer"),
    ("registry.example", "team/app"),
    ("ghcr.io", "owner/tools"),
    ("mcr.example", "a/b"),
)
# What clients cannot express of `sites.NAMES`, by the numbers of the mirrors.
LOST = {
    "containerd": {2, 4, 6, 7, 8},
    "talos": {2, 4, 6, 7, 8},
    "podman": {7, 8},
    "crio": {7, 8},
    "openshift": {7, 8},
    "k3s": set(),
    "rke2": set(),
    "kyverno": set(),
}
# Deeper than one folder: the clients that replace beginnings say so in a note.
SHALLOW = {("quay.io", "special/a/two"): {"podman", "crio", "openshift"}}


def wanted(mirrors: list[Any], host: str, repository: str, destination: str) -> dict[int, str]:
    """Return where a run puts a repository, for each mirror that has it, by its number."""
    spec = spec_of(mirrors, destination)
    corp, source = spec.destinations["corp"], Location(host, repository)
    return {
        int(one.pointer.split("/")[2]): str(one.target(corp, repository)) for one in spec.mirrors if one.covers(source)
    }


def test_every_client_has_an_oracle() -> None:
    assert set(ORACLES) == set(NAMES)


@pytest.mark.parametrize("destination", [f"{CORP}/mirror", CORP, "hub.example/a/b"])
@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("client", LOST)
def test_a_client_asks_for_the_name_that_a_run_gives(client: str, fallback: bool, destination: str) -> None:
    found = written(client, sites.NAMES, destination, fallback=fallback)
    lost = {int(pointer.split("/")[2]) for one in found.lost for pointer in one.rule.mirrors}
    assert lost == LOST[client]
    texts = {file.path: file.text for file in found.files}
    for host, repository in PULLED:
        targets = wanted(sites.NAMES, host, repository, destination)
        assert targets
        if set(targets) <= lost or client in SHALLOW.get((host, repository), ()):
            continue
        for oracle in ORACLES[client]:
            asked = oracle(texts, host, repository)
            assert asked[0] in targets.values(), (host, repository)
            is_last = fallback and client != "kyverno"
            assert (asked[-1] == f"{host}/{repository}") == is_last, asked


@pytest.mark.parametrize("client", LOST)
def test_an_image_of_no_mirror_comes_from_its_source(client: str) -> None:
    texts = files(client, sites.NAMES)
    for host, repository in OTHERS:
        for oracle in ORACLES[client]:
            assert oracle(texts, host, repository)[-1] == f"{host}/{repository}"


@pytest.mark.parametrize("client", ["podman", "openshift"])
def test_what_is_found_only_in_one_folder_is_a_note(client: str) -> None:
    (note,) = written(client, sites.NAMES).notes
    assert note.startswith("of quay.io/special/*, only repositories directly in quay.io/special are found")


@pytest.mark.parametrize("client", [one.name for one in CLIENTS if one.blocks])
def test_without_fallback_no_source_is_asked(client: str) -> None:
    mirrors = ["docker.io/library/alpine:3.20", {"from": "quay.io/team/*", "tags": ALL}]
    texts = files(client, mirrors, fallback=False)
    for host, repository in (("docker.io", "library/alpine"), ("quay.io", "team/app")):
        for oracle in ORACLES[client]:
            assert oracle(texts, host, repository) == [f"{CORP}/mirror/{repository}"]


def test_docker_has_mirrors_only_for_the_names_of_docker_hub_at_a_root() -> None:
    mirrors = ["docker.io/library/alpine:3.20", "docker.io/team/app:1", "quay.io/other/app:1"]
    found = written("docker", [*mirrors, {"from": "docker.io/library/nginx:1", "name": "web/nginx"}], CORP)
    assert [one.rule.source for one in found.lost] == ["quay.io/other/app", "docker.io/library/nginx"]
    texts = {file.path: file.text for file in found.files}
    (oracle,) = ORACLES["docker"]
    assert oracle(texts, "docker.io", "team/app") == [f"{CORP}/team/app", "docker.io/team/app"]
    assert oracle(texts, "quay.io", "other/app") == ["quay.io/other/app"]
    below = written("docker", mirrors)
    assert below.files == ()
    assert len(below.lost) == 3


TWICE: list[Any] = [
    {"from": "quay.io/team/app:1", "name": "first/app"},
    {"from": "quay.io/team/app:2", "name": "second/team/app"},
]


def test_a_repository_with_two_names_is_asked_for_by_both_where_a_client_can() -> None:
    for client, both in (("podman", True), ("openshift", True), ("k3s", False), ("kyverno", False)):
        found = written(client, TWICE)
        asked = ORACLES[client][0]({file.path: file.text for file in found.files}, "quay.io", "team/app")
        names = [f"{CORP}/mirror/first/app", f"{CORP}/mirror/second/team/app"]
        assert asked[: len(names)] == names if both else asked[0] == names[0]
        assert [one.rule.mirrors for one in found.lost] == ([] if both else [("/mirrors/1",)])


def test_the_paths_of_a_host_are_asked_in_the_order_of_the_spec() -> None:
    mirrors = ["quay.io/a/b:1", {"from": "quay.io/c/d:1", "name": "x/{repository}"}]
    for client in ("containerd", "talos"):
        for oracle in ORACLES[client]:
            asked = [f"{CORP}/mirror/c/d", f"{CORP}/mirror/x/c/d"]
            assert oracle(files(client, mirrors, fallback=False), "quay.io", "c/d") == asked


def test_the_most_specific_rule_is_first_and_the_folder_after_it() -> None:
    mirrors = [
        {"from": "quay.io/team/*", "tags": ALL, "name": "all/{repository}"},
        {"from": "quay.io/team/app:1", "name": "one/app"},
    ]
    asked = ORACLES["podman"][0](files("podman", mirrors), "quay.io", "team/app")
    assert asked == [f"{CORP}/mirror/one/app", f"{CORP}/mirror/all/team/app", "quay.io/team/app"]
    # k3s keeps no order: the one that would depend on it is lost, and the other is not.
    found = written("k3s", mirrors)
    assert [(one.rule.name, one.reason) for one in found.lost] == [
        ("team/app", "quay.io/team/* has another name for it, and the rules have no order")
    ]
    assert ORACLES["k3s"][0]({one.path: one.text for one in found.files}, "quay.io", "team/app")[0].endswith(
        "all/team/app"
    )
    assert ORACLES["kyverno"][0](files("kyverno", mirrors), "quay.io", "team/app") == [f"{CORP}/mirror/one/app"]


def test_a_repository_that_its_namespace_names_the_same_needs_no_rule_of_its_own() -> None:
    mirrors = [{"from": "quay.io/team/*", "tags": ALL}, "quay.io/team/app:1"]
    found = written("k3s", mirrors)
    assert found.lost == ()
    assert found.files[0].text.count('"^') == 1


def test_namespaces_that_could_overlap_have_no_order_either() -> None:
    mirrors = [
        {"from": "quay.io/team/a*", "tags": ALL, "name": "one/{repository}"},
        {"from": "quay.io/team/*b", "tags": ALL, "name": "two/{repository}"},
        {"from": "quay.io/other/*", "tags": ALL, "name": "three/{repository}"},
    ]
    assert [one.rule.name for one in written("k3s", mirrors).lost] == ["team/*b"]
    assert [one.rule.name for one in written("kyverno", mirrors).lost] == []


@pytest.mark.parametrize(
    ("pattern", "name", "repository", "target"),
    [
        ("quay.io/a/*", "{repository}", "a/b/c", "a/b/c"),
        ("quay.io/a/*", "{basename}", "a/b/c", "c"),
        ("quay.io/*", "{basename}x", "a/b", "bx"),
        ("quay.io/*", "x/{basename}1", "b", "x/b1"),
        ("quay.io/a?/[b-d]*", "{repository}", "ax/cup", "ax/cup"),
        ("quay.io/a/[!b]", "n/{basename}", "a/c", "n/c"),
        ("quay.io/t*/app", "{basename}/{repository}", "team/x/app", "app/team/x/app"),
        ("quay.io/te.am/*", "{repository}", "te.am/app", "te.am/app"),
    ],
)
def test_patterns_become_expressions(pattern: str, name: str, repository: str, target: str) -> None:
    mirrors = [{"from": pattern, "tags": ALL, "name": name}]
    assert wanted(mirrors, "quay.io", repository, CORP) == {0: f"{CORP}/{target}"}
    for client in ("k3s", "kyverno"):
        assert ORACLES[client][0](files(client, mirrors, CORP), "quay.io", repository)[0] == f"{CORP}/{target}"
        for other in ("zz/y", "texam/app"):
            if not wanted(mirrors, "quay.io", other, CORP):
                assert ORACLES[client][0](files(client, mirrors, CORP), "quay.io", other)[-1] == f"quay.io/{other}"


def test_a_last_part_that_an_expression_cannot_find_is_lost() -> None:
    found = written("k3s", [{"from": "quay.io/a/node-*", "tags": ALL, "name": "{basename}"}])
    assert found.files == ()
    assert "last part" in found.lost[0].reason


@pytest.mark.parametrize("client", ["k3s", "kyverno"])
def test_a_source_at_the_same_registry_is_lost_to_clients_that_would_go_round(client: str) -> None:
    found = written(client, [f"{CORP}/team/app:1", "quay.io/a/b:1"])
    assert [one.rule.source for one in found.lost] == [f"{CORP}/team/app"]


@pytest.mark.parametrize("client", NAMES)
def test_a_tag_that_has_another_name_is_lost_to_all(client: str) -> None:
    mirrors = ["docker.io/library/busybox:1", {"from": "docker.io/library/alpine:3.20", "tag": "stable"}]
    reasons = [one.reason for one in written(client, mirrors, CORP).lost]
    assert reasons == ["its tag 3.20 is stable at the destination"]


HUB: list[Any] = ["docker.io/library/alpine:3.20", "docker.io/team/app:1"]
PROMETHEUS: list[Any] = [
    {"from": "quay.io/p/*", "tags": ALL, "name": "{repository}-x", "exclude_repositories": ["*-beta", "p/sub/*"]}
]


@pytest.mark.parametrize(
    ("mirrors", "image", "becomes"),
    [
        (HUB, "alpine", f"{CORP}/library/alpine"),
        (HUB, "alpine:3.20", f"{CORP}/library/alpine:3.20"),
        (HUB, "library/alpine", f"{CORP}/library/alpine"),
        (HUB, "index.docker.io/library/alpine:3.20", f"{CORP}/library/alpine:3.20"),
        (HUB, "docker.io/alpine@sha256:00", f"{CORP}/library/alpine@sha256:00"),
        (HUB, "docker.io/team/app:1@sha256:00", f"{CORP}/team/app:1@sha256:00"),
        (HUB, "app:1", "app:1"),
        (HUB, "library/team/app:1", "library/team/app:1"),
        (HUB, "alpine:5000/x", "alpine:5000/x"),
        (HUB, "quay.io/alpine", "quay.io/alpine"),
        (PROMETHEUS, "quay.io/p/app:1-beta", f"{CORP}/p/app-x:1-beta"),
        (PROMETHEUS, "quay.io/p/app:1@sha256:00", f"{CORP}/p/app-x:1@sha256:00"),
        (PROMETHEUS, "quay.io/p/app-beta:1", "quay.io/p/app-beta:1"),
        (PROMETHEUS, "quay.io/p/sub/app:1", "quay.io/p/sub/app:1"),
        (PROMETHEUS, "quayxio/p/app:1", "quayxio/p/app:1"),
        (PROMETHEUS, "evil.example/quay.io/p/app:1", "evil.example/quay.io/p/app:1"),
    ],
)
def test_kyverno_renames_images_as_manifests_write_them(mirrors: list[Any], image: str, becomes: str) -> None:
    text, old = files("kyverno", mirrors, CORP).values()
    for containers in ("containers", "initContainers", "ephemeralContainers"):
        assert kyverno_image(old, image, containers) == becomes
        assert cel_pod(text, {"containers": ["x:1"], containers: [image]})[containers] == [becomes]


def test_kyverno_does_not_rename_a_container_for_debugging_that_a_pod_has_already() -> None:
    text = next(iter(files("kyverno", HUB, CORP).values()))
    pod = {"containers": ["x:1"], "ephemeralContainers": ["alpine:1", "alpine:2"]}
    made = cel_pod(text, pod, {"containers": ["x:1"], "ephemeralContainers": ["alpine:1"]})
    assert made["ephemeralContainers"] == ["alpine:1", f"{CORP}/library/alpine:2"]


def test_the_oracle_reads_replacements_as_go_does() -> None:
    assert go_replaced("^(a)(b)$", "ab", "$1/${2}c$2x") == "a/bc"
