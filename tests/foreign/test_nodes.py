"""Images of nodes, as crictl, kubectl, podman and docker print them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrorsync.errors import UsageError
from mirrorsync.foreign.nodes import merged, read_node
from mirrorsync.oci.digest import Digest

A, B = Digest.of(b"a"), Digest.of(b"b")
WEB = "docker.io/library/nginx"


def read(value: Any) -> list[tuple[str, set[Digest], str]]:
    node = read_node(json.dumps(value).encode(), "node.json")
    return [(str(one.reference), set(one.digests), one.at) for one in node.used]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"images": [{"id": B, "repoTags": [f"{WEB}:1.27"], "repoDigests": [f"{WEB}@{A}"], "size": "7"}]},
            [(f"{WEB}:1.27", {A}, "node.json")],
        ),
        (
            {"images": [{"id": B, "repoTags": [], "repoDigests": [f"{WEB}@{A}"]}, {"id": A, "repoTags": None}]},
            [(f"{WEB}@{A}", {A}, "node.json")],
        ),
        (
            [{"Id": "x", "Names": [f"{WEB}:1.27", f"{WEB}@{A}"], "RepoDigests": [f"{WEB}@{A}", f"{WEB}@{B}"]}],
            [(f"{WEB}:1.27", {A, B}, "node.json")],
        ),
        ([{"Id": "x", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}], []),
        (
            {"kind": "List", "items": [{
                "kind": "Pod", "metadata": {"name": "p", "namespace": "web"},
                "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}, {"name": "new", "image": "nginx"}],
                         "initContainers": [{"name": "i", "image": "quay.io/a/b:1"}],
                         "volumes": [{"name": "m", "image": {"reference": "quay.io/a/model:1"}}, {"emptyDir": {}}]},
                "status": {"containerStatuses": [{"name": "c", "imageID": f"docker-pullable://{WEB}@{A}"}],
                           "initContainerStatuses": [{"name": "i", "imageID": B}]},
            }]},
            [
                ("quay.io/a/b:1", set(), "node.json: web/p"),
                (f"{WEB}:1.27", {A}, "node.json: web/p"),
                (f"{WEB}:latest", set(), "node.json: web/p"),
                ("quay.io/a/model:1", set(), "node.json: web/p"),
            ],
        ),
        (
            {"Repository": "nginx", "Tag": "1.27", "Digest": A, "ID": "8393c888d297"},
            [(f"{WEB}:1.27", {A}, "node.json")],
        ),
    ],
    ids=["crictl", "crictl without a tag", "podman", "podman without a name", "kubectl", "docker"],
)  # fmt: skip
def test_the_images_of_a_node(value: Any, expected: list[tuple[str, set[Digest], str]]) -> None:
    assert read(value) == expected


def test_docker_prints_an_image_a_line() -> None:
    images = [
        {"Repository": "nginx", "Tag": "1.27", "Digest": "<none>"},
        {"Repository": "nginx", "Tag": "<none>", "Digest": A},
        {"Repository": "<none>", "Tag": "<none>", "Digest": "<none>"},
    ]
    node = read_node("\n".join(map(json.dumps, images)).encode(), "x")
    assert [(str(one.reference), set(one.digests)) for one in node.used] == [
        (f"{WEB}:1.27", set()),
        (f"{WEB}@{A}", {A}),
    ]
    assert node.unread == []


@pytest.mark.parametrize("text", ["", "{}", "{}\n[]", "[1, 2]", '{"images": {}}', '"nginx"', "[" * 100_000])
def test_other_files_are_refused_with_the_commands_to_run(text: str) -> None:
    with pytest.raises(UsageError, match="no images of nodes") as caught:
        read_node(text.encode(), "node.json")
    assert "crictl images -o json" in caught.value.remedy


def test_an_image_of_several_nodes_is_one_with_all_its_digests() -> None:
    files = {"one": A, "two": B}
    images = {name: [{"repoTags": ["nginx:1"], "repoDigests": [f"nginx@{digest}"]}] for name, digest in files.items()}
    nodes = [read_node(json.dumps({"images": listed}).encode(), name) for name, listed in images.items()]
    (only,) = merged([one for node in nodes for one in node.used]).values()
    assert (only.at, set(only.digests)) == ("one, two", {A, B})


def test_a_name_that_is_not_a_reference_is_reported() -> None:
    node = read_node(b'{"images": [{"repoTags": ["Not A Name", "nginx:1"]}]}', "node.json")
    assert (node.unread, len(node.used)) == (["Not A Name"], 1)
